"""Pairs: one chosen and one rejected answer per prompt, as a data set that TRL trains on."""

import dataclasses
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar

from tsr.config import PairingConfig
from tsr.data.rows import Row
from tsr.jsonl import read_jsonl, write_jsonl
from tsr.selectors import Candidate, PairOrReason, Selector, pair
from tsr.settings import setting
from tsr.stage import Stage
from tsr.stages.generate import Generate
from tsr.stages.pool import Pool
from tsr.stages.prompts import Prompts
from tsr.stages.scores import Scores
from tsr.workbench import Workbench

Scored = Mapping[Scores, Mapping[str, Sequence[Candidate]]]
REASONS = ("missing", "tie", "identical")


@dataclass(frozen=True, eq=False, repr=False)
class Pairs(Stage):
    """Writes `pairs.jsonl` (conversational prompt, chosen, rejected; scores; where each side comes
    from) and `dropped.jsonl` (prompts without a pair, and why).

    chosen, rejected: selectors whose fields are scored pools of the same prompts.
    roles: what a pool (by its key) is called in the rows: own, anchor, future, past.
    """

    kind: ClassVar[str] = "pair"
    needs: ClassVar[str] = "light"

    chosen: Selector
    rejected: Selector
    rules: PairingConfig
    roles: Mapping[str, str] = setting(neutral=True, factory=dict)

    @property
    def pools(self) -> dict[Scores, str]:
        """The scored pools that are read, each with its role."""
        values = [
            getattr(selector, f.name)
            for selector in (self.chosen, self.rejected)
            for f in dataclasses.fields(selector)
        ]
        return {pool: self.roles[pool.key] for pool in values if isinstance(pool, Scores)}

    @property
    def count(self) -> int:
        """How many prompts are looked at."""
        return self._prompts.count

    @property
    def _prompts(self) -> Prompts:
        pool = next(iter(self.pools)).judged
        assert isinstance(pool, Generate), "the lab pairs what models answered"
        return pool.prompts

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Select for each prompt, keep what passes the rules, count the rest."""
        prompts = self._prompts.read(bench)
        scored = {pool: _by_prompt(pool.scored(bench, self.rules.aggregate)) for pool in self.pools}
        outcomes = {row.id: self._outcome(row.id, scored) for row in prompts}
        sides = {_answered_by(pool.judged): role for pool, role in self.pools.items()}
        kept = [
            _row(row, outcomes[row.id], sides) for row in prompts if outcomes[row.id].reason is None
        ]
        reasons = {prompt: o.reason for prompt, o in outcomes.items() if o.reason}
        dropped = [{"prompt_id": prompt, "reason": why} for prompt, why in reasons.items()]
        write_jsonl(bench.folder / "pairs.jsonl", kept)
        write_jsonl(bench.folder / "dropped.jsonl", dropped)
        found = figures(kept, dropped, set(sides.values())) | _tie_rate(scored)
        gap = found["score_gap"]
        return found | {"score_gap_share": None if gap is None else gap / self._points}

    def read(self, bench: Workbench) -> list[dict[str, Any]]:
        """The finished pairs."""
        return list(read_jsonl(bench.artifact(self) / "pairs.jsonl"))

    def _outcome(self, prompt_id: str, scored: Scored) -> PairOrReason:
        pools = {pool: by_prompt.get(prompt_id, ()) for pool, by_prompt in scored.items()}
        return pair(self.chosen, self.rejected, pools, self._rules_in_points)

    @property
    def _points(self) -> float:
        """The extent of the judge's scale."""
        low, high = next(iter(self.pools)).scale
        return high - low

    @property
    def _rules_in_points(self) -> PairingConfig:
        if self.rules.margin_unit == "points":
            return self.rules
        margin = self.rules.margin * self._points
        return dataclasses.replace(self.rules, margin=margin, margin_unit="points")


def _answered_by(pool: Pool) -> tuple[str, int]:
    """Which candidates are a pool's: the model and draw that their rows name."""
    assert isinstance(pool, Generate), "the lab pairs what models answered"
    return pool.name, pool.draw


def _by_prompt(candidates: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for c in candidates:
        groups[c.prompt_id].append(c)
    return groups


def _row(
    prompt: Row, outcome: PairOrReason, sides: Mapping[tuple[str, int], str]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "prompt_id": prompt.id,
        "prompt": [{"role": "user", "content": prompt.prompt}],
    }
    for side, c in (("chosen", outcome.chosen), ("rejected", outcome.rejected)):
        assert c is not None
        row[side] = [{"role": "assistant", "content": c.text}]
        row |= {
            f"{side}_score": c.score,
            f"{side}_from": sides[(c.model, c.draw)],
            f"{side}_model": c.model,
            f"{side}_draw": c.draw,
            f"{side}_sample": c.sample,
            f"{side}_tokens": c.tokens,
            f"{side}_judgement": c.judgement,
        }
    return row


def figures(
    kept: Sequence[Mapping[str, Any]], dropped: Sequence[Mapping[str, Any]], roles: Set[str]
) -> dict[str, Any]:
    """What the pairs are like; a mean over no pairs, or the share of a role not there, is None."""
    reasons = Counter(row["reason"] for row in dropped)
    return {
        "units": len(kept) + len(dropped),
        "pairs": len(kept),
        "dropped": {reason: reasons[reason] for reason in REASONS},
        "rejected_from_anchor": _share(kept, "rejected_from", "anchor", roles),
        "chosen_from_future": _share(kept, "chosen_from", "future", roles),
        "chosen_score": _mean([row["chosen_score"] for row in kept]),
        "rejected_score": _mean([row["rejected_score"] for row in kept]),
        "score_gap": _mean([row["chosen_score"] - row["rejected_score"] for row in kept]),
        "chosen_tokens": _mean([row["chosen_tokens"] for row in kept]),
        "rejected_tokens": _mean([row["rejected_tokens"] for row in kept]),
    }


def _share(
    rows: Sequence[Mapping[str, Any]], field: str, role: str, roles: Set[str]
) -> float | None:
    return _mean([float(row[field] == role) for row in rows]) if role in roles else None


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _tie_rate(scored: Scored) -> dict[str, Any]:
    """Share of prompts whose best score in a pool is held by more than one candidate."""
    tied = total = 0
    for by_prompt in scored.values():
        for candidates in by_prompt.values():
            scores = [c.score for c in candidates if c.score is not None]
            if len(scores) > 1:
                total += 1
                tied += scores.count(max(scores)) > 1
    return {"tied_best": tied / total if total else None}

"""Selectors: which of one prompt's scored candidates is chosen or rejected.

Each is a small frozen value with a pure `select`. Its fields name pools: in a variant they are
models or the anchor; the lab replaces each by its scored answers (`bind`); in a test they are any
names one likes. Rules and ties: paper, Algorithm 1 (phases 1 and 2).
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tsr.config import PairingConfig


@dataclass(frozen=True)
class Candidate:
    """One scored answer. `score` is None when no judgement of it was valid: missing, never zero."""

    prompt_id: str
    model: str
    draw: int
    sample: int
    text: str
    score: float | None
    finish: str = "stop"
    tokens: int = 0
    judgement: str | None = None


Pools = Mapping[Any, Sequence[Candidate]]


@dataclass(frozen=True)
class Selector:
    """Chooses one candidate of one prompt, or none.

    reads: the rules of its own, beside those that every selector reads.
    """

    reads: ClassVar[tuple[str, ...]] = ()

    def select(self, pools: Pools, rules: PairingConfig) -> Candidate | None:
        """The selected candidate; None where no eligible candidate has a score."""
        raise NotImplementedError

    def bind(self, pool_of: Callable[[Any], Any]) -> "Selector":
        """The same selector with each field's value replaced by `pool_of(value)`."""
        bound = {f.name: pool_of(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **bound).simplified()

    def simplified(self) -> "Selector":
        """The simplest selector that always selects the same: equal work gets equal keys."""
        return self


@dataclass(frozen=True)
class BestOf(Selector):
    """The highest-scored answer of `own`: argmax s_i (Algorithm 1, phase 1, chosen)."""

    own: Any

    def select(self, pools: Pools, rules: PairingConfig) -> Candidate | None:
        """See Selector.select."""
        return _extreme(pools[self.own], rules, max)


@dataclass(frozen=True)
class WorstOf(Selector):
    """The lowest-scored answer of `own`: argmin s_i (Self-Rewarding's rejected)."""

    own: Any

    def select(self, pools: Pools, rules: PairingConfig) -> Candidate | None:
        """See Selector.select."""
        return _extreme(pools[self.own], rules, min)


@dataclass(frozen=True)
class AnchoredRejection(Selector):
    """The anchor's worst if min(s_0) < min(s_i), strictly; else the current model's worst.

    Algorithm 1, phase 1, rejected. Where only one of the two pools has scores, its worst is taken.
    """

    reads: ClassVar[tuple[str, ...]] = ("anchor_rule",)

    anchor: Any
    own: Any

    def select(self, pools: Pools, rules: PairingConfig) -> Candidate | None:
        """See Selector.select."""
        old = WorstOf(self.anchor).select(pools, rules)
        new = WorstOf(self.own).select(pools, rules)
        if old is None or new is None:
            return old or new
        return old if _beats(new, old, rules.anchor_rule == "le") else new

    def simplified(self) -> Selector:
        """Anchored to its own pool, this is the plain worst."""
        return WorstOf(self.own) if self.anchor == self.own else self


@dataclass(frozen=True)
class FutureGuidedChosen(Selector):
    """The future model's best if max(s_f) > max(s_i), strictly; else the current model's best.

    Algorithm 1, phase 2, chosen. Where only one of the two pools has scores, its best is taken.
    """

    reads: ClassVar[tuple[str, ...]] = ("future_rule",)

    future: Any
    own: Any

    def select(self, pools: Pools, rules: PairingConfig) -> Candidate | None:
        """See Selector.select."""
        ahead = BestOf(self.future).select(pools, rules)
        now = BestOf(self.own).select(pools, rules)
        if ahead is None or now is None:
            return ahead or now
        return ahead if _beats(ahead, now, rules.future_rule == "ge") else now


@dataclass(frozen=True)
class PairOrReason:
    """A pair, or why there is none: missing, tie or identical."""

    chosen: Candidate | None
    rejected: Candidate | None
    reason: str | None


def pair(chosen: Selector, rejected: Selector, pools: Pools, rules: PairingConfig) -> PairOrReason:
    """Select both sides for one prompt; kept only if score(chosen) - score(rejected) > margin."""
    best, worst = chosen.select(pools, rules), rejected.select(pools, rules)
    return PairOrReason(best, worst, _why_not(best, worst, rules))


def rules_read(rules: PairingConfig, *selectors: Selector) -> PairingConfig:
    """The rules with those that none of the selectors reads at their defaults.

    So that a rule of phase 2 does not change the key of phase 1.
    """
    own = {name for s in (AnchoredRejection, FutureGuidedChosen) for name in s.reads}
    unread = own - {name for selector in selectors for name in selector.reads}
    defaults = PairingConfig()
    return dataclasses.replace(rules, **{name: getattr(defaults, name) for name in unread})


def _why_not(best: Candidate | None, worst: Candidate | None, rules: PairingConfig) -> str | None:
    if best is None or worst is None or best.score is None or worst.score is None:
        return "missing"
    if not best.score - worst.score > rules.margin:
        return "tie"
    if best.text == worst.text and rules.identical == "drop":
        return "identical"
    return None


def _beats(high: Candidate, low: Candidate, or_equal: bool) -> bool:
    assert high.score is not None
    assert low.score is not None
    return high.score > low.score or (or_equal and high.score == low.score)


def _extreme(
    pool: Sequence[Candidate], rules: PairingConfig, of: Callable[..., float]
) -> Candidate | None:
    scored = [c for c in pool if c.score is not None and _eligible(c, rules)]
    if not scored:
        return None
    score = of(c.score for c in scored if c.score is not None)
    return _of_equals([c for c in scored if c.score == score], rules)


def _eligible(c: Candidate, rules: PairingConfig) -> bool:
    if rules.empty == "exclude" and not c.text.strip():
        return False
    return not (rules.unfinished == "exclude" and c.finish == "length")


def _of_equals(equal: list[Candidate], rules: PairingConfig) -> Candidate:
    if rules.ties == "shortest":
        return min(equal, key=lambda c: len(c.text))
    if rules.ties == "longest":
        return max(equal, key=lambda c: len(c.text))
    if rules.ties == "random":
        return min(equal, key=_lot)
    return min(equal, key=lambda c: (c.draw, c.sample))


def _lot(c: Candidate) -> str:
    """A random order that depends on the candidate alone: the same on every machine."""
    return hashlib.sha256(f"{c.prompt_id}/{c.model}/{c.draw}/{c.sample}".encode()).hexdigest()

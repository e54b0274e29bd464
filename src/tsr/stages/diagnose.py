"""Diagnosis of one iteration: what its pairs and its training look like, and what is alarming."""

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tsr.config import DiagnoseConfig
from tsr.jsonl import write_jsonl
from tsr.stage import Stage
from tsr.stages.dpo import DPO
from tsr.stages.model import Model
from tsr.stages.pair import Pairs
from tsr.stages.scores import Scores
from tsr.workbench import Workbench

# Reasons for which a judgement that was given has no score.
UNREAD = ("unparsed", "no_option", "out_of_scale")


@dataclass(frozen=True, eq=False, repr=False)
class Diagnose(Stage):
    """Writes `similarity.jsonl`, and figures that gather those of the pools, pairs and training.

    pairs, pools: what the model was trained on, and the scored candidates behind it.
    encoder: the model whose features are compared, Mi (paper, Fig. 1).
    """

    kind: ClassVar[str] = "diagnose"
    needs: ClassVar[str] = "diagnose"

    model: DPO
    pairs: Pairs
    pools: tuple[Scores, ...]
    encoder: Model
    settings: DiagnoseConfig
    max_length: int

    @property
    def count(self) -> int:
        """How many pairs are measured, at most."""
        return min(self.pairs.count, self.settings.max_pairs or self.pairs.count)

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Gather, measure the similarity where asked, and raise alarms."""
        pairs, dpo = bench.figures(self.pairs), bench.figures(self.model)
        similarity = self._similarity(bench)
        rows = [{"prompt_id": prompt, "cosine": value} for prompt, value in similarity.items()]
        write_jsonl(bench.folder / "similarity.jsonl", rows)
        found = {
            **{k: v for k, v in pairs.items() if k != "units"},
            "similarity": statistics.fmean(similarity.values()) if similarity else None,
            **self._judging(bench),
            "loss": dpo["loss"],
            "margin": dpo["margin"],
            "chosen_logps_change": dpo["chosen_logps_change"],
            "rejected_logps_change": dpo["rejected_logps_change"],
            "prompt_too_long": dpo["prompt_too_long"],
            "answers_cut": dpo["answers_cut"],
        }
        return {"units": len(similarity) or 1} | found | {"alarms": alarms(found)}

    def _similarity(self, bench: Workbench) -> dict[str, float]:
        if not self.settings.similarity:
            return {}
        from tsr.training.features import cosines

        rows = self.pairs.read(bench)[: self.settings.max_pairs]
        files = self.encoder.files(bench)
        bench.release()
        return cosines(bench, files, rows, self.settings, self.max_length)

    def _judging(self, bench: Workbench) -> dict[str, Any]:
        pools = [bench.figures(pool) for pool in self.pools]
        asked = sum(pool["judgements"] for pool in pools)
        histograms = [pool["histogram"] for pool in pools]
        missing = sum((Counter(pool["missing"]) for pool in pools), Counter())
        top, binned = sum(h[-1] for h in histograms), sum(map(sum, histograms))
        return {
            "judgements": asked,
            "parse_failures": sum(missing[reason] for reason in UNREAD),
            "missing_judgements": dict(missing),
            "top_of_scale": top / binned if binned else None,
            "histogram": [sum(bins) for bins in zip(*histograms, strict=True)],
        }


def alarms(found: Mapping[str, Any]) -> list[str]:
    """What a researcher should look at before trusting the next iteration."""
    checks = [
        (
            _share(found["parse_failures"], found["judgements"]) > 0.1,
            "more than 10 % of the judgements could not be read",
        ),
        (
            (found["top_of_scale"] or 0) > 0.5,
            "more than half of the scores lie at the top of the scale: ties decide, not the judge",
        ),
        (
            found["chosen_logps_change"] < 0 and found["rejected_logps_change"] < 0,
            "chosen and rejected log-probabilities both fell",
        ),
        (
            (found["similarity"] or 0) > 0.95,
            "chosen and rejected features are nearly alike: little gradient is left",
        ),
    ]
    return [text for raised, text in checks if raised]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0

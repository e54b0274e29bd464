"""A study of judges on answers that people have ranked: described as stages, then measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from tsr.config import RunConfig
from tsr.judging import Judging
from tsr.loop import Run, build_run
from tsr.quality import Comparison, Quality, Question, measure
from tsr.settings import Refused
from tsr.stage import walk
from tsr.stages.given import Answered, Given
from tsr.stages.model import Model
from tsr.stages.scores import Row, Scores
from tsr.workbench import Workbench


@dataclass(frozen=True)
class Judged:
    """One judge's scores of the given answers, under the judge's name in tables."""

    name: str
    scores: Scores
    aggregate: str

    def quality(self, bench: Workbench, questions: Sequence[Question]) -> Quality:
        """What the finished scores are worth against the ranks."""
        rows = self.scores.rows(bench)
        if any("against" in row for row in rows):
            return measure(questions, comparisons=_comparisons(rows))
        scored = self.scores.scored(bench, self.aggregate)
        scores = {(c.prompt_id, c.sample): c.score for c in scored}
        low, high = self.scores.scale
        return measure(questions, scores, low=low, high=high)


def judged_by(config: RunConfig, who: str, questions: Sequence[Question]) -> Judged:
    """The judge of a config; `who` of the run's models is asked, unless the judge is external.

    who: base (Mb), m0, m1, ...: raises Refused for what the run does not have.
    """
    given = Given.of(
        [Answered(q.id, q.prompt, tuple(a.text for a in q.answers)) for q in questions]
    )
    judging = Judging.of(config.judge, config.engine)
    run = build_run(config)
    model = _model(run, who)
    scores = judging.scores(given, given, lambda _: model, config.seed, config.pairing.aggregate)
    name = _name(config, judging, model in walk([scores]), who)
    return Judged(name, scores, config.pairing.aggregate)


def _name(config: RunConfig, judging: Judging, asked: bool, who: str) -> str:
    """The judge's name, how it scores, and who of the run's models is asked, if one is."""
    scoring = getattr(judging.judge, "scoring", "") if not judging.members else ""
    return " ".join(filter(None, (config.judge.name, scoring, who if asked else "")))


def _model(run: Run, who: str) -> Model:
    models: dict[str, Model] = {"base": run.base, "m0": run.m0}
    models |= {f"m{it.index + 1}": it.model for it in run.iterations}
    if who.lower() not in models:
        raise Refused(f"--who {who}: must be one of {', '.join(models)}")
    return models[who.lower()]


def _comparisons(rows: Sequence[Row]) -> list[Comparison]:
    """The rows of a pairwise judge; `against` is a case's name, which ends with its sample."""
    return [
        Comparison(
            row["prompt_id"],
            row["sample"],
            int(row["against"].rpartition("/")[2]),
            row["order"],
            row["score"],
        )
        for row in rows
    ]

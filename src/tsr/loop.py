"""The loop: from M0, one step of the variant an iteration."""

from dataclasses import dataclass, replace
from functools import cached_property

from tsr.config import DataConfig, RunConfig
from tsr.judges.verifier import Verifier
from tsr.judging import Judging
from tsr.lab import Lab
from tsr.resolve import call, resolve
from tsr.settings import Refused
from tsr.stage import Stage, walk
from tsr.stages.diagnose import Diagnose
from tsr.stages.dpo import DPO
from tsr.stages.judge import Judgements
from tsr.stages.model import Model, Pretrained
from tsr.stages.prompts import HELDOUT, Source
from tsr.stages.sft import SFT
from tsr.variants.base import Variant


@dataclass(frozen=True)
class Iteration:
    """One turn of the loop: M_{i+1}, what is measured on its pairs, and its held-out score."""

    index: int
    model: DPO
    diagnosis: Diagnose
    evaluation: Judgements | None


@dataclass(frozen=True)
class Run:
    """All that a configuration asks for, as stages; nothing has been run."""

    config: RunConfig
    base: Model
    m0: Model
    iterations: tuple[Iteration, ...]
    evaluation: Judgements | None

    @property
    def final(self) -> Model:
        """The model of the last iteration."""
        return self.iterations[-1].model

    @property
    def goals(self) -> list[Stage]:
        """What a person wants from the run: its models, diagnoses and evaluations, in order."""
        goals: list[Stage | None] = [self.m0, self.evaluation]
        for it in self.iterations:
            goals += [it.model, it.diagnosis, it.evaluation]
        return [goal for goal in goals if goal is not None]

    @cached_property
    def stages(self) -> list[Stage]:
        """The goals and all they need, inputs first."""
        return walk(self.goals)


def build_run(config: RunConfig) -> Run:
    """Describe a run. Raises Refused where settings contradict each other."""
    variant = build_variant(config)
    first = _lab(config)
    lineage, iterations = list(first.lineage), []
    for index in range(config.iterations):
        lab = replace(first, lineage=tuple(lineage))
        model = variant.step(lab, lab.lineage)
        iterations.append(Iteration(index, model, _diagnosis(lab, model), _evaluation(lab, model)))
        lineage.append(model)
    return Run(config, first.base, lineage[0], tuple(iterations), _evaluation(first, lineage[0]))


def build_variant(config: RunConfig) -> Variant:
    """The variant's object, from variant._target_ and variant.options."""
    kind = resolve("variant._target_", config.variant._target_, Variant)
    variant = call("variant.options", kind, config.variant.options)
    if variant.needs_anchor and config.variant.anchor is None:
        raise Refused(
            f"variant.anchor=null: {kind.__name__} needs an anchor; "
            "must be one of m0, previous, base"
        )
    return variant


def _lab(config: RunConfig) -> Lab:
    judging = Judging.of(config.judge, config.engine)
    base, sources = Pretrained.of(config.model), _sources(config.data)
    m0 = base if config.model.sft == "none" else _m0(config, base, sources)
    against = sources["ift"] if config.model.sft == "ift" else None
    return Lab(config, judging, sources["prompts"], against, base, (m0,))


def _sources(data: DataConfig) -> dict[str, Source]:
    configs = {"prompts": data.prompts, "ift": data.ift, "eft": data.eft}
    return {
        name: Source.of(f"data.{name}", config, data.seed)
        for name, config in configs.items()
        if config.kind != "none"
    }


def _m0(config: RunConfig, base: Model, sources: dict[str, Source]) -> SFT:
    """M0 = SFT(Mb, IFT and EFT): Algorithm 1, line 1."""
    if "ift" not in sources:
        raise Refused("data.ift.kind=none: model.sft=ift needs IFT rows; or set model.sft=none")
    return SFT(base, sources["ift"], sources.get("eft"), config.train.sft, config.seed)


def _diagnosis(lab: Lab, model: DPO) -> Diagnose:
    pairs, config = model.pairs, lab.config
    return Diagnose(
        model, pairs, tuple(pairs.pools), lab.now, config.diagnose, config.train.dpo.max_length
    )


def _evaluation(lab: Lab, model: Model) -> Judgements | None:
    """Answers to the held-out prompts, scored by the share of constraints that they fulfil."""
    if lab.config.data.heldout == 0:
        return None
    prompts = replace(lab.prompts(), part=HELDOUT, size=0)
    pool = replace(lab.candidates(model, prompts), k=lab.config.eval.samples)
    return Judgements(pool, Verifier(), None, None, 0)

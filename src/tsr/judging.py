"""From a judge's config to scored pools: who asks, what is combined, and what noise is added."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

from tsr.config import EngineConfig, JudgeConfig, NoiseConfig
from tsr.judges.base import Judge
from tsr.resolve import call, resolve
from tsr.settings import Refused
from tsr.stages.ensemble import Ensemble
from tsr.stages.judge import Judgements
from tsr.stages.model import Model, Pretrained
from tsr.stages.noise import Noisy
from tsr.stages.pool import Pool
from tsr.stages.scores import Scores


@dataclass(frozen=True)
class Judging:
    """A configured judge, or an ensemble of them; it only describes work.

    external: the model that judges; None where the run's own models do.
    phase1, phase2: which of those it is then (judge.phase1, judge.phase2).
    """

    judge: Judge
    external: Model | None
    engine: EngineConfig
    noise: NoiseConfig
    members: Mapping[str, "Judging"]
    weights: Mapping[str, float]
    phase1: str
    phase2: str

    @classmethod
    def of(cls, config: JudgeConfig, engine: EngineConfig, field: str = "judge") -> Self:
        """What the config names. Raises Refused where its settings do not go together."""
        kind = resolve(f"{field}._target_", config._target_, Judge)
        judge = _made(field, kind, config)
        engine = config.engine or engine
        if config.members:
            _check_ensemble(field, config)
        elif judge.needs_model:
            _check_engine(field, config, engine, judge)
        members = {
            name: cls.of(member, engine, f"{field}.members.{name}")
            for name, member in config.members.items()
        }
        external = Pretrained.of(config.model) if config.model else None
        phases = config.phase1, config.phase2
        return cls(judge, external, engine, config.noise, members, config.weights, *phases)

    def scores(self, pool: Pool, rivals: Pool, who: "Who", seed: int, aggregate: str) -> Scores:
        """The pool with its scores.

        rivals: whose answers a comparing judge sets candidates against.
        who: the run's model that judges, for a judge (or a member) that is not external.
        """
        scores = self._plain(pool, rivals, who, seed, aggregate)
        return scores if self.noise.none else Noisy(scores, self.noise)

    def _plain(self, pool: Pool, rivals: Pool, who: "Who", seed: int, aggregate: str) -> Scores:
        if self.judge.compares and aggregate == "median":
            raise Refused(
                "pairing.aggregate=median: a comparison is won or lost, so only its mean tells"
            )
        if self.members:
            scored = [m.scores(pool, rivals, who, seed, aggregate) for m in self.members.values()]
            weights = tuple(self.weights.get(name, 1.0) for name in self.members)
            return Ensemble(tuple(scored), tuple(self.members), weights, aggregate)
        if not self.judge.needs_model:
            return Judgements(pool, self.judge, None, None, 0)
        against = rivals if self.judge.compares else None
        return Judgements(pool, self.judge, self.external or who(self), self.engine, seed, against)


# Which of the run's models judges; members of an ensemble may differ in that.
Who = Callable[[Judging], Model]


def _made(field: str, kind: type[Judge], config: JudgeConfig) -> Judge:
    """The judge's object. It tells of its settings as `judge.` something, wherever it is."""
    try:
        return call(f"{field}.options", partial(kind.of, config), config.options)
    except Refused as error:
        told = str(error)
        inside = told.startswith("judge.") and not told.startswith(field)
        raise Refused(field + told.removeprefix("judge") if inside else told) from error


def _check_engine(field: str, config: JudgeConfig, engine: EngineConfig, judge: Judge) -> None:
    """Some models can be asked by one engine only, and some engines can ask one judge only."""
    if judge.engines and engine.name not in judge.engines:
        raise Refused(
            f"{field}.engine.name={engine.name}: {type(judge).__name__} needs one of "
            f"{', '.join(judge.engines)}"
        )
    if not judge.engines and engine.name == "reward":
        raise Refused(f"{field}.engine.name=reward: {type(judge).__name__} needs one with text")
    if config.model and (config.model.source == "api") != (engine.name == "openai"):
        raise Refused(
            f"{field}.model.source={config.model.source}: source=api and engine.name=openai go "
            f"together, and the engine is {engine.name}"
        )
    if engine.name == "openai" and config.scoring == "expected":
        _check_expected(field, config, engine)


def _check_expected(field: str, config: JudgeConfig, engine: EngineConfig) -> None:
    """A server that cannot be made to begin with the opening tells of other tokens' chances."""
    if not engine.prefill:
        raise Refused(
            f"{field}.scoring=expected: needs a server that goes on from a given opening "
            "(engine.prefill=true, as vLLM's); this one takes scoring=text"
        )
    if config.high >= 10 and "split_digits" not in config.options:
        raise Refused(
            f"{field}.options.split_digits: say whether the server's model reads 10 as two tokens "
            "(true) or one (false); scoring=expected on this scale depends on it"
        )


def _check_ensemble(field: str, config: JudgeConfig) -> None:
    """What an ensemble's members say for themselves is not said of the ensemble."""
    said = {"n": config.n != 1, "phase1": config.phase1 != "current", "model": bool(config.model)}
    for name in (name for name, wrong in said.items() if wrong):
        raise Refused(f"{field}.{name}: is each member's own; {field}.members.NAME.{name}=...")

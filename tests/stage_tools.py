"""What tests of stages share: an executor on a store of their own, and pools without a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console

from tsr.engines.base import Answer, Engine, ModelFiles, Request
from tsr.engines.scripted import ScriptedEngine
from tsr.executors.local import Bench, LocalExecutor
from tsr.judges.base import Case, Judge, Verdict
from tsr.progress import Reporter
from tsr.stage import Stage
from tsr.stages.given import Answered, Given
from tsr.stages.model import Model, Pretrained
from tsr.store import Store
from tsr.workbench import Workbench


class Counting(ScriptedEngine):
    """Remembers all that it was asked."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked: list[Request] = []

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        self.asked += requests
        return super().answer(requests)

    @property
    def samples(self) -> int:
        return sum(len(request.seeds) for request in self.asked)


@dataclass(frozen=True, eq=False, repr=False)
class Nobody(Model):
    """A model by name only, for scripted engines."""

    kind: ClassVar[str] = "nobody"

    who: str = "nobody"

    @property
    def base(self) -> Pretrained:
        return Pretrained("tiny")

    def files(self, bench: Workbench) -> ModelFiles:
        return ModelFiles(self.key, bench.artifact(self))

    def produce(self, bench: Workbench) -> dict[str, Any]:
        (bench.folder / "name.txt").write_text(self.who)
        return {"units": 1}


@dataclass(frozen=True)
class Told(Judge):
    """Reads the score off the answer itself: number `part` of `1|2|-`, where `-` has none."""

    needs_model: ClassVar[bool] = False

    part: int = 0

    def read(self, case: Case, answer: Answer | None) -> Verdict:
        word = case.answer.split("|")[self.part]
        return Verdict(None, "", "untold") if word == "-" else Verdict(float(word), f"says {word}")


def given(*answers: str, prompt: str = "What?") -> Given:
    return Given.of([Answered("p", prompt, answers)])


def executor(root: Path, engine: Engine | None = None) -> LocalExecutor:
    reporter = Reporter(Console(quiet=True))
    return LocalExecutor(Store(root), reporter, lambda _: engine or ScriptedEngine())


def bench(run: LocalExecutor) -> Bench:
    return Bench(Path("unused"), run.store, run.engines, run.reporter)


def execute(run: LocalExecutor, *goals: Stage) -> None:
    run.execute(list(goals), lambda stage: None)
    assert not run.failures, run.failures


def figures(run: LocalExecutor, stage: Stage) -> dict[str, Any]:
    return dict(run.store.record(stage)["figures"])

"""A stage: a piece of work known by its recipe, and the key that is the hash of that recipe."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tsr.settings import NEUTRAL, REPRODUCES

if TYPE_CHECKING:
    from tsr.workbench import Workbench


@dataclass(frozen=True, eq=False, repr=False)
class Stage:
    """A frozen recipe. Fields are settings or other stages (its inputs), however nested.

    Two stages are equal when their keys are: when the work is the same, whoever asked for it.
    `version` is raised when the meaning of a kind changes, so that old results are not reused.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    # Working folders that are no part of the artifact: kept while the work may have to go on.
    scratch: ClassVar[tuple[str, ...]] = ()
    # A field of resources.slurm: light, generate, judge, sft, dpo, diagnose; or default.
    needs: ClassVar[str] = "default"

    @cached_property
    def key(self) -> str:
        """The hash of `recipe()`; the same in every process."""
        return key_of(self.recipe())

    def recipe(self) -> dict[str, Any]:
        """All that affects the result: kind, version, settings, and inputs by their keys."""
        return {"kind": self.kind, "version": self.version} | _fields(self)

    @cached_property
    def inputs(self) -> tuple["Stage", ...]:
        """The stages this one reads, each once, in field order."""
        values = (getattr(self, f.name) for f in dataclasses.fields(self))
        found = (stage for value in values for stage in _stages_in(value))
        return tuple(dict.fromkeys(found))

    @property
    def companions(self) -> tuple["Stage", ...]:
        """Other artifacts that must be there wherever this one is read."""
        return ()

    @property
    def siblings(self) -> tuple["Sibling", ...]:
        """The same work in another amount, the largest first: what is there of it is not redone."""
        return ()

    @property
    def count(self) -> int:
        """How many units of work this is expected to be: prompts, samples, judgements, pairs."""
        return 1

    @property
    def tag(self) -> str:
        """Work of one kind with equal tags takes like time per unit; for estimates only."""
        return ""

    @property
    def job(self) -> str:
        """Whose resources it takes on a cluster: see resources.slurm."""
        return self.needs

    @property
    def label(self) -> str:
        """Kind and short key, for people."""
        return f"{self.kind} {self.key[:8]}"

    def produce(self, bench: "Workbench") -> dict[str, Any]:
        """Do the work: write the artifact into `bench.folder`, return figures for the record."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        # Only the recipe travels to another process: there the key is computed anew, so that code
        # which has changed meanwhile is found out.
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __repr__(self) -> str:
        return f"<{self.label}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stage) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True)
class Sibling:
    """A stage's recipe in another amount (another K), known by its key; made or not.

    amount: K. count: as Stage.count.
    """

    kind: str
    key: str
    amount: int
    count: int

    @property
    def label(self) -> str:
        """Kind and short key, for people."""
        return f"{self.kind} {self.key[:8]}"


def key_of(recipe: dict[str, Any]) -> str:
    """SHA-256 (hex) of the canonical JSON of a recipe."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def walk(goals: Iterable[Stage]) -> list[Stage]:
    """The goals and everything they need, each once, inputs before the stages that use them."""
    seen: dict[Stage, None] = {}

    def visit(stage: Stage) -> None:
        if stage not in seen:
            for parent in stage.inputs:
                visit(parent)
            seen[stage] = None

    for goal in goals:
        visit(goal)
    return list(seen)


def _fields(value: Any) -> dict[str, Any]:
    return {
        f.name: _plain(getattr(value, f.name))
        for f in dataclasses.fields(value)
        if not _left_out(f, getattr(value, f.name))
    }


def _left_out(f: "dataclasses.Field[Any]", value: Any) -> bool:
    if f.metadata.get(NEUTRAL, False):
        return True
    return REPRODUCES in f.metadata and bool(value == f.metadata[REPRODUCES])


def _plain(value: Any) -> Any:
    if isinstance(value, Stage):
        return {"stage": value.key}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"type": _type_name(type(value))} | _fields(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"a stage's recipe cannot hold {type(value).__name__}: {value!r}")


def _type_name(kind: type) -> str:
    """Short for what comes with tsr; with its module for what a user wrote: none collide."""
    ours = kind.__module__.partition(".")[0] == "tsr"
    return kind.__name__ if ours else f"{kind.__module__}.{kind.__qualname__}"


def _stages_in(value: Any) -> Iterator[Stage]:
    if isinstance(value, Stage):
        yield value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for f in dataclasses.fields(value):
            yield from _stages_in(getattr(value, f.name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _stages_in(item)

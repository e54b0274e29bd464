"""The local executor: one process, stage after stage, engines kept warm."""

import errno
import json
import logging
import os
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tsr.config import EngineConfig
from tsr.engines.base import Engine, ModelFiles
from tsr.engines.build import build_engine
from tsr.engines.network import give_back
from tsr.plan import missing
from tsr.progress import PROGRESS, Noted, Reporter
from tsr.quiet import log_to
from tsr.stage import Sibling, Stage
from tsr.stages.blocks import BLOCKS
from tsr.stages.share import Share, Splittable, first_of, shares_of, shares_root, take_over
from tsr.stages.siblings import ShareError
from tsr.store import Store
from tsr.store.errors import Busy, StoreFull, StoreReadOnly
from tsr.store.files import sync_tree, write_json
from tsr.workbench import Part, Progress, Spread

log = logging.getLogger("tsr")


FIGURES = "figures.json"
NO_ROOM = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))


@dataclass(frozen=True)
class Failure:
    """A stage that did not come to be: what went wrong, and where its log is."""

    stage: Stage
    error: str
    log: Path | None


class Engines:
    """Warm engines, one for each engine config and model family, at most `most` at a time."""

    def __init__(self, build: Callable[[EngineConfig], Engine], most: int = 1) -> None:
        self._build, self._most = build, most
        self._warm: dict[tuple[str, str], Engine] = {}  # the latest last

    def get(self, config: EngineConfig, model: ModelFiles) -> Engine:
        """The engine with the model loaded; the ones too many give their memory back first."""
        name = (repr(config), model.family)
        while name not in self._warm and len(self._warm) >= self._most:
            self._warm.pop(next(iter(self._warm))).close()
        engine = self._warm.pop(name, None) or self._build(config)
        try:
            engine.load(model)
        except BaseException:  # what it holds now, nobody knows
            engine.close()
            raise
        self._warm[name] = engine
        return engine

    def pause(self) -> None:
        """Make room for a training."""
        for engine in self._warm.values():
            engine.pause()

    def close(self) -> None:
        """Give back the memory of all, even if one fails to."""
        with ExitStack() as stack:
            while self._warm:
                stack.callback(self._warm.popitem()[1].close)


@dataclass
class Bench:
    """The workbench of one stage; see tsr.workbench.Workbench."""

    folder: Path
    store: Store
    engines: Engines
    reporter: Reporter
    part: Part = Part()
    first: int | None = None
    spread: Spread = Spread()

    def only(self, part: Part) -> "Bench":
        """The same bench, for a part of the blocks."""
        return replace(self, part=part)

    def has(self, stage: Stage | Sibling) -> bool:
        """Whether it is in the store."""
        return self.store.has(stage)

    def artifact(self, stage: Stage | Sibling) -> Path:
        """The verified folder of an input."""
        return self.store.folder(stage)

    def figures(self, stage: Stage) -> dict[str, Any]:
        """The figures of a finished stage."""
        return dict(self.store.record(stage)["figures"])

    def engine(self, config: EngineConfig, model: ModelFiles) -> Engine:
        """A warm engine with the model loaded."""
        return self.engines.get(config, model)

    def release(self) -> None:
        """Make room for a training."""
        self.engines.pause()

    @contextmanager
    def progress(self, what: str, total: int, done: int = 0) -> Iterator[Progress]:
        """A bar on a terminal, plain lines elsewhere; and a file for who looks from outside."""
        with self.reporter.progress(what, total, done) as shown:
            noted = Noted(shown, self.folder / PROGRESS, what, total, done, done)
            noted.tell()
            yield noted


@dataclass
class LocalExecutor:
    """Executes what is missing; remembers what failed, so that no run of a sweep tries it again."""

    store: Store
    reporter: Reporter
    build: Callable[[EngineConfig], Engine] = build_engine
    warm: int = 1
    executed: list[Stage] = field(default_factory=list)
    failures: dict[Stage, Failure] = field(default_factory=dict)
    spread_of: Callable[[Stage], Spread] = lambda _: Spread()

    def __post_init__(self) -> None:
        """Engines live as long as the executor."""
        self.engines = Engines(self.build, self.warm)

    def execute(self, goals: Sequence[Stage], after: Callable[[Stage], None]) -> None:
        """Bring the goals about; `after` is called with each stage that is there now.

        A failure stops what needs the failed stage and nothing else.
        """
        for stage in missing(goals, self.store):
            if stage not in self.failures and not self._blocked(stage):
                self.make(stage)
                after(stage)

    def close(self) -> None:
        """Give the engines' memory back."""
        self.engines.close()

    def _blocked(self, stage: Stage) -> bool:
        culprits = [s for s in (*stage.inputs, *stage.companions) if s in self.failures]
        if culprits:
            error = f"not tried, since {culprits[0].label} failed"
            self.failures[stage] = Failure(stage, error, None)
        return bool(culprits)

    def make(self, stage: Stage) -> None:
        """Have one stage made, its inputs being there; what fails is remembered in `failures`."""
        try:
            made = self.store.ensure(stage, partial(self._produce, stage))
        except (StoreFull, StoreReadOnly):
            raise  # no stage can go on
        except Exception as error:
            if any(
                words in str(error) for words in NO_ROOM
            ):  # libraries wrap the error, but keep its text
                raise self.store.full(f"{stage.label}: {error}") from error
            self._failed(stage, error)
            return
        self._remove_shares(stage)
        if made.executed:
            self.executed.append(stage)

    def _produce(self, stage: Stage, folder: Path) -> dict[str, Any]:
        with log_to(folder / "log.txt"):
            try:
                return self._figures(stage, folder) | {"tag": stage.tag}
            except Exception:
                log.debug(traceback.format_exc())  # to the stage's file, not to the terminal
                raise

    def _figures(self, stage: Stage, folder: Path) -> dict[str, Any]:
        """Work that was finished and then killed before it was published is not done again."""
        done = folder / FIGURES
        if not done.exists():
            first = self._take_shares(stage, folder)
            figures = stage.produce(replace(self._bench(stage, folder), first=first))
            sync_tree(folder)  # a power cut must not leave figures of files that are not there
            # What shares did is no measure of how long the whole takes.
            write_json(done, figures | ({} if first is None else {"units": None}))
            give_back()  # trainers hold what the next stage wants
        for name in stage.scratch:
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / PROGRESS).unlink(missing_ok=True)
        return dict(json.loads(done.read_text()))

    def _shares(self, stage: Stage) -> list[Share]:
        """What array tasks have finished of it."""
        note = self.store.notes.get(stage.key) if isinstance(stage, Splittable) else None
        shares = shares_of(stage, note.shares) if note else ()
        return [share for share in shares if self.store.has(share)]

    def _take_shares(self, stage: Stage, folder: Path) -> int | None:
        """Take over what shares have made. Returns their first sample; None without shares."""
        places = [self.store.folder(share) / BLOCKS for share in self._shares(stage)]
        if not places:
            return None
        blocks = [block for place in places for block in sorted(place.glob("*.jsonl"))]
        try:
            first = first_of(blocks)
        except ShareError:
            self._remove_shares(stage)  # the next try is to make them anew
            raise
        take_over(blocks, folder)
        return first

    def _remove_shares(self, stage: Stage) -> None:
        for share in self._shares(stage):
            with suppress(Busy):  # somebody else who waited for the stage is at it
                self.store.drop(share)
        if isinstance(stage, Splittable):
            self.store.forget(shares_root(stage))

    def _bench(self, stage: Stage, folder: Path) -> Bench:
        spread = self.spread_of(stage)
        return Bench(folder, self.store, self.engines, self.reporter, spread=spread)

    def _failed(self, stage: Stage, error: Exception) -> None:
        left = self.store.leftovers(stage)
        path = left[0] / "log.txt" if left else None
        message = f"{type(error).__name__}: {error}"
        self.failures[stage] = Failure(stage, message, path)
        log.error(
            "%s failed: %s\n  its log: %s\n  the same command goes on from what is finished",
            stage.label,
            message,
            path,
        )

"""Progress for people: a bar with rates on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY_S = 30.0


def console() -> Console:
    """Standard output; wide enough for any table where no terminal says how wide it is."""
    out = Console()
    return out if out.is_terminal else Console(width=140)


@dataclass
class Bar:
    """One bar on a terminal."""

    bars: Progress
    task: TaskID

    def advance(self, amount: int = 1) -> None:
        """See tsr.workbench.Progress."""
        self.bars.advance(self.task, amount)
        task = self.bars.tasks[0]
        if task.elapsed:
            self.bars.update(self.task, rate=f"{task.completed / task.elapsed:.2f}/s")


@dataclass
class Lines:
    """Plain lines, at most one in EVERY_S seconds."""

    console: Console
    what: str
    total: int
    done: int
    began: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def advance(self, amount: int = 1) -> None:
        """See tsr.workbench.Progress."""
        self.done += amount
        now = time.monotonic()
        if now - self.told >= EVERY_S:
            self.told = now
            self.console.print(
                f"{self.what} {self.done}/{self.total} after {now - self.began:.0f} s"
            )


@dataclass
class Reporter:
    """Where progress is shown."""

    console: Console

    @contextmanager
    def progress(self, what: str, total: int, done: int = 0) -> Iterator[Bar | Lines]:
        """Show how far `what` is while the block runs."""
        if not self.console.is_terminal:
            yield Lines(self.console, what, total, done)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            yield Bar(bars, bars.add_task(what, total=total, completed=done, rate=""))

"""The jobs of a plan, and what each of them waits for. Nothing of SLURM's own is known here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tsr.resources import SlurmConfig
from tsr.stage import Stage
from tsr.stages.share import Share, shares_of


@dataclass(frozen=True)
class Task:
    """One stage to be made by a job of its own.

    needs: stages of the same plan whose jobs must have succeeded. after: one whose job must have
    ended, well or not: a sibling, whose rows this one takes over instead of making them again.
    shares: in what the work is split, each an array task; the stage's own job puts them together.
    """

    stage: Stage
    needs: tuple[Stage, ...]
    after: Stage | None
    shares: tuple[Share, ...]


def tasks_of(to_run: Sequence[Stage], slurm: SlurmConfig) -> list[Task]:
    """A task for every stage that is to be run (inputs first, as a plan has them)."""
    missing = set(to_run)
    latest: dict[str, Stage] = {}
    behind: dict[Stage, set[Stage]] = {}
    tasks = []
    for stage in to_run:
        wanted = [need for need in dict.fromkeys(_needs(stage)) if need in missing]
        further = set().union(*(behind[need] for need in wanted))
        # What one of them waits for already need not be waited for again.
        needs = tuple(need for need in wanted if need not in further)
        behind[stage] = further | set(needs)
        after = _sibling(stage, latest)
        tasks.append(Task(stage, needs, after, shares_of(stage, slurm.of(stage.job).array or 1)))
        latest[stage.key] = stage
    return tasks


def _needs(stage: Stage) -> Iterator[Stage]:
    """What must be there before: inputs, and what is read together with them."""
    for one in (*stage.inputs, *stage.companions):
        yield one
        yield from _companions(one)


def _companions(stage: Stage) -> Iterator[Stage]:
    for one in stage.companions:
        yield one
        yield from _companions(one)


def _sibling(stage: Stage, before: dict[str, Stage]) -> Stage | None:
    """The one of its siblings that was planned last before it."""
    keys = {sibling.key for sibling in stage.siblings}
    return next((s for key, s in reversed(before.items()) if key in keys), None)

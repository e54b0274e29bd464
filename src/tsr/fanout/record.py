"""The last job of a run: it writes the run's folder, and tells its tracker."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tsr.config import RunConfig
from tsr.executors.local import Failure
from tsr.executors.slurm.job import Place
from tsr.executors.slurm.warning import saving
from tsr.loop import Run, build_run
from tsr.plan import plan_of
from tsr.quiet import log_to_terminal
from tsr.recorder import PLAN, STATUS, Recorder, asked, folder_of, group_of
from tsr.stage import Stage
from tsr.store import Store
from tsr.trackers.base import NoTracker, Tracker, open_tracker

UNTOLD: Final = "untold"  # all is there, but the tracker has not been told


@dataclass(frozen=True)
class RecordJob:
    """Writes a run's folder and tells its tracker, once all that can be there is there."""

    config: RunConfig
    name: str
    place: Place

    def __call__(self) -> None:
        """One tracker run for the whole of it, whoever made the stages."""
        log_to_terminal()
        with saving(self.config.resources.slurm.notice_s):
            record(self.config, self.name, self.place.store())


def record(config: RunConfig, name: str, store: Store) -> None:
    """Write what is known of a run that works no more: its folder first, then its tracker.

    The run counts as done only when its tracker has been told too.
    """
    run, folder = build_run(config), folder_of(config, name)
    failures = lacking(run, store)
    state = "failed" if failures else "done"
    if config.tracker.name == "none":
        _record(name, run, store, NoTracker(), state, failures)
        return
    _record(name, run, store, NoTracker(), UNTOLD, failures)
    group, settings = group_of(config), asdict(config)
    tracker = open_tracker(config.tracker, name, asked(run), group, str(folder), settings)
    _record(name, run, store, tracker, state, failures)


def _record(
    name: str, run: Run, store: Store, tracker: Tracker, state: str, failures: Sequence[Failure]
) -> None:
    recorder = Recorder(name, run, store, tracker)
    recorder.begin(plan_of({name: run.stages}, run.goals, store))
    recorder.end(state, failures)


def recorded(run: Run, folder: Path) -> bool:
    """Whether the folder tells of this run, and that it is done."""
    try:
        status = json.loads((folder / STATUS).read_text())
        stages = json.loads((folder / PLAN).read_text())
    except (FileNotFoundError, ValueError):
        return False
    keys = [stage.key for stage in run.stages]
    return bool(status["state"] == "done" and keys == [stage["key"] for stage in stages])


def lacking(run: Run, store: Store, told: Mapping[str, str] | None = None) -> list[Failure]:
    """What a run still wants, with the error of the job that should have made it.

    told: what else is known of stages, by key, where their jobs said nothing themselves.
    """
    plan = plan_of({"": run.stages}, run.goals, store)
    lacks: dict[Stage, Failure] = {}
    for stage in plan.to_run:
        note = store.notes.get(stage.key)
        culprits = [one for one in (*stage.inputs, *stage.companions) if one in lacks]
        if culprits:
            lacks[stage] = Failure(stage, f"not made, since {culprits[0].label} was not", None)
        else:
            error = (note.error if note else None) or (told or {}).get(stage.key)
            error = error or "not made; see its log, and tsr.status"
            lacks[stage] = Failure(stage, error, Path(note.logs if note else run.config.runs))
    return list(lacks.values())

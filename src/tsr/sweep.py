"""From configurations to finished runs: describe all, plan all, then execute run by run."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rich.console import Console

from tsr.config import RunConfig
from tsr.engines.build import build_engine
from tsr.executors.local import Failure, LocalExecutor
from tsr.loop import Run, build_run
from tsr.pin import pinned
from tsr.plan import Plan, plan_of
from tsr.progress import Reporter, console
from tsr.provenance import git_revision
from tsr.recorder import Recorder, asked, folder_of, group_of, named
from tsr.report.metrics import Row, work_of
from tsr.report.tables import alarms, comparison, run_table
from tsr.settings import Refused
from tsr.stage import Stage
from tsr.store import Store
from tsr.store.sweeps import SweepFile, Wanted, now, sweep_name
from tsr.trackers.base import open_tracker
from tsr.training.spread import spread_of


class RunFailed(RuntimeError):
    """At least one stage failed; what does not need it has been finished."""


@dataclass(frozen=True)
class Finished:
    """A run that has ended: its figures, and what failed in it."""

    name: str
    folder: Path
    rows: list[dict[str, Any]]
    failures: list[Failure]


@dataclass
class Sweep:
    """Runs that share a store and an executor."""

    configs: Sequence[RunConfig]
    console: Console = field(default_factory=console)

    def __post_init__(self) -> None:
        """Describe every run, so that a mistake in the last is found before the first starts."""
        self.configs = [pinned(config) for config in self.configs]
        runs = [build_run(config) for config in self.configs]
        self.runs = named(runs)
        self.executor = executor_for(self.configs, self.console)
        self.store = self.executor.store

    def plan(self) -> Plan:
        """The plan of all runs together."""
        wanted = {name: run.stages for name, run in self.runs.items()}
        goals = [goal for run in self.runs.values() for goal in run.goals]
        return plan_of(wanted, goals, self.store)

    @cached_property
    def name(self) -> str:
        """The same for the same command, so that it can be taken up and looked at again."""
        goals = {name: [goal.key for goal in run.goals] for name, run in self.runs.items()}
        return sweep_name(goals)

    def note(self, executor: str, plan: Plan, records: Mapping[str, str] | None = None) -> None:
        """Tell the store what is wanted, for `python -m tsr.status`, and what gc must keep."""
        for name, run in self.runs.items():
            keys = [stage.key for stage in run.stages]
            self.store.keep(name, keys, self.folder(name).resolve())
        if plan.to_run or not self.store.sweeps.path(self.name).exists():
            self.store.sweeps.put(self._file(executor, plan, records or {}))

    def _file(self, executor: str, plan: Plan, records: Mapping[str, str]) -> SweepFile:
        return SweepFile(
            name=self.name,
            started=now(),
            executor=executor,
            stages=tuple(
                Wanted(s.key, s.kind, s.label, s.count, tuple(one.key for one in s.inputs))
                for s in plan.distinct
            ),
            runs={name: [stage.key for stage in run.stages] for name, run in self.runs.items()},
            folders={name: str(self.folder(name).resolve()) for name in self.runs},
            needed=tuple(stage.key for stage in plan.to_run),
            records=dict(records),
        )

    def execute(self) -> list[Finished]:
        """Run everything that is missing. Raises RunFailed at the end if anything failed."""
        plan = self.plan()
        self.note("local", plan)
        self.console.print(
            f"{len(self.runs)} run(s): {plan.asked} stages wanted, {len(plan.distinct)} distinct, "
            f"{plan.count('done')} cached, {len(plan.to_run)} to run",
            highlight=False,
        )
        with closing(self.executor):
            finished = [self._run(name, run, plan) for name, run in self.runs.items()]
        self.conclude(finished)
        self.console.print(f"{len(self.executor.executed)} stages executed", highlight=False)
        require(finished)
        return finished

    def _run(self, name: str, run: Run, plan: Plan) -> Finished:
        config = run.config
        folder, group = folder_of(config, name), group_of(config)
        tracker = open_tracker(config.tracker, name, asked(run), group, str(folder), asdict(config))
        recorder = Recorder(name, run, self.store, tracker)
        try:
            recorder.begin(plan)
            self.executor.execute(run.goals, recorder.after)
        except BaseException as error:
            state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            recorder.end(state)
            raise
        failures = self._failures_of(run)
        recorder.end("failed" if failures else "done", failures)
        self.tell(name, recorder.rows)
        return Finished(name, folder, recorder.rows, failures)

    def _failures_of(self, run: Run) -> list[Failure]:
        found: dict[Stage, Failure] = self.executor.failures
        return [found[stage] for stage in run.stages if stage in found]

    def folder(self, name: str) -> Path:
        """A run's folder, made if need be."""
        return folder_of(self.runs[name].config, name)

    def tell(self, name: str, rows: Sequence[Row]) -> None:
        """Print a run's figures, and what in them a researcher should look at."""
        if len(rows) > 1:
            self.console.print(run_table(name, rows))
        for alarm in alarms(rows):
            self.console.print(f"! {alarm}", highlight=False)

    def conclude(self, finished: Sequence[Finished]) -> None:
        """Print the comparison, and where the runs' folders are."""
        if len(finished) > 1:
            works = [work_of(run) for run in self.runs.values()]
            lines = [(f.name, f.rows, w) for f, w in zip(finished, works, strict=True)]
            self.console.print(comparison(lines))
        for f in finished:
            self.console.print(f"{f.name}: {f.folder}", highlight=False, soft_wrap=True)


def require(finished: Sequence[Finished]) -> None:
    """Raise RunFailed with every stage that failed, each once."""
    failed = [f for one in finished for f in one.failures if f.log is not None]
    if failed:
        raise RunFailed("; ".join(dict.fromkeys(f"{f.stage.label}: {f.error}" for f in failed)))


def executor_for(configs: Sequence[RunConfig], console: Console) -> LocalExecutor:
    """What carries out the stages of these configs. Refused where they cannot share it."""
    first = configs[0]
    if any(config.store != first.store for config in configs):
        raise Refused("store: the runs of a sweep share one store; give a single value")
    if any(config.resources != first.resources for config in configs):
        raise Refused("resources: the runs of a sweep share them; give a single value each")
    return LocalExecutor(
        Store(Path(first.store), check=first.store_check, revision=git_revision()),
        Reporter(console),
        partial(build_engine, resources=first.resources),
        first.resources.engines,
        spread_of=partial(spread_of, first.resources),
    )


def run_all(configs: Sequence[RunConfig]) -> list[Finished]:
    """Execute a sweep on this machine, in this process."""
    return Sweep(configs).execute()

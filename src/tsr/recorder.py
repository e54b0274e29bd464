"""The run folder: what a run leaves for people, links into the store included."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tsr.config import RunConfig
from tsr.executors.local import Failure
from tsr.jsonl import read_jsonl, write_jsonl
from tsr.loop import Run
from tsr.plan import Plan
from tsr.report.metrics import first_row, iteration_row, phase1_pairs
from tsr.stage import Stage, walk
from tsr.store import Store
from tsr.store.files import write_atomic
from tsr.trackers.base import Tracker
from tsr.training.outcome import ADAPTER, CHECKPOINT

PLAN = "plan.json"
STATUS = "status.json"


def run_name(config: RunConfig, run: Run) -> str:
    """Readable choices and a hash of what is asked for: the same command gives the same name."""
    if config.name:
        return config.name
    choices = (config.variant.name, config.model.name, config.judge.name)
    return "-".join(
        (*choices, f"k{config.k}", f"i{config.iterations}", f"s{config.seed}", asked(run)[:8])
    )


def asked(run: Run) -> str:
    """A hash of what a run asks for (hex): the same for the same run, whatever it is called."""
    return hashlib.sha256("".join(goal.key for goal in run.goals).encode()).hexdigest()


def named(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by their names; of runs with equal names (they ask for the same), each gets a number."""
    found: dict[str, Run] = {}
    for run in runs:
        name, number = run_name(run.config, run), 2
        unique = name
        while unique in found:
            unique, number = f"{name}-{number}", number + 1
        found[unique] = run
    return found


class Recorder:
    """Writes a run's folder as its stages come to be, and tells its tracker.

    config.yaml, plan.json, status.json, metrics.jsonl, stages.json; links `final`,
    `models/Mi` and `pairs/`.
    """

    def __init__(self, name: str, run: Run, store: Store, tracker: Tracker) -> None:
        self.name, self.run, self.store, self.tracker = name, run, store, tracker
        self.folder = folder_of(run.config, name)
        self.written: dict[int, dict[str, Any]] = {}
        self.curves: set[Stage] = set()
        self.began = time.time()

    def begin(self, plan: Plan) -> None:
        """Before the first stage: what was asked for, and what of it was there."""
        config = yaml.safe_dump(asdict(self.run.config), sort_keys=False)
        write_atomic(self.folder / "config.yaml", config)
        states = [
            {"kind": s.kind, "key": s.key, "state": plan.states[s], "count": s.count}
            for s in self.run.stages
        ]
        write_atomic(self.folder / PLAN, json.dumps(states, indent=1) + "\n")
        self.store.keep(self.name, [stage.key for stage in self.run.stages], self.folder.resolve())
        self._status("running")
        self.after(None)

    def after(self, _: Stage | None) -> None:
        """Write each row that has become complete, in order, and hand it to the tracker."""
        for index in range(len(self.run.iterations) + 1):
            row = None if index in self.written else self._row(index)
            if row is not None:
                self.written[index] = row
                self.tracker.metrics(row)
                write_jsonl(self.folder / "metrics.jsonl", self.rows)
        for index, stage in self._trainings:
            if stage not in self.curves and self.store.has(stage):
                self.curves.add(stage)
                self.tracker.curve(f"M{index}", list(read_jsonl(self._log(stage))))

    def end(self, state: str, failures: Sequence[Failure] = ()) -> None:
        """The last word: done, failed or interrupted; links to what is there."""
        self._links()
        self._status(state, failures)
        self.tracker.finish(0 if state == "done" else 1)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows so far, M0's first."""
        return [self.written[index] for index in sorted(self.written)]

    def _row(self, index: int) -> dict[str, Any] | None:
        if index == 0:
            return first_row(self.run, self.store)
        return iteration_row(self.run.iterations[index - 1], self.store)

    @cached_property
    def _trainings(self) -> list[tuple[int, Stage]]:
        """Every training of the run with the iteration whose model it leads to."""
        found: dict[Stage, int] = {}
        models = [self.run.m0, *(it.model for it in self.run.iterations)]
        for index, model in enumerate(models):
            for stage in walk([model]):
                if stage.kind in ("sft", "dpo"):
                    found.setdefault(stage, index)
        return [(index, stage) for stage, index in found.items()]

    def _path(self, stage: Stage) -> Path:
        return self.store.layout.target(stage.kind, stage.key)

    def _log(self, stage: Stage) -> Path:
        return self._path(stage) / "training.jsonl"

    def _status(self, state: str, failures: Sequence[Failure] = ()) -> None:
        status = {
            "run": self.name,
            "state": state,
            "seconds": round(time.time() - self.began, 1),
            "failures": [
                {"stage": f.stage.label, "error": f.error, "log": f.log and str(f.log)}
                for f in failures
            ],
        }
        write_atomic(self.folder / STATUS, json.dumps(status, indent=1) + "\n")

    def _links(self) -> None:
        stages = {s.label: str(self._path(s)) for s in self.run.stages if self.store.has(s)}
        write_atomic(self.folder / "stages.json", json.dumps(stages, indent=1) + "\n")
        if self.store.has(self.run.m0):
            _link(self.folder / "models" / "M0", _weights(self._path(self.run.m0)))
        for it in self.run.iterations:
            if not self.store.has(it.model):
                continue
            weights = _weights(self._path(it.model))
            _link(self.folder / "models" / f"M{it.index + 1}", weights)
            pairs = self._path(it.model.pairs) / "pairs.jsonl"
            _link(self.folder / "pairs" / f"iteration-{it.index}.jsonl", pairs)
            first = phase1_pairs(it)
            if first is not None and self.store.has(first):
                name = f"iteration-{it.index}-phase1.jsonl"
                _link(self.folder / "pairs" / name, self._path(first) / "pairs.jsonl")
            if it is self.run.iterations[-1]:
                _link(self.folder / "final", weights)


def group_of(config: RunConfig) -> str:
    """Runs of one model and judge are compared with each other."""
    return f"{config.model.name}-{config.judge.name}"


def folder_of(config: RunConfig, name: str) -> Path:
    """The run's folder, made if need be."""
    folder = Path(config.runs) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _weights(folder: Path) -> Path:
    """Where a model's adapter or checkpoint lies in its stage's folder."""
    inner = [folder / name for name in (ADAPTER, CHECKPOINT) if (folder / name).is_dir()]
    return inner[0] if inner else folder


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    # Made aside and moved into place: another process may be at the same run.
    aside = link.with_name(f".{link.name}.tmp-{os.getpid()}")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target.resolve())
    aside.replace(link)

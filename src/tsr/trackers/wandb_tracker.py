"""Weights & Biases: one wandb run per run, finished inside it."""

import re
from collections.abc import Sequence
from typing import Any, cast

from tsr.config import TrackerConfig
from tsr.settings import Refused
from tsr.trackers.base import Row


class WandbTracker:
    """Per-iteration figures against `iteration`; training curves against `training/step`."""

    def __init__(
        self,
        config: TrackerConfig,
        name: str,
        identity: str,
        group: str,
        folder: str,
        settings: Row,
    ) -> None:
        try:
            import wandb
        except ImportError as error:
            raise Refused("tracker=wandb: needs the package; pip install 'tsr[wandb]'") from error
        self.run: Any = wandb.init(
            project=config.project,
            entity=config.entity,
            mode=cast(Any, config.mode),
            group=group,
            name=name,
            # The same for the same run: taken up again, it stays one run in the project.
            id=run_id(name, identity),
            resume="allow",
            dir=folder,
            config=dict(settings),
            settings=wandb.Settings(silent=True),
        )
        self.run.define_metric("iteration")
        self.run.define_metric("iteration/*", step_metric="iteration")
        self.run.define_metric("training/step")
        self.run.define_metric("training/*", step_metric="training/step")
        self.steps = 0
        # What an online run that is taken up again has been told already is not told twice.
        told = self.run.summary if self.run.resumed else {}
        self.told_iteration = told.get("iteration", -1)
        self.told_steps = told.get("training/step", 0)

    def metrics(self, row: Row) -> None:
        """See Tracker; M0 is iteration 0, and the model of iteration i is i + 1."""
        figures = {f"iteration/{k}": v for k, v in row.items() if isinstance(v, int | float)}
        index = row["iteration"] + 1 if "iteration" in row else 0
        if index > self.told_iteration:
            self.run.log(figures | {"iteration": index})

    def curve(self, name: str, rows: Sequence[Row]) -> None:
        """See Tracker; trainings follow each other on one axis."""
        for row in rows:
            self.steps += 1
            figures = {f"training/{k}": v for k, v in row.items() if k != "step"}
            if self.steps > self.told_steps:
                self.run.log(figures | {"training/step": self.steps, "training/of": name})

    def finish(self, exit_code: int) -> None:
        """See Tracker."""
        self.run.finish(exit_code=exit_code)


def run_id(name: str, identity: str) -> str:
    """wandb's id of a run: readable, and of the characters and the length that wandb allows."""
    return f"{re.sub('[^A-Za-z0-9_-]', '-', name)[:100]}-{identity[:12]}"

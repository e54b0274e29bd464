"""What a tracker is: a place outside the run folder that metrics go to."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tsr.config import TrackerConfig

Row = Mapping[str, Any]


class Tracker(Protocol):
    """One per run, opened before its first stage and finished inside it."""

    def metrics(self, row: Row) -> None:
        """A model's figures: M0's, or those of an iteration."""

    def curve(self, name: str, rows: Sequence[Row]) -> None:
        """A training's log, step by step."""

    def finish(self, exit_code: int) -> None:
        """The run is over; 0 is success."""


class NoTracker:
    """Nothing outside the run folder."""

    def metrics(self, row: Row) -> None:
        """See Tracker."""

    def curve(self, name: str, rows: Sequence[Row]) -> None:
        """See Tracker."""

    def finish(self, exit_code: int) -> None:
        """See Tracker."""


def open_tracker(
    config: TrackerConfig, name: str, identity: str, group: str, folder: str, settings: Row
) -> Tracker:
    """The tracker that a config names. identity: what the run asks for; see recorder.asked."""
    if config.name == "none":
        return NoTracker()
    from tsr.trackers.wandb_tracker import WandbTracker

    return WandbTracker(config, name, identity, config.group or group, folder, settings)

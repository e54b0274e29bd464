"""A sweep's state, as tables."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tsr.report.tables import labels
from tsr.status.states import ALL, DONE, FAILED, NEVER, RUNNING, Cluster, State
from tsr.store.sweeps import SweepFile

COLOURS = {DONE: "green", RUNNING: "cyan", FAILED: "red", NEVER: "red"}
MOST_LINES = 100


def overview(
    sweep: SweepFile, states: Sequence[State], cluster: Cluster, everything: bool
) -> RenderableType:
    """Counts, every stage, every run; with many stages only those that are not done."""
    shown = [s for s in states if everything or len(states) <= MOST_LINES or s.state != DONE]
    parts: list[RenderableType] = [
        Text(headline(sweep, states)),
        _stages(shown),
    ]
    parts.append(_runs(sweep, states, cluster))
    parts += [log_of(state) for state in states if state.log]
    if cluster.trouble:
        parts.append(Text(f"! SLURM cannot be asked: {cluster.trouble}"))
    return Group(*parts)


def headline(sweep: SweepFile, states: Sequence[State]) -> str:
    """One line: the sweep and how many of its stages are in which state."""
    counts = Counter(state.state for state in states)
    told = ", ".join(f"{counts[name]} {name}" for name in ALL if counts[name])
    return f"{sweep.name} ({sweep.executor}, started {sweep.started}): {len(states)} stages: {told}"


def _stages(states: Sequence[State]) -> Table:
    table = Table("stage", "units", "state", "job", "detail", title_justify="left")
    table.columns[1].justify = "right"
    table.columns[4].overflow = "fold"
    for s in states:
        state = Text(s.state, style=COLOURS.get(s.state, ""))
        table.add_row(s.stage.label, str(s.stage.count), state, s.job or "-", Text(s.detail))
    return table


def _runs(sweep: SweepFile, states: Sequence[State], cluster: Cluster) -> Table:
    table = Table("run", "done", *[name for name in ALL if name != DONE], "record", "folder")
    by_key, short = {s.stage.key: s.state for s in states}, labels(list(sweep.runs))
    for name, keys in sweep.runs.items():
        counts = Counter(by_key[key] for key in keys if key in by_key)
        cells = [str(counts[state] or "-") for state in ALL]
        record = Text(_record(sweep.records.get(name), cluster))
        table.add_row(Text(short[name]), *cells, record, Text(sweep.folders.get(name, "")))
    return table


def _record(job: str | None, cluster: Cluster) -> str:
    """The job that writes a run's folder, and how it is."""
    if job is None:
        return "-"
    known = cluster.queued.get(job) or cluster.ended.get(job)
    return f"{job} {known.state.lower()}" if known else job


def log_of(state: State) -> Text:
    """The end of the log of a stage that failed."""
    text = Text(f"{state.stage.label}, job {state.job}, last lines of its log:\n", style="red")
    return text.append("\n".join(f"  {line}" for line in state.log), style="")


def show(out: Console, what: RenderableType) -> None:
    """Print without markup or highlighting: logs are untrusted text."""
    out.print(what, markup=False, highlight=False)

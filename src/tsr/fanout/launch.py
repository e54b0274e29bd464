"""Submit a sweep, say what was submitted, and if wanted stay until it is over."""

import shlex
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tsr.config import RunConfig
from tsr.fanout.record import lacking, record, recorded
from tsr.fanout.submit import Submission, Submitted
from tsr.report.metrics import rows_of
from tsr.status.cluster import asked
from tsr.status.show import headline, log_of, show
from tsr.status.states import FAILED, State, states_of
from tsr.sweep import Finished, RunFailed, Sweep, require


def launch(configs: Sequence[RunConfig], wait: bool, poll_s: float) -> Submitted:
    """Submit what is missing of these runs. With `wait`, raises RunFailed if a stage failed."""
    sweep = Sweep(configs)
    done = Submission(sweep).submit()
    _tell(sweep, done, sweep.console)
    for name in done.unwritten:
        record(sweep.runs[name].config, name, sweep.store)
    if wait:
        _conclude(sweep, done, _follow(sweep, done, poll_s))
    return done


def _conclude(sweep: Sweep, done: Submitted, states: Sequence[State]) -> None:
    told = {state.stage.key: state.detail for state in states if state.state == FAILED}
    finished = [_finished(sweep, name, told) for name in sweep.runs]
    for one in finished:
        sweep.tell(one.name, one.rows)
    sweep.conclude(finished)
    for state in states:
        if state.log:
            show(sweep.console, log_of(state))
    require(finished)
    _require_records(sweep, done)


def _tell(sweep: Sweep, done: Submitted, out: Console) -> None:
    if done.jobs:
        out.print(_table(done))
    arrays = sum(array.new for array in done.arrays.values())
    shares = f" and {arrays} array(s) for their shares" if arrays else ""
    out.print(
        f"{len(sweep.runs)} run(s), sweep {done.sweep}: {done.new} jobs submitted{shares}, "
        f"{len(done.jobs) - done.new} in the queue already, "
        f"{len(done.records)} more write the runs' folders",
        highlight=False,
    )
    where = f" --store {shlex.quote(str(sweep.store.root))}"
    out.print(
        f"watch:  python -m tsr.status {done.sweep}{where} --watch\n"
        f"cancel: python -m tsr.cancel {done.sweep}{where}",
        highlight=False,
        soft_wrap=True,
    )


def _table(done: Submitted) -> Table:
    table = Table("job", "stage", "units", "after", "", title="Jobs", title_justify="left")
    for job in done.jobs:
        array = done.arrays.get(job.stage)
        for one in (array, job) if array else (job,):
            split = f", {one.tasks} shares" if one.tasks else ""
            there = "" if one.new else "in the queue already"
            after = ", ".join(one.after) or "-"
            table.add_row(one.job, f"{one.stage.label}{split}", str(one.stage.count), after, there)
    return table


def _follow(sweep: Sweep, done: Submitted, poll_s: float) -> list[State]:
    """Stay while any of the jobs is in the queue; say how far it is when that changes."""
    ids = {given.job for given in (*done.jobs, *done.arrays.values())}
    ids |= set(done.records.values())
    told = ""
    while True:
        file = sweep.store.sweeps.get(done.sweep)
        states, cluster = states_of(file, sweep.store)
        line = f"! {cluster.trouble}" if cluster.silent else headline(file, states)
        if line != told:
            sweep.console.print(line, highlight=False, soft_wrap=True)
        told = line
        if not cluster.silent and ids.isdisjoint(cluster.queued):
            return states
        time.sleep(poll_s)


def _require_records(sweep: Sweep, done: Submitted) -> None:
    """Raise RunFailed where a run's folder could not be written, though its stages are there."""
    ended = asked(done.records.values()).ended
    for name, job in done.records.items():
        state = ended[job].state if job in ended else ""
        if state.startswith("COMPLETED") or recorded(sweep.runs[name], sweep.folder(name)):
            continue
        raise RunFailed(
            f"{name}: job {job}, which writes its folder and tells its tracker, did not end well "
            f"{f'({state}) ' if state else ''}- its log is in record-{name} beside the other jobs' "
            "logs. The same command does it again"
        )


def _finished(sweep: Sweep, name: str, told: Mapping[str, str]) -> Finished:
    run = sweep.runs[name]
    failures = lacking(run, sweep.store, told)
    return Finished(name, sweep.folder(name), rows_of(run, sweep.store), failures)

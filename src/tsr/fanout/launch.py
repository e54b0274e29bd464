"""Submit a sweep, say what was submitted, and if wanted stay until it is over."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tsr.config import RunConfig
from tsr.fanout.record import lacking
from tsr.fanout.submit import Submission, Submitted
from tsr.report.metrics import rows_of
from tsr.status.cluster import asked
from tsr.status.show import headline
from tsr.status.states import states_of
from tsr.sweep import Finished, RunFailed, Sweep, require


def launch(configs: Sequence[RunConfig], wait: bool, poll_s: float) -> Submitted:
    """Submit what is missing of these runs. With `wait`, raises RunFailed if a stage failed."""
    sweep = Sweep(configs)
    done = Submission(sweep).submit()
    _tell(sweep, done, sweep.console)
    if wait:
        _follow(sweep, done, poll_s)
        finished = [_finished(sweep, name) for name in sweep.runs]
        for one in finished:
            sweep.tell(one.name, one.rows)
        sweep.conclude(finished)
        require(finished)
        _require_records(done)
    return done


def _tell(sweep: Sweep, done: Submitted, out: Console) -> None:
    table = Table("job", "stage", "units", "after", "", title="Jobs", title_justify="left")
    for stage, job, needs, new in done.jobs:
        waits = ", ".join(needs) or "-"
        table.add_row(
            job, stage.label, str(stage.count), waits, "" if new else "in the queue already"
        )
    if done.jobs:
        out.print(table)
    there = len(done.jobs) - done.new
    out.print(
        f"{len(sweep.runs)} run(s), sweep {done.sweep}: {done.new} jobs submitted, {there} in the "
        f"queue already, {len(done.records)} more write the runs' folders",
        highlight=False,
    )
    where = f" --store {sweep.store.root}"
    out.print(
        f"watch:  python -m tsr.status {done.sweep}{where} --watch\n"
        f"cancel: python -m tsr.cancel {done.sweep}{where}",
        highlight=False,
        soft_wrap=True,
    )


def _follow(sweep: Sweep, done: Submitted, poll_s: float) -> None:
    """Stay while any of the jobs is in the queue; say how far it is when that changes."""
    ids = {job for _, job, _, _ in done.jobs} | set(done.records.values())
    told = ""
    while True:
        file = sweep.store.sweeps.get(done.sweep)
        states, cluster = states_of(file, sweep.store)
        line = f"! {cluster.trouble}" if cluster.silent else headline(file, states)
        if line != told:
            sweep.console.print(line, highlight=False, soft_wrap=True)
        told = line
        if not cluster.silent and ids.isdisjoint(cluster.queued):
            return
        time.sleep(poll_s)


def _require_records(done: Submitted) -> None:
    """Raise RunFailed where a run's folder could not be written, though its stages are there."""
    ended = asked(done.records.values()).ended
    for name, job in done.records.items():
        if job in ended and not ended[job].state.startswith(("COMPLETED", "CANCELLED")):
            raise RunFailed(
                f"{name}: job {job}, which writes its folder, {ended[job].state}; its log is in "
                f"record-{name} beside the other jobs' logs. The same command writes it anew"
            )


def _finished(sweep: Sweep, name: str) -> Finished:
    run = sweep.runs[name]
    return Finished(name, sweep.folder(name), rows_of(run, sweep.store), lacking(run, sweep.store))

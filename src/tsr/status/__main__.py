"""`python -m tsr.status`: how far a sweep is, or one of its runs."""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

from rich.console import RenderableType
from rich.live import Live

from tsr.progress import console
from tsr.run import guarded
from tsr.status.show import overview, show
from tsr.status.states import PENDING, RUNNING, states_of
from tsr.store import Store
from tsr.store.sweeps import SweepFile


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser("tsr.status", description=__doc__)
    parser.add_argument(
        "name", nargs="?", default="", help="sweep or run; the latest sweep if none"
    )
    parser.add_argument("--store", type=Path, default=Path("store"), help="the store's folder")
    parser.add_argument(
        "--watch", nargs="?", type=float, const=5.0, metavar="S", help="look again every S seconds"
    )
    parser.add_argument("--all", action="store_true", help="also list stages that are done")
    parser.add_argument("--json", action="store_true", help="print every stage as a JSON line")
    args = parser.parse_args()
    sys.exit(guarded(lambda: look(args)))


def look(args: argparse.Namespace) -> None:
    """Look once, or until nothing goes on any more."""
    store = Store(args.store)
    # Once: whoever watches the latest sweep does not want the next one.
    args.name = args.name or store.sweeps.get("").name
    if args.json:
        for state in states_of(wanted(store, args.name), store)[0]:
            print(json.dumps(dataclasses.asdict(state)))
        return
    out = console()
    if not args.watch:
        show(out, _view(store, args)[0])
        return
    with Live(console=out, auto_refresh=False, transient=out.is_terminal) as live:
        going = True
        while going:
            view, going = _view(store, args)
            live.update(view, refresh=True)
            if going:
                time.sleep(args.watch)
    if out.is_terminal:
        show(out, view)


def _view(store: Store, args: argparse.Namespace) -> tuple[RenderableType, bool]:
    sweep = wanted(store, args.name)
    states, cluster = states_of(sweep, store)
    going = any(state.state in (RUNNING, PENDING) for state in states)
    going |= not cluster.queued.keys().isdisjoint(sweep.records.values())
    return overview(sweep, states, cluster, args.all), going


def wanted(store: Store, name: str) -> SweepFile:
    """The sweep of that name, or the part of the latest sweep that a run of that name wants."""
    for sweep in reversed(store.sweeps.all() if name else []):
        runs = {run: keys for run, keys in sweep.runs.items() if run == name}
        if runs:
            keys = set(runs[name])
            stages = tuple(stage for stage in sweep.stages if stage.key in keys)
            return dataclasses.replace(sweep, runs=runs, stages=stages)
    return store.sweeps.get(name)


if __name__ == "__main__":
    main()

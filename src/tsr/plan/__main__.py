"""`python -m tsr.plan`: the graph of a run or, with -m, of a whole sweep, before anything runs."""

import argparse
import json
import sys
from pathlib import Path

from tsr.compose import compose_all
from tsr.loop import Run, build_run
from tsr.pin import unpinned
from tsr.plan import Plan, plan_of
from tsr.progress import console
from tsr.recorder import run_name
from tsr.report.tables import plan_tables
from tsr.run import guarded
from tsr.store import Store


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser("tsr.plan", description=__doc__)
    parser.add_argument("-m", "--multirun", action="store_true", help="overrides hold lists")
    parser.add_argument("--json", action="store_true", help="print every stage as a JSON line")
    parser.add_argument("-cd", "--config-dir", type=Path, help="your own conf/, as for tsr.run")
    parser.add_argument("overrides", nargs="*", help="as for tsr.run")
    args = parser.parse_intermixed_args()
    overrides = list(args.overrides)
    if args.config_dir:
        overrides.append(f"hydra.searchpath=[file://{args.config_dir.resolve()}]")
    sys.exit(guarded(lambda: show(overrides, args.multirun, args.json)))


def show(overrides: list[str], multirun: bool, as_json: bool) -> None:
    """Compose, describe, look into the store, print. Nothing is written, nothing is fetched."""
    configs = compose_all(overrides, multirun)
    runs = {run_name(run.config, run): run for run in map(build_run, configs)}
    store = Store(Path(configs[0].store), check=configs[0].store_check)
    goals = [goal for run in runs.values() for goal in run.goals]
    plan = plan_of({name: run.stages for name, run in runs.items()}, goals, store)
    if as_json:
        _print_json(plan)
    else:
        _print_tables(plan, runs)


def _print_json(plan: Plan) -> None:
    for stage in plan.distinct:
        row = {
            "kind": stage.kind,
            "key": stage.key,
            "state": plan.states[stage],
            "inputs": [parent.key for parent in stage.inputs],
            "wanted_by": [name for name, stages in plan.wanted.items() if stage in set(stages)],
            "count": stage.count,
            "seconds": plan.seconds.get(stage),
        }
        print(json.dumps(row))


def _print_tables(plan: Plan, runs: dict[str, Run]) -> None:
    out = console()
    open_fields = {name: unpinned(run.config) for name, run in runs.items()}
    for part in plan_tables(plan, open_fields):
        out.print(part, highlight=False, soft_wrap=isinstance(part, str))


if __name__ == "__main__":
    main()

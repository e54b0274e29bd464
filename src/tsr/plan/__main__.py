"""`python -m tsr.plan`: the graph of a run or, with -m, of a whole sweep, before anything runs."""

import argparse
import json
import sys
from pathlib import Path

from tsr.compose import add_overrides, compose_all, overrides_of
from tsr.loop import Run, build_run
from tsr.pin import unpinned
from tsr.plan import Plan, plan_of
from tsr.progress import console
from tsr.recorder import named
from tsr.report.tables import labels, plan_tables
from tsr.resources import SlurmConfig
from tsr.run import guarded
from tsr.store import Store


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser("tsr.plan", description=__doc__)
    parser.add_argument("--graph", action="store_true", help="list every stage and its inputs")
    parser.add_argument("--json", action="store_true", help="print every stage as a JSON line")
    add_overrides(parser)
    args = parser.parse_intermixed_args()
    overrides = overrides_of(args)
    sys.exit(guarded(lambda: show(overrides, args.multirun, args.json, args.graph)))


def show(overrides: list[str], multirun: bool, as_json: bool, graph: bool = False) -> None:
    """Compose, describe, look into the store, print. Nothing is written, nothing is fetched."""
    configs = compose_all(overrides, multirun)
    runs = named([build_run(config) for config in configs])
    store = Store(Path(configs[0].store), check=configs[0].store_check)
    goals = [goal for run in runs.values() for goal in run.goals]
    plan = plan_of({name: run.stages for name, run in runs.items()}, goals, store)
    if as_json:
        _print_json(plan)
        return
    if graph:
        _print_graph(plan)
    _print_tables(plan, runs)
    slurm = configs[0].resources.slurm
    if any(slurm.of(stage.job).all_gpus for stage in plan.to_run):
        console().print(gpu_hours(plan, slurm), highlight=False)


def gpu_hours(plan: Plan, slurm: SlurmConfig) -> str:
    """What SLURM would account for: expected time of each stage times the GPUs of its job."""
    hours, unknown = 0.0, 0
    for stage in plan.to_run:
        job, seconds = slurm.of(stage.job), plan.seconds[stage]
        gpus = job.all_gpus
        hours += (seconds or 0.0) * gpus / 3600
        unknown += gpus > 0 and seconds is None
    if not unknown:
        return f"on SLURM: {hours:.1f} GPU hours"
    known = f"{hours:.1f} + ?" if hours else "?"
    return f"on SLURM: {known} GPU hours; of {unknown} stages with GPUs there is no record"


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


def _print_graph(plan: Plan) -> None:
    """One line a distinct stage, inputs first: state, stage, what it is made from, who wants it."""
    short, out = labels(list(plan.wanted)), console()
    wanted = {name: set(stages) for name, stages in plan.wanted.items()}
    for stage in plan.distinct:
        inputs = ", ".join(parent.label for parent in stage.inputs) or "-"
        users = " ".join(short[name] for name in wanted if stage in wanted[name])
        line = f"{plan.states[stage]:8} {stage.label:20} x{stage.count:<7} <- {inputs}  [{users}]"
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_tables(plan: Plan, runs: dict[str, Run]) -> None:
    out = console()
    open_fields = {name: unpinned(run.config) for name, run in runs.items()}
    for part in plan_tables(plan, open_fields):
        out.print(part, highlight=False, soft_wrap=isinstance(part, str))


if __name__ == "__main__":
    main()

"""`python -m tsr.judge DATA ...`: how good judges are, on answers that people have ranked."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from tsr.compose import add_overrides, compose_all, overrides_of
from tsr.config import RunConfig
from tsr.data.load import BadData
from tsr.executors.local import Bench
from tsr.judge.study import Judged, judged_by
from tsr.pin import pinned
from tsr.progress import console
from tsr.quality import Quality, Question, as_json, plot, read_labelled, table
from tsr.quality.labelled import EXPECTED
from tsr.run import guarded
from tsr.settings import Refused
from tsr.store.files import write_atomic
from tsr.sweep import RunFailed, executor_for


def main() -> None:
    """Parse the command line; the overrides are those of tsr.run."""
    parser = argparse.ArgumentParser("tsr.judge", description=__doc__)
    parser.add_argument("data", type=Path, help=f"file or folder: {', '.join(EXPECTED)}")
    parser.add_argument("--format", default="auto", choices=("auto", *EXPECTED))
    parser.add_argument("--limit", type=int, help="judge the first so many questions only")
    parser.add_argument("--who", default="base", help="of the run's models: base, m0, m1,m2")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/judge"), help="folder of the results"
    )
    add_overrides(parser)
    args = parser.parse_intermixed_args()
    sys.exit(guarded(partial(study, args)))


def study(args: argparse.Namespace) -> None:
    """Judge what is not judged yet, measure, and print; results go to --out as well."""
    questions = _questions(args.data, args.format, args.limit)
    configs = [pinned(config) for config in compose_all(overrides_of(args), args.multirun)]
    judged = [judged_by(c, who, questions) for c in configs for who in args.who.split(",")]
    # An external judge is the same whoever of the run's models is asked.
    judged = list({(j.scores, j.aggregate): j for j in judged}.values())
    qualities = _judge(configs, judged, questions)
    console().print(table(qualities))
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(qualities), indent=1, allow_nan=False)
    write_atomic(args.out / "judges.json", text + "\n")
    plot(qualities, args.out / "judges.png")
    print(f"{args.out}: judges.json, judges.png")


def _questions(path: Path, fmt: str, limit: int | None) -> list[Question]:
    if limit is not None and limit < 1:
        raise Refused(f"--limit {limit}: must be >= 1")
    try:
        return read_labelled(path, fmt)[:limit]
    except (BadData, OSError) as error:
        told = str(error)
        raise Refused(told if str(path) in told else f"{path}: {told}") from error


def _judge(
    configs: Sequence[RunConfig], judged: Sequence[Judged], questions: Sequence[Question]
) -> dict[str, Quality]:
    """Execute what is missing, then measure each judge. Raises RunFailed if a stage failed."""
    executor = executor_for(configs, console())
    with closing(executor):
        executor.execute([j.scores for j in judged], lambda _: None)
    if executor.failures:
        told = [f"{f.stage.label}: {f.error}" for f in executor.failures.values()]
        raise RunFailed("; ".join(told))
    store = executor.store
    bench = Bench(store.root, store, executor.engines, executor.reporter)
    names = _unique([j.name for j in judged])
    return {n: j.quality(bench, questions) for n, j in zip(names, judged, strict=True)}


def _unique(names: Sequence[str]) -> list[str]:
    """Judges that differ in other settings only are numbered."""
    earlier = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{n} {e + 1}" if e else n for n, e in zip(names, earlier, strict=True)]


if __name__ == "__main__":
    main()

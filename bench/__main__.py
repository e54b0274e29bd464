"""`python -m bench [NAME ...]`: run the benchmarks and print one line a figure, with its target."""

import argparse
import importlib
import json
from pathlib import Path

NAMES = ("startup", "store", "pairs", "engine", "vllm", "sweep", "slurm", "demo")


def main() -> None:
    parser = argparse.ArgumentParser("bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    figures = {}
    for name in args.names or NAMES:
        print(f"== {name}", flush=True)
        figures[name] = importlib.import_module(f"bench.bench_{name}").main()
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

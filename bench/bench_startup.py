"""How long people wait before anything happens: --help, and the plan of a 12-run sweep."""

import statistics
import subprocess
import sys
import tempfile
import time

SWEEP = ["-m", "variant=past_only,temporal", "model=qwen,mistral", "k=3,5,7"]


def seconds(*command: str, folder: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", *command], check=True, cwd=folder, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def main() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        helps = [seconds("tsr.run", "--help", folder=folder) for _ in range(5)]
        plans = [seconds("tsr.plan", *SWEEP, folder=folder) for _ in range(5)]
    figures = {"help_s": statistics.median(helps), "plan_12_runs_s": statistics.median(plans)}
    print(f"python -m tsr.run --help: {figures['help_s']:.2f} s (target 1.5), median of 5")
    print(f"tsr.plan of 12 runs: {figures['plan_12_runs_s']:.2f} s (target 3), median of 5")
    return figures


if __name__ == "__main__":
    main()

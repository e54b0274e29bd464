"""How long people wait before anything happens: --help, plans of sweeps of 12 and of 64 runs."""

import statistics
import subprocess
import sys
import tempfile
import time

SWEEP = ["-m", "variant=past_only,temporal", "model=qwen,mistral", "k=3,5,7"]
VARIANTS = "variant=self_rewarding,past_only,temporal,future_only"
# 64 runs: most differ in values; every one differs in its choices of files, which takes longer.
VALUES = ["-m", "model=tiny", "engine=scripted", VARIANTS, "k=3,4", "seed=range(8)"]
MODELS = "model=llama3_8b,qwen,mistral,llama3_3b"
CHOICES = ["-m", VARIANTS, MODELS, "judge=self,frozen,verifier,pairwise"]


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
        values = [seconds("tsr.plan", *VALUES, folder=folder) for _ in range(5)]
        choices = [seconds("tsr.plan", *CHOICES, folder=folder) for _ in range(5)]
    figures = {"help_s": statistics.median(helps), "plan_12_runs_s": statistics.median(plans)}
    figures |= {"plan_64_values_s": statistics.median(values)}
    figures |= {"plan_64_choices_s": statistics.median(choices)}
    print(f"python -m tsr.run --help: {figures['help_s']:.2f} s (target 1.5), median of 5")
    print(f"tsr.plan of 12 runs: {figures['plan_12_runs_s']:.2f} s (target 3), median of 5")
    for what in ("values", "choices"):
        taken = figures[f"plan_64_{what}_s"]
        print(f"tsr.plan of 64 runs, {what} vary: {taken:.2f} s (target 3), median of 5")
    return figures


if __name__ == "__main__":
    main()

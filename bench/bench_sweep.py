"""What sharing saves: three variants as one sweep against three runs in separate stores."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VARIANTS = ("self_rewarding", "past_only", "temporal")
SMALL = ("data.prompts_per_iteration=8", "k=3", "sampling.max_new_tokens=32", "iterations=2")


def run(folder: str, store: str, *overrides: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "tsr.run", *overrides, *SMALL, f"store={store}"],
        check=True, cwd=folder, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - began


def executed(store: Path) -> list[str]:
    """Key of every stage execution that the store has noted."""
    lines = [line for file in (store / "timings").glob("*.jsonl") for line in file.open()]
    return [json.loads(line)["key"] for line in lines if line.strip()]


def main() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        together = run(folder, "one", "-m", f"variant={','.join(VARIANTS)}")
        stages = executed(Path(folder) / "one")
        apart = {v: run(folder, v, f"variant={v}") for v in VARIANTS}
        alone = sum(len(executed(Path(folder) / v)) for v in VARIANTS)
    ratio = together / sum(apart.values())
    print(f"one sweep {together:.0f} s, {len(stages)} stages, {len(set(stages))} distinct")
    print(f"separately {sum(apart.values()):.0f} s, {alone} stages")
    print(f"sweep / separate runs: {ratio:.2f} of the time; SmolLM2, {' '.join(SMALL)}")
    return {"sweep_s": together, "separate_s": sum(apart.values()), "ratio": ratio}


if __name__ == "__main__":
    main()

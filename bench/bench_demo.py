"""`make demo`'s job in an empty folder, and again: time and memory."""

import resource
import subprocess
import sys
import tempfile
import time


def run(folder: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "tsr.run", "experiment=demo"], check=True, cwd=folder,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - began


def main() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        first, again = run(folder), run(folder)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"demo: {first / 60:.1f} min (target 10); again: {again:.1f} s (target 10)")
    print(f"largest process of this benchmark: {peak:.1f} GiB (target 6)")
    return {"demo_s": first, "again_s": again, "peak_gib": peak}


if __name__ == "__main__":
    main()

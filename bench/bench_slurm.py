"""What a sweep of 64 runs costs on SLURM: submitting it, its state, taking it back.

Brings up a SLURM of its own (see tests/slurm/cluster.py); without the packages it says so.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SWEEP = (
    "-m",
    "model=tiny",
    "engine=scripted",
    "variant=self_rewarding,past_only,temporal,future_only",
    "k=3,4",
    "seed=range(8)",
)
CLUSTER = Path(__file__).parents[1] / "tests" / "slurm" / "cluster.py"


def timed(folder: Path, *command: str) -> tuple[float, str]:
    began = time.perf_counter()
    words = [sys.executable, "-m", *command]
    done = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
    return time.perf_counter() - began, done.stdout


def measured(folder: Path) -> dict[str, float]:
    """Jobs are taken, but none begins: what is measured is the command, not its neighbours."""
    subprocess.run(["scontrol", "update", "PartitionName=main", "State=DOWN"], check=True)
    submit, out = timed(folder, "tsr.run", *SWEEP, "hydra/launcher=slurm")
    jobs = int(out.split(" jobs submitted")[0].split()[-1])
    looks = [timed(folder, "tsr.status")[0] for _ in range(5)]
    again = timed(folder, "tsr.run", *SWEEP, "hydra/launcher=slurm")[0]
    cancel = timed(folder, "tsr.cancel")[0]
    print(f"submitting 64 runs, {jobs} jobs: {submit:.1f} s (target 30)")
    print(f"the same command again, nothing to submit: {again:.1f} s")
    print(f"tsr.status of it: {statistics.median(looks):.2f} s (target 2), median of 5")
    print(f"tsr.cancel of it: {cancel:.1f} s")
    figures = {"submit_s": submit, "again_s": again, "cancel_s": cancel}
    return figures | {"status_s": statistics.median(looks)}


def main() -> dict[str, float]:
    if shutil.which("slurmctld") is None:
        print("no SLURM here: apt-get install slurm-wlm slurmdbd munge mariadb-server")
        return {}
    with tempfile.TemporaryDirectory(prefix="tsr-bench-") as name:
        folder = Path(name)
        subprocess.run([sys.executable, str(CLUSTER), "up", name], check=True)
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        try:
            return measured(folder)
        finally:
            subprocess.run([sys.executable, str(CLUSTER), "down", name], check=True)


if __name__ == "__main__":
    main()

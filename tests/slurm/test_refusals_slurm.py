"""What goes wrong before a job runs, or at its start, and what is said then."""

import os
import shutil
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.sweeping import SLURM, TINY, held, of_kind, queue, states, tsr, until

pytestmark = pytest.mark.slurm
ONE = (*TINY, "variant=self_rewarding", "iterations=1", SLURM)


def test_a_partition_that_does_not_exist_is_refused_by_name_before_any_job(
    cluster: Cluster, tmp_path: Path
) -> None:
    out = tsr(tmp_path, *ONE, "resources.slurm.dpo.partition=nowhere", code=1)
    assert "resources.slurm.dpo" in out
    assert "invalid partition specified: nowhere" in out
    assert "nothing stays submitted" in out
    assert not queue()


def test_without_slurm_the_message_says_where_to_go(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tsr(tmp_path, *ONE, code=1)
    assert "no SLURM on this machine" in out
    assert "hydra/launcher=local" in out


def test_a_store_that_the_node_does_not_see_is_told_at_the_start_of_the_job(
    cluster: Cluster, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    with held(cluster):
        tsr(tmp_path, *ONE)
        (tmp_path / "store").rename(hidden)
    until(lambda: not queue(), "the end of all jobs")
    made = [p for p in (tmp_path / "store").rglob("*") if p.is_file()]
    assert not made, "nothing may be begun anew in an empty folder of that name"
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    hidden.rename(tmp_path / "store")
    (first, *_) = of_kind(tmp_path, "prompts")
    assert first["state"] == "failed"
    assert "cannot be seen from node" in " ".join(first["log"])


def test_a_log_folder_that_the_node_does_not_see_is_told_by_status(
    cluster: Cluster, tmp_path: Path
) -> None:
    with held(cluster):
        tsr(tmp_path, *ONE)
        shutil.rmtree(tmp_path / "runs" / "slurm")
    until(lambda: not queue(), "the end of all jobs")
    (first, *_) = of_kind(tmp_path, "prompts")
    assert first["state"] == "failed"
    assert "can that folder be seen from node n" in first["detail"]


def test_no_wckey_unless_asked_and_options_reach_sbatch(cluster: Cluster, tmp_path: Path) -> None:
    more = (
        "resources.slurm.default.setup=['export GREETING=hello']",
        "resources.slurm.dpo.minutes=7",
        "+resources.slurm.dpo.sbatch.comment=ours",
    )
    tsr(tmp_path, *ONE, *more)
    scripts = {p.parent.name: p.read_text() for p in tmp_path.glob("runs/slurm/*/*/*.sh")}
    dpo = next(text for name, text in scripts.items() if name.startswith("dpo-"))
    assert "--time=7" in dpo
    assert "--comment=ours" in dpo
    assert dpo.index("export GREETING=hello") < dpo.index("exec ")
    assert not any("--wckey" in text for text in scripts.values())
    asked = tsr(tmp_path, *ONE, "resources.slurm.wckey=ours", "seed=5")
    keys = [p.read_text() for p in tmp_path.glob("runs/slurm/*/*/*.sh")]
    assert any("--wckey=ours" in text for text in keys), asked


def test_code_that_changed_after_submission_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """A stage's key is computed anew in the job; there it must be the one that was submitted."""
    plugin = tmp_path / "mine.py"
    text = (
        "from tsr.variants.past_only import PastOnly\n"
        "from tsr.stages.pair import Pairs\n"
        "Pairs.version = {}\n"
        "class Mine(PastOnly):\n"
        "    pass\n"
    )
    plugin.write_text(text.format(8))
    mine = ("variant=past_only", "variant._target_=mine.Mine")
    with held(cluster):
        tsr(tmp_path, *TINY, "iterations=1", *mine, SLURM)
        assert len(of_kind(tmp_path, "pair")) == 1
    until(lambda: not queue(), "the end of all jobs")
    (pairs,) = of_kind(tmp_path, "pair")
    # The job does not import mine.py: to it, Pairs has another version.
    assert pairs["state"] == "failed"
    assert "the code has changed" in pairs["detail"]
    assert {s["state"] for s in states(tmp_path).values()} >= {"done", "failed", "never"}


def test_a_full_store_stops_what_needs_it_and_says_so(cluster: Cluster, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small filesystem needs root")
    small = tmp_path / "store"
    small.mkdir()
    cluster.run("mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small))
    try:
        out = tsr(tmp_path, *ONE, "hydra.launcher.wait=true", code=1)
        assert "no room left in the store" in out
        assert "make room" in out
    finally:
        until(lambda: not queue(), "the end of all jobs")
        cluster.run("umount", str(small))

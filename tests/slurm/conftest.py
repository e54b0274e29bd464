"""A real SLURM for the tests in this folder: two virtual nodes with one slot each."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slurm.cluster import Cluster, lacking


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster, which SLURM's commands, submitit and tsr find through SLURM_CONF."""
    if lacking() and os.environ.get("TSR_NEED_SLURM") != "1":
        pytest.skip(lacking())
    if lacking():
        pytest.fail(lacking(), pytrace=False)
    # Sockets lie in it, and their paths are bounded: pytest's own folders may be too deep.
    found = Cluster(Path(tempfile.mkdtemp(prefix="tsr-slurm-")))
    with brought_up(found), pytest.MonkeyPatch.context() as patch:
        for name, value in found.environment.items():
            patch.setenv(name, value)
        yield found


@contextmanager
def brought_up(cluster: Cluster) -> Iterator[None]:
    """A cluster for the while, gone afterwards with all that it wrote."""
    try:
        cluster.up()
        yield
    finally:
        cluster.down(wipe=True)


@pytest.fixture(autouse=True)
def tidy(cluster: Cluster) -> Iterator[None]:
    """No test leaves jobs to the next, nor dead nodes."""
    yield
    cluster.tidy()

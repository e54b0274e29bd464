"""What several test files need."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tsr.compose import compose_all
from tsr.config import RunConfig

Compose = Callable[..., RunConfig]

# A shell lets what it starts in the background, and all that starts, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def composed(tmp_path: Path) -> Compose:
    """A run's config from overrides, with its store and runs under the test's own folder."""

    def compose(*overrides: str) -> RunConfig:
        places = [f"store={tmp_path / 'store'}", f"runs={tmp_path / 'runs'}"]
        return compose_all([*places, *overrides], multirun=False)[0]

    return compose


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny matrices: a second thread only waits, and long where the machine is busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

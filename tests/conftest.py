"""What several test files need."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tsr.compose import compose_all
from tsr.config import RunConfig

Compose = Callable[..., RunConfig]


@pytest.fixture
def composed(tmp_path: Path) -> Compose:
    """A run's config from overrides, with its store and runs under the test's own folder."""

    def compose(*overrides: str) -> RunConfig:
        places = [f"store={tmp_path / 'store'}", f"runs={tmp_path / 'runs'}"]
        return compose_all([*places, *overrides], multirun=False)[0]

    return compose

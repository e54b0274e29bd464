"""Which source a result was made with."""

import subprocess
from pathlib import Path


def git_revision() -> str | None:
    """The commit of the checkout that this package runs from, `+` where it has changes; or None."""
    here = Path(__file__).resolve().parent
    asked = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=40"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10)
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None

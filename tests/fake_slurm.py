"""SLURM's commands as scripts that say what a test tells them to, and remember their words."""

from pathlib import Path

import pytest

SCRIPT = """#!/bin/sh
printf '%s\\t' "${0##*/}" "$@" >> "$0.calls"
echo >> "$0.calls"
"""
SAID = """[ ! -f "$0.out" ] || /bin/cat "$0.out"
[ ! -f "$0.err" ] || /bin/cat "$0.err" >&2
"""
# Refuses from number `most` on; keeps each script.
SBATCH = """count=$(/bin/cat "$0.count" 2>/dev/null || echo 0)
[ "$count" -lt {most} ] || {{ echo "sbatch: error: {error}" >&2; exit 1; }}
count=$((count + 1))
echo $count > "$0.count"
for script in "$@"; do :; done
/bin/cat "$script" > "$0.script-$((100 + count))"
echo "Submitted batch job $((100 + count))"
"""


class FakeSlurm:
    """A PATH on which there is nothing but what was given to `says` and `does`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir(parents=True)
        monkeypatch.setenv("PATH", str(self.folder))

    def says(self, command: str, out: str = "", *, err: str = "", code: int = 0) -> None:
        (self.folder / f"{command}.out").write_text(out)
        (self.folder / f"{command}.err").write_text(err)
        self.does(command, f"{SAID}exit {code}\n")

    def does(self, command: str, body: str) -> None:
        path = self.folder / command
        path.write_text(SCRIPT + body)
        path.chmod(0o755)

    def takes_jobs(self, most: int = 1000, error: str = "") -> None:
        """An sbatch that gives 101, 102, ... to what is submitted, and refuses after `most`."""
        self.says("srun")
        self.does("sbatch", SBATCH.format(most=most, error=error))

    def calls(self, command: str) -> list[list[str]]:
        """The words of each call."""
        path = self.folder / f"{command}.calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.rstrip("\t").split("\t")[1:] for line in lines]

    def scripts(self) -> dict[str, str]:
        """What was submitted, by job id."""
        found = self.folder.glob("sbatch.script-*")
        return {path.name.rpartition("-")[2]: path.read_text() for path in found}

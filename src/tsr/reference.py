"""`python -m tsr.reference`: every setting with its default, bounds and meaning."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from tsr.config import RunConfig
from tsr.settings import NEUTRAL, Section


def rows(section: Section, path: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(key, default, allowed, meaning) of every setting, depth first."""
    for f in dataclasses.fields(section):
        name, value = f"{path}.{f.name}" if path else f.name, getattr(section, f.name)
        if isinstance(value, Section):
            yield from rows(value, name)
        else:
            neutral = "" if f.metadata.get(NEUTRAL) else " *"
            yield name, _text(value), _allowed(f.metadata), f"{f.metadata.get('help', '')}{neutral}"


def _text(value: object) -> str:
    return "null" if value is None else str(value)


def _allowed(meta: Mapping[str, Any]) -> str:
    if meta.get("choices"):
        return ", ".join(meta["choices"])
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return ", ".join(f"{sign} {meta[k]}" for k, sign in signs.items() if meta.get(k) is not None)


def main() -> None:
    """Print the reference."""
    table = Table("setting", "paper's or default value", "allowed", "meaning")
    for row in rows(RunConfig()):
        table.add_row(*row)
    Console().print(table)
    print("* part of the keys of the stages it concerns: another value is another result")


if __name__ == "__main__":
    main()

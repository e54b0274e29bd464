"""From lists to runs: one list of overrides per run, the same for tsr.plan and for tsr.run."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, product
from typing import Any, cast

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from tsr.settings import Refused

ZIPPED = "hydra.sweeper.zipped"
Rows = list[dict[str, str]]


def expand(given: Sequence[Override], zipped: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The product of all lists, those of one mapping of `zipped` together; equal runs are one.

    given: a sweep's params, then the command line; of a key given twice, the last. A value that is
    given for a mapping's first key, and is in its list, chooses those rows; any other value takes
    the place of its key's in every row.
    """
    zipped = [_contents(group) for group in zipped]
    lists = {override.get_key_element(): _lines(override) for override in given}
    _refuse_twice(zipped)
    axes = [[list(row.values()) for row in _rows(group, lists)] for group in zipped]
    keys = set(chain(*zipped))
    axes += [[[line] for line in lines] for key, lines in lists.items() if key not in keys]
    return _unique(list(chain(*parts)) for parts in product(*axes))


def line_of(key: str, value: Any) -> str:
    """The override that sets a key to a value as YAML has it."""
    return f"{key}={Override._get_value_element_as_str(_quoted(value))}"


def _contents(group: Mapping[str, Any]) -> dict[str, Any]:
    plain = OmegaConf.to_container(group) if isinstance(group, DictConfig) else group
    return {str(key): values for key, values in cast(Mapping[str, Any], plain).items()}


def _lines(override: Override) -> list[str]:
    return [line for (line,) in BasicSweeper.split_arguments([override], None)[0]]


def _rows(group: Mapping[str, Any], lists: Mapping[str, list[str]]) -> Rows:
    _refuse_uneven(group)
    columns = [[line_of(key, value) for value in values] for key, values in group.items()]
    rows = [dict(zip(group, row, strict=True)) for row in zip(*columns, strict=True)]
    for index, key in enumerate(group):
        if key in lists:
            rows = list(chain(*(_with(rows, key, line, index == 0) for line in lists[key])))
    return rows


def _with(rows: Rows, key: str, line: str, choose: bool) -> Rows:
    chosen = [row for row in rows if choose and _value(row[key]) == _value(line)]
    return chosen or [row | {key: line} for row in rows]


def _value(line: str) -> Any:
    return OverridesParser.create().parse_override(line).value()


def _quoted(value: Any) -> Any:
    """Texts that Hydra would read as something else are quoted, wherever in a value they are."""
    if isinstance(value, list):
        return [_quoted(item) for item in value]
    if isinstance(value, dict):
        return {key: _quoted(item) for key, item in value.items()}
    if not isinstance(value, str) or _plain(value):
        return value
    return QuotedString(value, Quote.single)


def _plain(text: str) -> bool:
    words = {"null", "true", "false", "nan", "inf"}
    return re.fullmatch(r"[A-Za-z_][\w./-]*", text) is not None and text.lower() not in words


def _unique(runs: Iterable[list[str]]) -> list[list[str]]:
    return [list(run) for run in dict.fromkeys(map(tuple, runs))]


def _refuse_uneven(group: Mapping[str, Any]) -> None:
    lengths = {key: len(v) if isinstance(v, list) else None for key, v in group.items()}
    told = ", ".join(f"{key} {'no list' if n is None else n}" for key, n in lengths.items())
    if None in lengths.values() or len(set(lengths.values())) != 1:
        raise Refused(f"{ZIPPED}: lists that go together must be of one length; here: {told}")
    if 0 in lengths.values():
        raise Refused(f"{ZIPPED}: lists that go together must hold something; here: {told}")


def _refuse_twice(zipped: Sequence[Mapping[str, Any]]) -> None:
    keys = list(chain(*zipped))
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise Refused(f"{ZIPPED}: {', '.join(twice)}: a key can be in one group of lists only")

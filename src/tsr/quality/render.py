"""Judges side by side: a table for people, an object for machines."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from tsr.histogram import bars
from tsr.quality.bootstrap import Estimate
from tsr.quality.comparisons import OrderEffect
from tsr.quality.result import Group, Quality
from tsr.report.tables import number

RULE = (
    "A tie counts one half. [ ]: 95 % interval, questions resampled. -: nothing to measure it by; "
    "a judge that sees one answer at a time has no order of showing."
)
Line = tuple[str, Callable[[Quality], str]]


def table(judges: Mapping[str, Quality]) -> Table:
    """One column a judge, one line a figure; lines of which no judge knows anything are left out.

    Judges may have been asked about different questions: the first lines say how many.
    """
    out = Table(title="How good a judge is", title_justify="left", caption=RULE)
    out.caption_justify = "left"
    out.add_column("", overflow="fold")
    for name in judges:
        out.add_column(escape(name), justify="right", overflow="fold")
    for part in (LINES, _group_lines(list(judges.values())), ORDER):
        _add(out, part, list(judges.values()))
        out.add_section()
    return out


def as_json(judges: Mapping[str, Quality]) -> dict[str, Any]:
    """Every figure by judge, as JSON holds it: null where missing, no NaN or infinity."""
    rows = {name: _row(quality) for name, quality in judges.items()}
    plain: dict[str, Any] = json.loads(json.dumps(rows, allow_nan=False))
    return plain


def _row(quality: Quality) -> dict[str, Any]:
    bins = [{**asdict(b), "expected": b.expected} for b in quality.bins]
    derived = {"coverage": quality.coverage, "order_note": quality.order_note, "bins": bins}
    return asdict(quality) | derived


def _add(out: Table, lines: Sequence[Line], judges: Sequence[Quality]) -> None:
    for title, cell in lines:
        cells = [cell(quality) for quality in judges]
        if any(set(cell) - set("- /") for cell in cells):
            out.add_row(escape(title), *map(escape, cells))


def estimated(estimate: Estimate | None) -> str:
    """A figure with its interval; missing is a dash."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return number(estimate and estimate.value)
    return f"{estimate.value:.3f} [{estimate.low:.3f},{estimate.high:.3f}]"


def _of_all(part: int, whole: int) -> str:
    return f"{part} / {whole}"


def _means(quality: Quality) -> str:
    return f"{number(quality.mean_better, 2)} / {number(quality.mean_worse, 2)}"


def _bars(quality: Quality) -> str:
    shown = bars(quality.histogram)
    return f"|{shown}|" if shown else "-"


LINES: Sequence[Line] = (
    ("sees", lambda q: "two answers" if q.pairwise else "one answer"),
    ("questions", lambda q: str(q.questions)),
    ("pairs judged / of differing rank", lambda q: _of_all(q.judged, q.pairs)),
    ("valid judgements", lambda q: estimated(q.parse_rate)),
    ("accuracy", lambda q: estimated(q.accuracy)),
    ("accuracy without ties", lambda q: estimated(q.accuracy_untied)),
    ("ties", lambda q: estimated(q.tie_rate)),
    ("Spearman, mean over questions", lambda q: estimated(q.spearman)),
    ("Kendall tau-b, mean over questions", lambda q: estimated(q.kendall)),
    ("questions correlated", lambda q: _of_all(q.correlated, q.questions)),
    ("mean score better / worse", _means),
    ("calibration error", lambda q: number(q.calibration_error)),
    ("scores, low to high", _bars),
)


def _order(figure: Callable[[OrderEffect], str]) -> Callable[[Quality], str]:
    return lambda q: "-" if q.order is None else figure(q.order)


ORDER: Sequence[Line] = (
    ("accuracy, better one shown first", _order(lambda o: number(o.accuracy_better_first))),
    ("accuracy, better one shown second", _order(lambda o: number(o.accuracy_better_second))),
    ("accuracy, only as listed", _order(lambda o: number(o.accuracy_a_first))),
    ("accuracy, only swapped", _order(lambda o: number(o.accuracy_a_second))),
    ("same verdict in both orders", _order(lambda o: number(o.consistency))),
    ("pairs with a verdict in both", _order(lambda o: str(o.both))),
)


def group_names(judges: Sequence[Quality]) -> list[str]:
    """Every group of any judge, in order of first mention."""
    return list(dict.fromkeys(group.name for quality in judges for group in quality.groups))


def group_of(quality: Quality, name: str) -> Group | None:
    """The judge's figures on a group, if it saw any of it."""
    return next((group for group in quality.groups if group.name == name), None)


def _group_lines(judges: Sequence[Quality]) -> list[Line]:
    """Accuracy by group; a single one would repeat the accuracy."""
    names = group_names(judges)
    return [_group_line(name) for name in names] if len(names) > 1 else []


def _group_line(name: str) -> Line:
    def cell(quality: Quality) -> str:
        group = group_of(quality, name)
        return estimated(group.accuracy) if group else "-"

    return f"accuracy in {name}", cell

"""Judges in one figure: accuracy by group, scores, calibration."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tsr.quality.bootstrap import Estimate
from tsr.quality.render import group_names, group_of
from tsr.quality.result import Quality

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito: told apart by colour-blind readers.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
MARKERS: Final = ("o", "s", "D", "^", "v", "P", "X")
GREY: Final = "#888888"
ALL: Final = "all"
EMPTY: Final = "nothing to show"
MOST_BARS: Final = 3
Styles = Mapping[str, tuple[str, str]]
Shares = Mapping[str, Sequence[float]]


def plot(judges: Mapping[str, Quality], path: Path) -> None:
    """Write the figure; the file's suffix says the format (.png, .svg, .pdf).

    Accuracy has its 95 % intervals. Raises ValueError without judges or for an unknown suffix.
    """
    if not judges:
        raise ValueError("needs a judge to plot")
    styles = {name: _style(n) for n, name in enumerate(judges)}
    figure = _figure(judges)
    groups, scores, calibration = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    _groups(groups, judges, styles)
    _scores(scores, judges, styles)
    _calibration(calibration, judges, styles)
    _legend(figure, judges, styles)
    figure.savefig(path, dpi=150)


def _style(n: int) -> tuple[str, str]:
    """A colour and a marker: no two of the first 49 judges share both."""
    turn = n // len(COLOURS)
    return COLOURS[n % len(COLOURS)], MARKERS[(n + turn) % len(MARKERS)]


def _figure(judges: Mapping[str, Quality]) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = len(_rows(list(judges.values())))
    height = 1.6 + rows * (0.4 + 0.14 * len(judges))
    layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.1)
    return Figure(figsize=(13.5, min(40.0, max(4.4, height))), layout=layout)


def _rows(judges: Sequence[Quality]) -> list[str]:
    names = group_names(judges)
    return [*names, ALL] if len(names) > 1 else names


def _groups(axes: "Axes", judges: Mapping[str, Quality], styles: Styles) -> None:
    rows = _rows(list(judges.values()))
    for n, (name, quality) in enumerate(judges.items()):
        shift = 0.6 * ((n + 0.5) / len(judges) - 0.5)
        for row, group in enumerate(rows):
            estimate = _accuracy(quality, group)
            if estimate is not None:
                _whisker(axes, estimate, row + shift, styles[name])
    axes.axvline(0.5, color=GREY, linestyle="--", linewidth=1, zorder=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.45, -0.55), xlabel="accuracy (dashed: chance)")
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
    for row in range(1, len(rows)):
        total = rows[row] == ALL
        axes.axhline(row - 0.5, color=GREY if total else "#e4e4e4", linewidth=0.8, zorder=0)
    _finish(axes, "Accuracy")


def _accuracy(quality: Quality, row: str) -> Estimate | None:
    if row == ALL:
        return quality.accuracy
    group = group_of(quality, row)
    return group.accuracy if group else None


def _label(row: str) -> str:
    return _plain("\n".join(textwrap.wrap(row.replace("_", " "), 18)) or row)


def _whisker(axes: "Axes", estimate: Estimate, y: float, style: tuple[str, str]) -> None:
    colour, marker = style
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=2, alpha=0.55)
    axes.plot([estimate.value], [y], color=colour, marker=marker, markersize=6, linestyle="")


def _scores(axes: "Axes", judges: Mapping[str, Quality], styles: Styles) -> None:
    """Shares, so that judges with unlike numbers of answers compare."""
    scored = {name: q for name, q in judges.items() if any(q.histogram)}
    scales = {(q.low, q.high) for q in judges.values()}
    low, high = scales.pop() if len(scales) == 1 else (0.0, 1.0)
    draw = _bars if len(scored) <= MOST_BARS else _steps
    draw(axes, {name: _shares(q) for name, q in scored.items()}, (low, high), styles)
    xlabel = "score" if not scales else "score, in parts of the judge's scale"
    axes.set(xlim=(low, high), xlabel=xlabel, ylabel="share of valid scores")
    _finish(axes, "Scores given", empty=not scored)


def _shares(quality: Quality) -> list[float]:
    return [count / sum(quality.histogram) for count in quality.histogram]


def _bars(axes: "Axes", shares: Shares, scale: tuple[float, float], styles: Styles) -> None:
    """Side by side in each bin."""
    low, high = scale
    for n, (name, heights) in enumerate(shares.items()):
        width = (high - low) / len(heights)
        bar = 0.86 * width / len(shares)
        lefts = [low + (b + 0.07) * width + n * bar for b in range(len(heights))]
        axes.bar(lefts, heights, width=bar, align="edge", color=styles[name][0])


def _steps(axes: "Axes", shares: Shares, scale: tuple[float, float], styles: Styles) -> None:
    """Outlines: bars of many judges would be too thin to read."""
    low, high = scale
    for name, heights in shares.items():
        edges = [low + b * (high - low) / len(heights) for b in range(len(heights) + 1)]
        axes.stairs(heights, edges, color=styles[name][0], linewidth=1.8, alpha=0.85)


def _calibration(axes: "Axes", judges: Mapping[str, Quality], styles: Styles) -> None:
    """A point a bin, its area as its number of pairs."""
    axes.plot([0, 1], [0.5, 1], color=GREY, linewidth=1, linestyle=":", zorder=0)
    axes.axhline(0.5, color=GREY, linewidth=1, linestyle="--", zorder=0)
    most = max((b.n for q in judges.values() for b in q.bins), default=1)
    for name, quality in judges.items():
        (colour, marker), bins = styles[name], quality.bins
        x, y = [b.margin for b in bins], [b.accuracy for b in bins]
        axes.plot(x, y, color=colour, linewidth=1.4, alpha=0.6)
        sizes = [15 + 75 * b.n / most for b in bins]
        axes.scatter(x, y, s=sizes, color=colour, marker=marker, alpha=0.85, linewidths=0)
    lowest = min((b.accuracy for q in judges.values() for b in q.bins), default=0.4)
    axes.set(xlim=(-0.03, 1.03), ylim=(min(0.4, lowest) - 0.03, 1.03))
    axes.set_xlabel("score difference, in parts of the scale\n(dotted: even at 0, certain at 1)")
    axes.set_ylabel("higher score is the better answer")
    _finish(axes, "Calibration", empty=not any(q.bins for q in judges.values()))


def _finish(axes: "Axes", title: str, empty: bool = False) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    if empty:
        axes.text(0.04, 0.92, EMPTY, transform=axes.transAxes, color=GREY)


def _legend(figure: "Figure", judges: Mapping[str, Quality], styles: Styles) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, linewidth=2, label=_named(name, judges[name]))
        for name, (colour, marker) in styles.items()
    ]
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(styles), 150 // (longest + 8)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def _named(name: str, quality: Quality) -> str:
    return _plain(name) + ("" if quality.judged else " (no pair judged)")


def _plain(text: str) -> str:
    """Dollar signs would begin a formula, and a leading underscore hides a name."""
    text = text.replace("$", r"\$")
    return f"\u2009{text}" if text.startswith("_") else text

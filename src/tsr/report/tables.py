"""Tables for the terminal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from tsr.histogram import bars
from tsr.plan import Plan
from tsr.report.metrics import judgements_of

Row = Mapping[str, Any]


def labels(names: Sequence[str]) -> dict[str, str]:
    """Run names without the parts that all of them share: short enough for a column."""
    split = [name.split("-") for name in names]
    if len(names) < 2 or len({len(parts) for parts in split}) > 1:
        return {name: name for name in names}
    # The last part is a hash: it differs always and tells nothing.
    columns = list(zip(*split, strict=True))[:-1]
    telling = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    short = ["-".join(parts[i] for i in telling) for parts in split]
    if len(set(short)) < len(names):
        short = ["-".join([s, parts[-1]]) for s, parts in zip(short, split, strict=True)]
    return dict(zip(names, short, strict=True))


def number(value: Any, digits: int = 3) -> str:
    """A figure for people; missing is a dash, never zero."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def percent(value: float | None) -> str:
    """A share in per cent; missing is a dash."""
    return "-" if value is None else f"{100 * value:.0f} %"


def _dropped(row: Row) -> str:
    dropped = row.get("dropped")
    return "-" if dropped is None else ", ".join(f"{n} {why}" for why, n in dropped.items() if n)


def _missing(row: Row) -> str:
    """How many judgements gave no score, and why."""
    reasons = row.get("missing_judgements")
    if not reasons:
        return number(row.get("parse_failures"))
    return ", ".join(f"{n} {why}" for why, n in reasons.items())


def _heldout(row: Row) -> str:
    if row.get("heldout") is None:
        return "-"
    error = row.get("heldout_error")
    return f"{row['heldout']:.3f}" + (f" ± {error:.3f}" if error is not None else "")


def _lengths(row: Row) -> str:
    return f"{number(row.get('chosen_tokens'), 0)} / {number(row.get('rejected_tokens'), 0)}"


def _scores(row: Row) -> str:
    return f"{number(row.get('chosen_score'), 2)} / {number(row.get('rejected_score'), 2)}"


def _gap(row: Row) -> str:
    """In the judge's points and, so that judges compare, as a share of its scale."""
    share = row.get("score_gap_share")
    return number(row.get("score_gap")) + ("" if share is None else f" ({percent(share)} of scale)")


def _logps(row: Row) -> str:
    chosen, rejected = row.get("chosen_logps_change"), row.get("rejected_logps_change")
    return "-" if chosen is None else f"{chosen:+.1f} / {rejected:+.1f}"


def _histogram(row: Row) -> str:
    """Judge scores over ten equal bins of the scale, as bars."""
    return bars(row.get("histogram") or ()) or "-"


LINES: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("held-out score", _heldout),
    ("pairs", lambda row: number(row.get("pairs"))),
    ("prompts dropped", lambda row: _dropped(row) or "0"),
    ("best score tied", lambda row: percent(row.get("tied_best"))),
    ("judge scores, low to high", _histogram),
    ("judgements missing", _missing),
    ("rejected from anchor", lambda row: percent(row.get("rejected_from_anchor"))),
    ("chosen from future", lambda row: percent(row.get("chosen_from_future"))),
    ("score chosen / rejected", _scores),
    ("score gap", _gap),
    ("tokens chosen / rejected", _lengths),
    ("phase 1: pairs", lambda row: number(row.get("phase1_pairs"))),
    ("phase 1: score gap", lambda row: number(row.get("phase1_score_gap"))),
    ("pairs with too long a prompt", lambda row: number(row.get("prompt_too_long") or None)),
    ("answers cut in training", lambda row: number(row.get("answers_cut") or None)),
    ("similarity", lambda row: number(row.get("similarity"))),
    ("DPO margin", lambda row: number(row.get("margin"))),
    ("log-prob change, both", _logps),
)


def run_table(name: str, rows: Sequence[Row]) -> Table:
    """A run: one column a model, one line a figure."""
    table = Table(title=name, title_justify="left")
    table.add_column("")
    for row in rows:
        table.add_column(row["model"], justify="right")
    for title, cell in LINES:
        cells = [cell(row) for row in rows]
        if any(set(cell) - set("- /") for cell in cells):
            table.add_row(title, *cells)
    return table


def alarms(rows: Sequence[Row]) -> list[str]:
    """What a researcher should look at, a line each."""
    return [f"{row['model']}: {text}" for row in rows for text in row.get("alarms", ())]


def comparison(runs: Sequence[tuple[str, Sequence[Row], Row]]) -> Table:
    """Several runs, one line each: (name, rows, work)."""
    table = Table(title="Comparison, last model of each run", title_justify="left")
    for title in (
        "run",
        "model",
        "held-out",
        "pairs",
        "score gap",
        "of scale",
        "similarity",
        "margin",
        "candidates",
        "trainings",
    ):
        left = title in ("run", "model")
        table.add_column(title, justify="left" if left else "right", overflow="fold")
    short = labels([name for name, _, _ in runs])
    for name, rows, work in runs:
        last: Row = rows[-1] if rows else {"model": "-"}
        table.add_row(
            short[name],
            last["model"],
            _heldout(last),
            number(last.get("pairs")),
            number(last.get("score_gap")),
            percent(last.get("score_gap_share")),
            number(last.get("similarity")),
            number(last.get("margin")),
            number(work["candidates"]),
            number(work["trainings"]),
        )
    return table


def plan_tables(plan: Plan, unpinned: Mapping[str, Sequence[str]]) -> list[Table | str]:
    """The plan of a sweep: kinds of stages, then what each run asks for."""
    return [_kinds(plan), _runs(plan), *_notes(plan, unpinned)]


def _kinds(plan: Plan) -> Table:
    table = Table(title="Stages of the sweep", title_justify="left")
    for title in ("kind", "wanted", "distinct", "cached", "missing", "units", "estimate"):
        table.add_column(title, justify="left" if title == "kind" else "right")
    wanted = [stage for run in plan.wanted.values() for stage in run]
    for kind in dict.fromkeys(stage.kind for stage in plan.distinct):
        distinct = [s for s in plan.distinct if s.kind == kind]
        to_run = [s for s in plan.to_run if s.kind == kind]
        table.add_row(
            kind,
            str(sum(s.kind == kind for s in wanted)),
            str(len(distinct)),
            str(sum(plan.states[s] == "done" for s in distinct)),
            str(len(to_run)),
            str(sum(plan.units[s] for s in to_run)),
            _time(*plan.estimate(to_run)),
        )
    table.add_section()
    table.add_row(
        "all",
        str(plan.asked),
        str(len(plan.distinct)),
        str(plan.count("done")),
        str(len(plan.to_run)),
        "",
        _time(*plan.estimate(plan.to_run)),
    )
    return table


def _runs(plan: Plan) -> Table:
    table = Table(title="Runs, each as if alone", title_justify="left")
    short = labels(list(plan.wanted))
    table.add_column("run", min_width=14, overflow="fold")
    for title in ("stages", "cached", "generations", "judgements", "trainings", "estimate"):
        table.add_column(title, justify="right")
    for name, stages in plan.wanted.items():
        table.add_row(
            short[name],
            str(len(stages)),
            str(sum(plan.states[s] == "done" for s in stages)),
            str(sum(s.count for s in stages if s.kind == "generate")),
            str(judgements_of(stages)),
            str(sum(s.kind in ("sft", "dpo") for s in stages)),
            _time(*plan.estimate(stages)),
        )
    return table


def _notes(plan: Plan, unpinned: Mapping[str, Sequence[str]]) -> list[str]:
    notes = [
        f"not pinned in {name}: {', '.join(fields)} (resolved and recorded when the run starts)"
        for name, fields in unpinned.items()
        if fields
    ]
    resumable = plan.count("partial") + plan.count("running")
    if resumable:
        notes.append(f"{resumable} stages are begun; they go on from their last block")
    return notes


def _time(seconds: float, unknown: int) -> str:
    """Expected time; `?` for work of which this machine has no record."""
    if seconds == 0 and unknown:
        return "?"
    text = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    if seconds >= 7200:
        text = f"{seconds / 3600:.1f} h"
    return text + (" + ?" if unknown else "")

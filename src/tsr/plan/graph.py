"""Which stages a sweep wants, which are distinct, which are there, and what the rest will take."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from tsr.stage import Stage, walk
from tsr.store import Store
from tsr.store.describe import Named
from tsr.store.layout import SHORT, split_part


@dataclass(frozen=True)
class Plan:
    """wanted: each run's stages, by the run's name, inputs first. states: of the distinct ones.

    to_run: what must be executed, inputs first. seconds: expected time of each stage of `to_run`,
    None where there is no record of like work. units: how much of each is new, since a stage takes
    over what its siblings have (the same samples with a smaller or larger K).
    """

    wanted: dict[str, list[Stage]]
    states: dict[Stage, str]
    to_run: list[Stage]
    seconds: dict[Stage, float | None]
    units: dict[Stage, int]

    @cached_property
    def distinct(self) -> list[Stage]:
        """Every stage of the sweep, once."""
        return list(self.states)

    @property
    def asked(self) -> int:
        """Stages wanted, counted once for every run that wants them."""
        return sum(map(len, self.wanted.values()))

    def count(self, state: str) -> int:
        """How many distinct stages are in a state: done, running, partial, missing."""
        return Counter(self.states.values())[state]

    def estimate(self, stages: Iterable[Stage]) -> tuple[float, int]:
        """Expected seconds of those stages that are to be run, and how many have no estimate."""
        times = [self.seconds[stage] for stage in stages if stage in self.seconds]
        return sum(t for t in times if t is not None), sum(t is None for t in times)


def plan_of(wanted: dict[str, list[Stage]], goals: Sequence[Stage], store: Store) -> Plan:
    """The plan of a sweep against a store."""
    stages = walk(stage for run in wanted.values() for stage in run)
    shelves = _Shelves(store)
    states = {stage: shelves.state(stage) for stage in stages}
    to_run = missing(goals, shelves)
    rates = _Rates(store)
    units = _units(to_run, shelves)
    seconds = {stage: rates.seconds(stage, units[stage]) for stage in to_run}
    return Plan(wanted, states, to_run, seconds, units)


class Has(Protocol):
    """Knows whether a stage is there: a store."""

    def has(self, item: Named) -> bool:
        """Whether the stage is published."""
        ...


def missing(goals: Sequence[Stage], store: Has) -> list[Stage]:
    """What must be executed for the goals to be there, inputs first.

    What only led to something that is there need not be there itself.
    """
    order: dict[Stage, None] = {}
    seen: set[Stage] = set()

    def visit(stage: Stage) -> None:
        if stage in seen:
            return
        seen.add(stage)
        for companion in stage.companions:
            visit(companion)
        if store.has(stage):
            return
        for parent in stage.inputs:
            visit(parent)
        order[stage] = None

    for goal in goals:
        visit(goal)
    return list(order)


def _units(to_run: Sequence[Stage], store: Has) -> dict[Stage, int]:
    """What is new in each stage, after the siblings that are there and those that run before it."""
    before: set[str] = set()
    units = {}
    for stage in to_run:
        there = (s.count for s in stage.siblings if s.key in before or store.has(s))
        units[stage] = stage.count - min(stage.count, max(there, default=0))
        before.add(stage.key)
    return units


class _Shelves:
    """A store as it is now, each shelf listed once: most of what a plan asks for is not there."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.listed: dict[str, tuple[set[str], set[str]]] = {}

    def has(self, item: Named) -> bool:
        """As Store.has."""
        return item.key[:SHORT] in self._shelf(item.kind)[0] and self.store.has(item)

    def state(self, stage: Stage) -> str:
        """As Store.state."""
        if self.has(stage):
            return "done"
        if self.store.claims.live(stage.key):
            return "running"
        return "partial" if stage.key[:SHORT] in self._shelf(stage.kind)[1] else "missing"

    def _shelf(self, kind: str) -> tuple[set[str], set[str]]:
        """The folders, and of which stages there are unfinished ones; by short keys."""
        if kind not in self.listed:
            names = set(self.store.layout.names(kind))
            parts = {part[0] for part in map(split_part, names) if part}
            self.listed[kind] = names, parts
        return self.listed[kind]


class _Rates:
    """Seconds per unit of like work: this machine's records, or others' where it has none."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.known: dict[str, dict[str, list[float]]] = {}

    def seconds(self, stage: Stage, units: int) -> float | None:
        if stage.kind not in self.known:
            self.known[stage.kind] = self._read(stage.kind)
        rates = self.known[stage.kind].get(stage.tag)
        return statistics.median(rates) * units if rates else None

    def _read(self, kind: str) -> dict[str, list[float]]:
        rates: dict[str, list[float]] = {}
        for row in self.store.timings(kind):
            if row.get("units") and not row.get("resumed"):
                rates.setdefault(row.get("tag") or "", []).append(row["seconds"] / row["units"])
        return rates

"""A stage that several workers do in shares is the stage that one does alone."""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from stage_tools import Counting, Nobody, execute, executor, figures

from tsr.compose import compose_all
from tsr.config import EngineConfig, JudgeConfig
from tsr.engines.base import Request
from tsr.engines.scripted import ScriptedEngine
from tsr.executors.local import LocalExecutor
from tsr.judges.self_judge import SelfJudge
from tsr.loop import build_run
from tsr.plan import plan_of
from tsr.progress import Reporter
from tsr.stages.blocks import BLOCKS
from tsr.stages.generate import Generate
from tsr.stages.judge import Judgements
from tsr.stages.share import Share, Splittable, shares_of, take_over
from tsr.store import Store
from tsr.store.jobs import Note

PROMPTS = 6
SCRIPTED = EngineConfig(name="scripted", block=6)
FILES = {"generate": "candidates.jsonl", "judge": "judgements.jsonl"}
ALL = (0, 1, 2)
READY = [("generate", ready) for ready in ((), (0,), (0, 2), (2,), ALL)]
READY += [("text", (0, 2)), ("text", ALL), ("expected", (1,))]
Alone = Callable[[Splittable], tuple[bytes, list[Request]]]


@pytest.fixture(scope="module")
def pool() -> Generate:
    """Three answers of nobody to each of six prompts, two prompts a block."""
    size = f"data.prompts_per_iteration={PROMPTS}"
    config = compose_all(["model=tiny", size, "iterations=1", "variant=self_rewarding"], False)[0]
    (own,) = build_run(config).iterations[0].model.pairs.pools
    found = own.judged
    assert isinstance(found, Generate)
    return replace(found, model=Nobody(), engine=SCRIPTED, k=3)


def whole_of(pool: Generate, kind: str) -> Splittable:
    if kind == "generate":
        return pool
    settings = JudgeConfig(scoring=kind, n=2 if kind == "text" else 1)
    return Judgements(pool, SelfJudge.of(settings), Nobody("judge"), SCRIPTED, 0)


def said(request: Request, seed: int) -> str:
    if len(request.messages) > 1:
        return ("Score: 5", "Score: 1", "who knows?")[seed % 3]
    return f"answer {seed % 1000}"


def engine() -> Counting:
    return Counting(said)


def inputs(root: Path, whole: Splittable) -> None:
    execute(executor(root, engine()), *whole.inputs)


def noted(root: Path, whole: Splittable, shares: int) -> tuple[Share, ...]:
    """As if the stage had been given to a cluster."""
    Store(root).notes.put(Note(whole.key, whole.label, "7", "logs", shares))
    return shares_of(whole, shares)


def share(root: Path, shares: Sequence[Share]) -> list[Request]:
    """Each by a worker of its own; what their engines were asked."""
    asked = []
    for one in shares:
        worker = engine()
        execute(executor(root, worker), one)
        asked += worker.asked
    return asked


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """What one worker makes of a stage, and what it asks."""

    @cache
    def make(whole: Splittable) -> tuple[bytes, list[Request]]:
        root, worker = tmp_path_factory.mktemp("alone"), engine()
        inputs(root, whole)
        return made(executor(root, worker), whole), worker.asked

    return make


def made(run: LocalExecutor, whole: Splittable) -> bytes:
    execute(run, whole)
    return (run.store.folder(whole) / FILES[whole.kind]).read_bytes()


def names(asked: Sequence[Request]) -> set[str]:
    return {f"{request.id} {request.messages}" for request in asked}


@pytest.mark.parametrize(("kind", "ready"), READY)
def test_shares_and_the_rest(
    pool: Generate, alone: Alone, tmp_path: Path, kind: str, ready: tuple[int, ...]
) -> None:
    whole, root = whole_of(pool, kind), tmp_path / "a"
    key = whole.key
    rows, all_asked = alone(whole)
    inputs(root, whole)
    shares = noted(root, whole, 3)
    assert len(shares) == 3
    first = share(root, [shares[index] for index in ready])
    last = engine()
    assert made(executor(root, last), whole) == rows
    # Nothing twice, and nothing left out.
    assert not names(first) & names(last.asked)
    assert names(first) | names(last.asked) == names(all_asked)
    samples = sum(len(request.seeds) for request in all_asked)
    assert sum(len(request.seeds) for request in first) == samples * len(ready) // 3
    assert last.samples == samples - samples * len(ready) // 3
    store = Store(root)
    assert not [one for one in shares if store.has(one)], "they are in the whole now"
    assert not list((root / "stages" / "share").glob("*/*"))
    assert store.record(whole)["key"] == key == whole_of(pool, kind).key
    assert not (store.folder(whole) / BLOCKS).exists()


def test_more_shares_than_blocks_and_fewer(pool: Generate, alone: Alone, tmp_path: Path) -> None:
    rows, _ = alone(pool)
    assert len(shares_of(pool, 99)) == 3
    root = tmp_path / "a"
    inputs(root, pool)
    shares = noted(root, pool, 2)
    asked = [names(share(root, [one])) for one in shares]
    assert [len(found) for found in asked] == [4, 2], "blocks 0 and 2, and block 1"
    assert [one.count for one in shares] == [9, 9]
    last = engine()
    assert made(executor(root, last), pool) == rows
    assert last.asked == []


def test_a_share_takes_over_what_a_sibling_has(
    pool: Generate, alone: Alone, tmp_path: Path
) -> None:
    rows, _ = alone(pool)
    root = tmp_path / "a"
    inputs(root, pool)
    execute(executor(root, engine()), replace(pool, k=2))
    shares = noted(root, pool, 3)
    asked = share(root, shares)
    assert sum(len(request.seeds) for request in asked) == PROMPTS
    last = engine()
    assert made(executor(root, last), pool) == rows
    assert last.asked == []


def test_blocks_that_do_not_fit_any_more_are_made_again(
    pool: Generate, alone: Alone, tmp_path: Path
) -> None:
    """A sibling that came after the shares changes the blocks; the rows stay."""
    rows, _ = alone(pool)
    root = tmp_path / "a"
    inputs(root, pool)
    share(root, noted(root, pool, 3)[:2])
    execute(executor(root, engine()), replace(pool, k=2))
    last = engine()
    assert made(executor(root, last), pool) == rows
    assert last.samples == PROMPTS


def test_a_merged_whole_is_no_measure_of_time(pool: Generate, tmp_path: Path) -> None:
    inputs(tmp_path, pool)
    share(tmp_path, noted(tmp_path, pool, 3))
    run = executor(tmp_path, engine())
    execute(run, pool)
    assert [row["units"] for row in run.store.timings("generate")] == [None]
    assert figures(run, pool)["candidates"] == PROMPTS * 3
    assert [row["units"] for row in run.store.timings("share")] == [6, 6, 6]
    other = replace(pool, seed=1)
    assert plan_of({"run": [other]}, [other], run.store).seconds[other] is None
    execute(run, other)  # by one worker: that is a measure
    third = replace(pool, seed=2)
    assert plan_of({"run": [third]}, [third], run.store).seconds[third] is not None


def test_shares_cannot_be_told_from_the_whole_by_what_needs_it(pool: Generate) -> None:
    shares = shares_of(pool, 3)
    assert all(one.inputs == pool.inputs for one in shares)
    assert len({one.key for one in (pool, *shares, *shares_of(pool, 2))}) == 6
    assert not set(shares) & set(whole_of(pool, "text").inputs)
    assert {one.job for one in shares} == {"generate"}
    assert {one.job for one in shares_of(whole_of(pool, "text"), 2)} == {"judge"}


def no_links(*words: Any) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_with_or_without_hard_links(
    pool: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    blocks, folder = tmp_path / "share" / BLOCKS, tmp_path / "whole"
    blocks.mkdir(parents=True)
    (folder / BLOCKS).mkdir(parents=True)
    (blocks / "6-00000000.jsonl").write_text("from the share\n")
    (blocks / "6-00000006.jsonl").write_text("from the share\n")
    (folder / BLOCKS / "6-00000006.jsonl").write_text("its own\n")
    take_over(list(blocks.glob("*.jsonl")), folder)
    found = {path.name: path.read_text() for path in (folder / BLOCKS).iterdir()}
    assert found == {"6-00000000.jsonl": "from the share\n", "6-00000006.jsonl": "its own\n"}
    took = (folder / BLOCKS / "6-00000000.jsonl").stat()
    assert (took.st_nlink == 2) == links


def test_a_whole_without_hard_links(
    pool: Generate, alone: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _ = alone(pool)
    monkeypatch.setattr(os, "link", no_links)
    root, last = tmp_path / "a", engine()
    inputs(root, pool)
    share(root, noted(root, pool, 3))
    assert made(executor(root, last), pool) == rows
    assert last.asked == []


class Raced(Store):
    """Somebody else removes each share a moment before."""

    def remove(self, key_prefix: str) -> None:
        super().remove(key_prefix)
        super().remove(key_prefix)


def test_two_who_put_the_shares_away_at_once(pool: Generate, tmp_path: Path) -> None:
    inputs(tmp_path, pool)
    share(tmp_path, noted(tmp_path, pool, 3))
    quiet = Reporter(Console(quiet=True))
    execute(LocalExecutor(Raced(tmp_path), quiet, lambda _: ScriptedEngine(said)), pool)
    assert Store(tmp_path).has(pool)
    assert not list((tmp_path / "stages" / "share").glob("*/*"))


def test_a_damaged_share_is_named(pool: Generate, alone: Alone, tmp_path: Path) -> None:
    inputs(tmp_path, pool)
    shares = noted(tmp_path, pool, 3)
    share(tmp_path, shares)
    run = executor(tmp_path, engine())
    block = next((run.store.folder(shares[1]) / BLOCKS).iterdir())
    block.write_text(block.read_text().replace("answer", "answre"))
    run = executor(tmp_path, engine())
    run.execute([pool], lambda _: None)
    told = run.failures[pool].error
    assert shares[1].label in told
    assert f"redo {shares[1].key[:12]}" in told
    run.store.redo(shares[1].key)
    rows, _ = alone(pool)
    again = engine()
    assert made(executor(tmp_path, again), pool) == rows
    assert len(again.asked) == 2

"""Warm engines: which are kept, which go, and in what order."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tsr.config import EngineConfig
from tsr.engines.base import EngineError, ModelFiles
from tsr.engines.scripted import ScriptedEngine
from tsr.executors.local import Engines

A, B, C = (EngineConfig(name="scripted", batch_size=size) for size in (1, 2, 3))
X, Y = (ModelFiles(name, Path(name), family="one") for name in "xy")
OTHER = replace(X, name="other", family="two")


class Recording(ScriptedEngine):
    """Writes its number and what happens to it into the diary, and fails where it is told to."""

    def __init__(self, number: int, diary: list[str], failing: dict[str, BaseException]) -> None:
        super().__init__()
        self.number, self.diary, self.failing = number, diary, failing

    def note(self, what: str) -> None:
        self.diary.append(f"{what} {self.number}")
        if what in self.failing:
            raise self.failing[what]

    def load(self, model: ModelFiles) -> None:
        super().load(model)
        self.note(f"load {model.name}")

    def pause(self) -> None:
        self.note("pause")

    def close(self) -> None:
        self.note("close")


class Pool:
    """Engines that record; `diary` gives what happened since it was last asked for."""

    def __init__(self, **settings: Any) -> None:
        self.notes: list[str] = []
        self.failing: dict[str, BaseException] = {}
        self.built = 0
        self.engines = Engines(self.build, **settings)

    def build(self, config: EngineConfig) -> Recording:
        self.built += 1
        self.notes.append(f"build {self.built}")
        if "build" in self.failing:
            raise self.failing["build"]
        return Recording(self.built, self.notes, self.failing)

    def get(self, config: EngineConfig, model: ModelFiles) -> int:
        engine = self.engines.get(config, model)
        assert isinstance(engine, Recording)
        assert engine.model == model.name
        return engine.number

    def diary(self) -> list[str]:
        notes = self.notes[:]
        self.notes.clear()
        return notes


def test_one_at_a_time_and_closed_before_the_next_is_built() -> None:
    pool = Pool()
    assert [pool.get(config, X) for config in (A, B, A)] == [1, 2, 3]
    assert pool.diary() == [
        *("build 1", "load x 1", "close 1"),
        *("build 2", "load x 2", "close 2"),
        *("build 3", "load x 3"),
    ]


def test_an_equal_config_and_family_have_the_same_engine() -> None:
    pool = Pool()
    assert [pool.get(c, m) for c, m in ((A, X), (replace(A), Y), (A, X))] == [1, 1, 1]
    assert pool.get(A, OTHER) == 2
    assert pool.diary() == [
        *("build 1", "load x 1", "load y 1", "load x 1", "close 1"),
        *("build 2", "load other 2"),
    ]


@pytest.mark.parametrize("third", [(C, X), (A, OTHER)])
def test_of_two_the_one_longest_unused_goes(third: tuple[EngineConfig, ModelFiles]) -> None:
    pool = Pool(most=2)
    assert [pool.get(config, X) for config in (A, B, A)] == [1, 2, 1]
    pool.diary()
    assert pool.get(*third) == 3
    assert pool.diary() == ["close 2", "build 3", f"load {third[1].name} 3"]
    assert pool.get(A, Y) == 1
    assert pool.get(B, Y) == 4
    assert pool.diary() == ["load y 1", "close 3", "build 4", "load y 4"]


def test_pause_closes_nothing_and_close_all() -> None:
    pool = Pool(most=3)
    for config in (A, B, C):
        pool.get(config, X)
    pool.diary()
    pool.engines.pause()
    assert pool.diary() == ["pause 1", "pause 2", "pause 3"]
    assert pool.get(A, X) == 1
    pool.diary()
    pool.engines.close()
    assert sorted(pool.diary()) == ["close 1", "close 2", "close 3"]
    pool.engines.close()
    pool.engines.pause()
    assert pool.diary() == []
    assert pool.get(A, X) == 4


@pytest.mark.parametrize("error", [EngineError("no room"), KeyboardInterrupt()])
def test_a_load_that_fails_leaves_nothing(error: BaseException) -> None:
    pool = Pool(most=2)
    pool.get(A, X)
    pool.get(B, X)
    pool.failing["load y"] = error
    for config in (A, C):  # a warm one, and a new one
        with pytest.raises(type(error)):
            pool.get(config, Y)
    assert pool.diary()[4:] == ["load y 1", "close 1", "build 3", "load y 3", "close 3"]
    pool.engines.close()
    assert pool.diary() == ["close 2"]


def test_a_build_that_fails_leaves_the_others() -> None:
    pool = Pool(most=2)
    pool.get(A, X)
    pool.failing["build"] = EngineError("not installed")
    with pytest.raises(EngineError, match="not installed"):
        pool.get(B, X)
    assert pool.get(A, Y) == 1
    pool.engines.close()
    assert pool.diary() == ["build 1", "load x 1", "build 2", "load y 1", "close 1"]


def test_a_close_that_fails_is_told_and_loses_no_other() -> None:
    pool = Pool(most=2)
    pool.get(A, X)
    pool.get(B, X)
    pool.failing["close"] = EngineError("stuck")
    with pytest.raises(EngineError, match="stuck"):
        pool.get(C, X)
    assert pool.get(B, X) == 2
    pool.get(C, X)
    pool.diary()
    with pytest.raises(EngineError, match="stuck"):
        pool.engines.close()
    assert sorted(pool.diary()) == ["close 2", "close 3"]
    pool.engines.close()
    assert pool.diary() == []

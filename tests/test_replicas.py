"""Copies of an engine: the answers of one, sooner."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from engine_workers import MODEL, acting, ask, text_of

from tsr.engines.base import Answer, EngineError, ModelFiles, Request
from tsr.engines.process import ProcessEngine
from tsr.engines.replicas import Replicas
from tsr.engines.scripted import ScriptedEngine


class Noted(ScriptedEngine):
    """Keeps what is asked of it; answers and closes as it is told."""

    def __init__(self, answers: Callable[[], None] = lambda: None, close: str = "") -> None:
        super().__init__()
        self.answers, self.trouble = answers, close
        self.calls: list[str] = []
        self.asked: list[list[Request]] = []
        self.working = False

    def load(self, model: ModelFiles) -> None:
        super().load(model)
        self.calls.append("load")

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        self.working = True
        self.asked.append(list(requests))
        try:
            self.answers()
            return super().answer(requests)
        finally:
            self.working = False

    def pause(self) -> None:
        self.calls.append("pause")

    def close(self) -> None:
        self.calls.append("close")
        if self.trouble:
            raise EngineError(self.trouble)


@pytest.fixture
def processes() -> Iterator[list[ProcessEngine]]:
    made = [acting() for _ in range(3)]
    yield made
    for engine in made:
        engine.close()


def refuse() -> None:
    raise EngineError("not so")


@pytest.mark.parametrize("copies", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8])
def test_the_answers_of_one(copies: int, count: int) -> None:
    one, engines = ScriptedEngine(), [Noted() for _ in range(copies)]
    many = Replicas(engines)
    requests = [ask(f"number {i}", *range(i % 3 + 1)) for i in range(count)]
    for engine in (one, many):
        engine.load(MODEL)
    assert many.answer(requests) == one.answer(requests)
    assert many.lengths(requests) == one.lengths(requests)
    assert many.context() == one.context()
    shares = [sum(map(len, e.asked)) for e in engines]
    assert sum(shares) == count
    assert max(shares) - min(shares) <= 1
    assert [e.asked for e in engines[count:]] == [[]] * max(0, copies - count)  # not even asked


def test_a_request_without_seeds_has_no_answers() -> None:
    many = Replicas([ScriptedEngine(), ScriptedEngine()])
    none = Request("none", ask("x").messages, seeds=())
    requests = [none, ask("a", 1, 2), ask("b"), none, ask("c", 3)]
    assert many.answer(requests) == ScriptedEngine().answer(requests)


def test_an_error_arrives_when_all_are_done() -> None:
    engines = [Noted(lambda: time.sleep(0.3)), Noted(refuse), Noted(lambda: time.sleep(0.1))]
    many = Replicas(engines)
    with pytest.raises(EngineError, match=r"^not so$"):
        many.answer([ask(str(i)) for i in range(5)])
    assert not any(e.working for e in engines)
    assert [len(e.asked) for e in engines] == [1, 1, 1]


def test_all_are_paused_and_closed_even_if_one_fails() -> None:
    engines = [Noted(close="stuck"), Noted(), Noted(close="stuck too")]
    many = Replicas(engines)
    many.load(MODEL)
    many.pause()
    with pytest.raises(EngineError, match=r"^stuck$"):
        many.close()
    assert [e.calls for e in engines] == [["load", "pause", "close"]] * 3


def test_processes_outlive_the_threads_that_start_them(processes: list[ProcessEngine]) -> None:
    many = Replicas(processes)
    many.load(MODEL)
    pids = [str(engine.pid) for engine in processes]
    time.sleep(0.2)
    assert [a.text for a in many.answer([ask("pid")] * 5)] == [*pids, *pids[:2]]
    many.load(MODEL)
    assert [str(engine.pid) for engine in processes] == pids
    assert [text_of(engine, "sockets") for engine in processes] == ["1"] * 3
    many.close()
    many.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_copy_that_dies_is_the_only_one(processes: list[ProcessEngine]) -> None:
    many = Replicas(processes)
    many.load(MODEL)
    pids = [engine.pid for engine in processes]
    with pytest.raises(EngineError, match=f"process {pids[1]} was killed by SIGKILL"):
        many.answer([ask("sleep 0.2"), ask("die SIGKILL"), ask("sleep 0.2")])
    assert [engine.pid for engine in processes] == [pids[0], None, pids[2]]
    many.load(MODEL)
    assert [engine.pid for engine in processes][::2] == pids[::2]
    assert many.answer([ask("pid")] * 3)[1].text == str(processes[1].pid) != str(pids[1])


def test_ctrl_c_waits_for_none(processes: list[ProcessEngine], tmp_path: Path) -> None:
    many = Replicas(processes)
    many.load(MODEL)
    pids, marks = [engine.pid for engine in processes], [tmp_path / n for n in "abc"]

    def interrupt() -> None:
        while not all(mark.exists() for mark in marks):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        many.answer([ask(f"sleep 20 {mark}") for mark in marks])
    assert time.monotonic() - start < 10
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert [engine.pid for engine in processes] == [None] * 3
    many.load(MODEL)
    assert many.answer([ask("pid")])[0].text == str(processes[0].pid)

"""An engine in a process of its own: the same answers, and nothing left behind."""

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import engine_workers
import pytest
from engine_workers import HERE, MODEL, PATHS, Hanging, Marking, Unbuildable, acting, ask, text_of

from tsr.engines import process
from tsr.engines.base import EngineError, ModelFiles
from tsr.engines.process import ProcessEngine
from tsr.engines.scripted import ScriptedEngine


@pytest.fixture
def engine() -> Iterator[ProcessEngine]:
    """One that does what the request says."""
    made = acting()
    made.load(MODEL)
    yield made
    made.close()


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def state(pid: int) -> str:
    """The letter of ps; nothing where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def gone(pid: int) -> bool:
    # Those whose parent is dead are left to a pid 1 that may be in no haste.
    return state(pid) in {"", "Z", "X"}


def pid_of(engine: ProcessEngine) -> int:
    assert engine.pid is not None
    return engine.pid


@contextmanager
def interrupted_at(mark: Path) -> Iterator[None]:
    """Ctrl-C in this process once the file is there."""

    def interrupt() -> None:
        wait_for(mark.exists)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    thread.join()


@contextmanager
def parent(ending: str, mark: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-W", "error", engine_workers.__file__, ending, str(mark)]
    started = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def pids_from(started: "subprocess.Popen[str]") -> list[int]:
    assert started.stdout is not None
    return [int(word) for word in started.stdout.readline().split()]


def test_the_same_answers(engine: ProcessEngine) -> None:
    requests = [ask("hello there", 1, 2, 3), ask("x", 7)]
    elsewhere, here = ProcessEngine(ScriptedEngine), ScriptedEngine()
    for name in ("one", "two"):
        model = ModelFiles(name, Path("nowhere"))
        elsewhere.load(model)
        here.load(model)
        assert elsewhere.answer(requests) == here.answer(requests)
    assert elsewhere.answer([]) == []
    assert elsewhere.lengths(requests) == here.lengths(requests)
    assert elsewhere.context() == here.context()
    elsewhere.pause()
    assert elsewhere.answer(requests) == here.answer(requests)
    elsewhere.close()
    assert int(text_of(engine, "pid")) == engine.pid != os.getpid()


def test_nothing_starts_before_the_first_load() -> None:
    engine = ProcessEngine(ScriptedEngine)
    engine.pause()
    engine.close()
    for call in (partial(engine.answer, []), partial(engine.lengths, []), engine.context):
        with pytest.raises(EngineError, match=r"no model is loaded: call load\(\) first"):
            call()
    assert engine.pid is None


def test_errors_come_back_and_the_process_stays(engine: ProcessEngine) -> None:
    pid = engine.pid
    with pytest.raises(EngineError, match=r"^engine\.x: raise it$"):
        text_of(engine, "refuse engine.x: raise it")
    with pytest.raises(RuntimeError, match="the engine's process failed") as caught:
        text_of(engine, "fail a bug")
    assert not isinstance(caught.value, EngineError)
    assert "ValueError: a bug" in str(caught.value)
    assert "in fail\n" in str(caught.value)
    with pytest.raises(RuntimeError, match="pickle"):
        text_of(engine, "local")
    assert text_of(engine, "pid") == str(pid)


def test_an_engine_that_cannot_be_built() -> None:
    refused = ProcessEngine(partial(Unbuildable, EngineError), HERE)
    for _ in range(2):
        with pytest.raises(EngineError, match=r"^no such thing$"):
            refused.load(MODEL)
    broken = ProcessEngine(partial(Unbuildable, ValueError), HERE)
    with pytest.raises(RuntimeError, match="ValueError: no such thing"):
        broken.load(MODEL)
    unknown = ProcessEngine(partial(ScriptedEngine, engine_workers.act))  # and not importable
    with pytest.raises(RuntimeError, match=r"ModuleNotFoundError: .*engine_workers"):
        unknown.load(MODEL)
    assert refused.pid is broken.pid is unknown.pid is None


@pytest.mark.parametrize(
    ("act", "end"),
    [
        ("die SIGKILL", "was killed by SIGKILL. Where it was the system's memory"),
        ("die SIGTERM", "was killed by SIGTERM. The same command"),
        ("leave 3", "ended with 3. The same command"),
        ("cut", "was killed by SIGKILL"),
    ],
)
def test_death_while_answering(engine: ProcessEngine, act: str, end: str) -> None:
    pid = pid_of(engine)
    with pytest.raises(EngineError, match=f"process {pid} {end}"):
        text_of(engine, act)
    assert engine.pid is None
    assert state(pid) == ""
    with pytest.raises(EngineError, match="no model is loaded"):
        text_of(engine, "pid")
    engine.load(MODEL)
    assert text_of(engine, "pid") == str(engine.pid) != str(pid)


def test_killed_from_outside_while_answering(engine: ProcessEngine, tmp_path: Path) -> None:
    pid, mark = pid_of(engine), tmp_path / "mark"

    def kill() -> None:
        wait_for(mark.exists)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(EngineError, match=f"process {pid} was killed by SIGKILL"):
        text_of(engine, f"sleep 600 {mark}")
    thread.join()


@pytest.mark.parametrize("act", ["spawn", "fork"])
def test_death_is_seen_and_shared_by_what_it_started(engine: ProcessEngine, act: str) -> None:
    started = int(text_of(engine, act))
    assert not gone(started)
    with pytest.raises(EngineError, match="SIGKILL"):
        text_of(engine, "die SIGKILL")
    wait_for(lambda: gone(started))


def test_death_between_calls(engine: ProcessEngine, caplog: pytest.LogCaptureFixture) -> None:
    def kill() -> int:
        pid = pid_of(engine)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid

    with caplog.at_level(logging.WARNING, "tsr"):
        pid = kill()
        engine.load(MODEL)
        assert text_of(engine, "pid") == str(engine.pid) != str(pid)
        kill()
        engine.pause()  # whoever wants the room has it
        assert engine.pid is None
    assert f"process {pid} was killed by SIGKILL" in caplog.messages[0]
    assert len(caplog.messages) == 2
    engine.load(MODEL)
    pid = kill()
    with pytest.raises(EngineError, match=f"process {pid} was killed by SIGKILL"):
        engine.context()


def test_close_ends_all_and_twice_is_fine(tmp_path: Path) -> None:
    engine = ProcessEngine(partial(Marking, tmp_path / "closed"), HERE)
    engine.load(MODEL)
    pid, started = pid_of(engine), [int(text_of(engine, act)) for act in ("spawn", "fork")]
    engine.close()
    engine.close()
    assert (tmp_path / "closed").exists()
    assert state(pid) == ""
    for one in started:
        wait_for(partial(gone, one))
    assert engine.pid is None
    engine.load(MODEL)
    assert pid_of(engine) != pid
    engine.close()


def test_close_of_one_that_died_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    dead, hangs = acting(), ProcessEngine(Hanging, HERE)
    monkeypatch.setattr(process, "PATIENCE_S", 0.3)
    for engine in (dead, hangs):
        engine.load(MODEL)
    pids = [pid_of(engine) for engine in (dead, hangs)]
    os.kill(pids[0], signal.SIGKILL)
    for engine in (dead, hangs):
        engine.close()
    assert [state(pid) for pid in pids] == ["", ""]


def test_dropped_without_close() -> None:
    engine = acting()
    engine.load(MODEL)
    pid, started = pid_of(engine), int(text_of(engine, "spawn"))
    del engine
    gc.collect()
    assert state(pid) == ""
    wait_for(lambda: gone(started))


def test_a_fork_of_the_parent_ends_nothing(engine: ProcessEngine) -> None:
    code = f"""if True:
        import os, sys
        sys.path.insert(0, {PATHS[0]!r})
        from engine_workers import MODEL, acting, text_of
        engine = acting()
        engine.load(MODEL)
        if not (fork := os.fork()):
            sys.exit()  # as for any process, finalizers run
        os.waitpid(fork, 0)
        assert text_of(engine, "pid") == str(engine.pid)
        if not (fork := os.fork()):
            del engine
            os._exit(0)
        os.waitpid(fork, 0)
        assert text_of(engine, "pid") == str(engine.pid)
        engine.close()
    """
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)


def test_ctrl_c_while_answering(engine: ProcessEngine, tmp_path: Path) -> None:
    pid, started = pid_of(engine), int(text_of(engine, "spawn"))
    with interrupted_at(tmp_path / "mark"):
        text_of(engine, f"sleep 600 {tmp_path / 'mark'}")
    assert engine.pid is None
    assert state(pid) == ""
    wait_for(lambda: gone(started))
    engine.load(MODEL)
    assert text_of(engine, "pid") == str(engine.pid) != str(pid)


def test_ctrl_c_of_the_terminal_is_not_for_the_process(engine: ProcessEngine) -> None:
    pid = pid_of(engine)
    assert os.getpgid(pid) == os.getsid(pid) == pid
    os.kill(pid, signal.SIGINT)
    assert text_of(engine, "pid") == str(pid)


def test_processes_hold_no_pipes_of_each_other(engine: ProcessEngine) -> None:
    second = acting()
    second.load(MODEL)
    assert [text_of(e, "sockets") for e in (engine, second)] == ["1", "1"]
    pid = pid_of(engine)
    with pytest.raises(EngineError, match=f"process {pid} was killed"):
        text_of(engine, "die SIGKILL")  # seen at once, though the second lives
    engine.load(MODEL)
    assert text_of(engine, "sockets") == "1"
    second.close()


def test_environment_and_streams(capfd: pytest.CaptureFixture[str]) -> None:
    engine = ProcessEngine(partial(ScriptedEngine, engine_workers.act), HERE | {"TSR_TEST": "here"})
    engine.load(MODEL)
    assert text_of(engine, "environ TSR_TEST") == "here"
    assert text_of(engine, "say something loud") == ""  # and nothing to be read there
    engine.close()
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "something loud\n")


@pytest.mark.parametrize("ending", ["idle", "busy", "spins", "threads"])
def test_parent_is_killed(ending: str, tmp_path: Path) -> None:
    with parent(ending, tmp_path / "mark") as started:
        pids = pids_from(started)
        wait_for((tmp_path / "mark").exists)
        time.sleep(0.1)
        assert not any(map(gone, pids))
        started.kill()
        started.wait()
        for pid in pids:
            wait_for(partial(gone, pid), 5)


def test_parent_is_killed_and_a_fork_of_it_is_not(tmp_path: Path) -> None:
    with parent("forks", tmp_path / "mark") as started:
        pids, (fork,) = pids_from(started), pids_from(started)
        try:
            wait_for((tmp_path / "mark").exists)
            started.kill()
            started.wait()
            for pid in pids:
                wait_for(partial(gone, pid), 5)
            assert not gone(fork)
        finally:
            os.kill(fork, signal.SIGKILL)


@pytest.mark.parametrize(
    ("ending", "code"), [("ends", 0), ("raises", 1), ("busy", -signal.SIGINT), ("threads", -2)]
)
def test_parent_ends_without_close(ending: str, code: int, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with parent(ending, mark) as started:
        pids = pids_from(started)
        if code < 0:
            wait_for(mark.exists)
            started.send_signal(signal.SIGINT)  # to the parent only
        error = started.communicate(timeout=10)[1]
        assert started.returncode == code
        for pid in pids:
            assert gone(pid)  # by now: not left to the process itself
    assert ("ValueError: the parent's own" in error) == (ending == "raises")
    assert ("KeyboardInterrupt" in error) == (code < 0)
    assert "ResourceWarning" not in error

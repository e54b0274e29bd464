"""Told to stop, work saves itself; a job then goes back into the queue, unless it was cancelled."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fake_slurm import FakeSlurm
from stage_tools import Counting, Nobody, execute, executor

from tsr import stopping
from tsr.compose import compose_all
from tsr.config import EngineConfig
from tsr.engines.base import Answer, Request
from tsr.executors.slurm import job as jobs
from tsr.executors.slurm import warning
from tsr.executors.slurm.job import Place, StageJob
from tsr.executors.slurm.queue import SlurmError
from tsr.executors.slurm.warning import REQUEUED, requeue, saving
from tsr.loop import build_run
from tsr.resources import ResourcesConfig, SlurmConfig
from tsr.stage import Stage
from tsr.stages.generate import Generate
from tsr.stopping import Stopped
from tsr.store import Store
from tsr.store.jobs import Note
from tsr.workbench import Workbench

PROMPTS = 6
SIGNALS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGALRM)


@pytest.fixture(autouse=True)
def untold() -> Iterator[None]:
    """No test leaves a request, a handler or a timer behind."""
    stopping.reset()
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    stopping.reset()
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.fixture(scope="module")
def pool() -> Generate:
    """Three answers of nobody to each of six prompts, two prompts a block."""
    size = f"data.prompts_per_iteration={PROMPTS}"
    config = compose_all(["model=tiny", size, "iterations=1", "variant=self_rewarding"], False)[0]
    (own,) = build_run(config).iterations[0].model.pairs.pools
    found = own.judged
    assert isinstance(found, Generate)
    return replace(found, model=Nobody(), engine=EngineConfig(name="scripted", block=6), k=3)


class Warned(Counting):
    """Is told to stop while it answers for the first time."""

    def __init__(self, warn: Callable[[], Any]) -> None:
        super().__init__()
        self.warn, self.calls = warn, 0

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        self.calls += 1
        if self.calls == 1:
            self.warn()
        return super().answer(requests)


def kill(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


# Work


def test_work_stops_after_the_block_under_way_and_goes_on_from_there(
    pool: Generate, tmp_path: Path
) -> None:
    whole = executor(tmp_path / "b", Counting())
    execute(whole, pool)
    engine = Warned(stopping.ask)
    run = executor(tmp_path / "a", engine)
    with pytest.raises(Stopped):
        run.execute([pool], lambda stage: None)
    assert engine.calls == 1
    assert run.failures == {}, "it is no failure"
    assert run.store.claims.live(pool.key) is None, "anybody may go on"
    assert run.store.state(pool) == "partial"
    (left,) = run.store.leftovers(pool)
    assert len(list((left / "blocks").glob("*.jsonl"))) == 1
    stopping.reset()
    second = Counting()
    again = executor(tmp_path / "a", second)
    execute(again, pool)
    assert not {r.id for r in engine.asked} & {r.id for r in second.asked}
    assert (len(engine.asked), len(second.asked)) == (2, 4)
    files = [run.store.folder(pool) / "candidates.jsonl" for run in (whole, again)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_nothing_is_begun_once_it_was_told_to_stop(pool: Generate, tmp_path: Path) -> None:
    engine = Counting()
    run = executor(tmp_path, engine)
    execute(run, *pool.inputs)
    stopping.ask()
    with pytest.raises(Stopped):
        run.execute([pool], lambda stage: None)
    assert engine.asked == []


def test_what_is_finished_is_published_all_the_same(pool: Generate, tmp_path: Path) -> None:
    """Told to stop in the last block: there is nothing left to save."""
    run = executor(tmp_path, Warned(stopping.ask))
    one = replace(pool, engine=EngineConfig(name="scripted", block=99))
    execute(run, one)
    assert run.store.has(one)


def test_a_stop_is_caught_by_nobody_who_catches_errors() -> None:
    stopping.ask()
    assert stopping.asked()
    assert not issubclass(Stopped, Exception), "library code catches those"
    with pytest.raises(Stopped):
        stopping.stop_if_asked()
    stopping.reset()
    stopping.stop_if_asked()


# Signals


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """This process is job 12, and it runs."""
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.says("squeue", "RUNNING\n")
    fake.says("scontrol")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    return fake


def end_of(work: Callable[[], None], notice_s: float = 60.0) -> Any:
    """The exit code of a job that does this; None where it just goes on."""
    try:
        with saving(notice_s):
            work()
    except SystemExit as end:
        return end.code
    return None


def warned() -> None:
    """Work that is warned and heeds it."""
    kill(signal.SIGUSR2)
    until_told()


def until_told(seconds: float = 20.0) -> None:
    """Work with a safe point every few milliseconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)
        stopping.stop_if_asked()
    pytest.fail("nobody told it to stop")


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_warned_job_reaches_its_safe_point_and_is_requeued(
    slurm: FakeSlurm, number: signal.Signals
) -> None:
    reached = []

    def work() -> None:
        kill(number)
        time.sleep(0.05)
        reached.append("the end of the block")
        stopping.stop_if_asked()
        reached.append("more")

    assert end_of(work) == REQUEUED == 75
    assert reached == ["the end of the block"]
    assert slurm.calls("scontrol") == [["requeue", "12"]]


def test_an_arrays_task_requeues_itself_and_not_the_array(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert end_of(warned) == REQUEUED
    assert slurm.calls("scontrol") == [["requeue", "12_3"]]
    assert all(words[:3] == ["-h", "-j", "12_3"] for words in slurm.calls("squeue"))


@pytest.mark.parametrize("said", ["CANCELLED", "COMPLETING", ""])
def test_a_cancelled_job_ends_at_once(slurm: FakeSlurm, said: str) -> None:
    slurm.says("squeue", f"{said}\n")
    began = time.monotonic()

    def work() -> None:
        kill(signal.SIGTERM)
        time.sleep(20)  # it will reach no safe point

    assert end_of(work) == REQUEUED
    assert time.monotonic() - began < 10
    assert slurm.calls("scontrol") == []


def test_cancelled_while_it_saves_is_not_requeued(slurm: FakeSlurm) -> None:
    def work() -> None:
        kill(signal.SIGUSR2)
        time.sleep(0.01)
        slurm.says("squeue", "CANCELLED\n")
        until_told()

    assert end_of(work) == REQUEUED
    assert slurm.calls("scontrol") == []


def test_work_that_reaches_no_safe_point_is_interrupted_in_time(slurm: FakeSlurm) -> None:
    began, reached = time.monotonic(), []

    def work() -> None:
        kill(signal.SIGUSR2)
        try:
            time.sleep(20)
        finally:
            reached.append(time.monotonic() - began)

    assert end_of(work, 0.5) == REQUEUED
    assert 0.3 < reached[0] < 10, "neither at once nor when it is too late"
    assert slurm.calls("scontrol") == [["requeue", "12"]]


def test_work_that_is_not_warned_just_ends(slurm: FakeSlurm) -> None:
    with saving(60):
        stopping.stop_if_asked()
    assert slurm.calls("squeue") == slurm.calls("scontrol") == []


def test_work_that_finishes_in_spite_of_a_warning_is_not_requeued(slurm: FakeSlurm) -> None:
    def work() -> None:
        kill(signal.SIGUSR2)
        time.sleep(0.01)

    assert end_of(work) is None
    assert stopping.asked()
    assert slurm.calls("scontrol") == []


def test_an_error_passes(slurm: FakeSlurm) -> None:
    with pytest.raises(ZeroDivisionError), saving(60):
        raise ZeroDivisionError
    assert slurm.calls("scontrol") == []


def test_an_older_warning_is_forgotten(slurm: FakeSlurm) -> None:
    stopping.ask()
    with saving(60):
        stopping.stop_if_asked()


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_nothing_disturbs_a_job_that_leaves(slurm: FakeSlurm, number: signal.Signals) -> None:
    """SLURM ends the job while it is being requeued; the time for saving runs out meanwhile."""
    slurm.does("squeue", "/bin/sleep 0.4; echo RUNNING\n")
    slurm.does("scontrol", f"kill -{number.name[3:]} $PPID; /bin/sleep 0.4\n")
    assert end_of(warned, 0.5) == REQUEUED
    assert slurm.calls("scontrol") == [["requeue", "12"]]


def test_where_requeueing_is_refused_it_is_told(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warning, "PAUSE_S", 0.01)
    slurm.says("scontrol", err="Requested operation is presently disabled", code=1)
    with pytest.raises(SlurmError, match="scontrol: Requested operation is presently disabled"):
        requeue("no reason")
    assert len(slurm.calls("scontrol")) == warning.TRIES


# A job


@dataclass(frozen=True, eq=False, repr=False)
class Brittle(Stage):
    """Dies of the warning instead of heeding it."""

    kind: ClassVar[str] = "brittle"

    warned: bool

    def produce(self, bench: Workbench) -> dict[str, Any]:
        if self.warned:
            kill(signal.SIGUSR2)
            time.sleep(0.01)
        raise ConnectionResetError("the workers are gone")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A store with a sweep called `s`."""
    monkeypatch.setattr(jobs, "log_to_terminal", lambda: None)
    store = tmp_path / "store"
    Store(store).layout.prepare()
    (store / "sweeps").mkdir()
    (store / "sweeps" / "s.json").write_text("{}")
    return Place(str(store), "hash", "s", "login")


def job_of(stage: Stage, place: Place, **slurm: Any) -> StageJob:
    place.store().notes.put(Note(stage.key, stage.label, "12", "logs"))
    return StageJob(stage, stage.key, place, ResourcesConfig(slurm=SlurmConfig(**slurm)), stage.job)


def error_of(stage: Stage, place: Place) -> str | None:
    note = place.store().notes.get(stage.key)
    assert note is not None
    return note.error


def test_a_job_that_is_warned_goes_on_after_its_requeue(
    slurm: FakeSlurm, pool: Generate, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = [Warned(lambda: kill(signal.SIGUSR2)), Counting()]
    left = list(engines)
    monkeypatch.setattr(jobs, "build_engine", lambda config, resources: left.pop(0))
    execute(executor(Path(place.root)), *pool.inputs)
    with pytest.raises(SystemExit) as end:
        job_of(pool, place)()
    assert end.value.code == REQUEUED
    assert slurm.calls("scontrol") == [["requeue", "12"]]
    assert error_of(pool, place) is None
    job_of(pool, place)()
    assert place.store().has(pool)
    assert [len(engine.asked) for engine in engines] == [2, 4]


def test_what_dies_of_the_warning_has_not_failed(slurm: FakeSlurm, place: Place) -> None:
    with pytest.raises(SystemExit) as end:
        job_of(Brittle(True), place)()
    assert end.value.code == REQUEUED
    assert slurm.calls("scontrol") == [["requeue", "12"]]
    assert error_of(Brittle(True), place) is None


def test_what_dies_by_itself_has_failed(slurm: FakeSlurm, place: Place) -> None:
    with pytest.raises(jobs.JobFailed, match="ConnectionResetError: the workers are gone"):
        job_of(Brittle(False), place)()
    assert slurm.calls("scontrol") == []
    assert "the workers are gone" in str(error_of(Brittle(False), place))


def test_a_job_does_not_wait_in_its_place_for_somebody_else(
    slurm: FakeSlurm, pool: Generate, place: Place
) -> None:
    with place.store().exclusive(pool.key, pool.label), pytest.raises(SystemExit) as end:
        job_of(pool, place, patience_s=0.1)()
    assert end.value.code == REQUEUED
    note = place.store().notes.get(pool.key)
    assert note is not None
    assert (note.waits, note.error) == (1, None), "it is not the job's own fault"
    assert slurm.calls("scontrol") == [["requeue", "12"]]

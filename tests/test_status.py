"""What `tsr.status` tells of a sweep, and what `tsr.cancel` takes out of the queue."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from fake_slurm import FakeSlurm
from rich.console import Console
from stage_tools import execute, executor

import tsr.run
from tsr import cancel
from tsr.compose import compose_all
from tsr.config import RunConfig
from tsr.executors.slurm.queue import path_tag
from tsr.stage import Stage
from tsr.stages.share import Share, Splittable
from tsr.status import __main__ as status
from tsr.status.states import Cluster, State, states_of
from tsr.status.told import log_end
from tsr.store import Store
from tsr.store.jobs import Note
from tsr.store.sweeps import SweepFile, Wanted, sweep_name
from tsr.sweep import Sweep
from tsr.workbench import Workbench


@dataclass(frozen=True, eq=False, repr=False)
class Toy(Splittable):
    """Work that looks from inside how it looks from outside."""

    kind: ClassVar[str] = "toy"

    name: str
    sources: tuple["Toy", ...] = ()

    def produce(self, bench: Workbench) -> dict[str, Any]:
        with bench.progress("toys", 8, 2) as progress:
            progress.advance(3)
            SEEN.append(Path(bench.folder).parents[2])
            LOOK[-1]()
        return {"units": 1}


SEEN: list[Path] = []
LOOK: list[Callable[[], None]] = [lambda: None]

A = Toy("a")
B = Toy("b", (A,))
C = Toy("c", (B,))
D = Toy("d")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "store")
    found.layout.prepare()
    return found


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A cluster with an empty queue and nothing in its accounts."""
    fake = FakeSlurm(tmp_path, monkeypatch)
    for command in ("squeue", "sacct", "scancel"):
        fake.says(command)
    return fake


def sweep(
    store: Store,
    *stages: Stage,
    name: str = "s",
    executor: str = "slurm",
    runs: dict[str, list[str]] | None = None,
    **more: Any,
) -> SweepFile:
    """Put a sweep that needs these stages into the store."""
    keys = tuple(stage.key for stage in stages)
    made = SweepFile(
        name=name,
        started="2026-01-01T00:00:00+00:00",
        executor=executor,
        stages=tuple(
            Wanted(s.key, s.kind, s.label, s.count, tuple(one.key for one in s.inputs))
            for s in stages
        ),
        runs=runs or {"run": list(keys)},
        **{"needed": keys, **more},
    )
    store.sweeps.put(made)
    return made


def note(store: Store, stage: Stage, job: str, *lines: str, **more: Any) -> None:
    """A job for a stage, and what it wrote."""
    logs = store.root / "logs" / job
    logs.mkdir(parents=True)
    if lines:
        (logs / f"{job}_0_log.out").write_text("".join(f"{line}\n" for line in lines))
    store.notes.put(Note(stage.key, stage.label, job, str(logs), **more))


def states(store: Store, name: str = "s") -> dict[str, State]:
    """By the stage's key."""
    return {s.stage.key: s for s in states_of(store.sweeps.get(name), store)[0]}


def cluster(store: Store, name: str = "s") -> Cluster:
    return states_of(store.sweeps.get(name), store)[1]


def told(state: State) -> tuple[str, str]:
    return state.state, state.detail


def done(store: Store, *stages: Stage) -> None:
    for stage in stages:
        store.ensure(stage, lambda folder: {"units": 1})


# A sweep on this machine


@pytest.fixture(scope="module")
def config() -> RunConfig:
    ours = ("model=tiny", "engine=scripted", "variant=self_rewarding", "iterations=1", "k=3")
    return compose_all(list(ours), multirun=False)[0]


@pytest.fixture
def run(config: RunConfig, tmp_path: Path) -> Sweep:
    places = {"store": str(tmp_path / "store"), "runs": str(tmp_path / "runs")}
    return Sweep([replace(config, **places)], Console(quiet=True))


def test_a_sweep_on_this_machine(run: Sweep) -> None:
    plan = run.plan()
    run.note("local", plan)
    ready = [stage for stage in plan.to_run if stage.kind == "prompts"]
    execute(executor(run.store.root), *ready)
    found = states(run.store, run.name)
    assert set(found) == {stage.key for stage in plan.distinct}
    assert {key for key, s in found.items() if s.state == "done"} == {s.key for s in ready}
    rest = [s for s in found.values() if s.stage.kind != "prompts"]
    assert {told(s) for s in rest} == {("missing", "to do")}
    assert cluster(run.store, run.name) == Cluster({}, {})


def test_the_same_command_is_the_same_sweep(run: Sweep, config: RunConfig, tmp_path: Path) -> None:
    elsewhere = {"store": str(tmp_path / "other"), "runs": str(tmp_path / "else")}
    again = Sweep([replace(config, **elsewhere)], Console(quiet=True))
    assert run.name == again.name
    other = Sweep([replace(config, **elsewhere, seed=7)], Console(quiet=True))
    assert other.name != run.name
    assert sweep_name({"a": ["1"], "b": ["2"]}) == sweep_name({"b": ["2"], "a": ["1"]})
    assert sweep_name({"a": ["1"], "b": ["2"]}) != sweep_name({"a": ["2"], "b": ["1"]})
    for _ in range(2):
        run.note("local", run.plan())
    assert run.store.sweeps.names() == [run.name]


def test_work_under_way_tells_how_far_it_is(store: Store) -> None:
    sweep(store, A, executor="local")
    seen: list[State] = []
    LOOK.append(lambda: seen.append(states(Store(SEEN[-1]))[A.key]))
    execute(executor(store.root), A)
    LOOK.pop()
    (state,) = seen
    assert state.state == "running"
    # Nothing is told more often than once a second: what was there at the beginning.
    assert state.detail.startswith("2/8 on ")
    assert f"pid {os.getpid()}" in state.detail
    assert told(states(store)[A.key]) == ("done", "")


def test_how_fast_and_how_long(store: Store) -> None:
    sweep(store, A, executor="local")
    claim = store.exclusive(A.key, A.label)
    with claim:
        assert told(states(store)[A.key]) == ("running", f"at work on {claim.owner}")
        part = store.layout.part(A.kind, A.key, claim.owner.id)
        part.mkdir(parents=True)
        progress = {"what": "toys", "done": 30, "total": 100, "begun": 10, "seconds": 40.0}
        (part / "progress.json").write_text(json.dumps(progress))
        detail = f"30/100, 0.5/s, 140 s left on {claim.owner}"
        assert told(states(store)[A.key]) == ("running", detail)
        (part / "progress.json").write_text('{"what": "to')
        assert told(states(store)[A.key]) == ("running", f"at work on {claim.owner}")
    assert told(states(store)[A.key]) == ("missing", "to do")


def test_an_older_job_says_nothing_of_a_sweep_on_this_machine(
    store: Store, slurm: FakeSlurm
) -> None:
    note(store, A, "7", "died", error="the node went away")
    sweep(store, A, executor="local")
    assert told(states(store)[A.key]) == ("missing", "to do")


def test_what_is_not_needed_any_more_is_not_missed(store: Store) -> None:
    """The judge's answers are there: who cares for the candidates."""
    done(store, B)
    sweep(store, A, B, C, executor="local", needed=(C.key,))
    found = states(store)
    assert {key: s.state for key, s in found.items()} == {B.key: "done", C.key: "missing"}


# On a cluster


def test_jobs_in_the_queue(store: Store, slurm: FakeSlurm) -> None:
    ready = Toy("ready")
    done(store, ready)
    for job, stage in (("7", A), ("8", B), ("9", D), ("5", ready)):
        note(store, stage, job)
    sweep(store, A, B, C, D, ready)
    slurm.says(
        "squeue",
        "7|RUNNING|None|n1|toy-a\n8|PENDING|Dependency||toy-b\n9|PENDING|Resources||toy-d\n",
    )
    found = states(store)
    assert told(found[A.key]) == ("running", "running on n1")
    assert told(found[B.key]) == ("pending", "Dependency")
    assert told(found[D.key]) == ("pending", "Resources")
    assert told(found[C.key]) == ("missing", "not submitted")
    assert [found[s.key].job for s in (A, B, C, D)] == ["7", "8", "", "9"]
    assert told(found[ready.key]) == ("done", "")
    assert slurm.calls("sacct") == [], "what has ended is there"


def test_a_job_that_failed_and_what_will_never_run(store: Store, slurm: FakeSlurm) -> None:
    note(store, A, "7", *(f"line {n}" for n in range(9)), "", error="no room on the card")
    note(store, B, "8")
    sweep(store, A, B, C)
    slurm.says("squeue", "8|PENDING|DependencyNeverSatisfied||toy-b\n")
    slurm.says("sacct", "7|FAILED|1:0|n3|toy-a\n")
    found = states(store)
    assert told(found[A.key]) == ("failed", "no room on the card (FAILED, exit 1:0)")
    assert found[A.key].log == tuple(f"line {n}" for n in range(4, 9))
    assert told(found[B.key]) == ("never", f"its input {A.label} failed")
    assert told(found[C.key]) == ("never", f"its input {B.label} never")


def test_the_newest_log_is_shown(store: Store, slurm: FakeSlurm) -> None:
    note(store, A, "7", "the last try")
    old = store.root / "logs" / "7" / "9_0_log.out"
    old.write_text("an older one\n")
    os.utime(old, (time.time() - 99, time.time() - 99))
    sweep(store, A)
    assert states(store)[A.key].log == ("the last try",)


def test_a_log_that_is_closed_to_us_is_a_log_that_is_not_there(
    store: Store, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(store, A, "7", "for nobody else's eyes")
    sweep(store, A)

    def closed(path: Path, **_: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", closed)
    assert log_end(store.root / "logs" / "7", "7") == ()


def test_a_job_without_a_log(store: Store, slurm: FakeSlurm) -> None:
    note(store, A, "7")
    sweep(store, A)
    slurm.says("sacct", "7|NODE_FAIL|0:0|n3|toy-a\n")
    state, detail = told(states(store)[A.key])
    assert state == "failed"
    assert "NODE_FAIL" in detail
    assert f"no log in {store.root / 'logs' / '7'}: can that folder be seen from node n3?" in detail


@pytest.mark.parametrize(("cancelled", "by"), [(True, "cancelled"), (False, "by SLURM")])
def test_a_cancelled_job(store: Store, slurm: FakeSlurm, cancelled: bool, by: str) -> None:
    note(store, A, "7", "a line")
    sweep(store, A, cancelled=cancelled)
    slurm.says("sacct", "7|CANCELLED by 1000|0:15|n3|toy-a\n")
    assert told(states(store)[A.key]) == ("cancelled", by)


def test_shares_under_way_are_counted(store: Store, slurm: FakeSlurm) -> None:
    note(store, A, "9", shares=3, shares_job="8")
    sweep(store, A)
    whole = "9|PENDING|Dependency||toy-a\n"
    slurm.says("squeue", f"8_0|RUNNING|None|n1|shares\n8_2|PENDING|Resources||shares\n{whole}")
    assert told(states(store)[A.key]) == ("running", "0 of 3 shares done, 1 at work")
    done(store, Share(A, 1, 3))
    done(store, Share(A, 0, 2))  # of another split
    slurm.says("squeue", f"8_2|PENDING|Resources||shares\n{whole}")
    assert told(states(store)[A.key]) == ("pending", "1 of 3 shares done; Resources")
    slurm.says("squeue", whole.replace("Dependency", "Priority"))
    assert told(states(store)[A.key]) == ("pending", "Priority")


def test_a_failed_share_is_the_failure_of_its_stage(store: Store, slurm: FakeSlurm) -> None:
    note(store, A, "9", shares=2, shares_job="8")
    note(store, Share(A, 1, 2), "8_1", "no room on the card", error="out of memory")
    sweep(store, A, B)
    done(store, Share(A, 0, 2))
    slurm.says("sacct", "8_1|FAILED|1:0|n1|shares\n9|CANCELLED|0:0||toy-a\n")
    found = states(store)
    assert told(found[A.key]) == ("failed", "share 2 of 2: out of memory (FAILED, exit 1:0)")
    assert "no room on the card" in found[A.key].log
    assert found[B.key].state == "never"


def test_another_users_job_that_cannot_be_seen_is_not_called_failed(
    store: Store, slurm: FakeSlurm
) -> None:
    note(store, A, "9", user="somebody")
    sweep(store, A)
    assert told(states(store)[A.key]) == ("pending", "somebody's job, not to be seen from here")


def test_a_claim_says_more_than_the_queue(store: Store, slurm: FakeSlurm) -> None:
    """Somebody on another machine makes it, while the job still waits."""
    note(store, A, "7")
    sweep(store, A)
    slurm.says("squeue", "7|PENDING|Priority||toy-a\n")
    with store.exclusive(A.key, A.label) as claim:
        assert told(states(store)[A.key]) == ("running", f"at work on {claim.owner}")


def test_without_accounting_the_note_and_the_log_tell(store: Store, slurm: FakeSlurm) -> None:
    note(store, A, "7", "the end", error="no room on the card")
    note(store, D, "9")
    sweep(store, A, D)
    slurm.says("squeue", "9|PENDING|Priority||toy-d\n")
    slurm.says("sacct", err="Slurm accounting storage is disabled", code=1)
    found = states(store)
    assert told(found[A.key]) == ("failed", "no room on the card")
    assert found[A.key].log == ("the end",)
    assert told(found[D.key]) == ("pending", "Priority")
    assert cluster(store).trouble == "sacct: Slurm accounting storage is disabled"


def test_where_the_queue_cannot_be_asked_nothing_is_called_failed(
    store: Store, slurm: FakeSlurm
) -> None:
    note(store, A, "7", "it works and works")
    note(store, B, "8")
    note(store, D, "9", "the end", error="no room on the card")
    sweep(store, A, B, D)
    slurm.says("squeue", err="Unable to contact slurm controller", code=1)
    found = states(store)
    assert [found[s.key].state for s in (A, B, D)] == ["pending", "pending", "failed"]
    assert "cannot be asked" in found[A.key].detail
    assert cluster(store).trouble == "squeue: Unable to contact slurm controller"
    (slurm.folder / "squeue").unlink()
    assert "no SLURM on this machine" in cluster(store).trouble


# The commands


@pytest.fixture
def tsr_(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """A command as it is typed; what it prints. It must end with this exit code."""
    monkeypatch.setattr(tsr.run, "log_to_terminal", lambda: None)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # set by it; taken back by this

    def command(main: Callable[[], None], *words: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["tsr", *words, "--store", str(store.root)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert end.value.code == code, out + err
        return out + err

    return command


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def line_of(text: str, word: str) -> list[str]:
    """The words of the one line with this word."""
    (line,) = (line for line in text.splitlines() if word in line)
    return line.replace("│", " ").replace("┃", " ").split()


def test_the_latest_sweep_is_shown(
    store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]
) -> None:
    done(store, A)
    note(store, B, "7", "Traceback", "ValueError: [red]boom[/red] [/nope]", error="[b]boom")
    sweep(store, D, name="older")
    sweep(store, A, B, C, folders={"run": "/runs/[red]x"}, records={"run": "12"})
    slurm.says("sacct", "7|FAILED|1:0|n3|toy-b\n")
    text = tsr_(status.main)
    assert "s (slurm, started 2026-01-01T00:00:00+00:00): 3 stages:" in text
    assert "1 done, 1 failed, 1 never" in text
    assert line_of(text, A.label)[:5] == [*A.label.split(), "1", "done", "-"]
    failed = f"{B.label} 1 failed 7 [b]boom (FAILED, exit 1:0)"
    assert line_of(text, "[b]boom") == failed.split()
    assert "  ValueError: [red]boom[/red] [/nope]" in text.splitlines()
    assert "/runs/[red]x" in text
    assert "12" in line_of(text, "/runs/")
    assert D.label not in text


def test_trouble_is_told(store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]) -> None:
    note(store, A, "7", "the end")
    sweep(store, A)
    slurm.says("sacct", err="Slurm accounting storage is [red]disabled", code=1)
    assert "sacct: Slurm accounting storage is [red]disabled" in tsr_(status.main)


def test_every_stage_as_json(store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]) -> None:
    done(store, A)
    note(store, B, "7")
    sweep(store, A, B)
    slurm.says("squeue", "7|PENDING|Priority||toy-b\n")
    first, second = rows(tsr_(status.main, "--json"))
    assert (first["state"], first["stage"]["key"], first["log"]) == ("done", A.key, [])
    assert (second["state"], second["detail"], second["job"]) == ("pending", "Priority", "7")
    assert second["stage"]["inputs"] == [A.key]


def test_many_stages_are_listed_only_where_they_are_not_done(
    store: Store, tsr_: Callable[..., str]
) -> None:
    stages = [Toy(f"stage {number}") for number in range(101)]
    for stage in stages[:-1]:  # by name only: it is their number that matters
        folder = store.layout.target(stage.kind, stage.key)
        folder.mkdir(parents=True)
        (folder / "DONE").touch()
    sweep(store, *stages, executor="local")
    text = tsr_(status.main)
    assert "100 done, 1 missing" in text
    assert text.count("toy ") == 1
    assert stages[-1].label in text
    assert tsr_(status.main, "--all").count("toy ") == 101


def test_a_run_by_its_name(store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]) -> None:
    runs = {"first": [A.key, B.key], "second": [D.key]}
    sweep(store, A, B, D, name="2runs-abc", runs=runs)
    sweep(store, C, name="1runs-def", runs={"third": [C.key]})
    keys = {row["stage"]["key"] for row in rows(tsr_(status.main, "first", "--json"))}
    assert keys == {A.key, B.key}
    assert len(rows(tsr_(status.main, "2runs", "--json"))) == 3
    text = tsr_(status.main, "first")
    assert "first" in text
    assert "second" not in text


def test_a_name_that_is_not_there(store: Store, tsr_: Callable[..., str]) -> None:
    assert "called '' in" in tsr_(status.main, code=1)
    sweep(store, A, name="2runs-abc", executor="local")
    sweep(store, A, name="2runs-def", executor="local")
    for name in ("nowhere", "2runs"):  # none, or two
        text = tsr_(status.main, name, code=1)
        assert f"called {name!r}" in text
        assert "2runs-abc, 2runs-def" in text
    assert "2runs-abc" in tsr_(cancel.main, "nowhere", code=1)
    sweep(store, B, name="2runs", executor="local")
    assert store.sweeps.get("2runs").name == "2runs", "all of a name before the beginning of one"


def test_watching_ends_with_the_work(
    store: Store, slurm: FakeSlurm, tsr_: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    note(store, A, "7")
    note(store, B, "8", "[/nope]", error="[b]boom")
    sweep(store, A, B, folders={"run": "/runs/[red]x"})
    slurm.says("squeue", "7|PENDING|Priority||toy-a\n")
    waited: list[float] = []

    def finish(seconds: float) -> None:
        waited.append(seconds)
        sweep(store, C, name="another")  # somebody starts one: it is not what is watched
        if len(waited) == 2:
            done(store, A)

    # Not the module's own: waiting for squeue sleeps as well.
    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=finish))
    text = tsr_(status.main, "--watch", "7")
    assert "2 stages: 1 done, 1 failed" in text
    assert all(word in text for word in ("[b]boom", "[/nope]", "/runs/[red]x"))
    assert waited == [7, 7]


def queued(slurm: FakeSlurm, store: Store, jobs: Iterable[str], tag: str = "") -> None:
    """Jobs of a store in the queue."""
    name = f"x.{tag or path_tag(store.root)}"
    slurm.says("squeue", "".join(f"{job}|PENDING|Priority||{name}\n" for job in jobs))


def test_cancel_takes_out_what_is_queued_and_keeps_what_another_wants(
    store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]
) -> None:
    note(store, A, "7", shares=3, shares_job="6")
    note(store, B, "8")
    note(store, C, "9")
    note(store, D, "10")
    sweep(store, A, D, name="other", runs={"theirs": [A.key]}, records={"theirs": "21"})
    sweep(store, A, B, C, name="mine", records={"run": "20"})
    queued(slurm, store, ["6_1", "6_2", "7", "8", "10", "20", "21", "99"])  # 9 has ended
    text = tsr_(cancel.main, "mine")
    assert slurm.calls("scancel") == [["--quiet", "8"], ["--quiet", "20"]]
    assert "mine: 2 jobs cancelled" in text
    assert "2 jobs stay: another sweep wants their stages" in text
    assert store.sweeps.get("mine").cancelled
    assert not store.sweeps.get("other").cancelled
    text = tsr_(cancel.main, "other")  # nobody else wants A now
    assert slurm.calls("scancel")[2:] == [["--quiet", "10", "6", "7"], ["--quiet", "21"]]
    assert "jobs stay" not in text


def test_cancel_takes_out_all_arrays_of_a_stage(
    store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]
) -> None:
    """A share was lost and submitted anew, while others of the first array are at work."""
    note(store, A, "9", shares=2, shares_job="8")
    note(store, Share(A, 0, 2), "8")
    note(store, Share(A, 1, 2), "5_1")
    sweep(store, A)
    queued(slurm, store, ["5_1", "8", "9"])
    assert told(states(store)[A.key]) == ("pending", "0 of 2 shares done; Priority")
    assert "3 jobs cancelled" in tsr_(cancel.main)
    assert slurm.calls("scancel") == [["--quiet", "5", "8", "9"]]


def test_cancel_leaves_jobs_of_another_store_alone(
    store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]
) -> None:
    """The cluster's count of jobs began anew: an old note names somebody's new job."""
    note(store, A, "7")
    sweep(store, A)
    queued(slurm, store, ["7"], tag="abc123")
    assert "0 jobs cancelled" in tsr_(cancel.main)
    assert slurm.calls("scancel") == []


def test_a_sweep_whose_jobs_are_anothers_is_not_cancelled(
    store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]
) -> None:
    note(store, A, "7", user="somebody")
    sweep(store, A)
    queued(slurm, store, ["7"])
    assert "1 jobs stay: other users submitted them" in tsr_(cancel.main)
    assert not store.sweeps.get("s").cancelled


def test_a_sweep_that_waits_no_more_keeps_nothing(
    store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]
) -> None:
    note(store, A, "7")
    sweep(store, A, name="here", executor="local")
    sweep(store, A, name="ended", records={"run": "20"})
    sweep(store, A, name="mine", records={"run": "21"})
    queued(slurm, store, ["7", "21"])
    assert "2 jobs cancelled" in tsr_(cancel.main, "mine")
    assert slurm.calls("scancel") == [["--quiet", "7"], ["--quiet", "21"]]


def test_a_sweep_that_is_being_submitted_keeps_its_jobs(
    store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]
) -> None:
    note(store, A, "7")
    sweep(store, A, name="new")
    sweep(store, A, name="mine", records={"run": "21"})
    queued(slurm, store, ["7", "21"])
    assert "1 jobs stay" in tsr_(cancel.main, "mine")
    assert slurm.calls("scancel") == [["--quiet", "21"]]


def test_what_is_finished_survives_a_cancel(
    store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]
) -> None:
    done(store, A)
    note(store, B, "8")
    sweep(store, A, B)
    assert "0 jobs cancelled" in tsr_(cancel.main)
    assert slurm.calls("scancel") == []
    assert store.has(A)


def test_a_cancelled_sweep_is_not_the_latest(
    store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]
) -> None:
    sweep(store, A, name="older")
    time.sleep(0.01)
    sweep(store, B, name="newer")
    tsr_(cancel.main, "older")
    assert store.sweeps.get("").name == "newer"


def test_cancel_without_slurm_changes_nothing(
    store: Store, slurm: FakeSlurm, tsr_: Callable[..., str]
) -> None:
    note(store, A, "7")
    sweep(store, A)
    (slurm.folder / "squeue").unlink()
    assert "no SLURM on this machine" in tsr_(cancel.main, code=1)
    assert not store.sweeps.get("s").cancelled

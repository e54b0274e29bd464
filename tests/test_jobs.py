"""From a plan to SLURM's jobs: what waits for what, what is asked for, what the queue says."""

import json
import os
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fake_slurm import FakeSlurm
from rich.console import Console
from stage_tools import execute, executor

from tsr.compose import ConfigErrors, compose_all, one_line
from tsr.config import RunConfig
from tsr.executors.slurm import job as jobs
from tsr.executors.slurm import queue
from tsr.executors.slurm.graph import Task, tasks_of
from tsr.executors.slurm.job import JobFailed, Place, StageJob
from tsr.executors.slurm.queue import NoSlurm, SlurmError, name_of, path_tag
from tsr.executors.slurm.sbatch import parameters
from tsr.fanout import record as recording
from tsr.fanout.submit import Submission
from tsr.loop import build_run
from tsr.plan import plan_of
from tsr.recorder import named
from tsr.resources import JobConfig, ResourcesConfig, SlurmConfig
from tsr.stage import Stage
from tsr.stages.dpo import DPO
from tsr.stages.generate import Generate
from tsr.stages.judge import Judgements
from tsr.store import NotVisible, Store
from tsr.store.jobs import Note
from tsr.sweep import Sweep
from tsr.trackers.base import NoTracker

OURS = ("model=tiny", "engine=scripted", "engine.block=6", "k=3", "eval.samples=1")
ONE = (*OURS, "variant=self_rewarding", "iterations=1")
VARIANTS = ("variant=self_rewarding,past_only,temporal", "data.heldout=4")


@pytest.fixture(scope="module")
def alone() -> list[RunConfig]:
    """One iteration without an evaluation: seven stages."""
    return compose_all([*ONE, "data.heldout=0"], multirun=False)


@pytest.fixture(scope="module")
def three() -> list[RunConfig]:
    return compose_all([*OURS, *VARIANTS], multirun=True)


@pytest.fixture(scope="module")
def over_k() -> list[RunConfig]:
    # The last override of a setting holds.
    return compose_all([*ONE, "k=2,5,3", "data.heldout=0"], multirun=True)


def to_run(configs: Sequence[RunConfig], root: Path) -> list[Stage]:
    runs = named([build_run(config) for config in configs])
    goals = [goal for run in runs.values() for goal in run.goals]
    return plan_of({name: run.stages for name, run in runs.items()}, goals, Store(root)).to_run


def by_kind(tasks: Iterable[Task]) -> dict[str, Task]:
    tasks = list(tasks)
    found = {task.stage.kind: task for task in tasks}
    assert len(found) == len(tasks)
    return found


# The graph


def test_a_run_worked_by_hand(alone: list[RunConfig], tmp_path: Path) -> None:
    tasks = by_kind(tasks_of(to_run(alone, tmp_path), SlurmConfig()))
    needs = {kind: {need.kind for need in task.needs} for kind, task in tasks.items()}
    assert needs == {
        "pretrained": set(),
        "prompts": set(),
        "generate": {"pretrained", "prompts"},
        "judge": {"generate"},
        "pair": {"judge"},
        "dpo": {"pair"},
        "diagnose": {"dpo"},
    }
    assert all(task.after is None and task.shares == () for task in tasks.values())


def reachable(stage: Stage, missing: set[Stage]) -> set[Stage]:
    """What must be made before: all it reads, and what is read with that; nothing behind what is
    there.
    """
    found: set[Stage] = set()

    def visit(ones: Iterable[Stage]) -> None:
        for one in ones:
            if one not in missing:
                visit(one.companions)
            elif one not in found:
                found.add(one)
                visit((*one.inputs, *one.companions))

    visit((*stage.inputs, *stage.companions))
    return found


def fill(store: Store, stages: Iterable[Stage]) -> None:
    """Put stages into a store by name only."""
    for stage in stages:
        store.ensure(stage, lambda folder: {"units": 1})


def none(stages: list[Stage]) -> list[Stage]:
    return []


def every_third(stages: list[Stage]) -> list[Stage]:
    return stages[::3]


def judged(stages: list[Stage]) -> list[Stage]:
    return [stage for stage in stages if stage.kind in ("generate", "judge")]


def trained(stages: list[Stage]) -> list[Stage]:
    """With no base model beside them: an adapter cannot be read without."""
    return [stage for stage in stages if stage.kind == "dpo"][::2]


@pytest.mark.parametrize("there", [none, every_third, judged, trained])
def test_needs_reach_what_is_missing_and_no_more(
    three: list[RunConfig], tmp_path: Path, there: Any
) -> None:
    fill(Store(tmp_path), there(to_run(three, tmp_path)))
    stages = to_run(three, tmp_path)
    tasks = tasks_of(stages, SlurmConfig())
    assert [task.stage for task in tasks] == stages
    behind: dict[Stage, set[Stage]] = {}
    for task in tasks:
        assert set(task.needs) <= set(behind), "a job waits for one that is submitted later"
        for need in task.needs:
            others = set(task.needs) - {need}
            assert not any(need in behind[other] for other in others), "waited for twice"
        behind[task.stage] = set(task.needs).union(*(behind[need] for need in task.needs))
    assert behind == {stage: reachable(stage, set(stages)) for stage in stages}
    assert sum(map(len, behind.values())) > 2 * sum(len(task.needs) for task in tasks)


def test_what_was_executed_gives_no_job_and_is_not_waited_for(
    alone: list[RunConfig], tmp_path: Path
) -> None:
    (prompts,) = (stage for stage in to_run(alone, tmp_path) if stage.kind == "prompts")
    execute(executor(tmp_path), prompts)
    tasks = by_kind(tasks_of(to_run(alone, tmp_path), SlurmConfig()))
    assert "prompts" not in tasks
    assert [need.kind for need in tasks["generate"].needs] == ["pretrained"]
    assert all(prompts not in task.needs for task in tasks.values())


def test_companions_of_what_is_there_are_waited_for(alone: list[RunConfig], tmp_path: Path) -> None:
    """Whoever reads candidates reads their prompts, who may have been deleted since."""
    stages = to_run(alone, tmp_path)
    fill(Store(tmp_path), (stage for stage in stages if stage.kind == "generate"))
    tasks = by_kind(tasks_of(to_run(alone, tmp_path), SlurmConfig()))
    assert {need.kind for need in tasks["judge"].needs} == {"prompts", "pretrained"}


@dataclass(frozen=True, eq=False, repr=False)
class Toy(Stage):
    kind: ClassVar[str] = "toy"

    name: str
    beside: tuple[str, ...] = ()

    @property
    def companions(self) -> tuple[Stage, ...]:
        return tuple(Toy(name) for name in self.beside)


def test_what_is_read_beside_the_inputs_is_waited_for() -> None:
    alone, reader = Toy("alone"), Toy("reader", ("alone",))
    tasks = tasks_of([alone, reader], SlurmConfig())
    assert [task.needs for task in tasks] == [(), (alone,)]


def test_siblings_go_one_after_the_other(over_k: list[RunConfig], tmp_path: Path) -> None:
    tasks = tasks_of(to_run(over_k, tmp_path), SlurmConfig())
    for kind in (Generate, Judgements):
        chain = [task for task in tasks if isinstance(task.stage, kind)]
        counts = [task.stage.count for task in chain]
        assert [count // counts[0] for count in counts] == [1, 2, 1]
        assert [task.after for task in chain] == [None, chain[0].stage, chain[1].stage]
        assert all(task.after not in task.needs for task in chain)
    rest = [task for task in tasks if task.stage.kind not in ("generate", "judge")]
    assert len(rest) > 8
    assert all(task.after is None for task in rest)


def test_what_a_model_does_is_split_by_blocks(three: list[RunConfig], tmp_path: Path) -> None:
    """Six prompts with three answers each, six answers a block: three blocks."""
    split = SlurmConfig(generate=JobConfig(array=8), judge=JobConfig(array=2))
    split.light.array = split.dpo.array = split.diagnose.array = split.default.array = 9
    shares: dict[tuple[str, int, bool], set[int]] = {}
    for task in tasks_of(to_run(three, tmp_path), split):
        stage = task.stage
        asks = getattr(stage, "model", None) is not None
        shares.setdefault((stage.kind, stage.count, asks), set()).add(len(task.shares))
        for index, share in enumerate(task.shares):
            assert (share.whole, share.index, share.of) == (stage, index, len(task.shares))
    telling = {name: found for name, found in shares.items() if found != {0}}
    assert telling == {("generate", 18, True): {3}, ("judge", 18, True): {2}}
    assert shares["generate", 4, True] == {0}, "four prompts with an answer each are one block"
    assert shares["judge", 4, False] == {0}, "a judge without a model has nothing to split"


def test_one_share_is_no_share(alone: list[RunConfig], tmp_path: Path) -> None:
    stages = to_run(alone, tmp_path)
    for array in (None, 1):
        tasks = tasks_of(stages, SlurmConfig(generate=JobConfig(array=array)))
        assert all(task.shares == () for task in tasks)


# What is asked of SLURM


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return FakeSlurm(tmp_path, monkeypatch)


def script(slurm: FakeSlurm, config: SlurmConfig, sort: str, dependency: str | None = None) -> str:
    """What sbatch gets, through submitit."""
    from submitit import SlurmExecutor

    slurm.takes_jobs()
    run = SlurmExecutor(slurm.folder / "logs", python="exec python")
    run.update_parameters(**parameters(config, sort, "a-name", dependency))
    run.submit(print, "done")
    return slurm.scripts()["101"]


def asked(text: str) -> dict[str, str]:
    """The options in a script."""
    words = [x.removeprefix("#SBATCH --") for x in text.splitlines() if x.startswith("#SBATCH --")]
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def test_a_job_asks_for_what_is_set_and_nothing_else(slurm: FakeSlurm) -> None:
    text = script(slurm, SlurmConfig(), "light")
    options = asked(text)
    assert options["job-name"] == "a-name"
    assert options["signal"] == "B:USR2@120"
    assert options["kill-on-invalid-dep"] == "yes"
    assert options["open-mode"] == "append"
    assert "requeue" in options
    unset = "wckey partition gpus-per-node gres cpus-per-task mem time account qos constraint"
    assert not options.keys() & {*unset.split(), "dependency"}
    assert "srun" not in text
    assert text.splitlines()[-1].startswith("exec python -u -m submitit"), "gets the signal itself"
    assert text.index("trap '' USR2") < text.index("exec python"), "deaf until it listens"


def test_all_that_can_be_asked_for(slurm: FakeSlurm) -> None:
    job = JobConfig(
        partition="gpu", gpus=2, gres="tmp:5", cpus=8, memory_gb=1.5, minutes=90, nodes=2,
        account="me", qos="high", constraint="a100", setup=["module load cuda"],
    )  # fmt: skip
    config = SlurmConfig(dpo=job, notice_s=300, wckey="key")
    text = script(slurm, config, "dpo", "afterok:7,afterany:8")
    options = asked(text)
    wanted = {
        "partition": "gpu",
        "gpus-per-node": "2",
        "gres": "tmp:5",
        "cpus-per-task": "8",
        "mem": "1536M",
        "time": "90",
        "nodes": "2",
        "account": "me",
        "qos": "high",
        "constraint": "a100",
        "wckey": "key",
        "signal": "B:USR2@300",
        "dependency": "afterok:7,afterany:8",
    }
    assert {name: options.get(name) for name in wanted} == wanted
    assert text.index("module load cuda") < text.index("exec python")


def test_a_sort_of_stage_says_0_where_the_default_says_more(slurm: FakeSlurm) -> None:
    config = SlurmConfig(
        default=JobConfig(gpus=4, memory_gb=64, minutes=60, setup=["true"], sbatch={"nice": 5}),
        light=JobConfig(gpus=0, memory_gb=0, setup=[], sbatch={}),
    )
    light = asked(script(slurm, config, "light"))
    assert "gpus-per-node" not in light
    assert (light["mem"], light["time"], light["nice"]) == ("0M", "60", "5")
    assert config.of("judge") == config.default
    assert config.of("default") == config.default
    assert config.of("light").setup == ["true"]
    assert JobConfig(gpus=0, minutes=None).over(JobConfig(gpus=4, minutes=9)) == JobConfig(
        gpus=0, minutes=9
    )


def test_options_of_the_users_own_add_up(slurm: FakeSlurm) -> None:
    both = SlurmConfig(
        default=JobConfig(sbatch={"reservation": "ours", "nice": 5}),
        dpo=JobConfig(sbatch={"exclude": "n7", "nice": 1}),
    )
    options = asked(script(slurm, both, "dpo"))
    assert (options["reservation"], options["exclude"], options["nice"]) == ("ours", "n7", "1")


def test_the_users_environment_does_not_change_what_is_set(
    alone: list[RunConfig], slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PARTITION", "TIMELIMIT", "SIGNAL", "ACCOUNT"):
        monkeypatch.setenv(f"SBATCH_{name}", "mine")
    slurm.says("squeue")
    slurm.does("sbatch", 'env | /bin/grep SBATCH_ >> "$0.env"\necho "Submitted batch job 7"\n')
    slurm.says("srun")
    (slurm.folder / "env").symlink_to("/usr/bin/env")
    submission(alone, tmp_path, default=JobConfig(partition="gpu", minutes=9)).submit()
    assert set((slurm.folder / "sbatch.env").read_text().split()) == {"SBATCH_ACCOUNT=mine"}
    assert os.environ["SBATCH_PARTITION"] == "mine"


def test_an_option_of_the_users_own_wins(slurm: FakeSlurm) -> None:
    mine = {"exclude": "n7", "open-mode": "truncate", "signal": "USR2@9"}
    options = asked(script(slurm, SlurmConfig(dpo=JobConfig(sbatch=mine)), "dpo"))
    assert {name: options[name] for name in mine} == mine
    assert options["kill-on-invalid-dep"] == "yes"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ("resources.slurm.dpo.array=2", "resources.slurm.dpo.array=2: only generate and judge"),
        ("resources.slurm.light.array=2", "resources.slurm.light.array=2: only"),
        ("resources.slurm.default.array=2", "resources.slurm.default.array=2: only"),
        ("resources.slurm.generate.nodes=2", "resources.slurm.generate.nodes=2: only sft and dpo"),
        ("resources.slurm.default.nodes=2", "resources.slurm.default.nodes=2: only sft and dpo"),
        ("resources.slurm.generate.array=0", "resources.slurm.generate.array=0: must be >= 1"),
        (
            "resources.training.processes=3",
            "train.sft.batch_size=32: must be a multiple of resources.training.processes=3",
        ),
        ("resources.slurm.dpo.nodes=5", "resources.slurm.dpo.nodes=5"),
    ],
)
def test_resources_that_cannot_be_had_are_refused(overrides: str, told: str) -> None:
    more = ["train.sft.batch_size=32", "train.dpo.batch_size=32"]
    with pytest.raises(ConfigErrors) as caught:
        compose_all([*more, overrides], multirun=False)
    assert told in one_line(caught.value)


def test_resources_that_can_be_had() -> None:
    (config,) = compose_all(
        [
            *("train.sft.batch_size=32", "train.dpo.batch_size=32"),
            *("resources.training.processes=8", "resources.slurm.dpo.nodes=2"),
            *("resources.slurm.generate.array=8", "resources.slurm.judge.array=3"),
        ],
        multirun=False,
    )
    assert config.resources.slurm.of("dpo").nodes == 2


# Submitting


def submission(configs: Sequence[RunConfig], root: Path, **slurm: Any) -> Submission:
    """A sweep in a folder of its own."""
    resources = ResourcesConfig(slurm=SlurmConfig(**slurm))
    places = {"store": str(root / "store"), "runs": str(root / "runs"), "resources": resources}
    return Submission(Sweep([replace(c, **places) for c in configs], Console(quiet=True)))


def waits(text: str) -> set[str]:
    return set(asked(text).get("dependency", "").split(",")) - {""}


def test_a_sweep_is_submitted_as_its_graph(
    alone: list[RunConfig], slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.takes_jobs()
    slurm.says("squeue")
    sub = submission(alone, tmp_path, generate=JobConfig(array=2, gpus=1))
    done = sub.submit()
    scripts = slurm.scripts()
    ids = {given.stage.kind: given.job for given in done.jobs}
    (array,) = set(scripts) - set(ids.values()) - set(done.records.values())
    assert waits(scripts[array]) == {f"afterok:{ids[k]}" for k in ("pretrained", "prompts")}
    assert asked(scripts[array])["array"].startswith("0-1")
    assert asked(scripts[array])["gpus-per-node"] == "1"
    assert waits(scripts[ids["generate"]]) == {f"afterok:{array}"}
    assert "gpus-per-node" not in asked(scripts[ids["generate"]]), "it puts shares together only"
    assert waits(scripts[ids["judge"]]) == {f"afterok:{ids['generate']}"}
    (record,) = done.records.values()
    (waited,) = waits(scripts[record])
    assert waited.startswith("afterany:")
    assert set(waited.split(":")[1:]) == set(ids.values())
    for given in done.jobs:
        stage, job = given.stage, given.job
        assert given.new
        assert asked(scripts[job])["job-name"] == name_of(stage, path_tag(tmp_path / "store"))
        note = sub.store.notes.get(stage.key)
        assert note is not None
        assert (note.job, note.error) == (job, None)
        split = (note.shares, note.shares_job)
        assert split == ((2, array) if stage.kind == "generate" else (0, None))
    (made,) = sub.store.sweeps.all()
    assert (made.executor, made.records, made.cancelled) == ("slurm", done.records, False)
    assert len(made.needed) == 7


def in_queue(slurm: FakeSlurm, jobs: Mapping[str, str], *but: str) -> None:
    """What was submitted is in the queue, in these states by job or task, less some that are not.

    jobs: `PENDING` where nothing else is said of one.
    """
    names = {job: asked(text)["job-name"] for job, text in slurm.scripts().items()}
    tasks = [job for job in jobs if "_" in job]
    arrays = {task.partition("_")[0] for task in tasks}
    ids = [job for job in (*names, *tasks) if job not in {*but, *arrays}]
    lines = [f"{i}|{jobs.get(i, 'PENDING')}|Dep||{names[i.partition('_')[0]]}\n" for i in ids]
    slurm.says("squeue", "".join(lines))


def empty(slurm: FakeSlurm) -> None:
    """A cluster that takes jobs and has none."""
    slurm.takes_jobs()
    slurm.says("squeue")
    slurm.says("scancel")


def cancelled(slurm: FakeSlurm) -> set[str]:
    """All that was taken out of the queue."""
    return {job for words in slurm.calls("scancel") for job in words[1:]}


def test_what_the_queue_has_is_not_submitted_again(
    alone: list[RunConfig], slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.takes_jobs()
    slurm.says("squeue")
    first = submission(alone, tmp_path).submit()
    in_queue(slurm, {})
    again = submission(alone, tmp_path).submit()
    assert again.new == 0
    assert {g.job for g in again.jobs} == {g.job for g in first.jobs}
    assert again.records == first.records
    assert len(slurm.calls("sbatch")) == 8


def test_what_waits_for_a_failed_job_is_replaced(
    alone: list[RunConfig], slurm: FakeSlurm, tmp_path: Path
) -> None:
    empty(slurm)
    first = submission(alone, tmp_path).submit()
    ids = {given.stage.kind: given.job for given in first.jobs}
    in_queue(slurm, {}, ids["pair"])  # it has failed
    again = submission(alone, tmp_path).submit()
    new = {given.stage.kind: given.job for given in again.jobs if given.new}
    assert set(new) == {"pair", "dpo", "diagnose"}
    (record,) = first.records.values()
    assert cancelled(slurm) == {ids["dpo"], ids["diagnose"], record}
    assert waits(slurm.scripts()[new["pair"]]) == {f"afterok:{ids['judge']}"}
    assert waits(slurm.scripts()[new["dpo"]]) == {f"afterok:{new['pair']}"}


def test_a_lost_share_is_made_again_while_the_others_go_on(
    alone: list[RunConfig], slurm: FakeSlurm, tmp_path: Path
) -> None:
    """SLURM cancels what waits for an array when the last of its tasks has ended, not before."""
    empty(slurm)
    split = {"generate": JobConfig(array=3)}
    first = submission(alone, tmp_path, **split).submit()
    ids = {given.stage.kind: given.job for given in first.jobs}
    (array,) = (given.job for given in first.arrays.values())
    in_queue(slurm, {f"{array}_0": "RUNNING", f"{array}_1": "RUNNING", f"{array}_2": "PENDING"})
    assert submission(alone, tmp_path, **split).submit().new == 0
    assert submission(alone, tmp_path).submit().new == 0, "nor in another way, once it is on it"
    in_queue(slurm, {f"{array}_1": "RUNNING", f"{array}_2": "PENDING"})  # the first has failed
    again = submission(alone, tmp_path, **split).submit()
    new = {given.stage.kind: given.job for given in again.jobs if given.new}
    assert set(new) == {"generate", "judge", "pair", "dpo", "diagnose"}
    (lost,) = (given.job for given in again.arrays.values())
    scripts = slurm.scripts()
    assert "array" not in asked(scripts[lost]), "one share only"
    assert waits(scripts[lost]) == {f"afterok:{ids[kind]}" for kind in ("pretrained", "prompts")}
    tasks = {f"afterok:{array}_1", f"afterok:{array}_2"}
    assert waits(scripts[new["generate"]]) == {*tasks, f"afterok:{lost}"}
    assert array not in cancelled(slurm)
    assert ids["generate"] in cancelled(slurm)


def test_tasks_of_a_submission_that_was_torn_are_cancelled(
    alone: list[RunConfig], slurm: FakeSlurm, tmp_path: Path
) -> None:
    """It was killed between sbatch and its notes."""
    empty(slurm)
    split = {"generate": JobConfig(array=2)}
    sub = submission(alone, tmp_path, **split)
    first = sub.submit()
    (array,) = (given.job for given in first.arrays.values())
    (whole,) = (stage for stage in first.arrays)
    for note in (tmp_path / "store" / "jobs").glob("*.json"):
        told = json.loads(note.read_text())
        if told["label"].startswith("share") or told["key"] == whole.key:
            note.unlink()
    in_queue(slurm, {f"{array}_0": "RUNNING", f"{array}_1": "PENDING"})
    again = submission(alone, tmp_path, **split).submit()
    assert {f"{array}_0", f"{array}_1"} <= cancelled(slurm)
    (new,) = (given.job for given in again.arrays.values())
    assert waits(slurm.scripts()[again.jobs[2].job]) == {f"afterok:{new}"}


def test_a_note_of_another_users_does_not_make_ones_own_job_torn(
    alone: list[RunConfig], slurm: FakeSlurm, tmp_path: Path
) -> None:
    """Where the cluster hides other users' jobs, both have one for the same stage."""
    empty(slurm)
    sub = submission(alone, tmp_path)
    first = sub.submit()
    for given in first.jobs:
        note = sub.store.notes.get(given.stage.key)
        assert note is not None
        sub.store.notes.put(replace(note, job="900", user="somebody"))
    in_queue(slurm, {"101": "RUNNING"})
    again = submission(alone, tmp_path).submit()
    assert again.new == 0
    assert slurm.calls("scancel") == []


def test_a_folder_that_a_job_is_to_write_is_not_written_twice(
    alone: list[RunConfig], slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.takes_jobs()
    slurm.says("squeue")
    first = submission(alone, tmp_path).submit()
    (name,) = first.records
    fill(Store(tmp_path / "store"), [given.stage for given in first.jobs])
    in_queue(slurm, {}, *(given.job for given in first.jobs))
    again = submission(alone, tmp_path).submit()
    assert (again.jobs, again.records, again.unwritten) == ([], first.records, [])
    slurm.says("squeue")
    last = submission(alone, tmp_path).submit()
    assert (last.jobs, last.records, last.unwritten) == ([], {}, [name])


def test_a_run_whose_tracker_fails_is_not_done(
    alone: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, runs = Store(tmp_path / "store"), str(tmp_path / "runs")
    config = replace(alone[0], runs=runs, tracker=replace(alone[0].tracker, name="wandb"))
    run, told = build_run(config), "no network on this node"
    monkeypatch.setattr(recording, "lacking", lambda run, store: [])
    monkeypatch.setattr(recording, "open_tracker", raising(ConnectionError(told)))
    with pytest.raises(ConnectionError, match=told):
        recording.record(config, "a-run", store)
    assert not recording.recorded(run, tmp_path / "runs" / "a-run")
    monkeypatch.setattr(recording, "open_tracker", lambda *_: NoTracker())
    recording.record(config, "a-run", store)
    assert recording.recorded(run, tmp_path / "runs" / "a-run")


def raising(error: Exception) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise error

    return call


def test_where_one_is_refused_none_stays(
    alone: list[RunConfig], slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.takes_jobs(most=3, error="invalid partition specified: nowhere")
    slurm.says("squeue")
    slurm.says("scancel")
    sub = submission(alone, tmp_path)
    with pytest.raises(SlurmError) as caught:
        sub.submit()
    assert sub.store.sweeps.get("").cancelled, "it keeps no other sweep's jobs in the queue"
    assert "resources.slurm.judge: " in str(caught.value)
    assert "invalid partition specified: nowhere" in str(caught.value)
    assert slurm.calls("scancel") == [["--quiet", "101", "102", "103"]]


# What a job carries


def test_a_stage_travels_as_its_recipe(three: list[RunConfig], tmp_path: Path) -> None:
    stages = to_run(three, tmp_path)
    for stage in stages:
        assert stage.inputs is not None
        again = pickle.loads(pickle.dumps(stage))
        assert again.key == stage.key
        assert again.inputs == stage.inputs


def test_changed_code_gives_another_key_after_the_journey(
    alone: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dpo,) = (stage for stage in to_run(alone, tmp_path) if isinstance(stage, DPO))
    key, data = dpo.key, pickle.dumps(dpo)
    monkeypatch.setattr(Generate, "version", 99)  # deep inside of it
    assert dpo.key == key, "the one that stayed here knows its key already"
    assert pickle.loads(data).key != key


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A store with a sweep called `s`."""
    monkeypatch.setattr(jobs, "log_to_terminal", lambda: None)
    store = tmp_path / "store"
    Store(store).layout.prepare()
    (store / "sweeps").mkdir()
    (store / "sweeps" / "s.json").write_text("{}")
    return Place(str(store), "hash", "s", "login")


def job_of(stage: Stage, place: Place, key: str = "", **slurm: Any) -> StageJob:
    resources = ResourcesConfig(slurm=SlurmConfig(**slurm))
    job = StageJob(stage, key or stage.key, place, resources, stage.job)
    return pickle.loads(pickle.dumps(job))


@pytest.fixture
def prompts(alone: list[RunConfig], tmp_path: Path) -> Stage:
    return next(stage for stage in to_run(alone, tmp_path / "none") if stage.kind == "prompts")


def test_a_job_makes_its_stage(prompts: Stage, place: Place) -> None:
    job_of(prompts, place)()
    assert place.store().has(prompts)


def test_a_job_of_changed_code_fails_and_notes_it(prompts: Stage, place: Place) -> None:
    store, key = place.store(), "0" * 64
    store.notes.put(Note(key, "prompts 00000000", "7", "logs"))
    with pytest.raises(JobFailed, match="the code has changed since the job was submitted"):
        job_of(prompts, place, key)()
    note = store.notes.get(key)
    assert note is not None
    assert "the code has changed" in str(note.error)
    assert not store.has(prompts)


def test_a_job_that_is_requeued_for_ever_fails(
    prompts: Stage, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "3")
    with pytest.raises(JobFailed, match=r"requeued 3 times .*resources\.slurm\.light\.minutes"):
        job_of(prompts, place, requeues=2)()
    assert not place.store().has(prompts)
    job_of(prompts, place, requeues=3)()
    assert place.store().has(prompts)
    job_of(prompts, place, requeues=2)()  # requeued in the moment after its stage was there


def test_waiting_for_others_is_no_reason_to_fail(
    prompts: Stage, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.store().notes.put(Note(prompts.key, prompts.label, "7", "logs"))
    for _ in range(2):
        place.store().notes.waited(prompts.key)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "5")
    with pytest.raises(JobFailed, match="requeued 3 times"):
        job_of(prompts, place, requeues=2)()
    job_of(prompts, place, requeues=3)()
    assert place.store().has(prompts)


def test_a_job_that_does_not_see_the_store_makes_none(
    prompts: Stage, place: Place, tmp_path: Path
) -> None:
    elsewhere = replace(place, root=str(tmp_path / "elsewhere"))
    with pytest.raises(NotVisible, match="written on login"):
        job_of(prompts, elsewhere)()
    assert not (tmp_path / "elsewhere").exists()


def test_names_tell_stages_and_stores_apart(three: list[RunConfig], tmp_path: Path) -> None:
    stages, tag = to_run(three, tmp_path), path_tag(tmp_path)
    names = [name_of(stage, tag) for stage in stages]
    assert len(set(names)) == len(stages) > 40
    for stage, name in zip(stages, names, strict=True):
        assert stage.kind in name
        assert stage.key[:12] in name
        assert "|" not in name
    assert path_tag(tmp_path / "other") != tag
    assert path_tag(tmp_path / "x" / "..") == tag
    (tmp_path / "link").symlink_to(tmp_path)
    assert path_tag(tmp_path / "link") == tag


# What the queue says

SQUEUE = """\
12_0|RUNNING|None|n1|generate_shares-abc.t
12_1|PENDING|Resources||generate_shares-abc.t
13|PENDING|Dependency||generate-abc.t
14|PENDING|DependencyNeverSatisfied||judge-abc.t
15|COMPLETING|None|n2|a|b
16|COMPLETED|None|n2|over
a line of something else
"""


def test_the_queue_is_read(slurm: FakeSlurm) -> None:
    slurm.says("squeue", SQUEUE)
    found = {job.job: job for job in queue.queued()}
    assert list(found) == ["12_0", "12_1", "13", "14", "15"]
    assert [job.array for job in found.values()] == ["12", "12", "13", "14", "15"]
    assert [job.useful for job in found.values()] == [True, True, True, False, False]
    assert (found["12_0"].node, found["12_1"].reason) == ("n1", "Resources")
    assert found["15"].name == "a|b"


def test_what_is_held_is_in_the_queue_still(slurm: FakeSlurm) -> None:
    slurm.says("squeue", "7|RESV_DEL_HOLD|Held||x\n8|REQUEUE_HOLD|Held||x\n9|TIMEOUT|||x\n")
    assert [(job.job, job.useful) for job in queue.queued()] == [("7", True), ("8", True)]


def test_nothing_hides_jobs(slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_PARTITION", "elsewhere")
    slurm.does("squeue", 'echo "7|RUNNING|None|${SQUEUE_PARTITION:-n1}|x"\n')
    assert [job.node for job in queue.queued()] == ["n1"]
    assert "-a" in slurm.calls("squeue")[0], "partitions may be hidden as well"


def test_tasks_that_never_began_share_a_line(slurm: FakeSlurm) -> None:
    slurm.says("sacct", "12_0|FAILED|1:0|n1|x\n12_[1-2]|CANCELLED by 0|0:0||x\n")
    found = queue.ended(["12_0", "12_2", "13"])
    assert found["12_0"].state == "FAILED"
    assert found["12_2"].state == "CANCELLED by 0"
    assert "13" not in found


def test_accounting_is_read(slurm: FakeSlurm) -> None:
    slurm.says("sacct", "12_0|COMPLETED|0:0|n1|x\n13|CANCELLED by 0|0:15||y\n")
    found = queue.ended(["12", "13"])
    assert slurm.calls("sacct")[0][4] == "12,13"
    assert found["12_0"].node == "n1"
    assert (found["13"].state, found["13"].reason) == ("CANCELLED by 0", "0:15")


def test_nothing_is_asked_about_nothing(slurm: FakeSlurm) -> None:
    assert queue.ended([]) == {}  # NoSlurm otherwise
    queue.cancel([])


def test_what_a_command_complains_of_is_told(slurm: FakeSlurm) -> None:
    slurm.says("squeue", err="slurm_load_jobs error: no controller\n", code=1)
    with pytest.raises(SlurmError, match="squeue: slurm_load_jobs error: no controller"):
        queue.queued()
    slurm.says("scancel", "only on standard output", code=2)
    with pytest.raises(SlurmError, match="scancel: only on standard output"):
        queue.cancel(["1"])


def test_a_job_that_the_queue_knows_no_more_has_no_state(slurm: FakeSlurm) -> None:
    slurm.says("squeue", err="slurm_load_jobs error: Invalid job id specified", code=1)
    assert queue.state_of("7") == ""
    slurm.says("squeue", "RUNNING\n")
    assert queue.state_of("12_3") == "RUNNING"
    assert slurm.calls("squeue")[-1][:3] == ["-h", "-j", "12_3"]


def test_without_slurm_there_is_a_way_out(slurm: FakeSlurm) -> None:
    with pytest.raises(NoSlurm) as caught:
        queue.queued()
    assert "no SLURM on this machine: squeue is not found" in str(caught.value)
    assert "hydra/launcher=local" in str(caught.value)

"""Trainings in several processes: the same result as in one, and the same endings."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from tiny_models import build_tiny

from tsr import stopping
from tsr.config import DPOConfig, SFTConfig, TrainConfig
from tsr.data.rows import Row
from tsr.engines.base import ModelFiles
from tsr.jsonl import read_jsonl
from tsr.places import conf_folder
from tsr.resources import JobConfig, ResourcesConfig, SlurmConfig, TrainingConfig
from tsr.settings import Refused
from tsr.training import launch
from tsr.training.outcome import NoPairs, TrainingError
from tsr.training.spread import spread_of, train
from tsr.training.work import Work
from tsr.workbench import Spread

COMMON: dict[str, Any] = {
    "batch_size": 4, "micro_batch": 1, "precision": "fp32", "max_length": 128,
    "gradient_checkpointing": False, "checkpoint_steps": 100, "epochs": 2,
}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "lora_rank": 4, "learning_rate": 1e-2},
    "full": {"method": "full", "lora_rank": None, "learning_rate": 1e-3},
}
TWO = Spread(processes=2)
ONE = Spread()
# Sums in another order: measured up to 5e-7 for losses and 9e-7 for weights.
LOSS, WEIGHT = 1e-5, 1e-4


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    stopping.reset()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    return ModelFiles("llama", build_tiny(tmp_path_factory.mktemp("llama"), "llama"))


@dataclass
class Bench:
    folder: Path
    spread: Spread
    at: Callable[[int], None] = lambda step: None
    totals: list[int] = field(default_factory=list)
    done: int = 0

    @contextmanager
    def progress(self, what: str, total: int, done: int = 0) -> Iterator["Bench"]:
        self.totals.append(total)
        yield self

    def advance(self, amount: int = 1) -> None:
        self.done += amount
        if amount:
            self.at(self.done)


def bench(folder: Path, spread: Spread, at: Callable[[int], None] = lambda step: None) -> Bench:
    folder.mkdir(exist_ok=True)
    return Bench(folder, spread, at)


def pairs(count: int = 12) -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"Say something about {n}."}],
            "chosen": [{"role": "assistant", "content": f"{n} is a number " * (1 + n % 3)}],
            "rejected": [{"role": "assistant", "content": "No."}],
        }
        for n in range(count)
    ]


def dpo(start: ModelFiles, method: str, count: int = 12, **settings: Any) -> Work:
    recipe: TrainConfig = DPOConfig(**(COMMON | METHODS[method] | settings))
    return Work("dpo", (start, start), pairs(count), recipe, 0)


def sft(start: ModelFiles, method: str, **settings: Any) -> Work:
    rows = [Row(str(n), f"Count to {n}.", "one two " * (1 + n)).as_json() for n in range(12)]
    return Work("sft", (start,), rows, SFTConfig(**(COMMON | METHODS[method] | settings)), 0)


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_jsonl(folder / "training.jsonl")]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    (file,) = [*folder.glob("adapter/*.safetensors"), *folder.glob("model/*.safetensors")]
    return load_file(file)


def apart(a: Path, b: Path) -> float:
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    return max(float((left[k] - right[k]).abs().max()) for k in left)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("make", [dpo, sft])
def test_two_processes_train_as_one_does(
    llama: ModelFiles, tmp_path: Path, make: Callable[..., Work], method: str
) -> None:
    work = make(llama, method)
    one, two = bench(tmp_path / "1", ONE), bench(tmp_path / "2", TWO)
    figures = [train(each, work) for each in (one, two)]
    off = [abs(a - b) for a, b in zip(losses(one.folder), losses(two.folder), strict=True)]
    print(f"losses {max(off):.1e} apart, weights {apart(one.folder, two.folder):.1e}")
    assert max(off) < LOSS
    assert apart(one.folder, two.folder) < WEIGHT
    assert figures[1] == pytest.approx(figures[0], abs=1e-2)
    assert (two.totals, two.done) == ([6], 6)
    assert len(list((two.folder / "trainer" / "outcomes").iterdir())) == 2
    files = [{p.name for p in b.folder.glob("[am]*/*")} for b in (one, two)]
    assert files[0] == files[1]


@pytest.fixture
def sharding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FSDP2 on a CPU, with a copy of accelerate that does not keep it to GPUs."""
    import accelerate

    shutil.copytree(Path(accelerate.__file__).parent, tmp_path / "path" / "accelerate")
    state = tmp_path / "path" / "accelerate" / "state.py"
    kept, free = "                DistributedType.MULTI_GPU,\n", "DistributedType.MULTI_CPU,\n"
    assert state.read_text().count(kept) == 1
    state.write_text(state.read_text().replace(kept, kept + free))
    config = yaml.safe_load((conf_folder() / "accelerate" / "fsdp.yml").read_text())
    own = {name.upper(): str(value) for name, value in config["fsdp_config"].items()}
    own |= {"ACCELERATE_USE_FSDP": "true", "PYTHONPATH": str(tmp_path / "path")}
    environment = launch.environment
    monkeypatch.setattr(launch, "environment", lambda *given: environment(*given) | own)
    monkeypatch.setattr(launch, "check", lambda *given: None)


def stopped_once(folder: Path, strategy: str, work: Work) -> Bench:
    """The bench of a training over two processes that was told to stop, and went on."""
    two = bench(folder, Spread(2, 1, strategy), lambda step: stopping.ask())
    with suppress(stopping.Stopped):
        train(two, work)
    stopping.reset()
    train(bench(two.folder, two.spread), work)
    return two


@pytest.mark.long
@pytest.mark.usefixtures("sharding")
@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("make", [dpo, sft])
def test_shards_train_as_one_process_does(
    llama: ModelFiles, tmp_path: Path, make: Callable[..., Work], method: str
) -> None:
    work = make(llama, method, checkpoint_steps=4, gradient_checkpointing=True)
    one, two = bench(tmp_path / "1", ONE), stopped_once(tmp_path / "2", "fsdp", work)
    train(one, work)
    assert list(two.folder.glob("trainer/fsdp-2/checkpoint-*/WHOLE"))
    assert losses(two.folder) == pytest.approx(losses(one.folder), abs=LOSS)
    assert apart(one.folder, two.folder) < WEIGHT


@pytest.mark.long
@pytest.mark.usefixtures("sharding")
@pytest.mark.parametrize("method", ["lora", "full"])
def test_shards_under_bf16_sum_log_probabilities_in_fp32(
    llama: ModelFiles, tmp_path: Path, method: str
) -> None:
    """Where what a model returns is rounded to bf16, sums are up to 0.6 apart; else 0.04."""
    work = dpo(llama, method, precision="bf16", epochs=1, gradient_checkpointing=True)
    one, two = bench(tmp_path / "1", ONE), bench(tmp_path / "2", Spread(2, 1, "fsdp"))
    for each in (one, two):
        train(each, work)
    off = [abs(a - b) for a, b in zip(losses(one.folder), losses(two.folder), strict=True)]
    assert max(off) < 0.01
    for side in ("logps/chosen", "logps/rejected"):
        found = [[r[side] for r in read_jsonl(b.folder / "training.jsonl")] for b in (one, two)]
        print(side, *found)
        # The first update is made at a rate of 0, so two steps see the model as it starts.
        assert found[1][:2] == pytest.approx(found[0][:2], abs=0.1)
    dtypes = {str(weight.dtype) for weight in weights(two.folder).values()}
    assert dtypes == {"torch.float32"}


@pytest.mark.deepspeed
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_zero3_keeps_updates_below_bf16_spacing(
    llama: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """A real DeepSpeed, on a CPU, as accelerate starts it on GPUs; stopped once in between."""
    from safetensors.torch import load_file

    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setattr(launch, "gpus", lambda: 2)
    work = dpo(llama, "full", precision=precision, learning_rate=1e-6, checkpoint_steps=4)
    one, two = bench(tmp_path / "1", ONE), stopped_once(tmp_path / "2", "zero3", work)
    train(one, work)
    start = load_file(llama.base / "model.safetensors")
    moved = max(float((w - start[k]).abs().max()) for k, w in weights(one.folder).items())
    assert 1e-6 < moved < 1e-5, "most of it is below bf16's spacing"
    assert losses(two.folder) == pytest.approx(losses(one.folder), abs=LOSS)
    assert apart(one.folder, two.folder) < 1e-7


@pytest.mark.slow
def test_rows_that_do_not_fill_the_last_step(llama: ModelFiles, tmp_path: Path) -> None:
    """One process takes nine of nine rows, two take ten: the epoch's first one twice."""
    work = dpo(llama, "lora", count=9, epochs=1)
    one, two = bench(tmp_path / "1", ONE), bench(tmp_path / "2", TWO)
    figures = [train(each, work) for each in (one, two)]
    off = [abs(a - b) for a, b in zip(losses(one.folder), losses(two.folder), strict=True)]
    assert figures[0]["steps"] == figures[1]["steps"] == 3
    assert max(off[:2]) < LOSS < off[2]


@pytest.mark.slow
@pytest.mark.parametrize("spread", [ONE, pytest.param(TWO, marks=pytest.mark.long)])
def test_told_to_stop_it_saves_and_goes_on_later(
    llama: ModelFiles, tmp_path: Path, spread: Spread
) -> None:
    """Processes look for the word twice a second, hence the many epochs."""
    # Dropout: the random numbers of both processes have to go on too.
    work = dpo(llama, "lora", lora_dropout=0.1, epochs=8, learning_rate=1e-3)
    straight = bench(tmp_path / "straight", spread)
    train(straight, work)
    stopped = bench(tmp_path / "stopped", spread, lambda step: stopping.ask())
    with pytest.raises(stopping.Stopped, match=r"step \d+ of 24 is saved"):
        train(stopped, work)
    seen = len(losses(stopped.folder))
    assert 1 <= seen < 24
    assert not list(stopped.folder.glob("adapter"))
    stopping.reset()
    again = bench(stopped.folder, spread)
    train(again, work)
    assert again.done == 24
    assert losses(stopped.folder) == losses(straight.folder)
    assert apart(stopped.folder, straight.folder) == 0


@pytest.mark.slow
def test_told_to_stop_at_the_last_step_it_finishes(llama: ModelFiles, tmp_path: Path) -> None:
    def ask(step: int) -> None:
        if step == 3:
            stopping.ask()

    figures = train(bench(tmp_path / "a", ONE, ask), dpo(llama, "lora", epochs=1))
    assert figures["steps"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        (
            {"learning_rate": 1e30, "max_grad_norm": 1e30},
            TrainingError,
            r"^step \d+: loss .*; lower the learning rate",
        ),
        ({"max_prompt_length": 1}, NoPairs, "^all 12 pairs have prompts over 1 tokens"),
    ],
)
def test_what_a_training_says_reaches_the_user(
    llama: ModelFiles, tmp_path: Path, settings: dict[str, Any], kind: type, message: str
) -> None:
    with pytest.raises(kind, match=message):
        train(bench(tmp_path / "a", TWO), dpo(llama, "lora", **settings))


@pytest.mark.slow
def test_another_error_is_named_with_the_last_lines(tmp_path: Path) -> None:
    gone = ModelFiles("gone", tmp_path / "gone")
    with pytest.raises(RuntimeError, match=r"(?s)Error: .*gone.*; the training's last lines:\n.+"):
        train(bench(tmp_path / "a", TWO), dpo(gone, "lora"))


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_spread import *
work = dpo(ModelFiles("llama", Path(sys.argv[2])), "lora", epochs=10_000)
train(bench(Path(sys.argv[3]), TWO, lambda step: print(step, flush=True)), work)
"""


@pytest.mark.long
def test_no_process_outlives_a_killed_parent(llama: ModelFiles, tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    parent = subprocess.Popen(
        [sys.executable, "-c", KILLED, here, str(llama.base), str(tmp_path / "a")],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    parent.stdout.readline()  # the first step
    children = psutil.Process(parent.pid).children(recursive=True)
    workers = [child for child in children if launch.WORKER in child.cmdline()]
    assert len(workers) >= 2
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.long
def test_no_process_outlives_an_interrupted_training(llama: ModelFiles, tmp_path: Path) -> None:
    children: list[psutil.Process] = []

    def interrupt(step: int) -> None:
        children.extend(psutil.Process().children(recursive=True))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(bench(tmp_path / "a", TWO, interrupt), dpo(llama, "lora", epochs=1000))
    assert len(children) >= 4
    assert not psutil.wait_procs(children, timeout=5)[1]


SRUN = """#!{python}
import os, subprocess, sys
rest = sys.argv[1:]
nodes = next(int(word.split("=")[1]) for word in rest if word.startswith("--nodes="))
while rest[0].startswith("--"):
    rest.pop(0)
ranks = [subprocess.Popen(rest, env=os.environ | {{"SLURM_NODEID": str(n)}}) for n in range(nodes)]
sys.exit(max(rank.wait() for rank in ranks))
"""


@pytest.mark.long
def test_nodes_of_a_job_train_as_one_process_does(
    llama: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an srun that starts all nodes' commands on this machine."""
    srun = tmp_path / "srun"
    srun.write_text(SRUN.format(python=sys.executable))
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", str(os.getpid()))
    work = dpo(llama, "lora")
    one, two = bench(tmp_path / "1", ONE), bench(tmp_path / "2", Spread(nodes=2))
    for each in (one, two):
        train(each, work)
    assert apart(one.folder, two.folder) < WEIGHT


def test_only_jobs_have_several_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    from tsr.stages.dpo import DPO

    slurm = SlurmConfig(dpo=JobConfig(nodes=2))
    resources = ResourcesConfig(training=TrainingConfig(8, "fsdp"), slurm=slurm)
    stage = object.__new__(DPO)
    monkeypatch.delenv("SLURM_JOB_NUM_NODES", raising=False)
    assert spread_of(resources, stage) == Spread(8, 1, "fsdp")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    assert spread_of(resources, stage) == Spread(8, 2, "fsdp")
    assert spread_of(ResourcesConfig(), stage) == ONE


def test_what_cannot_be_had_is_refused(llama: ModelFiles, tmp_path: Path) -> None:
    from importlib.util import find_spec

    if find_spec("deepspeed") is None:
        with pytest.raises(Refused, match=r"zero3: .*pip install 'tsr\[deepspeed\]'"):
            launch.check(Spread(2, 1, "zero3"), gpus=2)
    with pytest.raises(Refused, match=r"strategy=fsdp: .* on GPUs only"):
        launch.check(Spread(2, 1, "fsdp"), gpus=0)
    with pytest.raises(Refused, match="processes=4: there are 2 GPUs"):
        launch.check(Spread(4), gpus=2)
    with pytest.raises(Refused, match=r"train\.dpo\.batch_size=4: 3 processes"):
        train(bench(tmp_path / "a", Spread(3)), dpo(llama, "lora"))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "zero3"])
def test_accelerate_takes_its_config_and_options(strategy: str, tmp_path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    for nodes in (1, 2):
        line = launch.command(Spread(8, nodes, strategy), tmp_path, "bf16", gpus=8)
        words = line if nodes == 1 else shlex.split(line[-1].replace("$SLURM_NODEID", "1"))[1:]
        args = launch_command_parser().parse_args(words[3:])
        assert (args.num_processes, args.num_machines) == (8 * nodes, nodes)
        assert (args.module, args.training_script) == (True, launch.WORKER)
        config = load_config_from_file(args.config_file)
        assert (
            config.distributed_type.name
            == {"ddp": "MULTI_GPU", "fsdp": "FSDP", "zero3": "DEEPSPEED"}[strategy]
        )

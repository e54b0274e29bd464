"""The vLLM engine, for real: against the transformers engine on the same tiny models, in fp32."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import build_tiny
from transformers import AutoModelForCausalLM

from tsr.config import EngineConfig, VLLMConfig
from tsr.engines.base import Answer, EngineError, Message, ModelFiles, Request
from tsr.engines.build import build_engine
from tsr.engines.process import ProcessEngine
from tsr.engines.transformers_engine import TransformersEngine

pytest.importorskip("vllm", reason="needs vLLM: `make vllm`")
from tsr.engines.vllm_engine import VLLMEngine
from tsr.resources import ResourcesConfig

pytestmark = [
    pytest.mark.vllm,
    # vLLM and what it brings warn of much that is theirs to mend.
    pytest.mark.filterwarnings("default"),
]

RUBRIC = "Score the answer from 0 to 5, one point for each thing that is right about it. " * 12
TEXTS = ("Hi.", "Name three rivers of Europe and one of Asia, please.", "What is 2 + 3?", "Why?")
SETTINGS = EngineConfig(name="vllm", dtype="fp32", batch_size=64, context=2048)


def ask(text: str, seeds: Sequence[int] = (1, 2, 3), new: int = 12, **more: object) -> Request:
    messages = (Message(role="user", content=text),)
    return Request(text, messages, tuple(seeds), max_new_tokens=new, **more)  # type: ignore[arg-type]


def judge(text: str) -> Request:
    return ask(f"{RUBRIC}\n{text}", (0,), opening="Score: ", options=tuple("012345"))


def texts(answers: Sequence[Answer]) -> list[str]:
    return [answer.text for answer in answers]


def told(answers: Sequence[Answer]) -> list[float]:
    return [lp for answer in answers for lp in (answer.options or {}).values()]


def engine_of(serve: str) -> VLLMEngine:
    settings = VLLMConfig(serve=serve, kv_cache_gib=1)
    return VLLMEngine(replace(SETTINGS, vllm=settings), ResourcesConfig())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFiles]:
    """A base, two adapters of it, a full checkpoint of the same shape, and another family."""
    base, other = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("other")
    build_tiny(base, "llama")
    build_tiny(other, "qwen")
    full = tmp_path_factory.mktemp("full")
    shutil.copytree(base, full, dirs_exist_ok=True)
    network = AutoModelForCausalLM.from_pretrained(base)
    for parameter in network.parameters():
        parameter.data *= 1.5
    network.save_pretrained(full)
    found = {name: adapter(base, tmp_path_factory.mktemp(name), i) for i, name in enumerate("ab")}
    return {
        "base": ModelFiles("base", base),
        "full": ModelFiles("full", full),
        "other": ModelFiles("other", other),
    } | {name: ModelFiles(name, base, folder) for name, folder in found.items()}


def adapter(base: Path, folder: Path, seed: int, rank: int = 4) -> Path:
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def expected(models: dict[str, ModelFiles]) -> dict[str, list[float]]:
    """What the transformers engine says of the judge's questions with each model."""
    engine = TransformersEngine("fp32", device="cpu")
    found = {}
    for name, model in models.items():
        engine.load(model)
        found[name] = told(engine.answer([judge(text) for text in TEXTS]))
    engine.close()
    return found


@pytest.fixture(scope="module")
def pushed() -> Iterator[VLLMEngine]:
    engine = engine_of("weights")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def lora() -> Iterator[VLLMEngine]:
    engine = engine_of("adapters")
    yield engine
    engine.close()


def test_the_first_samples_do_not_depend_on_how_many_are_asked(
    pushed: VLLMEngine, models: dict[str, ModelFiles]
) -> None:
    pushed.load(models["base"])
    many = pushed.answer([ask(text, range(7)) for text in TEXTS])
    few = pushed.answer([ask(text, range(3)) for text in TEXTS])
    assert texts(few) == [a.text for a in many if a.sample < 3]
    assert [(a.request, a.sample) for a in few] == [(t, j) for t in TEXTS for j in range(3)]
    assert len({a.text for a in many if a.request == TEXTS[1]}) > 1
    assert all(a.tokens == 12 if a.finish == "length" else a.tokens <= 12 for a in many)


def test_models_change_without_a_restart_and_come_back_exactly(
    pushed: VLLMEngine, models: dict[str, ModelFiles], expected: dict[str, list[float]]
) -> None:
    pushed.load(models["base"])
    running, first = pushed._running, texts(pushed.answer([ask(t) for t in TEXTS]))
    for name in ("a", "full", "b", "base", "a"):
        pushed.load(models[name])
        answers = pushed.answer([judge(text) for text in TEXTS])
        assert told(answers) == pytest.approx(expected[name], abs=2e-3), name
    pushed.load(models["base"])
    assert texts(pushed.answer([ask(t) for t in TEXTS])) == first
    assert pushed._running is running


def test_what_prompts_share_is_computed_once(
    pushed: VLLMEngine, models: dict[str, ModelFiles]
) -> None:
    pushed.load(models["b"])
    answers = pushed.answer([judge(f"Answer number {i}") for i in range(20)])
    known, sent = (sum(getattr(a, n) for a in answers) for n in ("cached_tokens", "prompt_tokens"))
    assert 0.4 < known / sent < 1


def test_a_prompt_over_the_context_is_told_and_not_cut(
    pushed: VLLMEngine, models: dict[str, ModelFiles]
) -> None:
    pushed.load(models["base"])
    long = ask("word " * 500)
    answers = pushed.answer([ask("Hi."), long, ask("Why?", logprobs=True)])
    assert [a.finish == "too_long" for a in answers] == [False] * 3 + [True] * 3 + [False] * 3
    assert answers[3].prompt_tokens > 2048 == pushed.context()
    assert all(len(a.logprobs or ()) == a.tokens for a in answers[6:])


def test_another_family_gets_an_engine_of_its_own(
    models: dict[str, ModelFiles], expected: dict[str, list[float]]
) -> None:
    engine = engine_of("weights")
    for name in ("base", "other"):
        engine.load(models[name])
        found = told(engine.answer([judge(text) for text in TEXTS]))
        assert found == pytest.approx(expected[name], abs=2e-3)
    engine.close()
    engine.close()


def test_adapters_share_a_batch_and_say_what_they_say_alone(
    lora: VLLMEngine, models: dict[str, ModelFiles], expected: dict[str, list[float]]
) -> None:
    lora.load(models["base"])
    names = [name for _ in TEXTS for name in ("base", "a", "b")]
    asked = [judge(text) for text in TEXTS for _ in range(3)]
    together = lora.answer(asked, [models[name] for name in names])
    for i, name in enumerate(("base", "a", "b")):
        assert told(together[i::3]) == pytest.approx(expected[name], abs=5e-3), name
        lora.load(models[name])
        apart = told(lora.answer([judge(text) for text in TEXTS]))
        assert apart == pytest.approx(told(together[i::3]), abs=5e-3)


def test_full_checkpoints_are_pushed_below_adapters_as_well(
    lora: VLLMEngine, models: dict[str, ModelFiles], expected: dict[str, list[float]]
) -> None:
    for name in ("full", "a", "full", "base"):
        lora.load(models[name])
        found = told(lora.answer([judge(text) for text in TEXTS]))
        assert found == pytest.approx(expected[name], abs=5e-3), name


def test_an_adapter_of_too_high_a_rank_is_refused(
    lora: VLLMEngine, models: dict[str, ModelFiles], tmp_path: Path
) -> None:
    high = ModelFiles("high", models["base"].base, adapter(models["base"].base, tmp_path, 5, 80))
    with pytest.raises(EngineError, match=r"rank 80.*max_lora_rank=64.*serve=weights"):
        lora.load(high)


def test_weights_that_cannot_be_pushed_leave_nothing_wrong_behind(
    pushed: VLLMEngine,
    models: dict[str, ModelFiles],
    expected: dict[str, list[float]],
    tmp_path: Path,
) -> None:
    pushed.load(models["a"])
    broken = shutil.copytree(str(models["b"].adapter), tmp_path / "broken")
    (broken / "adapter_model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(Exception, match=r"(?i)header|safetensor|deserial"):
        pushed.load(ModelFiles("broken", models["base"].base, broken))
    pushed.load(models["a"])
    found = told(pushed.answer([judge(text) for text in TEXTS]))
    assert found == pytest.approx(expected["a"], abs=2e-3)


def test_a_killed_engine_is_told_and_starts_again(models: dict[str, ModelFiles]) -> None:
    config = replace(SETTINGS, vllm=VLLMConfig(process="own", between="end"))
    engine = build_engine(config)
    assert isinstance(engine, ProcessEngine)
    engine.load(models["a"])
    first = texts(engine.answer([ask(text) for text in TEXTS]))
    assert engine.pid is not None
    psutil.Process(engine.pid).kill()
    with pytest.raises(EngineError, match="SIGKILL"):
        engine.answer([ask(text) for text in TEXTS])
    engine.load(models["a"])
    assert texts(engine.answer([ask(text) for text in TEXTS])) == first
    pid = engine.pid
    engine.pause()
    assert pid is not None
    assert not psutil.pid_exists(pid)
    engine.load(models["a"])
    assert texts(engine.answer([ask("Hi.")])) == first[:3]
    engine.close()


def test_copies_share_the_work(models: dict[str, ModelFiles]) -> None:
    resources = ResourcesConfig(data_parallel=2)
    engine = build_engine(replace(SETTINGS, vllm=VLLMConfig(kv_cache_gib=1)), resources)
    engine.load(models["b"])
    together = engine.answer([ask(text) for text in TEXTS])
    assert [(a.request, a.sample) for a in together] == [(t, j) for t in TEXTS for j in range(3)]
    engine.load(models["a"])
    assert texts(engine.answer([ask(text) for text in TEXTS])) != texts(together)
    engine.load(models["b"])
    assert texts(engine.answer([ask(text) for text in TEXTS])) == texts(together)
    engine.close()


ALONE = """
import sys, time
from pathlib import Path
from tsr.config import EngineConfig, VLLMConfig
from tsr.engines.base import Message, ModelFiles, Request
from tsr.engines.build import build_engine

engine = build_engine(
    EngineConfig(name="vllm", dtype="fp32", context=512, vllm=VLLMConfig(process="own"))
)
engine.load(ModelFiles("base", Path(sys.argv[1])))
print(engine.pid, flush=True)
while True:
    asked = [Request(f"{i}", (Message(role="user", content="Hi."),), (i,)) for i in range(64)]
    engine.answer(asked)
"""


def test_no_engine_outlives_a_killed_parent(models: dict[str, ModelFiles]) -> None:
    command = [sys.executable, "-c", ALONE, str(models["base"].base)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = next(int(line) for line in parent.stdout if line.strip().isdigit())
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        parent.kill()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive


def run_tsr(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tsr.run", "model=tiny", "engine=vllm", *RUN, *overrides]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


RUN = (
    "k=2",
    "iterations=1",
    "data.prompts_per_iteration=6",
    "sampling.max_new_tokens=8",
    "judge=verifier",
    "engine.context=512",
    "engine.dtype=fp32",
    "engine.block=4",
    "train/dpo=lora",
    "train.dpo.batch_size=2",
    "train.dpo.micro_batch=2",
    "model.sft=none",
)


def test_a_run_samples_trains_and_samples_again_in_one_process(tmp_path: Path) -> None:
    done = run_tsr(tmp_path, "variant=temporal")
    assert done.returncode == 0, done.stderr
    records = [json.loads(p.read_text()) for p in tmp_path.glob("store/stages/*/*/record.json")]
    assert sum(r["kind"] == "generate" for r in records) == 3
    assert sum(r["kind"] == "dpo" for r in records) == 2
    again = run_tsr(tmp_path, "variant=temporal")
    assert "0 stages executed" in again.stdout


def test_a_stage_whose_engine_is_killed_goes_on_from_its_last_block(tmp_path: Path) -> None:
    overrides = (
        "variant=self_rewarding",
        "engine.vllm.process=own",
        "data.prompts_per_iteration=60",
    )
    command = [sys.executable, "-m", "tsr.run", "model=tiny", "engine=vllm", *RUN, *overrides]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as run:
        blocks = wait_for_blocks(tmp_path, run)
        (child,) = psutil.Process(run.pid).children()
        child.kill()
        assert run.stderr is not None
        said = run.stderr.read()
    assert run.returncode == 1
    assert "SIGKILL" in said
    kept = {path.name: path.read_bytes() for path in blocks}
    left = list(tmp_path.glob("store/stages/generate/.*.part-*/blocks/*.jsonl"))
    assert kept.items() <= {path.name: path.read_bytes() for path in left}.items()
    done = run_tsr(tmp_path, *overrides)
    assert done.returncode == 0, done.stderr


def wait_for_blocks(folder: Path, run: subprocess.Popen[str]) -> list[Path]:
    """The blocks that are there once the first ones are."""
    while run.poll() is None:
        blocks = list(folder.glob("store/stages/generate/.*.part-*/blocks/*.jsonl"))
        if len(blocks) > 1:
            return blocks
        time.sleep(0.05)
    raise AssertionError("the run ended before it saved a block")

"""The transformers engine against plain forwards of the same tiny models."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import build_tiny
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tsr.engines import decoding, transformers_engine
from tsr.engines.base import Answer, EngineError, Message, ModelFiles, Request
from tsr.engines.chat import Chat
from tsr.engines.transformers_engine import TransformersEngine
from tsr.stages.model import TINY

TEXTS = ("Hi.", "Name three rivers of Europe and one of Asia, please.", "What is 2 + 3?", "Why?")
RUBRIC = "Score the answer from 0 to 5, one point for each thing that is right about it. " * 4


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFiles]:
    """A tiny model of each architecture."""
    made = {}
    for architecture in TINY:
        folder = build_tiny(tmp_path_factory.mktemp(architecture), architecture)
        made[architecture] = ModelFiles(architecture, folder)
    return made


@pytest.fixture(scope="module", params=TINY)
def model(request: pytest.FixtureRequest, families: dict[str, ModelFiles]) -> ModelFiles:
    return families[request.param]


@pytest.fixture
def engine(model: ModelFiles) -> Iterator[TransformersEngine]:
    """One in fp32, with batches small enough that several are needed."""
    made = TransformersEngine("fp32", batch_size=8, device="cpu")
    made.load(model)
    yield made
    made.close()


@pytest.fixture(scope="module")
def adapter(families: dict[str, ModelFiles], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of the llama model that changes what it says."""
    return save_adapter(families["llama"].base, tmp_path_factory.mktemp("adapter"), False)


def save_adapter(base: Path, folder: Path, neutral: bool) -> Path:
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=neutral)
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    wrapped.save_pretrained(folder)
    return folder


def ask(text: str, *seeds: int, system: str = "", **settings: Any) -> Request:
    messages = [Message(role="user", content=text)]
    if system:
        messages.insert(0, Message(role="system", content=system))
    settings = {"max_new_tokens": 12} | settings
    return Request(text[:20], tuple(messages), seeds or (0,), **settings)


def score(text: str, **settings: Any) -> Request:
    options = tuple("012345")
    return ask(text, system=RUBRIC, opening="Score: ", options=options, **settings)


def naive(model: ModelFiles, request: Request, more: list[int]) -> torch.Tensor:
    """Log-probabilities of all next tokens after prompt, opening and `more`: one plain forward."""
    tokenizer = AutoTokenizer.from_pretrained(model.base)
    text = tokenizer.apply_chat_template(
        list(request.messages), tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text + request.opening, add_special_tokens=False)["input_ids"]
    network = AutoModelForCausalLM.from_pretrained(model.base, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = network(torch.tensor([ids + more])).logits[0, len(ids) - 1 :]
    found: torch.Tensor = logits.float().log_softmax(-1)
    return found


def texts(answers: list[Answer]) -> list[str]:
    return [a.text for a in answers]


def test_answers_in_the_order_of_the_requests(engine: TransformersEngine) -> None:
    requests = [ask(TEXTS[i], 1, 2, 3) for i in (1, 0, 3, 2)]
    answers = engine.answer(requests)
    assert [(a.request, a.sample) for a in answers] == [
        (r.id, j) for r in requests for j in (0, 1, 2)
    ]
    lengths = engine.lengths(requests)
    assert [a.prompt_tokens for a in answers[::3]] == lengths
    assert len(set(lengths)) == 4


def test_first_k_of_more_samples_are_the_same(engine: TransformersEngine) -> None:
    few = engine.answer([ask(t, 10, 11, 12) for t in TEXTS])
    many = engine.answer([ask(t, *range(10, 17)) for t in reversed(TEXTS)])
    assert {(a.request, a.sample): a for a in few}.items() <= {
        (a.request, a.sample): a for a in many
    }.items()


def test_seeds_differ_so_texts_differ(engine: TransformersEngine) -> None:
    assert len(set(texts(engine.answer([ask(TEXTS[1], *range(8))])))) == 8


def test_same_call_same_bytes(model: ModelFiles) -> None:
    def run() -> list[Answer]:
        engine = TransformersEngine("bf16", batch_size=8, device="cpu")
        engine.load(model)
        return engine.answer([ask(t, 1, 2, 3, logprobs=True) for t in TEXTS])

    assert run() == run()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_company_in_the_batch_changes_nothing(
    engine: TransformersEngine, temperature: float
) -> None:
    # Limits differ, so rows leave the batch at different steps.
    requests = [
        ask(t, 5, temperature=temperature, max_new_tokens=n)
        for t, n in zip(TEXTS, (5, 20, 90, 1), strict=True)
    ]
    alone = [engine.answer([r])[0] for r in requests]
    assert engine.answer(requests) == alone
    assert [a.tokens for a in alone if a.finish == "length"] != []


def test_greedy_is_the_likeliest_and_logprobs_are_teacher_forced(
    engine: TransformersEngine, model: ModelFiles
) -> None:
    answer = engine.answer([ask(TEXTS[1], temperature=0.0, logprobs=True)])[0]
    tokens = greedy(model, ask(TEXTS[1]), answer.tokens)
    expected = naive(model, ask(TEXTS[1]), tokens)
    assert answer.logprobs is not None
    assert expected.argmax(-1).tolist()[:-1] == tokens
    assert torch.tensor(answer.logprobs) == pytest.approx(
        expected[range(len(tokens)), tokens], abs=1e-4
    )
    assert answer.text == AutoTokenizer.from_pretrained(model.base).decode(
        tokens, skip_special_tokens=True
    )


def greedy(model: ModelFiles, request: Request, count: int) -> list[int]:
    tokens: list[int] = []
    for _ in range(count):
        tokens.append(int(naive(model, request, tokens)[-1].argmax()))
    return tokens


def test_sampled_logprobs_are_those_of_temperature_1(engine: TransformersEngine) -> None:
    means = []
    for temperature in (1.0, 0.5):
        asked = [ask(text, 3, temperature=temperature, logprobs=True) for text in TEXTS]
        told = [lp for answer in engine.answer(asked) for lp in answer.logprobs or ()]
        means.append(sum(told) / len(told))
    hot, cold = means
    assert cold > hot
    assert engine.answer([ask(TEXTS[0], 3)])[0].logprobs is None


def test_options_are_a_plain_forward(engine: TransformersEngine, model: ModelFiles) -> None:
    requests = [score(t) for t in TEXTS]
    digits = AutoTokenizer.from_pretrained(model.base).convert_tokens_to_ids(list("012345"))
    for request, answer in zip(requests, engine.answer(requests), strict=True):
        expected = naive(model, request, [])[0, digits]
        assert answer.options is not None
        assert list(answer.options) == list("012345")
        assert list(answer.options.values()) == pytest.approx(expected.tolist(), abs=1e-4)
        assert (answer.finish, answer.text, answer.tokens) == ("options", "", 0)


def test_shared_prefix_changes_nothing(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = [score(f"Say {n} words. " + t * n) for n, t in enumerate(TEXTS)]
    said = [ask(t, 1, 2, 3, system=RUBRIC, logprobs=True) for t in TEXTS]
    reads: list[int] = []
    plain_read = decoding.Reading.read_rest

    def counted(self: Any, prompts: Any, start: int) -> torch.Tensor:
        reads.append(sum(len(p) - start for p in prompts))
        return plain_read(self, prompts, start)

    monkeypatch.setattr(decoding.Reading, "read_rest", counted)
    shared, tokens = engine.answer(scored + said), sum(reads)
    reads.clear()
    monkeypatch.setattr(decoding, "WORTH", 10**9)
    alone, more = engine.answer(scored + said), sum(reads)
    assert tokens < more / 2
    assert texts(shared) == texts(alone)
    for a, b in zip(shared, alone, strict=True):
        mine, theirs = ([*(x.logprobs or ()), *(x.options or {}).values()] for x in (a, b))
        assert mine == pytest.approx(theirs, abs=1e-4)


def test_long_option_prompts_are_read_in_parts(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [score(t * n) for t in TEXTS for n in (1, 3)]
    whole = engine.answer(requests)
    monkeypatch.setattr(decoding, "FORWARD", 100)
    for a, b in zip(engine.answer(requests), whole, strict=True):
        assert a.options == pytest.approx(b.options, abs=1e-4)


def test_options_must_be_single_tokens(engine: TransformersEngine) -> None:
    with pytest.raises(EngineError, match=r"'10', 'yes' cannot be asked for"):
        engine.answer([ask("x", opening="Score: ", options=("1", "10", "yes"))])


def test_too_long(engine: TransformersEngine) -> None:
    room = engine.context() - engine.lengths([ask("x")])[0]
    fits, over = ask("x", 1, max_new_tokens=room), ask("x", 1, 2, max_new_tokens=room + 1)
    letters = "x" * (room + 1)
    answers = engine.answer([over, ask(letters, 1, options=("1",)), ask("y", 1)])
    assert [a.finish for a in answers[:3]] == ["too_long"] * 3
    assert [a.sample for a in answers[:3]] == [0, 1, 0]
    assert answers[2].options is None
    assert answers[2].prompt_tokens == engine.context()
    assert answers[3].tokens > 0
    assert engine._fits(transformers_engine._Asked(0, fits, (0,) * (engine.context() - room)))


def test_turn_end_ends_an_answer(engine: TransformersEngine, model: ModelFiles) -> None:
    answers = engine.answer([ask(t, *range(20), max_new_tokens=60, logprobs=True) for t in TEXTS])
    assert {a.finish for a in answers} == {"stop", "length"}
    for a in answers:
        assert a.tokens == 60 or a.finish == "stop"
        assert len(a.logprobs or ()) == a.tokens <= 60
        assert TINY[model.name][1] not in a.text


def test_stops_come_from_model_tokenizer_and_template(model: ModelFiles) -> None:
    chat = Chat(model)
    eos, pad = chat.tokenizer.eos_token_id, chat.tokenizer.pad_token_id
    assert chat.stops(GenerationConfig(eos_token_id=None)) == (eos,)
    assert chat.stops(GenerationConfig(eos_token_id=[eos, pad])) == tuple(sorted((eos, pad)))
    chat.tokenizer.chat_template = chat.tokenizer.chat_template.replace("eos_token", "'</s>'")
    chat.tokenizer.eos_token = None
    assert chat.stops(GenerationConfig(eos_token_id=pad)) == tuple(sorted((eos, pad)))
    chat.tokenizer.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(EngineError, match=r"model\.turn_end"):
        chat.stops(GenerationConfig(eos_token_id=None))


def test_opening_is_continued(engine: TransformersEngine, model: ModelFiles) -> None:
    plain, opened = (ask("Hi.", temperature=0.0, opening=o, logprobs=True) for o in ("", "I see: "))
    assert engine.lengths([opened])[0] == engine.lengths([plain])[0] + len("I see: ")
    answer = engine.answer([opened])[0]
    assert answer.logprobs is not None
    assert answer.logprobs[0] == pytest.approx(naive(model, opened, [])[0].max().item(), abs=1e-4)


def test_nucleus_of_almost_nothing_is_greedy(engine: TransformersEngine) -> None:
    greedy_answer = engine.answer([ask(TEXTS[1], temperature=0.0)])
    assert engine.answer([ask(TEXTS[1], 7, top_p=1e-6)]) == greedy_answer


def test_attention_of_transformers_says_the_same(
    engine: TransformersEngine, model: ModelFiles
) -> None:
    eager = TransformersEngine("fp32", device="cpu", attention="eager")
    eager.load(model)
    requests = [ask(t, 1, 2, max_new_tokens=80) for t in TEXTS]
    assert texts(eager.answer(requests)) == texts(engine.answer(requests))


def test_adapter_is_merged(families: dict[str, ModelFiles], adapter: Path, tmp_path: Path) -> None:
    base = families["llama"]
    tuned = ModelFiles("tuned", base.base, adapter)
    engine = TransformersEngine("fp32", device="cpu")
    said = {}
    for files in (base, tuned):
        engine.load(files)
        said[files.name] = engine.answer([ask(t, 1, temperature=0.0) for t in TEXTS])
    assert texts(said["llama"]) != texts(said["tuned"])
    merged = merge(tuned, tmp_path)
    engine.load(merged)
    assert engine.answer([ask(t, 1, temperature=0.0) for t in TEXTS]) == said["tuned"]
    engine.load(base)  # nothing of the adapter is left behind
    assert engine.answer([ask(t, 1, temperature=0.0) for t in TEXTS]) == said["llama"]


def merge(files: ModelFiles, target: Path) -> ModelFiles:
    from peft import PeftModel

    network = AutoModelForCausalLM.from_pretrained(files.base)
    PeftModel.from_pretrained(network, str(files.adapter)).merge_and_unload().save_pretrained(
        target
    )
    return ModelFiles("merged", target, tokenizer=files.base)


def test_neutral_adapter_in_bf16_is_the_base(
    families: dict[str, ModelFiles], tmp_path: Path
) -> None:
    base = families["llama"]
    neutral = ModelFiles("neutral", base.base, save_adapter(base.base, tmp_path, True))
    engine = TransformersEngine("bf16", device="cpu")
    said = []
    for files in (base, neutral):
        engine.load(files)
        said.append(engine.answer([ask(t, 1, 2, logprobs=True) for t in TEXTS]))
    assert said[0] == said[1]


def test_the_loaded_model_is_not_loaded_again(
    families: dict[str, ModelFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    network = transformers_engine._network

    def counted(model: ModelFiles, *rest: str) -> Any:
        loads.append(model.name)
        return network(model, *rest)

    monkeypatch.setattr(transformers_engine, "_network", counted)
    engine = TransformersEngine("fp32", device="cpu")
    for name in ("llama", "llama", "qwen", "llama"):
        engine.load(families[name])
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="no model is loaded"):
        engine.answer([ask("x")])
    engine.load(families["llama"])
    assert loads == ["llama", "qwen", "llama", "llama"]


def test_no_requests_no_answers(engine: TransformersEngine) -> None:
    assert engine.answer([]) == []
    assert engine.lengths([]) == []


def test_missing_files_and_template(
    families: dict[str, ModelFiles], adapter: Path, tmp_path: Path
) -> None:
    engine, base = TransformersEngine("fp32", device="cpu"), families["llama"].base
    with pytest.raises(EngineError, match="not a checkpoint folder"):
        engine.load(ModelFiles("a", tmp_path / "none"))
    with pytest.raises(EngineError, match="not an adapter folder"):
        engine.load(ModelFiles("b", base, tmp_path))
    bare = shutil.copytree(base, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(EngineError, match=r"no chat template: set model\.template"):
        engine.load(ModelFiles("c", bare))
    engine.load(ModelFiles("c", bare, tokenizer=base))
    assert engine.answer([ask("x")])[0].text


def test_template_refusal_is_named(families: dict[str, ModelFiles]) -> None:
    engine = TransformersEngine("fp32", device="cpu")
    engine.load(families["mistral"])
    turns = (Message(role="user", content="x"), Message(role="system", content="y"))
    with pytest.raises(EngineError, match="request odd: the chat template refuses"):
        engine.answer([Request("odd", turns, (1,))])


def test_import_is_light() -> None:
    code = "import sys, tsr.engines.transformers_engine; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_another_process_says_the_same(families: dict[str, ModelFiles]) -> None:
    code = f"""if True:
        import json
        from pathlib import Path
        from tsr.engines.base import ModelFiles, Request
        from tsr.engines.transformers_engine import TransformersEngine
        engine = TransformersEngine("bf16", device="cpu")
        engine.load(ModelFiles("x", Path({str(families["llama"].base)!r})))
        messages = ({{"role": "user", "content": "Hi."}},)
        request = Request("r", messages, tuple(range(8)), max_new_tokens=40, logprobs=True)
        print(json.dumps([[a.text, a.logprobs] for a in engine.answer([request])]))
    """
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(json.loads(runs[0])) == 8

"""The reward engine against plain forwards of a tiny random classifier."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import build_tiny
from transformers import AutoConfig, AutoTokenizer, LlamaForSequenceClassification

from tsr.config import JudgeConfig
from tsr.engines import reward_engine
from tsr.engines.base import EngineError, Message, ModelFiles, Request
from tsr.engines.reward_engine import RewardEngine
from tsr.judges.base import Case
from tsr.judges.reward_model import RewardModel
from tsr.models import tiny

ANSWERS = ("Yes.", "No, since it never rains there in May.", "", "Yes! " * 40, "x", "y", "Perhaps.")


pytestmark = pytest.mark.usefixtures("one_thread")


def build(folder: Path, **changes: Any) -> ModelFiles:
    """A Llama of two layers with random weights and one output; `changes` go into its config."""
    build_tiny(folder, "llama")
    config = AutoConfig.from_pretrained(folder, num_labels=1, initializer_range=0.3)
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    return ModelFiles(folder.name, folder)


@pytest.fixture(scope="module", params=["padded", "unpadded", "end"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """With a padding token, with none in its config, and with the end of a turn for one."""
    folder = tmp_path_factory.mktemp(request.param)
    end = AutoTokenizer.from_pretrained(build(folder).base).eos_token_id
    changes = {"padded": {}, "unpadded": {"pad_token_id": None}, "end": {"pad_token_id": end}}
    return build(folder, **changes[request.param])


@pytest.fixture
def engine(model: ModelFiles) -> Iterator[RewardEngine]:
    """One in fp32, with batches small enough that several are needed."""
    made = RewardEngine("fp32", batch_size=3, device="cpu")
    made.load(model)
    yield made
    made.close()


def ask(answer: str, *seeds: int) -> Request:
    request = RewardModel().request(Case(answer[:9], "Is it dry?", (), answer))
    return replace(request, seeds=seeds or (0,))


def naive(model: ModelFiles, request: Request) -> float:
    tokenizer = AutoTokenizer.from_pretrained(model.base)
    ids = tokenizer.apply_chat_template(list(request.messages))["input_ids"]
    network = LlamaForSequenceClassification.from_pretrained(model.base).eval()
    with torch.no_grad():
        return float(network(torch.tensor([ids])).logits[0, 0])


def test_values_are_those_of_plain_forwards(engine: RewardEngine, model: ModelFiles) -> None:
    requests = [ask(text) for text in ANSWERS]
    answers = engine.answer(requests)
    assert [a.request for a in answers] == [r.id for r in requests]
    assert [a.value for a in answers] == pytest.approx(
        [naive(model, r) for r in requests], abs=1e-5
    )
    assert len({a.value for a in answers}) == len(ANSWERS)
    assert {(a.finish, a.text, a.tokens) for a in answers} == {("value", "", 0)}
    assert [a.prompt_tokens for a in answers] == engine.lengths(requests)


def test_company_in_the_batch_changes_nothing(engine: RewardEngine) -> None:
    requests = [ask(text) for text in ANSWERS]
    alone = [engine.answer([r])[0] for r in requests]
    for together in (engine.answer(requests), engine.answer(requests[::-1])[::-1]):
        assert [a.value for a in together] == pytest.approx([a.value for a in alone], abs=1e-5)


def test_long_conversations_make_small_batches(
    engine: RewardEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [ask(text) for text in ANSWERS]
    whole = [a.value for a in engine.answer(requests)]
    monkeypatch.setattr(reward_engine, "FORWARD", 150)
    assert [a.value for a in engine.answer(requests)] == pytest.approx(whole, abs=1e-5)
    batches = list(reward_engine._batches([(0,) * n for n in (10, 70, 75, 80, 400)], 3))
    assert [[len(t) for t in batch] for batch in batches] == [[10, 70], [75], [80], [400]]
    assert [len(b) for b in reward_engine._batches([(0,)] * 7, 3)] == [3, 3, 1]
    assert engine.answer([]) == []


def test_samples_are_all_the_same(engine: RewardEngine) -> None:
    answers = engine.answer([ask("Yes.", 1, 2), ask("No.", 3)])
    assert [(a.request, a.sample) for a in answers] == [("Yes.", 0), ("Yes.", 1), ("No.", 0)]
    assert answers[0].value == answers[1].value != answers[2].value


def test_a_long_conversation_is_missing_not_cut(engine: RewardEngine) -> None:
    room = engine.context() - engine.lengths([ask("")])[0]
    fits, over, short = engine.answer([ask("x" * room), ask("x" * (room + 1)), ask("x")])
    assert (fits.finish, over.finish, short.finish) == ("value", "too_long", "value")
    assert over.value is None
    assert over.prompt_tokens == engine.context() + 1


def test_the_last_layer_is_told_in_full(model: ModelFiles) -> None:
    engine = RewardEngine("bf16", device="cpu")
    engine.load(model)
    values = [a.value for a in engine.answer([ask(text) for text in ANSWERS])]
    assert values == pytest.approx([naive(model, ask(text)) for text in ANSWERS], abs=0.5)
    coarse = torch.tensor(values, dtype=torch.float64).bfloat16().double().tolist()
    assert values != coarse


def test_a_model_without_a_score_of_its_own_is_refused(tmp_path: Path) -> None:
    engine = RewardEngine("fp32", device="cpu")
    with pytest.raises(EngineError, match="no model is loaded"):
        engine.answer([ask("x")])
    with pytest.raises(EngineError, match=r"no config\.json"):
        engine.load(ModelFiles("none", tmp_path / "nowhere"))
    with pytest.raises(EngineError, match="has 2 outputs: a reward model has one"):
        engine.load(build(tmp_path / "two", num_labels=2))
    files = build(tmp_path / "one")
    with pytest.raises(EngineError, match="merge the adapter"):
        engine.load(replace(files, adapter=tmp_path))
    weights = load_file(files.base / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, files.base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match=r"its weights lack score\.weight"):
        engine.load(files)


def test_a_loaded_model_is_kept_until_another_comes(tmp_path: Path) -> None:
    engine, files = RewardEngine("fp32", device="cpu"), build(tmp_path / "one")
    engine.load(files)
    kept = engine._loaded
    engine.load(files)
    assert engine._loaded is kept
    engine.pause()
    assert engine._loaded is None
    engine.load(files)
    assert engine.answer([ask("x")])[0].value is not None


def test_a_value_that_is_no_number_is_missing(tmp_path: Path) -> None:
    files = build(tmp_path / "broken")
    weights = load_file(files.base / "model.safetensors")
    weights["score.weight"] *= math.nan
    save_file(weights, files.base / "model.safetensors", metadata={"format": "pt"})
    engine = RewardEngine("fp32", device="cpu")
    engine.load(files)
    verdict = RewardModel.of(JudgeConfig()).read(
        Case("c", "p", (), "x"), engine.answer([ask("x")])[0]
    )
    assert (verdict.score, verdict.reason) == (None, "not_finite")


def test_a_conversation_the_template_refuses_is_named(engine: RewardEngine) -> None:
    tokenizer = engine._model.chat.tokenizer
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    with pytest.raises(EngineError, match=r"request Yes\.: the chat template refuses"):
        engine.answer([ask("Yes.")])


TURNS = [
    Message(role="system", content="Be kind."),
    Message(role="user", content="Hi 12."),
    Message(role="assistant", content="Yes?"),
    Message(role="user", content="Bye."),
]


def test_llama2_template(tmp_path: Path) -> None:
    template = resources.files("tsr").joinpath("templates", "llama2.jinja").read_text()
    tiny.build(tmp_path, architecture="mistral", seed=0, chat_template=template, eos_token="</s>")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)

    def render(turns: list[Message]) -> str:
        text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return text

    first = "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi 12. [/INST]"
    assert render(TURNS[:2]) == first
    assert render(TURNS) == first + " Yes?</s><s>[INST] Bye. [/INST]"
    assert render(TURNS[1:2]) == "<s>[INST] Hi 12. [/INST]"
    with pytest.raises(Exception, match="must be the first"):
        render([TURNS[1], TURNS[0]])
    assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == len(tokenizer)

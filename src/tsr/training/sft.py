"""Supervised fine-tuning with TRL's SFTTrainer."""

from collections.abc import Sequence
from typing import Any

from trl import SFTConfig as TRLConfig
from trl import SFTTrainer

from tsr.config import SFTConfig
from tsr.data.rows import Row
from tsr.engines.base import ModelFiles
from tsr.training import common
from tsr.workbench import Workbench


def train(
    bench: Workbench, start: ModelFiles, rows: Sequence[Row], recipe: SFTConfig, seed: int
) -> dict[str, Any]:
    """Train on prompt and answer, the loss on the answer only, and save into the bench's folder.

    Raises TrainingError for a loss that is not a number.
    """
    tokenizer, conversations = common.load_tokenizer(start), [_conversation(row) for row in rows]
    trainer = SFTTrainer(
        model=common.load_policy(start, recipe),
        args=common.fitted(
            TRLConfig(
                **common.arguments(bench.folder, recipe, len(rows), seed),
                completion_only_loss=True,
            ),
            recipe,
        ),
        train_dataset=common.dataset(bench.folder, conversations),
        processing_class=tokenizer,
        peft_config=common.new_adapter(start, recipe),
    )
    log = common.run(bench, trainer, "sft", common.steps(recipe, len(rows)))
    common.save(bench, trainer, tokenizer)
    whole = [row["prompt"] + row["completion"] for row in conversations]
    return {
        "rows_cut": common.over(tokenizer, whole, recipe.max_length),
        "units": 1,
        "rows": len(rows),
        "steps": log[-1]["step"],
        "first_loss": log[0]["loss"],
        "loss": log[-1]["loss"],
    }


def _conversation(row: Row) -> dict[str, Any]:
    # A judge is asked with a system turn, so its rows (EFT) are learnt with theirs.
    system = [] if row.system is None else [{"role": "system", "content": row.system}]
    return {
        "prompt": [*system, {"role": "user", "content": row.prompt}],
        "completion": [{"role": "assistant", "content": row.response}],
    }

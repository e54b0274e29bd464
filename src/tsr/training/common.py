"""What SFT and DPO trainings share: loading, arguments, the log, checkpoints, saving."""

import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
)
from transformers.trainer_utils import get_last_checkpoint

from tsr.config import TrainConfig
from tsr.engines.base import ModelFiles
from tsr.jsonl import write_jsonl
from tsr.training.outcome import ADAPTER, CHECKPOINT, TrainingError
from tsr.workbench import Progress, Workbench

LOG = "training.jsonl"
WHOLE = "WHOLE"


def load_policy(files: ModelFiles, recipe: TrainConfig) -> PreTrainedModel | PeftModel:
    """The model to be trained, in fp32.

    The weights are always fp32: at small learning rates an update is below bf16's spacing and would
    be lost. `precision=bf16` only runs the arithmetic in bf16, under autocast.
    """
    if files.adapter is None or recipe.method == "full":
        # PEFT freezes what it wraps, and merging leaves it frozen.
        return load_frozen(files).requires_grad_(True)
    model = _checkpoint(files)
    adapter = PeftModel.from_pretrained(model, str(files.adapter), is_trainable=True)
    _refuse_other_rank(adapter, recipe)
    return adapter


def load_frozen(files: ModelFiles) -> PreTrainedModel:
    """A model that is only read, its adapter merged, in fp32."""
    model = _checkpoint(files)
    if files.adapter is None:
        return model
    return PeftModel.from_pretrained(model, str(files.adapter)).merge_and_unload()


def _checkpoint(files: ModelFiles) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(
        files.base, dtype=torch.float32, trust_remote_code=files.trust_remote_code
    )


def load_tokenizer(files: ModelFiles) -> PreTrainedTokenizerBase:
    """The tokenizer, its chat template and a padding token included."""
    tokenizer = AutoTokenizer.from_pretrained(
        files.tokenizer or files.base, trust_remote_code=files.trust_remote_code
    )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def new_adapter(files: ModelFiles, recipe: TrainConfig) -> LoraConfig | None:
    """The adapter to be added: none for full training or where the model brings one."""
    if recipe.method == "full" or files.adapter is not None:
        return None
    return LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def arguments(folder: Path, recipe: TrainConfig, rows: int, seed: int) -> dict[str, Any]:
    """Trainer arguments for a recipe on `rows` rows; one process, one device."""
    steps = math.ceil(rows / recipe.batch_size) * recipe.epochs
    return {
        "output_dir": str(folder),
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": recipe.micro_batch,
        "gradient_accumulation_steps": recipe.batch_size // recipe.micro_batch,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": math.ceil(recipe.warmup * steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "max_length": recipe.max_length,
        "bf16": recipe.precision == "bf16",
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "logging_steps": 1,
        "logging_first_step": True,
        "save_strategy": "steps",
        "save_steps": recipe.checkpoint_steps,
        "save_total_limit": 2,  # the older one is whole while the newer is being written
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": torch.cuda.is_available(),
        "seed": seed,
        "data_seed": seed,
    }


@dataclass(frozen=True)
class Expected:
    """What the first loss has to be, and what it would mean if it were not."""

    value: float
    tolerance: float
    otherwise: str

    def check(self, loss: float) -> None:
        """Raise TrainingError if the loss is further off than the tolerance."""
        if abs(loss - self.value) > self.tolerance:
            raise TrainingError(
                f"the first loss is {loss:.4f} and should be {self.value:.4f}: {self.otherwise}"
            )


class Journal(TrainerCallback):  # type: ignore[misc]  # untyped upstream
    """Writes each step's figures to `training.jsonl`, and stops at a loss that is not a number."""

    def __init__(self, folder: Path, progress: Progress, first_loss: Expected | None) -> None:
        self.path, self.progress, self.seen = folder / LOG, progress, 0
        self.first_loss = first_loss

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget steps after the checkpoint that the training goes on from."""
        kept = [row for row in read_log(self.path) if row["step"] <= state.global_step]
        write_jsonl(self.path, kept)
        self._advance(state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Keep one step's figures."""
        if not logs or "loss" not in logs:
            return
        row = {"step": state.global_step} | {k: float(v) for k, v in logs.items()}
        with self.path.open("a") as log:
            log.write(json.dumps(row) + "\n")
        self._advance(state.global_step)
        if row["step"] == 1 and self.first_loss is not None:
            self.first_loss.check(row["loss"])
        if not (math.isfinite(row["loss"]) and math.isfinite(row.get("grad_norm", 0.0))):
            raise TrainingError(
                f"step {row['step']}: loss {row['loss']}, gradient norm {row.get('grad_norm')}; "
                "lower the learning rate, or use precision=fp32"
            )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark a checkpoint as whole; one cut off in mid-writing has no mark."""
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (checkpoint / WHOLE).touch()

    def _advance(self, step: int) -> None:
        self.progress.advance(step - self.seen)
        self.seen = step


def read_log(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a training log; a killed process may leave half a line at the end."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def run(
    bench: Workbench, trainer: Trainer, what: str, first_loss: Expected | None = None
) -> list[dict[str, Any]]:
    """Train, from the last whole checkpoint where there is one. Returns the log."""
    work = Path(trainer.args.output_dir)
    checkpoint = _last_whole(work)
    steps = _steps(trainer)
    with bench.progress(f"{what}: steps", steps) as progress:
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Journal(bench.folder, progress, first_loss))
        trainer.train(resume_from_checkpoint=checkpoint)
    return read_log(bench.folder / LOG)


def save(bench: Workbench, trainer: Trainer, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write the adapter or the checkpoint as `peft` and `transformers` load it."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if isinstance(model, PeftModel):
        # Only the trained adapter: TRL keeps the frozen reference as a second one, `ref`.
        model.save_pretrained(bench.folder / ADAPTER, selected_adapters=["default"])
        (bench.folder / ADAPTER / "README.md").unlink(missing_ok=True)
    else:
        model.save_pretrained(bench.folder / CHECKPOINT)
        tokenizer.save_pretrained(bench.folder / CHECKPOINT)


def token_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any], open_turn: bool
) -> list[int]:
    """The tokens of a conversation, template included."""
    encoded = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=open_turn, return_dict=True
    )
    return list(encoded["input_ids"])


def over(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[Any]], limit: int) -> int:
    """How many conversations exceed the limit: TRL cuts their ends, so they are counted."""
    return sum(len(token_ids(tokenizer, row, False)) > limit for row in rows)


def _steps(trainer: Trainer) -> int:
    args, rows = trainer.args, len(trainer.train_dataset)
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps
    return int(math.ceil(rows / per_step) * args.num_train_epochs)


def _last_whole(work: Path) -> str | None:
    """The newest checkpoint with a mark; those without one are removed."""
    if not work.is_dir():
        return None
    for checkpoint in work.glob("checkpoint-*"):
        if not (checkpoint / WHOLE).exists():
            shutil.rmtree(checkpoint)
    last = get_last_checkpoint(str(work))
    return os.fspath(last) if last else None


def _refuse_other_rank(adapter: PeftModel, recipe: TrainConfig) -> None:
    found = adapter.peft_config["default"]
    if (found.r, found.lora_alpha) != (recipe.lora_rank, recipe.lora_alpha):
        raise TrainingError(
            f"lora_rank={recipe.lora_rank}, lora_alpha={recipe.lora_alpha}: the model to start "
            f"from brings an adapter with {found.r} and {found.lora_alpha}; give SFT and DPO the "
            "same, or train SFT with method=full"
        )

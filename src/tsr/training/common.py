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
from datasets import Dataset, load_from_disk
from peft import LoraConfig, PeftModel
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from tsr.config import TrainConfig
from tsr.engines.base import ModelFiles
from tsr.jsonl import write_jsonl
from tsr.stopping import Stopped, asked
from tsr.training import ranks
from tsr.training.outcome import ADAPTER, CHECKPOINT, TRAINER, TrainingError
from tsr.workbench import Progress, Workbench

LOG = "training.jsonl"
WHOLE = "WHOLE"
# How long processes wait for each other: while rank 0 writes a whole large model, the others wait.
PATIENCE_S = 7200
# accelerate's own policy also rounds to bf16 what a model returns, the log-probabilities that DPO
# sums, and the gradients while they are added up over the processes.
BF16_SHARDS = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
# DeepSpeed's own bf16 rounds the weights before it keeps them in fp32; its autocast leaves them.
# Without "safe" modules shards and gradients travel in fp32, as in one process.
BF16_ZERO3 = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}


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
    _refuse_other_adapter(adapter, recipe)
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


def dataset(folder: Path, rows: Sequence[dict[str, Any]]) -> Dataset:
    """The rows; where several processes share the work, from files that all of them have.

    TRL hands the reference's log-probabilities from process to process in a file beside them.
    """
    made = Dataset.from_list(list(rows))
    if ranks.world() == 1:
        return made
    place = folder / TRAINER / "rows"
    if ranks.rank() == 0:
        made.save_to_disk(place)
    ranks.barrier()
    return load_from_disk(place)


def steps(recipe: TrainConfig, rows: int) -> int:
    """Optimiser steps of a training, however many processes share it."""
    return math.ceil(rows / recipe.batch_size) * recipe.epochs


def arguments(folder: Path, recipe: TrainConfig, rows: int, seed: int) -> dict[str, Any]:
    """Trainer arguments for a recipe on `rows` rows.

    Several processes share each step's batch: the same rows in the same step as in one. Where
    `batch_size` does not divide the rows, the last step of an epoch has fewer. There each process
    must still have as many, so accelerate repeats rows from the epoch's beginning: fewer than
    `micro_batch` times the processes. `micro_batch=1` repeats the fewest. A micro-batch is smaller
    than the recipe says where a process's share of the batch is, or is not a multiple of it.
    """
    on_cpu, several = not torch.cuda.is_available(), ranks.world() > 1
    share = recipe.batch_size // ranks.world()
    micro = math.gcd(recipe.micro_batch, share)
    return {
        "output_dir": str(_checkpoints(folder)),
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": share // micro,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": math.ceil(recipe.warmup * steps(recipe, rows)),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "max_length": recipe.max_length,
        "bf16": recipe.precision == "bf16" and ranks.strategy() != "zero3",  # see fitted
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "logging_steps": 1,
        "logging_first_step": True,
        "save_strategy": "steps",
        "save_steps": recipe.checkpoint_steps,
        "save_total_limit": 2,  # the older one is whole while the newer is being written
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": on_cpu and ranks.strategy() != "zero3",  # accelerate has no ZeRO there
        "dataloader_pin_memory": not on_cpu,
        "ddp_backend": "gloo" if on_cpu and several else None,
        "ddp_find_unused_parameters": False if several else None,
        "ddp_timeout": PATIENCE_S,
        # Under FSDP each micro-batch's gradients are shared out at once. Else every process would
        # hold those of all weights for a step, and torch fails at an adapter's frozen head.
        "accelerator_config": {
            "gradient_accumulation_kwargs": {"sync_each_batch": ranks.strategy() == "fsdp"}
        },
        "seed": seed,
        "data_seed": seed,
    }


def fitted(args: TrainingArguments, recipe: TrainConfig) -> TrainingArguments:
    """Arguments made from `arguments`, with what no argument of theirs says."""
    if ranks.world() == 1 and args.n_gpu > 1:
        args._n_gpu = 1  # TRL refuses to copy the model to all GPUs that one process sees
    if ranks.strategy() == "fsdp" and args.bf16:
        # accelerate reads the rest of its plugin from the environment, as it does without this.
        args.fsdp_plugin_args = {"mixed_precision_policy": BF16_SHARDS}
    if ranks.strategy() == "zero3" and recipe.precision == "bf16":
        args.deepspeed_plugin.deepspeed_config["torch_autocast"] = BF16_ZERO3
    return args


def _checkpoints(folder: Path) -> Path:
    """Shards fit only the strategy and the number of processes that they were made with."""
    strategy = ranks.strategy()
    sharded = folder / TRAINER / f"{strategy}-{ranks.world()}"
    return folder / TRAINER if strategy == "ddp" else sharded


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
    """Writes each step's figures to `training.jsonl`, and stops at a loss that is not a number.

    Also ends the training after a step, with a checkpoint, when it was asked to stop. Figures are
    the same in all processes; rank 0 alone writes.
    """

    def __init__(self, folder: Path, progress: Progress, first_loss: Expected | None) -> None:
        self.path, self.progress, self.seen = folder / LOG, progress, 0
        self.first_loss, self.first, self.stopped = first_loss, ranks.rank() == 0, False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget steps after the checkpoint that the training goes on from."""
        if ranks.world() > 1:
            torch.manual_seed(args.seed + ranks.rank())  # each its own dropout
        if self.first:
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
        if self.first:
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

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and stop if any process was asked to; all of them do so at the same step."""
        if ranks.any_of(asked()) and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark a checkpoint as whole; one cut off in mid-writing has no mark."""
        ranks.barrier()  # every process has written its part
        if self.first:
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
    bench: Workbench, trainer: Trainer, what: str, total: int, first_loss: Expected | None = None
) -> list[dict[str, Any]]:
    """Train, `total` steps, from the last whole checkpoint where there is one. Returns the log.

    Raises Stopped where it was asked to stop before the last step; the checkpoint is there then.
    """
    work = Path(trainer.args.output_dir)
    checkpoint = ranks.from_first(lambda: _last_whole(work))
    with bench.progress(f"{what}: steps", total) as progress:
        journal = Journal(bench.folder, progress, first_loss)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(journal)
        trainer.train(resume_from_checkpoint=checkpoint)
    if journal.stopped:
        raise Stopped(f"told to stop; step {trainer.state.global_step} of {total} is saved")
    return ranks.from_first(lambda: read_log(bench.folder / LOG))


def save(bench: Workbench, trainer: Trainer, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write the adapter or the checkpoint as `peft` and `transformers` load it."""
    weights = _gathered(trainer)
    if ranks.rank() == 0:
        model = trainer.accelerator.unwrap_model(trainer.model)
        _write(bench.folder, model, weights, tokenizer)
    ranks.barrier()


def _write(
    folder: Path,
    model: PreTrainedModel | PeftModel,
    weights: dict[str, Any] | None,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    if isinstance(model, PeftModel):
        # Only the trained adapter: TRL keeps the frozen reference as a second one, `ref`.
        own: dict[str, Any] = {"selected_adapters": ["default"], "state_dict": weights}
        model.save_pretrained(folder / ADAPTER, **own)
        (folder / ADAPTER / "README.md").unlink(missing_ok=True)
    else:
        model.save_pretrained(folder / CHECKPOINT, state_dict=weights)
        tokenizer.save_pretrained(folder / CHECKPOINT)


def _gathered(trainer: Trainer) -> dict[str, Any] | None:
    """The whole trained weights in fp32, where each process has a shard of them."""
    if ranks.strategy() == "fsdp":
        return dict(trainer.accelerator.get_state_dict(trainer.model))
    if ranks.strategy() == "zero3":
        # What DeepSpeed itself gathers is rounded to 16 bits; its optimiser holds all of them.
        from deepspeed.utils import safe_get_full_fp32_param

        named = [(n, p) for n, p in trainer.model.named_parameters() if p.requires_grad]
        whole = ((name, safe_get_full_fp32_param(parameter)) for name, parameter in named)
        # Every process must ask; one keeps them, since the host has memory for one copy.
        kept = [(name, weight.cpu()) for name, weight in whole if ranks.rank() == 0]
        return dict(kept)
    return None


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


def _last_whole(work: Path) -> str | None:
    """The newest checkpoint with a mark; those without one are removed."""
    if not work.is_dir():
        return None
    for checkpoint in work.glob("checkpoint-*"):
        if not (checkpoint / WHOLE).exists():
            shutil.rmtree(checkpoint)
    last = get_last_checkpoint(str(work))
    return os.fspath(last) if last else None


def _refuse_other_adapter(adapter: PeftModel, recipe: TrainConfig) -> None:
    """PEFT takes all three from the adapter that it loads."""
    found = adapter.peft_config["default"]
    has = (found.r, found.lora_alpha, found.lora_dropout)
    if has != (recipe.lora_rank, recipe.lora_alpha, recipe.lora_dropout):
        raise TrainingError(
            f"lora_rank={recipe.lora_rank}, lora_alpha={recipe.lora_alpha}, "
            f"lora_dropout={recipe.lora_dropout}: the model to start from brings an adapter with "
            f"{found.r}, {found.lora_alpha} and {found.lora_dropout}; give SFT and DPO the same, "
            "or train SFT with method=full"
        )

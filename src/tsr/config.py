"""The schema: every setting of a run, once, with its meaning, its bounds and the paper's value.

Defaults are the paper's (arXiv 2508.06026, App. A, C, D) wherever the paper states one.
Settings marked neutral never change a result and stay out of the keys.
Nothing heavy is imported here: composing and planning must stay light.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from tsr.resources import ResourcesConfig
from tsr.settings import Refused, Section, setting

SELF_JUDGE = "tsr.judges.self_judge.SelfJudge"
TEMPORAL = "tsr.variants.temporal.Temporal"


@dataclass
class ModelConfig(Section):
    """The base model Mb and how M0 comes from it."""

    name: str = setting("model", "Name in tables and run folders.", neutral=True)
    source: str = setting(
        "hub",
        "Where the weights come from: the hub, a local folder, the embedded SmolLM2, a random tiny "
        "model built on the spot, or nowhere, since a server answers (api, for judges).",
        choices=("hub", "local", "smollm2", "tiny", "api"),
    )
    repo: str | None = setting(None, "Hub id, for source=hub; the server's name of it, for api.")
    revision: str | None = setting(
        None,
        "Commit of the hub repository; null: resolved when the run starts, and recorded. For "
        "source=api any text: change it when the server's model changes under the same name.",
    )
    path: str | None = setting(None, "Checkpoint folder, for source=local.", neutral=True)
    architecture: str = setting(
        "llama", "Architecture of the tiny model.", choices=("llama", "qwen", "mistral")
    )
    template: str | None = setting(
        None,
        "Chat template: llama3, chatml, mistral, or a path to a Jinja file. "
        "Null: the tokenizer's own.",
    )
    turn_end: str | None = setting(
        None, "Token that ends a turn, where the tokenizer's eos is another one."
    )
    trust_remote_code: bool = setting(False, "Run code that comes with the model.")
    sft: str = setting(
        "ift",
        "How M0 is made: `ift` fine-tunes Mb on IFT (and EFT when given), `none` takes Mb as M0.",
        choices=("ift", "none"),
    )

    def check(self, path: str = "") -> None:
        """See Section.check; a source also needs its own setting."""
        super().check(path)
        if self.source == "hub" and not self.repo:
            raise Refused(f"{path}.repo=null: source=hub needs a hub id such as org/name")
        if self.source == "api" and not self.repo:
            raise Refused(f"{path}.repo=null: source=api needs the server's name of the model")
        if self.source == "local" and not self.path:
            raise Refused(f"{path}.path=null: source=local needs a checkpoint folder")
        if self.source == "smollm2" and (self.template or self.turn_end):
            raise Refused(f"{path}.template={self.template}: source=smollm2 brings its own")
        if self.source == "tiny" and (self.template is None) != (self.turn_end is None):
            raise Refused(f"{path}.turn_end={self.turn_end}: give template and turn_end, or none")


@dataclass
class SourceConfig(Section):
    """Where rows come from."""

    kind: str = setting(
        "starter",
        "starter: the project's own instructions; tasks: generated, checkable prompts; "
        "file: JSONL, JSON or Parquet; oasst: message trees; hub: a hub data set; none: no rows. "
        "Judging is only learnt from data.eft: `messages` with the judge's own system and user "
        "turn and a judgement, as conf/data/ultrafeedback.yaml shows.",
        choices=("starter", "tasks", "file", "oasst", "hub", "none"),
    )
    path: str | None = setting(None, "File, for kind=file and kind=oasst.", neutral=True)
    repo: str | None = setting(None, "Hub id, for kind=hub.")
    revision: str | None = setting(None, "Commit of the hub data set. Null: resolved and recorded.")
    subset: str | None = setting(None, "Configuration of the hub data set, where it has several.")
    split: str = setting("train", "Split of the hub data set.")
    prompt_field: str = setting(
        "prompt",
        "Column or key that holds the prompt, or a conversation. Its system turn is learnt by SFT; "
        "prompts are asked without one.",
    )
    response_field: str = setting("response", "Column or key that holds the reference answer.")
    id_field: str | None = setting(
        None, "Column or key that holds the row's id; null: hash of the prompt."
    )
    limit: int | None = setting(
        None, "Use this many rows, chosen by data.seed; null: all of them.", ge=1
    )

    def check(self, path: str = "") -> None:
        """See Section.check; a kind also needs its own setting."""
        super().check(path)
        if self.kind in ("file", "oasst") and not self.path:
            raise Refused(f"{path}.path=null: kind={self.kind} needs a file")
        if self.kind == "hub" and not self.repo:
            raise Refused(f"{path}.repo=null: kind=hub needs a hub id such as org/name")


@dataclass
class DataConfig(Section):
    """Prompts of the iterations and the rows of SFT."""

    prompts: SourceConfig = field(default_factory=lambda: SourceConfig(kind="tasks"))
    ift: SourceConfig = field(default_factory=SourceConfig)
    eft: SourceConfig = field(default_factory=lambda: SourceConfig(kind="none"))
    prompts_per_iteration: int = setting(
        4000, "Size of p_i, the disjoint prompt set of an iteration.", ge=1
    )
    heldout: int = setting(0, "Prompts kept out of all iterations, for evaluation.", ge=0)
    duplicates: str = setting(
        "remove",
        "The same prompt twice, across iterations or in IFT as well: remove it, or refuse to run.",
        choices=("remove", "refuse"),
    )
    seed: int = setting(0, "Seed of generated prompts and of the split.", ge=0)

    def check(self, path: str = "") -> None:
        """See Section.check; prompts are needed, and SFT rows need answers."""
        super().check(path)
        if self.prompts.kind == "none":
            raise Refused(f"{path}.prompts.kind=none: a run needs prompts")
        for name in ("ift", "eft"):
            if getattr(self, name).kind == "tasks":
                raise Refused(f"{path}.{name}.kind=tasks: generated tasks have no answers to learn")


@dataclass
class SamplingConfig(Section):
    """How candidates are drawn (paper App. A, C)."""

    temperature: float = setting(1.0, "Softmax temperature.", gt=0)
    top_p: float = setting(1.0, "Nucleus mass.", gt=0, le=1)
    max_new_tokens: int = setting(1024, "Longest answer in tokens.", ge=1)


@dataclass
class VLLMConfig(Section):
    """How a vLLM engine is run. Nothing here changes a result beyond the rounding of sums."""

    serve: str = setting(
        "auto",
        "How an adapter answers: beside the base as LoRA, several in one batch (adapters), or "
        "merged and pushed into the running engine (weights). auto: weights on a CPU, where LoRA "
        "decodes about nine times slower; adapters on a GPU.",
        choices=("auto", "adapters", "weights"),
        neutral=True,
    )
    process: str = setting(
        "auto",
        "Where the engine lives: in this process (inside), or in one of its own that gives all "
        "memory back when it ends (own). auto: inside on a CPU, own on a GPU.",
        choices=("auto", "inside", "own"),
        neutral=True,
    )
    between: str = setting(
        "auto",
        "What it does while a model trains: stay, sleep (memory given back, weights kept in host "
        "memory), or end. auto: stay on a CPU, sleep on a GPU.",
        choices=("auto", "stay", "sleep", "end"),
        neutral=True,
    )
    adapters: int = setting(3, "Adapters that may share a batch.", ge=1, neutral=True)
    max_lora_rank: int = setting(
        64, "Highest rank of an adapter that is served as one.", ge=1, le=512, neutral=True
    )
    compile: str = setting(
        "auto",
        "Compile the model and capture graphs: minutes at the start, faster after. auto: on a GPU.",
        choices=("auto", "yes", "no"),
        neutral=True,
    )
    kv_cache_gib: int = setting(2, "Memory for keys and values on a CPU.", ge=1, neutral=True)


@dataclass
class ServerConfig(Section):
    """How an OpenAI-compatible server is asked."""

    url: str = setting("http://127.0.0.1:8000/v1", "Where the server is.", neutral=True)
    served: str | None = setting(
        None,
        "The server's name of the run's base model; null: the only one that it lists. Adapters are "
        "loaded into the server, which must see their files.",
        neutral=True,
    )
    key_env: str = setting(
        "OPENAI_API_KEY", "Environment variable that holds the key.", neutral=True
    )
    concurrency: int = setting(32, "Questions under way at the same time.", ge=1, neutral=True)
    timeout_s: float = setting(600.0, "Longest wait for an answer.", gt=0, neutral=True)
    retries: int = setting(
        6, "Further tries after 429, 5xx, time-outs and garbage.", ge=0, neutral=True
    )

    def check(self, path: str = "") -> None:
        """See Section.check; a key given where its variable's name belongs is not repeated."""
        super().check(path)
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.key_env):
            raise Refused(
                f"{path}.key_env: must be the name of an environment variable (capitals, digits "
                "and _); the key itself is never written down"
            )


@dataclass
class EngineConfig(Section):
    """What generates."""

    name: str = setting(
        "transformers",
        "Engine family; part of every key. reward: a sequence classifier, for judge=reward_model.",
        choices=("transformers", "vllm", "openai", "reward", "scripted"),
    )
    dtype: str = setting("bf16", "Precision of the weights.", choices=("bf16", "fp32"))
    context: int | None = setting(
        None,
        "Longest prompt and answer, in tokens; null: as long as the model takes.",
        ge=8,
        reproduces=None,
    )
    prefill: bool = setting(
        True,
        "Whether a server can go on from an answer's given opening (vLLM's can, public ones do "
        "not); for engine=openai.",
        reproduces=True,
    )
    batch_size: int = setting(64, "Samples decoded together.", ge=1, neutral=True)
    block: int = setting(
        256,
        "Samples between two savings; a killed stage loses at most one block.",
        ge=1,
        neutral=True,
    )
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, ...", neutral=True)
    vllm: VLLMConfig = setting(factory=VLLMConfig, neutral=True)
    server: ServerConfig = setting(factory=ServerConfig, neutral=True)


@dataclass
class NoiseConfig(Section):
    """Seeded noise on a judge's scores: how much of it does a method bear?"""

    sd: float = setting(
        0.0, "Standard deviation of normal noise, in points; kept on the scale.", ge=0
    )
    flip: float = setting(0.0, "Share of judgements mirrored on the scale.", ge=0, le=1)
    drop: float = setting(0.0, "Share of judgements that go missing.", ge=0, le=1)
    seed: int = setting(0, "Seed of the noise.", ge=0)

    @property
    def none(self) -> bool:
        """Whether nothing is changed."""
        return self.sd == self.flip == self.drop == 0


@dataclass
class JudgeConfig(Section):
    """Who scores, and how."""

    name: str = setting("self", "Name in tables.", neutral=True)
    _target_: str = setting(SELF_JUDGE, "The judge's class; see tsr.judges.base.Judge.")
    model: ModelConfig | None = setting(
        None, "An external judge's model; null: the run's own models judge."
    )
    engine: EngineConfig | None = setting(
        None, "What an external judge answers with; null: the run's engine."
    )
    scoring: str = setting(
        "text",
        "text: sample a justification and read the score from it (paper); "
        "expected: probability-weighted score over the score tokens, without text.",
        choices=("text", "expected"),
    )
    n: int = setting(1, "Judgements per candidate.", ge=1)
    phase1: str = setting("current", "Which model judges in phase 1.", choices=("current", "m0"))
    phase2: str = setting(
        "current", "Which model judges in phase 2.", choices=("current", "m0", "future")
    )
    prompt_file: str | None = setting(
        None,
        "File with the judge's placeholders ({prompt} and {response}) to be used as its prompt; "
        "null: the project's own.",
        neutral=True,  # the text itself is in the key
    )
    system_file: str | None = setting(
        None, "File with the judge's system prompt; null: the project's own.", neutral=True
    )
    low: float = setting(0.0, "Lowest score of the scale.")
    high: float = setting(5.0, "Highest score of the scale.")
    temperature: float = setting(1.0, "Temperature of text judgements.", ge=0)
    top_p: float = setting(1.0, "Nucleus mass of text judgements.", gt=0, le=1)
    max_new_tokens: int = setting(1024, "Longest judgement in tokens.", ge=1)
    options: dict[str, Any] = setting(help="Settings of a judge's own.", factory=dict)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    members: dict[str, "JudgeConfig"] = setting(
        help="Judges of an ensemble, by name; each may have a model and noise of its own.",
        factory=dict,
    )
    weights: dict[str, float] = setting(
        help="Members' weights in the mean; a member without one has weight 1.", factory=dict
    )

    def check(self, path: str = "") -> None:
        """See Section.check; a scale also needs room."""
        super().check(path)
        if self.low >= self.high:
            raise Refused(f"{path}.low={self.low}: must be < {path}.high={self.high}")
        if self.scoring == "expected" and self.n > 1:
            raise Refused(f"{path}.n={self.n}: scoring=expected is exact, n must be 1")
        if self.engine is not None and self.model is None:
            raise Refused(f"{path}.engine: the run's own models judge with the run's engine")
        for name, member in self.members.items():
            member.check(f"{path}.members.{name}")
        for name, weight in self.weights.items():
            if name not in self.members or not 0 < weight < math.inf:
                raise Refused(
                    f"{path}.weights.{name}={weight}: must be > 0, finite, and of a member "
                    f"({', '.join(self.members) or 'there are none'})"
                )


@dataclass
class PairingConfig(Section):
    """How scored candidates become pairs: the choices that the paper leaves open, named."""

    margin: float = setting(
        0.0, "A pair needs score(chosen) - score(rejected) > margin (strict, paper: 0).", ge=0
    )
    margin_unit: str = setting(
        "points",
        "What the margin is counted in: the judge's points, or shares of its scale.",
        choices=("points", "scale"),
        reproduces="points",
    )
    anchor_rule: str = setting(
        "lt",
        "M0's answer is rejected when min(s_0) is less (lt, paper) or less-or-equal (le).",
        choices=("lt", "le"),
    )
    future_rule: str = setting(
        "gt",
        "Mf's answer is chosen when max(s_f) is greater (gt, paper) or greater-or-equal (ge).",
        choices=("gt", "ge"),
    )
    ties: str = setting(
        "first",
        "Which of several equally scored candidates of one pool is taken.",
        choices=("first", "random", "shortest", "longest"),
    )
    identical: str = setting(
        "drop",
        "A pair whose two texts are the same string: drop it (paper, App. B), or keep it.",
        choices=("drop", "keep"),
    )
    empty: str = setting(
        "keep",
        "Answers without text: eligible (paper says nothing), or not.",
        choices=("keep", "exclude"),
    )
    unfinished: str = setting(
        "keep",
        "Answers cut at max_new_tokens: eligible (paper says nothing), or not.",
        choices=("keep", "exclude"),
    )
    aggregate: str = setting(
        "mean", "How valid judgements of a candidate become its score.", choices=("mean", "median")
    )


@dataclass
class VariantConfig(Section):
    """The method, and the choices in it that people argue about."""

    name: str = setting("temporal", "Name in tables.", neutral=True)
    _target_: str = setting(TEMPORAL, "The variant's class; see tsr.variants.base.Variant.")
    anchor: str | None = setting(
        "m0",
        "Model whose answers may be rejected: M0 (paper), the previous iterate, or the base Mb.",
        choices=("m0", "previous", "base"),
    )
    anchor_pool: str = setting(
        "fresh",
        "Anchor answers where anchor and current model are the same (iteration 0): a fresh draw "
        "(paper), or shared with the current model's own.",
        choices=("fresh", "shared"),
    )
    start: str = setting(
        "current",
        "Model that the last training of an iteration starts from: Mi (paper), M0, or Mf.",
        choices=("current", "m0", "future"),
    )
    reference: str = setting(
        "current",
        "DPO reference: Mi (paper), M0, or whatever the training starts from.",
        choices=("current", "m0", "start"),
    )
    phase2_prompts: str = setting(
        "same", "Prompts of phase 2: those of phase 1 (paper), or fresh.", choices=("same", "fresh")
    )
    options: dict[str, Any] = setting(help="Settings of a variant's own.", factory=dict)


@dataclass
class TrainConfig(Section):
    """What SFT and DPO have in common (paper App. D)."""

    method: str = setting("full", "All weights, or a LoRA adapter.", choices=("full", "lora"))
    lora_rank: int | None = setting(None, "Rank of the adapter; null with method=full.", ge=1)
    lora_alpha: int = setting(32, "Scale of the adapter is alpha / rank.", ge=1)
    lora_dropout: float = setting(0.0, "Dropout in the adapter.", ge=0, lt=1)
    learning_rate: float = setting(5.0e-7, "Peak learning rate.", gt=0)
    epochs: int = setting(1, "Passes over the data.", ge=1)
    batch_size: int = setting(32, "Rows (pairs) per optimiser step, over all devices.", ge=1)
    micro_batch: int = setting(4, "Rows per device and forward pass.", ge=1, neutral=True)
    schedule: str = setting(
        "cosine", "Learning-rate schedule.", choices=("cosine", "linear", "constant_with_warmup")
    )
    warmup: float = setting(0.1, "Share of the steps spent warming up.", ge=0, lt=1)
    weight_decay: float = setting(0.0, "AdamW's decay (not stated in the paper).", ge=0)
    max_grad_norm: float = setting(1.0, "Gradient clipping.", gt=0)
    max_length: int = setting(2048, "Longest prompt and answer in tokens.", ge=8)
    precision: str = setting(
        "bf16",
        "bf16: fp32 master weights under bf16 autocast; fp32: fp32 throughout.",
        choices=("bf16", "fp32"),
    )
    gradient_checkpointing: bool = setting(
        True, "Recompute activations: less memory, more time.", neutral=True
    )
    checkpoint_steps: int = setting(
        50, "Steps between checkpoints; a killed training loses at most these.", ge=1, neutral=True
    )

    def check(self, path: str = "") -> None:
        """See Section.check; the adapter's settings belong to method=lora only."""
        super().check(path)
        if self.method == "full" and self.lora_rank is not None:
            raise Refused(
                f"{path}.lora_rank={self.lora_rank}: {path}.method=full has no adapter; "
                f"allowed: null, or {path}.method=lora"
            )
        if self.method == "lora" and self.lora_rank is None:
            raise Refused(f"{path}.lora_rank=null: {path}.method=lora needs a rank >= 1")
        if self.batch_size % self.micro_batch:
            raise Refused(
                f"{path}.micro_batch={self.micro_batch}: "
                f"must divide {path}.batch_size={self.batch_size}"
            )


@dataclass
class SFTConfig(TrainConfig):
    """Supervised fine-tuning of Mb into M0 (paper App. D)."""

    learning_rate: float = setting(2.0e-6, "Peak learning rate.", gt=0)
    epochs: int = setting(3, "Passes over the data.", ge=1)


@dataclass
class DPOConfig(TrainConfig):
    """Direct preference optimisation (paper App. D)."""

    beta: float = setting(0.1, "Strength of the pull towards the reference.", gt=0)
    max_prompt_length: int = setting(
        512, "Pairs with a longer prompt, in tokens, are left out and counted.", ge=1
    )
    loss: list[str] = setting(
        help="TRL's loss types, summed with loss_weights; RPO is [sigmoid, sft].",
        factory=lambda: ["sigmoid"],
    )
    loss_weights: list[float] | None = setting(None, "One weight per loss; null: all 1.")
    label_smoothing: float = setting(
        0.0, "Assumed share of wrong preferences; for losses robust and exo_pair.", ge=0, lt=0.5
    )

    def check(self, path: str = "") -> None:
        """See Section.check; losses must be TRL's."""
        super().check(path)
        for name in self.loss:
            if name not in LOSSES:
                raise Refused(f"{path}.loss={name}: must be one of {', '.join(LOSSES)}")
        if "exo_pair" in self.loss and self.label_smoothing == 0:
            raise Refused(f"{path}.label_smoothing=0: loss exo_pair needs a value > 0")
        if self.label_smoothing > 0 and not SMOOTHED & set(self.loss):
            raise Refused(
                f"{path}.label_smoothing={self.label_smoothing}: no loss of {path}.loss="
                f"{self.loss} reads it; allowed: 0, or one of {', '.join(sorted(SMOOTHED))}"
            )
        if self.loss_weights is not None and len(self.loss_weights) != len(self.loss):
            raise Refused(f"{path}.loss_weights={self.loss_weights}: needs one weight per loss")


# TRL's aot and aot_unpaired are not among them: they sort the pairs of a micro-batch, so that
# micro_batch and the number of processes, which are neutral, would decide what is learnt.
LOSSES = (
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard",
    "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
)  # fmt: skip
SMOOTHED = {"exo_pair", "robust"}


@dataclass
class Train(Section):
    """The two trainings."""

    sft: SFTConfig = field(default_factory=SFTConfig)
    dpo: DPOConfig = field(default_factory=DPOConfig)


@dataclass
class DiagnoseConfig(Section):
    """What is measured on the pairs of each iteration."""

    similarity: bool = setting(
        True, "Cosine of chosen and rejected features under Mi (paper, Fig. 1): one forward each."
    )
    layer: int = setting(-1, "Hidden layer of the features; -1 is the last.")
    pooling: str = setting(
        "mean",
        "Over the answer's tokens: their mean, or the last (not stated in the paper).",
        choices=("mean", "last"),
    )
    max_pairs: int | None = setting(256, "Pairs measured, from the first; null: all.", ge=1)


@dataclass
class EvalConfig(Section):
    """Each model's score on held-out prompts, by the share of constraints that it fulfils."""

    samples: int = setting(4, "Answers per held-out prompt.", ge=1)


@dataclass
class TrackerConfig(Section):
    """Where metrics go, apart from the run folder."""

    name: str = setting("none", "Tracker.", choices=("none", "wandb"), neutral=True)
    mode: str = setting(
        "offline", "wandb's mode.", choices=("online", "offline", "disabled"), neutral=True
    )
    project: str = setting("tsr", "wandb's project.", neutral=True)
    entity: str | None = setting(None, "wandb's entity.", neutral=True)
    group: str | None = setting(None, "wandb's group; null: model and judge.", neutral=True)


@dataclass
class RunConfig(Section):
    """A run: one method on one model, as often as `iterations` says."""

    model: ModelConfig = field(default_factory=ModelConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    variant: VariantConfig = field(default_factory=VariantConfig)
    data: DataConfig = field(default_factory=DataConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    train: Train = field(default_factory=Train)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    pairing: PairingConfig = field(default_factory=PairingConfig)
    diagnose: DiagnoseConfig = field(default_factory=DiagnoseConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)
    k: int = setting(7, "Candidates per prompt and model.", ge=1)
    iterations: int = setting(2, "Iterations; the paper runs 2 (temporal) and 4 (baselines).", ge=1)
    seed: int = setting(0, "Seed of sampling, judging and training.", ge=0)
    name: str | None = setting(
        None, "Run folder's name; null: made from the choices.", neutral=True
    )
    store: str = setting("store", "Folder of the store, shared by all runs.", neutral=True)
    store_check: str = setting(
        "hash", "What is checked when an artifact is read.", choices=("hash", "size"), neutral=True
    )
    runs: str = setting("runs", "Folder of the run folders.", neutral=True)

    def check(self, path: str = "") -> None:
        """See Section.check; an adapter that SFT makes is the one that DPO goes on training."""
        super().check(path)
        if self.model.source == "api":
            raise Refused("model.source=api: what a server has cannot be trained; it may judge")
        if self.engine.name == "reward":
            raise Refused("engine.name=reward: makes no text; it is for judge.engine")
        for name in ("sft", "dpo"):
            self._check_spread(name)
        self._check_adapters()

    def _check_adapters(self) -> None:
        sft, dpo = self.train.sft, self.train.dpo
        chained = self.model.sft == "ift" and sft.method == dpo.method == "lora"
        adapters = [(t.lora_rank, t.lora_alpha, t.lora_dropout) for t in (sft, dpo)]
        if chained and adapters[0] != adapters[1]:
            raise Refused(
                f"train.dpo.lora_rank={dpo.lora_rank}, lora_alpha={dpo.lora_alpha}, "
                f"lora_dropout={dpo.lora_dropout}: must be those of train.sft ({sft.lora_rank}, "
                f"{sft.lora_alpha}, {sft.lora_dropout}), which DPO goes on training"
            )

    def _check_spread(self, name: str) -> None:
        """An optimiser step's rows must share out evenly over the processes of a training."""
        rows: int = getattr(self.train, name).batch_size
        nodes = self.resources.slurm.of(name).nodes or 1
        processes = self.resources.training.processes
        if rows % (processes * nodes):
            raise Refused(
                f"train.{name}.batch_size={rows}: must be a multiple of "
                f"resources.training.processes={processes} x resources.slurm.{name}.nodes={nodes}"
            )

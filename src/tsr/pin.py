"""Hub revisions that a config leaves open are resolved when a run starts, and so are in the key."""

from collections.abc import Iterator
from copy import deepcopy

from tsr.config import JudgeConfig, ModelConfig, RunConfig, SourceConfig
from tsr.settings import Refused


def unpinned(config: RunConfig) -> list[str]:
    """The fields that name something on the hub without saying which commit of it."""
    return [f"{field}.revision" for field, _, _ in _open(config)]


def pinned(config: RunConfig) -> RunConfig:
    """The same config with every open revision resolved on the hub. Refused where that fails."""
    config = deepcopy(config)
    for field, place, kind in _open(config):
        place.revision = _resolve(f"{field}.revision", str(place.repo), kind)
    return config


def _open(config: RunConfig) -> list[tuple[str, ModelConfig | SourceConfig, str]]:
    """(field, section, kind of hub repository) of each that has no revision."""
    models = [("model", config.model), *_judges("judge", config.judge)]
    sources = [(f"data.{n}", getattr(config.data, n)) for n in ("prompts", "ift", "eft")]
    found = [(f, m, "model") for f, m in models if m.source == "hub" and m.revision is None]
    return found + [(f, s, "dataset") for f, s in sources if s.kind == "hub" and s.revision is None]


def _judges(field: str, judge: JudgeConfig) -> Iterator[tuple[str, ModelConfig]]:
    """The models of external judges, members of ensembles among them."""
    if judge.model is not None:
        yield f"{field}.model", judge.model
    for name, member in judge.members.items():
        yield from _judges(f"{field}.members.{name}", member)


def _resolve(field: str, repo: str, kind: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # of the HTTP client that the hub's library uses

    try:
        return str(HfApi().repo_info(repo, repo_type=kind).sha)
    except (HTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise Refused(
            f"{field}=null: the hub could not be asked for {repo} ({reason}); "
            f"give the commit: {field}=COMMIT"
        ) from error

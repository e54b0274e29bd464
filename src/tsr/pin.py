"""Hub revisions that a config leaves open are resolved when a run starts, and so are in the key."""

from dataclasses import replace
from typing import Any

from tsr.config import RunConfig, SourceConfig
from tsr.settings import Refused


def unpinned(config: RunConfig) -> list[str]:
    """The fields that name something on the hub without saying which commit of it."""
    fields = []
    if config.model.source == "hub" and config.model.revision is None:
        fields.append("model.revision")
    for name in ("prompts", "ift", "eft"):
        source: SourceConfig = getattr(config.data, name)
        if source.kind == "hub" and source.revision is None:
            fields.append(f"data.{name}.revision")
    return fields


def pinned(config: RunConfig) -> RunConfig:
    """The same config with every open revision resolved on the hub. Refused where that fails."""
    for field in unpinned(config):
        if field == "model.revision":
            revision = _resolve(field, str(config.model.repo), "model")
            config = replace(config, model=replace(config.model, revision=revision))
        else:
            name = field.split(".")[1]
            source: SourceConfig = getattr(config.data, name)
            revision = _resolve(field, str(source.repo), "dataset")
            changed: dict[str, Any] = {name: replace(source, revision=revision)}
            data = replace(config.data, **changed)
            config = replace(config, data=data)
    return config


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

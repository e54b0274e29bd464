"""Prompts: disjoint sets p_i, one per iteration, and a held-out set."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tsr.config import SourceConfig
from tsr.data.load import BadData, dedupe, file_sha256, hub_rows, oasst_rows, read_rows
from tsr.data.rows import Row
from tsr.data.starter import STARTER, starter_rows
from tsr.data.tasks import VERSION, tasks
from tsr.jsonl import read_jsonl, write_jsonl
from tsr.settings import Refused, setting
from tsr.stage import Stage
from tsr.workbench import Workbench

HELDOUT = -1


@dataclass(frozen=True)
class Source:
    """A pool of rows, known by the hash of its file, its hub revision, or its generator's seed."""

    kind: str
    seed: int
    content: str | None = None
    repo: str | None = None
    revision: str | None = None
    subset: str | None = None
    split: str | None = None
    prompt_field: str = "prompt"
    response_field: str = "response"
    id_field: str | None = None
    limit: int | None = None
    path: str | None = setting(None, neutral=True)

    @classmethod
    def of(cls, field: str, config: SourceConfig, seed: int) -> "Source":
        """The source that a config names; a file is hashed now."""
        hub = config.kind == "hub"
        return cls(
            kind=config.kind,
            seed=seed,
            content=_content(field, config),
            repo=config.repo if hub else None,
            revision=config.revision if hub else None,
            subset=config.subset if hub else None,
            split=config.split if hub else None,
            prompt_field=config.prompt_field,
            response_field=config.response_field,
            id_field=config.id_field,
            limit=config.limit,
            path=config.path if config.kind in ("file", "oasst") else None,
        )

    def rows(self, count: int) -> list[Row]:
        """The pool in its lasting random order; a generator makes `count` rows."""
        if self.kind == "tasks":
            return tasks(count if self.limit is None else min(count, self.limit), self.seed)
        rows = sorted(self._read(), key=lambda row: row.id)
        random.Random(self.seed).shuffle(rows)
        return rows[: self.limit]

    def _read(self) -> list[Row]:
        if self.path and file_sha256(Path(self.path)) != self.content:
            raise BadData(f"{self.path} has changed since the run was composed; start it again")
        fields: dict[str, Any] = {
            "prompt_field": self.prompt_field,
            "response_field": self.response_field,
            "id_field": self.id_field,
        }
        if self.kind == "starter":
            return starter_rows()
        if self.kind == "oasst":
            return oasst_rows(Path(str(self.path)))
        if self.kind == "file":
            return read_rows(Path(str(self.path)), **fields)
        place = (str(self.repo), self.revision or "", str(self.split))  # no revision: refused there
        return hub_rows(*place, subset=self.subset, **fields)


@dataclass(frozen=True, eq=False, repr=False)
class Prompts(Stage):
    """One part of the pool: the held-out part first, then `size` prompts per iteration.

    part: the iteration's index, or HELDOUT. heldout: size of the held-out part.
    against: a source whose prompts must not appear (IFT), or None.
    Writes `prompts.jsonl` with id, prompt, constraints.
    """

    kind: ClassVar[str] = "prompts"
    needs: ClassVar[str] = "light"

    source: Source
    part: int
    size: int
    heldout: int
    against: Source | None
    duplicates: str

    @property
    def count(self) -> int:
        """How many prompts there are."""
        return self.heldout if self.part == HELDOUT else self.size

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Read or generate the pool, deal with duplicates, and take this part of it."""
        start = 0 if self.part == HELDOUT else self.heldout + self.part * self.size
        end = start + self.count
        others = self.against.rows(0) if self.against else []
        # Each row of the other source can cost the pool one row, so ask for as many more.
        pool = self.source.rows(end + len(others))
        kept, removed = dedupe(pool, others, self.duplicates)
        if len(kept) < end:
            raise BadData(
                f"{self.source.kind}: {end} prompts are needed up to this part, but there are "
                f"{len(kept)} after removing {removed} duplicates; lower "
                "data.prompts_per_iteration, data.heldout or iterations, or give more prompts"
            )
        rows = [r.as_json() for r in kept[start:end]]
        write_jsonl(bench.folder / "prompts.jsonl", rows)
        return {"units": len(rows), "prompts": len(rows), "duplicates_removed": removed}

    def read(self, bench: Workbench) -> list[Row]:
        """The finished prompts."""
        return [Row.from_json(r) for r in read_jsonl(bench.artifact(self) / "prompts.jsonl")]


def _content(field: str, config: SourceConfig) -> str | None:
    if config.kind == "starter":
        return file_sha256(STARTER)
    if config.kind == "tasks":
        return f"version {VERSION}"
    if config.kind == "hub":
        return None
    path = Path(str(config.path))
    if not path.is_file():
        raise Refused(f"{field}.path={config.path}: no such file")
    return file_sha256(path)

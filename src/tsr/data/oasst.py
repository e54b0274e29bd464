"""Rows from OpenAssistant message trees (JSONL, one tree a line)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tsr.data.fields import BadData, Fields
from tsr.data.files import objects
from tsr.data.rows import Row


def oasst_rows(path: Path, *, answered: bool = True) -> list[Row]:
    """First turns: the prompt and its reply of rank 0, as in the IFT sets of the literature.

    Messages marked `synthetic` or `deleted` are left out. answered: leave out prompts without a
    reply of rank 0 as well; otherwise they come without a response. Raises BadData.
    """
    rows = [row for place in objects(path) for row in _row(*place)]
    kept = [row for row in rows if row.response is not None or not answered]
    if not kept:
        raise BadData(f"{path}: holds no human prompt" + (" with a reply of rank 0" * answered))
    return kept


def _row(where: str, tree: Any) -> list[Row]:
    prompt = tree.get("prompt") if isinstance(tree, Mapping) else None
    if not isinstance(prompt, Mapping):
        raise BadData(f"{where}: no message tree: it has no prompt object")
    if not _human(prompt):
        return []
    replies = [r for r in prompt.get("replies") or () if _human(r) and r.get("rank") == 0]
    best = replies[0].get("text") if replies else None
    row = {"text": prompt.get("text"), "id": prompt.get("message_id"), "response": best}
    return [Fields(prompt="text", id="id").row(where, row)]


def _human(message: Mapping[str, Any]) -> bool:
    return not (message.get("synthetic") or message.get("deleted"))

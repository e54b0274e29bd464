"""What the generated prompts ask for, before any constraint."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from tsr.data.dice import Dice

WORDS: Final[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("task_words.toml").read_text("utf-8")
)


def draw_ask(dice: Dice) -> tuple[str, str]:
    """A sentence that asks for something, filled, and the style of what it asks for."""
    ask = dice.pick(WORDS["asks"])
    fillers = WORDS["fillers"]
    sentence = dice.pick(ask["sentences"])
    return re.sub(r"\{(\w+)\}", lambda m: dice.pick(fillers[m[1]]), sentence), ask["style"]


def draw_record(dice: Dice) -> tuple[str, tuple[str, ...]]:
    """A sentence that asks for an invention, and the keys of the JSON object that describes it."""
    what = dice.pick(tuple(WORDS["records"]))
    keys = dice.some(WORDS["records"][what], dice.between(2, 3))
    return f"Invent {what} {dice.pick(WORDS['invention']['purpose'])}.", keys

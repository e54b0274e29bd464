"""Answers that people have ranked, from the forms in which such data comes."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tsr.data.fields import BadData, Fields
from tsr.data.files import SUFFIXES, Placed, objects
from tsr.data.rows import normalised


@dataclass(frozen=True)
class LabelledAnswer:
    """rank: any finite number, lower is better; equal ranks say that neither is better."""

    text: str
    rank: float


@dataclass(frozen=True)
class Question:
    """A prompt with two or more ranked answers. group: the file (or subset) that it is from."""

    id: str
    prompt: str
    answers: tuple[LabelledAnswer, ...]
    group: str

    @property
    def ordered(self) -> list[tuple[int, int]]:
        """(better, worse): indices of every two answers that differ in rank."""
        ranks = [answer.rank for answer in self.answers]
        every = range(len(ranks))
        return [(a, b) for a in every for b in every if ranks[a] < ranks[b]]


EXPECTED: Final[Mapping[str, str]] = {
    "llmbar": "{input, output_1, output_2, label: 1 or 2}",
    "oasst": "a message tree {prompt: {text, message_id, replies: [{text, rank}]}}",
    "ranked": "{prompt, answers: two or more of {text, rank}} and perhaps an id",
}


def read_labelled(path: Path, fmt: str = "auto") -> list[Question]:
    """The distinct questions of a file, or of all data files of a folder in order of name.

    fmt: a key of EXPECTED, or "auto" for what the first record of each file looks like.
    Raises BadData, naming the file and record, also where no two answers differ in rank.
    """
    return distinct(read_all(path, fmt))


def read_all(path: Path, fmt: str = "auto") -> list[Question]:
    """As `read_labelled`, with questions that come more than once: to count those."""
    if fmt != "auto" and fmt not in EXPECTED:
        raise BadData(f"format {fmt}: must be one of auto, {', '.join(EXPECTED)}")
    questions = [question for file in _files(path) for question in _read(file, fmt)]
    if not any(question.ordered for question in questions):
        raise BadData(f"{path}: holds no question with two answers that differ in rank")
    return questions


def distinct(questions: Iterable[Question]) -> list[Question]:
    """The first question of each id. Raises BadData where an id names unlike questions."""
    first: dict[str, Question] = {}
    for question in questions:
        known = first.setdefault(question.id, question)
        if _asked(known) != _asked(question):
            raise BadData(
                f"id {question.id} names two questions, in {known.group} and {question.group}; "
                "give each its own, or none to have one made from the content"
            )
    return list(first.values())


def question_id(prompt: str, texts: Sequence[str]) -> str:
    """First 16 hex digits of the SHA-256 of the normalised prompt and the answers' texts.

    Labels are no part of it: what a judge is asked does not depend on them.
    """
    content = json.dumps([normalised(prompt), *texts])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _asked(question: Question) -> tuple[str, ...]:
    return normalised(question.prompt), *(answer.text for answer in question.answers)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES))
    if not files:
        raise BadData(f"{path}: the folder holds no file that ends in {', '.join(SUFFIXES)}")
    return files


def _read(file: Path, fmt: str) -> list[Question]:
    placed = list(objects(file))
    if not placed:
        raise BadData(f"{file}: holds no records")
    chosen = _recognised(*placed[0]) if fmt == "auto" else fmt
    group = next(file.name.removesuffix(s) for s in SUFFIXES if file.name.endswith(s))
    return [question for place in placed for question in _questions(chosen, group, place)]


def _recognised(where: str, obj: Any) -> str:
    fields = obj if isinstance(obj, Mapping) else {}
    if {"output_1", "output_2"} & set(fields):
        return "llmbar"
    if "answers" in fields:
        return "ranked"
    if isinstance(fields.get("prompt"), Mapping):
        return "oasst"
    forms = "; ".join(f"{name}: {form}" for name, form in EXPECTED.items())
    raise BadData(f"{where}: in no form that is known. Expected one of {forms}")


def _questions(fmt: str, group: str, place: Placed) -> list[Question]:
    where, obj = place
    try:
        return READERS[fmt](where, _mapping(where, obj), group)
    except BadData as error:
        raise BadData(f"{error}. Expected: {EXPECTED[fmt]}") from error


def _llmbar(where: str, obj: Mapping[str, Any], group: str) -> list[Question]:
    prompt = _prompt(where, obj, "input")
    texts = [_text(where, obj, "output_1"), _text(where, obj, "output_2")]
    label = obj.get("label")
    if type(label) is not int or label not in (1, 2):
        raise BadData(f"{where}: label is {label!r}")
    answers = tuple(LabelledAnswer(t, float(n != label)) for n, t in enumerate(texts, 1))
    return [Question(question_id(prompt, texts), prompt, answers, group)]


def _oasst(where: str, obj: Mapping[str, Any], group: str) -> list[Question]:
    """The first turn, of human messages only; none where fewer than two replies are ranked."""
    message = _mapping(f"{where}: prompt", obj.get("prompt"))
    replies = [_mapping(f"{where}: a reply", reply) for reply in message.get("replies") or ()]
    ranked = [r for r in replies if _human(r) and r.get("rank") is not None]
    if not _human(message) or len(ranked) < 2:
        return []
    row = Fields(prompt="text", id="message_id").row(where, message)
    answers = tuple(_answer(f"{where}: reply {n}", r) for n, r in enumerate(ranked, 1))
    return [Question(row.id, row.prompt, answers, group)]


def _ranked(where: str, obj: Mapping[str, Any], group: str) -> list[Question]:
    prompt, found = _prompt(where, obj, "prompt"), obj.get("answers")
    if not isinstance(found, list) or len(found) < 2:
        raise BadData(f"{where}: answers must be a list of two or more")
    places = [(f"{where}: answer {n}", answer) for n, answer in enumerate(found, 1)]
    answers = tuple(_answer(at, _mapping(at, answer)) for at, answer in places)
    if obj.get("id") is not None:
        name = Fields(id="id").row(where, {"prompt": prompt, "id": obj["id"]}).id
    else:
        name = question_id(prompt, [answer.text for answer in answers])
    return [Question(name, prompt, answers, group)]


READERS: Final[Mapping[str, Callable[[str, Mapping[str, Any], str], list[Question]]]] = {
    "llmbar": _llmbar,
    "oasst": _oasst,
    "ranked": _ranked,
}


def _answer(where: str, obj: Mapping[str, Any]) -> LabelledAnswer:
    rank = obj.get("rank")
    if isinstance(rank, bool) or not isinstance(rank, int | float) or not math.isfinite(rank):
        raise BadData(f"{where}: rank must be a finite number, not {rank!r}")
    return LabelledAnswer(_text(where, obj, "text"), float(rank))


def _prompt(where: str, obj: Mapping[str, Any], field: str) -> str:
    known = {name: value for name, value in obj.items() if name != "constraints"}
    return Fields(prompt=field).row(where, known).prompt


def _text(where: str, obj: Mapping[str, Any], field: str) -> str:
    """An answer; an empty one is a fault of the data, as nobody can rank it."""
    if not isinstance(obj.get(field), str) or not obj[field].strip():
        raise BadData(f"{where}: {field} must be a text that is not empty")
    return Fields(prompt=field).row(where, {field: obj[field]}).prompt


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadData(f"{where}: must be an object with fields")
    return value


def _human(message: Mapping[str, Any]) -> bool:
    return not (message.get("synthetic") or message.get("deleted"))

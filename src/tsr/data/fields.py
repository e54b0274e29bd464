"""A row from an object with named fields, however a data set names them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from tsr.data.constraints import as_json, parse
from tsr.data.rows import Row, prompt_id
from tsr.settings import Refused


class BadData(ValueError):
    """Data that cannot be used. The message says where, what is wrong and what to do."""


@dataclass(frozen=True)
class Fields:
    """Which fields hold what.

    A prompt or response field holds a text, or a conversation: a list of {"role", "content"}, of
    which the first user turn or the first answer is taken, and a system turn before them. An object
    without the prompt field but with `messages` is such a conversation. Without an id field the id
    is the prompt's hash.
    """

    prompt: str = "prompt"
    response: str = "response"
    id: str | None = None

    def row(self, where: str, obj: Any) -> Row:
        """The row; `where` begins the message of BadData."""
        if not isinstance(obj, Mapping):
            raise BadData(f"{where}: must be an object with fields, not {_type(obj)}")
        if self.prompt not in obj and "messages" in obj:
            turns = obj["messages"]
            prompt = _turn(where, turns, "user")
            response: str | None = _turn(where, turns, "assistant")
            system = _system(where, turns)
        else:
            prompt = _text(where, obj, self.prompt, "user")
            response = self._response(where, obj)
            system = _system(where, obj[self.prompt], obj.get(self.response))
        if not prompt.strip():
            raise BadData(f"{where}: the prompt is empty")
        name = prompt_id(prompt) if self.id is None else _id(where, obj, self.id)
        return Row(name, prompt, response, _constraints(where, obj), system)

    def _response(self, where: str, obj: Mapping[str, Any]) -> str | None:
        # The default name may be absent: prompts need no answers. A name that was given may not.
        if self.response == Fields.response and self.response not in obj:
            return None
        if obj.get(self.response, "") is None:
            return None
        answer = _text(where, obj, self.response, "assistant")
        return answer if answer.strip() else None


def _text(where: str, obj: Mapping[str, Any], field: str, role: str) -> str:
    value = _required(where, obj, field)
    if isinstance(value, list):
        return _turn(f"{where}: {field}", value, role)
    if not isinstance(value, str):
        raise BadData(f"{where}: {field} must be a text or a list of messages, not {_type(value)}")
    return _whole(f"{where}: {field}", value)


def _required(where: str, obj: Mapping[str, Any], field: str) -> Any:
    if field not in obj:
        raise BadData(f"{where}: no field {field}; it has {', '.join(map(str, obj)) or 'none'}")
    return obj[field]


def _turn(where: str, turns: Any, role: str) -> str:
    """The first turn of a role; an answer that comes before any user turn is a greeting."""
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise BadData(f"{where}: messages must be a list, not {_type(turns)}")
    for turn in turns:
        if not isinstance(turn, Mapping) or not isinstance(turn.get("content"), str):
            raise BadData(f"{where}: a message must be an object with a role and a content text")
    roles = [turn.get("role") for turn in turns]
    start = roles.index("user") if "user" in roles else 0
    if role not in roles[start:]:
        raise BadData(f"{where}: the messages have no {role} turn")
    return _whole(where, turns[roles.index(role, start)]["content"])


def _system(where: str, *talks: Any) -> str | None:
    """The system turn before the first user turn, of the first conversation that has one."""
    for turn in (turn for talk in talks if isinstance(talk, list) for turn in _opening(talk)):
        if turn.get("role") == "system" and turn["content"].strip():
            return _whole(where, turn["content"])
    return None


def _opening(turns: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return takewhile(lambda turn: turn.get("role") != "user", turns)


def _whole(where: str, text: str) -> str:
    # JSON can name half of a character (\ud800), which no file can hold.
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise BadData(f"{where} holds half of a character (a lone surrogate)")
    return text


def _id(where: str, obj: Mapping[str, Any], field: str) -> str:
    value = _required(where, obj, field)
    if isinstance(value, bool) or not isinstance(value, str | int) or str(value).strip() == "":
        raise BadData(f"{where}: {field} must be a text or a whole number, not {_type(value)}")
    return str(value)


def _constraints(where: str, obj: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    value = obj.get("constraints")
    if not isinstance(value, list | None):
        raise BadData(f"{where}: constraints must be a list, not {_type(value)}")
    try:
        return tuple(as_json(parse(_present(constraint))) for constraint in value or ())
    except Refused as error:
        raise BadData(f"{where}: {error}") from error


def _present(constraint: Any) -> Any:
    # Parquet gives every object of a column the keys of all of them, most of them empty.
    if not isinstance(constraint, Mapping):
        return constraint
    return {name: value for name, value in constraint.items() if value is not None}


def _type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "empty" if value is None else "a number")

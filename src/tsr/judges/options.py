"""Checks of `judge.options`: settings of one judge's own, which the schema does not know."""

from tsr.settings import Refused


def flag(name: str, value: bool) -> bool:
    """Refused unless true or false: a word such as `no` would count as true."""
    if not isinstance(value, bool):
        raise Refused(f"judge.options.{name}={value}: must be true or false")
    return value


def count(name: str, value: int | None) -> int | None:
    """Refused unless a whole number from 1 on, or null."""
    if value is None or (type(value) is int and value >= 1):
        return value
    raise Refused(f"judge.options.{name}={value}: must be a whole number >= 1, or null")

"""From a dotted name in a config to the class it names: the one place where this is done."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tsr.settings import Refused

T = TypeVar("T")


def resolve(field: str, target: str, base: type[T]) -> type[T]:
    """The subclass of `base` that `target` (package.module.Class) names. Refused otherwise."""
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Refused(f"{field}={target}: cannot be imported ({error})") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise Refused(f"{field}={target}: must be a subclass of {base.__module__}.{base.__name__}")
    return found


def call(field: str, make: Callable[..., T], options: Mapping[str, Any]) -> T:
    """`make(**options)`. Refused where it does not take these options."""
    try:
        return make(**options)
    except TypeError as error:
        raise Refused(f"{field}={dict(options)}: {error}") from error

"""Arguments of a network's constructor as a user gives them: known by name, of the right kind, or refused in words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from zerocast.workloads.errors import WorkloadError, closest

NO_DEFAULT = inspect.Parameter.empty
_OWN = ("batch", "tokens")
"""Parameters of the zoo's functions that are options of their own."""


def accepted(factory: Callable[..., Any], fixed: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Names of the arguments that a constructor takes, each with the value it has where none is given (`NO_DEFAULT`
    where nobody says). fixed: those of the zoo's entry. config: fields of the configuration that it fills."""
    parameters = inspect.signature(factory).parameters.values()
    named = {p.name: p.default for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return {name: value for name, value in {**config, **named, **fixed}.items() if name not in _OWN}


def checked(model: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the constructor takes them: whole numbers whole, lists as tuples.

    Raises `WorkloadError` for a name that it does not have, and for a value of another kind than the one it replaces.
    """
    found = {}
    for name, value in given.items():
        if name not in known:
            near = closest(name, known) if len(known) > 12 else f"it takes {', '.join(sorted(known)) or 'none'}"
            raise WorkloadError(f"model {model!r} does not take these arguments: it has no {name!r}; {near}")
        found[name] = _like(f"model {model!r}: argument {name}={value!r}", value, known[name])
    return found


def _like(what: str, value: Any, before: Any) -> Any:
    """A value of the kind of the one before it, where that has a kind."""
    if isinstance(before, bool):
        return _of(what, value, isinstance(value, bool), "true or false")
    if isinstance(before, int):
        whole = isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()
        return int(_of(what, value, whole, f"a whole number, such as {before}"))
    if isinstance(before, float):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return float(_of(what, value, number, f"a number, such as {before:g}"))
    if isinstance(before, str):
        return _of(what, value, isinstance(value, str), f"text, such as {before!r}")
    if isinstance(before, (list, tuple)):
        items = tuple(_of(what, value, isinstance(value, (list, tuple)), f"a list, such as {list(before)}"))
        return tuple(_like(what, item, before[0]) for item in items) if before else items
    return value


def _of(what: str, value: Any, right: bool, wanted: str) -> Any:
    if not right:
        raise WorkloadError(f"{what} must be {wanted}")
    return value

"""Values that users write as text: one of several names, KEY=VALUE, arguments of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from zerocast.analysis.errors import AnalysisError


def one_of(option: str, value: str, allowed: Iterable[str]) -> str:
    """The value, or `AnalysisError` with what is allowed."""
    names = list(allowed)
    if value not in names:
        raise AnalysisError(f"{option} {value!r}: choose {', '.join(names[:-1])} or {names[-1]}")
    return value


def overrides(settings: Iterable[str], option: str = "--set", example: str = "compute.rows=64") -> dict[str, Any]:
    """`key=value` settings as dotted paths and YAML values, in order. option: where they were given, for errors."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise AnalysisError(f"{option} {setting!r}: write key=value, e.g. {example}")
        try:
            values[key.strip()] = _number(yaml.safe_load(text))
        except yaml.YAMLError:
            raise AnalysisError(f"{option} {setting!r}: {text!r} is not a YAML value") from None
    return values


OWN_OPTIONS = {name: f"--{name}" for name in ("batch", "tokens", "image", "cache")}
"""Sizes of a model's input and the options that give them; "" for those that a command has no use for."""


def arguments_of(settings: Iterable[str], own: Mapping[str, str] = OWN_OPTIONS) -> tuple[tuple[str, Any], ...]:
    """`--model-arg key=value` as arguments, in the order of their names; lists as tuples. own: options of the command
    for the sizes of the input.

    Raises `AnalysisError` for a name twice, and for what has an option of its own.
    """
    listed = list(settings)
    values = overrides(listed, "--model-arg", "depth=6")
    if len(values) < len(listed):
        raise AnalysisError(f"--model-arg: an argument is there twice in {', '.join(listed)}; give each once")
    return arguments_from(values, own)


def arguments_from(values: Mapping[str, Any], own: Mapping[str, str] = OWN_OPTIONS) -> tuple[tuple[str, Any], ...]:
    """Arguments of a model by name as `Network` keeps them."""
    for name in OWN_OPTIONS:
        if name in values:
            how = f"has an option of its own: {own[name]}" if own.get(name) else "is not for this command; leave it out"
            raise AnalysisError(f"the model's argument {name!r} {how}")
    if "name" in values:
        raise AnalysisError("an argument called 'name' cannot be handed on; rename it in the factory")
    return tuple((name, _frozen(values[name])) for name in sorted(values))


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e9 as text, because it has no dot; people mean the number."""
    if isinstance(value, list):
        return [_number(item) for item in value]
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value

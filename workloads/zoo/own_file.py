"""A network from the user's own file: "path/to/file.py:factory" loaded, its factory called, mistakes named."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.user_code.blame import is_users, line, place
from zerocast.workloads.user_code.neighbours import beside
from zerocast.workloads.zoo.arguments import checked

_EMPTY = inspect.Parameter.empty
_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL,
)  # fmt: skip


def from_file(
    name: str, batch: int | None, given: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Any, tuple[Any, ...]]:
    """The module and the inputs that the factory of "file.py:factory" returns.

    batch: handed to the parameter `batch`, else to the first; None leaves a default alone and fills a parameter
    that has none with 1. given: other arguments, by name. The file's neighbours can be imported, as from a script.
    Raises `WorkloadError`, with the user's file and line where their code fails.
    """
    path, _, function = name.rpartition(":")
    if not path and Path(name).is_file():
        raise WorkloadError(f"model {name!r}: name the factory: {name}:FACTORY")
    file = Path(path or name)
    if not path or not file.is_file():
        raise WorkloadError(f"model {name!r}: the file {str(file)!r} does not exist; write path/to/file.py:factory")
    with beside([file.parent]):
        factory = _factory(name, file, function)
        positional, keywords = _arguments(name, function, factory, batch, given)
        try:
            built = factory(*positional, **keywords)
        except (Exception, SystemExit) as error:
            raise WorkloadError(f"model {name!r}: {function}() failed with {line(error)}{place(error)}") from error
    if not (isinstance(built, tuple) and len(built) == 2 and hasattr(built[0], "named_parameters")):
        raise WorkloadError(f"model {name!r}: {function}() must return (module, example_inputs)")
    return built[0], built[1] if isinstance(built[1], tuple) else (built[1],)


def _factory(name: str, file: Path, function: str) -> Callable[..., Any]:
    module = _module(name, file)
    if not hasattr(module, function):
        raise WorkloadError(f"model {name!r}: {file} has no function {function!r}")
    factory: Any = getattr(module, function)
    if not callable(factory):
        kind = type(factory).__name__
        raise WorkloadError(
            f"model {name!r}: {function!r} in {file} is not a function but a value of type {kind}; "
            "name a function that returns (module, example_inputs)"
        )
    return factory  # type: ignore[no-any-return]


def _module(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise WorkloadError(f"model {name!r}: {file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    is_free = is_users(getattr(sys.modules.get(file.stem, module), "__file__", None) or "<built in>")
    if is_free:
        sys.modules[file.stem] = module  # where dataclasses, and neighbours, look it up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if is_free:
            del sys.modules[file.stem]
        raise WorkloadError(f"model {name!r}: {file} cannot be run: {line(error)}{place(error)}; repair it") from error
    return module


def _arguments(
    name: str, function: str, factory: Callable[..., Any], batch: int | None, given: Mapping[str, Any]
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Positional and keyword arguments for the factory."""
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):  # built in, without a signature
        parameters = []
    asked = _named(name, parameters, given)
    parameters = [p for p in parameters if p.name not in asked]
    takers = [p for p in parameters if p.kind in _POSITIONAL]
    named = next((p for p in parameters if p.name == "batch" and p.kind is not p.POSITIONAL_ONLY), None)
    taker = named or next(iter(takers), None)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [p.name for p in parameters if p.default is _EMPTY and p.kind not in variadic]
    if others := [parameter for parameter in required if taker is None or parameter != taker.name]:
        raise WorkloadError(
            f"model {name!r}: {function}() asks for {', '.join(others)}, which nothing gives; give it with "
            f"--model-arg {others[0]}=VALUE, or leave it no parameter without a default but `batch`"
        )
    if taker is None:
        if batch is not None:
            raise WorkloadError(
                f"model {name!r}: {function}() takes no batch; remove --batch or give it a parameter `batch`"
            )
        return (), asked
    if batch is None and taker.name not in required:
        return (), asked
    return ((), {"batch": batch or 1, **asked}) if taker is named else ((batch or 1,), asked)


def _named(name: str, parameters: list[inspect.Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a factory takes by name; with **keywords it takes any."""
    known = {
        p.name: p.default for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "batch"
    }  # fmt: skip
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        known = {**dict.fromkeys(given), **known}
    return checked(name, given, known)

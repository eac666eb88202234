"""The folder of a user's file, on Python's search path while the file is loaded and its code runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from zerocast.workloads.user_code.blame import is_users


@contextmanager
def beside(folders: Iterable[Path]) -> Iterator[None]:
    """Imports look into `folders` first, as they do for a script that lies there.

    A module of the user's that has a neighbour's name but lies elsewhere is put away until the end, so that it is not
    taken for the neighbour. What is installed, and what belongs to this program, stays.
    """
    places = [folder.resolve() for folder in folders]
    away = {name: module for name, module in list(sys.modules.items()) if _is_mistakable(name, module, places)}
    for name in away:
        del sys.modules[name]
    added = [str(place) for place in places]
    sys.path[:0] = added
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for place in added:
            sys.path.remove(place)
        sys.modules.update(away)


def _is_mistakable(name: str, module: ModuleType, places: list[Path]) -> bool:
    """True for a module from another of the user's folders whose name an import from `places` would find there."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not is_users(file):
        return False
    home, top = Path(file).resolve(), name.partition(".")[0]
    found = any((place / f"{top}.py").is_file() or (place / top).is_dir() for place in places)
    return found and not any(home.is_relative_to(place) for place in places)


def folders_of(model: Any) -> list[Path]:
    """Where the user's own classes of a torch module are written: their code may import its neighbours when it runs."""
    kinds = {type(module) for module in model.modules()}
    files = {code.co_filename for kind in kinds if (code := getattr(kind.forward, "__code__", None)) is not None}
    return sorted({Path(file).parent for file in files if is_users(file) and Path(file).is_file()})

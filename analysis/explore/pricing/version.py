"""Which code priced a design: results of another code are not its own."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

_ROOMS = ("workloads", "accelerators", "simulator")
_OWN = ("metrics.py", "chunks.py")
"""Files of this folder that decide what is kept of a simulation."""


@cache
def code_version() -> str:
    """The package's version, and a hash of the sources that prices come from (energy and calibration tables
    included; templates not, since a design's whole description is in its key)."""
    root = Path(__file__).parents[3]
    files = [path for room in _ROOMS for kind in ("*.py", "*.yaml") for path in (root / room).rglob(kind)]
    files = [path for path in files if "templates" not in path.relative_to(root).parts]
    files += [Path(__file__).parent / name for name in _OWN]
    found = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return f"{version('zerocast')}+{found.hexdigest()[:16]}"

"""What the files that a space names hold: a run must not go on where one has changed."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.networks import content_of
from zerocast.analysis.explore.space.checks import entries
from zerocast.analysis.explore.space.definition import Space, of_workload


def files_of(space: Space) -> dict[str, str]:
    """Path of each of the user's files that results come from -> hash of its content: saved workloads, models (but
    not what these import), traces and calibrations. The accelerator's own file is part of the space's content."""
    found = {}
    for entry in entries(space):
        for file in (each for named in entry.network.files for each in (named, *_inside(named))):
            found[str(file)] = _content(file) if file.is_file() else ""
    for name in _calibrations(space):
        found[name] = _content(Path(name)) if Path(name).is_file() else ""
    return {name: content for name, content in found.items() if content}


def refuse_changed(known: Mapping[str, str], now: Mapping[str, str], run: str) -> None:
    """Raise `AnalysisError` where a file of a run holds something else than when the run began."""
    for name, content in known.items():
        if now.get(name) != content:
            raise AnalysisError(
                f"the file {name} has changed since run {run} began, so its designs would be of two networks; give "
                "another --out folder, or put the file back"
            )


def _inside(folder: Path) -> list[Path]:
    """The files of a folder with a network's configuration and weights."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _content(file: Path) -> str:
    if file.suffix == ".npz":
        try:
            return content_of(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
            pass  # said when it is read as a workload
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _calibrations(space: Space) -> Iterator[str]:
    part = space.variants.description.get("gpu")
    values: list[Any] = [part.get("calibration")] if isinstance(part, Mapping) else []
    values += [value for entry in space.entries for path, value in entry.settings.items() if path == _CALIBRATION]
    for parameter in space.parameters:
        if _CALIBRATION in parameter.paths and not any(map(of_workload, parameter.paths)):
            values += parameter.domain.ends
    yield from (value for value in values if isinstance(value, str) and value.endswith((".yaml", ".yml")))


_CALIBRATION = "gpu.calibration"

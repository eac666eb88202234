"""Workloads of a folder: each is lowered once, by the program that starts the run, and kept as a file that workers
read without PyTorch."""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from zerocast.analysis.explore.pricing.store import Lowered, Store
from zerocast.analysis.explore.pricing.version import code_version
from zerocast.analysis.explore.space.definition import digest
from zerocast.analysis.run.network import Network, Steps, lower
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.files.runs import Run, save_run
from zerocast.workloads.files.store import save
from zerocast.workloads.ir import Workload

FOLDER = "workloads"


def _with_beside(named: Path) -> list[Path]:
    """A file, what is in a folder, and of Python code the files that it may import."""
    beside = [*named.parent.glob("*.py"), *named.parent.glob("*/*.py")] if named.suffix == ".py" else []
    return [named, *sorted(beside), *(sorted(named.iterdir()) if named.is_dir() else ())]


class Networks:
    """Workloads of a folder by what they are made from."""

    def __init__(
        self, folder: Path, store: Store, steps: Steps, lowering: Callable[[Network, Steps], Workload | Run] = lower
    ) -> None:
        """lowering: what makes a workload of a network, or the run of one that has a schedule."""
        self._lowering = lowering
        self._out, self._folder = folder, folder / FOLDER
        self._store = store
        self._steps = steps
        self._known: dict[Network, Lowered] = {}
        self._sources: dict[Network, str] = {}

    def path(self, content: str) -> Path:
        """The file of a workload."""
        return file_of(self._out, content)

    def source(self, network: Network) -> str:
        """Hash of what a workload is made from: its options, this program, the user's own files that it names, and
        the Python files beside these, which they may import."""
        if network not in self._sources:
            facts = {**asdict(network), "code": code_version(), "lowering": type(self._lowering).__name__}
            for file in (each for named in network.files for each in _with_beside(named)):
                if file.is_file():
                    with file.open("rb") as content:
                        facts[f"content of {file}"] = hashlib.file_digest(content, "sha256").hexdigest()
            self._sources[network] = digest(json.dumps(facts, sort_keys=True))
        return self._sources[network]

    def lowered(self, network: Network) -> Lowered:
        """The workload, from the folder where it is there; one that cannot be made comes with the reason."""
        if network not in self._known:
            source = self.source(network)
            found = self._store.lowered(source)
            if found is None or not (found.reason or is_whole(self.path(found.content), found.content)):
                found = self._lower(network)
                self._store.note_lowered(source, found)
            self._known[network] = found
        return self._known[network]

    def _lower(self, network: Network) -> Lowered:
        try:
            made = self._lowering(network, self._steps)
        except WorkloadError as error:
            return Lowered("", math.nan, " ".join(str(error).split()))
        samples = (made if isinstance(made, Run) else Run.of(made)).samples
        return Lowered(self.keep(made), math.nan if samples is None else samples)

    def keep(self, made: Workload | Run) -> str:
        """Write a workload, or a run, into the folder; the hash of its content."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f"draft-{os.getpid()}.npz"
        draft = save_run(made, draft) if isinstance(made, Run) else save(made, draft)
        content = content_of(draft)
        draft.replace(self.path(content))
        return content


def file_of(folder: Path, content: str) -> Path:
    """The file that a folder has for a workload, by the hash of its content."""
    return folder / FOLDER / f"{content}.npz"


def is_whole(file: Path, content: str) -> bool:
    """Whether a workload file is there and holds what its name says: a full disk or a kill may have cut it."""
    try:
        return content_of(file) == content
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError):
        return False


def content_of(file: Path) -> str:
    """Hash of a workload file's content, the same however it was compressed."""
    found = hashlib.sha256()
    # opened here, since numpy leaves a file open that is no archive
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        for name in sorted(archive.files):
            array = archive[name]
            found.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode() + array.tobytes())
    return found.hexdigest()

"""Our files: one .npz with a JSON header and arrays beside it. No pickle, so that reading one never runs code."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zerocast.workloads.errors import WorkloadError

Arrays = Mapping[str, NDArray[Any]]
T = TypeVar("T")

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)
_MISFIT = (KeyError, TypeError, ValueError, IndexError, AttributeError)


@dataclass(frozen=True, slots=True)
class Archive:
    """A kind of file. what: its word in messages. remedy: what to do about a bad one."""

    what: str
    version: int
    remedy: str

    def write(self, path: str | Path, header: Mapping[str, Any], arrays: Arrays) -> Path:
        """Write to `path` (.npz is added where it has no suffix); the path written."""
        file = Path(path)
        file = file if file.suffix else file.with_suffix(".npz")
        full = {"format": f"zerocast {self.what}", "version": self.version, **header}
        text = np.frombuffer(json.dumps(full).encode(), dtype=np.uint8)
        with file.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, header=text, **arrays)
        return file

    def read(self, path: str | Path, build: Callable[[Mapping[str, Any], Arrays], T]) -> T:
        """What `build` makes of the header and arrays. Raises `WorkloadError` for a file that is missing, damaged,
        foreign or of another version; the message names file and remedy."""
        header, arrays = self._content(Path(path))
        name = f"{self.what} file {path}"
        if not isinstance(header, dict) or header.get("format") != f"zerocast {self.what}":
            raise WorkloadError(f"{name} is not a {self.what} that zerocast wrote; {self.remedy}")
        if header.get("version") != self.version:
            raise WorkloadError(
                f"{name} has format version {header.get('version')}, this program reads {self.version}; {self.remedy}"
            )
        try:
            return build(header, arrays)
        except WorkloadError as error:
            raise WorkloadError(f"{name}: {error}") from error
        except _MISFIT as error:
            raise WorkloadError(f"{name} is damaged ({error}); {self.remedy}") from error

    def _content(self, file: Path) -> tuple[Any, Arrays]:
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                header = json.loads(archive["header"].tobytes().decode())
                return header, {name: archive[name] for name in archive.files if name != "header"}
        except FileNotFoundError:
            raise WorkloadError(f"{self.what} file {file}: no such file; {self.remedy}") from None
        except _UNREADABLE as error:
            why = "not an .npz archive" if "pickle" in str(error) else str(error)  # numpy would advise to unpickle it
            raise WorkloadError(
                f"{self.what} file {file} is damaged or not a {self.what} ({why}); {self.remedy}"
            ) from error

"""Weights in files, read one tensor at a time, so that a checkpoint larger than memory shows its zeros."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zerocast.extras import need
from zerocast.workloads.checkpoint.forms import assembled
from zerocast.workloads.checkpoint.quantised import Narrow, narrow, unpacked
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.user_code.blame import reason

if TYPE_CHECKING:
    import torch

_SAFE, _TORCH = ".safetensors", (".pt", ".pth", ".bin")
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SAFE_TYPES = {
    "F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8", "F8_E5M2": "fp8", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""What safetensors calls types."""
_TYPES = {
    "torch.float64": "fp64", "torch.float32": "fp32", "torch.float16": "fp16", "torch.bfloat16": "bf16",
    "torch.float8_e4m3fn": "fp8", "torch.float8_e5m2": "fp8", "torch.int64": "int64", "torch.int32": "int32",
    "torch.int16": "int16", "torch.int8": "int8", "torch.uint8": "uint8", "torch.bool": "bool",
}  # fmt: skip
_INSIDE = ("state_dict", "model_state_dict", "model")
"""Names under which training scripts put the weights beside other things."""


@dataclass(frozen=True)
class Checkpoint:
    """Where each tensor of a checkpoint is read from; `shapes` by the names that it has in the file, and by those of
    the weights that several of these make up (`assembled`)."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    _readers: Mapping[str, Callable[[], torch.Tensor]]
    types: Mapping[str, str]
    """Of the tensors as they lie in the file."""
    narrow: Mapping[str, Narrow] = field(default_factory=dict)
    """Weights that are stored in fewer than 16 bits."""

    def plain(self, name: str) -> torch.Tensor:
        """A tensor as it lies in the file; `KeyError` where there is none."""
        return self._readers[name]()

    def read(self, name: str) -> torch.Tensor:
        """A tensor, from the file. Raises `WorkloadError` where it holds NaN or infinity, or cannot be read."""
        from zerocast.workloads.lowering.exporting.forms import dense
        from zerocast.workloads.lowering.exporting.masks import is_finite

        try:
            tensor = dense(name, self._readers[name]())
        except WorkloadError:
            raise
        except Exception as error:  # whatever a damaged file makes the reader say
            raise WorkloadError(f"weights {str(self.path)!r}: {name!r} cannot be read: {reason(error)}") from error
        if not is_finite(tensor):
            raise WorkloadError(f"weights {str(self.path)!r}: {name!r} holds NaN or infinity; repair the checkpoint")
        return tensor


def open_checkpoint(path: str | Path) -> Checkpoint:
    """The weights of a .safetensors file, of a folder of them (sharded or not), or of a .pt file of weights alone, from
    which no code is run. Raises `WorkloadError` for anything else."""
    plain = _opened(Path(path), path)
    packed = dict(unpacked(plain.shapes, plain.plain))
    whole = assembled(plain.shapes, plain.read) | {name: each[:2] for name, each in packed.items()}
    shapes = {**plain.shapes, **{name: shape for name, (shape, _) in whole.items()}}
    readers = {**plain._readers, **{name: read for name, (_, read) in whole.items()}}
    bits = {name: each[2] for name, each in packed.items()}
    return Checkpoint(plain.path, shapes, readers, plain.types, narrow(shapes, plain.types, bits))


def _opened(given: Path, path: str | Path) -> Checkpoint:
    if given.is_dir():
        return _sharded(given)
    if not given.is_file():
        raise WorkloadError(f"weights {str(path)!r}: there is no such file or folder")
    if given.suffix == _SAFE:
        return _safe(given)
    if given.suffix in _TORCH:
        return _pickled(given)
    raise WorkloadError(
        f"weights {str(path)!r}: give a {_SAFE} file, a folder of them, or a {_TORCH[0]} file of weights"
    )


def has_weights(folder: Path) -> bool:
    """Whether weights lie in a folder that `open_checkpoint` reads."""
    return bool(_weight_files(folder))


def _weight_files(folder: Path) -> list[Path]:
    """The .safetensors files of a folder; where there is none, those of torch that hold a model."""
    return sorted(folder.glob(f"*{_SAFE}")) or sorted(folder.glob("pytorch_model*.bin"))


def _sharded(folder: Path) -> Checkpoint:
    if index := next((name for name in _INDICES if (folder / name).is_file()), ""):
        try:
            names = set(json.loads((folder / index).read_text())["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise WorkloadError(f"weights {str(folder)!r}: {index} is no index of shards: {reason(error)}") from error
        if missing := sorted(name for name in names if not (folder / name).is_file()):
            raise WorkloadError(
                f"weights {str(folder)!r}: {len(missing)} of {len(names)} shards are missing, such as {missing[0]}; "
                "copy them there"
            )
        return _joined(folder, [folder / name for name in sorted(names)])
    files = _weight_files(folder)
    if not files:
        raise WorkloadError(f"weights {str(folder)!r}: the folder has no {_SAFE} file and no pytorch_model.bin")
    return _joined(folder, files)


def _joined(path: Path, files: list[Path]) -> Checkpoint:
    """Several files as one."""
    parts = [_safe(file) if file.suffix == _SAFE else _pickled(file) for file in files]
    shapes = {name: shape for part in parts for name, shape in part.shapes.items()}
    readers = {name: read for part in parts for name, read in part._readers.items()}
    return Checkpoint(path, shapes, readers, {name: kind for part in parts for name, kind in part.types.items()})


def _safe(file: Path) -> Checkpoint:
    need("safetensors", f"weights {str(file)!r}")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as held:
            parts = {name: held.get_slice(name) for name in held.keys()}  # noqa: SIM118
            shapes = {name: tuple(part.get_shape()) for name, part in parts.items()}
            types = {name: _SAFE_TYPES.get(part.get_dtype(), "") for name, part in parts.items()}
    except (SafetensorError, OSError) as error:
        raise WorkloadError(f"weights {str(file)!r} cannot be read: {reason(error)}") from error
    return Checkpoint(file, shapes, {name: _reader(file, name) for name in shapes}, types)


def _reader(file: Path, name: str) -> Callable[[], torch.Tensor]:
    """Opens the file anew, so that what was read of it before is let go."""
    from safetensors import safe_open

    def read() -> torch.Tensor:
        with safe_open(file, framework="pt") as held:
            tensor: torch.Tensor = held.get_tensor(name)
            return tensor

    return read


def _beside(held: object) -> Mapping[str, torch.Tensor]:
    """Masks that a training script saved beside its weights, under the names of these."""
    import torch

    masks = held.get("masks") if isinstance(held, Mapping) else None
    return {n: m for n, m in masks.items() if isinstance(m, torch.Tensor)} if isinstance(masks, Mapping) else {}


def _pickled(file: Path) -> Checkpoint:
    import torch

    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of how it was pickled
            held = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise WorkloadError(
            f"weights {str(file)!r}: it holds more than tensors, and code in a file is not run; save "
            "model.state_dict() alone, or safetensors"
        ) from error
    except Exception as error:
        raise WorkloadError(f"weights {str(file)!r} is no file that torch.save wrote: {reason(error)}") from error
    inner = next(
        (held[key] for key in _INSIDE if isinstance(held, Mapping) and isinstance(held.get(key), Mapping)), held
    )
    tensors = (
        {name: each for name, each in inner.items() if isinstance(each, torch.Tensor)}
        if isinstance(inner, Mapping)
        else {}
    )
    for name, mask in _beside(held).items():
        tensors.setdefault(f"{name}_mask", mask)
    if not tensors:
        raise WorkloadError(f"weights {str(file)!r}: it holds no tensors by name; save model.state_dict()")
    shapes, readers = {n: tuple(t.shape) for n, t in tensors.items()}, {n: t.clone for n, t in tensors.items()}
    return Checkpoint(file, shapes, readers, {n: _TYPES.get(str(t.dtype), "") for n, t in tensors.items()})

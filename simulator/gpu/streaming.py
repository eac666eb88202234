"""Kernels that only stream: elementwise work, normalisation, direct convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.errors import SimulationError
from zerocast.workloads.ir import Op, Tensor, Transfer, Vector

Array = NDArray[np.float64]

TOGETHER = 3.0
"""Norm that overlaps bytes with instructions, as they do in kernels of products."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """Constants of a generation's kernels that only stream.

    share: of the datasheet's off-chip bandwidth that long kernels reach (refresh, turning from reads to writes, rows
    that close). floor_s: time of the smallest kernel without the gap before it. hits: bytes that the L2 gives to an SM
    in a cycle. kept: bytes of the L2, over its size, that hold what the kernel before has left.
    """

    share: float = 0.88
    floor_s: float = 1.0e-6
    hits: float = 16.0
    kept: float = 0.35
    backward: float = 0.25

    @classmethod
    def parse(cls, values: Mapping[str, Any], origin: str) -> Streaming:
        """Constants read from a file; `SimulationError` names what is missing, unknown or not a positive number."""
        names = [each.name for each in fields(cls)]
        if wrong := sorted(set(values) ^ set(names)):
            raise SimulationError(f"{origin}: constants are missing or unknown: {', '.join(wrong)}; calibrate again")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise SimulationError(f"{origin}: constant {name} must be a positive number; found {value!r}")
        return cls(**{name: float(values[name]) for name in names})


def streaming_of(accelerator: Accelerator) -> Streaming:
    """Constants of an accelerator's streaming kernels; those of no limit but the bandwidth where it is no GPU.

    Raises `SimulationError` for a calibration that cannot be read.
    """
    if accelerator.gpu is None:
        return Streaming(share=1.0, floor_s=0.0, kept=0.0)
    from zerocast.simulator.gpu.fit.calibration import calibration_of

    return calibration_of(accelerator.gpu.calibration).streaming


SPECIAL = frozenset((
    "gelu", "gelu_tanh", "silu", "mish", "sigmoid", "tanh", "softplus", "elu", "selu", "celu", "log_sigmoid", "erf",
    "exp",
))  # fmt: skip
"""Functions that take exponentials and divisions of each element."""


def is_strided(op: Op, tensors: Mapping[str, Tensor], channels_last: bool) -> bool:
    """Whether a framework runs an op on a kernel for any shape and type, which works out for each element where it
    lies: copies in another order, casts, elementwise work on tensors that it repeats, and batch normalisation of images
    channels first."""
    if isinstance(op, Transfer):
        return op.function in ("copy", "layout")
    if not isinstance(op, Vector):
        return False
    if op.function.startswith("batch_norm"):
        return op.function == "batch_norm_eval" and not channels_last
    size = tensors[op.outputs[0]].elements
    repeats = op.elementwise and any(1 < tensors[name].elements < size for name in op.inputs)
    return repeats or op.function in ("convert", "cast")


def issued_s(accelerator: Accelerator, op: Op, tensors: Mapping[str, Tensor]) -> float:
    """Seconds in which the SMs issue the instructions of an op's kernel, where that may take longer than its bytes."""
    if accelerator.gpu is None or not isinstance(op, (Vector, Transfer)):
        return 0.0
    regime, cycles = accelerator.gpu.software, 0.0
    if regime.strided_per_cycle is not None and is_strided(op, tensors, regime.channels_last):
        cycles = op.elements / regime.strided_per_cycle / accelerator.compute.rows
    if (unit := accelerator.unit_for(op.function)) is not None:
        cycles += special_operations(accelerator, op) / unit.lanes
    return cycles / accelerator.technology.clock_hz


def special_operations(accelerator: Accelerator, op: Op) -> float:
    """Operations of CUDA cores for the exponentials of an op, a cycle of a lane each."""
    if accelerator.gpu is None or not isinstance(op, Vector) or op.function not in SPECIAL:
        return 0.0
    return op.elements * accelerator.gpu.software.special_cycles


def found_bytes(accelerator: Accelerator, moved_bytes: ArrayLike) -> Array:
    """Of the bytes that a kernel moves, those that the L2 still holds of the kernel before; none where there is no
    GPU."""
    if accelerator.gpu is None:
        return np.zeros_like(np.asarray(moved_bytes, dtype=float))
    capacity = accelerator.buffer_of("input").capacity_bytes or 0.0
    return np.minimum(streaming_of(accelerator).kept * capacity, np.asarray(moved_bytes, dtype=float))


def streamed_s(accelerator: Accelerator, moved_bytes: ArrayLike, dram_bytes_per_s: ArrayLike | None = None) -> Array:
    """Seconds to stream `moved_bytes` through a kernel: what the kernel before left in the L2 comes from there, the
    rest off chip. dram_bytes_per_s: of designs, the accelerator's own where there are none. Broadcasts."""
    constants = streaming_of(accelerator)
    moved = np.asarray(moved_bytes, dtype=float)
    off_chip = (
        np.asarray(accelerator.dram_bytes_per_s if dram_bytes_per_s is None else dram_bytes_per_s) * constants.share
    )
    if accelerator.gpu is None:
        return np.asarray(moved / off_chip)
    found = found_bytes(accelerator, moved)
    hits = np.maximum(constants.hits * accelerator.compute.rows * accelerator.technology.clock_hz, off_chip)
    return np.asarray((moved - found) / off_chip + found / hits)

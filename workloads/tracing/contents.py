"""What a trace holds: counts of nonzeros of each tensor that feeds an einsum, and masks of sampled runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zerocast.workloads.errors import WorkloadError

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TensorTrace:
    """One activation tensor over all runs of a trace. A run is one forward pass.

    shape: in one run. nonzeros: over all `runs`; -0.0 is a zero.
    channel_axis, token_axis: the dimension that the einsum sums over, and the one that counts tokens; None
    where there is none. channel_nonzeros, token_nonzeros: nonzeros at each position along it, over all runs.
    masks: bits of the sampled runs, [samples, ceil(elements of a run / 8)], as `numpy.packbits` packs them.
    """

    name: str
    shape: tuple[int, ...]
    runs: int
    nonzeros: int
    channel_axis: int | None = None
    channel_nonzeros: Counts | None = None
    token_axis: int | None = None
    token_nonzeros: Counts | None = None
    masks: NDArray[np.uint8] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.runs < 1 or self.run_elements < 1:
            raise WorkloadError(f"trace of {self.name!r}: {self.runs} runs of shape {self.shape} hold no element")
        self._check_share("density", self.density)
        for what, axis, counts in (
            ("channel", self.channel_axis, self.channel_nonzeros),
            ("token", self.token_axis, self.token_nonzeros),
        ):
            if (axis is None) != (counts is None):
                raise WorkloadError(f"trace of {self.name!r}: {what} axis and counts must come together; trace again")
            if axis is None or counts is None:
                continue
            if not 0 <= axis < len(self.shape) or counts.shape != (self.shape[axis],):
                raise WorkloadError(
                    f"trace of {self.name!r}: {what} counts of shape {counts.shape} do not fit dimension {axis} "
                    f"of {self.shape}; trace the model again"
                )
            for share in (counts.min(initial=0), counts.max(initial=0)):
                self._check_share(f"{what} density", share / (self.elements / self.shape[axis]))
        wanted = -(-self.run_elements // 8)
        if self.masks is not None and (self.masks.ndim != 2 or self.masks.shape[1] != wanted):
            raise WorkloadError(
                f"trace of {self.name!r}: masks of shape {self.masks.shape} do not fit tensor {self.shape}, which "
                f"takes {wanted} bytes a run; trace the model again"
            )
        if self.masks is not None and len(self.masks) == self.runs:
            held = int(np.bitwise_count(self.masks).sum())
            if held != self.nonzeros:
                raise WorkloadError(
                    f"trace of {self.name!r}: its masks hold {held} nonzeros, its counts {self.nonzeros}; trace again"
                )
        if self.channel_nonzeros is not None and int(self.channel_nonzeros.sum()) != self.nonzeros:
            raise WorkloadError(
                f"trace of {self.name!r}: its channels hold {int(self.channel_nonzeros.sum())} nonzeros, not "
                f"{self.nonzeros}; trace the model again"
            )

    def _check_share(self, what: str, share: float) -> None:
        if not 0.0 <= share <= 1.0:
            raise WorkloadError(f"trace of {self.name!r}: {what} {share:.6g} is outside [0, 1]; trace the model again")

    @property
    def run_elements(self) -> int:
        """Elements in one run."""
        return math.prod(self.shape)

    @property
    def elements(self) -> int:
        """Elements over all runs."""
        return self.runs * self.run_elements

    @property
    def density(self) -> float:
        """Share of nonzeros over all runs."""
        return self.nonzeros / self.elements

    @property
    def channels(self) -> NDArray[np.float64] | None:
        """Density at each position of the channel axis."""
        return self._along(self.channel_axis, self.channel_nonzeros)

    @property
    def tokens(self) -> NDArray[np.float64] | None:
        """Density at each position of the token axis."""
        return self._along(self.token_axis, self.token_nonzeros)

    def _along(self, axis: int | None, counts: Counts | None) -> NDArray[np.float64] | None:
        return None if axis is None or counts is None else counts / (self.elements / self.shape[axis])

    def bits(self, sample: int) -> NDArray[np.bool_]:
        """Mask of one sampled run in the tensor's shape, True for nonzeros."""
        if self.masks is None or not -len(self.masks) <= sample < len(self.masks):
            held = 0 if self.masks is None else len(self.masks)
            raise WorkloadError(f"trace of {self.name!r} holds masks of {held} runs; there is no number {sample}")
        bits = np.unpackbits(self.masks[sample], count=self.run_elements)
        return bits.astype(bool).reshape(self.shape)


@dataclass(frozen=True)
class Trace:
    """A model's activations over `runs` forward passes of `batch` samples each.

    sampled: which runs the masks are of, in order; drawn with `seed`.
    """

    model: str
    batch: int
    runs: int
    seed: int
    sampled: tuple[int, ...]
    tensors: Mapping[str, TensorTrace]

    def __post_init__(self) -> None:
        for name, tensor in self.tensors.items():
            held = 0 if tensor.masks is None else len(tensor.masks)
            if name != tensor.name or tensor.runs != self.runs or held != len(self.sampled):
                raise WorkloadError(
                    f"trace of {self.model!r}: {name!r} does not fit the rest ({tensor.name!r}, {tensor.runs} runs, "
                    f"{held} masks, where the trace has {self.runs} and {len(self.sampled)}); trace the model again"
                )

    @property
    def density(self) -> float:
        """Share of nonzeros in all tensors together."""
        elements = sum(tensor.elements for tensor in self.tensors.values())
        return sum(tensor.nonzeros for tensor in self.tensors.values()) / max(elements, 1)

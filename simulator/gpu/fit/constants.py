"""Constants of the kernel-time model: at most 25, the same for every shape of a generation and data-type class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from zerocast.simulator.errors import SimulationError

LESS_IS_QUICKER = (
    "floor_s", "tile_loss", "step_s", "wave", "prologue_s", "split_s", "split_traffic", "sustained", "write",
)  # fmt: skip
"""Constants that slow a product, all else equal, the larger they are."""
MORE_IS_QUICKER = (
    "mma", "dram", "feed", "l2", "hits", "overlap", "epilogue", "warm", "cache", "band", "power",
)  # fmt: skip
"""Those that speed it up. `warm_sharpness` is in neither list: what it does depends on the size of the product."""
HALVED = ("mma", "feed")
"""Constants of terms that halve by themselves when the operands do: multiplications at twice the rate, bytes into an
SM. So half of the constant is still no slower."""


@dataclass(frozen=True, slots=True)
class Constants:
    """Constants of one class. They are fitted together and not identifiable one by one: no hardware facts.

    The values given here are where a fit starts (assumptions).
    """

    floor_s: float = 2.7e-6
    """Time of the smallest kernel, its launch from a CUDA graph included, in s."""
    mma: float = 1.0
    """Rate of a long tile over the datasheet's."""
    tile_loss: float = 0.5
    """Loss of rate by narrow tiles: (1 / tile_m + 1 / tile_n) times this, relative."""
    step_s: float = 5e-12
    """Time for each element of K on top of the multiplications, in s."""
    dram: float = 0.84
    """Share of the datasheet's off-chip bandwidth."""
    feed: float = 0.033
    """Operand bytes that an SM takes in the time of one 16-bit multiply-accumulate of its own."""
    l2: float = 0.03
    """Bytes that the L2 feeds to an SM in that time; tiles' operands pass once per row or column of tiles."""
    hits: float = 0.02
    """Bytes that the L2 gives to an SM in that time in place of the off-chip memory."""
    overlap: float = 2.5
    """p - 1 of the p-norm that overlaps computing and moving."""
    wave: float = 0.1
    """Rounding of waves: tanh of this is 0 for persistent kernels, 1 where the last wave takes a whole one's time."""
    prologue_s: float = 5e-8
    """Fill of a tile's pipeline, in s."""
    epilogue: float = 0.0095
    """Output bytes that an SM writes in the time of one 16-bit multiply-accumulate of its own."""
    split_s: float = 2.6e-6
    """Time for splitting K at all, in s."""
    split_traffic: float = 0.3
    """Passes of the partial sums (two accesses of 32 bits each) through the L2."""
    sustained: float = 0.05
    """Slowing of long kernels, by log(1 + time / 1 ms)."""
    warm: float = 0.5
    """Bytes of a product, over the L2, up to which activations are still there from the kernel before."""
    warm_sharpness: float = 1.6
    """Exponent of that limit, halved."""
    write: float = 1.0
    """Cost of an output byte over that of a byte read."""
    cache: float = 0.8
    """Bytes of a product, over the L2, up to which all of it stays there when it is run again and again."""
    band: float = 8.0
    """Rows of tiles that share one pass over the weights."""
    power: float = 1.0
    """Rate at the power limit over the one at which arithmetic alone would draw it."""
    quantise_s: float = 9e-6
    """Kernel that quantises the activations before the product, its launch included, in s."""
    quantise: float = 0.75
    """Share of the off-chip bandwidth that it reaches with what the L2 does not hold."""
    quantise_hits: float = 0.0045
    """Bytes of its own that an SM moves for it in the time of one 16-bit multiply-accumulate."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of all constants."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def parse(cls, values: Mapping[str, float], origin: str) -> Constants:
        """Constants read from a file; `SimulationError` names what is missing, unknown or not a positive number."""
        wrong = sorted(set(values) ^ set(cls.names()))
        if wrong:
            raise SimulationError(f"{origin}: constants are missing or unknown: {', '.join(wrong)}; calibrate again")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise SimulationError(f"{origin}: constant {name} must be a positive number; found {value!r}")
        return cls(**{name: float(value) for name, value in values.items()})

    def logs(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        """Natural logarithms of some constants, in order."""
        return np.log([getattr(self, name) for name in names])

    def with_logs(self, names: tuple[str, ...], logs: NDArray[np.float64]) -> Constants:
        """The constants with some of them replaced, given by their logarithms."""
        return replace(self, **dict(zip(names, np.exp(logs).tolist(), strict=True)))

    def no_slower(self) -> dict[str, tuple[float, float]]:
        """Bounds within which constants for operands half as wide price no product above these constants."""
        bounds = {name: (0.0, getattr(self, name)) for name in LESS_IS_QUICKER}
        for name in MORE_IS_QUICKER:
            bounds[name] = (getattr(self, name) * (0.5 if name in HALVED else 1.0), np.inf)
        return bounds | {"warm_sharpness": (self.warm_sharpness, self.warm_sharpness)}

    def rounded(self) -> dict[str, float]:
        """Values to four digits, as they are written to files."""
        return {name: float(f"{value:.4g}") for name, value in asdict(self).items()}

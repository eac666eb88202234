"""Time of a product under each kernel a library has, and the kernel that it would choose: the quickest.

The kernels are tiles of the output, one per thread block, with K whole or split over several blocks. A kernel's time
is the p-norm of computing, off-chip traffic, L2 traffic, operand feed and power limit, plus what splitting costs;
waves round up softly. The form follows the analytical GPU models from Hong and Kim (ISCA 2009) to tile-and-wave
models of matrix products; the overlap by a p-norm and the soft waves are this model's own choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zerocast.simulator.gpu.fit.constants import Constants
from zerocast.simulator.gpu.problem import Array, Problem

CHUNK = 1024
"""Shapes priced at once, so that the work stays in the processor's cache."""
ALONG_K = 32
"""Elements of K in one step of a kernel (assumption)."""
LEAST_K = 128
"""K of a part of a split at least: shorter parts are padded, so that a split is never quicker for want of K
(assumption)."""
LONG_S = 1e-3
"""Length from which a product counts as long, in s."""
KNEE = 8
"""Sharpness with which a working set that is used again leaves the L2 (assumption)."""
PARTIAL_BYTES = 8
"""Bytes that move for one 32-bit partial sum: written once, read once."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """Kernels of a library: each tile (rows of x, rows of W) with each split of K. Fields have shape (kernels,)."""

    tile_m: Array
    tile_n: Array
    split: Array

    @staticmethod
    def of(tiles: list[tuple[int, int]], splits: tuple[int, ...]) -> Kernels:
        """Every tile with every split."""
        pairs = np.repeat(np.array(tiles, dtype=float), len(splits), axis=0)
        return Kernels(pairs[:, 0], pairs[:, 1], np.tile(np.array(splits, dtype=float), len(tiles)))


DENSE_KERNELS = Kernels.of(
    [(64, 64), (64, 128), (128, 64), (128, 128), (64, 256), (256, 64), (128, 256), (256, 128)],
    (1, 2, 3, 4, 6, 8, 16, 32),
)
"""Tile sizes that cuBLASLt names for tensor cores, powers of two from 64 x 64 up, and splits of K. Sides of 192, which
it has for Hopper, make no difference to the fit there and a bad one on the A100."""
MIXED_KERNELS = Kernels.of(
    [(16, 64), (16, 128), (16, 256), (32, 128), (32, 256), (64, 64), (64, 128), (64, 256), (128, 128), (128, 256)],
    (1, 2, 3, 4, 6, 8, 16, 32),
)
"""Kernels of 16-bit activations and narrower weights, written for few rows: from the 16 rows of one instruction of a
tensor core on, as those of Marlin and Sparse-Marlin are (arXiv 2408.11743)."""
SPARSE_KERNELS = Kernels.of([(64, 128), (64, 256), (128, 128), (128, 256), (256, 128)], (1,))
"""2:4 kernels: large tiles, K whole (cuSPARSELt's default; chosen on the fitted networks, see the calibrations)."""
CUDA_CORE_KERNELS = Kernels.of(
    [(8, 64), (8, 128), (16, 64), (16, 128), (32, 32), (32, 64), (32, 128), (64, 16), (128, 16), (64, 32), (128, 32),
     (64, 64), (64, 128), (128, 64), (128, 128)],
    (1, 2, 3, 4, 6, 8, 16, 32, 64, 128),
)  # fmt: skip
"""Kernels of fp32 products: tiles as narrow as a few rows, down to those of a product of a matrix and a vector."""


def kernels_of(kind: str) -> Kernels:
    """Kernels of a class of products, such as dense_16bit."""
    if kind.startswith("sparse"):
        return SPARSE_KERNELS
    return CUDA_CORE_KERNELS if kind == "dense_fp32" else DENSE_KERNELS


@dataclass(frozen=True, slots=True)
class Chosen:
    """The quickest kernel of each shape. Fields have shape (shapes,); times in s.

    seconds: the whole call. compute_s, dram_s, cache_s, power_s: the parts before they overlap.
    """

    seconds: Array
    tile_m: Array
    tile_n: Array
    split: Array
    compute_s: Array
    dram_s: Array
    cache_s: Array
    power_s: Array


def choose(problem: Problem, constants: Constants, kernels: Kernels = DENSE_KERNELS) -> Chosen:
    """The quickest kernel of each shape and its time; a batch runs in one launch.

    Times do not fall with M, N, K or the batch, and do not rise with the L2: every term of a kernel has that property
    (tiles, waves and steps of K round up; a byte found in the L2 is never slower than one from off chip), the least
    over all kernels inherits it, and no kernel is out of reach of a smaller product. Two effects of alignment are
    real and not priced here: rows whose bytes are no multiple of 16 take slower kernels on a card (the measured tables
    have none), and 2:4 operands need the multiples of `rules.MULTIPLES`.
    """
    starts = range(0, len(problem), CHUNK)
    parts = [_choose(problem[start : start + CHUNK], constants, kernels) for start in starts]
    return Chosen(*(np.concatenate([getattr(part, name) for part in parts]) for name in Chosen.__slots__))


def _choose(p: Problem, c: Constants, kernels: Kernels) -> Chosen:
    tiles_m, tiles_n = np.ceil(p.m / kernels.tile_m), np.ceil(p.n / kernels.tile_n)
    steps = np.ceil(p.k / kernels.split / ALONG_K) * ALONG_K
    steps = np.where(kernels.split > 1, np.maximum(steps, LEAST_K), steps)
    waves = _waves(p.batch * tiles_m * tiles_n * kernels.split / p.sms, c.wave)
    compute = waves * _tile_s(p, c, kernels, steps)
    dram, hits = _dram_s(p, c, tiles_m, tiles_n)
    # operands pass from L2 to SMs once per tile row or column; an SM has only so many bytes on their way at a time
    passed = p.x_bytes * tiles_n + p.weight_bytes * tiles_m + p.out_bytes
    cache = passed / (c.l2 * p.sms * p.sm16_macs_per_s)
    tile_bytes = (kernels.tile_m + kernels.tile_n * p.weight_share) * steps * p.element_bytes
    feed = waves * tile_bytes / (c.feed * p.sm16_macs_per_s)
    power = p.batch * p.m * p.n * p.k / (p.power_macs_per_s * c.power)
    # weights that are stored narrower are widened by the lanes, in each row of tiles anew
    unpack = p.batch * p.n * p.k * tiles_m / p.unpacked_per_s
    norm = 1 + c.overlap
    parts = (compute, dram + hits, cache, feed, power, unpack)
    time = sum(part**norm for part in parts) ** (1 / norm)
    time = np.where((p.whole > 0) & (kernels.split > 1), np.inf, time + _split_s(p, c, kernels))
    rows = np.arange(len(time))
    best = time.argmin(axis=1)

    def of_best(values: NDArray[np.float64]) -> Array:
        return np.broadcast_to(values, time.shape)[rows, best]

    return Chosen(
        _whole_call(of_best(time), p, c), kernels.tile_m[best], kernels.tile_n[best], kernels.split[best],
        of_best(compute), of_best(dram), of_best(np.maximum(np.maximum(cache, feed), hits)), of_best(power),
    )  # fmt: skip


def _waves(exact: Array, wave: float) -> Array:
    """Rounds of thread blocks over the SMs, partly rounded up, at least one."""
    return np.maximum(exact + np.tanh(wave) * (np.ceil(exact) - exact), 1.0)


def _tile_s(p: Problem, c: Constants, kernels: Kernels, steps: Array) -> Array:
    """Time of one tile on one SM: multiplications, prologue, epilogue."""
    area = kernels.tile_m * kernels.tile_n
    per_step = area * p.sms / (p.macs_per_s * c.mma) * (1 + c.tile_loss * (1 / kernels.tile_m + 1 / kernels.tile_n))
    return steps * (per_step + c.step_s) + c.prologue_s + area * p.out_element_bytes / (c.epilogue * p.sm16_macs_per_s)


def _dram_s(p: Problem, c: Constants, tiles_m: Array, tiles_n: Array) -> tuple[Array, Array]:
    """Time of the off-chip bytes, and of those found in the L2.

    Activations are warm from the kernel before as far as the L2 holds the whole batch, so that one larger than the L2
    finds next to nothing; weights only where the same product repeats. Weights of one product beyond the L2 are read
    again for every band of tile rows: the rows that the SMs work on at once, or that the rasterisation keeps together.
    """
    whole = p.x_bytes + p.weight_bytes + p.out_bytes
    with np.errstate(over="ignore"):
        warm = 1 / (1 + (whole / (p.l2_bytes * c.warm)) ** (2 * c.warm_sharpness))
        cached = 1 / (1 + (whole / (p.l2_bytes * c.cache)) ** KNEE)
    warm = np.minimum(warm, p.l2_bytes / whole)  # whatever the constants say, no more than fits
    kept = np.where(p.repeats > 0, cached, warm)
    together = np.sqrt(c.band**2 + (p.sms / tiles_n) ** 2)
    beyond = 1 - 1 / (1 + (p.weight_bytes / p.batch / (p.l2_bytes * c.warm)) ** 3)
    cold = p.weight_bytes * (1 - kept * p.repeats) + p.x_bytes * (1 - kept) + p.out_bytes * c.write * (1 - kept / 2)
    again = p.weight_bytes * beyond * np.maximum(tiles_m / together - 1, 0)
    hits = kept * (p.weight_bytes * p.repeats + p.x_bytes)
    return (cold + again) / (p.dram_bytes_per_s * c.dram), hits / _hit_bytes_per_s(p, c)


def _hit_bytes_per_s(p: Problem, c: Constants) -> Array:
    """Bandwidth of what is found in the L2: at least that of the memory behind it, through which it would come."""
    return np.maximum(c.hits * p.sms * p.sm16_macs_per_s, c.dram * p.dram_bytes_per_s)


def _split_s(p: Problem, c: Constants, kernels: Kernels) -> Array:
    """Time to add up the partial sums of a split K."""
    moved = kernels.split * p.batch * p.m * p.n * PARTIAL_BYTES
    passes = c.split_traffic * moved / _hit_bytes_per_s(p, c)
    return np.where(kernels.split > 1, c.split_s + passes, 0.0)


def _whole_call(time: Array, p: Problem, c: Constants) -> Array:
    """Kernel time with the slowing of long products, the floor, and the kernel that quantises the activations.

    How long a product is, is said by its roofline alone, so that a batch slows as its products do one by one.
    """
    compute = p.m * p.n * p.k / p.macs_per_s
    one_s = np.maximum(compute, (p.x_bytes + p.weight_bytes + p.out_bytes) / p.batch / p.dram_bytes_per_s)[:, 0]
    return time * (1 + c.sustained * np.log1p(one_s / LONG_S)) + c.floor_s + (p.quantise * _quantise_s(p, c))[:, 0]


def _quantise_s(p: Problem, c: Constants) -> Array:
    """Time of the kernel that quantises the activations: its SMs' pace, and the off-chip bytes where the L2 is full."""
    moved = 3 * p.batch * p.m * p.k  # 16 bits in, 8 bits out
    beyond = 1 - 1 / (1 + (moved / (p.l2_bytes * c.warm)) ** KNEE)
    pace = moved / (c.quantise_hits * p.sms * p.sm16_macs_per_s)
    return c.quantise_s + pace + moved * beyond / (p.dram_bytes_per_s * c.quantise)

"""The grain of an array's tiles: of what units buffer tiles are made, so that no fold is partly idle."""

from __future__ import annotations

import math
from fractions import Fraction

from zerocast.accelerators.schema import Accelerator, Dataflow, Operand
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws.array import rate_of, skips
from zerocast.simulator.products.gemm import Gemm
from zerocast.workloads.patterns import NM

Unit = int | Fraction


def tile_units(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow) -> tuple[Unit, Unit, Unit]:
    """Granularity of M, N, K tiles: whole folds of the array, and along K whole N:M groups and full lanes; of an
    unrolled array the elements that a step takes on average, since edges along every rank leave it partly idle.

    A smaller tile would leave part of the array idle in every fold. An engine that skips zeros takes any tile of whole
    windows. `SimulationError` for row_stationary, which maps no product in tiles.
    """
    if dataflow == "row_stationary":
        raise SimulationError(
            f"{accelerator.name} is row-stationary and has no tiled mappings; price its products with "
            "zerocast.simulator.laws.rows.RowProduct or simulate"
        )
    if dataflow == "zero_skipping":
        return 1, 1, gemm.conv.taps if gemm.conv is not None else 1
    compute = accelerator.compute
    if dataflow == "unrolled":
        units = gemm.units(compute)
        return Fraction(gemm.m, units["m"]), Fraction(gemm.n, units["n"]), Fraction(gemm.k, units["k"])
    lanes = max(int(compute.macs_per_pe * rate_of(accelerator, gemm.types)), 1)
    skipped = skips(gemm, accelerator, dataflow)
    pattern = getattr(gemm, skipped).structured if skipped else None
    laws: dict[Operand, NM | None] = {side: getattr(gemm, side).structured for side in ("input", "weight")}
    group = math.lcm(
        *(law.m for side, law in laws.items() if law and (side == skipped or _by_groups(accelerator, side)))
    )
    if dataflow == "output_stationary":
        kept = group if pattern is None else group * pattern.n // pattern.m
        return compute.rows, compute.cols, group * lanes // math.gcd(kept, lanes)
    density = 1.0 if pattern is None else pattern.density
    depth = -(-int(compute.rows * lanes / density) // group) * group
    if not compute.packs_kernel and gemm.conv is not None:
        depth = min(depth, gemm.k // gemm.conv.taps) * gemm.conv.taps
    if dataflow == "weight_stationary":
        return 1, compute.cols, depth
    return compute.cols, 1, depth


def _by_groups(accelerator: Accelerator, side: Operand) -> bool:
    """Whether a memory keeps an operand by N:M groups, which tiles then do not cut."""
    return any("nm_offsets" in memory.formats.get(side, ()) for memory in accelerator.memories)

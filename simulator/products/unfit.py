"""Why no mapping of a product fits: the memory without room, the operands and their bytes, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from numpy.typing import ArrayLike

from zerocast.accelerators.schema import Accelerator, Memory, Operand
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.given import words


def shortage(memory: Memory, needs: Mapping[Operand, ArrayLike], room: float, tile: str) -> Iterator[str]:
    """What operands need in a memory for a tile, each in bytes, where it has less room than that."""
    sizes = {side: float(size) for side, size in needs.items()}  # type: ignore[arg-type]
    if sum(sizes.values()) > room:
        parts = " + ".join(f"{side} {size:,.0f}" for side, size in sizes.items())
        yield f"{memory.name} needs {parts} B for {tile}, it has {room:,.0f} B"


def refusal(gemm: Gemm, accelerator: Accelerator, lacking: Iterable[str]) -> SimulationError:
    """The error for a product that no mapping fits, for what is `lacking`."""
    product, why = f"a {gemm.m} x {gemm.n} x {gemm.k} product", "; ".join(dict.fromkeys(lacking))
    if gemm.given is not None:
        return SimulationError(
            f"the mapping {words(gemm.given)} given for {product} does not fit {accelerator.name}: {why}; give smaller "
            "tiles or enlarge capacity_bytes"
        )
    return SimulationError(
        f"no mapping of {product} fits {accelerator.name}: {why} (M x N x K); enlarge memories.*.capacity_bytes or "
        "shrink compute.rows/cols"
    )

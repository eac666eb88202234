"""The law of engines that skip zeros: cycles of lanes over the whole product, however buffers cut it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from zerocast.accelerators.schema import Accelerator, Dataflow
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws import lanes
from zerocast.simulator.laws.law import Array, Flags, Law, PortTimes, Unit, even_shares
from zerocast.simulator.laws.outputs import asked_share
from zerocast.simulator.products.gemm import Gemm

if TYPE_CHECKING:
    from zerocast.simulator.products import mapping as mappings


@dataclass(frozen=True, slots=True)
class Lanes(Law):
    """Buffer tiles do not change an engine's cycles: mappings are searched for traffic alone."""

    dataflow: Dataflow = "zero_skipping"
    by_block: ClassVar[bool] = False

    def grain(self, gemm: Gemm, accelerator: Accelerator) -> tuple[Unit, Unit, Unit]:
        """Any tile of whole windows."""
        return 1, 1, gemm.conv.taps if gemm.conv is not None else 1

    def cycles(
        self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping, steps: Array, last: Array, flows: Flags,
        masks: bool = False,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """Those of the engine's quickest arrangement; what is left of K is the share of products that it makes."""
        engine = lanes.engine_cycles(gemm, accelerator, masks)
        share = engine.ideal * accelerator.compute.multipliers / (gemm.macs * asked_share(gemm, accelerator))
        cycles = engine.cycles * np.ones_like(mapping.trips_k)
        return cycles, np.asarray(gemm.k * share), even_shares(gemm, mapping)

    def tile_cycles(self, tile: Gemm, accelerator: Accelerator, steps: Array) -> Array:
        """An engine is described with one depth of memories, and is asked for whole products alone."""
        raise SimulationError(f"{accelerator.name} skips zeros over whole products; it has no cycles of single tiles")

    def port_times(
        self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping, steps: Array, last: Array, flows: Flags
    ) -> PortTimes:
        """Inputs for each round of lanes along N, weights for each along M. Lanes slide along windows, and read each
        input once."""
        m_turns, n_turns = lanes.engine_turns(gemm, accelerator)
        return PortTimes(gemm.input.unique / (gemm.m * gemm.k) * n_turns, m_turns, 0.0, 1.0)

    def ideal_cycles(
        self, gemm: Gemm, accelerator: Accelerator, steps_share: ArrayLike, masks: bool = False
    ) -> ArrayLike:
        """All multipliers busy with nonzeros that meet."""
        return lanes.engine_cycles(gemm, accelerator, masks).ideal

    def output_computed(self, gemm: Gemm, accelerator: Accelerator) -> float:
        """What the mask leaves of the engine's time: lanes without an output wait for those that have one."""
        if gemm.mask.is_dense or accelerator.sparsity.output.mode != "skip":
            return 1.0
        masked, whole = (lanes.engine_cycles(each, accelerator).cycles for each in (gemm, gemm.unmasked))
        return min(max(masked / whole, gemm.mask.density), 1.0)

    def losses(
        self, gemm: Gemm, accelerator: Accelerator, cycles: float, ideal: float, masks: bool = False
    ) -> Mapping[str, float]:
        """The engine's own account."""
        return lanes.engine_cycles(gemm, accelerator, masks).losses

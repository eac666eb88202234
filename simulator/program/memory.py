"""Off-chip memory of a workload once it is known which weights the array takes compressed."""

from __future__ import annotations

from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.program.footprint import footprint
from zerocast.simulator.program.program import Program
from zerocast.simulator.result import Footprint
from zerocast.workloads.ir import Einsum


def memory_of(planned: Program, pricer: Pricer) -> Footprint:
    """Memory of a program on the pricer's accelerator.

    A GPU runs an N:M layer dense where its sparse kernel would be slower or does not take it, and then stores the
    layer's weights dense. Products that the pricer has not met are priced.
    """
    if pricer.accelerator.gpu is None:
        return planned.footprint
    dense = {
        name
        for op in planned.ops
        if isinstance(op, Einsum) and not all(pricer.gemm(one).skipped for one in planned.products[op.name])
        for name in op.inputs[:2]
    }
    return footprint(planned.plan.workload, planned.offsets, planned.plan.never_stored, frozenset(dense))

"""How a workload lies off chip once it is known in which formats its kernels take the weights."""

from __future__ import annotations

from dataclasses import replace

from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.gpu.sparse import DATAFLOW as SPARSE_KERNEL
from zerocast.simulator.program.program import Program
from zerocast.simulator.program.storage import Storage, Stored
from zerocast.workloads.ir import Einsum


def storage_with(pricer: Pricer, planned: Program) -> Storage:
    """Storage of a program on the pricer's accelerator.

    A GPU runs a layer dense where no sparse kernel takes it or is quicker, and then stores its weights dense; else in
    that kernel's format. Products that the pricer has not met are priced.
    """
    if pricer.accelerator.gpu is None:
        return planned.storage
    tensors = planned.plan.workload.tensors
    dense: dict[str, Stored] = {}
    given: dict[str, Stored] = {}
    for op in planned.ops:
        if not isinstance(op, Einsum):
            continue
        rows = [pricer.gemm(product) for product in planned.products[op.name]]
        if not all(row.skipped for row in rows):
            dense |= {name: Stored(tensors[name].bytes) for name in op.inputs[:2]}
        elif all(row.dataflow == SPARSE_KERNEL and row.skipped == "weight" for row in rows):
            weight = tensors[op.inputs[1]]
            values = round(planned.plan.workload.pattern_of(op, 1).density * weight.bytes)
            held = round(sum(row.dram_weight_bytes for row in rows))
            given[weight.name] = Stored(values, max(held - values, 0))
    return replace(planned.storage, given=given | dense)

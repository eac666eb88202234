"""What a reader must know to believe the numbers of a run, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from zerocast.accelerators.schema import Accelerator, Gpu
from zerocast.simulator.cards import COLLECTIVES
from zerocast.simulator.cost import OpRow
from zerocast.simulator.gpu.sparse import DATAFLOW as SPARSE_KERNEL
from zerocast.simulator.gpu.trust import latency_bounds
from zerocast.simulator.program.fusing import why_not
from zerocast.simulator.program.overflow import overflow
from zerocast.simulator.program.program import Program
from zerocast.workloads.ir import Einsum, Workload

AGREE = 0.03
"""Share by which a walk may leave the cycles that the analytic fidelity expects without a word."""


def run_notes(
    planned: Program, accelerator: Accelerator, peak_bytes: int, rows: Sequence[OpRow], latency_s: float,
    without: Mapping[str, float],
) -> Iterator[str]:  # fmt: skip
    """Notes on a program whose ops have been priced. without: totals of the run with nothing that stays on chip, where
    something may."""
    yield from _weights(planned.plan.workload, accelerator)
    if any(isinstance(op, Einsum) and op.phase == "UPDATE" for op in planned.ops):
        yield (
            f"{planned.plan.workload.meta.get('optimizer')}: gradients are projected and taken back in every step; "
            "finding their subspaces anew, every few hundred steps, is not priced"
        )
    if without:
        yield from _residents(planned, accelerator, rows, without)
    yield from _prices(planned, accelerator, rows)
    if too_much := overflow(peak_bytes, accelerator):
        yield too_much
    if accelerator.gpu is not None:
        software = accelerator.gpu.software
        host_s = software.host_s * accelerator.host.pace
        launches = f", {host_s * 1e6:.3g} us of the host for each operator" if host_s else ""
        if accelerator.gpu.cards > 1:
            yield _cards(accelerator.gpu, rows)
        yield f"software regime {accelerator.gpu.regime}: {software.description}{launches}"
        power, clock = accelerator.gpu.power, accelerator.technology.clock_hz
        yield (
            f"SM clock {clock / 1e6:.0f} of at most {power.max_clock_hz / 1e6:.0f} MHz, lower where the power limit of "
            f"{accelerator.gpu.limit_w:g} W asks for it"
        )
        low_s, high_s = latency_bounds(rows, latency_s)
        yield f"9 of 10 measurements are to take between {low_s * 1e3:.3g} and {high_s * 1e3:.3g} ms"
    yield from _zeros(rows)


def _cards(gpu: Gpu, rows: Sequence[OpRow]) -> str:
    """What several cards share, and what sending over their link takes."""
    assert gpu.link is not None  # the schema asks for it
    sent = [row for row in rows if row.function in COLLECTIVES]
    seconds = sum(row.latency_s for row in sent)
    return (
        f"{gpu.cards} cards share each product over {gpu.link.name}: {len(sent)} collectives of "
        f"{seconds * 1e3:.3g} ms; times, bytes and memory are those of one card, energy of all but the link"
    )


def _residents(
    planned: Program, accelerator: Accelerator, rows: Sequence[OpRow], without: Mapping[str, float]
) -> Iterator[str]:
    """What stays on chip between ops, and what that saves; or why nothing does."""
    before = without["dram_read_bytes"] + without["dram_write_bytes"]
    saved_bytes, saved_j = sum(row.resident_saved_bytes for row in rows), sum(row.resident_saved_j for row in rows)
    if accelerator.schedule.fuse != "none":
        why = why_not(accelerator) or "no two in a row are worth it"
        fused = f"{len(planned.blocks) // 2} pairs of products run in blocks of rows" if planned.blocks else ""
        yield fused or f"schedule.fuse is {accelerator.schedule.fuse}, but no pair of products is fused: {why}"
    if planned.stays:
        yield (
            f"{len(planned.stays)} times a tensor stays on chip from one op to another, which saves "
            f"{saved_bytes / 1e6:.3g} of {before / 1e6:.3g} MB of DRAM traffic and {saved_j * 1e3:.3g} of "
            f"{without['energy_j'] * 1e3:.3g} mJ; without it the run takes {without['latency_s'] * 1e3:.4g} ms"
        )
    if loaded := [stay for stay in planned.stays if stay.before]:
        size = sum(stay.bytes for stay in loaded)
        yield f"{len(loaded)} weights, {size / 1e6:.3g} MB, lie on chip before the run (schedule.residency: preloaded)"
    if planned.stays or accelerator.schedule.residency == "none":
        return
    depth = accelerator.at_depth(1)
    results = any(memory.takes_results or "output" in memory.holds for memory in depth)
    why = "no tensor that fits is worth it"
    if accelerator.copies(1) > 1:
        why = f"{accelerator.dram.name} feeds copies, each with memories of its own"
    elif not results:
        why = f"none of {', '.join(memory.name for memory in depth)} takes results; see memories.*.takes_results"
    yield f"schedule.residency is {accelerator.schedule.residency}, but nothing stays on chip: {why}"


def _weights(workload: Workload, accelerator: Accelerator) -> Iterator[str]:
    """What was made of the network's own weights."""
    if stored := workload.meta.get("stored_weights"):
        kept, scales = workload.meta.get("stored_types"), f"{workload.scale_bytes / 1e6:.2g} MB of"
        if accelerator.gpu is not None:
            yield f"{stored} weights are read as they are stored ({kept}), with {scales} scales"
        else:
            yield (
                f"{stored} weights are read as they are stored ({kept}); scaling them inside the products, and "
                f"reading the {scales} their scales, is not priced"
            )
    if workload.folded:
        operators = sorted({name for names in workload.folded.values() for name in names})
        made = ", ".join(list(workload.folded)[:5]) + (", ..." if len(workload.folded) > 5 else "")
        yield (
            f"{len(workload.folded)} weights that the network makes of parameters alone ({', '.join(operators)}) are "
            f"taken as made once, at no price in a forward pass: {made}"
        )


def _prices(planned: Program, accelerator: Accelerator, rows: Sequence[OpRow]) -> Iterator[str]:
    """What has no price, or that of something else."""
    workload = planned.plan.workload
    if uncosted := [row.op for row in rows if not row.costed]:
        yield f"{len(uncosted)} ops have no unit to run on and are in no total: {', '.join(uncosted[:5])}"
    for cause in workload.meta.get("skipped", ()):
        yield f"{cause}: it and what is done with it are in no total"
    if workload.unknown:
        names = sorted({op.function for op in workload.unknown})
        yield f"unknown operators priced by their bytes alone: {', '.join(names)}"
    types = sorted({gemm.dtype for products in planned.products.values() for gemm in products})
    built = accelerator.compute.native_type
    if accelerator.gpu is None and types and built not in types:
        yield f"run in {', '.join(types)}, while area and FPGA resources are those of {built} multipliers"


def _zeros(rows: Sequence[OpRow]) -> Iterator[str]:
    """Zeros that buy nothing, and walks that leave the expectation."""
    paid: dict[str, list[str]] = {}
    for row in rows:
        if row.dataflow == SPARSE_KERNEL:
            paid.setdefault(row.order, []).append(row.layer)
    for kernel, layers in paid.items():
        names = list(dict.fromkeys(layers))
        yield f"{kernel} makes the zeros of {len(names)} layers pay: {', '.join(names[:8])}"
    if losing := list(dict.fromkeys(row.layer for row in rows if row.fallback == "slower")):
        yield f"{len(losing)} layers lose by being sparse and run dense: {', '.join(losing[:8])}"
    if apart := [row for row in rows if abs(row.cycles - row.expected_cycles) > AGREE * row.expected_cycles > 0]:
        gaps = [row.cycles / row.expected_cycles - 1 for row in apart]
        names = list(dict.fromkeys(row.layer for row in apart))
        yield (
            f"tile by tile {len(names)} layers take {min(gaps):+.0%} to {max(gaps):+.0%} of the array cycles that "
            f"--fidelity analytic expects: {', '.join(names[:5])}"
        )
    if idle := {row.layer for row in rows if row.kind == "einsum" and row.weight_density < 1 and not row.skipped}:
        yield f"{len(idle)} layers have zeros that the array cannot skip in at least one pass"
    if whole := list(dict.fromkeys(row.layer for row in rows if row.output_computed > row.output_density)):
        yield (
            f"{len(whole)} layers take time for outputs that their mask leaves out, computed with others or waited for "
            f"(sparsity.output): {', '.join(whole[:5])}"
        )

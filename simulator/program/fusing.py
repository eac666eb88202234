"""Pairs of products in a row that run over shared blocks of rows, so that what lies between them never leaves the chip
even where it does not fit whole.

Between the two, ops that work row by row (elementwise, softmax) are taken along. A block's part of each tensor between
them stays in the memory that the array takes inputs from; what else the two need comes anew for each block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.program.program import Program, in_blocks, resident_program
from zerocast.simulator.program.residency import Stay, touch
from zerocast.workloads.ir import Einsum, Vector

Price = Callable[[Sequence[Gemm]], tuple[float, float]]
"""Seconds and joules of products."""

SIZES = 3
"""Sizes of a block that are tried, each about half of the one before."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Places of two products and of the ops between them, in their order, and the tensors that lie between."""

    places: tuple[int, ...]
    between: tuple[str, ...]


def fused_program(planned: Program, accelerator: Accelerator, price: Price) -> Program:
    """The program with its pairs of products in blocks of rows where that costs less; itself where it never does.

    planned: may have tensors that stay, which leave a pair what they do not take of the memory.
    """
    if why_not(accelerator):
        return planned
    buffer = accelerator.buffer_of("input")
    stays, blocks = list(planned.stays), dict(planned.blocks)
    busy: set[int] = set()
    for pair in pairs(planned):
        first, second = (planned.products[planned.ops[pair.places[end]].name][0] for end in (0, -1))
        left = (buffer.capacity_bytes or 0.0) - max(first.taken_of(buffer.name), second.taken_of(buffer.name))
        rows = _rows(first, second, buffer.name, left, price)
        if not rows or busy & set(pair.places):
            continue
        busy |= set(pair.places)
        stays += _inside(pair, planned, accelerator, buffer.name, rows / (first.m * first.batch))
        blocks |= {planned.ops[pair.places[end]].name: rows for end in (0, -1)}
    return resident_program(planned, accelerator, stays, blocks) if busy else planned


def why_not(accelerator: Accelerator) -> str:
    """Why an accelerator runs no pairs in blocks; "" where it can."""
    buffer = accelerator.buffer_of("input")
    if accelerator.nested or accelerator.compute.unroll or accelerator.skipping or accelerator.row_stationary:
        return "blocks of rows are priced on systolic arrays with one depth of memories alone"
    if "output" not in buffer.holds and not buffer.takes_results:
        return f"{buffer.name} takes no results; see memories.{buffer.name}.takes_results"
    return ""


def pairs(planned: Program) -> Iterator[Pair]:
    """Pairs of products of which the second takes the rows of the first's result as they come, alone."""
    readers = Counter(name for op in planned.ops for name in op.inputs)
    maker = {name: place for place, op in enumerate(planned.ops) for name in op.outputs}
    lasting = planned.plan.workload.results
    for place, op in enumerate(planned.ops):
        if not isinstance(op, Einsum):
            continue
        places, name = [place], op.inputs[0]
        between: list[str] = []
        while name in maker and readers[name] == 1 and name not in lasting:
            source = planned.ops[maker[name]]
            places.insert(0, maker[name])
            between.insert(0, name)
            if isinstance(source, Einsum):
                pair = Pair(tuple(places), tuple(between))
                if _fits_together(source, op, planned) and _is_ready(pair, planned, maker):
                    yield pair
                break
            if not (isinstance(source, Vector) and (source.elementwise or source.function == "softmax")):
                break
            size = planned.plan.workload.tensors[name].shape
            alike = [each for each in source.inputs if planned.plan.workload.tensors[each].shape == size]
            name = max(alike, key=lambda each: maker.get(each, -1), default="")


def _fits_together(first: Einsum, second: Einsum, planned: Program) -> bool:
    """Whether the rows of the one's result are those of what the other reads, and no window or mask is cut."""
    ours, theirs = planned.products[first.name], planned.products[second.name]
    tensors = planned.plan.workload.tensors
    if len(ours) > 1 or len(theirs) > 1 or tensors[first.outputs[0]].shape != tensors[second.inputs[0]].shape:
        return False
    one, two = ours[0], theirs[0]
    columns = [first.ranks_of(1) >= {rank for rank, _ in affine} for affine in first.index[2]]
    columns = [there and not first.ranks_of(0) & {rank for rank, _ in affine}
               for there, affine in zip(columns, first.index[2], strict=True)]  # fmt: skip
    summed = [not {rank for rank, _ in affine} & second.ranks_of(2) for affine in second.index[0]]
    plain = all(
        gemm.input.unique == gemm.m * gemm.k and gemm.input.pattern.is_dense and not gemm.direct and gemm.given is None
        and (gemm.weight.pattern.is_dense or gemm.weight.structured is not None)
        for gemm in (one, two)
    )  # fmt: skip
    same = (one.batch, one.m, one.n) == (two.batch, two.m, two.k)
    return plain and same and columns == summed and not two.input.on_chip


def _is_ready(pair: Pair, planned: Program, maker: dict[str, int]) -> bool:
    """Whether all else that the ops of a pair read is there before the first of them begins."""
    every = [name for place in pair.places[1:] for name in planned.ops[place].inputs if name not in pair.between]
    return all(maker.get(name, -1) < pair.places[0] for name in every)


def _rows(first: Gemm, second: Gemm, memory: str, left: float, price: Price) -> int:
    """Rows of the block that costs the least; 0 where whole products cost no more."""
    row_bytes = first.n * (first.output.bits + second.input.bits) / 8
    most = min(first.m, int(left / 2 / max(row_bytes, 1e-9)))
    best, chosen = price([first, second]), 0
    for size in range(SIZES):
        rows = next((rows for rows in range(most >> size, 0, -1) if first.m % rows == 0), 0)
        if not rows:
            break
        one = in_blocks(replace(first, output=replace(first.output, on_chip=True)), rows)
        two = in_blocks(replace(second, input=replace(second.input, on_chip=True)), rows)
        try:
            cost = price([_with_taken(each, memory, rows * row_bytes) for each in (one, two)])
        except SimulationError:
            continue
        if cost < best:
            best, chosen = cost, rows
    return chosen


def _with_taken(gemm: Gemm, memory: str, size: float) -> Gemm:
    taken = dict(gemm.taken) | {memory: gemm.taken_of(memory) + size}
    return replace(gemm, taken=tuple(sorted(taken.items())))


def _inside(pair: Pair, planned: Program, accelerator: Accelerator, memory: str, share: float) -> Iterator[Stay]:
    """What lies between a pair, of which a block's share is in the memory at once."""
    for name, (maker, taker) in zip(pair.between, zip(pair.places, pair.places[1:], strict=False), strict=True):
        ends = [touch(place, planned.ops[place], frozenset({name}), planned.plan, accelerator)
                for place in (maker, taker)]  # fmt: skip
        touches = tuple(end for end in ends if end is not None)
        if len(touches) == 2:
            size = planned.plan.workload.tensors[name].bytes
            yield Stay(name, memory, round(size * share), touches, True, pair.places[0], pair.places[-1])

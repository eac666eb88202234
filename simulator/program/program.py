"""A workload as a controller runs it: what pricing it on many designs has in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from zerocast.accelerators.schema import Accelerator, Unit
from zerocast.simulator.gpu.convolution import is_depthwise
from zerocast.simulator.laws.outputs import in_tiles
from zerocast.simulator.products.gemm import Gemm, direct_product, gemms, packed
from zerocast.simulator.program.conversions import in_tf32
from zerocast.simulator.program.footprint import Span, footprint, lives
from zerocast.simulator.program.residency import Stay
from zerocast.simulator.program.rewrite import Plan, plan
from zerocast.simulator.program.schedule import Graph, Task
from zerocast.simulator.program.storage import Storage
from zerocast.simulator.result import Footprint
from zerocast.simulator.unit_cost import moved_bytes
from zerocast.workloads.ir import Einsum, Op, Workload

TILE = 64
"""Queries of the smallest tile of an attention kernel; for fewer it splits the keys over the SMs (flash decoding)."""
GROUPED = 64
"""Channels that a kernel for grouped convolutions takes side by side: the narrow side of the smallest tile."""


@dataclass(frozen=True, slots=True)
class Program:
    """Ops after the controller's rewrites. By name of op: `products` of einsums; the unit that runs any other op, and
    the bytes that it reads and writes off chip. graph: who waits for whom. hosts: by place of an op, the place of the
    one whose task does its work too. formats: in which the off-chip memory may keep weights.
    stays: tensors that stay on chip between ops; blocks: by name of einsum, rows of the blocks that it is computed in;
    passing: by name of op, bytes that it reads and writes of them in each
    memory beside the ports of the array."""

    plan: Plan
    products: dict[str, tuple[Gemm, ...]]
    units: dict[str, Unit | None]
    moved_bytes: dict[str, tuple[int, int]]
    graph: Graph
    hosts: dict[int, int]
    footprint: Footprint
    formats: tuple[str, ...] = ()
    stays: tuple[Stay, ...] = ()
    passing: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    blocks: dict[str, int] = field(default_factory=dict)

    @property
    def ops(self) -> tuple[Op, ...]:
        """Ops in the order of the program."""
        return self.plan.workload.ops

    def lives(self) -> list[Span]:
        """When each tensor is in the off-chip memory."""
        return lives(self.plan.workload, self.storage)

    @property
    def storage(self) -> Storage:
        """How its tensors lie off chip, as far as no kernel decides."""
        return storage_of(self.plan, self.formats)


def program(workload: Workload, accelerator: Accelerator) -> Program:
    """The program of a workload on an accelerator."""
    planned = plan(workload, accelerator)
    ops, tensors = planned.workload.ops, planned.workload.tensors
    others = [op for op in ops if not isinstance(op, Einsum)]
    units = {op.name: accelerator.unit_for(getattr(op, "function", "")) for op in others}
    hosts = _hosts(planned, units)
    place = {op.name: number for number, op in enumerate(ops)}
    formats = tuple(accelerator.dram.formats.get("weight", ()))
    return Program(
        plan=planned,
        products={op.name: _products(planned, op, accelerator) for op in ops if isinstance(op, Einsum)},
        units=units,
        moved_bytes={op.name: moved_bytes(op, tensors, planned.kept(op), accelerator.dram) for op in others},
        graph=_graph(planned, accelerator, units, hosts),
        hosts={place[name]: place[host] for name, host in hosts.items()},
        footprint=footprint(planned.workload, storage_of(planned, formats)),
        formats=formats,
    )


def storage_of(planned: Plan, formats: tuple[str, ...]) -> Storage:
    """How the tensors of a plan lie off chip."""
    return Storage(formats, planned.never_stored, together=planned.updates_together)


def resident_program(
    planned: Program, accelerator: Accelerator, staying: Sequence[Stay], blocks: Mapping[str, int] | None = None
) -> Program:
    """The program with tensors that stay on chip, and einsums computed in blocks of some rows."""
    blocks = dict(blocks or {})
    on_chip: dict[str, set[str]] = defaultdict(set)
    for name, kept in planned.plan.on_chip.items():
        on_chip[name] |= kept
    taken: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    passing: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for stay in staying:
        first = stay.touches[0]
        on_chip[planned.ops[first.place].name] |= first.writes if stay.whole else set()
        for op in planned.ops[stay.start : stay.end + 1]:
            taken[op.name][stay.memory] += stay.bytes
        for touch in stay.spared:
            on_chip[planned.ops[touch.place].name] |= touch.reads
        for place, read, written in stay.beside():
            by_memory = passing[planned.ops[place].name]
            before = by_memory.get(stay.memory, (0, 0))
            by_memory[stay.memory] = before[0] + read, before[1] + written
    chosen = replace(planned.plan, on_chip={name: frozenset(names) for name, names in on_chip.items()})
    tensors, ops = chosen.workload.tensors, planned.ops
    return replace(
        planned, plan=chosen, stays=tuple(staying), passing=dict(passing), blocks=blocks,
        products={name: _products(chosen, op, accelerator, tuple(sorted(taken[name].items())), blocks.get(name))
                  for op in ops if isinstance(op, Einsum) and (name := op.name)},
        moved_bytes={name: moved_bytes(op, tensors, chosen.kept(op), accelerator.dram)
                     for op in ops if (name := op.name) in planned.moved_bytes},
        footprint=footprint(chosen.workload, storage_of(chosen, planned.formats)),
    )  # fmt: skip


def in_blocks(gemm: Gemm, rows: int) -> Gemm:
    """A product as one of some of its rows, so many times over: each block brings its weights along."""
    return replace(
        gemm, batch=gemm.batch * (gemm.m // rows), m=rows, roles=(), outer=(), conv=None,
        input=replace(gemm.input, unique=rows * gemm.k, across=()), output=replace(gemm.output, unique=rows * gemm.n),
    )  # fmt: skip


def program_key(accelerator: Accelerator) -> str:
    """Equal for accelerators whose programs are."""
    units = [(unit.name, unit.functions, unit.streams) for unit in accelerator.units]
    gpu = accelerator.gpu
    software = gpu and (gpu.software, gpu.cards, accelerator.peak_macs_per_s / accelerator.dram_bytes_per_s)
    return repr((accelerator.schedule, units, accelerator.dram.formats, accelerator.sparsity.output, software))


def _products(
    planned: Plan,
    op: Einsum,
    accelerator: Accelerator,
    taken: tuple[tuple[str, float], ...] = (),
    rows: int | None = None,
) -> tuple[Gemm, ...]:
    """The products of an einsum; on a GPU a depthwise convolution is one kernel. An output that stays on chip is not
    stored, an input not fetched; of what a mask hides, a kernel may compute nothing. taken: bytes of memories that are
    not there for it; rows: of the blocks that it is computed in."""
    on_chip, shown = planned.kept(op), planned.shown.get(op.name)
    parts = []
    direct = accelerator.gpu is not None and accelerator.unit_for("conv2d") is not None and is_depthwise(op)
    for gemm in (direct_product(planned.workload, op),) if direct else gemms(planned.workload, op):
        if op.outputs[0] in on_chip:
            gemm = replace(gemm, output=replace(gemm.output, on_chip=True))
        if op.inputs[0] in on_chip:
            gemm = replace(gemm, input=replace(gemm.input, on_chip=True))
        if op.inputs[1] in on_chip:
            gemm = replace(gemm, weight=replace(gemm.weight, on_chip=True))
        if gemm.dtype == "fp32" and in_tf32(op, accelerator):
            gemm = replace(gemm, dtype="tf32", weight_dtype="")
        if accelerator.gpu is not None and gemm.conv is not None and gemm.batch > 1 and not gemm.direct:
            gemm = replace(gemm, computed=packed(gemm, GROUPED))
        if accelerator.gpu is not None and not gemm.mask.is_dense and gemm.computed is None:
            gemm = in_tiles(gemm, accelerator)
        if op.name in planned.beside:
            gemm = replace(gemm, beside=planned.beside[op.name])
        if op.name in planned.attention and gemm.m < TILE:
            gemm = replace(gemm, streams=True)
        if shown is not None:
            size = max(round(getattr(gemm, shown.side) * shown.share), 1)
            gemm = replace(gemm, computed=replace(gemm, **{shown.side: size}))
        gemm = gemm if rows is None else in_blocks(gemm, rows)
        parts.append(replace(gemm, taken=taken) if taken else gemm)
    return tuple(parts)


def _hosts(planned: Plan, units: dict[str, Unit | None]) -> dict[str, str]:
    """Ops that take the output of another op of their unit on the fly -> the first of such a chain: the unit applies
    them all to each element before it takes the next. What else they need must be there before the first begins."""
    waits = planned.workload.dependencies()
    place = {op.name: number for number, op in enumerate(planned.workload.ops)}
    hosts: dict[str, str] = {}
    for name, (source, *more) in planned.along.items():
        if more or units.get(name) is None or units[name] != units.get(source):
            continue
        host = hosts.get(source, source)
        if all(place[wait] < place[host] for wait in waits[name] if wait != source):
            hosts[name] = host
    return hosts


def _graph(planned: Plan, accelerator: Accelerator, units: dict[str, Unit | None], hosts: dict[str, str]) -> Graph:
    """Who waits for whom, and for the array, a unit, or nothing that runs it. A GPU's kernels come from one stream,
    one after another. An op with a host ends with it; what it waits for, its host does, and what an op waits for that
    takes another's output on the fly, its source does: they run side by side."""
    waits = {name: list(others) for name, others in planned.workload.dependencies().items()}
    for name, (source, *_) in reversed(planned.along.items()):
        waits[source] += [wait for wait in waits[name] if wait != source and wait not in waits[source]]
    writers: dict[str, str] = {}
    tasks = []
    for op in planned.workload.ops:
        if op.name in hosts:
            tasks.append(Task(op.name, "streamed", 0.0, 0.0, after=(hosts[op.name],)))
            writers |= dict.fromkeys(op.outputs, op.name)
            continue
        along = tuple(hosts.get(name, name) for name in planned.along.get(op.name, ()))
        weight = op.inputs[1] if isinstance(op, Einsum) else ""
        unit = units.get(op.name)
        resource = "array" if isinstance(op, Einsum) else unit.name if unit is not None else "none"
        tasks.append(Task(
            name=op.name, resource="stream" if accelerator.gpu is not None else resource, work_s=0.0, link_s=0.0,
            after=tuple(wait for wait in waits[op.name] if wait not in along), along=along,
            prologue_after=(writers[weight],) if weight in writers else (),
        ))  # fmt: skip
        writers |= dict.fromkeys(op.outputs, op.name)
    return Graph(tasks)

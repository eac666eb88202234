"""An iteration over several groups of cards: layers dealt in order (a pipeline), batches to replicas (data parallel).

A run prices one micro-batch on one card, or on the cards that share its products (`gpu.cards`). Here its ops are dealt
to the stages of a pipeline, which passes micro-batches on one after the other, and replicas add up their gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.cards.energy import cards_of
from zerocast.simulator.cards.link import collective_s, send_s
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gpu.streaming import streamed_s
from zerocast.simulator.program.footprint import stored_bytes
from zerocast.simulator.result import Result
from zerocast.workloads.ir import Einsum, Workload

FLATTENED = 4
"""Times that a gradient passes the memory around its all-reduce: copied into one buffer with the others, and back (the
buckets of PyTorch's DistributedDataParallel and of Megatron-LM)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Groups of cards beside those that share products.

    pipeline: stages that layers are dealt to in order. data_parallel: replicas of them all. micro_batches: batches, as
    large as the workload's, that pass through a pipeline before the weights are updated. Raises `SimulationError` for
    numbers below 1.
    """

    pipeline: int = 1
    data_parallel: int = 1
    micro_batches: int = 1

    def __post_init__(self) -> None:
        for name, number in (("pipeline", self.pipeline), ("data_parallel", self.data_parallel),
                             ("micro_batches", self.micro_batches)):  # fmt: skip
            if number < 1:
                raise SimulationError(f"{name}: {number}; must be 1 or more")

    def check(self, accelerator: Accelerator) -> None:
        """Raises `SimulationError` for what is no GPU, and for one without a link where there are several."""
        if accelerator.gpu is None:
            raise SimulationError(f"{accelerator.name} is no GPU; pipelines and replicas are those of cards")
        if self.pipeline * self.data_parallel > 1 and accelerator.gpu.link is None:
            raise SimulationError(
                f"{accelerator.name} has no link to other cards; describe one in gpu.link, such as "
                "{name: PCIe 4, bytes_per_s: 32e9}"
            )


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage does. micro_batch_s: forward and backward of a micro-batch, what it sends included. update_s: of
    its weights, once an iteration; reduce_s: until its gradients are those of all replicas. memory_bytes: of a card,
    weights, gradients, states of the optimizer and what is kept of all micro-batches on their way."""

    first_layer: str
    last_layer: str
    micro_batch_s: float
    update_s: float
    reduce_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Iteration:
    """Time, energy of all cards and stages of an iteration."""

    layout: Layout
    cards: int
    stages: tuple[Stage, ...]
    latency_s: float
    energy_j: float

    @property
    def idle_share(self) -> float:
        """Of the time of all cards, that in which they wait for one another's stages."""
        busy = sum(s.micro_batch_s * self.layout.micro_batches + s.update_s + s.reduce_s for s in self.stages)
        return 1.0 - busy / (len(self.stages) * self.latency_s)


def iteration(result: Result, accelerator: Accelerator, layout: Layout) -> Iteration:
    """An iteration of `layout`, of the run of one micro-batch on a card, or on those that share its products.

    Micro-batches follow one another as in 1F1B (Narayanan et al., "Efficient Large-Scale Language Model Training on GPU
    Clusters Using Megatron-LM", SC 2021, section 2.2): one passes all stages forward and back, the others follow at the
    pace of the slowest. Gradients are added up after the last one.

    Raises what `Layout.check` raises, and `SimulationError` for fewer layers than stages and where a stage does not fit
    its card.
    """
    layout.check(accelerator)
    assert result.ran is not None  # of every run
    spent = _Spent(result, result.ran, accelerator)
    ends = spent.cuts(layout.pipeline)
    stages = tuple(spent.stage(number, (0, *ends)[number], end, layout) for number, end in enumerate(ends))
    capacity = accelerator.dram.capacity_bytes
    for number, stage in enumerate(stages):
        if capacity is not None and stage.memory_bytes > capacity:
            raise SimulationError(
                f"stage {number + 1} of {len(stages)} needs {stage.memory_bytes / 1e9:.1f} GB of a card's "
                f"{capacity / 1e9:.1f} GB; more stages (--pipeline), more cards that share products "
                "(--tensor-parallel) or a smaller batch would fit"
            )
    paces = [stage.micro_batch_s for stage in stages]
    last = max(stage.update_s + stage.reduce_s for stage in stages)
    latency = sum(paces) + (layout.micro_batches - 1) * max(paces) + last
    groups = layout.pipeline * layout.data_parallel
    idle_j = result.static_j / result.latency_s * latency * groups if result.latency_s else 0.0
    often = layout.micro_batches * layout.data_parallel
    ops_j = sum(row.energy_j * (layout.data_parallel if row.phase == "UPDATE" else often) for row in result.rows)
    return Iteration(layout, groups * cards_of(accelerator), stages, latency, ops_j + idle_j)


class _Spent:
    """What a run spends, by forward op: all that an op's backward passes and updates take is its own, too."""

    def __init__(self, result: Result, ran: Workload, accelerator: Accelerator) -> None:
        self.ran, self.accelerator = ran, accelerator
        self.forward = [op for op in ran.ops if op.phase == "FF"]
        self.place = _places(ran)
        count = len(self.forward)
        self.passes_s, self.update_s = np.zeros(count), np.zeros(count)
        before = 0.0
        for row in sorted(result.rows, key=lambda row: row.end_s):
            times = self.update_s if row.phase == "UPDATE" else self.passes_s
            times[self.place[row.op]] += row.end_s - before  # what it waits for its launch is its own
            before = row.end_s
        self.sends_s = self._sends_s()

    def _sends_s(self) -> NDArray[np.float64]:
        """Seconds that a stage that ends before each forward op sends what later ones read, and what they send back
        [forward ops + 1]; none at the ends, and none for cards without a link, which are no stages."""
        made: dict[str, int] = {}
        crossing = np.zeros(len(self.forward) + 1)
        assert self.accelerator.gpu is not None  # `Layout.check` asks for it
        if self.accelerator.gpu.link is None:
            return crossing
        for number, op in enumerate(self.forward):
            made |= dict.fromkeys(op.outputs, number)
        last: dict[str, int] = {}
        for number, op in enumerate(self.forward):
            last |= {name: number for name in op.inputs if name in made}
        for name, reader in last.items():
            crossing[made[name] + 1 : reader + 1] += self.ran.tensors[name].bytes
        ways = 2 if any(op.phase == "BP" for op in self.ran.ops) else 1
        return np.array([ways * send_s(size, self.accelerator) if size else 0.0 for size in crossing])

    def cuts(self, stages: int) -> list[int]:
        """Where each of so many stages ends among the forward ops: as many layers with weights in each as in another,
        the last ones more where the number does not divide, and where the least is sent between two of them."""
        starts: dict[str, int] = {}
        for number, op in enumerate(self.forward):
            if isinstance(op, Einsum) and any(self.ran.tensors[name].weight for name in op.inputs):
                starts.setdefault(op.layer, number)
        if stages > len(starts):
            raise SimulationError(f"a pipeline of {stages} stages: the network has {len(starts)} layers with weights")
        places, ends = list(starts.values()), []
        for number in range(1, stages):
            at = number * len(places) // stages
            first = places[at - 1] + 1
            ends.append(first + int(self.sends_s[first : places[at] + 1].argmin()))
        return [*ends, len(self.forward)]

    def stage(self, number: int, start: int, end: int, layout: Layout) -> Stage:
        """The stage of the forward ops from `start` to `end`."""
        own = slice(start, end)
        reduced = self._gradient_bytes(start, end)
        reduce_s = 0.0
        if layout.data_parallel > 1 and reduced:
            copies = float(streamed_s(self.accelerator, FLATTENED * reduced))
            reduce_s = copies + collective_s("all_reduce", reduced, self.accelerator, layout.data_parallel)
        on_their_way = min(layout.micro_batches, layout.pipeline - number)
        return Stage(
            self.forward[start].layer, self.forward[end - 1].layer,
            float(self.passes_s[own].sum() + self.sends_s[end]), float(self.update_s[own].sum()), reduce_s,
            self._memory_bytes(start, end, on_their_way),
        )  # fmt: skip

    def _gradient_bytes(self, start: int, end: int) -> int:
        """Bytes of the gradients that the updates of a stage read."""
        return sum(self.ran.tensors[name].bytes for name in self._of(start, end, "UPDATE")
                   if self.ran.tensors[name].role == "gradient")  # fmt: skip

    def _memory_bytes(self, start: int, end: int, on_their_way: int) -> int:
        """Bytes of what lasts, and of what the backward passes of so many micro-batches need."""
        tensors, touched = self.ran.tensors, self._of(start, end)
        lasting = {name for name in touched if tensors[name].role in ("weight", "optimizer_state", "constant")}
        lasting |= {name for name in self._of(start, end, "UPDATE") if tensors[name].role == "gradient"}
        later = {name for op in self.ran.ops if op.phase in ("BP", "WU") for name in op.inputs}
        made = {name for op in self.forward[start:end] for name in op.outputs} & later
        return sum(stored_bytes(tensors[name]) for name in lasting) + on_their_way * sum(
            stored_bytes(tensors[name]) for name in made if tensors[name].role == "activation"
        )

    def _of(self, start: int, end: int, phase: str | None = None) -> set[str]:
        """Tensors that the ops of a stage touch, in one phase or in all."""
        mine = [op for op in self.ran.ops if start <= self.place[op.name] < end and phase in (None, op.phase)]
        return {name for op in mine for name in (*op.inputs, *op.outputs)}


def _places(ran: Workload) -> dict[str, int]:
    """For each op the number of the forward op that it belongs to: the one it is there for (`Op.of`), else the first of
    its layer, else that of the op before."""
    forward = [op for op in ran.ops if op.phase == "FF"]
    places = {op.name: number for number, op in enumerate(forward)}
    of_layer: dict[str, int] = {}
    for number, op in enumerate(forward):
        of_layer.setdefault(op.layer, number)
    before = len(forward) - 1
    for op in ran.ops:
        if op.phase != "FF":
            places[op.name] = before = places.get(op.of, of_layer.get(op.layer, before))
    return places

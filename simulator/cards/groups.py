"""An iteration over several groups of cards: layers dealt in order (a pipeline), batches to replicas (data parallel).

A run prices one micro-batch on one card, or on the cards that share its products (`gpu.cards`). Here its ops are dealt
to the stages of a pipeline, which passes micro-batches on one after the other, and replicas add up their gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.cards.dealing import Dealing, Stretch, held_bytes
from zerocast.simulator.cards.energy import cards_of
from zerocast.simulator.cards.link import collective_s, send_s
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gpu.streaming import streamed_s
from zerocast.simulator.result import Result
from zerocast.workloads.ir import Workload

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
        for name, number in asdict(self).items():
            if number < 1:
                raise SimulationError(f"{name} {number} (--{name.replace('_', '-')}): must be 1 or more")

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
    its weights, once an iteration; reduce_s: after the last backward pass, until its gradients are those of all
    replicas. memory_bytes: of a card, all that lives at once during its ops, with what is kept of all micro-batches on
    their way."""

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


def iteration(result: Result, accelerator: Accelerator, layout: Layout, allow_overflow: bool = False) -> Iteration:
    """An iteration of `layout`, of the run of one micro-batch on a card, or on those that share its products.

    Micro-batches follow one another as in 1F1B (Narayanan et al., "Efficient Large-Scale Language Model Training on GPU
    Clusters Using Megatron-LM", SC 2021, section 2.2): one passes all stages forward and back, the others follow at the
    pace of the slowest. Gradients are added up after the last one, or in buckets during its backward pass
    (`bucket_bytes` of a regime), which is taken to make them evenly and to be no slower for it.

    allow_overflow: price stages that need more memory than their card has. Raises what `Layout.check` raises, and
    `SimulationError` for fewer layers than stages and where a stage does not fit its card.
    """
    layout.check(accelerator)
    assert result.ran is not None  # of every run
    spent = _Spent(result, result.ran, accelerator)
    stretches = spent.dealing.stretches(layout.pipeline)
    stages = tuple(spent.stage(number, stretch, layout) for number, stretch in enumerate(stretches))
    if not allow_overflow:
        _check_memory(stages, accelerator)
    paces = [stage.micro_batch_s for stage in stages]
    last = max(stage.update_s + stage.reduce_s for stage in stages)
    latency = sum(paces) + (layout.micro_batches - 1) * max(paces) + last
    groups = layout.pipeline * layout.data_parallel
    idle_j = result.static_j / result.latency_s * latency * groups if result.latency_s else 0.0
    often = layout.micro_batches * layout.data_parallel
    ops_j = sum(row.energy_j * (layout.data_parallel if row.phase == "UPDATE" else often) for row in result.rows)
    return Iteration(layout, groups * cards_of(accelerator), stages, latency, ops_j + idle_j)


def _check_memory(stages: Sequence[Stage], accelerator: Accelerator) -> None:
    capacity = accelerator.dram.capacity_bytes
    for number, stage in enumerate(stages, 1):
        if capacity is not None and stage.memory_bytes > capacity:
            raise SimulationError(
                f"stage {number} of {len(stages)} needs {stage.memory_bytes / 1e9:.1f} GB of a card's "
                f"{capacity / 1e9:.1f} GB; more stages (--pipeline), more cards that share products "
                "(--tensor-parallel) or a smaller batch would fit; to price it all the same, pass allow_overflow=True "
                "(--allow-overflow)"
            )


class _Spent:
    """What a run spends, by forward op."""

    def __init__(self, result: Result, ran: Workload, accelerator: Accelerator) -> None:
        self.dealing, self.storage, self.accelerator = Dealing(ran), result.storage, accelerator
        count = len(self.dealing.forward)
        self.passes_s, self.backward_s, self.update_s = np.zeros(count), np.zeros(count), np.zeros(count)
        self.ways = 2 if any(op.phase == "BP" for op in ran.ops) else 1
        before = 0.0
        for row in sorted(result.rows, key=lambda row: row.end_s):
            times = self.update_s if row.phase == "UPDATE" else self.passes_s
            place, spent_s = self.dealing.place[row.op], row.end_s - before  # what it waits for its launch is its own
            times[place] += spent_s
            self.backward_s[place] += spent_s * (row.phase in ("BP", "WU"))
            before = row.end_s

    def stage(self, number: int, stretch: Stretch, layout: Layout) -> Stage:
        """The stage of some forward ops."""
        own, forward, sent = slice(*stretch), self.dealing.forward, self.dealing.sent_bytes[stretch[1]]
        runs = self.dealing.stage(stretch)
        send = self.ways * send_s(sent, self.accelerator) if sent else 0.0
        reduce_s, reduced = 0.0, _gradient_bytes(runs)
        if layout.data_parallel > 1 and reduced:
            copies = float(streamed_s(self.accelerator, FLATTENED * reduced))
            reduce_s = copies + self._shown_s(reduced, float(self.backward_s[own].sum()), layout.data_parallel)
        on_their_way = min(layout.micro_batches, layout.pipeline - number)
        return Stage(
            forward[own][0].layer, forward[own][-1].layer, float(self.passes_s[own].sum()) + send,
            float(self.update_s[own].sum()), reduce_s,
            held_bytes(runs, self.storage, on_their_way, layout.micro_batches > 1),
        )  # fmt: skip

    def _shown_s(self, reduced: float, backward_s: float, replicas: int) -> float:
        """Seconds of an all-reduce of gradients that come after the backward pass. Buckets go one after another, each
        once the pass has made it: the last one at its end, the others beside it where there is time."""
        assert self.accelerator.gpu is not None
        bucket = min(self.accelerator.gpu.software.bucket_bytes or reduced, reduced)
        count = -(-reduced // bucket)
        bucket_s = collective_s("all_reduce", reduced / count, self.accelerator, replicas)
        return max(count * bucket_s - (1 - 1 / count) * backward_s, bucket_s)


def _gradient_bytes(stage: Workload) -> int:
    """Bytes of the gradients that the updates of a stage read."""
    read = {name for op in stage.ops if op.phase == "UPDATE" for name in op.inputs}
    return sum(stage.tensors[name].bytes for name in read if stage.tensors[name].role == "gradient")

"""A workload as one card of several runs it, where all of them share each product (tensor parallelism).

Shoeybi et al., "Megatron-LM", 2019: of two products in a row the first is dealt by its outputs and the second by its
sums, so that what lies between stays where it is and one all-reduce follows; attention is dealt by heads, embeddings
and the last product by the vocabulary. Here the same follows from the dataflow of any network: a tensor is whole on
each card or dealt; a product of a whole input is dealt by its outputs, one of a dealt input by its sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from zerocast.simulator.errors import SimulationError
from zerocast.workloads.ir import Einsum, Index, Op, Tensor, Transfer, Vector, Workload

LEAST = 64
"""Outputs of a product that are worth dealing: a router of a few experts, a classifier of a few classes stays whole."""
TABLE = 1 << 24
"""Elements of an embedding that is worth dealing by its rows."""


def shared(workload: Workload, cards: int) -> Workload:
    """What one of `cards` cards runs and holds of a workload, collectives included.

    Shares are rounded up. Raises `SimulationError` where fewer heads than cards are to be dealt.
    """
    dealing = _Dealing(workload, cards)
    for op in workload.ops:
        dealing.take(op)
    for name in sorted(workload.results & dealing.dealt):
        if not isinstance(dealing.maker.get(name), Transfer):  # a cache stays dealt
            dealing.whole(name, dealing.maker[name])
    return workload.with_ops(tuple(dealing.ops), **dealing.tensors)


@dataclass
class _Dealing:
    """State of a walk over the ops. dealt: tensors of which each card holds its share. ranks: the rank along which the
    product of a layer is dealt, None where it is not; its backward passes follow. tables: embeddings that are dealt.
    maker: the op that made a tensor. tensors: new ones, and those that are smaller than in the workload."""

    workload: Workload
    cards: int
    dealt: set[str] = field(default_factory=set)
    ranks: dict[str, str | None] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    maker: dict[str, Op] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)

    def take(self, op: Op) -> None:
        """Append an op as one card runs it, with the collectives around it."""
        if isinstance(op, Einsum):
            self._product(op)
        elif isinstance(op, Index) and (op.of in self.tables or self._is_table(op)):
            self._lookup(op)
        else:
            self._other(op)
        self.maker |= dict.fromkeys(op.outputs, op)

    def share(self, elements: int) -> int:
        """Elements of a card."""
        return -(-elements // self.cards)

    def deal(self, name: str, axis: int | None = None) -> None:
        """Let each card hold its share of a tensor, along an axis."""
        if name in self.dealt:
            return
        self.dealt.add(name)
        tensor = self.workload.tensors[name]
        axis = self._axis(tensor.shape) if axis is None else axis
        shape = (*tensor.shape[:axis], self.share(tensor.shape[axis]), *tensor.shape[axis + 1 :])
        self.tensors[name] = replace(tensor, shape=shape)

    def _axis(self, shape: tuple[int, ...]) -> int:
        """The axis of a tensor that no product tells: heads of four axes, else the last that divides."""
        order = (1, 0, 2, 3) if len(shape) == 4 else tuple(reversed(range(len(shape))))
        return next((axis for axis in order if shape[axis] % self.cards == 0), max(order, key=shape.__getitem__))

    def whole(self, name: str, op: Op) -> str:
        """The name of the whole of a tensor: that of a dealt one is put together first."""
        if name not in self.dealt:
            return name
        gathered = f"{name}.whole"
        if gathered not in self.tensors:
            self.tensors[gathered] = replace(self.workload.tensors[name], name=gathered)
            self._collect("all_gather", op, name, gathered, self.tensors[gathered])
        return gathered

    def _collect(self, function: str, op: Op, source: str, target: str, whole: Tensor) -> None:
        """Append a collective around an op that makes a tensor, as large as `whole`, of what each card has of it."""
        self.ops.append(Transfer(f"{target}.{function}", op.layer, op.phase, (source,), (target,), function=function,
                                 elements=whole.elements))  # fmt: skip

    def _summed(self, op: Op, changed: Op) -> None:
        """Append an op whose result every card has a summand of, and the all-reduce that adds them up."""
        target = op.outputs[0]
        part = f"{target}.part"
        self.tensors[part] = replace(self.workload.tensors[target], name=part)
        self.ops.append(replace(changed, outputs=(part, *op.outputs[1:])))
        self._collect("all_reduce", op, part, target, self.tensors[part])

    def _product(self, op: Einsum) -> None:
        """A product with its rank dealt that the forward pass of its layer was dealt by, or else the best one."""
        rank = self.ranks[op.of] if op.of in self.ranks else self._rank(op)
        self.ranks[op.name] = rank
        if rank is None:
            self.ops.append(replace(op, inputs=tuple(self.whole(name, op) for name in op.inputs)))
            return
        inputs = list(op.inputs)
        for operand, name in enumerate(op.inputs[:2]):
            if rank in op.ranks_of(operand):
                inputs[operand] = self._part_of(name, op, self._along(op, operand, rank))
            else:
                inputs[operand] = self.whole(name, op)
        changed = replace(op, inputs=tuple(inputs), sizes={**op.sizes, rank: self.share(op.sizes[rank])})
        if rank in op.ranks_of(2):
            self.deal(op.outputs[0], self._along(op, 2, rank))
            self.ops.append(changed)
        else:
            self._summed(op, changed)

    def _part_of(self, name: str, op: Op, axis: int | None = None) -> str:
        """A tensor's share: what lies whole on each card is cut where it is, which moves nothing."""
        made = self.maker.get(name)
        if name in self.dealt or made is None or _is_view(made):
            self.deal(name, axis)
            return name
        cut = f"{name}.share"
        if cut not in self.tensors:
            tensor = self.workload.tensors[name]
            at = self._axis(tensor.shape) if axis is None else axis
            shape = (*tensor.shape[:at], self.share(tensor.shape[at]), *tensor.shape[at + 1 :])
            self.tensors[cut] = replace(tensor, name=cut, shape=shape)
            self.ops.append(Transfer(f"{cut}.cut", op.layer, op.phase, (name,), (cut,), function="slice"))
        return cut

    @staticmethod
    def _along(op: Einsum, operand: int, rank: str) -> int:
        """The axis of an operand that a rank runs along."""
        return next(axis for axis, affine in enumerate(op.index[operand]) if rank in {name for name, _ in affine})

    def _rank(self, op: Einsum) -> str | None:
        """The rank along which a product is dealt: by its outputs where the input is whole, by its sums where it is
        dealt, products of a batch (heads) by the batch."""
        a, b, out = (op.ranks_of(operand) for operand in range(3))
        weights = [p for p in (0, 1) if self.workload.tensors[op.inputs[p]].weight]
        if len(weights) == 1:
            (mine,), ranks = weights, (a, b)
            tied, other = op.inputs[mine] in self.dealt, op.inputs[1 - mine] in self.dealt
            columns = (ranks[mine] & out) - ranks[1 - mine]
            found = set((a & b) - out if other else columns)
            found = found or set(a & b & out)  # a convolution of one channel each
            if tied and not other:
                held = self.tensors[op.inputs[mine]].shape
                moved = [i for i, n in enumerate(self.workload.tensors[op.inputs[mine]].shape) if held[i] != n]
                found = {r for i in moved for r, _ in op.index[mine][i]} or found
            best = max(found, key=lambda rank: (op.sizes[rank], rank), default=None)
            return best if best is not None and op.sizes[best] >= max(LEAST, self.cards) else None
        if not any(name in self.dealt for name in op.inputs[:2]):
            return None
        of_dealt = a if op.inputs[0] in self.dealt else b
        batch = [rank for rank in op.sizes if rank in a & b & out] or [r for r in op.sizes if r in of_dealt & out]
        fits = [rank for rank in batch if op.sizes[rank] % self.cards == 0]
        if fits:
            return fits[-1]
        if max((op.sizes[rank] for rank in batch), default=0) < self.cards:
            raise SimulationError(
                f"{self.cards} cards cannot share the {max((op.sizes[r] for r in batch), default=0)} heads of "
                f"{op.name!r}; give a --tensor-parallel that divides them"
            )
        return max(batch, key=op.sizes.__getitem__)

    def _is_table(self, op: Index) -> bool:
        table = self.workload.tensors[op.inputs[0]]
        return op.function == "gather" and bool(table.weight) and table.elements >= TABLE

    def _lookup(self, op: Index) -> None:
        """Rows of an embedding that is dealt by rows: each card looks up those that it has, and all add up."""
        if op.phase == "FF":
            self.tables.add(op.name)
            self.deal(op.inputs[0], 0)
            self._summed(op, op)
        else:
            self.ops.append(replace(op, inputs=tuple(self.whole(name, op) for name in op.inputs)))
            self.deal(op.outputs[0], 0)

    def _other(self, op: Op) -> None:
        """Work beside the products: of dealt tensors each card does its share; where one that is computed whole meets a
        dealt one, element by element, that is put together."""
        assert isinstance(op, (Vector, Index, Transfer))
        size = max((self.workload.tensors[name].elements for name in (*op.inputs, *op.outputs)), default=0)
        big = [name for name in op.inputs if 2 * self.workload.tensors[name].elements > size]
        dealt = [name for name in op.inputs if name in self.dealt]
        meets = isinstance(op, Vector) and op.elementwise and any(
            name not in self.dealt and (made := self.maker.get(name)) is not None and not _is_view(made) for name in big
        )  # fmt: skip
        if not dealt or meets:
            self.ops.append(replace(op, inputs=tuple(self.whole(name, op) for name in op.inputs)))
            return
        inputs = [self._part_of(name, op) if name in big else name for name in op.inputs]
        for name in op.outputs:
            if self.workload.tensors[name].elements >= LEAST:
                self.deal(name)
        self.ops.append(replace(op, inputs=tuple(inputs), elements=self.share(op.elements)))


def _is_view(op: Op) -> bool:
    return isinstance(op, Transfer) and (op.elements == 0 or op.in_place)

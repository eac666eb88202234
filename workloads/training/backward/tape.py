"""The backward pass under construction: which tensors need a gradient, and what has been added up for
each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from zerocast.workloads.flops import is_elementwise
from zerocast.workloads.ir import Einsum, Op, Phase, Tensor, Vector, Workload
from zerocast.workloads.training.autograd import Autograd


@dataclass
class Tape:
    """Ops emitted so far, tensors by name, and the gradient contributions of each tensor."""

    tensors: dict[str, Tensor]
    needs: frozenset[str]
    ops: list[Op] = field(default_factory=list)
    parts: dict[str, list[str]] = field(default_factory=dict)
    unsettled: dict[str, None] = field(default_factory=dict)
    made: dict[tuple[str, str], int] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def without(self, stopped: Collection[str]) -> Tape:
        """The same tape as an op sees it that passes no gradient on to some tensors."""
        return replace(self, needs=self.needs.difference(stopped)) if stopped else self

    def emit(self, op: Op) -> None:
        """Append an op; one whose name is taken gets a number behind it."""
        name = self.unused(op.name)
        self.ops.append(op if name == op.name else replace(op, name=name))

    def unused(self, name: str) -> str:
        """`name`, or with a number behind it where an op has it already; taken from now on."""
        self.names = self.names or {op.name for op in self.ops}
        free, count = name, 1
        while free in self.names:
            count += 1
            free = f"{name}.{count}"
        self.names.add(free)
        return free

    def wanted(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that need a gradient, each once."""
        return [name for name in dict.fromkeys(names) if name in self.needs]

    def fresh(self, name: str) -> str:
        """A new gradient contribution to tensor `name`, as large as it."""
        gradient = self._new(name, "grad")
        self.give(name, gradient)
        return gradient

    def give(self, name: str, gradient: str) -> None:
        """`gradient` itself is a contribution to tensor `name` (nothing is computed)."""
        parts = self.parts.setdefault(name, [])
        parts.append(gradient)
        if len(parts) > 1:
            self.unsettled[name] = None

    def settle(self) -> None:
        """Add up the contributions that came in, as autograd does: at once, so that no more than two live."""
        for name in self.unsettled:
            parts = self.parts[name]
            while len(parts) > 1:
                of = self.tensors[name]
                inputs = (parts.pop(0), parts.pop(0))
                total = self._new(name, "grad.total")
                operation = f"{total}.add"
                phase = phase_of(of)
                self.emit(Vector(operation, "", phase, inputs, (total,), "add", of.elements, 1.0, True))
                parts.insert(0, total)
        self.unsettled.clear()

    def gradient(self, name: str) -> str | None:
        """The whole gradient of a tensor, None where the loss does not depend on it."""
        parts = self.parts.get(name)
        return parts[0] if parts else None

    def _new(self, name: str, kind: str) -> str:
        count = self.made.get((name, kind), 0)
        self.made[name, kind] = count + 1
        of = self.tensors[name]
        gradient = f"{name}.{kind}{count or ''}"
        self.tensors[gradient] = Tensor(gradient, of.shape, of.dtype, "gradient")
        return gradient

    def vector(
        self,
        op: Op,
        target: str,
        function: str,
        inputs: Sequence[str],
        elements: int,
        flops: float,
        mark: str = "",
    ) -> None:
        """Emit the vector op that computes one contribution to `target`."""
        phase = phase_of(self.tensors[target])
        name = f"{op.name}.{phase}{mark}"
        same = is_elementwise(function) and elements == self.tensors[target].elements
        outputs = (self.fresh(target),)
        self.emit(Vector(name, op.layer, phase, tuple(inputs), outputs, function, elements, flops, elementwise=same))


def phase_of(tensor: Tensor) -> Phase:
    """Pass to which the computation of a tensor's gradient belongs: what is made of a weight has a weight gradient."""
    return "WU" if tensor.weight else "BP"


def mark(position: int) -> str:
    """Suffix that tells the gradients of several operands of one op apart: none for the first."""
    return "" if position == 0 else "." + "abcdefghijklmnopqrstuvwxyz"[min(position, 25)]


def needing(forward: Workload, autograd: Autograd) -> frozenset[str]:
    """Tensors that need a gradient: trainable weights, and floating results that depend on one."""
    weights = {name for name, tensor in forward.tensors.items() if tensor.role == "weight"}
    needs = weights - autograd.frozen
    for op in forward.ops:
        stopped = autograd.stopped.get(op.name, ())
        if any(name in needs and name not in stopped for name in op.inputs):
            needs.update(name for name in op.outputs if forward.tensors[name].role == "activation")
    return frozenset(needs)


def weight_of(op: Einsum, tensors: dict[str, Tensor]) -> str:
    """The weight that an einsum reads, or reads something made of, as its operand b; "" where there is none."""
    return tensors[op.inputs[1]].weight

"""The loss that a training step starts its backward pass from."""

from __future__ import annotations

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Einsum, Tensor, Vector, Workload
from zerocast.workloads.training.backward.tape import Tape


def seed(tape: Tape, forward: Workload) -> None:
    """Emit loss and its gradient with respect to the outputs.

    - one output that a linear layer wrote: class scores, so softmax cross entropy over the last dimension
      against labels; its backward reads the saved log probabilities (p - onehot, scaled);
    - one output of a single element: the model computed its loss itself;
    - anything else: sum of squares of all outputs (as many bytes and operations as any elementwise loss).
    """
    outputs = tape.wanted(forward.outputs)
    if not outputs:
        raise WorkloadError(f"model {forward.name!r}: no output depends on a trainable parameter; nothing to train")
    writers = {name: op for op in forward.ops for name in op.outputs}
    only = tape.tensors[outputs[0]]
    if len(outputs) == 1 and only.elements == 1:
        _one(tape, only)
    elif len(outputs) == 1 and isinstance(writers.get(outputs[0]), Einsum):
        _cross_entropy(tape, only)
    else:
        _squares(tape, outputs)


def _one(tape: Tape, loss: Tensor) -> None:
    gradient = (tape.fresh(loss.name),)
    tape.emit(Vector("loss.BP", "", "BP", (), gradient, "fill", 1, 0.0))


def _cross_entropy(tape: Tape, logits: Tensor) -> None:
    tape.tensors["labels"] = Tensor("labels", logits.shape[:-1], "int64", "input")
    tape.tensors["loss.out"] = Tensor("loss.out", (), "fp32", "activation")
    saved = "loss.log_probabilities"
    tape.tensors[saved] = Tensor(saved, logits.shape, logits.dtype, "activation")
    count = logits.elements
    tape.emit(Vector("loss", "", "FF", (logits.name, "labels"), ("loss.out", saved), "cross_entropy", count, 6.0))
    gradient = (tape.fresh(logits.name),)
    tape.emit(Vector("loss.BP", "", "BP", (saved, "labels"), gradient, "cross_entropy_backward", count, 3.0))


def _squares(tape: Tape, outputs: list[str]) -> None:
    tape.tensors["loss.out"] = Tensor("loss.out", (), "fp32", "activation")
    count = sum(tape.tensors[name].elements for name in outputs)
    tape.emit(Vector("loss", "", "FF", tuple(outputs), ("loss.out",), "square_sum", count, 2.0))
    gradients = tuple(tape.fresh(name) for name in outputs)
    tape.emit(Vector("loss.BP", "", "BP", tuple(outputs), gradients, "square_sum_backward", count, 1.0))

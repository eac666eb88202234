"""Workloads of a few ops, written by hand."""

from __future__ import annotations

from zerocast.workloads import Einsum, Index, Op, Tensor, Vector, Workload
from zerocast.workloads.ir import Affine
from zerocast.workloads.patterns import DENSE, NM, Pattern

INDEX = {"x": ((("m", 1),), (("k", 1),)), "w": ((("n", 1),), (("k", 1),)), "y": ((("m", 1),), (("n", 1),))}
SIZES = {"m": 64, "n": 32, "k": 128}


def linear(name: str, phase: str, inputs: tuple[str, str], output: str, operands: str = "xwy") -> Einsum:
    """A pass of y[m, n] = x[m, k] w[n, k]; `operands` says which of the three each operand is."""
    index = tuple(INDEX[which] for which in operands)
    return Einsum(name, "fc", phase, inputs, (output,), SIZES, index, {}, "linear")  # type: ignore[arg-type]


def tensor(name: str, role: str, which: str, pattern: Pattern = DENSE, dtype: str = "fp16") -> Tensor:
    shape = {"x": (64, 128), "w": (32, 128), "y": (64, 32)}[which]
    return Tensor(name, shape, dtype, role, pattern)  # type: ignore[arg-type]


def forward() -> Workload:
    """Linear, ReLU, and a sum that reads the ReLU's result."""
    tensors = [tensor("x", "input", "x"), tensor("w", "weight", "w"), tensor("y", "activation", "y"),
               tensor("z", "activation", "y"), tensor("s", "activation", "y")]  # fmt: skip
    ops: tuple[Op, ...] = (
        linear("fc", "FF", ("x", "w"), "y"),
        Vector("relu", "act", "FF", ("y",), ("z",), "relu", 64 * 32, 1.0, elementwise=True),
        Vector("softmax", "head", "FF", ("z",), ("s",), "softmax", 64 * 32, 5.0),
    )
    return Workload("forward", {t.name: t for t in tensors}, ops)


def step() -> Workload:
    """One training step of a linear layer whose forward weights are selected 2:8 online."""
    law = NM(2, 8, "k")
    tensors = [
        tensor("x", "input", "x"), tensor("w", "weight", "w", dtype="fp32"), tensor("w@FF", "constant", "w", law),
        tensor("y", "activation", "y"), tensor("dy", "gradient", "y"), tensor("dw", "gradient", "w"),
        tensor("v", "optimizer_state", "w", dtype="fp32"),
    ]  # fmt: skip
    ops: tuple[Op, ...] = (
        Index("select", "fc", "FF", ("w",), ("w@FF",), "nm_select", 32 * 128, 8),
        linear("fc", "FF", ("x", "w@FF"), "y"),
        Vector("loss", "loss", "BP", ("y",), ("dy",), "cross_entropy", 64 * 32, 4.0),
        linear("fc.WU", "WU", ("dy", "x"), "dw", "yxw"),
        Vector("update", "fc", "UPDATE", ("w", "v", "dw"), ("w", "v"), "sgd_momentum", 32 * 128, 4.0),
    )
    return Workload("step", {t.name: t for t in tensors}, ops, {"fc": ""})


def attention(saved: bool = False) -> Workload:
    """softmax(q k^T) v of 4 heads, 64 tokens, width 32; `saved`: something else reads the probabilities too."""

    def plain(*ranks: str) -> tuple[Affine, ...]:
        return tuple(((rank, 1),) for rank in ranks)

    sizes = {"h": 4, "m": 64, "n": 64, "c": 32}
    shapes = {
        "q": (4, 64, 32),
        "k": (4, 64, 32),
        "v": (4, 64, 32),
        "s": (4, 64, 64),
        "p": (4, 64, 64),
        "o": (4, 64, 32),
    }
    tensors = {name: Tensor(name, shape, "bf16", "activation") for name, shape in shapes.items()}
    ops: list[Op] = [
        Einsum("qk", "att", "FF", ("q", "k"), ("s",), sizes, (plain(*"hmc"), plain(*"hnc"), plain(*"hmn"))),
        Vector("softmax", "att", "FF", ("s",), ("p",), "softmax", 4 * 64 * 64, 5.0),
        Einsum("pv", "att", "FF", ("p", "v"), ("o",), sizes, (plain(*"hmn"), plain(*"hnc"), plain(*"hmc"))),
    ]
    if saved:
        tensors["d"] = Tensor("d", (4, 64, 64), "bf16", "activation")
        ops.append(Vector("reader", "att", "BP", ("p",), ("d",), "mul", 4 * 64 * 64, 1.0))
    return Workload("attention", tensors, tuple(ops))

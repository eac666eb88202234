"""What the columns of a table of convolutions mean: those of SCALE-Sim's topologies, or N, C, K, P, Q, R, S, stride."""

from __future__ import annotations

from pathlib import Path

from zerocast.accelerators import Accelerator
from zerocast.analysis.csv_table import Row, read_table
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.products.gemm_columns import (
    COLUMNS,
    Columns,
    Shape,
    Table,
    density_of,
    read_as,
    typed,
    weight_pattern,
    whole,
)
from zerocast.simulator.products.gemm import Gemm, gemms
from zerocast.workloads.ir import Affine, Einsum, Tensor, Workload
from zerocast.workloads.patterns import DENSE, NM, Pattern

LOOPS = ("C", "K", "P", "Q", "R", "S")
"""Input and output channels of all groups, rows and columns of the output, then of the kernel."""
TOPOLOGY = ("IFMAP Height", "IFMAP Width", "Filter Height", "Filter Width", "Channels", "Num Filter", "Strides")
"""SCALE-Sim's names; the input map has its padding in it."""

_SHARED = {name: others for name, others in COLUMNS.items() if name != "batch"}
MORE_LOOPS: Columns = {
    "n": ("batch", "samples"),
    "stride": ("strides",),
    "dilation": (),
    "groups": ("group",),
    "padding": ("pad",),
    **_SHARED,
}
MORE_TOPOLOGY: Columns = {"n": ("batch", "samples"), **_SHARED}


def read_convolutions(path: Path, accelerator: Accelerator) -> Table:
    """The convolutions of a CSV in one of two forms, told by the header: `TOPOLOGY`, with any of `MORE_TOPOLOGY`, or
    `LOOPS`, with any of `MORE_LOOPS`, each in any case and order.

    padding: rows and columns of zeros on each side, which do not come from memory; without it the whole input that the
    windows reach does. Densities, patterns (along input channels), types and counts are those of a table of products.
    Raises `AnalysisError` naming file, line and column of the first mistake.
    """
    _, rows = read_table(path, ())
    if set(LOOPS) <= {name.upper() for name in rows[0].names}:
        return read_as(path, LOOPS, MORE_LOOPS, lambda row: _loops(row, accelerator))
    if "ifmap height" in rows[0].names:
        return read_as(path, TOPOLOGY, MORE_TOPOLOGY, lambda row: _topology(row, accelerator))
    raise AnalysisError(
        f"{path}: no table of convolutions; the header needs {', '.join(LOOPS)} (and any of "
        f"{', '.join(MORE_LOOPS)}), or {', '.join(TOPOLOGY)}"
    )


def _loops(row: Row, accelerator: Accelerator) -> Shape:
    c, k, p, q, r, s = (whole(row, name.lower()) for name in LOOPS)
    stride, dilation, groups = (whole(row, name, 1) for name in ("stride", "dilation", "groups"))
    padding = whole(row, "padding", 0, least=0)
    for name, channels in (("c", c), ("k", k)):
        if channels % groups:
            raise row.error(name, f"{channels} channels do not divide into {groups} groups")
    image = [(out - 1) * stride + (taps - 1) * dilation + 1 - 2 * padding for out, taps in ((p, r), (q, s))]
    if min(image) < 1:
        raise row.error("padding", f"{padding} leaves an input of {image[0]} x {image[1]}; give a smaller one")
    sizes = {"g": groups, "k": k // groups, "c": c // groups, "p": p, "q": q, "r": r, "s": s}
    return _shape(row, accelerator, sizes, (image[0], image[1]), stride, dilation)


def _topology(row: Row, accelerator: Accelerator) -> Shape:
    height, width, r, s, c, k, stride = (whole(row, name.lower()) for name in TOPOLOGY)
    for name, taps, size in (("filter height", r, height), ("filter width", s, width)):
        if taps > size:
            raise row.error(name, f"a kernel of {taps} is larger than the input of {size}")
    sizes = {"g": 1, "k": k, "c": c, "p": (height - r) // stride + 1, "q": (width - s) // stride + 1, "r": r, "s": s}
    return _shape(row, accelerator, sizes, (height, width), stride, 1)


def _shape(
    row: Row, accelerator: Accelerator, sizes: dict[str, int], image: tuple[int, int], stride: int, dilation: int
) -> Shape:
    sizes = {"n": whole(row, "n", 1), **sizes}
    law = weight_pattern(row)
    filters = NM(law.n, law.m, "c") if isinstance(law, NM) else law
    gemm = typed(row, convolution(sizes, stride, dilation, image, (density_of(row, "density_a"), filters)), accelerator)
    name = row.get("layer") or "x".join(str(sizes[rank]) for rank in "nckpqrs")
    return Shape(row.raw, gemm, row.where, whole(row, "count", 1), name)


def convolution(
    sizes: dict[str, int], stride: int, dilation: int = 1, image: tuple[int, int] | None = None,
    laws: tuple[Pattern, Pattern] = (DENSE, DENSE),
) -> Gemm:  # fmt: skip
    """The product of a convolution, from the einsum that a captured one is; its types are still to be told. sizes: n, g
    (groups), k, c, p, q, r, s in this order; image: rows and columns of the input, by default all that windows reach;
    laws: patterns of input and weights."""
    n, g, k, c, p, q, r, s = sizes.values()
    image = image or ((p - 1) * stride + (r - 1) * dilation + 1, (q - 1) * stride + (s - 1) * dilation + 1)

    def channel(rank: str) -> Affine:
        return (("g", sizes[rank]), (rank, 1)) if g > 1 else ((rank, 1),)

    window: tuple[Affine, ...] = ((("p", stride), ("r", dilation)), (("q", stride), ("s", dilation)))
    plain: dict[str, Affine] = {rank: ((rank, 1),) for rank in sizes}
    index = (
        (plain["n"], channel("c"), *window),
        (channel("k"), plain["c"], plain["r"], plain["s"]),
        (plain["n"], channel("k"), plain["p"], plain["q"]),
    )
    ranks = {rank: size for rank, size in sizes.items() if rank != "g" or g > 1}
    op = Einsum("conv", "conv", "FF", ("x", "w"), ("y",), ranks, index, dict(enumerate(laws)))
    tensors = {
        "x": Tensor("x", (n, g * c, *image), "fp32", "input"),
        "w": Tensor("w", (g * k, c, r, s), "fp32", "weight"),
        "y": Tensor("y", (n, g * k, p, q), "fp32", "activation"),
    }
    (product,) = gemms(Workload("conv", tensors, (op,)), op)
    return product

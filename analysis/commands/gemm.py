"""The verbs `gemm` and `conv`: price a table of matrix products, or of convolutions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zerocast.analysis.commands.command_line import (
    FIDELITIES,
    OBJECTIVES,
    AcceleratorName,
    Fidelity,
    GivenMapping,
    Objective,
    Settings,
    load_accelerator,
    spare,
    writable,
)
from zerocast.analysis.commands.printing.remark import note
from zerocast.analysis.errors import AnalysisError

if TYPE_CHECKING:
    from zerocast.accelerators import Accelerator
    from zerocast.analysis.products.gemm_columns import Table
    from zerocast.analysis.run.network import Step

_OPTION = typer.Option


@dataclass(frozen=True, slots=True)
class Asked:
    """What both verbs are asked beside their table: the options that they share."""

    accelerator: AcceleratorName
    out: Annotated[Path, _OPTION("--out", help="CSV to write.")]
    settings: Settings = None
    objective: Objective = "latency"
    fidelity: Fidelity = "analytic"
    mapping: GivenMapping = None
    warm: Annotated[bool, _OPTION("--warm", help="On a GPU: a product runs again and again on the same operands.")] = (
        False
    )
    quantise: Annotated[bool, _OPTION("--quantise", help="On a GPU: 8-bit products quantise 16-bit inputs first.")] = (
        False
    )
    nests: Annotated[bool, _OPTION("--nests", help="Print each mapping as a loop nest, and why it is taken.")] = False

    @property
    def conditions(self) -> list[str]:
        """The values of `--set`, and those of the conditions of a measurement."""
        more = [("gpu.operands=warm", self.warm), ("gpu.quantises=true", self.quantise)]
        wanted = [setting for setting, is_wanted in more if is_wanted]
        if wanted and load_accelerator(self.accelerator, None).gpu is None:
            raise AnalysisError(f"--warm, --quantise: {self.accelerator} is no GPU, whose kernels these are of")
        return [*(self.settings or ()), *wanted]


def _verb(function: Callable[..., None]) -> Callable[..., None]:
    """A verb of the command line whose last parameter, `asked`, stands for the options of `Asked`."""
    own, shared = signature(function, eval_str=True), signature(Asked, eval_str=True)

    @wraps(function)
    def verb(**options: Any) -> None:
        given = {name: options.pop(name) for name in shared.parameters}
        function(**options, asked=Asked(**given))

    every = [each for each in (*own.parameters.values(), *shared.parameters.values()) if each.name != "asked"]
    keywords = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in every]
    del verb.__wrapped__  # type: ignore[attr-defined]
    verb.__signature__ = Signature(keywords)  # type: ignore[attr-defined]
    verb.__annotations__ = {each.name: each.annotation for each in keywords}
    return verb


@_verb
def gemm_command(
    shapes: Annotated[
        str,
        typer.Argument(
            help="CSV with columns M, N, K and any of batch, count, dtype, density_a, density_b, pattern, layer, "
            "then_n (a second product of the result, fused with it); with --densities one product, M,N,K."
        ),
    ],
    *,
    densities: Annotated[
        str | None,
        _OPTION("--densities", help="0.05,0.1,...: each sparse kernel of a GPU at these densities, with a picture."),
    ] = None,
    dtype: Annotated[str, _OPTION("--dtype", help="With --densities: the data type.")] = "fp16",
    asked: Asked,
) -> None:
    """Price a table of matrix products, or one product on every sparse kernel of a GPU.

    2:4 weights that a GPU cannot skip are priced dense; a shape that fits no mapping has NaN. The column note says why.
    Mappings are given by the column layer, or by sizes such as 512x64x128.
    """
    if densities is not None:
        _over_densities(shapes, densities, dtype, load_accelerator(asked.accelerator, asked.settings), asked.out)
        return
    from zerocast.analysis.products.gemm_columns import read_shapes

    _price(read_shapes, Path(shapes), asked)


@_verb
def conv_command(
    layers: Annotated[
        Path,
        typer.Argument(
            help="CSV with SCALE-Sim's columns (IFMAP Height, ..., Strides), or C, K, P, Q, R, S and any of N, stride, "
            "dilation, groups, padding, count, dtype, density_a, density_b, pattern, layer."
        ),
    ],
    asked: Asked,
) -> None:
    """Price a table of convolutions.

    Each line is a convolution as a captured one is, windows and all. Patterns lie along input channels. Mappings are
    given by the column layer, or by sizes NxCxKxPxQxRxS.
    """
    from zerocast.analysis.products.conv_columns import read_convolutions

    _price(read_convolutions, layers, asked)


def _over_densities(text: str, densities: str, dtype: str, machine: Accelerator, out: Path) -> None:
    """One product on every sparse kernel: the table, the picture beside it, and where each kernel breaks even."""
    from zerocast.analysis.products.densities import (
        over_densities,
        read_densities,
        read_product,
        words,
        write_densities,
    )  # fmt: skip

    writable(out, "a table")
    picture = out.with_suffix(".png")
    if picture == out:
        raise AnalysisError(f"--out {str(out)!r} is the table; the picture comes beside it, as .png")
    found = over_densities(read_product(text, dtype, machine), machine, read_densities(densities))
    write_densities(out, found)
    from zerocast.analysis.reports.pictures.style import DPI, paper_style
    from zerocast.analysis.reports.plots.densities import densities_figure

    with paper_style():
        densities_figure(found).savefig(picture, dpi=DPI)
    for line in words(found):
        typer.echo(line)
    typer.echo(f"written: {out}, {picture}")


def _price(read: Callable[[Path, Accelerator], Table], shapes: Path, asked: Asked) -> None:
    """Read a table, price its lines and write them beside it."""
    from zerocast.analysis.products.table import given_shapes, nests_text, price_shapes, remarks, totals, write_table
    from zerocast.analysis.run.values import one_of

    machine = load_accelerator(asked.accelerator, asked.conditions)
    one_of("--objective", asked.objective, OBJECTIVES)
    one_of("--fidelity", asked.fidelity, FIDELITIES)
    writable(asked.out, "a table")
    spare(asked.out, shapes)
    table = read(shapes, machine)
    for remark in table.remarks:
        note(remark)
    lines = table.shapes if asked.mapping is None else given_shapes(table.shapes, asked.mapping, machine)
    with _shapes_step() as step:
        priced = list(price_shapes(lines, machine, asked.objective, asked.fidelity, step))
        write_table(asked.out, table, priced)
    if asked.nests:
        typer.echo(f"{nests_text(table, priced, machine, asked.objective)}\n")
    done = f"{len(table.shapes)} shapes on {machine.name}{totals(table, priced)}{remarks(priced)}"
    typer.echo(f"{done}, written: {asked.out}")


@contextmanager
def _shapes_step() -> Iterator[Step]:
    """A bar where someone watches; otherwise nothing, and nothing imported for it."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from zerocast.analysis.commands.printing.console import progress

    with progress() as steps, steps("shapes") as step:
        yield step

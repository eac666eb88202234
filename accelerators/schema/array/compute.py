"""The array of processing elements, and what it does about zeros."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from zerocast.accelerators.schema.part import Part

DTYPES = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int32", "int16", "int8", "int4")
"""Data types that hardware can multiply; of two, the first is the one to which the other is widened."""


def widest(types: str) -> str:
    """The type to which operands of unequal types, `fp16*int4`, are widened; a type by itself is its own."""
    return min(types.split("*"), key=lambda name: DTYPES.index(name) if name in DTYPES else len(DTYPES))


def check_dtypes(names: Iterable[str]) -> None:
    """Raise `ValueError` for a word that is no data type of hardware."""
    for name in names:
        if name not in DTYPES:
            near = difflib.get_close_matches(name.lower(), DTYPES, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(DTYPES)}"
            raise ValueError(f"unknown data type {name!r}; {hint}")


Dataflow = Literal[
    "output_stationary", "weight_stationary", "input_stationary", "unrolled", "row_stationary", "zero_skipping",
    "tensor_core",
]  # fmt: skip
"""How the array walks a product. The first three are systolic folds (`Fold`), unrolled needs `unroll`, row_stationary
`row_stationary`, zero_skipping `skipping` and tensor_core `gpu`."""

Role = Literal["groups", "samples", "out_rows", "out_cols", "out_channels", "in_channels", "kernel_rows", "kernel_cols"]
"""What a rank of a product does, whatever it is called. A product without windows is a 1 x 1 convolution: the two
innermost ranks of its rows are out_rows and out_cols, its columns out_channels, its depth in_channels."""


class Fold(Part):
    """Cycles of one fold, the work of the array between two changes of what it holds stationary.

    cycles = steps * initiation interval + skew_rows + skew_cols + constant (+ rows, where the load or drain
    of the stationary operand is not hidden behind the neighbouring fold).
    """

    skew_rows: Literal["array", "used"] = "array"
    """Whether data skew over all rows or over those in use."""
    skew_cols: Literal["array", "used"] = "array"
    """Whether data skew over all columns or over those in use."""
    hidden_load: tuple[Dataflow, ...] = ()
    """Dataflows in which the load (or drain) of what is stationary hides behind the neighbouring fold."""
    constant_cycles: int = 0
    """Cycles added to each fold, e.g. -2 for the two skews that share their first step with the stream."""
    pipelined: bool = False
    """True where the next fold's stream follows the last without a bubble: a tile pays its skew once."""
    block_rows: PositiveInt | None = None
    """Most steps of a stream that one instruction takes, of rows of the input those of one line of the output alone;
    None where a stream is not cut into instructions."""
    block_cycles: int = Field(default=0, ge=0)
    """Least cycles of an instruction."""


class Compute(Part):
    """The array of processing elements (PEs)."""

    rows: PositiveInt
    """PE rows."""
    cols: PositiveInt
    """PE columns."""
    macs_per_pe: PositiveInt = 1
    """Multiply-accumulates of one PE in one cycle."""
    rates: dict[str, PositiveFloat]
    """Data types that the PE multiplies, with the rate relative to `macs_per_pe`; those of input and weight where they
    differ, such as `fp16*int4`. The first is the one that the multipliers are built for: its area counts, and its width
    is that of the operand registers."""
    widens: bool = True
    """Whether operands of unequal types that `rates` does not name together are multiplied as the wider type; false
    refuses them."""
    accumulate_bits: PositiveInt = 32
    """Width of a partial sum."""
    dataflows: tuple[Dataflow, ...] = Field(min_length=1)
    """Dataflows that the array can run."""
    pipeline_bits: int = Field(default=0, ge=0)
    """Flip-flops of a multiplier's pipeline beside its operands and its sum, for the area."""
    reduction_network: bool = False
    """Whether the columns' sums pass a Benes network whose switches add or swap them, for the area."""
    accumulate_latency_cycles: PositiveInt = 1
    """Cycles from a partial sum into the adder to the next use of the sum."""
    accumulators_per_pe: PositiveInt = 1
    """Partial sums that a PE can keep in flight in output-stationary mode."""
    interleave: bool = False
    """Whether independent accumulations are interleaved to hide the accumulate latency."""
    fold: Fold = Fold()
    """Timing of a fold."""
    packs_kernel: bool = True
    """Weight- and input-stationary: whether the kernel positions of a convolution lie beside each other along the rows,
    as they do where windows are gathered; false gives each a fold of its own."""
    unroll: dict[Role, PositiveInt] = Field(default_factory=dict)
    """Dataflow unrolled: how many places of each rank the multipliers take in one cycle; what is not named takes one.
    Sums stay in the array for as long as one tile's reduction goes on."""
    depthwise: dict[Role, PositiveInt] = Field(default_factory=dict)
    """Dataflow unrolled: the same for the lanes beside the array that run depthwise convolutions (groups of one input
    channel) in its place; empty where the array runs them."""
    packs_kernel_cols: bool = False
    """Dataflow unrolled: whether lanes that few input channels leave idle take further kernel columns of them."""

    @field_validator("rates")
    @classmethod
    def _types_are_known(cls, rates: dict[str, float]) -> dict[str, float]:
        if not rates:
            raise ValueError("list at least one data type, such as {fp16: 1.0}")
        check_dtypes(part for types in rates for part in types.split("*"))
        if "*" in next(iter(rates)):
            raise ValueError("list the type that the multipliers are built for first, pairs such as fp16*int4 after it")
        if wrong := [types for types in rates if "*" in types and len(set(types.split("*"))) != 2]:
            raise ValueError(f"{wrong[0]}: a pair is the types of input and weight, unequal, such as fp16*int4")
        return rates

    @model_validator(mode="after")
    def _unrolls_the_array(self) -> Compute:
        if ("unrolled" in self.dataflows) != bool(self.unroll):
            raise ValueError("unroll: dataflow unrolled and the part `unroll` belong together")
        if (self.depthwise or self.packs_kernel_cols) and not self.unroll:
            name = "depthwise" if self.depthwise else "packs_kernel_cols"
            raise ValueError(f"{name}: belongs to dataflow unrolled; give `unroll` too, or leave it out")
        if self.unroll and math.prod(self.unroll.values()) != self.multipliers:
            raise ValueError(
                f"unroll: takes {math.prod(self.unroll.values())} multipliers, the array has {self.multipliers} "
                "(rows * cols * macs_per_pe)"
            )
        return self

    @property
    def multipliers(self) -> int:
        """Multiply-accumulates of the whole array in one cycle at rate 1."""
        return self.rows * self.cols * self.macs_per_pe

    def multiplies_as(self, types: str) -> str | None:
        """The entry of `rates` for operands of these types: their own, or the wider type's; None where it has none."""
        wide = widest(types)
        return types if types in self.rates else wide if self.widens and wide in self.rates else None

    @property
    def native_type(self) -> str:
        """Data type that the multipliers are built for."""
        return next(iter(self.rates))


class OperandSparsity(Part):
    """What the array does about zeros in one operand."""

    mode: Literal["none", "gate", "skip", "structured_skip"] = "none"
    """gate saves energy; skip saves cycles for any zero; structured_skip saves cycles for N:M only."""
    max_group: PositiveInt = 16
    """structured_skip: largest M that the operand multiplexer spans."""
    sync_group: PositiveInt = 1
    """skip, in a systolic dataflow: lanes that wait for the slowest among them (engines: `skipping.sync_group`)."""
    match: Literal["none", "nm_mux", "leading_nonzero", "intersection", "cartesian", "prefix_sum"] = "none"
    """Mechanism that finds the effectual pairs."""


class OutputSparsity(Part):
    """What the array does about outputs that nobody asks for, such as the gradients of pruned weights."""

    mode: Literal["none", "gate", "skip"] = "none"
    """gate: their multiplications take no energy. skip: nor time where all outputs that are computed side by side are
    left out (a fold of an output-stationary array, a step of unrolled ranks, a tile of a GPU's kernel of 128 x 128; of
    engines of law dot single ones, for which lanes wait as `skipping.wait` says), and they are not stored: what is,
    lies in the order of the mask."""


class Sparsity(Part):
    """Zero handling of the array per operand."""

    input: OperandSparsity = OperandSparsity()
    """Operand a."""
    weight: OperandSparsity = OperandSparsity()
    """Operand b."""
    output: OutputSparsity = OutputSparsity()
    """The result."""

"""What stands beside the array: units, the controller, the host."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from zerocast.accelerators.schema.part import Part


class Unit(Part):
    """A unit beside the array. It works through elements at lanes / (cycles per element) a cycle."""

    name: str
    """Unique name; the resource that the schedule books."""
    functions: tuple[str, ...]
    """Vector and index functions it runs; `*` stands for all that no other unit names."""
    lanes: PositiveInt
    """Elements in flight side by side."""
    flops_per_lane: PositiveFloat = 1.0
    """Pipelined operations a lane performs in one cycle (vector functions)."""
    streams: bool = False
    """Whether elementwise work is applied to data on their way from the array to memory."""


class Schedule(Part):
    """Switches of the controller."""

    pregenerate: bool = False
    """Make the compressed N:M operands when the weights are updated, not when they are used."""
    offline: bool = True
    """Choose the best dataflow per layer and pass; otherwise the first one listed is used for all."""
    joins_in_place: bool = False
    """Let the parts of a concatenation be written straight into their place in it, so that it moves nothing."""
    residency: Literal["none", "activations", "all", "preloaded"] = "none"
    """What may stay on chip between the ops that touch it: nothing, what ops make and the network's inputs, or weights,
    optimizer state and constants, too. preloaded: these, and weights that no op writes may lie there from the run
    before, so that none of their reads goes off chip. Which tensors stay, and where, is chosen against capacities."""
    fuse: Literal["none", "pairs"] = "none"
    """Whether two products in a row may run over shared blocks of rows, with the elementwise ops and softmaxes between
    them, so that what lies between need not fit on chip whole. Which pairs do is chosen by what they cost."""
    prefetch_weights: bool = True
    """Load the first weight tile of an op while the one before it computes."""

    @property
    def keeps_on_chip(self) -> bool:
        """Whether anything that ops hand on may be kept on chip between them."""
        return self.residency != "none" or self.fuse != "none"


class Host(Part):
    """What the machine around the accelerator adds."""

    launch_overhead_s: float = Field(default=0.0, ge=0)
    """Time before each op can start, in s; what takes the output of another op on the fly starts with that one."""
    pace: PositiveFloat = 1.0
    """Time that its processor takes for what a GPU's software regime asks of it, over that of a server of 2023."""
    link_bytes_per_s: PositiveFloat | None = None
    """Bandwidth of the link to its memory, each way; None where it is not known."""

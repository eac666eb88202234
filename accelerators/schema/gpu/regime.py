"""Software regimes of a GPU: what launches kernels, and which ops of a network share one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from zerocast.accelerators.schema.part import Part

Joined = Literal["epilogue", "pointwise", "movement", "siblings", "normalisation"]


class Regime(Part):
    """How a software stack turns ops into kernels."""

    description: str = Field(min_length=8)
    """What it stands for, in a line."""
    host_s: float = Field(ge=0)
    """Time that the host takes for one operator that launches a kernel, its share of Python and of views included:
    kernels come no faster, however short they are; 0 where they are recorded beforehand. Of a processor of
    `host.pace` 1."""
    dispatch_s: float = Field(default=0.0, ge=0)
    """The same for kernels that no Python asks for: those of a backward pass, and those that an operator launches
    beside its own."""
    step_s: float = Field(default=0.0, ge=0)
    """Time of the host before each run of a network, during which the card waits: a serving stack takes the tokens of
    the step before, schedules and prepares the next."""
    bucket_bytes: PositiveFloat | None = None
    """Gradients that replicas add up at a time, while the backward pass makes the next; None where they wait for its
    end."""
    dependent_launch: bool = False
    """Kernels are launched ahead of those that they wait for, on cards that can (`gpu.ahead_bytes`): no gap lies before
    them, and products fetch their first weights while a kernel before leaves the memory idle."""
    few_rows: int = Field(default=0, ge=0)
    """Rows of activations up to which kernels made for few rows take products of 2:4 weights, as they take those of
    narrow weights everywhere; 0 where there are none."""
    own_int8: bool = False
    """Dense int8 products may run on kernels of the stack's own, which reach the share of the tensor cores' rate that
    kernels of 16 bits do; else on those of the matrix library alone, which sum to 32 bits in memory."""
    strided_per_cycle: PositiveFloat | None = None
    """Elements that an SM takes in a cycle in kernels for any shape and type (copies in another order, casts, operands
    that are repeated), which work out for each where it lies; None where kernels are made for their shapes."""
    special_cycles: float = Field(default=0.0, ge=0)
    """Cycles that a lane of the CUDA cores takes for an element of a function of exponentials (GELU, SiLU); 0 where
    they hide behind the element's bytes."""
    joins: tuple[Joined, ...] = ()
    """What joins the kernel before: `epilogue`, elementwise work and residuals after a product in the product's kernel;
    `pointwise`, elementwise work in that of elementwise work or of a normalisation; `movement`, copies, concatenations
    and what is written into a cache likewise; `siblings`, both in that of others which take the same product's result;
    `normalisation`, a normalisation or reduction in that of the elementwise work before."""
    channels_last: bool = False
    """Images lie as the kernels want them (NHWC); else each convolution of several channels pays for the order that
    it is given (NCHW)."""
    autocast: bool = False
    """Automatic mixed precision: normalisations, softmax and losses in fp32, with casts around them; else all in the
    network's own type."""
    fused_attention: bool = True
    """Attention is one kernel; else scores and probabilities go through the memory."""
    fused_products: bool = False
    """Products of one input, such as queries, keys and values, run as one."""
    tf32: Literal["", "convolutions", "all"] = "convolutions"
    """Which products in fp32 run on tensor cores in tf32, on cards that have it; the rest run on the CUDA cores."""
    in_place_cache: bool = True
    """A cache of keys and values grows where it lies; else it is copied at every step."""

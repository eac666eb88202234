"""Software regimes of a GPU: what launches kernels, and which ops of a network share one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from zerocast.accelerators.schema.part import Part

Joined = Literal["epilogue", "pointwise", "normalisation"]


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
    strided_per_cycle: PositiveFloat | None = None
    """Elements that an SM takes in a cycle in kernels for any shape and type (copies in another order, casts, operands
    that are repeated), which work out for each where it lies; None where kernels are made for their shapes."""
    special_cycles: float = Field(default=0.0, ge=0)
    """Cycles that a lane of the CUDA cores takes for an element of a function of exponentials (GELU, SiLU); 0 where
    they hide behind the element's bytes."""
    joins: tuple[Joined, ...] = ()
    """What joins the kernel before: `epilogue`, elementwise work and residuals after a product in the product's kernel;
    `pointwise`, elementwise work in that of elementwise work or of a normalisation; `normalisation`, a normalisation
    or reduction in that of the elementwise work before."""
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

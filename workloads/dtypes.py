"""Data types that a network's tensors can be given."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import BITS, Workload

FLOATING = ("fp32", "tf32", "fp16", "bf16", "fp8", "fp4")
QUANTISED = ("int16", "int8", "int4")
"""Of a network that is quantised throughout: in inference alone."""
SHORT = {"w4a16": "fp16*int4", "w8a16": "fp16*int8", "w8a8": "int8", "w4a8": "int8*int4"}
"""What those who quantise call widths of weights and activations."""
SCALED = 128
"""Weights that share a 16-bit scale where they are given fewer bits, as GPTQ and AWQ have it by default."""
DOUBLE = "-dq"
NORMAL = {"nf4": 32 / 64, f"nf4{DOUBLE}": (8 + 32 / 256) / 64}
"""Types of weights alone, each one of 16 quantiles of a normal law, and bits of scales for each: an fp32 for every
64, or quantised a byte for those and an fp32 for every 256 bytes (Dettmers et al., QLoRA, NeurIPS 2023)."""


@dataclass(frozen=True, slots=True)
class Types:
    """Of all floating tensors; `weights` of those that products read, "" where they have the same."""

    activations: str
    weights: str = ""


def types_of(dtype: str, training: bool = False) -> Types:
    """What a data type's name says: fp16; fp16*int4 for weights that are narrower than what they are multiplied with,
    or w4a16 for the same. Raises `WorkloadError` for a type that a network cannot be given."""
    first, _, second = SHORT.get(dtype, dtype).partition("*")
    types = Types(first, "" if second == first else second)
    if first not in (*FLOATING, *QUANTISED) or second not in ("", *FLOATING, *QUANTISED, *NORMAL):
        raise WorkloadError(
            f"dtype {dtype!r}: use {', '.join(FLOATING)}, or in inference {', '.join(QUANTISED)}, or a pair of "
            f"activations and weights such as fp16*int4; short: {', '.join(SHORT)}; weights alone: {', '.join(NORMAL)}"
        )
    if training and (first in QUANTISED or types.weights not in ("", *NORMAL)):
        raise WorkloadError(f"dtype {dtype!r} is for inference; a training step takes {', '.join(FLOATING)}, or a pair "
                            "such as bf16*nf4 for weights that are frozen")  # fmt: skip
    if types.weights and BITS[types.weights.removesuffix(DOUBLE)] > BITS[first]:
        raise WorkloadError(
            f"dtype {dtype!r}: weights are wider than what they are multiplied with; turn the pair round"
        )
    return types


def with_weights(workload: Workload, dtype: str, only: Collection[str] | None = None) -> Workload:
    """The workload with the weights of its products stored in a narrower type, with scales.

    As tools that quantise leave them, weights that a lookup reads too (tied embeddings) and those of the layer whose
    result the network returns (its head) keep their type.
    only: those that may be narrowed (in training the frozen ones), None for all.
    """
    inner = workload.inner_weights
    inner = inner if only is None else inner.intersection(only)
    bits = BITS[dtype.removesuffix(DOUBLE)]
    names = [name for name, tensor in workload.tensors.items() if name in inner and tensor.bits > bits]
    if not names:
        kind = "weights" if only is None else "frozen weights"
        raise WorkloadError(f"dtype of weights {dtype!r}: no product of {workload.name!r} has {kind} to be narrowed")
    return stored_as(workload, dtype, names)


def stored_as(workload: Workload, dtype: str, names: Collection[str], scale_bits: float | None = None) -> Workload:
    """The workload with these weights stored in a type; `meta` tells how many were changed. scale_bits: of scales for
    each element, None for those that its type usually has."""
    kept = dtype.removesuffix(DOUBLE)
    bits = NORMAL.get(dtype, 16 / SCALED) if scale_bits is None else scale_bits
    tensors = {name: replace(workload.tensors[name], dtype=kept, scale_bits=bits) for name in names}
    types = {*str(workload.meta.get("stored_types", "")).split(", "), kept} - {""}
    meta = {
        **workload.meta, "stored_types": ", ".join(sorted(types)),
        "stored_weights": int(workload.meta.get("stored_weights", 0)) + len(names),
    }  # fmt: skip
    return replace(workload, tensors={**workload.tensors, **tensors}, meta=meta)

"""Data types that a network's tensors can be given."""

from __future__ import annotations

from zerocast.workloads.errors import WorkloadError

FLOATING = ("fp32", "tf32", "fp16", "bf16", "fp8", "fp4")
QUANTISED = ("int16", "int8", "int4")
"""Of a network that is quantised throughout: in inference alone."""


def check_dtype(dtype: str, training: bool) -> None:
    """Raise `WorkloadError` for a type that a network cannot be given."""
    if dtype not in (*FLOATING, *QUANTISED):
        raise WorkloadError(f"dtype {dtype!r}: use {', '.join(FLOATING)}, or {', '.join(QUANTISED)} in inference")
    if training and dtype in QUANTISED:
        raise WorkloadError(f"dtype {dtype!r} is for inference; a training step takes {', '.join(FLOATING)}")

"""What attention layers call their projections."""

from __future__ import annotations

from zerocast.workloads.recipes.targets import Target

QUERIES_AND_VALUES = ("q_proj", "v_proj", "query", "value", "q_lin", "v_lin", "to_q", "to_v", "q", "v")
FUSED = ("c_attn", "qkv", "qkv_proj", "query_key_value", "Wqkv", "in_proj", "attn")
"""Layers that make queries, keys and values at once."""


def parts_of(target: Target) -> tuple[str, ...]:
    """What a layer makes: queries, keys and values where it makes as many of each, else one thing."""
    fused = target.layer.rpartition(".")[2] in FUSED and target.extent("k") == 3 * target.extent("c")
    return ("query", "key", "value") if fused else ("",)

"""Scaled dot product attention: scores, softmax, mix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zerocast.workloads.flops import FLOPS, is_elementwise
from zerocast.workloads.ir import Affine, Vector
from zerocast.workloads.lowering.builder import Call
from zerocast.workloads.lowering.operators.contractions import contract, plain
from zerocast.workloads.lowering.values import Value


def attention(call: Call) -> Value:
    """softmax(Q K^T * scale + mask) V as two einsums with a vector op between (the scale folds into it).

    The full score matrix is computed, as FLOP counters have it; a causal mask is told by the field `causal` of all
    three, so that a kernel which skips the upper triangle can be modelled.
    Grouped queries share a key head: K has no index for the rank of the group, b{last}.
    """
    query, key, value = call["query"], call["key"], call["value"]
    batch, sizes = _heads(query, key)
    shared: list[Affine] = [((dim[0][0], 1),) for dim in batch]
    keys, queries = key.shape[-2], query.shape[-2]
    causal = bool(call["is_causal"])
    scores = contract(
        call, {**sizes, "m": queries, "k": keys, "c": query.shape[-1]}, (query, batch + plain("m", "c")),
        (key, shared + plain("k", "c")), batch + plain("m", "k"), part="qk",
        shape=(*query.shape[:-1], keys), causal=causal,
    )  # fmt: skip
    weights = _softmax(call, scores, call["attn_mask"], causal)
    if call["dropout_p"]:
        weights = _vector(call, "dropout", [weights], FLOPS["dropout"], "attn_dropout")
    mixed = contract(
        call, {**sizes, "m": queries, "k": value.shape[-1], "c": keys}, (weights, batch + plain("m", "c")),
        (value, shared + plain("c", "k")), batch + plain("m", "k"), part="pv", shape=(*query.shape[:-1],
        value.shape[-1]), causal=causal,
    )  # fmt: skip
    return replace(mixed, any_layout=True)


def _heads(query: Value, key: Value) -> tuple[list[Affine], dict[str, int]]:
    """Batch ranks of the queries; with grouped queries the head dimension is key head * group + member."""
    lead = query.shape[:-2]
    batch = plain(*(f"b{axis}" for axis in range(len(lead))))
    sizes = {f"b{axis}": size for axis, size in enumerate(lead)}
    group = lead[-1] // key.shape[-3] if lead else 1
    if group > 1:
        head, member = f"b{len(lead) - 1}", f"b{len(lead)}"
        sizes |= {head: key.shape[-3], member: group}
        batch[-1] = ((head, group), (member, 1))
    return batch, sizes


def _softmax(call: Call, scores: Value, mask: Value | None, causal: bool) -> Value:
    # one more multiplication per score for the scale, one addition where there is a mask
    flops = FLOPS["softmax"] + 1 + (mask is not None)
    return _vector(call, "softmax", [scores, *([] if mask is None else [mask])], flops, "softmax", causal)


def _vector(call: Call, function: str, inputs: list[Value], flops: float, part: str, causal: bool = False) -> Value:
    name = call.name(part)
    out = call.build.scratch(f"{name}.out", inputs[0].shape)
    names = tuple(value.tensor for value in inputs)
    elements = inputs[0].elements
    call.build.ops.append(
        Vector(name, call.layer, "FF", names, (out.tensor,), function, elements, flops, is_elementwise(function),
               causal=causal)
    )  # fmt: skip
    return out


RULES: dict[str, Any] = {"scaled_dot_product_attention": attention}

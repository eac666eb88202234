"""Suite `gemm`: products, dense and 2:4 of a shape back to back, anchors at the start, in the middle, at the end."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure.machine.timing import MOST_CALLS
from zerocast.analysis.measure.protocol import Session, Unit
from zerocast.analysis.measure.suites.products import DEFAULT, Product, make_product, search
from zerocast.analysis.measure.suites.shapes import (
    SHAPES,
    VARIANTS,
    Shape,
    Variant,
    measuring_order,
    read_shapes,
    refusal,
)

PROBE = Shape("probe", "", "", 256, 512, 512)
CPU_FLOPS = 2.5e8
"""Largest product measured on a CPU: the CPU is there to run the same path, not to be known."""
MOST_SPARSE_CALLS = 256
"""Calls of 2:4 in one graph at most, each of which costs the host half a millisecond to capture (PyTorch 2.11)."""
RESERVE = 1.5
"""Time kept for the anchors at the end, over what they took before."""

Candidate = tuple[Variant, bool]
"""A variant, and whether the library's algorithm search is run for it."""


def measure_gemm(session: Session) -> None:
    """Probe the variants, then measure shapes until the list or the budget ends."""
    variants = usable_variants(session, session.options.variants)
    shapes = shapes_for(session)
    candidates, searched, witnesses = _candidates(session, variants)
    anchors = [shape for shape in shapes if shape.role == "anchor"]
    session.planned = _count(shapes, candidates + searched) + 2 * _count(anchors, witnesses)
    session.measured = 0
    session.work("gemm", gemm_units(session, shapes, variants))


def shapes_for(session: Session) -> list[Shape]:
    """The shapes of the request; on a CPU the small ones."""
    shapes = read_shapes(session.options.shapes or SHAPES)
    if session.target.cuda:
        return shapes
    small = [shape for shape in shapes if shape.flops <= CPU_FLOPS]
    if not small:
        raise AnalysisError(f"no shape of the list is small enough for a CPU ({CPU_FLOPS:g} operations)")
    return small


def usable_variants(session: Session, names: tuple[str, ...]) -> list[Variant]:
    """Variants that this device and PyTorch compute rightly. Each probe is a row, with the reason where a variant is
    left out."""
    usable = []
    for name in names:
        if session.stopped:
            break
        variant = VARIANTS[name]
        row = session.attempt("probe", _unit(session, PROBE, (variant, False), "probe"))
        if row["error"]:
            continue
        usable.append(variant)
        if row["method"] == "profiler":  # found again after a resume
            session.target.no_graphs.add(name)
    return usable


def gemm_units(session: Session, shapes: list[Shape], variants: list[Variant]) -> Iterator[Unit]:
    """Anchors, the first half of the shapes, some anchors, the rest, some anchors; late, the end comes at once.

    The library's algorithm search comes after all shapes have their default. In the middle and at the end the anchors
    are measured in the first type only, dense and 2:4.
    """
    candidates, searched, witnesses = _candidates(session, variants)
    anchors = [shape for shape in shapes if shape.role == "anchor"]
    rest = measuring_order(shapes, session.options.seed)
    before = session.elapsed()
    yield from _shape_units(session, anchors, witnesses, "start")
    cost = session.elapsed() - before
    yield from _shape_units(session, anchors, [one for one in candidates if one not in witnesses], "start")
    begun, left = session.elapsed(), session.remaining()
    middle = False
    plan = [(shape, candidates) for shape in rest] + [(shape, searched) for shape in anchors + rest if searched]
    for place, (shape, wanted) in enumerate(plan):
        half = place >= len(plan) // 2 or session.elapsed() - begun > left / 2
        if half and not middle:
            middle, before = True, session.elapsed()
            yield from _shape_units(session, anchors, witnesses, "middle")
            cost = max(cost, session.elapsed() - before)
        for unit in _shape_units(session, [shape], wanted, "", place):
            if session.remaining() > RESERVE * cost + session.longest:
                yield unit
    yield from _shape_units(session, anchors, witnesses, "end")


def _candidates(session: Session, variants: list[Variant]) -> tuple[list[Candidate], ...]:
    """What is measured of every shape, what with a search, and what of the anchors again and again."""
    candidates = [(variant, False) for variant in variants]
    searched = [(variant, True) for variant in variants if variant.sparse]
    witnesses = [one for one in candidates if one[0].dtype == variants[0].dtype]
    return candidates, searched if session.options.search and session.target.cuda else [], witnesses


def _shape_units(
    session: Session, shapes: list[Shape], candidates: list[Candidate], phase: str, place: int = 0
) -> Iterator[Unit]:
    for number, shape in enumerate(shapes, place):
        # types in the order of their list, within a type dense first at every second shape
        flip = -1 if number % 2 else 1
        ordered = sorted(candidates, key=lambda one: (_type_order(one[0]), flip * one[0].sparse))
        for one in ordered:
            if not refusal(one[0], shape.m, shape.n, shape.k):
                yield _unit(session, shape, one, phase)


def _type_order(variant: Variant) -> int:
    return [known.dtype for known in VARIANTS.values()].index(variant.dtype)


def _count(shapes: list[Shape], candidates: list[Candidate]) -> int:
    return sum(not refusal(variant, shape.m, shape.n, shape.k) for shape in shapes for variant, _ in candidates)


def _unit(session: Session, shape: Shape, candidate: Candidate, phase: str) -> Unit:
    variant, searched = candidate
    algorithm = "searched" if searched else "default"
    fields = {
        "role": shape.role, "network": shape.network, "op": shape.op, "M": shape.m, "N": shape.n, "K": shape.k,
        "variant": variant.name, "dtype": variant.dtype, "sparsity": "2:4" if variant.sparse else "dense",
        "algorithm": algorithm, "phase": phase,
    }  # fmt: skip
    key = f"gemm/{phase or 'shape'}/{shape.key}/{variant.name}/{algorithm}"
    return Unit(key, fields, lambda: measure_product(session, shape, variant, searched))


def measure_product(session: Session, shape: Shape, variant: Variant, searched: bool = False) -> dict[str, Any]:
    """The columns of one product: how it was computed, checked and timed, and its kernels."""
    target = session.target
    seed = session.options.seed + zlib.crc32(shape.key.encode())  # dense and 2:4 of a shape see the same x
    product = make_product(variant, shape.m, shape.n, shape.k, target, seed)
    algorithm = DEFAULT
    if searched:
        algorithm = search(product)
        product = make_product(variant, shape.m, shape.n, shape.k, target, seed, algorithm)
    most_calls = MOST_SPARSE_CALLS if variant.sparse else MOST_CALLS
    timing = session.timed(variant.name, product.call, product.accept, most_calls=most_calls)
    names = ("alg_id", "split_k", "split_k_mode") if variant.sparse else ()
    return {
        **timing.columns(),
        **dict(zip(names, algorithm, strict=False)),
        **_rotation(session, product, timing.calls),
        "computed_M": product.rows,
        "out_dtype": str(product.out).removeprefix("torch."),
        "checked_error": product.reference.error,
        **session.kernel_columns(product.call, always=shape.role in ("anchor", "probe")),
    }


def _rotation(session: Session, product: Product, calls: int) -> dict[str, Any]:
    """How many copies of the weights take turns, and whether together they are too large to stay in the cache."""
    used = min(len(product.weights), max(calls, 1))
    l2 = session.target.l2_bytes
    return {
        "weight_bytes": product.weight_bytes,
        "copies": used,
        "weights_cold": used * product.weight_bytes >= 2 * l2 if l2 else None,
    }

"""Linear layers and matrix products as einsums."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from zerocast.workloads.ir import COMPLEX, Affine, Einsum, Transfer
from zerocast.workloads.lowering.builder import Call, NoRule
from zerocast.workloads.lowering.operators.vectors import vector
from zerocast.workloads.lowering.stored import as_stored
from zerocast.workloads.lowering.values import Value
from zerocast.workloads.patterns import Pattern
from zerocast.workloads.patterns.detect import detect

Ranks = Sequence[Affine]
"""An index expression for each dimension of an operand's view."""


EMPTY = "all zeros: priced dense, as a layer that training starts from; leave it out if it stays so"


def plain(*names: str) -> list[Affine]:
    """Index expressions that are single ranks."""
    return [((name, 1),) for name in names]


def contract(
    call: Call,
    sizes: Mapping[str, int],
    a: tuple[Value, Ranks],
    b: tuple[Value, Ranks],
    out: Ranks,
    bias: Value | None = None,
    part: str = "",
    shape: Sequence[int] | None = None,
    causal: bool = False,
    steps: str = "",
) -> Value:
    """Emit one einsum. A weight (or constant) is put at operand b; zeros that it holds are its pattern."""
    build = call.build
    if any(build.tensors[value.tensor].dtype in COMPLEX for value, _ in (a, b)):
        raise NoRule(call.node, call.layer, "multiplies complex numbers", "write it as products of their real parts")
    a, b = ((_gathered(call, as_stored(build, value)), ranks) for value, ranks in (a, b))
    if build.is_known(a[0]) and not build.is_known(b[0]):
        a, b = b, a
    weight = build.tensors[b[0].tensor].weight
    holder, _, own_name = weight.rpartition(".")
    if weight and holder == call.layer and own_name != "weight":
        part = own_name  # one of several weights of a layer, such as an LSTM's
    name = call.name(part, owner=bool(weight) and holder == call.layer)
    value = call.result(name) if shape is None else build.scratch(f"{name}.out", shape)
    plain = on_tensor(*a), on_tensor(*b)
    patterns = {
        place: found for place, side in enumerate((a, b))
        if _may_be_pruned(call, side[0], (a, b)[1 - place][0])
        and (found := _weight_pattern(call, side[0].tensor, plain[place], (plain[1 - place], tuple(out)), sizes))
    }  # fmt: skip
    indices = (_apart(plain[0], a[1], b[1], out), _apart(plain[1], b[1], a[1], out), tuple(out))
    inputs = (a[0].tensor, b[0].tensor, *(() if bias is None else (bias.tensor,)))
    build.ops.append(
        Einsum(
            name,
            call.layer,
            "FF",
            inputs,
            (value.tensor,),
            dict(sizes),
            indices,
            patterns,
            call.operator,
            causal,
            steps,
        )
    )
    return value


def _gathered(call: Call, value: Value) -> Value:
    """The operand, written out where it is a view that repeats elements in overlapping windows (`unfold`), as PyTorch
    does before it multiplies; a broadcast repeats them too, but indexes nothing."""
    if value.terms is None or value.expanded or value.elements <= call.build.tensors[value.tensor].elements:
        return value
    name = call.name("windows")
    out = call.build.scratch(f"{name}.out", value.shape, call.build.tensors[value.tensor].dtype)
    call.build.ops.append(Transfer(name, call.layer, "FF", (value.tensor,), (out.tensor,), "copy", value.elements))
    return out


def on_tensor(value: Value, ranks: Ranks) -> tuple[Affine, ...]:
    """Index expressions of the tensor's own dimensions where the view allows it, else of the view's."""
    if value.terms is None:
        return tuple(ranks)
    return tuple(tuple((rank, by * inner) for axis, by in dim for rank, inner in ranks[axis]) for dim in value.terms)


def _apart(stored: tuple[Affine, ...], view: Ranks, other: Ranks, out: Ranks) -> tuple[Affine, ...]:
    """Index expressions of an operand: those of its own dimensions, but of the view's where the view splits a dimension
    between a rank that goes on to the output and one that is summed. Such a dimension would read like a window."""
    others, results = (frozenset(rank for affine in ranks for rank, _ in affine) for ranks in (other, out))
    declared = {frozenset(rank for rank, _ in affine) for affine in view}
    for affine in stored:
        ranks = frozenset(rank for rank, _ in affine)
        if ranks not in declared and ranks & (results - others) and ranks & (others - results):
            return tuple(view)
    return stored


def _may_be_pruned(call: Call, operand: Value, other: Value) -> bool:
    """Whether the zeros of an operand are looked for: it is a weight, or a constant that activations are multiplied
    with (a weight that its owner registered nowhere)."""
    known = call.build.is_known
    return call.build.is_weight(operand) or (known(operand) and not known(other))


def _weight_pattern(
    call: Call, name: str, index: tuple[Affine, ...], others: tuple[tuple[Affine, ...], ...], sizes: Mapping[str, int]
) -> Pattern | None:
    """Zeros that a weight, or a constant, holds already, and what they keep to; notes in `layers` and `found` whether
    and what."""
    build, weight = call.build, call.build.tensors[name].weight
    title = weight or call.build.title(name)
    axes = [term for dim in index for term in sorted(dim, key=lambda term: -term[1])]
    shape = tuple((rank, sizes[rank]) for rank, _ in axes)
    channels = _channels([rank for rank, _ in shape], *others)
    key = (name, shape, tuple(channels))
    if key not in build.zeros:  # a recurrent layer reads its weight at every step
        bits = _read(build.nonzeros(name), [size for _, size in shape])
        if bits is not None and not bits.any():
            build.found.update({weight: EMPTY} if weight else {})
            bits = None
        build.zeros[key] = None if bits is None else detect(bits, [rank for rank, _ in shape], channels)
    what = build.zeros[key]
    if what is not None:
        build.found[title] = what.words
    if weight and (what is not None or weight not in build.layers):
        build.layers[weight] = "not pruned" if what is None else ""
    return None if what is None else what.pattern


def _read(bits: Any, extents: list[int]) -> Any:
    """The part of a weight's nonzeros that a product reads: all of them, or as many experts as are picked."""
    if bits is None or bits.size == math.prod(extents):
        return None if bits is None else bits.reshape(extents)
    inside = bits.ndim == len(extents) and all(size <= whole for size, whole in zip(extents, bits.shape, strict=True))
    return bits[tuple(map(slice, extents))] if inside else None


def _channels(ranks: Sequence[str], other: Ranks, product: Ranks) -> list[str]:
    """Ranks of a weight along which groups may lie: what the product reduces over, then its own outputs, over which
    the input's gradient reduces; not kernel positions, nor what indexes all three."""
    met, out = ({rank for dim in index for rank, _ in dim} for index in (other, product))
    mixed = [dim for dim in (*other, *product) if any(rank not in ranks for rank, _ in dim)]
    windows = {rank for dim in mixed for rank, _ in dim}
    channels = [rank for rank in ranks if rank not in windows and not (rank in met and rank in out)]
    return sorted(channels, key=lambda rank: rank in out)


def linear(call: Call) -> Value:
    """input[m0, .., c] weight[k, c] + bias[k]."""
    x, weight = call["input"], call["weight"]
    lead = [f"m{axis}" for axis in range(len(x.shape) - 1)]
    sizes = {**dict(zip(lead, x.shape, strict=False)), "c": x.shape[-1], "k": weight.shape[0]}
    return contract(call, sizes, (x, plain(*lead, "c")), (weight, plain("k", "c")), plain(*lead, "k"), call["bias"])


def matmul(call: Call) -> Value:
    """self @ other with numpy's broadcasting; bmm, mm, mv and dot are special cases."""
    return product(call, call["self"], call["other"] or call["mat2"] or call["vec"] or call["tensor"])


def product(call: Call, a: Value, b: Value, bias: Value | None = None, part: str = "") -> Value:
    """a[.., m, c] @ b[.., c, k]. With a matrix b the leading dimensions of a are rows m0, m1, ..., as in
    linear."""
    if len(b.shape) <= 2:
        lead = [f"m{axis}" for axis in range(len(a.shape) - 1)]
        ranks = (plain(*lead, "c"), plain("c", "k")[: len(b.shape)])
        out = plain(*lead, *("k",) * (len(b.shape) - 1))
    else:
        depth = max(len(a.shape), len(b.shape)) - 2
        batch = [f"b{axis}" for axis in range(depth)]
        rows = ["m"] if len(a.shape) > 1 else []
        ranks = (
            _broadcast(batch, a.shape[:-2]) + plain(*rows, "c"),
            _broadcast(batch, b.shape[:-2]) + plain("c", "k"),
        )
        out = plain(*batch, *rows, "k")
    sizes: dict[str, int] = {}
    for value, dims in zip((a, b), ranks, strict=True):
        for size, dim in zip(value.shape, dims, strict=True):
            sizes.update({rank: size for rank, _ in dim})
    order = list(dict.fromkeys([rank for dim in out for rank, _ in dim] + ["c"]))
    # a batch dimension of 1 on both sides indexes neither
    extents = {rank: sizes.get(rank, 1) for rank in order}
    return contract(call, extents, (a, ranks[0]), (b, ranks[1]), out, bias, part)


def _broadcast(batch: list[str], shape: Sequence[int]) -> list[Affine]:
    """Batch ranks of an operand; a dimension of 1 is shared by all, so it indexes nothing."""
    names = batch[len(batch) - len(shape) :]
    return [((name, 1),) if size != 1 else () for name, size in zip(names, shape, strict=True)]


def addmm(call: Call) -> Value:
    """self + mat1 @ mat2: a vector of parameters or constants is the bias, anything else is added after."""
    a = call["mat1"] or call["batch1"]
    b = call["mat2"] or call["batch2"]
    added = call["self"]
    if call["beta"] == 0:  # torch.sparse.mm, whose sum starts from nothing
        return product(call, a, b)
    if call.build.is_known(added) and len(added.shape) == 1:
        return product(call, a, b, added)
    return vector(call, "add", [product(call, a, b), added])


def scaled(call: Call) -> Value:
    """A product of fp8 numbers (self, mat2, their scales, bias): the scales go into what writes the result."""
    return product(call, call["self"], call["mat2"], call["bias"])


def is_product(equation: str) -> bool:
    """True for an equation of two operands with named ranks, each summed rank in both, and an output."""
    terms, arrow, out = equation.replace(" ", "").partition("->")
    letters = terms.split(",")
    if len(letters) != 2 or not arrow or "." in equation or any(len(set(term)) < len(term) for term in letters):
        return False
    return set(letters[0]) ^ set(letters[1]) <= set(out)


def einsum(call: Call) -> Value:
    """Two-operand einsum: ranks that both share and keep are b0.., that both share and lose c.., the rest
    m / k."""
    equation = str(call["equation"]).replace(" ", "")
    terms, _, out = equation.partition("->")
    operands = call["tensors"]
    letters = terms.split(",")
    if not is_product(equation):
        raise NoRule(
            call.node,
            call.layer,
            f"with equation {equation!r} is not a product of two operands with named ranks and '->'",
        )
    names = _rank_names(call, letters, out)
    sizes = {names[letter]: size for term, value in zip(letters, operands, strict=True)
             for letter, size in zip(term, value.shape, strict=True)}  # fmt: skip
    a, b = ((value, plain(*(names[letter] for letter in term))) for value, term in zip(operands, letters, strict=True))
    return contract(call, sizes, a, b, plain(*(names[letter] for letter in out)))


def _rank_names(call: Call, letters: list[str], out: str) -> dict[str, str]:
    first, second = letters
    classes: dict[str, list[str]] = {"b": [], "c": [], "m": [], "k": []}
    for letter in dict.fromkeys(first + second):
        both, kept = letter in first and letter in second, letter in out
        weights_first = call.build.is_weight(call["tensors"][0])
        rows = second if weights_first else first
        classes["b" if both and kept else "c" if both else "m" if letter in rows else "k"].append(letter)
    names: dict[str, str] = {}
    for prefix, members in classes.items():
        single = len(members) == 1 and prefix != "b"
        names.update({letter: prefix if single else f"{prefix}{at}" for at, letter in enumerate(members)})
    return names


RULES: dict[str, Any] = {
    "linear": linear, "_int_mm": matmul, "_scaled_mm": scaled,
    "matmul": matmul, "mm": matmul, "bmm": matmul, "mv": matmul, "dot": matmul,
    "addmm": addmm, "_sparse_addmm": addmm, "baddbmm": addmm, "einsum": einsum,
}  # fmt: skip

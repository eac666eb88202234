"""Axes of tensors as concatenations of products of ranks, and what follows where two axes are one.

A *rank* is a set of places that come and go one by one: the channels of a layer, the heads of an attention. An *axis*
(one dimension of one tensor) is a sequence of *terms*, a term a product of *factors*, outermost first, a factor a rank
or a `Fixed` number of places that nothing removes. Queries, keys and values from one product are h x d + h x d + h x d;
a flattened feature map is c x 49. Wherever an operator makes two axes one, their terms are matched, and ranks are
joined, cut in two or split into factors as that needs. What is one rank in the end is one coupled group of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod


@dataclass(frozen=True, slots=True)
class Fixed:
    """Places that stay. why: in words, for whoever asks why a layer keeps its width."""

    size: int
    why: str = ""


@dataclass(eq=False, slots=True)
class Rank:
    """Places that come and go one by one. means: the axis that it turned out to be, None while it is one of its own.
    marks: what is known of what it counts (see `finder`)."""

    size: int
    means: Axis | None = None
    marks: set[str] = field(default_factory=set)


Factor = Rank | Fixed
Term = tuple[Factor, ...]
Axis = tuple[Term, ...]


def fixed(size: int, why: str = "") -> Axis:
    """An axis of places that stay."""
    return ((Fixed(size, why),),)


def fresh(size: int) -> Axis:
    """An axis of which nothing is known yet."""
    return fixed(1) if size == 1 else ((Rank(size),),)


def term_size(term: Term) -> int:
    """Places of a product."""
    return prod(factor.size for factor in term)


def size_of(axis: Axis) -> int:
    """Places of an axis."""
    return sum(map(term_size, axis))


def ranks_of(axis: Axis) -> list[Rank]:
    """The ranks that an axis is made of, each once."""
    return list(dict.fromkeys(factor for term in resolve(axis) for factor in term if isinstance(factor, Rank)))


def resolve(axis: Axis) -> Axis:
    """The axis in terms of ranks that are their own. Several fixed terms in a row are one."""
    found: list[Term] = []
    for term in axis:
        for each in _expanded(term):
            last = found[-1] if found else ()
            if len(each) == len(last) == 1 and isinstance(each[0], Fixed) and isinstance(last[0], Fixed):
                found[-1] = (Fixed(each[0].size + last[0].size, each[0].why or last[0].why),)
            else:
                found.append(each)
    return tuple(found)


def _expanded(term: Term) -> list[Term]:
    """A product with every rank replaced by what it means: a concatenation where its outermost factor is one. Further
    in, a concatenation is repeated for each place before it; where places before it may go, it is fixed instead."""
    terms: list[Term] = [()]
    for factor in term:
        axis: Axis = ((factor,),)
        if isinstance(factor, Rank) and factor.means is not None:
            axis = factor.means = resolve(factor.means)
        if len(axis) > 1 and terms != [()]:
            axis = _inner(factor, axis, terms)
        terms = [(*before, *after) for before in terms for after in axis]
    return [_plain(each) for each in terms]


def _inner(factor: Factor, axis: Axis, before: list[Term]) -> Axis:
    if all(isinstance(each, Fixed) for outer in before for each in outer):
        count = term_size(before[0])
        before[:] = [() for _ in range(len(before) * count)]
        return axis
    freeze(axis, "it is a part of what is repeated for every head or group")
    return fixed(factor.size)


def _plain(term: Term) -> Term:
    """Without factors of one place, and with neighbouring fixed ones multiplied."""
    found: list[Factor] = []
    for factor in term:
        if factor.size == 1 and isinstance(factor, Fixed):
            continue
        if found and isinstance(factor, Fixed) and isinstance(before := found[-1], Fixed):
            found[-1] = Fixed(before.size * factor.size, before.why or factor.why)
        else:
            found.append(factor)
    return tuple(found) or (Fixed(1),)


def product(axes: Sequence[Axis]) -> Axis:
    """The axis that counts the places of several, outermost first."""
    whole = [axis for axis in axes if size_of(axis) > 1] or [fixed(1)]
    if len(whole) == 1:
        return whole[0]
    return (tuple(factor for axis in whole for factor in (axis[0] if len(axis) == 1 else (_named(axis),))),)


def _named(axis: Axis) -> Rank:
    return Rank(size_of(axis), axis)


def freeze(axis: Axis, why: str) -> None:
    """Nothing of the axis may go."""
    for rank in ranks_of(axis):
        rank.means = fixed(rank.size, why)


def mark(axis: Axis, what: str) -> None:
    """Remember something of all ranks of an axis."""
    for rank in ranks_of(axis):
        rank.marks.add(what)


def part(axis: Axis, start: int, stop: int) -> Axis:
    """Places from `start` to before `stop`; ranks that this cuts through become two."""
    _, rest = _cut(resolve(axis), start)
    taken, _ = _cut(resolve(rest), stop - start)
    return taken


def same(one: Axis, other: Axis) -> None:
    """Two axes of one size count the same places in the same order."""
    left, right = resolve(one), resolve(other)
    while left and right and left != right:
        width = min(term_size(left[0]), term_size(right[0]))
        mine, left = _cut(left, width)
        theirs, right = _cut(resolve(right), width)
        _match(resolve(mine), resolve(theirs))
        left, right = resolve(left), resolve(right)


def _cut(axis: Axis, at: int) -> tuple[Axis, Axis]:
    """The first `at` places, and the others."""
    taken: list[Term] = []
    rest = list(axis)
    while rest and at:
        term = rest.pop(0)
        if term_size(term) > at:
            first, last = _parted(term, at)
            taken += first
            return tuple(taken), (*last, *rest)
        taken.append(term)
        at -= term_size(term)
    return tuple(taken), tuple(rest)


def _parted(term: Term, at: int) -> tuple[Axis, Axis]:
    """One term cut in two: between two places of its outermost factor, or through one of them."""
    outer, inner = term[0], term[1:]
    full, over = divmod(at, term_size(inner))
    if isinstance(outer, Fixed) and inner and over:
        return _cut((inner,) * outer.size, at)
    if not _all_fixed(inner) and min(full, outer.size - full) <= 1:
        freeze(((outer,),), "it counts groups that are taken apart")
        outer = Fixed(outer.size)
    if not over:
        first, last = _pieces(outer, [full, outer.size - full])
        return ((first, *inner),), ((last, *inner),)
    freeze((inner,), "what it counts is cut at an odd place")
    before, middle, after = _pieces(outer, [full, 1, outer.size - full - 1])
    one, other = Fixed(over), Fixed(term_size(inner) - over)
    return (*(((before, *inner),) if full else ()), (middle, one)), (
        (middle, other), *(((after, *inner),) if after.size else ()),
    )  # fmt: skip


def _pieces(factor: Factor, sizes: list[int]) -> list[Factor]:
    """A factor cut into pieces; a rank means their concatenation from then on."""
    if isinstance(factor, Fixed):
        return [Fixed(size, factor.why) for size in sizes]
    pieces = [Rank(size, None, set(factor.marks)) for size in sizes]
    factor.means = tuple((piece,) for piece in pieces if piece.size)
    return list(pieces)


def _all_fixed(term: Term) -> bool:
    return all(isinstance(factor, Fixed) for factor in term)


def _match(one: Axis, other: Axis) -> None:
    """Two resolved axes of one size are one."""
    for whole, parts in ((one, other), (other, one)):
        if len(whole) == len(whole[0]) == 1 and isinstance(rank := whole[0][0], Rank):
            return _become(rank, parts)
    if len(one) > 1 or len(other) > 1:
        return same(one, other)
    (a, *left), (b, *right) = one[0], other[0]
    big, small = (a, b) if a.size >= b.size else (b, a)
    if big.size % small.size:
        return freeze((*one, *other), "two ways of splitting it into heads or groups disagree")
    if big.size > small.size:
        big, inner = _split(big, small.size)
        (left if a.size > b.size else right).insert(0, inner)
    if isinstance(big, Rank) or isinstance(small, Rank):
        _match(((big,),), ((small,),))
    if left and right:
        same((tuple(left),), (tuple(right),))
    return None


def _split(factor: Factor, outer: int) -> tuple[Factor, Factor]:
    """A factor as a product of two."""
    inner = factor.size // outer
    if isinstance(factor, Fixed):
        return Fixed(outer, factor.why), Fixed(inner, factor.why)
    pair = Rank(outer, None, set(factor.marks)), Rank(inner, None, set(factor.marks))
    factor.means = (pair,)
    return pair


def _become(rank: Rank, axis: Axis) -> None:
    """From now on a rank means an axis of its size, unless that is made of it."""
    if axis == ((rank,),):
        return
    if rank in (parts := ranks_of(axis)):
        freeze(axis, "it is tied to a part of itself")
        return
    for each in parts:
        each.marks |= rank.marks
    rank.means = axis

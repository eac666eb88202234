"""What a node of the exported graph stands for: a tensor of the IR, seen through free changes of view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

Terms = tuple[tuple[int, int], ...]
"""One dimension of the tensor in terms of the view: sum of coefficient * index of that view dimension."""


@dataclass(frozen=True, slots=True)
class Value:
    """A view of the IR tensor `tensor`.

    shape: of the view. terms: for each dimension of the tensor its index in terms of the view's dimensions;
    None once a reshape has merged dimensions that cannot be told apart again.
    fixed: known before the first input arrives (buffers, ranges, masks made of them).
    any_layout: written by a fused kernel in whatever order its reader wants (attention output).
    stopped: no gradient goes back through this view, though it may through others of the tensor.
    """

    tensor: str
    shape: tuple[int, ...]
    terms: tuple[Terms, ...] | None
    fixed: bool = False
    any_layout: bool = False
    stopped: bool = False

    @classmethod
    def whole(cls, tensor: str, shape: Sequence[int], fixed: bool = False) -> Value:
        """The tensor as it is."""
        terms = tuple(((axis, 1),) for axis in range(len(shape)))
        return cls(tensor, tuple(shape), terms, fixed)

    @property
    def elements(self) -> int:
        """Number of elements of the view."""
        return math.prod(self.shape)

    @property
    def is_whole(self) -> bool:
        """True where the view is the tensor as it is."""
        return self.terms == tuple(((axis, 1),) for axis in range(len(self.shape)))

    @property
    def expanded(self) -> bool:
        """True where the view repeats elements of the tensor."""
        if self.terms is None:
            return False
        used = {axis for terms in self.terms for axis, _ in terms}
        return any(size > 1 and axis not in used for axis, size in enumerate(self.shape))


def stop(value: Value) -> Value:
    """The view without a way back for gradients."""
    return replace(value, stopped=True)


def permute(value: Value, order: Sequence[int]) -> Value:
    """The view with its dimensions in another order."""
    rank = len(value.shape)
    order = [axis % rank for axis in order]
    place = {old: new for new, old in enumerate(order)}
    shape = tuple(value.shape[axis] for axis in order)
    return _renumber(value, shape, place)


def expand(value: Value, shape: Sequence[int]) -> Value:
    """Broadcast to `shape`: new and grown dimensions index nothing in the tensor."""
    offset = len(shape) - len(value.shape)
    place = {axis: axis + offset for axis, size in enumerate(value.shape) if size == shape[axis + offset]}
    return _renumber(value, tuple(shape), place)


def windows(value: Value, axis: int, size: int, step: int, shape: Sequence[int]) -> Value:
    """Windows of `size` every `step` places along `axis`, which then counts windows; the place in a window is a new
    last dimension: index = window * step + place."""
    if value.terms is None or not value.shape:
        return replace(value, shape=tuple(shape), terms=None)
    last = len(value.shape)
    terms = tuple(
        tuple(term for at, by in dim for term in (((at, by * step), (last, by)) if at == axis else ((at, by),)))
        for dim in value.terms
    )
    return replace(value, shape=tuple(shape), terms=terms)


def _renumber(value: Value, shape: tuple[int, ...], place: dict[int, int]) -> Value:
    if value.terms is None:
        return replace(value, shape=shape)
    terms = tuple(tuple((place[axis], by) for axis, by in dim if axis in place) for dim in value.terms)
    return replace(value, shape=shape, terms=terms)


def reshape(value: Value, shape: Sequence[int]) -> Value:
    """Another shape with as many elements. Splitting a dimension stays an affine view; merging two dimensions
    of the tensor does not, and leaves `terms` None."""
    groups = _matching_groups(value.shape, tuple(shape))
    if value.terms is None or groups is None:
        return replace(value, shape=tuple(shape), terms=None)
    split: dict[int, Terms] = {}
    for old, new in groups:
        real = [axis for axis in old if value.shape[axis] != 1]
        if len(real) > 1:
            return replace(value, shape=tuple(shape), terms=None)
        parts = [axis for axis in new if shape[axis] != 1]
        if not real and old and new:
            split[old[0]] = ((new[0], 1),)
        if real:
            split[real[0]] = tuple((axis, math.prod(shape[later] for later in parts if later > axis)) for axis in parts)
    terms = tuple(
        tuple((part, by * inner) for axis, by in dim for part, inner in split.get(axis, ())) for dim in value.terms
    )
    return replace(value, shape=tuple(shape), terms=terms)


def _matching_groups(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[list[int], list[int]]] | None:
    """Smallest runs of dimensions with equal products on both sides, or None where there are no elements."""
    if 0 in old:
        return None
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        left: list[int] = []
        right: list[int] = []
        have = want = 1
        while True:
            if have <= want and i < len(old) and (have < want or not left):
                have *= old[i]
                left.append(i)
                i += 1
            elif j < len(new) and (want < have or not right):
                want *= new[j]
                right.append(j)
                j += 1
            elif have == want:
                break
            else:
                return None
        groups.append((left, right))
    return groups

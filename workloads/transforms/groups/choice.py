"""Which places of a group stay: how many are asked for, and which those are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.recipes.targets import is_meta
from zerocast.workloads.transforms.groups.axes import Rank, resolve
from zerocast.workloads.transforms.groups.finder import Coupled, Group
from zerocast.workloads.transforms.groups.order import Choice
from zerocast.workloads.transforms.groups.shrink import held, macs_of

Wanted = float | int | Sequence[int]
"""Of a group: how many places stay, which share of them (a float), or which ones by number (one as often as it is
there)."""


def count_of(group: Group, wanted: Wanted, grain: int = 1) -> int:
    """How many places of a group stay; at least one. Raises `WorkloadError` for more than there are."""
    if not isinstance(wanted, (int, float)):
        return len(wanted)
    if isinstance(wanted, int):
        if not 1 <= wanted <= group.size:
            raise WorkloadError(f"{group.name!r} has {group.size} {group.counted}, of which {wanted} cannot stay")
        return wanted
    exact = wanted * group.size
    whole = grain if group.size % grain == 0 and exact >= grain else 1
    return min(max(round(exact / whole), 1) * whole, group.size)


def masks_of(
    model: nn.Module, found: Coupled, asked: Mapping[Group, Wanted], choice: Choice
) -> dict[Rank, np.ndarray[Any, Any]]:
    """Which places stay of every group of which some go."""
    scores = {group: _scores(model, found, group, choice) for group in asked}
    if choice.everywhere:
        if is_meta(model) and choice.order == "magnitude":
            raise WorkloadError("global ranks the weights of all layers, and a model on the meta device has none")
        asked = _shared(asked, scores)
    masks: dict[Rank, np.ndarray[Any, Any]] = {}
    for group, own in asked.items():
        count = count_of(group, own, choice.grain)
        if count != group.size:
            picked = np.argsort(-scores[group], kind="stable")[:count] if isinstance(own, (int, float)) else own
            masks[group.rank] = np.bincount(list(picked), minlength=group.size)
    return masks


def share_for(found: Coupled, groups: Sequence[Group], macs: float, grain: int) -> dict[Group, Wanted]:
    """The one share of all groups at which that share of the multiply-accumulates is left, by bisection.

    Raises `WorkloadError` where even one place of each leaves more.
    """

    def counts(share: float) -> dict[Group, Wanted]:
        return {group: count_of(group, share, grain) for group in groups}

    def left(share: float) -> float:
        masks = {group.rank: np.arange(group.size) < count for group, count in counts(share).items()}
        return macs_of(found, masks) / whole

    whole = macs_of(found, {})
    low, high = 0.0, 1.0
    if left(low) > macs:
        raise WorkloadError(f"flops={macs:g}: with one channel of each group {left(low):.1%} are left")
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) < macs else (low, middle)
    best = min((low, high), key=lambda share: abs(left(share) - macs))
    return counts(best)


def _shared(asked: Mapping[Group, Wanted], scores: Mapping[Group, Any]) -> dict[Group, Wanted]:
    """Places of all groups ranked against one another, in each by its mean: how many of each stay."""
    relative = {group: own / max(own.mean(), 1e-30) for group, own in scores.items()}
    share = next(iter(asked.values()))
    if not isinstance(share, float):
        raise WorkloadError("global takes a share of all channels together, such as channel:0.5:global")
    whole = np.sort(np.concatenate(list(relative.values())))[::-1]
    least = whole[max(int(share * len(whole) + 0.5), 1) - 1]
    return {group: max(int((own >= least).sum()), 1) for group, own in relative.items()}


def _scores(model: nn.Module, found: Coupled, group: Group, choice: Choice) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A number for each place of a group; the largest stay."""
    if choice.order == "random":
        seed = [choice.seed, *group.name.encode()]
        return np.random.default_rng(seed).permutation(group.size).astype(float)
    first = -np.arange(group.size, dtype=float)
    if choice.order == "first":
        return first
    sums = [own for name, dim in group.weights if (own := _squares(model, found, name, dim, group.rank)) is not None]
    return np.mean(sums, axis=0) if sums else first


def _squares(model: nn.Module, found: Coupled, name: str, dim: int, rank: Rank) -> Any:
    """Sums of squares of a matrix or kernel over all but the places of a rank; None where it has no data or is none."""
    tensor = held(model, name)
    if tensor.is_meta or tensor.dim() < 2 or not tensor.is_floating_point():
        return None
    sums = tensor.detach().double().square().movedim(dim, 0).flatten(1).sum(1).cpu().numpy()
    total, start = np.zeros(rank.size), 0
    for term in resolve(found.weights[name][dim]):
        sizes = [factor.size for factor in term]
        stop = start + int(np.prod(sizes))
        if rank in term:
            at = term.index(rank)
            others = tuple(axis for axis in range(len(sizes)) if axis != at)
            total += sums[start:stop].reshape(sizes).sum(axis=others)
        start = stop
    return total

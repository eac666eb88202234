"""Networks with fewer channels, heads, hidden dimensions: coupled groups found, places chosen, and cut out for good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Required, Unpack

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.lowering.exporting.export import on_meta, without_data
from zerocast.workloads.lowering.exporting.outputs import tensors_of
from zerocast.workloads.lowering.exporting.positional import positional
from zerocast.workloads.pruning import Change
from zerocast.workloads.recipes.targets import check_finite, is_meta, kept_dense, targets
from zerocast.workloads.transforms.groups.choice import Wanted, masks_of, share_for
from zerocast.workloads.transforms.groups.finder import Coupled, Group, coupled
from zerocast.workloads.transforms.groups.order import EACH, Choice
from zerocast.workloads.transforms.groups.plans import Plan, asked_by, heads_of, read_plan
from zerocast.workloads.transforms.groups.shrink import Masks, shrunk, width
from zerocast.workloads.transforms.sizes.shorter import erase
from zerocast.workloads.transforms.surgery import Changed, Scope, named
from zerocast.workloads.user_code.blame import line, place, reason

Ask = Callable[[Coupled, Sequence[str]], Mapping[Group, Wanted]]
"""What stays of each group of a network, of the layers that are named, or of all."""
SUITS = 8
"""Widths of 16-bit products that are multiples of it run at full speed on tensor cores (16 bytes a load)."""


class Resizing(Scope, total=False):
    """How a network is resized: `inputs` that its forward takes, for its graph is followed, and which places stay.

    layers, dense: those whose groups alone, or not, are resized. ends: nothing, as inputs and results stay.
    """

    inputs: Required[Any]
    choice: Choice


def channel(
    model: nn.Module,
    keep: float | str | Plan | Callable[[Group], Wanted | None],
    *,
    inner: bool = False,
    **how: Unpack[Resizing],
) -> Changed:
    """A share of the places of every coupled group: channels, heads, hidden dimensions; the network's results stay.

    keep: a share; a plan (glob of the layers that make them -> width, share, list of places, "heads:n" or "erase"), or
    the file of one (.yaml), or what a function of yours says of each group (a function, or "FILE.py:NAME"). inner: only
    what no sum of two layers ties together.
    """
    if isinstance(keep, str):
        keep = read_plan(keep)
    if isinstance(keep, Mapping):
        gone = [glob for glob, value in keep.items() if value == "erase"]
        model = erase(model, gone).module if gone else model
        plan = {glob: value for glob, value in keep.items() if value != "erase"}
        return resized(model, lambda found, layers: asked_by(plan, found), **how)
    if callable(keep):
        own = keep
        return resized(model, lambda found, layers: {
            group: wanted for group in free(found, layers) if (wanted := own(group)) is not None
        }, **how)  # fmt: skip
    share = keep
    return resized(model, lambda found, layers: {
        group: share for group in free(found, layers) if not (inner and group.kind in ("hidden", "heads"))
    }, **how)  # fmt: skip


def heads(model: nn.Module, keep: float, **how: Unpack[Resizing]) -> Changed:
    """A share of the heads of every attention, or a number of them; queries that share keys and values go with them."""
    return resized(model, lambda found, layers: {
        group: heads_of(group, keep) for group in free(found, layers, "heads")
    }, **how)  # fmt: skip


def ffn(model: nn.Module, keep: float, **how: Unpack[Resizing]) -> Changed:
    """A share, or a number, of the features between the linear layers of every feed-forward block."""
    return resized(model, lambda found, layers: dict.fromkeys(free(found, layers, "ffn"), keep), **how)


def hidden(model: nn.Module, keep: float, **how: Unpack[Resizing]) -> Changed:
    """A share, or a number, of the dimensions that shortcuts run along, by one choice for all layers; where the network
    returns them, its results become as narrow."""

    def ask(found: Coupled, layers: Sequence[str]) -> dict[Group, Wanted]:
        trunks = free(found, layers, "hidden", outputs=True)
        widths = sorted({group.size for group in trunks})
        if isinstance(keep, int) and len(widths) > 1:
            listed = ", ".join(map(str, widths))
            raise WorkloadError(f"the network has trunks of {listed} channels; give a share, such as hidden:0.75")
        return dict.fromkeys(trunks, keep)

    return resized(model, ask, **how)


def target(model: nn.Module, flops: float, **how: Unpack[Resizing]) -> Changed:
    """As `channel`, by the one share at which that share of the multiply-accumulates is left."""
    grain = how.get("choice", EACH).grain
    return resized(model, lambda found, layers: share_for(found, free(found, layers), flops, grain), **how)


def free(found: Coupled, layers: Sequence[str], kind: str = "", outputs: bool = False) -> list[Group]:
    """The groups of a kind that may be pruned, of some layers or of all."""
    free = [
        group for group in found.groups
        if group.makers and not group.inside and (outputs or not group.output) and kind in ("", group.kind)
    ]  # fmt: skip
    for glob in layers:
        if not any(named(layer, glob) for group in free for layer in group.makers):
            raise WorkloadError(f"@{glob} matches no layer that makes {kind or 'channels'} which may go")
    return [
        group for group in free
        if not layers or any(named(layer, glob) for glob in layers for layer in group.makers)
    ]  # fmt: skip


def resized(
    model: nn.Module,
    ask: Ask,
    *,
    inputs: Any,
    choice: Choice = EACH,
    layers: Sequence[str] = (),
    dense: Sequence[str] = (),
    ends: bool | None = None,
) -> Changed:
    """A copy with the places cut out that `ask` gives up, see `Resizing`."""
    del ends
    if inputs is None:
        raise WorkloadError("follows channels through the graph; give example_inputs")
    weights = targets(model)
    reasons = kept_dense(model, weights, dense, first=False, last=True)
    if not is_meta(model):
        check_finite(weights)
    given = positional(model, inputs)
    _run(model, given, "does not run on example_inputs", "give inputs that its forward takes")
    found = coupled(model, given)
    stay = {target.layer for target in weights if reasons.get(target.name, "").startswith("asked for")}
    asked = {group: wanted for group, wanted in ask(found, layers).items() if not stay & set(group.makers)}
    masks = masks_of(model, found, asked, choice)
    if not masks:
        raise WorkloadError(_nothing(found, asked))
    smaller = shrunk(model, found, masks)
    try:
        _check(smaller, given, found, masks)
    except WorkloadError:
        smaller = shrunk(model, found, masks, all_numbers=True)
        _check(smaller, given, found, masks)
    return _accounted(model, smaller, found, masks, reasons)


def _check(smaller: nn.Module, inputs: tuple[Any, ...], found: Coupled, masks: Masks) -> None:
    """Raises `WorkloadError` where the smaller network does not run, or returns other shapes than it should."""
    remedy = "write its reshapes with the numbers that its layers keep, or leave the layers out with dense=[...]"
    shapes = _run(smaller, inputs, "does not run with fewer channels", remedy)
    expected = [tuple(width(axis, masks) for axis in axes) for axes in found.outputs]
    if shapes != expected:
        pairs = zip(shapes, expected, strict=False)
        wrong = next((f"an output of shape {own} in place of {due}" for own, due in pairs if own != due),
                     f"{len(shapes)} outputs in place of {len(expected)}")  # fmt: skip
        raise WorkloadError(f"{type(smaller).__name__} gives {wrong} with fewer channels; {remedy}")


def _run(model: nn.Module, inputs: tuple[Any, ...], what: str, remedy: str) -> list[tuple[int, ...]]:
    """Shapes of the tensors that the model returns; without data, where it runs so.

    Raises `WorkloadError` where it does not run.
    """
    for here, given in ((on_meta(model, training=False), without_data(inputs)), (model, inputs)):
        try:
            with torch.no_grad():
                leaves = tree_leaves(tensors_of(here(*given)))
            return [tuple(leaf.shape) for leaf in leaves if isinstance(leaf, torch.Tensor)]
        except Exception as error:
            problem = error
            if is_meta(model):
                break
    told = reason(problem) if "fewer" in what else line(problem)
    raise WorkloadError(f"{type(model).__name__} {what} ({told}{place(problem)}); {remedy}") from problem


def _nothing(found: Coupled, asked: Mapping[Group, Wanted]) -> str:
    """Why no layer became smaller."""
    if asked:
        return "finds no channel to remove: every layer keeps all of its few channels; lower the share"
    kinds = sorted({group.kind for group in found.groups if not group.inside and not group.output})
    if kinds:
        return f"finds no channel to remove: of what may go the network has {' and '.join(kinds)} alone"
    return "finds no channel to remove: all are tied to the network's inputs, its results, or to groups that stay"


def _accounted(
    model: nn.Module, smaller: nn.Module, found: Coupled, masks: Masks, reasons: Mapping[str, str]
) -> Changed:
    """What became of each layer, and why others stayed."""
    words: dict[str, str] = {}
    for group in found.groups:
        if group.rank in masks:
            left = int(masks[group.rank].sum())
            better = "" if left % SUITS == 0 or group.size % SUITS else f" (a GPU likes {_near(left, group.size)})"
            for layer in (*group.makers, *group.readers):
                words.setdefault(layer, f"{group.kind} {group.size} -> {left}{better}")
    account, thinned = [], []
    after = {target.name: target for target in targets(smaller)}
    for before in targets(model):
        now = after[before.name]
        if now.shape == before.shape:
            continue
        thinned.append(before.name)
        account.append(Change(before.layer, words.get(before.layer, "channels"), before.size, now.size, before.size,
                              now.size))  # fmt: skip
    left_whole = {name: reasons.get(name, "keeps its widths") for name in after if name not in thinned}
    return Changed(smaller, tuple(account), left_whole, tuple(thinned))


def _near(count: int, size: int) -> str:
    """The multiples of 8 around a width."""
    below, above = count // SUITS * SUITS, -(-count // SUITS) * SUITS
    return " or ".join(str(each) for each in (below, above) if 0 < each <= size)

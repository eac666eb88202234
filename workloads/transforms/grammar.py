"""The transforms by the name that recipes give them: how each is spelled, what it does, and where it is. No torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from zerocast.workloads.fields import Fields
from zerocast.workloads.transforms.groups.order import Choice

Arguments = dict[str, Any]
"""Of a transform's function, by name."""


class Transform(NamedTuple):
    """How a transform is spelled, what it does, what reads its fields, its function and the file that has it.

    Behind its fields, any transform takes the layers that it changes: `@GLOB`, or several with `|` between them. at:
    the argument that these are. scoped: whether it is told which layers stay dense. follows: whether it follows the
    graph, for which it is given the network's inputs.
    changes: whether it changes layers, and so comes before recipes that decide zeros in them. sparse: its first field
    is a sparsity, of static masks that its layers then get.
    """

    spelling: str
    does: str
    read: Callable[[Fields], Arguments]
    function: str
    home: str
    at: str = "layers"
    scoped: bool = True
    follows: bool = False
    changes: bool = True
    sparse: bool = False


def _one(name: str, read: Callable[[Fields, str], Any]) -> Callable[[Fields], Arguments]:
    """A reader of the only field, as the argument `name`."""
    return lambda fields: {name: read(fields, *fields.expect(1))}


def _rank_or_share(fields: Fields, text: str) -> float:
    share = fields.share(text) if "." in text or text.endswith("%") else 0.0
    return share or fields.whole(text)


def _places(fields: Fields) -> Arguments:
    """A share of channels or a number of them, or the file of a plan, and how they are picked."""
    first, *words = fields.plain or ("",)
    keep: Any = first
    if not first.startswith("@"):
        keep = _share_or_number(fields, first)
    elif first.endswith(".py") and words:
        keep = f"{first}:{words.pop(0)}"
    if isinstance(keep, str):
        keep = keep[1:]
    return {"keep": keep, **_picked(fields, words)}


def _picked(fields: Fields, words: list[str]) -> Arguments:
    """Options of how places are picked."""
    choice: Arguments = {}
    found: Arguments = {}
    for word in words:
        if word == "inner":
            found["inner"] = True
        elif word == "global":
            choice["everywhere"] = True
        elif word == "random":
            choice["order"] = "random"
        elif word.isdigit() and choice.get("order") == "random" and "seed" not in choice:
            choice["seed"] = int(word)
        else:
            fields.refuse()
    if grain := fields.steps("round", 0):
        choice["grain"] = grain
    return {**found, "choice": Choice(**choice)} if choice else found


def _number_of(fields: Fields) -> Arguments:
    """A share of heads, features or dimensions, or how many stay."""
    first, *words = fields.plain or ("",)
    return {"keep": _share_or_number(fields, first), **_picked(fields, words)}


def _share_or_number(fields: Fields, text: str) -> float:
    """A share (0.5, 50 %, sparsity=0.5), or a whole number above 1."""
    if "sparsity" in fields.options or "density" in fields.options:
        share = 1 - fields.option("sparsity", 0) if "sparsity" in fields.options else fields.option("density", 1)
        return _positive(fields, round(share, 10))
    if text.isdigit() and int(text) > 1:
        return int(text)
    return _positive(fields, float(fields.share(text)))


def _positive(fields: Fields, share: float) -> float:
    if share <= 0:
        fields.refuse("a network needs channels; give a share above 0")
    return share


def _share(fields: Fields) -> Arguments:
    """A share alone."""
    first, *words = fields.plain or ("",)
    return {"share": _positive(fields, fields.share(first)), **_picked(fields, words)}


def _operations(fields: Fields) -> Arguments:
    """flops=R."""
    if "flops" not in fields.options:
        fields.refuse()
    return {"flops": _positive(fields, fields.option("flops", 1)), **_picked(fields, list(fields.plain))}


def _paths(_: Fields, text: str) -> tuple[str, ...]:
    """Layers, with commas between them."""
    return tuple(text.split(","))


def _rank_and_density(fields: Fields) -> Arguments:
    rank, density = fields.expect(2)
    return {"rank": _rank_or_share(fields, rank), "density": fields.share(density)}


def _adapter(fields: Fields) -> Arguments:
    """A rank, then layers in any form, and whether what has no adapter is trained."""
    rank, *rest = fields.plain or ("",)
    found: Arguments = {"rank": _rank_or_share(fields, rank)}
    if rest and rest[-1] in ("frozen", "trained"):
        found["frozen"] = rest.pop() == "frozen"
    if len(rest) > 1:
        fields.refuse()
    return found | ({"layers": tuple(rest[0].split("|"))} if rest else {})


def _factor(fields: Fields, text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1 < factor < 100:
        fields.refuse(f"{text!r} must be a number above 1")
    return factor


def _sparsity(fields: Fields, text: str) -> float:
    share = fields.share(text)
    if not 0 < share < 1:
        fields.refuse(f"a sparsity lies between 0 and 1, not at {text}")
    return share


def _wider(fields: Fields, text: str) -> float:
    """All widths by the root of what sparsity saves (Sparse-IFT, sparse wide)."""
    return float((1 / (1 - _sparsity(fields, text))) ** 0.5)


def _branches(fields: Fields, text: str) -> int:
    """As many branches as one is dense (Sparse-IFT, sparse parallel)."""
    exact = 1 / (1 - _sparsity(fields, text))
    if abs(exact - round(exact)) > 1e-6 * exact:
        fields.refuse(f"{exact:.4g} branches are no whole number; give a sparsity such as 50%, 75%, 80% or 90%")
    return round(exact)


def _part(fields: Fields, text: str) -> float:
    return _positive(fields, fields.share(text))


def _less(fields: Fields, text: str) -> float:
    share = fields.share(text)
    if share == 1:
        fields.refuse("a network needs hidden dimensions; give a share below 1")
    return share


def _bits(fields: Fields, text: str) -> int:
    bits = fields.whole(text, 2)
    if bits > 8:
        fields.refuse(f"{bits} bits are no narrower than what weights are multiplied in; give 2 to 8")
    return bits


def _nothing(fields: Fields) -> Arguments:
    fields.expect(0)
    return {}


TRANSFORMS = {
    "channel": Transform(
        "channel:R[:inner][:global|random[:SEED]][:round=8][@GLOB|GLOB], channel:@PLAN.yaml, channel:@FILE.py:FUNCTION",
        "a share R of every coupled group of channels, heads and dimensions stays; inner: without those of shortcuts",
        _places, "channel", "sizes.narrower", follows=True,
    ),
    "heads": Transform(
        "heads:R[@GLOB|GLOB]", "a share R (or a number) of the heads of every attention stays, with keys they share",
        _number_of, "heads", "sizes.narrower", follows=True,
    ),
    "ffn": Transform(
        "ffn:R[@GLOB|GLOB]", "a share R (or a number) of the features inside every feed-forward block stays",
        _number_of, "ffn", "sizes.narrower", follows=True,
    ),
    "hidden": Transform(
        "hidden:N[@GLOB|GLOB]", "N (or a share) of the dimensions that shortcuts run along stay, the same everywhere",
        _number_of, "hidden", "sizes.narrower", follows=True,
    ),
    "target": Transform(
        "target:flops=R", "channel at the share that leaves a share R of the multiply-accumulates",
        _operations, "target", "sizes.narrower", follows=True,
    ),
    "nested": Transform(
        "nested:R@width|depth", "the first share R of the channels of every group, or of the layers of every list",
        _share, "nested", "sizes.subnetworks", "along", follows=True,
    ),
    "erase": Transform(
        "erase:LAYER[,LAYER]", "layers of a list, by path or glob, are taken out", _one("layers", _paths), "erase",
        "sizes.shorter", scoped=False,
    ),
    "lowrank": Transform(
        "lowrank:R", "each weight becomes two of rank R (0.25: a quarter of its smaller side)",
        _one("rank", _rank_or_share), "lowrank", "weights.factors",
    ),
    "monarch": Transform(
        "monarch:NB", "each linear layer becomes two of NB blocks on the diagonal, with a permutation between them",
        _one("blocks", lambda fields, text: fields.whole(text, 2)), "monarch", "weights.blocks",
    ),
    "sparse+lowrank": Transform(
        "sparse+lowrank:R:D", "each linear weight becomes one of rank R plus a sparse one of density D (SLTrain)",
        _rank_and_density, "sparse_lowrank", "weights.factors",
    ),
    "lora": Transform(
        "lora:R[:GLOB|GLOB][:frozen|trained]",
        "adapters of rank R beside queries and values, or the layers named; all else is frozen, or trained still",
        _adapter, "lora", "weights.adapters",
    ),
    "merge": Transform("merge", "adapters and factors become one weight again", _nothing, "merge", "weights.adapters"),
    "bypass": Transform(
        "bypass:R", "beside each layer stands a small one of rank R, which recipes leave whole",
        _one("rank", _rank_or_share), "bypass", "weights.beside",
    ),
    "bias": Transform("bias", "layers without a bias get one", _nothing, "bias", "weights.beside"),
    "widen": Transform(
        "widen:F", "all widths but those of inputs and results grow by F", _one("factor", _factor), "widen",
        "sizes.wider", follows=True,
    ),
    "ift-wide": Transform(
        "ift-wide:S", "Sparse-IFT: static masks of sparsity S in a network so much wider that operations stay",
        _one("factor", _wider), "widen", "sizes.wider", follows=True, sparse=True,
    ),
    "ift-parallel": Transform(
        "ift-parallel:S", "Sparse-IFT: as many sparse branches in place of each layer as take its operations",
        _one("count", _branches), "branches", "weights.beside", sparse=True,
    ),
    "ift-factorised": Transform(
        "ift-factorised:S", "Sparse-IFT: two sparse layers in place of each that take its operations",
        _one("sparsity", _sparsity), "factorised", "weights.factors", sparse=True,
    ),
    "ift-doped": Transform(
        "ift-doped:S", "Sparse-IFT: a low rank beside each sparse layer that takes the operations saved",
        _one("sparsity", _sparsity), "doped", "weights.beside", sparse=True,
    ),
    "partial": Transform(
        "partial:R", "the weights of a share R of each layer's inputs are trained, and nothing else (S2FT)",
        _one("share", _part), "partial", "weights.parts",
    ),
    "slice": Transform(
        "slice:R", "a share R of the dimensions of shortcuts goes; a square product stays in each (SliceGPT)",
        _one("share", _less), "slices", "sizes.slicing", follows=True,
    ),
    "bits": Transform(
        "bits:B", "weights are stored in B bits, 2 to 8, with scales, and multiplied as the next type that arrays have",
        _one("width", _bits), "bits", "storage", changes=False,
    ),
}  # fmt: skip
"""Name -> transform."""

"""Work on weights alone, which inference does once and for all: folded into the weights that products read.

Eager PyTorch repeats it in every forward pass; what serves a network (freezing, a saved checkpoint) does not.
Training repeats it at every step, because the weights change: there it keeps its price.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from zerocast.workloads.ir import Einsum, Op, Transfer
from zerocast.workloads.lowering.builder import Builder


def fold(
    build: Builder, trained: Collection[str], returned: Iterable[str], costly: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Take out of `build` the ops that only make weights of weights, where an einsum reads them.

    trained: weights that change at every step: what is made of them stays. returned: tensors that the network gives
    back. costly: operators that are never folded (contractions, whose multiply-accumulates are the network's own).
    A folded weight takes the name of the weight that it is made of where nothing else reads that. Returns, for each
    weight into which more than views were folded, the operators that went.
    """
    read = dict.fromkeys(name for op in build.ops if isinstance(op, Einsum) for name in op.inputs[:2])
    found = [name for name in read if _folds(build, name, trained, costly)]
    if not found:
        return {}
    made = _unified(build, found)
    said: dict[str, tuple[str, ...]] = {}
    for name in made:
        origin = build.origin(name)
        if origin is not None and any(_costs(op) for op in _cone(build, [name])):
            said[build.tensors[name].made_of] = tuple(origin.operators)
        build.tensors[name] = replace(build.tensors[name], role="weight")
    sweep(build, found, set(returned))
    _rename(build, made)
    return said


def _folds(build: Builder, name: str, trained: Collection[str], costly: Collection[str]) -> bool:
    tensor, origin = build.tensors[name], build.origin(name)
    if not tensor.made_of or tensor.role == "weight" or origin is None:
        return False
    return not set(origin.sources) & set(trained) and not set(origin.operators) & set(costly)


def _unified(build: Builder, found: Collection[str]) -> list[str]:
    """Those of `found` that differ: what is computed twice alike (a layer that is called twice) is kept once."""
    first: dict[str, str] = {}
    for name in found:
        origin = build.origin(name)
        same = first.setdefault(origin.digest if origin is not None else name, name)
        if same != name:
            build.ops[:] = [_reading(op, name, same) for op in build.ops]
    return list(first.values())


def sweep(build: Builder, made: Collection[str], returned: Collection[str]) -> None:
    """Drop the ops that nothing but `made` needs."""
    cone = {op.name for op in _cone(build, made)}
    kept: list[Op] = []
    read = set(returned)
    for op in reversed(build.ops):
        if op.name in cone and not any(name in read and name not in made for name in op.outputs):
            continue
        read.update(op.inputs)
        kept.append(op)
    build.ops[:] = reversed(kept)


def _cone(build: Builder, made: Iterable[str]) -> list[Op]:
    """All ops that tensors come from."""
    writers = {name: op for op in build.ops for name in op.outputs}
    cone: dict[str, Op] = {}
    todo = [writers[name] for name in made if name in writers]
    while todo:
        op = todo.pop()
        if op.name not in cone:
            cone[op.name] = op
            todo += [writers[name] for name in op.inputs if name in writers]
    return list(cone.values())


def _costs(op: Op) -> bool:
    """Whether an op is more than a view."""
    return not (isinstance(op, Transfer) and op.elements == 0)


def _rename(build: Builder, made: Collection[str]) -> None:
    """Let folded weights take the place of the one that they are made of, where nothing else reads that: under its
    name, where there is one and it is as large. Scales and scores that went into it are parameters still."""
    touched = {name for op in build.ops for name in (*op.inputs, *op.outputs)}
    heirs: dict[str, list[str]] = {}
    for name in made:
        heirs.setdefault(build.tensors[name].made_of, []).append(name)
    for part, names in heirs.items():
        if part in touched:
            continue
        old = build.tensors.pop(part)
        if len(names) == 1 and build.tensors[names[0]].elements == old.elements:
            heir = build.tensors.pop(names[0])
            build.tensors[part] = replace(heir, name=part, made_of="")
            build.computed[part] = build.computed.pop(names[0])
            build.ops[:] = [_reading(op, names[0], part) for op in build.ops]


def _reading(op: Op, old: str, new: str) -> Op:
    if old not in op.inputs:
        return op
    return replace(op, inputs=tuple(new if name == old else name for name in op.inputs))

"""Blocks of ops that repeat: the next ones follow from the last two, by what their names count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from zerocast.workloads.ir import Op, Tensor, Workload

_NUMBER = re.compile(r"(?<![A-Za-z])\d+")
"""A number that counts something; those inside words, as in conv2d, do not."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A list of layers of which the last ones repeat.

    path: of the list in the model. layers: how many there are. kept: how many of them are in the workload, whose last
    two periods of `period` layers are equal to all that follow.
    """

    path: str
    layers: int
    kept: int
    period: int

    @property
    def times(self) -> int:
        """Periods that are left out."""
        return (self.layers - self.kept) // self.period


def lengthened(workload: Workload, repeat: Repeat) -> Workload | None:
    """A workload of the kept layers with those that were left out.

    None where the last two periods do not tell what follows: where they are no blocks of ops side by side, differ in
    more than in what their names count, or are no chain (`_is_chain`), or where something else takes what the first of
    them made.
    """
    path, kept, period = repeat.path, repeat.kept, repeat.period
    marks = [_of(op, path) for op in workload.ops]
    spans = [[at for at, mark in enumerate(marks) if mark in range(first, first + period)]
             for first in (kept - 2 * period, kept - period)]  # fmt: skip
    if not all(span and span == list(range(span[0], span[-1] + 1)) for span in spans):
        return None
    (start, middle), (again, end) = ((span[0], span[-1] + 1) for span in spans)
    one, other = workload.ops[start:middle], workload.ops[again:end]
    before = _before(workload, one, other) if middle == again else None
    if before is None or _is_taken_elsewhere(workload, one, (*one, *other)):
        return None
    if not _is_chain(workload, (*one, *other), before, repeat.times):
        return None
    return _written(workload, end, other, before, repeat.times)


def _of(op: Op, path: str) -> int | None:
    """Which layer of a list an op belongs to."""
    number = op.layer.removeprefix(f"{path}.").partition(".")[0]
    return int(number) if op.layer.startswith(f"{path}.") and number.isdigit() else None


def _before(workload: Workload, one: tuple[Op, ...], other: tuple[Op, ...]) -> dict[str, str] | None:
    """For each name of a block, that of the block before; None where the two differ in more than names."""
    if len(one) != len(other):
        return None
    pairs: dict[str, str] = {}
    for before, after in zip(one, other, strict=True):
        moved = replace(before, name=after.name, layer=after.layer, inputs=after.inputs, outputs=after.outputs)
        if moved != after or len(before.inputs) != len(after.inputs) or len(before.outputs) != len(after.outputs):
            return None
        for old, new in zip(_names_of(before), _names_of(after), strict=True):
            if pairs.setdefault(new, old) != old or _next(old, new, 1) is None:
                return None
    tensors = workload.tensors
    same = all(_alike(tensors[old], tensors[new]) for new, old in pairs.items() if new in tensors and old in tensors)
    return pairs if same else None


def _names_of(op: Op) -> tuple[str, ...]:
    return op.name, op.layer, *op.inputs, *op.outputs


def _alike(old: Tensor, new: Tensor) -> bool:
    return replace(old, name=new.name, made_of=new.made_of) == new and bool(old.made_of) == bool(new.made_of)


def _is_taken_elsewhere(workload: Workload, block: Iterable[Op], allowed: Iterable[Op]) -> bool:
    """Whether an op outside of some takes what a block makes."""
    made, inside = {name for op in block for name in op.outputs}, {op.name for op in allowed}
    return any(made & set(op.inputs) for op in workload.ops if op.name not in inside)


def _is_chain(workload: Workload, blocks: Iterable[Op], before: Mapping[str, str], times: int) -> bool:
    """Whether names that count tell where the data of every further block comes from.

    What a block takes from the one before has to count as what that one makes, or it would take what nothing makes;
    no two names continue one; what ops make outside of the blocks for each of them are only as many as there are blocks
    now; and the names that follow are new.
    """
    counting = {name: old for name, old in before.items() if name != old}
    continued = set(counting.values())
    if len(continued) < len(counting):
        return False
    if any(_next(before[old], old, 1) != name for name, old in counting.items() if old in before):
        return False
    outside = {name for op in workload.ops for name in op.outputs} - {name for op in blocks for name in op.outputs}
    if outside & counting.keys():
        return False
    later = [_at(before, name, step) for name in set(counting) - continued for step in range(1, times + 1)]
    return len(set(later)) == len(later) and not {*workload.tensors, *(op.name for op in workload.ops)} & set(later)


def _next(old: str, new: str, steps: int) -> str | None:
    """The name `steps` after `new`, which comes one after `old`: what counts goes on counting; None where the names
    differ in more than numbers."""
    if old == new:
        return new
    if new == f"{old}_1":  # names that are taken are counted from the second on
        return f"{old}_{1 + steps}"
    if _NUMBER.split(old) != _NUMBER.split(new):
        return None
    pairs = iter(zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True))

    def later(_: re.Match[str]) -> str:
        before, after = next(pairs)
        return str(int(after) + steps * (int(after) - int(before)))

    return _NUMBER.sub(later, new)


def _at(before: Mapping[str, str], name: str, step: int) -> str:
    """What a name of a block is so many blocks later; a name that is in none stays."""
    return (_next(before[name], name, step) or name) if name in before else name


def _moved(op: Op, before: Mapping[str, str], step: int) -> Op:
    inputs, outputs = (tuple(_at(before, name, step) for name in side) for side in (op.inputs, op.outputs))
    return replace(op, name=_at(before, op.name, step), layer=_at(before, op.layer, step), inputs=inputs,
                   outputs=outputs)  # fmt: skip


def _written(workload: Workload, end: int, block: tuple[Op, ...], before: Mapping[str, str], times: int) -> Workload:
    """The workload with the block `times` more behind itself, and what follows taking from the last."""
    made = {name for op in block for name in op.outputs}
    tensors, layers, outputs = dict(workload.tensors), dict(workload.layers), list(workload.outputs)
    ops = list(workload.ops[:end])
    each = [name for name in workload.outputs if name in made and before[name] in workload.outputs]
    for step in range(1, times + 1):
        ops += [_moved(op, before, step) for op in block]
        for name, old in before.items():
            later = _at(before, name, step)
            if name in workload.tensors and name != old:
                tensor = workload.tensors[name]
                tensors[later] = replace(tensor, name=later, made_of=_at(before, tensor.made_of, step))
            if name in workload.layers:
                layers[later] = workload.layers[name]
        outputs += [_at(before, name, step) for name in each]
    last = {name: _at(before, name, times) for name in made}
    ops += [replace(op, inputs=tuple(last.get(name, name) for name in op.inputs)) for op in workload.ops[end:]]
    outputs = [name if name in each else last.get(name, name) for name in outputs]
    longer = replace(workload, ops=tuple(ops), tensors=tensors, layers=layers)
    return replace(longer, meta={**workload.meta, "outputs": tuple(outputs), "parameters": longer.parameters})

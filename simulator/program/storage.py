"""What tensors take off chip: values, and the indices that tell where they belong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from zerocast.workloads.formats import storage_bits
from zerocast.workloads.ir import Einsum, Tensor, Workload
from zerocast.workloads.patterns import DENSE, Pattern, Uniform


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes of a tensor: of what it holds, and of indices."""

    values: int
    indices: int = 0

    @property
    def bytes(self) -> int:
        """Both."""
        return self.values + self.indices


@dataclass(frozen=True, slots=True)
class Storage:
    """How an accelerator keeps tensors off chip.

    formats: of weights. on_chip: tensors that never get there. given: what is stored of weights whose format a kernel
    decides. together: weights that are updated in a row are so by one kernel, which keeps the intermediate tensors of
    all of them.
    """

    formats: Collection[str] = ()
    on_chip: Collection[str] = ()
    given: Mapping[str, Stored] = field(default_factory=dict)
    together: bool = False


PLAIN = Storage()


def stored_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor off chip; a tensor kept as N:M values and offsets takes only those, a gradient or state of an
    optimizer that is masked the values under the mask, whose places the weight tells."""
    if tensor.role in ("gradient", "optimizer_state"):
        return -(-round(tensor.elements * tensor.pattern.density) * tensor.bits // 8)
    return stored(tensor, tensor.pattern, ("nm_offsets",)).bytes


def stored(tensor: Tensor, pattern: Pattern, formats: Collection[str]) -> Stored:
    """A tensor with a pattern's zeros in the smallest of some formats, whole where they have none for it.

    Rows of CSR are its first axis. Zeros that are no N:M groups are taken as spread evenly.
    """
    whole = Stored(tensor.bytes)
    if pattern.is_dense:
        return whole
    groups = pattern.groups
    extents = {"row": tensor.shape[0], "column": max(tensor.elements // max(tensor.shape[0], 1), 1)}
    found = [whole] if "uncompressed" in formats else []
    for name in formats:
        if name == "nm_offsets":
            if groups is None:
                continue
            bits = storage_bits(name, groups, {groups.rank: tensor.elements}, tensor.bits)
        else:
            bits = storage_bits(name, Uniform(pattern.density), extents, tensor.bits)
        values, both = float(bits.value_bits), float(bits.bits)
        found.append(Stored(int(-(-values // 8)), int(-(-both // 8)) - int(-(-values // 8))))
    return min(found, key=lambda each: each.bytes, default=whole)


def stored_weights(workload: Workload, formats: Collection[str], given: Mapping[str, Stored]) -> dict[str, Stored]:
    """What is stored of each weight that all its readers see under one and the same pattern of zeros: what is `given`,
    else the smallest of the formats."""
    seen: dict[str, set[Pattern]] = {}
    for op in workload.ops:
        for position, name in enumerate(op.inputs):
            pattern = workload.pattern_of(op, position) if isinstance(op, Einsum) and position < 2 else DENSE
            seen.setdefault(name, set()).add(pattern)
    return {
        name: given[name] if name in given else stored(workload.tensors[name], pattern, formats)
        for name, patterns in seen.items()
        for pattern in patterns
        if workload.tensors[name].role == "weight" and len(patterns) == 1 and not pattern.is_dense
    }

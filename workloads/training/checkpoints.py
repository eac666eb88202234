"""Activation checkpoints that a user asks for, by glob of module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Workload
from zerocast.workloads.training.autograd import Autograd, Checkpoint


def with_checkpoints(forward: Workload, autograd: Autograd, globs: Sequence[str]) -> Autograd:
    """The autograd of a module of which each submodule that a glob names is a checkpoint of its own: `layers.*` are all
    submodules of `layers`, each with what it holds. What the module checkpoints itself stays as it is.

    Raises `WorkloadError` for a glob that names none.
    """
    numbers: dict[str, int] = {}
    found: dict[str, Checkpoint] = {}
    taken = 1 + max((each.number for each in autograd.checkpoints.values()), default=-1)
    used: set[str] = set()
    for op in forward.ops:
        path = op.layer.split(".")
        for glob in globs:
            parts = glob.split(".")
            if len(path) >= len(parts) and all(map(fnmatchcase, path, parts)):
                used.add(glob)
                module = ".".join(path[: len(parts)])
                found[op.name] = Checkpoint(numbers.setdefault(module, taken + len(numbers)))
                break
    if unused := [glob for glob in globs if glob not in used]:
        layers = list(dict.fromkeys(op.layer for op in forward.ops if op.layer))
        raise WorkloadError(f"checkpoint {unused[0]!r} names no module of {forward.name!r}; its layers: "
                            f"{', '.join(layers[:3])}, ...")  # fmt: skip
    return replace(autograd, checkpoints={**found, **autograd.checkpoints})

"""The errors of this room: mistakes in what was asked for, with their remedies."""

import difflib
from collections.abc import Iterable


class WorkloadError(ValueError):
    """A model, recipe, pattern or workload file that cannot be used; the message names it and the remedy."""


class UnfitSize(WorkloadError):
    """A size of the input that a model does not have."""


def closest(name: str, known: Iterable[str]) -> str:
    """The end of an error message on an unknown name: near matches, or all known names where none is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(names)}"

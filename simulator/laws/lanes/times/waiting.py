"""How long rounds take when lanes wait for one another: barriers and finite queues.

Lane times come as [..., k rounds, lanes]; groups of `group` consecutive lanes wait for each other only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def grouped(times: Array, group: int) -> Array:
    """[..., lanes] -> [..., groups, lanes of a group]."""
    return times.reshape(*times.shape[:-1], -1, group)


def at_outputs(times: Array, step_cycles: float) -> Array:
    """Lanes run freely along K and wait at its end: [..., k rounds, groups, lanes] -> [..., groups]."""
    busy = (times > 0).any(axis=-1).sum(axis=-2)
    return times.sum(axis=-3).max(axis=-1) + step_cycles * busy


def at_steps(times: Array, queue: int, step_cycles: float) -> Array:
    """A round is broadcast when every lane of its group has room: [..., k rounds, groups, lanes] -> [..., groups].

    A lane holds queue + 1 unfinished rounds, at most one is broadcast per cycle, and rounds in which no lane of the
    group has work vanish. With b(s) the cycle in which round s is broadcast and f(s, l) that in which lane l ends it,
    b(s) = max(b(s - 1) + 1, max_l f(s - queue - 1, l)) and f(s, l) = max(f(s - 1, l), b(s)) + time(s, l).
    """
    lead = times.shape[:-3]
    flat = times.reshape(-1, *times.shape[-3:])
    works = (flat > 0).any(axis=-1)
    count = works.sum(axis=1)
    if queue == 0:
        whole = np.where(works, np.maximum(flat.max(axis=-1), 1.0), 0.0).sum(axis=1)
        return (whole + step_cycles * count).reshape(*lead, -1)
    order = np.argsort(~works, axis=1, kind="stable")
    flat = np.take_along_axis(flat, order[..., None], axis=1)
    longest = int(count.max(initial=0))
    free = np.zeros((queue + 1, *count.shape))  # when the slowest lane ended each of the last queue + 1 rounds
    issued = np.full(count.shape, -1.0)
    ends = np.zeros((*count.shape, flat.shape[-1]))
    for step in range(longest):
        live = step < count
        issued = np.where(live, np.maximum(issued + 1, free[step % (queue + 1)]), issued)
        after = np.maximum(ends, issued[..., None]) + flat[:, step]
        ends = np.where(live[..., None], after, ends)
        free[step % (queue + 1)] = ends.max(axis=-1)
    return (ends.max(axis=-1) + step_cycles * count).reshape(*lead, -1)

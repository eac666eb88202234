"""Recurrent layers, whole or step by step: gates of one width."""

from __future__ import annotations

from typing import Any

from zerocast.workloads.transforms.groups.axes import (
    fixed,
    fresh,
    mark,
    product,
    same,
    size_of,
)
from zerocast.workloads.transforms.groups.rules.step import Product, Step, tensors, unknown


def recurrent(step: Step) -> Any:
    """A stack of recurrent layers: gates of one width, read again at every step and by the layer above."""
    ways = 2 if step["bidirectional"] else 1
    names = tensors(step["params"])
    per = len(names) // (ways * step["num_layers"])
    below = step["input"][-1]
    if per not in (2, 4):
        return unknown(step)
    for layer in range(step["num_layers"]):
        above = []
        for way in range(ways):
            own = names[(layer * ways + way) * per :][:per]
            hidden = own[1][1]
            same(own[0][1], below)
            gates = size_of(own[0][0]) // size_of(hidden)
            for weight in own:
                same(weight[0], product([fixed(gates, "it counts gates"), hidden]))
            mark(hidden, "recurrent")
            same(hidden, names[1][1])  # a stack keeps one number for the width of all its layers
            rows = step["input"][:-1]
            step.products.append(Product(step.layer, (*rows, below, *own[0][:1]), below, hidden))
            step.products.append(Product(step.layer, (*rows, *own[1]), None, None))
            above.append(hidden)
        below = tuple(term for axis in above for term in axis)
    states = [(fixed(int(out.shape[0])), fixed(int(out.shape[1])), fresh(int(out.shape[-1]))) for out in step.out[1:]]
    return [(*step["input"][:-1], below), *states]


def cell(step: Step) -> Any:
    """One step of a recurrent layer: its gates are as wide as its state."""
    states = step["hx"] if isinstance(step["hx"], list) else [step["hx"]]
    hidden, below = step["w_hh"][1], step["input"][-1]
    same(step["w_ih"][1], below)
    gates = size_of(step["w_hh"][0]) // size_of(hidden)
    for own in (step["w_ih"], step["w_hh"], step["b_ih"], step["b_hh"]):
        if own:
            same(own[0], product([fixed(gates, "it counts gates"), hidden]))
    mark(hidden, "recurrent")
    for state in states:
        same(state[-1], hidden)
    rows = step["input"][:-1]
    step.products.append(Product(step.layer, (*rows, *step["w_ih"]), below, hidden))
    step.products.append(Product(step.layer, (*rows, *step["w_hh"]), hidden))
    result = (*rows, hidden)
    return [result for _ in step.out] if isinstance(step.out, (list, tuple)) else result

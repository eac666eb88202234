"""What a recurrent layer of several parts computes inside and does not return: inputs and states of each part."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zerocast.workloads.lowering.operators.recurrent import GATES


def is_recurrent(target: Any) -> bool:
    """Whether an operator runs recurrent layers over whole sequences."""
    return isinstance(target, torch._ops.OpOverload) and target.overloadpacket.__name__ in GATES


def inner_tensors(
    operator: Any, x: Tensor, hx: Any, params: list[Tensor], has_biases: bool, layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool,
) -> list[Tensor]:  # fmt: skip
    """For each layer and direction, in the order of `recurrent.inner_place`: its input, the state before the first
    step, and those before the others; arguments as the operator's, in evaluation."""
    starts = list(hx) if isinstance(hx, (list, tuple)) else [hx]
    directions, time = 2 if bidirectional else 1, 1 if batch_first else 0
    each = len(params) // (layers * directions)
    found: list[Tensor] = []
    for layer in range(layers):
        outs = []
        for number in range(layer * directions, (layer + 1) * directions):
            start = [one[number : number + 1] for one in starts]
            turned = x.flip(time) if number % directions else x
            own = params[number * each : (number + 1) * each]
            out, *_ = operator(turned, start if len(starts) > 1 else start[0], own, has_biases, 1, 0.0, False, False,
                               batch_first)  # fmt: skip
            found += [x, start[0][0], out.narrow(time, 0, out.shape[time] - 1)]
            outs.append(out.flip(time) if number % directions else out)
        x = torch.cat(outs, -1)
    return found

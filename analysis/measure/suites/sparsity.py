"""2:4 pruning for the measurements."""

from __future__ import annotations

import torch
from torch import Tensor


def prune_2to4(weights: Tensor) -> Tensor:
    """Weights with the two largest magnitudes of every four consecutive values of a row kept, the others +0.0.

    weights: (N, K) of a type with comparisons (not fp8: prune first, then cast), K a multiple of 4. Of equal
    magnitudes the earlier stays. A product with a mask would leave -0.0, which a compressor may take for a value.
    """
    groups = weights.reshape(weights.shape[0], -1, 4)
    # int8 magnitudes in int16, where |-128| exists
    size = (groups.to(torch.int16) if weights.dtype == torch.int8 else groups).abs()
    rank = torch.zeros(groups.shape, dtype=torch.int8, device=weights.device)
    for at in range(4):
        for other in range(4):
            if other != at:
                ahead = size[..., other] >= size[..., at] if other < at else size[..., other] > size[..., at]
                rank[..., at] += ahead
    return torch.where(rank < 2, groups, torch.zeros((), dtype=weights.dtype, device=weights.device)).reshape(
        weights.shape
    )

"""Sparsity patterns: one interface (`Pattern`), interchangeable laws and masks."""

from workloads.patterns.base import Extents, Occupancy, Pattern, tile_size
from workloads.patterns.block import Block, channel_group
from workloads.patterns.channel import PerChannel
from workloads.patterns.dense import DENSE, Dense
from workloads.patterns.mask import Mask
from workloads.patterns.nm import NM
from workloads.patterns.uniform import Uniform

__all__ = [
    "DENSE", "NM", "Block", "Dense", "Extents", "Mask", "Occupancy", "Pattern", "PerChannel", "Uniform",
    "channel_group", "tile_size",
]  # fmt: skip

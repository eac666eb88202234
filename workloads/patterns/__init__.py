"""Sparsity patterns: one interface (`Pattern`), interchangeable laws and masks."""

from zerocast.workloads.patterns.base import Extents, Occupancy, Pattern, tile_size
from zerocast.workloads.patterns.block import Block, channel_group
from zerocast.workloads.patterns.channel import PerChannel
from zerocast.workloads.patterns.dense import DENSE, Dense
from zerocast.workloads.patterns.mask import Mask
from zerocast.workloads.patterns.nm import NM
from zerocast.workloads.patterns.uniform import Uniform
from zerocast.workloads.patterns.vnm import VNM

__all__ = [
    "DENSE", "NM", "VNM", "Block", "Dense", "Extents", "Mask", "Occupancy", "Pattern", "PerChannel", "Uniform",
    "channel_group", "tile_size",
]  # fmt: skip

"""Weights in files, read one tensor at a time, so that a checkpoint larger than memory shows its zeros."""

from zerocast.workloads.checkpoint.matching import load_into, matched, narrowed
from zerocast.workloads.checkpoint.reading import Checkpoint, has_weights, open_checkpoint

__all__ = ["Checkpoint", "has_weights", "load_into", "matched", "narrowed", "open_checkpoint"]

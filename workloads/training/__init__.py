"""From a forward workload to a training step: loss, backward passes, optimizer update. No PyTorch in here."""

from zerocast.workloads.training.autograd import Autograd, Checkpoint
from zerocast.workloads.training.expand import expand_training
from zerocast.workloads.training.weights.masks import MASK_UPDATES

__all__ = ["MASK_UPDATES", "Autograd", "Checkpoint", "expand_training"]

"""From a forward workload to a training step: loss, backward passes, optimizer update. No PyTorch in here."""

from zerocast.workloads.training.autograd import Autograd, Checkpoint
from zerocast.workloads.training.expand import expand_training

__all__ = ["Autograd", "Checkpoint", "expand_training"]

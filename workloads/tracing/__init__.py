"""Real activations: what a network's tensors hold on real inputs, in a file, and on a workload.

Only `workloads.tracing.record` needs PyTorch.
"""

from workloads.tracing.apply import apply_trace
from workloads.tracing.contents import TensorTrace, Trace
from workloads.tracing.file import load_trace, save_trace

__all__ = ["TensorTrace", "Trace", "apply_trace", "load_trace", "save_trace"]

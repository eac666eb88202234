"""Real activations: what a network's tensors hold on real inputs, in a file, and on a workload.

Only `workloads.tracing.record` needs PyTorch.
"""

from zerocast.workloads.tracing.apply import apply_trace
from zerocast.workloads.tracing.contents import TensorTrace, Trace
from zerocast.workloads.tracing.file import load_trace, save_trace

__all__ = ["TensorTrace", "Trace", "apply_trace", "load_trace", "save_trace"]

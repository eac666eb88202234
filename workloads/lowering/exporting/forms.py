"""The forms that networks and their weights come in: brought to plain modules and tensors, or refused by name."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch._functorch._aot_autograd.subclass_parametrization import unwrap_tensor_subclass_parameters
from torch.export import ExportedProgram
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.user_code.blame import line

_PACKED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")
"""Where torch keeps layers whose weights are packed for its CPU kernels."""


def as_module(model: Any) -> Any:
    """The module of a program that torch.export made; anything else as it is."""
    return model.module() if isinstance(model, ExportedProgram) else model


def plain(model: nn.Module, inputs: tuple[Any, ...]) -> nn.Module:
    """The model itself, or a copy of it that can be exported and whose tensors can be read.

    Programs of TorchScript become modules; sparse, semi-structured and masked tensors the dense ones
    that they stand for, with their zeros; parameters of a wrapping subclass (quantised ones) the tensors that these are
    kept in, put together anew where they are used. Raises `WorkloadError` for a form that cannot be read.
    """
    if isinstance(model, torch.jit.ScriptModule):
        model = _of_script(model, inputs)
    for path, module in model.named_modules():
        _check_readable(path, module)
    return _unwrapped(_with_dense_tensors(model))


def _of_script(model: torch.jit.ScriptModule, inputs: tuple[Any, ...]) -> nn.Module:
    from torch._export.converter import TS2EPConverter

    from zerocast.workloads.lowering.exporting.export import quiet

    try:
        with quiet():
            return TS2EPConverter(model, inputs).convert().module()
    except Exception as error:
        raise WorkloadError(
            f"the model is a TorchScript program that cannot be converted ({line(error)}); capture the module that "
            "was scripted or traced, with load_state_dict(script.state_dict())"
        ) from error


def _check_readable(path: str, module: nn.Module) -> None:
    kind = type(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise WorkloadError(
            f"layer {path!r} is a TorchScript module ({module.original_name}) inside a plain one; put the module that "
            "was scripted in its place"
        )
    if kind.__module__.startswith(_PACKED):
        raise WorkloadError(
            f"layer {path!r} is a {kind.__module__}.{kind.__name__}, whose weights are packed for a CPU kernel; "
            "capture the network before its conversion, quantised by dtype='int8' (--dtype int8)"
        )


def _with_dense_tensors(model: nn.Module) -> nn.Module:
    """A copy with dense tensors in place of others, which shares all that is dense already; the model where all is."""
    memo: dict[int, Any] = {}
    found = False
    for path, tensor in _tensors(model):
        memo[id(tensor)] = dense(path, tensor)
        found = found or memo[id(tensor)] is not tensor
    return copy.deepcopy(model, memo) if found else model


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters, buffers and plain attributes, each under its path."""
    for path, module in model.named_modules():
        for name, held in {**module.__dict__, **module._buffers, **module._parameters}.items():
            if isinstance(held, torch.Tensor):
                yield f"{path}.{name}".removeprefix("."), held


def dense(path: str, tensor: torch.Tensor) -> torch.Tensor:
    """The strided tensor with the same numbers; the tensor itself where it is one."""
    kind = type(tensor).__name__
    masked = hasattr(tensor, "get_mask")
    semi_structured = isinstance(tensor, torch.sparse.SparseSemiStructuredTensor)
    if tensor.layout == torch.strided and not (masked or semi_structured or tensor.is_quantized or tensor.is_nested):
        return tensor
    if tensor.is_quantized or tensor.is_nested:
        what = "quantised for a CPU kernel" if tensor.is_quantized else "nested"
        raise WorkloadError(f"tensor {path!r} is {what}; keep it as plain tensors and make the weight in forward")
    try:
        held: Any = tensor.detach()
        whole: torch.Tensor = held.to_tensor(0) if masked else held.to_dense()
    except Exception as error:
        raise WorkloadError(
            f"tensor {path!r} is a {kind}, which has no dense form on this machine; put its to_dense(), taken on the "
            "device where it was made, in its place"
        ) from error
    trained = isinstance(tensor, nn.Parameter) or tensor.requires_grad
    return nn.Parameter(whole, requires_grad=tensor.requires_grad) if trained else whole


def _unwrapped(model: nn.Module) -> nn.Module:
    wrapped = [name for name, each in model.named_parameters() if is_traceable_wrapper_subclass(each)]
    if not wrapped:
        return model
    try:
        return unwrap_tensor_subclass_parameters(copy.deepcopy(model))
    except Exception as error:
        kind = type(model.get_parameter(wrapped[0])).__name__
        raise WorkloadError(
            f"parameter {wrapped[0]!r} is a {kind}, which cannot be taken apart ({line(error)}); "
            "keep its plain tensors as buffers and make the weight in forward"
        ) from error

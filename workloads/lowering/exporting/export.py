"""Export a PyTorch model to a graph of aten operators, without touching the model or its data."""

from __future__ import annotations

import copy
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.export._trace as exporter
from torch import nn
from torch.export import ExportedProgram
from torch.nn.modules import rnn
from torch.utils._pytree import tree_leaves

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.lowering.exporting.outputs import asked_for
from zerocast.workloads.lowering.exporting.watch import only_ours, stopped_regions, watched
from zerocast.workloads.user_code.blame import line, place
from zerocast.workloads.user_code.neighbours import beside, folders_of

_UNSEEN = "fake tensor in the exported program constant's list"
"""What the exporter says where a tensor came to be past its eyes."""


def export(
    model: nn.Module, inputs: tuple[Any, ...], name: str, training: bool, runnable: bool = False
) -> ExportedProgram:
    """Graph of one forward pass, in training or evaluation mode, at the level of whole operators
    (linear, conv2d, attention, lstm).

    Tried on the meta device first, where no data moves; models that mix devices are exported on their own, and
    so are those whose graph is to be run.
    """
    _know_caches(inputs)
    with beside(folders_of(model)):
        program = None if runnable else _export_on_meta(model, inputs, training)
        if program is None:
            try:
                program = _export(_with_data(model).train(training), inputs, training, _want_gradients(inputs))
            except WorkloadError:
                raise
            except Exception as error:
                raise WorkloadError(f"model {name!r} cannot be exported to a graph: {_reason(error)}") from error
    return program


def _reason(error: Exception) -> str:
    if _UNSEEN in str(error):
        return (
            f"a hook or forward sets the `.data` of a tensor, or maps over weights with vmap{place(error)}, which no "
            "graph shows; multiply the weight with its mask in forward, or by torch.nn.utils.parametrize"
        )
    if _is_packed(error):
        return (
            f"sequences of several lengths are packed{place(error)}, and what is packed depends on the data; give the "
            "layer padded ones of one length"
        )
    return f"{line(error)}{place(error)}; make torch.export.export(model, example_inputs, strict=False) work first"


def _is_packed(error: BaseException) -> bool:
    """Whether an error comes out of a recurrent layer that was given sequences of several lengths."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    layers = (frame.f_locals for frame in frames if frame.f_code.co_filename == rnn.__file__)
    return any(held.get("batch_sizes") is not None for held in layers)


def _know_caches(inputs: tuple[Any, ...]) -> None:
    """Tell torch's exporter how to take a cache object of the transformers library apart, where one comes in."""
    caches = sys.modules.get("transformers.cache_utils")
    if caches is None or not any(isinstance(item, caches.DynamicCache) for item in inputs):
        return
    if caches.DynamicCache not in torch.utils._pytree.SUPPORTED_NODES:
        from transformers.integrations.executorch import register_dynamic_cache_export_support

        register_dynamic_cache_export_support()


def _export_on_meta(model: nn.Module, inputs: tuple[Any, ...], training: bool) -> ExportedProgram | None:
    try:
        return _export(on_meta(model, training), without_data(inputs), training, _want_gradients(inputs))
    except WorkloadError:
        raise
    except Exception:  # whatever it is, the export with data tells it better
        return None


def taken_apart(program: ExportedProgram, target: Any) -> ExportedProgram | None:
    """The graph with one operator replaced by what PyTorch composes it of; None where it has no parts.

    This also turns in-place writes into parts of a tensor (`copy_`) into whole operators, maps functions over a
    dimension as whole operators (vmap), and drops what no output depends on.
    """
    parts = _parts(target)
    if parts is None:
        return None
    with quiet():
        stopped_regions(program.graph_module, program.graph_signature)
        try:
            program = program.run_decompositions(parts)
        except Exception:  # parts that cannot be traced are none
            return None
    # some operators come apart into checks with side effects, which are no work for an accelerator
    unfit = any(node.target == target or "with_effects" in str(node.target) for node in program.graph.nodes)
    return None if unfit else program


def _parts(target: Any) -> dict[Any, Any] | None:
    """What a function of the graph is replaced by; nothing where tracing it anew shows its parts."""
    if not isinstance(target, torch._ops.OpOverload):
        return {}
    known = torch.export.default_decompositions()
    if target in known:
        return {target: known[target]}
    if target.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
        return {target: target.decompose}
    return {} if target._schema.is_mutable else None


def _want_gradients(inputs: tuple[Any, ...]) -> bool:
    return any(isinstance(leaf, torch.Tensor) and leaf.requires_grad for leaf in tree_leaves(inputs))


def _export(model: nn.Module, inputs: tuple[Any, ...], training: bool, given: bool) -> ExportedProgram:
    """The graph of a model that is a copy of the user's."""
    with quiet():
        vars(exporter)["print"] = _no_print  # where it fails, it prints the graph so far on stderr
        try:
            if not training:
                return torch.export.export(asked_for(model), inputs, strict=False)
            with watched(given) as calls:
                program = torch.export.export(asked_for(model), inputs, strict=False)
            only_ours(program.graph_module)
            for call in calls:
                call.check()
            return program
        finally:
            vars(exporter).pop("print", None)


def _no_print(*words: Any, **options: Any) -> None:
    """Stands for `print` inside the exporter."""


@contextmanager
def quiet() -> Iterator[None]:
    """torch.export warns about its own internals and about attributes that RNN modules refresh, and it logs pages
    about what it then raises. Torch's loggers all take their level from the topmost."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _with_data(model: nn.Module) -> nn.Module:
    """A copy of the model; what live pruning hooks left on its layers, which no copy takes, is copied as plain data."""
    held = [tensor for module in model.modules() for tensor in module.__dict__.values()]
    computed = [tensor for tensor in held if isinstance(tensor, torch.Tensor) and not tensor.is_leaf]
    with quiet():  # modules that torch made of a graph warn while they are copied
        return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in computed})


def on_meta(model: nn.Module, training: bool) -> nn.Module:
    """A copy of the model without data: every tensor it holds is replaced before the copy is made."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        held = [*module._parameters.values(), *module._buffers.values(), *module.__dict__.values()]
        for tensor in held:
            if isinstance(tensor, torch.Tensor) and id(tensor) not in memo:
                memo[id(tensor)] = _hollow(tensor)
    with quiet():
        return copy.deepcopy(model, memo).train(training)


def _hollow(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty


def without_data(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Inputs whose tensors are on the meta device."""
    return torch.utils._pytree.tree_map_only(torch.Tensor, _hollow, inputs)

"""Export a PyTorch model to a graph of aten operators, without touching the model or its data."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.export._trace as exporter
from torch import nn
from torch._decomp import get_decompositions
from torch.export import ExportedProgram

from zerocast.workloads.blame import line, place
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.lowering.watch import only_ours, stopped_regions, watched

_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


def export(
    model: nn.Module, inputs: tuple[Any, ...], name: str, training: bool, runnable: bool = False
) -> ExportedProgram:
    """Graph of one forward pass, in training or evaluation mode, at the level of whole operators
    (linear, conv2d, attention); recurrent layers are unrolled over time.

    Tried on the meta device first, where no data moves; models that mix devices are exported on their own, and
    so are those whose graph is to be run.
    """
    program = None if runnable else _export_on_meta(model, inputs, training)
    if program is None:
        try:
            program = _export(copy.deepcopy(model).train(training), inputs, training)
        except WorkloadError:
            raise
        except Exception as error:
            raise WorkloadError(
                f"model {name!r} cannot be exported to a graph: {line(error)}{place(error)}; "
                "make torch.export.export(model, example_inputs, strict=False) work first"
            ) from error
    if any(_recurrent(node) for node in program.graph.nodes):
        with quiet():
            program = program.run_decompositions(_unrolled())
    return program


def _export_on_meta(model: nn.Module, inputs: tuple[Any, ...], training: bool) -> ExportedProgram | None:
    try:
        return _export(on_meta(model, training), _inputs_on_meta(inputs), training)
    except WorkloadError:
        raise
    except Exception:  # whatever it is, the export with data tells it better
        return None


def taken_apart(program: ExportedProgram, target: Any) -> ExportedProgram | None:
    """The graph with one operator replaced by what PyTorch composes it of; None where it has no parts.

    This also turns in-place writes into parts of a tensor (`copy_`) into whole operators, and drops what no
    output depends on.
    """
    known = torch.export.default_decompositions()
    writes = str(target).split(".")[1].endswith("_")
    if target not in known and not writes:
        return None
    with quiet():
        stopped_regions(program.graph_module, program.graph_signature)
        parts = program.run_decompositions({target: known[target]} if target in known else {})
    # some operators come apart into checks with side effects, which are no work for an accelerator
    return None if any("with_effects" in str(node.target) for node in parts.graph.nodes) else parts


def _export(model: nn.Module, inputs: tuple[Any, ...], training: bool) -> ExportedProgram:
    with quiet():
        vars(exporter)["print"] = _no_print  # where it fails, it prints the graph so far on stderr
        try:
            if not training:
                return torch.export.export(model, inputs, strict=False)
            with watched() as calls:
                program = torch.export.export(model, inputs, strict=False)
            only_ours(program.graph_module)
            for call in calls:
                call.check()
            return program
        finally:
            vars(exporter).pop("print", None)


def _no_print(*words: Any, **options: Any) -> None:
    """Stands for `print` inside the exporter."""


def _unrolled() -> dict[Any, Any]:
    """Decompositions of the recurrent layers, and of nothing else."""
    aten = torch.ops.aten
    return get_decompositions([aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input])


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


def _recurrent(node: torch.fx.Node) -> bool:
    return node.op == "call_function" and str(node.target).partition("aten.")[2].split(".")[0] in _RECURRENT


def on_meta(model: nn.Module, training: bool) -> nn.Module:
    """A copy of the model without data: every tensor it holds is replaced before the copy is made."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        held = [*module._parameters.values(), *module._buffers.values(), *module.__dict__.values()]
        for tensor in held:
            if isinstance(tensor, torch.Tensor) and id(tensor) not in memo:
                memo[id(tensor)] = _hollow(tensor)
    return copy.deepcopy(model, memo).train(training)


def _hollow(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty


def _inputs_on_meta(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return torch.utils._pytree.tree_map_only(torch.Tensor, _hollow, inputs)

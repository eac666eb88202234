"""From a PyTorch model to a workload: export, lower op by op, and for training add the other passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypedDict, Unpack

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from zerocast.workloads.checkpoint import Checkpoint, matched, narrowed
from zerocast.workloads.dtypes import Types, stored_as, types_of, with_weights
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Op, Tensor, Workload
from zerocast.workloads.lowering.builder import Builder, NoRule
from zerocast.workloads.lowering.exporting.blocks import lengthened
from zerocast.workloads.lowering.exporting.export import export, quiet, taken_apart
from zerocast.workloads.lowering.exporting.forms import as_module, plain
from zerocast.workloads.lowering.exporting.masks import check_finite, weight_names
from zerocast.workloads.lowering.exporting.positional import positional
from zerocast.workloads.lowering.exporting.repeats import cut, repeats
from zerocast.workloads.lowering.folding import fold
from zerocast.workloads.lowering.origins import Origin, source
from zerocast.workloads.lowering.stored import settle
from zerocast.workloads.lowering.values import Value
from zerocast.workloads.lowering.walk import COUNTED, walk
from zerocast.workloads.pruning import NOTHING_PRUNED, Pruning, apply_pruning
from zerocast.workloads.training import Autograd, expand_training
from zerocast.workloads.training.checkpoints import with_checkpoints

Readers = Mapping[str, Callable[[], torch.Tensor]]
"""By the name of a parameter or buffer: what reads it from its file."""
NO_FILES: Readers = MappingProxyType({})


class Options(TypedDict, total=False):
    """How to lower a model, see `capture`."""

    name: str | None
    training: bool
    optimizer: str
    pruning: Pruning | None
    dtype: str
    allow_unknown: bool
    weights: Checkpoint | None
    equal_layers_once: bool
    per_layer: bool
    checkpoints: Sequence[str]
    mask_update: str
    as_stored: Checkpoint | None


def capture(
    model: nn.Module | ExportedProgram,
    example_inputs: Sequence[Any] | Mapping[str, Any] | torch.Tensor,
    **options: Unpack[Options],
) -> Workload:
    """Lower a model to the dataflow IR.

    model: never changed; may live on the meta device (shapes without data); programs of torch.export and TorchScript,
    sparse and wrapped weights are read, too.
    example_inputs: arguments of its forward, by position or by name; their shapes are the workload's.
    training: add loss, backward passes and the update by a rule of `training.rules`, `per_layer` as of
    `expand_training`; checkpoints: globs of modules whose activations are computed again (`with_checkpoints`).
    mask_update: where a recipe's masks move, the mean of all steps (`amortised`), one that does not change them
    (`never`), or one that does (`only`).
    pruning: what a recipe decided (`workloads.prune`); without one, zeros that the weights hold are found.
    dtype: of every floating tensor but the optimizer's state and master weights, which are fp32; int16, int8 or int4
    stand for a network quantised throughout, in inference, and fp16*int4 (or w4a16) for weights that products read in a
    narrower type (`dtypes.with_weights`).
    allow_unknown: price operators without a rule by their bytes instead of refusing them.
    weights: where the weights of a model without data are read from, one at a time, to find their zeros.
    as_stored: the checkpoint whose types weights take, where these are narrower.
    equal_layers_once: export a few of the equal layers of a long list without data, from which the others follow in a
    fraction of the time; for models whose forward does with each layer what it does with any equal one.

    Raises `WorkloadError` for a model that cannot be exported, an operator without rule, NaN or infinite
    weights, and for weights of another model.
    """
    return capture_once(model, example_inputs, **options).under(options.get("pruning") or NOTHING_PRUNED)


@dataclass(frozen=True, slots=True)
class Captured:
    """A forward pass, lowered without any recipe, from which the workloads under recipes follow in no time.

    optimizer, autograd, per_layer, mask_update: of a training step, autograd None in inference. Zeros that the weights
    hold themselves are in `forward`, so recipes must leave those weights as they are: models without data do.
    """

    forward: Workload
    types: Types
    optimizer: str
    autograd: Autograd | None
    per_layer: bool = False
    mask_update: str = "amortised"

    def under(self, pruning: Pruning) -> Workload:
        """The workload with what a recipe decided. Raises `WorkloadError` for a recipe of another model."""
        frozen = None if self.autograd is None else self.autograd.frozen
        forward = _decided(self.forward, pruning, self.types, frozen)
        if self.autograd is None:
            return forward
        return expand_training(
            forward, self.optimizer, pruning, autograd=self.autograd, per_layer=self.per_layer,
            mask_update=self.mask_update,
        )  # fmt: skip


def capture_once(
    model: nn.Module | ExportedProgram,
    example_inputs: Sequence[Any] | Mapping[str, Any] | torch.Tensor,
    *,
    name: str | None = None,
    training: bool = False,
    optimizer: str = "sgd_momentum",
    pruning: Pruning | None = None,
    dtype: str = "fp16",
    allow_unknown: bool = False,
    weights: Checkpoint | None = None,
    equal_layers_once: bool = False,
    per_layer: bool = False,
    checkpoints: Sequence[str] = (),
    mask_update: str = "amortised",
    as_stored: Checkpoint | None = None,
) -> Captured:
    """What `capture` has before a recipe is applied; arguments and errors as of `capture`. pruning: the recipe of the
    weights whose zeros are not looked for."""
    module = as_module(model)
    _check_arguments(module, example_inputs, pruning)
    inputs = positional(module, example_inputs)
    title = name or type(module).__name__.lower()
    types = types_of(dtype, training)
    applied = pruning or NOTHING_PRUNED
    decided = frozenset(weight for weight, layer in applied.layers.items() if "FF" in layer.weight)
    module = plain(module, inputs)
    files = {} if weights is None else matched(weights, module)
    readers = {name: partial(weights.read, there) for name, there in files.items()} if weights else {}
    if equal_layers_once and not training and not files:
        short = _from_repeats(module, inputs, title, types.activations, allow_unknown)
        if short is not None:
            return Captured(short, types, optimizer, None)
    build, program, outputs = lower_graph(
        module, inputs, title, types.activations, training, allow_unknown, decided=decided, readers=readers
    )
    forward = _workload(build, inputs, program, outputs, training)
    forward = _in_types_of(as_stored, module, forward, training) if as_stored is not None else forward
    if not training:
        return Captured(forward, types, optimizer, None)
    fixed = {n for p, n in weight_names(module).items() if not module.get_parameter(p).requires_grad}
    autograd = Autograd(frozenset(fixed | set(build.stored)), build.stopped, build.checkpoints)
    autograd = with_checkpoints(forward, autograd, checkpoints) if checkpoints else autograd
    return Captured(forward, types, optimizer, autograd, per_layer, mask_update)


def _in_types_of(checkpoint: Checkpoint, model: nn.Module, forward: Workload, training: bool) -> Workload:
    """The workload with weights as narrow as a checkpoint has them. Raises `WorkloadError` where they are trained."""
    names = weight_names(model)
    kept = {names[path]: form for path, form in narrowed(checkpoint, model).items() if path in names}
    if kept and training:
        name, form = next(iter(kept.items()))
        raise WorkloadError(f"weight {name!r} is stored as {form.dtype}, which is for inference; a training step takes "
                            "--dtype bf16, or bf16*nf4 for a frozen base")  # fmt: skip
    for form in dict.fromkeys(kept.values()):
        forward = stored_as(forward, form.dtype, [name for name, own in kept.items() if own == form], form.scale_bits)
    return forward


def _decided(forward: Workload, pruning: Pruning, types: Types, only: frozenset[str] | None = None) -> Workload:
    """A forward workload with the zeros of a recipe, and with weights (of `only`, where it is given) in their own
    type."""
    pruned = apply_pruning(forward, pruning)
    for dtype in dict.fromkeys(pruning.stored.values()):
        names = [name for name, own in pruning.stored.items() if own == dtype]
        if only is not None and (trained := [name for name in names if name not in only]):
            raise WorkloadError(f"recipe {pruning.recipe!r}: {trained[0]!r} is trained, and weights of {dtype} "
                                "are not; freeze it (lora:8+bits:4), or price inference")  # fmt: skip
        pruned = stored_as(pruned, dtype, names)
    return with_weights(pruned, types.weights, only) if types.weights else pruned


def _from_repeats(
    model: nn.Module, inputs: tuple[Any, ...], name: str, dtype: str, allow_unknown: bool
) -> Workload | None:
    """The forward pass of a model without data of which a few layers of each long list are exported; None where no
    list repeats, or where what came out does not tell the others: blocks of ops that differ, weights that nothing
    reads, or others than the model has."""
    if not all(weight.is_meta for weight in model.parameters()) or not (found := repeats(model)):
        return None
    try:
        with cut(model, found):
            build, program, outputs = lower_graph(model, inputs, name, dtype, False, allow_unknown)
    except WorkloadError:  # perhaps for what was cut; the whole model tells
        return None
    weights = {own: model.get_parameter(path).numel() for path, own in weight_names(model).items()}
    short: Workload | None = _workload(build, inputs, program, outputs, False)
    read = {name for op in build.ops for name in op.inputs}
    if build.stored or build.folded or any(t.role == "weight" and t.name not in read for t in build.tensors.values()):
        return None
    for repeat in found:
        short = short and lengthened(short, repeat)
    if short is None:
        return None
    told = {tensor.name: tensor.elements for tensor in short.tensors.values() if tensor.role == "weight"}
    return short if told == weights else None


def _check_arguments(model: Any, example_inputs: Any, pruning: Any) -> None:
    if not isinstance(model, nn.Module):
        raise WorkloadError(f"capture takes a torch.nn.Module, not {model!r}; `build` makes one from a zoo name")
    if not isinstance(example_inputs, (torch.Tensor, list, tuple, Mapping)):
        raise WorkloadError(
            f"example_inputs {example_inputs!r}: give the tensors that forward takes, e.g. torch.zeros(1, 3, 32, 32)"
        )
    if not (pruning is None or isinstance(pruning, Pruning)):
        raise WorkloadError(
            f"pruning {pruning!r} is not what a recipe decided; write "
            "`model, pruning = prune(model, 'nm:2:4', example_inputs)` and hand over both"
        )


def lower_graph(
    model: nn.Module,
    inputs: tuple[Any, ...],
    name: str,
    dtype: str,
    training: bool,
    allow_unknown: bool = False,
    runnable: bool = False,
    decided: frozenset[str] = frozenset(),
    readers: Readers = NO_FILES,
) -> tuple[Builder, ExportedProgram, Any]:
    """Export a model and lower its forward pass: what was built, the graph, and what it returns as values.

    An operator without a rule is taken apart into what PyTorch composes it of; one that has no parts is priced by
    its bytes where `allow_unknown` says so, and refused otherwise. runnable: keep the weights' data in the graph.
    decided: weights whose zeros a recipe tells. readers: where weights without data are read from.
    """
    program = export(model, inputs, name, training, runnable)
    check_finite(model)
    names = weight_names(model)
    trained = {names[path] for path, held in model.named_parameters() if training and held.requires_grad}
    unknown: frozenset[Any] = frozenset()
    while True:
        build = Builder(name, dtype, unknown, trained=frozenset(trained), decided=decided)
        try:
            with quiet():
                values, origins = _sources(build, program, names, model, readers)
                outputs = walk(build, program.graph_module, values, origins)
            settle(build, _returned(program, outputs))
            build.folded = fold(build, trained, _returned(program, outputs), COUNTED)
            if left := [op.name for op in build.ops if op.name in build.deferred]:
                raise build.deferred[left[0]]
            return build, program, outputs
        except NoRule as strange:
            parts = taken_apart(program, strange.target)
            if parts is not None:
                program = parts
            elif allow_unknown and strange.target not in unknown:
                unknown |= {strange.target}
            else:
                raise


def _workload(
    build: Builder, inputs: tuple[Any, ...], program: ExportedProgram, outputs: Any, training: bool
) -> Workload:
    results = _returned(program, outputs, without_stopped=training)
    weights = {name: tensor for name, tensor in build.tensors.items() if tensor.role == "weight"}
    meta: dict[str, Any] = {
        "training": training, "dtype": build.dtype,
        "parameters": sum(tensor.elements for tensor in weights.values()),
        "outputs": tuple(dict.fromkeys(results)),
    }  # fmt: skip
    if build.skipped:
        meta["skipped"] = tuple(dict.fromkeys(build.skipped.values()))
    if build.stored:
        meta["stored_weights"] = len(build.stored)
        meta["stored_types"] = ", ".join(sorted({build.tensors[name].dtype for name in build.stored}))
    first = next((value for value in inputs if isinstance(value, torch.Tensor) and value.dim()), None)
    if first is not None:
        meta["batch"] = int(first.shape[0])
    tensors = _used(build.tensors, build.ops)
    return Workload(build.model, tensors, tuple(build.ops), build.layers, meta, build.found, build.folded)


def _returned(program: ExportedProgram, outputs: Any, without_stopped: bool = False) -> list[str]:
    """Tensors that the network gives back to its caller; without_stopped: those alone that gradients can come from."""
    kept = program.graph_signature.output_specs
    return [
        value.tensor for spec, value in zip(kept, outputs, strict=True)
        if spec.kind.name == "USER_OUTPUT" and isinstance(value, Value) and not (without_stopped and value.stopped)
    ]  # fmt: skip


def _used(tensors: dict[str, Tensor], ops: Sequence[Op]) -> dict[str, Tensor]:
    """All weights, and what some op touches."""
    touched = {name for op in ops for name in (*op.inputs, *op.outputs)}
    return {name: tensor for name, tensor in tensors.items() if name in touched or tensor.role == "weight"}


def _sources(
    build: Builder, program: Any, names: dict[str, str], model: nn.Module, readers: Readers
) -> tuple[dict[str, Value], dict[str, Origin]]:
    """Values of the graph's placeholders: weights, buffers and inputs, under the names their owner gave
    them; and where those that are no inputs come from, with the data that `model` has."""
    holders = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
    values: dict[str, Value] = {}
    origins: dict[str, Origin] = {}
    for spec in program.graph_signature.input_specs:
        like = holders[spec.arg.name].meta.get("val")
        if not isinstance(like, torch.Tensor):
            continue
        if spec.kind == InputKind.PARAMETER:
            values[spec.arg.name] = build.add(names[spec.target], like, "weight")
        elif spec.kind == InputKind.USER_INPUT:
            values[spec.arg.name] = build.add(build.unique(spec.arg.name), like, "input")
        else:
            values[spec.arg.name] = build.add(spec.target, like, "constant", fixed=True)
        if spec.kind != InputKind.PARAMETER:
            build.held.add(values[spec.arg.name].tensor)
        if spec.kind != InputKind.USER_INPUT:
            data = readers.get(spec.target) or _held(model, program, spec.target)
            origins[spec.arg.name] = source(values[spec.arg.name].tensor, data)
    return values, origins


def _held(model: nn.Module, program: ExportedProgram, path: str) -> torch.Tensor | None:
    """The tensor with data that the model (else the exported graph) holds under a dotted path."""
    found: Any = model
    for piece in path.split("."):
        found = getattr(found, piece, None)
    found = program.constants.get(path) if found is None else found
    return found if isinstance(found, torch.Tensor) else None

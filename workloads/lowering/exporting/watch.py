"""What a module does to its own gradients while its graph is exported, where the graph itself does not show it.

PyTorch traces an activation checkpoint and a custom `autograd.Function` as if they were plain calls. Both go through
one function of torch's own each, which stands in here while a training graph is exported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch._library.autograd as operators
from torch.autograd import function as functions
from torch.fx import Node
from torch.fx.traceback import annotate, preserve_node_meta
from torch.utils import checkpoint as checkpointing

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.lowering.exporting.custom import CustomCall
from zerocast.workloads.training.autograd import Checkpoint

_KEY = "zerocast.checkpoint"


def checkpoint_of(node: Node) -> Checkpoint | None:
    """The activation checkpoint in which a graph node runs."""
    found = (node.meta.get("custom") or {}).get(_KEY)
    return None if found is None else Checkpoint(*found)


@contextmanager
def watched(given: bool = False) -> Iterator[list[CustomCall]]:
    """Mark the nodes of activation checkpoints; the calls of custom functions come as they are made.

    A reentrant checkpoint has a gradient where a tensor that goes into it has one, whatever its weights want.

    given: the caller wants the gradient of an input of the network, which the exported graph does not say.

    Raises `WorkloadError` for checkpoints inside checkpoints and for those that keep chosen results.
    """
    calls: list[CustomCall] = []
    numbers = iter(range(sys.maxsize))
    inside: list[int] = []

    @contextmanager
    def marked(whole: bool) -> Iterator[None]:
        if inside:
            raise WorkloadError("an activation checkpoint inside another one is not followed; keep the outer one")
        inside.append(next(numbers))
        try:
            with annotate({_KEY: (inside[0], whole)}):
                yield
        finally:
            inside.pop()

    def generator(
        function: Any, preserve: bool = True, context_fn: Any = checkpointing.noop_context_fn, check: Any = None,
        debug: bool = False, early_stop: bool = True, *args: Any, **kwargs: Any,
    ) -> Iterator[None]:  # fmt: skip
        if context_fn is not checkpointing.noop_context_fn:
            raise WorkloadError(
                "an activation checkpoint with a context_fn chooses what it keeps, which is not followed; "
                "use torch.utils.checkpoint.checkpoint without one"
            )
        with marked(whole=not early_stop):
            yield

    def reentrant(function: Any, preserve: bool, *args: Any) -> Any:
        if not (given or any(isinstance(each, torch.Tensor) and each.requires_grad for each in args)):
            with torch.no_grad():  # as torch does, which warns that gradients will be None
                return function(*args)
        with marked(whole=True):
            return function(*args)

    def setup_is_defined(setup: Any) -> bool:
        frame = sys._getframe(1).f_locals
        if (
            frame["cls"].__module__ != operators.__name__
        ):  # a library's operator is one node, which its rule answers for
            calls.append(CustomCall.of(frame["cls"], frame["args"], frame["kwargs"]))
        return plainly_defined(setup)

    plainly_defined = functions._is_setup_context_defined
    stand_ins = (
        (checkpointing, "_checkpoint_without_reentrant_generator", generator),
        (checkpointing.CheckpointFunction, "apply", staticmethod(reentrant)),
        (functions, "_is_setup_context_defined", setup_is_defined),
    )
    with _standing_in(stand_ins), preserve_node_meta():
        yield calls


@contextmanager
def _standing_in(stand_ins: tuple[tuple[Any, str, Any], ...]) -> Iterator[None]:
    """Attributes of torch replaced for a while; one that was inherited is taken away again."""
    own = [(owner, name, vars(owner).get(name)) for owner, name, _ in stand_ins]
    for owner, name, stand_in in stand_ins:
        setattr(owner, name, stand_in)
    try:
        yield
    finally:
        for owner, name, value in own:
            if value is None:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


def only_ours(module: torch.fx.GraphModule) -> None:
    """Take the marks off the nodes that torch makes for itself, which would differ between two ways of tracing."""
    for inner in module.modules():
        for node in inner.graph.nodes if isinstance(inner, torch.fx.GraphModule) else ():
            custom = node.meta.pop("custom", None) or {}
            if _KEY in custom:
                node.meta["custom"] = {_KEY: custom[_KEY]}


def stopped_regions(module: torch.fx.GraphModule, signature: Any = None) -> None:
    """Detach what regions under no_grad give, as the regions themselves vanish when a graph is taken apart."""
    for inner in module.children():
        if isinstance(inner, torch.fx.GraphModule):
            stopped_regions(inner)
    for node in list(module.graph.nodes):
        if node.op != "call_function" or not is_no_grad(node):
            continue
        region = getattr(module, str(node.args[1].target))  # type: ignore[union-attr]
        marks = [inner.meta["custom"] for inner in region.graph.nodes if inner.meta.get("custom")]
        if marks:
            node.meta["custom"] = marks[0]  # what the region becomes bears the marks of this node
        for result in list(node.users):
            with module.graph.inserting_after(result):
                stop = module.graph.call_function(torch.ops.aten.detach.default, (result,))
            stop.meta = dict(result.meta)
            result.replace_all_uses_with(stop, delete_user_cb=lambda user, stop=stop: user is not stop)
            if signature is not None:
                signature.replace_all_uses(result.name, stop.name)
    module.recompile()


def is_no_grad(node: Node) -> bool:
    """Whether a node is a region that runs without gradients."""
    return str(node.target) == "wrap_with_set_grad_enabled" and not node.args[0]

"""Run an exported graph node by node, and show what the tensors of the lowered workload hold."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule, Interpreter, Node

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Einsum
from zerocast.workloads.lowering.builder import Builder
from zerocast.workloads.tracing.recurrent import inner_tensors, is_recurrent

See = Callable[[str, torch.Tensor], None]
"""Told the name of a tensor and what it holds."""

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


class Replay:
    """A lowered graph that can be run: which node computes which of the `wanted` tensors."""

    def __init__(self, program: ExportedProgram, build: Builder, wanted: Collection[str]) -> None:
        self.program = program
        self.shown: dict[Node, list[tuple[str, int]]] = {}
        self.inside: dict[Node, str] = {}
        for name in wanted:
            if name in build.computed:
                node, at = build.computed[name]
                self.shown.setdefault(node, []).append((name, at))
        self._attention_weights(build, wanted)
        missing = set(wanted) - {name for names in self.shown.values() for name, _ in names}
        if missing := missing - set(self.inside.values()):
            raise WorkloadError(
                f"model {build.model!r}: no operator computes {min(missing)!r} by itself, so it cannot be traced"
            )

    def _attention_weights(self, build: Builder, wanted: Collection[str]) -> None:
        """Fused attention does not return its softmax, which the second of its two einsums reads."""
        readers = {op.outputs[0]: op.inputs[0] for op in build.ops if isinstance(op, Einsum)}
        for name, (node, _) in build.computed.items():
            if node.target == _ATTENTION and readers.get(name) in wanted:
                self.inside[node] = readers[name]

    def run(self, inputs: tuple[Any, ...], see: See) -> None:
        """One forward pass over positional `inputs`, without gradients; `see` is told each wanted tensor once."""
        leaves = iter(torch.utils._pytree.tree_leaves(inputs))
        arguments = []
        for spec in self.program.graph_signature.input_specs:
            if spec.kind == InputKind.USER_INPUT:
                leaf = next(leaves)
                # a model may write into its input
                arguments.append(leaf.clone() if isinstance(leaf, torch.Tensor) else leaf)
            else:
                arguments.append(self._held(str(spec.target)))
        with torch.no_grad():
            _Watcher(self.program.graph_module, self, see).run(*arguments)

    def _held(self, name: str) -> Any:
        state = self.program.state_dict
        return state[name] if name in state else self.program.constants[name]


class _Watcher(Interpreter):
    """Shows results as they come, before a later operator may overwrite them."""

    def __init__(self, graph: GraphModule, replay: Replay, see: See) -> None:
        super().__init__(graph)
        self.replay = replay
        self.see = see

    def run_node(self, n: Node) -> Any:
        if n in self.replay.inside:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            self.see(self.replay.inside[n], attention_weights(*args, **kwargs))
        result = super().run_node(n)
        if is_recurrent(n.target) and n in self.replay.shown:
            args, _ = self.fetch_args_kwargs_from_env(n)
            result = [*result, *inner_tensors(n.target, *args)]
        for name, at in self.replay.shown.get(n, ()):
            self.see(name, result[at] if isinstance(result, (list, tuple)) else result)
        return result

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Regions under no_grad or autocast are graphs of their own, watched like the whole."""
        if not isinstance(target, torch._ops.HigherOrderOperator):
            return super().call_function(target, args, kwargs)
        at = next(place for place, item in enumerate(args) if isinstance(item, GraphModule))
        region = torch.autocast(*args[:at]) if str(target) == "wrap_with_autocast" else nullcontext()
        with region:
            return _Watcher(args[at], self.replay, self.see).run(*args[at + 1 :])


def attention_weights(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Softmax of fused attention's scores, [.., queries, keys], with the arguments of
    `torch.nn.functional.scaled_dot_product_attention` (its documentation gives the formula)."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        shown = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~shown, -torch.inf)
    if attn_mask is not None:
        hidden = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -torch.inf) if hidden else scores + attn_mask
    return torch.softmax(scores, dim=-1)

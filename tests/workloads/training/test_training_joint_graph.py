"""Backward einsums against PyTorch's own joint forward and backward graph, node by node."""

from __future__ import annotations

import contextlib
import math
from collections import Counter, defaultdict

import pytest
import torch
from torch import fx, nn
from torch._functorch.aot_autograd import aot_export_joint_with_descriptors
from torch.nn.attention import SDPBackend, sdpa_kernel

from zerocast.workloads import Workload, build, capture

Product = tuple[int, int]
"""MACs, elements written."""

MODELS = {
    "resnet18": {}, "mobilenet_v2": {}, "vit_cifar": {"depth": 2, "batch": 2},
    "bert_base": {"num_hidden_layers": 2}, "gpt2": {"n_layer": 1},
}  # fmt: skip


class Summed(nn.Module):
    """The joint graph starts from a scalar."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model(*inputs).sum()


def joint_graph(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> fx.Graph:
    program = torch.export.export(Summed(model), inputs, strict=False).module(check_guards=False)
    with contextlib.ExitStack() as stack, sdpa_kernel(SDPBackend.MATH):
        return aot_export_joint_with_descriptors(stack, program, inputs).graph_module.graph


def products(node: fx.Node) -> list[Product]:
    """The contractions a node of the joint graph does; a convolution's backward does up to two."""
    name = str(node.target).split(".")[1] if str(node.target).startswith("aten.") else ""
    if name not in ("convolution", "convolution_backward", "mm", "addmm", "bmm"):
        return []
    shapes = [value.meta["val"].shape for value in node.args[:3] if isinstance(value, fx.Node)]
    if name == "convolution":
        out = node.meta["val"].numel()
        return [(out * math.prod(shapes[1][1:]), out)]
    if name == "convolution_backward":
        macs = shapes[0].numel() * math.prod(shapes[2][1:])
        return [(macs, shapes[1 + i].numel()) for i in (0, 1) if node.args[-1][i]]
    out = node.meta["val"].numel()
    return [(out * shapes[-1][-2], out)]


def layer_of(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or node.meta.get("fwd_nn_module_stack")
    return list(stack.values())[-1][0].partition("@")[0].removeprefix("model.")


def of_pytorch(graph: fx.Graph) -> Counter:
    """For each forward contraction: layer, itself, and what runs backward for it (same sequence number)."""
    groups: dict[int, dict[str, list]] = defaultdict(lambda: {"is_forward": [], "is_backward": [], "layer": []})
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        for product in products(node):
            group = groups[node.meta["seq_nr"]]
            group[node.meta["partitioner_tag"]].append(product)
            if node.meta["partitioner_tag"] == "is_forward":
                group["layer"].append(layer_of(node))
    return Counter((*g["layer"], *g["is_forward"], *sorted(g["is_backward"])) for g in groups.values())


def of_workload(workload: Workload) -> Counter:
    written = {op.name: (op.macs, workload.tensors[op.outputs[0]].elements) for op in workload.einsums}
    forward = [op for op in workload.einsums if op.phase == "FF"]
    return Counter(
        (op.layer, written[op.name], *sorted(written[f"{op.name}.{mark}"] for mark in ("BP", "BP.b", "WU")
                                              if f"{op.name}.{mark}" in written))
        for op in forward
    )  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_each_backward_einsum_is_one_of_pytorchs(name: str) -> None:
    model, inputs = build(name, **MODELS[name])
    model, inputs = model.to("meta").train(), tuple(value.to("meta") for value in inputs)
    ours = of_workload(capture(model, inputs, training=True))
    theirs = of_pytorch(joint_graph(model, inputs))
    assert sum(theirs.values()) > 5
    assert ours == theirs

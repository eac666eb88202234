"""Every node of a graph is told: the ops that it became, or why there is none."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from zerocast.analysis.cli import application
from zerocast.workloads import capture, explain


class Net(nn.Module):
    """A masked weight, a view, a constant, parts, a check on numbers, a recurrent layer that is taken apart."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 16))
        self.register_buffer("mask", torch.ones(8, 16))
        self.memory = nn.GRUCell(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.linear(x, self.weight * self.mask).view(-1, 2, 4)
        first, second = y.unbind(1)
        return self.memory(first) + second * torch.arange(4)


def test_each_op_comes_from_one_node_and_each_node_is_told() -> None:
    model, x = Net(), torch.zeros(3, 16)
    nodes, workload = explain(model, x), capture(model, x)
    ops = [words.partition(":")[0] for node in nodes for words in node.ops]
    assert sorted(ops) == sorted(op.name for op in workload.ops)
    assert all(bool(node.ops) != bool(node.why) for node in nodes)
    told = {node.operator: "; ".join(node.ops) or node.why for node in nodes}
    assert "linear: einsum, 384 MACs" in [words for node in nodes for words in node.ops]
    assert told["aten.view.default"].endswith("as it lies, in another shape or type")
    assert told["aten.unbind.int"] == "unbind: view, nothing moves"
    assert told["aten.arange.default"] == "constant: known before the first input"
    assert told["getitem"] == "one of several results of the node before"
    masked = next(node for node in nodes if node.operator == "aten.mul.Tensor")
    assert masked.why.startswith("made of weights alone: folded into the weight")


def test_an_operator_without_a_rule_is_told_to_be_priced_by_its_bytes() -> None:
    class Strange(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.i0(x) + 1

    nodes = explain(Strange(), torch.zeros(2, 8), allow_unknown=True)
    assert "unknown: priced by its bytes alone" in nodes[0].ops[0]


def test_the_command() -> None:
    found = CliRunner().invoke(application(), ["lower", "resnet9", "--explain"])
    assert found.exit_code == 0, found.output
    assert "aten.conv2d.default" in found.output and "became ops" in found.output


@pytest.mark.parametrize(
    ("words", "said"), [(["resnet18"], "give --out FILE.npz to write to, --explain or --flops, or several of them"),
                        (["w.npz", "--explain"], "w.npz is lowered already")]
)  # fmt: skip
def test_what_cannot_be_explained(words: list[str], said: str) -> None:
    found = CliRunner().invoke(application(), ["lower", *words])
    assert found.exit_code != 0
    assert said in f"{found.output}{found.exception}"

"""Shortcuts of fewer dimensions, turned by a square matrix each."""

from __future__ import annotations

import pytest
import torch
from small_models import mlp
from torch import nn

from zerocast.workloads import capture
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.recipes import prune
from zerocast.workloads.transforms import slices


class Block(nn.Module):
    """Norms in front, or behind the sums."""

    def __init__(self, width: int, ahead: bool = True) -> None:
        super().__init__()
        self.up, self.down, self.mix = nn.Linear(width, 48), nn.Linear(48, width), nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ahead = ahead

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.ahead:
            x = self.norm1(x + self.mix(x))
            return self.norm2(x + self.down(self.up(x)))
        x = x + self.mix(self.norm1(x))
        return x + self.down(torch.relu(self.up(self.norm2(x))))


def network(width: int = 32, ahead: bool = True) -> nn.Module:
    torch.manual_seed(0)
    blocks = (Block(width, ahead) for _ in range(2))
    return nn.Sequential(nn.Linear(16, width), *blocks, nn.LayerNorm(width), nn.Linear(width, 10)).eval()


def test_of_full_width_it_is_the_network_itself_and_turns_are_products_of_the_shortcuts() -> None:
    model, x = network(), torch.randn(4, 16)
    changed = slices(model, 0.0, inputs=x)
    torch.testing.assert_close(changed.module(x), model(x))
    assert [change.layer for change in changed.account] == ["1.mix", "1.down", "2.mix", "2.down"]
    turn = torch.randn(32, 32) / 8
    with torch.no_grad():
        changed.module[1].mix.turn.copy_(turn - torch.eye(32))
    h = model[0](x)
    h = h @ turn.t() + model[1].mix(model[1].norm1(h))
    h = h + model[1].down(torch.relu(model[1].up(model[1].norm2(h))))
    torch.testing.assert_close(changed.module(x), model[2:](h), rtol=1e-4, atol=1e-5)


def test_a_quarter_less_has_so_many_parameters_and_products() -> None:
    model, x = network().to("meta"), torch.zeros(4, 16)
    sliced, pruning = prune(model, "slice:0.25", x)
    inner = 2 * (24 * 24 + 24 * 48 * 2)  # of mix and of up and down, in each block
    assert {tuple(weight.shape) for name, weight in sliced.named_parameters() if "turn" in name} == {(24, 24)}
    workload = capture(sliced, x, pruning=pruning)
    assert workload.macs == 4 * (16 * 24 + inner + 4 * 24 * 24 + 24 * 10)
    assert pruning.account[-1].what == "shortcut turned, 24 x 24"


@pytest.mark.parametrize(
    ("model", "recipe", "message"),
    [
        (network(ahead=False), "slice:0.25", "has no shortcuts around a norm"),
        (mlp(16, 8), "slice:0.25", "has no shortcuts around a norm"),
        (network(), "slice:1.0", "give a share below 1"),
        (network(), "slice:0.9", "of 32 hidden dimensions 90% less leave fewer than 8"),
    ],
)
def test_what_cannot_be_sliced_says_why(model: nn.Module, recipe: str, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        prune(model, recipe, torch.zeros(1, 16))


def test_a_head_as_wide_as_the_trunk_is_no_part_of_a_block() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(16, 32), Block(32), nn.Linear(32, 32)).eval(), torch.randn(4, 16)
    changed = slices(model, 0.25, inputs=x)
    assert [each.layer for each in changed.account if "turned" in each.what] == ["1.mix", "1.down"]
    assert changed.module(x).shape == (4, 32)

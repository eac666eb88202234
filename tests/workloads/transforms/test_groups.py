"""Coupled groups of many architectures: what is found together goes together, and the smaller network is a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zerocast.workloads import build, capture
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.lowering.exporting.export import _know_caches
from zerocast.workloads.recipes import prune
from zerocast.workloads.transforms import channel
from zerocast.workloads.transforms.groups.finder import Group, coupled
from zerocast.workloads.zoo.convnets import MobileNetV2
from zerocast.workloads.zoo.transformers import VisionTransformer


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


class Shuffle(nn.Module):
    """Two units of ShuffleNet V2: half of the channels pass, the others go through, and both are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3)
        self.units = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1))
            for _ in range(2)
        )
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for unit in self.units:
            stay, go = x.chunk(2, dim=1)
            x = torch.cat([stay, unit(go)], dim=1)
            x = x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
        return self.fc(x.mean((2, 3)))


class Dense(nn.Module):
    """Every layer of a DenseNet reads all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(16 + 8 * at), nn.Conv2d(16 + 8 * at, 8, 3, padding=1)) for at in range(3)
        )
        self.fc = nn.Linear(40, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return self.fc(x.mean((2, 3)))


class Skips(nn.Module):
    """Down and up again, with a concatenation across, as in a U-Net."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
        self.norm = nn.GroupNorm(4, 16)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.both, self.out = nn.Conv2d(16, 8, 3, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        top = F.relu(self.into(x))
        below = self.up(F.relu(self.norm(self.down(top))))
        return self.out(F.relu(self.both(torch.cat([top, below], dim=1))))


class Fused(nn.Module):
    """Queries in groups over fewer keys, all from one projection whose parts its code tells by numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.keys = 64, 32
        self.qkv, self.out = nn.Linear(40, 128), nn.Linear(64, 40)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).split([self.queries, self.keys, self.keys], dim=-1)
        q, k, v = (each.unflatten(-1, (-1, 16)).transpose(1, 2) for each in (q, k, v))
        k, v = (each.repeat_interleave(2, dim=1) for each in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(mixed.transpose(1, 2).flatten(2))


class Two(nn.Module):
    """An attention between layers that give it what it reads, so that nothing of it reaches the network's ends."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.middle, self.last = nn.Linear(8, 40), Fused(), nn.Linear(40, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.into(x)))


LLAMA = {"num_hidden_layers": 2, "hidden_size": 256, "num_attention_heads": 16, "num_key_value_heads": 4,
         "intermediate_size": 512, "vocab_size": 100, "tokens": 8}  # fmt: skip
IMAGE = torch.zeros(2, 3, 16, 16)
MADE: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "vit": lambda: (VisionTransformer(16, 4, 48, 2, 4, 96, 10), (IMAGE,)),
    "gpt2": lambda: build("gpt2", tokens=8, n_positions=16, n_layer=2, n_embd=64, n_head=4, vocab_size=100),
    "bert": lambda: build("bert_base", tokens=8, num_hidden_layers=2, hidden_size=64, num_attention_heads=4,
                          intermediate_size=96, vocab_size=100),
    "lstm": lambda: build("lstm", tokens=4, words=50, width=32),
    "llama": lambda: build("llama2_7b", **LLAMA),
    "mobilenet_v2": lambda: (MobileNetV2().features[:6].append(nn.Flatten()).append(nn.Linear(32 * 4, 5)), (IMAGE,)),
    "shuffle": lambda: (Shuffle(), (IMAGE,)),
    "dense": lambda: (Dense(), (IMAGE,)),
    "skips": lambda: (Skips(), (IMAGE,)),
    "fused": lambda: (Two(), (torch.zeros(2, 6, 8),)),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_half_of_all_channels(name: str) -> None:
    """The smaller network runs, returns what the whole one does, and its work is what PyTorch counts."""
    model, inputs = MADE[name]()
    smaller, pruning = prune(model, "channel:0.5", inputs)
    flops, shape = _counted(smaller, inputs)
    whole, whole_shape = _counted(model, inputs)
    assert shape == whole_shape
    workload = capture(smaller, inputs, pruning=pruning)
    assert workload.parameters == sum(each.numel() for each in smaller.parameters())
    assert workload.parameters < 0.75 * sum(each.numel() for each in model.parameters())
    if name != "lstm":  # which the counter does not know
        assert 2 * workload.macs == flops < 0.65 * whole


def _counted(model: nn.Module, inputs: Any) -> tuple[int, torch.Size]:
    """Operations, and the shape of the result."""
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        shape = model(*inputs).shape
    return counter.get_total_flops(), shape


@pytest.mark.parametrize("name", ["vit", "gpt2", "bert", "llama", "fused"])
def test_half_of_the_heads(name: str) -> None:
    """Weights of queries, keys, values and outputs halve, and no others change."""
    model, inputs = MADE[name]()
    smaller, pruning = prune(model, "heads:0.5", inputs)
    with torch.no_grad():
        assert smaller(*inputs).shape == model(*inputs).shape
    for (path, before), after in zip(model.named_parameters(), smaller.parameters(), strict=True):
        assert after.numel() in (before.numel() // 2, before.numel()), path
    assert {change.what.partition(" ")[0] for change in pruning.account} == {"heads"}
    projections = {"vit": 2, "gpt2": 2, "bert": 4, "llama": 4, "fused": 2}[name]
    assert len(pruning.account) == projections * (1 if name == "fused" else 2)


def test_channels_that_are_zero_may_go_and_nothing_changes() -> None:
    """Of every attention two heads, of every feed-forward block half: what they weigh is nothing, so that the network
    without them computes the same."""
    model = VisionTransformer(16, 4, 48, 2, 4, 96, 10).eval()
    with torch.no_grad():
        for block in model.encoder:
            thirds = block.attn.qkv.weight.view(3, 4, 12, 48), block.attn.qkv.bias.view(3, 4, 12)
            for each in thirds:
                each[:, 1::2] = 0
            block.attn.proj.weight.view(48, 4, 12)[:, 1::2] = 0
            block.mlp[0].weight[::2] = block.mlp[0].bias[::2] = 0
            block.mlp[2].weight[:, ::2] = 0
    x = torch.randn(2, 3, 16, 16)
    smaller, _ = prune(model, "heads:0.5+ffn:0.5", x)
    assert smaller.encoder[0].attn.qkv.out_features == 72
    assert smaller.encoder[1].mlp[2].in_features == 48
    torch.testing.assert_close(smaller(x), model(x))


def test_grouped_queries_go_with_their_keys() -> None:
    """25 % of the heads and features of Llama-3.1-8B's layers 4 to 29, as its authors count them (LLM-Pruner's
    more_results: 6,612,586,496 of 8,030,261,248 parameters); here of a layer in two, by the same sum."""
    model, inputs = build("llama2_7b", num_hidden_layers=2, num_key_value_heads=8, intermediate_size=14336, tokens=8)
    smaller, _ = prune(model, "heads:0.75@*layers.1.*+ffn:0.75@*layers.1.*", inputs)
    gone = sum(each.numel() for each in model.parameters()) - sum(each.numel() for each in smaller.parameters())
    assert gone == (8_030_261_248 - 6_612_586_496) // 26
    assert gone == 4096 * (2 * 1024 + 2 * 256 + 3 * 3584)
    by_number, _ = prune(model, "heads:24@*layers.1.*", inputs)
    assert by_number.model.model.layers[1].self_attn.k_proj.weight.shape == (768, 4096)
    with pytest.raises(WorkloadError, match="22 heads do not divide into groups of 4 that share keys and values"):
        prune(model, "heads:22", inputs)


def test_tied_embeddings_and_trunk_are_one_group() -> None:
    model, inputs = MADE["gpt2"]()
    smaller, _ = prune(model, "hidden:48", inputs)
    assert smaller.model.lm_head.weight is smaller.model.transformer.wte.weight
    assert smaller.model.transformer.wpe.weight.shape == (16, 48)
    assert smaller.model.transformer.h[1].mlp.c_fc.weight.shape == (48, 256)
    assert smaller.model.transformer.h[1].attn.c_attn.weight.shape == (48, 192)
    resnet, image = build("resnet18", image=32)
    with pytest.raises(WorkloadError, match=r"trunks of 64, 128, 256, 512 channels; give a share"):
        prune(resnet, "hidden:48", image)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_target_of_operations_is_met(share: float) -> None:
    model, inputs = build("resnet9")
    smaller, pruning = prune(model, f"target:flops={share}", inputs)
    left = capture(smaller, inputs, pruning=pruning).macs / capture(model, inputs).macs
    assert left == pytest.approx(share, abs=0.01)
    with pytest.raises(WorkloadError, match="with one channel of each group"):
        prune(model, "target:flops=0.000001", inputs)


def test_channels_are_ranked_within_layers_over_all_or_drawn() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2))
    with torch.no_grad():
        for layer in model:
            layer.weight.fill_(1.0)
        model[0].weight[:5] = model[1].weight[:2] = 0.0
        model[1].weight[:, :5] = model[2].weight[:, :2] = 0.0
    x = torch.zeros(1, 4)
    widths = {recipe: [layer.out_features for layer in prune(model, recipe, x)[0]][:2]
              for recipe in ("channel:0.5", "channel:0.5:global", "channel:0.5:random:1")}  # fmt: skip
    assert widths == {"channel:0.5": [4, 4], "channel:0.5:global": [3, 6], "channel:0.5:random:1": [4, 4]}
    kept, _ = prune(model, "nested:0.5@width", x)
    assert torch.equal(kept[0].weight, model[0].weight[:4])
    drawn = {prune(model, f"channel:0.5:random:{seed}", x)[0][0].weight.sum().item() for seed in range(6)}
    assert len(drawn) > 1


PLAN = """
model.layers.0.self_attn.q_proj: heads:8
model.layers.0.mlp.up_proj: 0.25
model.layers.1.mlp.*: 100
"""


def test_a_plan_gives_each_layer_its_width(tmp_path: Path) -> None:
    model, inputs = MADE["llama"]()
    page = tmp_path / "plan.yaml"
    page.write_text(PLAN.replace("model.layers", "model.model.layers"))
    smaller, pruning = prune(model, f"channel:@{page}+nm:2:4", inputs)
    first, second = smaller.model.model.layers
    assert first.self_attn.q_proj.out_features == 128
    assert first.self_attn.v_proj.out_features == first.self_attn.v_proj.weight.shape[0] == 32
    assert (first.mlp.gate_proj.out_features, second.mlp.down_proj.in_features) == (128, 100)
    assert pruning.layers["model.model.layers.1.mlp.up_proj.weight"].weight
    places, _ = channel(model, {"*layers.0.mlp.gate_proj": [3, 5, 9]}, inputs=inputs).module, None
    assert places.model.model.layers[0].mlp.down_proj.in_features == 3
    erased = channel(model, {"*layers.0": "erase", "*layers.0.mlp.up_proj": 7}, inputs=inputs).module
    assert len(erased.model.model.layers) == 1
    assert erased.model.model.layers[0].mlp.up_proj.out_features == 7


@pytest.mark.parametrize(("plan", "message"), [
    ({"*layers.0.mlp.upproj": 8}, r"no layer is called '\*layers.0.mlp.upproj'"),
    ({"*layers.0.mlp.up_proj": 20000}, "has 512 channels; give a width from 1 to that"),
    ({"*layers.0.mlp.up_proj": 1.5}, "a share lies above 0 and is 1 at most"),
    ({"*layers.0.mlp.up_proj": [1, 1]}, "different whole numbers from 0 to 511"),
    ({"*layers.0.mlp.up_proj": "half"}, "is no width, share, list of places, heads:n or erase"),
    ({"*layers.0.mlp.up_proj": "heads:2"}, "makes no heads"),
    ({"*layers.0.self_attn.q_proj": "heads:14"}, "14 heads do not divide into groups of 4"),
    ({"*layers.0.self_attn.q_proj": 100}, "has heads of 64 channels; give a multiple"),
    ({"*layers.0.mlp.up_proj": 8, "*layers.0.mlp.gate_proj": 9}, "gate_proj.* is tied to .*up_proj"),
    ({"*lm_head": 8}, "the channels of 'model.lm_head' stay: the network returns them"),
    ({"*layers.7": "erase"}, r"no layer '\*layers.7' to erase"),
])  # fmt: skip
def test_a_plan_that_cannot_be_followed_says_why(plan: dict[str, Any], message: str) -> None:
    model, inputs = MADE["llama"]()
    with pytest.raises(WorkloadError, match=message):
        channel(model, plan, inputs=inputs)


def test_a_function_of_ones_own_chooses_groups(tmp_path: Path) -> None:
    """Exactly two groups are kept narrow, by a file and by a function."""
    model, inputs = MADE["vit"]()
    (tmp_path / "mine.py").write_text("def mine(group):\n    return 8 if group.kind == 'ffn' else None\n")
    smaller, pruning = prune(model, f"channel:@{tmp_path}/mine.py:mine", inputs)
    assert [block.mlp[0].out_features for block in smaller.encoder] == [8, 8]
    assert {change.layer for change in pruning.account} == {
        f"encoder.{at}.mlp.{part}" for at in (0, 1) for part in (0, 2)
    }

    def of_one(group: Group) -> float | None:
        return 0.5 if "encoder.1.attn.qkv" in group.makers and not group.inside else None

    own = channel(model, of_one, inputs=inputs).module
    assert [block.attn.proj.in_features for block in own.encoder] == [48, 24]
    for text, words in (("channel:@none.yaml", "cannot be read"), ("channel:@none.py", "cannot be run"),
                        (f"channel:@{tmp_path}/mine.py:other", "has no function 'other'")):  # fmt: skip
        with pytest.raises(WorkloadError, match=words):
            prune(model, text, inputs)


def test_layers_are_erased_and_nested_by_depth() -> None:
    model, inputs = build("llama2_7b", **{**LLAMA, "num_hidden_layers": 6})
    erased, pruning = prune(model, "erase:model.model.layers.1,model.model.layers.4", inputs)
    assert [layer.self_attn.layer_idx for layer in erased.model.model.layers] == [0, 1, 2, 3]
    assert pruning.account[0].what == "erased" and pruning.account[0].parameters_after == 0
    shallow, _ = prune(model, "nested:0.5@depth", inputs)
    assert len(shallow.model.model.layers) == 3
    assert capture(shallow, inputs).macs < 0.6 * capture(model, inputs).macs
    both, _ = prune(model, "nested:0.5@depth|width", inputs)
    assert both.model.model.layers[2].mlp.up_proj.weight.shape == (256, 128)
    resnet, image = build("resnet18", image=32)
    assert len([m for m in prune(resnet, "nested:0.5@depth", image)[0].layer1 if isinstance(m, nn.Identity)]) == 1
    for recipe, words in (("erase:fc", "'fc' is no member of a list"), ("nested:0.5@heigth", "write width or depth")):
        with pytest.raises(WorkloadError, match=words):
            prune(resnet, recipe, image)


def test_operators_without_a_rule_keep_their_widths() -> None:
    """A Fourier transform mixes all of its channels: the layers before and behind stay as they are."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.three(torch.relu(self.two(torch.fft.fft(self.one(x)).real)))

    found = coupled(Mixed(), (torch.zeros(2, 4),))
    assert [group.makers for group in found.groups if not group.output] == [("two",)]
    with pytest.raises(WorkloadError, match="the channels of 'one' stay: fft_fft is not followed"):
        channel(Mixed(), {"one": 4}, inputs=torch.zeros(2, 4))


class Gated(nn.Module):
    """A slope for each channel, gates from the means of all, cells that step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.slope = nn.Conv2d(3, 16, 3), nn.PReLU(16)
        self.down, self.up = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.cell, self.out = nn.GRUCell(16, 24), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.slope(self.conv(x))
        x = x * torch.sigmoid(self.up(self.down(x.mean((2, 3), keepdim=True))))
        state = self.cell(x.mean((2, 3)))
        return self.out(self.cell(x.amax((2, 3)), state))


def test_slopes_gates_and_cells_follow() -> None:
    smaller, _ = prune(Gated(), "channel:0.5", IMAGE)
    assert (smaller.slope.num_parameters, smaller.down.in_channels, smaller.up.out_channels) == (8, 8, 8)
    assert (smaller.cell.input_size, smaller.cell.hidden_size) == (8, 12)
    assert smaller.cell.weight_hh.shape == (36, 12)


def test_a_ranking_over_all_layers_needs_weights_and_a_share() -> None:
    model, inputs = MADE["llama"]()
    with pytest.raises(WorkloadError, match="global ranks the weights of all layers, and a model on the meta device"):
        prune(model, "channel:0.5:global", inputs)
    with pytest.raises(WorkloadError, match="global takes a share of all channels together"):
        prune(Gated(), "channel:4:global", IMAGE)


def test_what_pytorch_has_learnt_to_take_apart_changes_nothing() -> None:
    """A capture of a network that is fed a cache makes caches containers for the rest of the process."""
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=64,
        ))  # fmt: skip
    _know_caches((transformers.DynamicCache(),))
    ids = torch.zeros(1, 4, dtype=torch.long)
    narrow = prune(model, "ffn:0.5", ids)[0]
    assert narrow.get_parameter("model.layers.0.mlp.gate_proj.weight").shape == (24, 32)
    assert model.config.use_cache and narrow.config.use_cache

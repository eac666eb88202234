"""Networks of which a few layers are exported are the networks of which all are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zerocast.workloads import Workload, capture, from_torch
from zerocast.workloads.lowering.exporting.blocks import Repeat, lengthened
from zerocast.workloads.lowering.exporting.export import export
from zerocast.workloads.lowering.exporting.repeats import cut, equal, repeats

transformers = pytest.importorskip("transformers")

SMALL: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
    "head_dim": 16,
}  # fmt: skip


def _causal(config: Any, **fields: Any) -> tuple[nn.Module, tuple[Any, ...]]:
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config(**(SMALL | fields))).eval()
    return model, (torch.zeros(2, 8, dtype=torch.long, device="meta"),)


CAUSAL = {
    "llama": (transformers.LlamaConfig, {"num_hidden_layers": 7}, (7, 3, 1)),
    "sliding every other": (transformers.Gemma2Config, {"num_hidden_layers": 12}, (12, 6, 2)),
    "dense first": (
        transformers.DeepseekV2Config,
        {"num_hidden_layers": 7, "first_k_dense_replace": 1, "n_routed_experts": 2, "num_experts_per_tok": 1,
         "n_group": 1, "topk_group": 1, "moe_intermediate_size": 32, "kv_lora_rank": 16, "q_lora_rank": None,
         "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16, "num_key_value_heads": 4},
        (7, 3, 1),
    ),
}  # fmt: skip


def _ops_and_more(workload: Workload) -> tuple[Any, ...]:
    return workload.ops, dict(workload.tensors), dict(workload.layers), set(workload.outputs), workload.macs


@pytest.mark.parametrize("name", CAUSAL)
def test_a_few_layers_tell_the_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, fields, (layers, kept, period) = CAUSAL[name]
    model, inputs = _causal(config, **fields)
    (found,) = repeats(model)
    assert (found.layers, found.kept, found.period) == (layers, kept, period)
    asked: list[int] = []
    monkeypatch.setattr(
        from_torch, "export", lambda *given: asked.append(len(model.get_submodule(found.path))) or export(*given)
    )
    short = capture(model, inputs, equal_layers_once=True)
    assert asked == [kept]  # what the few layers told was enough
    assert _ops_and_more(short) == _ops_and_more(capture(model, inputs))


def test_encoder_and_decoder_are_each_cut_and_whole_again_afterwards() -> None:
    config = transformers.T5Config(d_model=32, d_kv=8, d_ff=48, num_heads=4, num_layers=8, vocab_size=50)
    with torch.device("meta"):
        model = transformers.T5Model(config).eval()
    found = repeats(model)
    assert [repeat.path for repeat in found] == ["encoder.block", "decoder.block"]
    with cut(model, found):
        assert len(model.encoder.block) == len(model.decoder.block) == found[0].kept
    assert len(model.encoder.block) == len(model.decoder.block) == 8


class Chain(nn.Module):
    """A list of layers, and what `handed` makes of their results."""

    def __init__(self, *widths: int, handed: str = "last") -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(16, width), nn.Linear(width, 16)) for width in widths)
        self.side = nn.Linear(16, 16) if handed == "some" else None
        self.handed = handed

    def forward(self, x: Tensor) -> Any:
        every = []
        for at, layer in enumerate(self.layers):
            x = layer(x)
            if self.side is not None and at == 6:
                x = self.side(x)
            every.append(x)
        if self.handed == "sum":
            return torch.stack(every).sum(0)
        return tuple(every) if self.handed == "each" else x


def _chain(*widths: int, handed: str = "last") -> Chain:
    with torch.device("meta"):
        return Chain(*widths, handed=handed)


X = torch.zeros(4, 16, device="meta")


@pytest.mark.parametrize("handed", ["last", "sum", "each", "some"])
def test_what_is_made_of_each_layer_is_not_lost(handed: str) -> None:
    """Layers whose results all go on somewhere, and a module that one of them alone needs."""
    model = _chain(*[32] * 12, handed=handed)
    assert repeats(model)
    short, whole = capture(model, X, equal_layers_once=True), capture(model, X)
    assert (short.macs, short.parameters) == (whole.macs, whole.parameters)
    assert set(short.outputs) == set(whole.outputs)
    assert {op.name for op in short.ops} == {op.name for op in whole.ops}


class Sum(nn.Module):
    """A layer of two operands."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.other(self.one(x) + y)


class Fed(nn.Module):
    """Layers that take something beside the result of the layer before."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Sum() for _ in range(12))
        self.table = nn.Linear(16, 12 * 16)
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        if self.what == "two layers back":
            before, x = x, self.table(x)[:, :16]
            for layer in self.layers:
                before, x = x, layer(x, before)
            return x
        table = self.table(x).view(-1, 12, 16)
        parts = [table[:, at] for at in range(len(self.layers))] if self.what == "parts cut before" else None
        for at, layer in enumerate(self.layers):
            x = layer(x, parts[at] if parts else table[:, at])
        return x


@pytest.mark.parametrize("what", ["two layers back", "parts cut before", "a part of each"])
def test_what_each_layer_takes_beside_the_one_before(what: str) -> None:
    """Parts that are cut in front of all layers are as many as the layers, so that a few do not tell the others."""
    with torch.device("meta"):
        model = Fed(what)
    assert repeats(model)
    assert _ops_and_more(capture(model, X, equal_layers_once=True)) == _ops_and_more(capture(model, X))


def test_layers_that_differ_are_not_taken_for_others() -> None:
    assert repeats(_chain(*[32] * 6, 48, *[32] * 3)) == ()
    (found,) = repeats(_chain(48, 48, *[32] * 9))
    assert (found.kept, found.times) == (4, 7)
    (found,) = repeats(_chain(*[32, 48] * 6))
    assert (found.period, found.kept) == (2, 6)


def test_equal_modules() -> None:
    one, other = nn.Linear(3, 4), nn.Linear(3, 4)
    assert equal(one, other, 1)
    assert not equal(one, nn.Linear(3, 4, bias=False), 1)
    assert not equal(nn.Dropout(0.1), nn.Dropout(0.2), 1)
    one.index, other.index = 3, 4  # type: ignore[assignment]
    assert equal(one, other, 1) and not equal(one, other, 2)
    other.register_forward_hook(lambda *_: None)
    assert not equal(one, other, 1)


def test_blocks_that_differ_are_not_repeated() -> None:
    """Layers 1 and 2 of a workload whose layer 2 is wider."""
    workload = capture(_chain(32, 32, 48), X)
    assert lengthened(workload, Repeat("layers", 9, 3, 1)) is None
    even = capture(_chain(32, 32, 32), X)
    other = replace(even.ops[-1], layer="layers.2.1", causal=True)  # type: ignore[call-arg]
    assert lengthened(even.with_ops((*even.ops[:-1], other)), Repeat("layers", 9, 3, 1)) is None
    longer = lengthened(capture(_chain(32, 32, 32), X), Repeat("layers", 9, 3, 1))
    assert longer is not None and longer.macs == 9 * 2 * 4 * 16 * 32
    assert longer.outputs == ("layers.8.1.out",)


def test_a_model_with_data_is_exported_whole() -> None:
    model = Chain(*[32] * 8)
    model.layers[6][0].weight.data[:, ::2] = 0
    assert len(capture(model, torch.zeros(4, 16), equal_layers_once=True).found) == 1

"""Language models as `from_config` makes them, fed token ids alone, and outputs that hold more than tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zerocast.workloads import Transfer, Workload, capture

_GPT = {"n_embd": 32, "n_layer": 1, "n_head": 4, "vocab_size": 100}
_PLAIN = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 100,
}  # fmt: skip

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", _GPT),
    "llama": ("LlamaConfig", _PLAIN),
    "grouped queries": ("MistralConfig", {**_PLAIN, "num_key_value_heads": 2}),
    "heads of their own size": ("Qwen3Config", {**_PLAIN, "num_key_value_heads": 2, "head_dim": 16}),
    "bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 1, "n_head": 4, "vocab_size": 100}),
    "state space": ("MambaConfig", {"hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 100}),
}


def built(name: str) -> nn.Module:
    kind, fields = CONFIGS[name]
    config = getattr(transformers, kind)(**fields, bos_token_id=1, eos_token_id=2)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_token_ids_alone_are_enough(name: str) -> None:
    model, ids = built(name), torch.zeros(2, 16, dtype=torch.long)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(ids, use_cache=False)  # a cache in the output is taken apart by the counter
    workload = capture(model, ids)
    assert workload.macs == counter.get_total_flops() // 2
    assert workload.parameters == sum(p.numel() for p in model.parameters())
    assert model.config.use_cache  # the user's model is as it was
    assert "forward" not in vars(model)


def test_a_training_step_of_a_plain_model() -> None:
    """Twice the forward's products for the gradients: every operand but the embeddings' needs one."""
    model, ids = built("llama"), torch.zeros(2, 16, dtype=torch.long)
    forward = capture(model, ids)
    assert capture(model, ids, training=True).macs == 3 * forward.macs


class Wrapped(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.model = built("llama")
        self.options = options

    def forward(self, ids: torch.Tensor) -> Any:
        return self.model(ids, **self.options)


def appended(workload: Workload) -> int:
    """Elements that are written to a cache of keys and values."""
    parts = (op for op in workload.ops if isinstance(op, Transfer) and op.function == "cat")
    return sum(op.elements for op in parts if workload.tensors[op.outputs[0]].shape == (2, 4, 16, 8))


def test_a_cache_that_nobody_asked_for_is_not_made() -> None:
    ids = torch.zeros(2, 16, dtype=torch.long)
    plain, without = capture(built("llama"), ids), capture(Wrapped(use_cache=False), ids)
    assert [op.kind for op in plain.ops] == [op.kind for op in without.ops]
    # a wrapper that asks for one gets it: keys and values, beside the rotated halves of both
    asked = capture(Wrapped(use_cache=True), ids)
    assert appended(asked) - appended(without) == 2 * (2 * 4 * 16 * 8)
    assert asked.outputs == ("model.lm_head.out",)


@dataclass
class Found:
    scores: torch.Tensor
    extra: dict[str, Any]


class Helper:
    """An object that is no container of PyTorch's."""


def test_outputs_of_any_kind_give_their_tensors() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> Any:
            y = self.fc(x)
            return Found(y, {"again": y.relu(), "helper": Helper(), "name": "y", "count": 2})

    workload = capture(Model(), torch.zeros(2, 4))
    assert workload.outputs == ("fc.out", "relu.out")

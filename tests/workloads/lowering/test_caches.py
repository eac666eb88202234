"""Key-value caches: a token more moves a token, whoever wrote the model, and attention reads the cache once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from zerocast.simulator import simulate
from zerocast.simulator.unit_cost import moved_bytes
from zerocast.workloads import Workload, capture
from zerocast.workloads.ir import Index, Transfer

BATCH, HEADS, WIDTH, PAST = 2, 4, 8, 24
ROW = BATCH * HEADS * WIDTH * 2
"""Bytes of the keys of one token in 16 bits, and of its values."""


class Layer(nn.Module):
    """One attention of a decode step over a cache that its subclasses keep."""

    def __init__(self, heads: int = HEADS) -> None:
        super().__init__()
        self.q = nn.Linear(32, HEADS * WIDTH, bias=False)
        self.k = nn.Linear(32, heads * WIDTH, bias=False)
        self.v = nn.Linear(32, heads * WIDTH, bias=False)

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], -1, WIDTH).transpose(1, 2)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))


class Concatenated(Layer):
    """Hands the grown cache back."""

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        q, k, v = self.qkv(x)
        k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        return scaled_dot_product_attention(q, k, v), k, v


class ByHand(Layer):
    """Attention written out; the cache lies as [batch, tokens, heads, width]."""

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        q, k, v = self.qkv(x)
        k = torch.cat([keys.transpose(1, 2), k], 2)
        v = torch.cat([values.transpose(1, 2), v], 2)
        return torch.softmax(q @ k.transpose(2, 3) / WIDTH**0.5, -1) @ v


class Buffers(Layer):
    """A cache of fixed size in the module, written by index."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(BATCH, HEADS, PAST + 1, WIDTH))

    def forward(self, x: Tensor, at: Tensor) -> Tensor:
        q, k, v = self.qkv(x)
        self.keys.index_copy_(2, at, k)
        self.values[:, :, at] = v
        return scaled_dot_product_attention(q, self.keys, self.values)


class Slices(Layer):
    """A cache of fixed size among the inputs, written by slices."""

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        q, k, v = self.qkv(x)
        keys[:, :, PAST : PAST + 1] = k
        values[:, :, PAST : PAST + 1] = v
        return scaled_dot_product_attention(q, keys, values)


def inputs(*cache: int) -> tuple[Tensor, ...]:
    return torch.zeros(BATCH, 1, 32), *(torch.zeros(cache) for _ in range(2))


CASES = [
    (Concatenated(), inputs(BATCH, HEADS, PAST, WIDTH)),
    (ByHand(), inputs(BATCH, PAST, HEADS, WIDTH)),
    (Buffers(), (torch.zeros(BATCH, 1, 32), torch.tensor([PAST]))),
    (Slices(), inputs(BATCH, HEADS, PAST + 1, WIDTH)),
]


def moved(workload: Workload) -> list[tuple[int, int]]:
    """Bytes that each op beside the products and the softmax reads and writes."""
    others = [op for op in workload.ops if isinstance(op, (Index, Transfer))]
    return [pair for op in others if any(pair := moved_bytes(op, workload.tensors))]


@pytest.mark.parametrize(("model", "example"), CASES, ids=lambda case: type(case).__name__)
def test_a_token_more_moves_a_token(model: nn.Module, example: tuple[Tensor, ...]) -> None:
    index = 8 if isinstance(model, Buffers) else 0
    assert moved(capture(model, example)) == [(ROW + index, ROW)] * 2


@pytest.mark.parametrize(("model", "example"), CASES, ids=lambda case: type(case).__name__)
def test_a_step_reads_weights_and_cache_once(model: nn.Module, example: tuple[Tensor, ...]) -> None:
    """Attention of one token: 25 keys, 25 values, one query; the scores stay on chip where softmax follows at once."""
    rows = [row for row in simulate(capture(model, example, dtype="bf16"), "nvidia-h100-sxm").rows if row.k]
    attention = [row for row in rows if row.function not in ("linear",)]
    assert sum(row.dram_weight_bytes for row in rows if row.function == "linear") == 3 * 32 * 32 * 2
    assert sum(row.dram_weight_bytes for row in attention) == 2 * (PAST + 1) * ROW
    assert sum(row.macs for row in attention) == 2 * BATCH * HEADS * (PAST + 1) * WIDTH


def test_other_concatenations_are_copies() -> None:
    """Skip connections, whose input something else reads too, and inputs put together for a convolution."""

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(7, 2, 1)

        def forward(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
            joined = torch.cat([x, self.first(x)], 1)
            return joined, self.last(torch.cat([other, self.first(x)], 1))

    workload = capture(Skip(), (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)))
    assert moved(workload) == [(7 * 64 * 2, 7 * 64 * 2)] * 2


def test_a_tensor_that_is_read_again_is_not_overwritten() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor, base: Tensor) -> Tensor:
            return torch.slice_scatter(base, x, 0, 2, 4) + base

    workload = capture(Both(), (torch.zeros(2, 8), torch.zeros(6, 8)))
    assert moved(workload) == [(8 * 8 * 2, 6 * 8 * 2)]


@pytest.mark.parametrize(
    "view", [torch.ravel, lambda old: torch.hsplit(old, 2)[0], torch.Tensor.diagonal, lambda old: old.unfold(0, 2, 1)]
)
def test_a_tensor_that_is_read_again_through_a_view_is_not_overwritten(view: Callable[[Tensor], Tensor]) -> None:
    class Old(nn.Module):
        def forward(self, kept: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            seen = view(kept)
            new = torch.index_copy(kept, 0, torch.tensor([3]), x)
            return new, seen * 2

    copies = [op for op in capture(Old(), (torch.randn(8, 8), torch.randn(1, 8))).ops if isinstance(op, Index)]
    assert len(copies) == 1 and not copies[0].in_place


def tiny(**config: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 4, "head_dim": 16, "vocab_size": 64}  # fmt: skip
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **config)).eval()


class Wrapped(nn.Module):
    """A causal language model of the transformers library with its cache as a user would hand it over."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, past: Any) -> Any:
        out = self.model(input_ids=ids, past_key_values=past, use_cache=True)
        return out.logits, out.past_key_values


def dynamic_cache(tokens: int) -> Any:
    from transformers import DynamicCache

    past = DynamicCache()
    for layer in range(2):
        past.update(torch.zeros(BATCH, 4, tokens, 16), torch.zeros(BATCH, 4, tokens, 16), layer)
    return past


def static_cache(model: Any, tokens: int) -> Any:
    from transformers import StaticCache

    past = StaticCache(config=model.config, max_cache_len=tokens)
    past.early_initialization(BATCH, 4, 16, torch.float32, torch.device("cpu"))
    return past


class Held(nn.Module):
    """The same with a cache of fixed size that the user's module holds."""

    def __init__(self, model: Any, past: Any) -> None:
        super().__init__()
        self.model, self.past = model, past

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(input_ids=ids, past_key_values=self.past, use_cache=True).logits


def grown_bytes(workload: Workload) -> list[int]:
    """Bytes that in-place ops write."""
    others = [op for op in workload.ops if isinstance(op, (Index, Transfer)) and op.in_place]
    return [moved_bytes(op, workload.tensors)[1] for op in others if op.elements > 1]


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_caches_of_the_transformers_library(kind: str) -> None:
    """4 heads of width 16: a token's keys are 128 bytes a sample, in each of two layers, and so are its values."""
    model = tiny()
    ids = torch.zeros(BATCH, 1, dtype=torch.long)
    if kind == "dynamic":
        workload = capture(Wrapped(model), (ids, dynamic_cache(PAST)))
    else:
        workload = capture(Held(model, static_cache(model, PAST + 1)), (ids,))
    assert grown_bytes(workload) == [BATCH * 4 * 16 * 2] * 4
    cache = BATCH * 4 * (PAST + 1) * 16 * 2
    most = [sum(moved_bytes(op, workload.tensors)) for op in workload.ops if isinstance(op, Transfer)]
    assert max(most) < cache

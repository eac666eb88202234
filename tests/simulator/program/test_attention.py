"""Attention on a GPU: one kernel, whatever the mask; what a causal mask hides is not computed. Counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_workloads import attention, forward
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from zerocast.accelerators import load
from zerocast.simulator import simulate
from zerocast.simulator.program.attention import attentions, shown_share
from zerocast.workloads import Workload, build, capture
from zerocast.workloads.patterns import NM

HEADS, TOKENS, WIDTH = 4, 512, 64


class Attention(nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return scaled_dot_product_attention(q, k, v, is_causal=self.causal)


def captured(causal: bool, tokens: int = TOKENS, training: bool = False) -> Workload:
    one = torch.zeros(1, HEADS, tokens, WIDTH, device="meta")
    return capture(Attention(causal), (one, one, one), dtype="bf16")


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (100, 100), (512, 512), (300, 700), (700, 300), (129, 129)])
def test_blocks_that_a_mask_does_not_hide(queries: int, keys: int) -> None:
    """Against torch's own mask, block by block of 128 x 128."""
    mask = torch.ones(queries, keys).tril()
    seen = sum(block.numel() for rows in mask.split(128, 0) for block in rows.split(128, 1) if block.any())
    assert shown_share(queries, keys) == pytest.approx(seen / (queries * keys))


def test_half_of_long_scores_are_hidden() -> None:
    """n blocks a side: n (n + 1) / 2 of n^2."""
    assert shown_share(2048, 2048) == 17 / 32 and shown_share(32768, 32768) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("card", ["nvidia-h100-sxm", "nvidia-a100-sxm-80g", "nvidia-rtx4090"])
def test_prefill_moves_queries_keys_values_and_the_output(causal: bool, card: str) -> None:
    result = simulate(captured(causal), card)
    one = HEADS * TOKENS * WIDTH * 2
    assert result.total("dram_read_bytes") == 3 * one and result.total("dram_write_bytes") == one
    assert result.footprint.peak_bytes == 4 * one
    assert result.total("macs") == 2 * HEADS * TOKENS**2 * WIDTH


def test_a_causal_kernel_leaves_the_hidden_blocks_out() -> None:
    """4 blocks a side: 10 of 16 are multiplied, and their softmax taken."""
    whole, masked = (simulate(captured(causal), "nvidia-h100-sxm") for causal in (False, True))
    products = [[row for row in result.rows if row.k] for result in (whole, masked)]
    for full, part in zip(*products, strict=True):
        assert part.flops == pytest.approx(full.flops * 10 / 16) and part.mac_j < full.mac_j
        assert (part.macs, part.m, part.n, part.k) == (full.macs, full.m, full.n, full.k)
    (full,), (part,) = ([row for row in result.rows if not row.k] for result in (whole, masked))
    assert part.flops == full.flops * 10 / 16
    long = [simulate(captured(causal, 16384), "nvidia-h100-sxm").latency_s for causal in (False, True)]
    assert 0.5 < long[1] / long[0] < 0.56


class Trained(nn.Module):
    """Projections to queries, keys and values, and their attention."""

    def __init__(self, causal: bool, dropout: float) -> None:
        super().__init__()
        self.causal, self.dropout = causal, dropout
        self.qkv = nn.ModuleList(nn.Linear(HEADS * WIDTH, HEADS * WIDTH, bias=False) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (each(x).view(1, TOKENS, HEADS, WIDTH).transpose(1, 2) for each in self.qkv)
        return scaled_dot_product_attention(q, k, v, is_causal=self.causal, dropout_p=self.dropout)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("causal", [False, True])
def test_a_training_step_keeps_no_scores(causal: bool, dropout: float) -> None:
    """Forward: q, k, v in, the output out. Backward: q, k, v and the output's gradient in, three gradients out, and the
    scores multiplied once more: five products for the forward's two (FlashAttention-2, section 3.1)."""
    x = torch.zeros(1, TOKENS, HEADS * WIDTH, device="meta")
    workload = capture(Trained(causal, dropout).to("meta"), x, training=True, dtype="bf16")
    rows = [row for row in simulate(workload, "nvidia-h100-sxm").rows
            if row.kind in ("einsum", "vector") and "qkv" not in row.layer and "loss" not in row.op]  # fmt: skip
    one, products = HEADS * TOKENS * WIDTH * 2, [row for row in rows if row.k]
    moved = {
        phase: [
            sum(getattr(row, f"dram_{way}_bytes") for row in rows if row.phase == phase) for way in ("read", "write")
        ]
        for phase in ("FF", "BP")
    }
    assert moved["FF"] == [3 * one, one] and moved["BP"] == [4 * one, 3 * one]
    assert [row.phase for row in products] == ["FF"] * 2 + ["BP"] * 5
    share = 10 / 16 if causal else 1.0
    assert all(row.flops == pytest.approx(2 * HEADS * TOKENS**2 * WIDTH * share) for row in products)
    assert sum(row.macs for row in products) == 7 * HEADS * TOKENS**2 * WIDTH


def test_arrays_compute_and_store_all_scores() -> None:
    rows = [simulate(captured(causal), "tpu-like-128").rows for causal in (False, True)]
    assert [row.cycles for row in rows[0]] == [row.cycles for row in rows[1]]
    assert rows[1][0].dram_write_bytes == HEADS * TOKENS**2 * 2


def test_probabilities_that_are_handed_back_are_stored() -> None:
    workload = attention()
    assert len(attentions(workload)) == 1
    assert attentions(replace(workload, meta={"outputs": ("o", "p")})) == []


@pytest.mark.parametrize("name", ["llama2_7b", "gpt2"])
def test_decoders_of_the_zoo_store_no_scores(name: str) -> None:
    """Two layers of four heads: the first product of each attention writes nothing."""
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 96}
    more = {"intermediate_size": 96, "num_key_value_heads": 2} if name == "llama2_7b" else {}
    model, inputs = build(name, tokens=256, **sizes, **more)
    rows = simulate(capture(model, inputs, dtype="bf16"), "nvidia-a100-sxm-80g").rows
    scores = [row for row in rows if row.op.endswith("qk")]
    assert len(scores) == 2 and all(row.dram_write_bytes == 0 for row in scores)
    assert all(row.flops == pytest.approx(2 * row.macs * 3 / 4) for row in scores)


def test_a_decode_step_reads_weights_and_cache_once() -> None:
    """Two layers: bytes of all weights but the embedding's table, and of keys and values of 65 tokens, by hand; the
    rest are rows of activations."""
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2,
             "head_dim": 32, "intermediate_size": 96, "vocab_size": 128}  # fmt: skip
    batch, past = 4, 64
    model, inputs = build("llama2_7b_decode", batch=batch, tokens=past, **sizes)
    result = simulate(capture(model, inputs, dtype="bf16"), "nvidia-a100-sxm-80g")
    projections = 64 * 128 + 2 * 64 * 64 + 128 * 64 + 3 * 64 * 96  # q, k and v, o, three of the feed-forward part
    weights = 2 * (2 * projections + 64 * 128)
    cache = 2 * 2 * batch * 2 * (past + 1) * 32 * 2
    assert sum(row.dram_weight_bytes for row in result.rows) == weights + cache
    grows = [row for row in result.rows if row.kind == "transfer" and row.dram_write_bytes == batch * 2 * 32 * 2]
    assert len(grows) >= 4 and max(row.dram_write_bytes for row in result.rows if row.kind == "transfer") < cache / 32
    # inputs' caches, one token more in each, and the weights are all there is, but for rows of activations
    stored = weights + 2 * (128 * 64 + 5 * 64)
    assert stored + cache < result.footprint.peak_bytes < stored + cache + 16384


def test_a_batch_of_launches_is_one_for_attention() -> None:
    slow = load("nvidia-h100-sxm", {"host.launch_overhead_s": 1e-3})
    assert 1e-3 < simulate(captured(True), slow).latency_s < 2e-3


@pytest.mark.parametrize(("law", "fallback"), [(NM(2, 4, "k"), "slower"), (NM(3, 4, "k"), "refused")])
def test_why_a_dense_kernel_runs_is_a_field(law: NM, fallback: str) -> None:
    """64 x 32 x 128 is too small for 2:4 to gain; 3:4 is no pattern of sparse tensor cores."""
    (product,) = forward().einsums
    workload = forward().with_ops((replace(product, patterns={1: law}), *forward().ops[1:]))
    result = simulate(workload, "nvidia-a100-sxm-80g")
    assert [row.fallback for row in result.rows] == [fallback, "", ""]
    assert any("lose by being sparse" in note for note in result.notes) == (fallback == "slower")

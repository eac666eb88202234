"""Tokens of Llama-3.1-8B on an H100 in several types, against rooflines of what is read and multiplied."""

from __future__ import annotations

import pytest

from zerocast.accelerators import load
from zerocast.analysis.run.network import Network, silent
from zerocast.analysis.serve.steps import PricedSteps

CACHE = 2048
WIDTH, INNER, HEADS_KV, VOCABULARY = 4096, 14336, 8 * 128, 128256
LAYER = 2 * WIDTH * WIDTH + 2 * WIDTH * HEADS_KV + 3 * WIDTH * INNER
"""Weights of a layer: queries and outputs, keys and values, the gated pair and the way back."""
TYPES: dict[str, tuple[str, str | None, float, float, float]] = {
    # type, recipe, bits of a layer's weight, bytes of any other number, rate in units of dense 16-bit arithmetic
    "bf16": ("bf16", None, 16, 2, 1),
    "2:4": ("bf16", "nm:2:4", (2 * 16 + 2 * 2) / 4, 2, 2),  # two values of each four, and where they were
    "fp8": ("fp8", None, 8, 1, 2),
    "w4a16": ("bf16*int4", None, 4 + 16 / 128, 2, 1),  # and a scale for each 128
}


def roofline_s(kind: str, batch: int, layers: int) -> float:
    """The longer of reading all weights and caches once, at 3,350 GB/s, and of multiplying, at 989 TFLOP/s in bf16."""
    _, _, bits, other, rate = TYPES[kind]
    weights = layers * LAYER * bits / 8 + WIDTH * VOCABULARY * other
    cache = batch * layers * 2 * HEADS_KV * CACHE * other
    macs = batch * (layers * LAYER + WIDTH * VOCABULARY)
    return max((weights + cache) / 3350e9, 2 * macs / (989e12 * rate))


@pytest.mark.parametrize("layers", [2, pytest.param(32, marks=pytest.mark.slow)])
def test_tokens_in_several_types(layers: int) -> None:
    card = load("nvidia-h100-sxm", {"gpu.regime": "engine"})
    times: dict[str, list[float]] = {}
    for kind, (dtype, recipe, *_) in TYPES.items():
        network = Network("hf:meta-llama/Llama-3.1-8B", recipe, dtype=dtype, arguments=(("num_hidden_layers", layers),))
        steps = PricedSteps(network, card, silent)
        times[kind] = [steps.token(batch, CACHE).time_s for batch in (1, 8, 64)]
        roofs = [roofline_s(kind, batch, layers) for batch in (1, 8, 64)]
        assert all(time_s > roof for time_s, roof in zip(times[kind], roofs, strict=True)), (kind, times[kind], roofs)
        # what kernels take beside their bytes: starts, elementwise work, rates short of the datasheet's
        assert times[kind][0] < 1.40 * roofs[0], (kind, times[kind], roofs)
    assert times["bf16"][0] > times["2:4"][0] > max(times["fp8"][0], times["w4a16"][0])
    # in 4 bits a layer is the quickest for one sequence (its head stays in 16); for many, caches and arithmetic count
    assert (times["fp8"][0] > times["w4a16"][0]) == (layers > 5)
    assert times["fp8"][2] < times["w4a16"][2] < times["bf16"][2]

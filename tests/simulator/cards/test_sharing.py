"""Several cards that share every product of a network."""

from __future__ import annotations

import pytest

from zerocast.accelerators import Accelerator, AcceleratorError, load
from zerocast.simulator import Result, SimulationError, simulate
from zerocast.workloads import Workload, capture
from zerocast.workloads.zoo import build

CARD = "nvidia-a100-sxm-80g"


def workload(name: str, batch: int, training: bool = False, **sizes: int) -> Workload:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    blocks = {"num_hidden_layers": 2}
    with torch.device("meta"):
        module, inputs = build(name, batch, **sizes, **blocks)  # type: ignore[arg-type]
    return capture(module, inputs, training=training, dtype="fp16")


def several(cards: int, **values: float) -> Accelerator:
    return load(CARD, {"gpu.cards": cards, "gpu.regime": "engine", **values})


def priced(asked: Workload, cards: int) -> Result:
    return simulate(asked, several(cards))


def collectives(result: Result) -> list[str]:
    return [row.function for row in result.rows if row.function.startswith("all_")]


def test_a_language_model_is_dealt_as_megatron_deals_it() -> None:
    """Two all-reduces a block, one behind the embedding, and the logits put together; half of all products and weights
    (4096 hidden, 14336 between, 8 of 32 heads, 128256 words: 1.487 GB of norms apart)."""
    asked = workload("hf:meta-llama/Llama-3.1-8B", 1, tokens=512)
    one, two = (priced(asked, cards) for cards in (1, 2))
    assert not collectives(one)
    assert collectives(two) == ["all_reduce"] * 5 + ["all_gather"]
    assert two.total("macs") * 2 == one.total("macs")
    block = 4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14336
    weights = 2 * (2 * block + 2 * 128256 * 4096)
    norms = 2 * 5 * 4096
    assert one.footprint.weight_bytes == weights + norms
    assert two.footprint.weight_bytes == weights // 2 + norms
    assert one.latency_s / 2 < two.latency_s < one.latency_s


def test_a_cache_stays_where_its_heads_are() -> None:
    """8 sequences of 2,048 tokens, 2 blocks of 8 heads of 128 keys and values: 134 MB, of which each card has half."""
    asked = workload("hf:meta-llama/Llama-3.1-8B", 8, cache=2048)
    one, two = (priced(asked, cards) for cards in (1, 2))
    assert collectives(two) == ["all_reduce"] * 5 + ["all_gather"]
    cache = 8 * 2048 * 2 * 2 * 8 * 128 * 2
    assert cache == 134217728
    shrunken = one.footprint.peak_bytes - two.footprint.peak_bytes
    halves = (one.footprint.weight_bytes - two.footprint.weight_bytes) + cache / 2
    assert shrunken == pytest.approx(halves, rel=0.01)


def test_energy_is_that_of_all_cards() -> None:
    """Two cards make the multiplications of one, which take the same energy; both idle while it runs."""
    asked = workload("hf:meta-llama/Llama-3.1-8B", 1, tokens=512)
    slow = {"technology.clock_hz": 9e8}  # within the power limit, or the clocks and so the voltages would differ
    one, two = (simulate(asked, several(cards, **slow)) for cards in (1, 2))
    assert two.total("mac_j") == pytest.approx(one.total("mac_j"), rel=1e-9)
    assert two.static_j / two.latency_s == pytest.approx(2 * one.static_j / one.latency_s, rel=1e-9)
    parts = ("mac_j", "register_j", "buffer_j", "dram_j", "vector_j")
    assert two.total("energy_j") == pytest.approx(sum(map(two.total, parts)), rel=1e-9)
    (many,) = simulate(asked, [several(2, **slow)])
    assert not isinstance(many, SimulationError) and many["energy_j"] == two.energy_j


def test_each_card_keeps_to_its_power_limit() -> None:
    asked = workload("hf:meta-llama/Llama-3.1-8B", 1, tokens=512)
    limited = simulate(asked, several(2, **{"gpu.power.limit_w": 150}))
    assert limited.energy_j / limited.latency_s == pytest.approx(2 * 150, rel=0.004)
    assert limited.clock_hz < priced(asked, 2).clock_hz


def test_a_training_step_adds_up_going_back_as_well() -> None:
    """GPT-2: going back, one all-reduce before each of the two products of a block that are dealt by outputs, and one
    before the last product; the embedding's going forward."""
    asked = workload("hf:openai-community/gpt2", 2, training=True, tokens=64)
    two = priced(asked, 2)
    phases = [row.phase for row in two.rows if row.function == "all_reduce"]
    assert (phases.count("FF"), phases.count("BP")) == (5, 5)
    assert two.total("macs") * 2 == pytest.approx(asked.macs, rel=1e-3)  # 50,257 words are dealt as 25,129


@pytest.mark.parametrize("name", ["block", "BP"])
def test_names_of_layers_say_nothing_of_how_they_are_dealt(name: str) -> None:
    """131,072 words of 128 values are dealt by rows, so that each of two cards has the gradient of 65,536 of them."""
    torch = pytest.importorskip("torch")
    inner = torch.nn.Sequential(torch.nn.Embedding(1 << 17, 128), torch.nn.Linear(128, 128))
    model = torch.nn.Sequential()
    model.add_module(name, inner)
    tokens = torch.zeros(1, 64, dtype=torch.long)
    ran = priced(capture(torch.nn.Sequential(model), tokens, training=True, dtype="fp16"), 2).ran
    (gradient,) = (op.outputs[0] for op in ran.ops if op.name == f"0.{name}.0.WU")
    assert ran.tensors[gradient].shape == (1 << 16, 128)


def test_the_time_of_an_all_reduce() -> None:
    """512 x 4096 values of 2 bytes over 4 cards: 2 * 3/4 of 4.19 MB at 0.78 of 300 GB/s and 10 us, 36.9 us."""
    result = priced(workload("hf:meta-llama/Llama-3.1-8B", 1, tokens=512), 4)
    row = next(row for row in result.rows if row.op.endswith("o_proj.out.all_reduce"))
    assert pytest.approx(36.9e-6, rel=1e-3) == 2 * 3 / 4 * 512 * 4096 * 2 / (0.78 * 300e9) + 1e-5
    assert row.latency_s == pytest.approx(36.9e-6, rel=1e-3)
    assert any(note.startswith("4 cards share each product over NVLink 3: 6 collectives") for note in result.notes)


def test_cards_that_cannot_share() -> None:
    with pytest.raises(AcceleratorError, match="2 cards without a link between them"):
        load("nvidia-rtx4090", {"gpu.cards": 2})
    linked = {"gpu.cards": 2, "gpu.link": {"name": "PCIe 4", "bytes_per_s": 32e9}}
    assert load("nvidia-rtx4090", linked).gpu is not None
    with pytest.raises(SimulationError, match="16 cards cannot share the 8 heads of"):
        priced(workload("hf:meta-llama/Llama-3.1-8B", 1, tokens=64), 16)

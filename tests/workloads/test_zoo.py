"""The zoo: names, arguments, files of one's own, and no PyTorch until something is built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from workloads import WorkloadError, build, capture, models


def test_names_are_sorted_and_known() -> None:
    assert models() == sorted(models())
    assert {"resnet18", "vit_cifar", "bert_base", "gpt2", "llama2_7b", "lstm"} <= set(models())


def test_listing_imports_no_torch() -> None:
    script = "import sys, workloads; workloads.models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_capture_is_the_function_whatever_was_imported_before() -> None:
    script = "import workloads.from_torch; from workloads import capture; capture.__call__"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", ["resnet9", "lstm", "vit_cifar"])
def test_weights_are_seeded_and_the_callers_random_state_is_left_alone(name: str) -> None:
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    first, second = build(name)[0], build(name)[0]
    assert torch.equal(torch.random.get_rng_state(), state)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_batch_and_tokens_set_the_shape() -> None:
    assert build("resnet9", batch=3)[1][0].shape == (3, 3, 32, 32)
    assert build("lstm", batch=2, tokens=5)[1][0].shape == (2, 5)
    assert build("resnet9", classes=7)[0].fc.out_features == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet81",), "unknown model 'resnet81': did you mean resnet18"),
        (("zzz",), "unknown model 'zzz': known are bert_base"),
        (("resnet9", 0), "batch 0 must be 1 or more"),
        (("nowhere.py:make",), "no such file"),
    ],
)
def test_mistakes_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        build(*arguments)


def test_unfit_arguments_are_named() -> None:
    with pytest.raises(WorkloadError, match="takes images, not tokens"):
        build("resnet9", tokens=4)
    with pytest.raises(WorkloadError, match=r"does not take these arguments.*colour"):
        build("resnet9", colour=1)


OWN = """
import torch
from torch import nn
def make(batch=4): return nn.Linear(3, 2), (torch.zeros(batch, 3),)
def plain(): return nn.Linear(3, 2), torch.zeros(5, 3)
def wrong(): return nn.Linear(3, 2)
"""


def test_models_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    assert capture(*build(f"{file}:make", batch=8)).meta["batch"] == 8
    assert capture(*build(f"{file}:make")).meta["batch"] == 4
    assert capture(*build(f"{file}:plain")).meta["batch"] == 5
    with pytest.raises(WorkloadError, match="must return"):
        build(f"{file}:wrong")
    with pytest.raises(WorkloadError, match="has no function 'missing'"):
        build(f"{file}:missing")
    file.write_text("import nothing_of_that_name")
    with pytest.raises(WorkloadError, match=r"own\.py cannot be run: .*nothing_of_that_name"):
        build(f"{file}:make")


def test_decode_reads_the_whole_cache_once() -> None:
    """One token against 16 cached ones: scores and mix of each head and layer over 17 keys."""
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2}
    model, inputs = build("llama2_7b_decode", tokens=16, intermediate_size=64, vocab_size=100, **sizes)
    attention = [op for op in capture(model, inputs).einsums if ".causal" in op.source or "attention" in op.source]
    assert sum(op.macs for op in attention) == 2 * 2 * (17 * 32)

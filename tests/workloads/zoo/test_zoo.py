"""The zoo: names, arguments, files of one's own, and no PyTorch until something is built."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from zerocast.workloads import WorkloadError, build, capture, models, prune
from zerocast.workloads.ir import Einsum


def test_names_are_sorted_and_known() -> None:
    assert models() == sorted(models())
    assert {"resnet18", "vit_cifar", "bert_base", "gpt2", "llama2_7b", "lstm"} <= set(models())


def test_listing_imports_no_torch() -> None:
    script = "import sys, zerocast.workloads as w; w.models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.slow
def test_capture_is_the_function_whatever_was_imported_before() -> None:
    script = "import zerocast.workloads.from_torch; from zerocast.workloads import capture; capture.__call__"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


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
        (("nowhere.py:make",), "the file .nowhere.py. does not exist"),
        ((None,), "None is no name"),
        (("resnet9", "4"), "batch '4' must be a whole number"),
        (("resnet9", 1.5), "batch 1.5 must be a whole number"),
        (("resnet9", True), "batch True must be a whole number"),
        (("resnet9", 10**8), "batch 100000000 do not fit in this machine's memory"),
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


FAULTY = """
import torch
from torch import nn
three = 3
class Mask(nn.Module):
    def forward(self, x):
        return x[x > 0] * 2
class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x
class Fit(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 2)
    def forward(self, x):
        return self.fc(x)
class Size(nn.Module):
    def forward(self, x):
        return torch.zeros(x.sum().int().item()) + 1
def mask(): return Mask(), torch.zeros(3, 4)
def branch(): return Branch(), torch.zeros(3, 4)
def fit(): return Fit(), torch.zeros(3, 4)
def size(): return Size(), torch.zeros(3, 4)
def fails(): raise KeyError("gone")
def leaves(): raise SystemExit(3)
def keyword(*, width): return None
def two(a, b): return None
"""


def faulty(tmp_path: Path, text: str = FAULTY) -> Path:
    file = tmp_path / "faulty.py"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("end", "batch", "message"),
    [
        (":mask", 3, "mask() takes no batch; remove --batch or give it a parameter `batch`"),
        (":fails", None, "fails() failed with KeyError: 'gone' at {file}:24"),
        (":leaves", None, "leaves() failed with SystemExit: 3 at {file}:25"),
        (":keyword", None, "keyword() asks for width"),
        (":two", None, "two() asks for b"),
        (":three", None, "'three' in {file} is not a function but a value of type int"),
        ("", None, "name the factory: {file}:FACTORY"),
    ],
)
def test_faulty_factories(end: str, batch: int | None, message: str, tmp_path: Path) -> None:
    file = faulty(tmp_path)
    with pytest.raises(WorkloadError) as caught:
        build(f"{file}{end}", batch)
    assert message.format(file=file) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nraise SystemExit", "cannot be run: SystemExit at {file}:2"),
        ("x = 1\ny = 1 / 0", "cannot be run: ZeroDivisionError: division by zero at {file}:2"),
        ("x = 1\nx = (", "SyntaxError: '(' was never closed"),
    ],
)
def test_files_that_cannot_be_run(text: str, message: str, tmp_path: Path) -> None:
    file = faulty(tmp_path, text)
    with pytest.raises(WorkloadError) as caught:
        build(f"{file}:make")
    assert message.format(file=file) in str(caught.value)
    assert f"{file}:2" in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "line", "words"),
    [("branch", 10, "guard"), ("fit", 16, "3, 4")],
)
def test_models_that_cannot_be_lowered(
    factory: str, line: int, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = faulty(tmp_path)
    with pytest.raises(WorkloadError) as caught:
        capture(*build(f"{file}:{factory}"), allow_unknown=True)
    assert words in str(caught.value) and f"{file}:{line}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # nor does torch talk about it


@pytest.mark.parametrize(("factory", "line"), [("mask", 7), ("size", 19)])
def test_what_depends_on_the_data_is_named_and_left_out(factory: str, line: int, tmp_path: Path) -> None:
    file = faulty(tmp_path)
    workload = capture(*build(f"{file}:{factory}"), allow_unknown=True)
    assert any("depends on the data" in said and f"{file}:{line}" in said for said in workload.meta["skipped"])


def test_a_batch_goes_to_the_parameter_of_that_name(tmp_path: Path) -> None:
    text = "import torch\ndef make(width=3, *, batch=2): return torch.nn.Linear(width, 1), torch.zeros(batch, width)\n"
    file = faulty(tmp_path, text)
    assert build(f"{file}:make", 5)[1][0].shape == (5, 3)
    assert build(f"{file}:make")[1][0].shape == (2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, x: capture(3, x), "torch.nn.Module, not 3"),
        (lambda model, x: capture(model, None), "example_inputs None"),
        (lambda model, x: capture(model, x, pruning="nm:2:4"), "pruning 'nm:2:4' is not what a recipe decided"),
        (lambda model, x: prune(model, None), "recipe None is no text"),
        (lambda model, x: prune(3, "nm:2:4"), "torch.nn.Module, not 3"),
    ],
)
def test_arguments_of_the_wrong_kind(call: Callable, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        call(torch.nn.Linear(4, 4), torch.zeros(1, 4))


def test_decode_reads_the_whole_cache_once() -> None:
    """One token against 16 cached ones: scores and mix of each head and layer over 17 keys."""
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2}
    model, inputs = build("llama2_7b_decode", tokens=16, intermediate_size=64, vocab_size=100, **sizes)
    attention = [op for op in capture(model, inputs).einsums if op.source == "scaled_dot_product_attention"]
    assert sum(op.macs for op in attention) == 2 * 2 * (17 * 32)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vit_cifar", {"width": 100, "heads": 7}, "width 100 is not a multiple of heads 7"),
        ("vit_cifar", {"width": 0}, "width must be 1 or more"),
        ("vit_cifar", {"patch": 0}, "patch must be 1 or more"),
        ("resnet9", {"classes": -1}, "classes must be 1 or more"),
        ("resnet18", {"block": "Nope"}, "block='Nope'"),
        ("lstm", {"width": -1}, "width must be 1 or more"),
        ("bert_base", {"hidden_size": 100, "num_attention_heads": 7}, "not a multiple of the number of attention"),
        ("gpt2", {"n_embd": 100, "n_head": 7, "n_layer": 1}, "must be divisible by num_heads"),
        ("llama2_7b", {"hidden_size": 100, "num_attention_heads": 7}, "not a multiple of the number of attention"),
        ("llama2_7b_decode", {"hidden_size": 0, "num_hidden_layers": 1}, "hidden_size=0"),
        ("gpt2", {"tokens": 0}, "tokens 0 must be a whole number of 1 or more"),
        ("gpt2", {"tokens": 2.5}, "tokens 2.5 must be a whole number"),
    ],
)
def test_sizes_that_no_network_can_have_are_named(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(WorkloadError, match=f"model '{name}'.*{message}") as caught:
        build(name, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "giga_ops"),
    [
        ("mobilenet_v1", 1.14), ("inception_v1", 3.0), ("inception_v2", 3.88),
        pytest.param("inception_v3", 11.45, marks=pytest.mark.slow),
        pytest.param("inception_v4", 24.55, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_operations_are_those_that_others_count(name: str, giga_ops: float) -> None:
    """Two a multiply-accumulate, as the model zoo of Vitis AI lists them (references/dpu.csv)."""
    with torch.device("meta"):
        workload = capture(*build(name))
    macs = sum(op.macs for op in workload.ops if isinstance(op, Einsum))
    assert 2e-9 * macs == pytest.approx(giga_ops, rel=0.005)

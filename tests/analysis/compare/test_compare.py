"""Comparisons: the same figures as single runs, in order, with what cannot be priced named."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zerocast.accelerators import load
from zerocast.analysis.cli import main
from zerocast.analysis.compare import Case, Question, Ranked, ask, pays_from, rank
from zerocast.analysis.run.network import Network, lower, silent
from zerocast.analysis.train.captured import Lowering
from zerocast.simulator import simulate
from zerocast.workloads import WorkloadError

CASES = ["--accelerator", "sat-vcu1525,nvidia-h100-sxm", "--prune", "dense,nm:2:8", "--dtype", "fp16,int8"]


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "compare.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare")
    assert main(["compare", "resnet9", *CASES, "--batch", "4", "--out", str(out)]) == 0
    return out


def test_every_case_is_there_or_named(compared: Path) -> None:
    rows = _rows(compared)
    page = (compared / "compare.html").read_text()
    assert len(rows) == 2 * 2 * 2 - 2  # SAT has no int8
    assert page.count("sat-vcu1525 has no int8 arithmetic") == 2
    assert (compared / "compare.png").stat().st_size > 1000 and "http" not in page.replace("http-equiv", "")


def test_the_page_opens_in_a_browser(compared: Path, browser: Any) -> None:
    """Without a complaint, without a request, with its picture and a line for each case."""
    page = browser.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((compared / "compare.html").as_uri())
    assert page.locator("h1").inner_text() == "resnet9: 6 cases"
    assert page.evaluate("document.getElementById('ranking').naturalWidth") > 300
    assert page.locator("table.ranking tr").count() >= 1 + 6
    assert not said and not [url for url in asked if not url.startswith(("file:", "data:"))]


def test_they_are_in_order_and_equal_single_runs(compared: Path, tmp_path: Path) -> None:
    rows = _rows(compared)
    each = [float(row["per_sample_s"]) for row in rows]
    assert each == sorted(each)
    row = next(r for r in rows if (r["accelerator"], r["recipe"], r["batch"]) == ("sat-vcu1525", "nm:2:8", "4"))
    command = ["run", "resnet9", "--prune", "nm:2:8", "--batch", "4", "--accelerator", "sat-vcu1525"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    facts = json.loads((tmp_path / "summary.json").read_text())
    assert float(row["latency_s"]) == facts["latency_s"] and float(row["energy_j"]) == facts["energy_j"]
    assert float(row["per_sample_s"]) == facts["latency_s"] / 4
    dense = next(r for r in rows if (r["accelerator"], r["recipe"], r["batch"]) == ("sat-vcu1525", "dense", "4"))
    assert float(row["speedup"]) == float(dense["latency_s"]) / float(row["latency_s"]) > 1.5 and not dense["speedup"]


def test_spans_hold_the_forecast_where_errors_are_known(compared: Path) -> None:
    for row in _rows(compared):
        if row["accelerator"] == "nvidia-h100-sxm":
            assert float(row["low_s"]) <= float(row["latency_s"]) <= float(row["high_s"])
        else:
            assert row["low_s"] == row["high_s"] == ""


def _ranked(batch: int, speedup: float | None, recipe: str = "nm:2:4") -> Ranked:
    case = Case("card", recipe, "fp16", batch)
    return Ranked(case, 1.0, None, None, 1.0 / batch, 1.0, 1.0, 1.0, speedup, speedup, "", ())


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ([1.0, 1.01, 1.3], "nm:2:4 on card in fp16 pays at batch 64 (up to 1.30x), not at the others"),
        ([0.9, 1.0, 1.01], "nm:2:4 on card in fp16 pays at none of the batches (at most 1.01x)"),
        ([1.1, 1.2, 1.3], "nm:2:4 on card in fp16 pays at every batch (up to 1.30x)"),
    ],
)
def test_from_which_batch_on_it_pays(gains: list[float], words: str) -> None:
    rows = [_ranked(batch, gain) for batch, gain in zip((1, 8, 64), gains, strict=True)]
    assert list(pays_from([*rows, _ranked(1, None, "dense")])) == [words]


def test_a_network_that_cannot_be_lowered_has_a_reason() -> None:
    network = Network("hf:openai-community/gpt2", tokens=2000)
    tried = list(ask(Question(network, [load("systolic-32x32")]), silent))
    assert tried[0].result is None and "1024 positions" in tried[0].reason and rank(tried) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--accelerator", "sat-vcu1525,sat-vcu1525"], "name each once"),
        (["--accelerator", "sat-vcu1525", "--batch", "1,x"], "write whole numbers"),
        (["--accelerator", "sat-vcu1525", "--prune", "dense,nm:9"], "nm:9"),
        (["--accelerator", "nothing"], "nothing"),
        (
            ["--accelerator", "sat-vcu1525", "--dtype", "int8"],
            "none of the 1 cases can be priced: sat-vcu1525",
        ),
    ],
)
def test_mistakes(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "resnet9", *words, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_quantised_network_is_compared_and_trained_in_the_type_that_its_configuration_says(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=64, architectures=["GPT2LMHeadModel"])
    config.quantization_config = {"quant_method": "gptq", "bits": 4}
    config.save_pretrained(tmp_path)
    network = Network(f"hf:{tmp_path}", tokens=8)
    machine = load("nvidia-a100-sxm-80g")
    (tried,) = ask(Question(network, [machine]), silent)
    bytes_read = [
        simulate(lower(replace(network, dtype=dtype), silent), machine).to_pandas()["dram_weight_bytes"].sum()
        for dtype in ("fp16*int4", "fp16")
    ]
    assert tried.case.dtype == "fp16*int4" and tried.result is not None
    assert tried.result.to_pandas()["dram_weight_bytes"].sum() == bytes_read[0] < bytes_read[1]
    with pytest.raises(WorkloadError, match="int4"):
        Lowering()(replace(network, training=True), silent)

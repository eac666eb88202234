"""Serving: sums of steps, what fits, and what requests meet that arrive one by one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerocast.accelerators import load
from zerocast.analysis.cli import main
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.run.network import Network, lower, silent
from zerocast.analysis.serve import Serving, serve
from zerocast.analysis.serve.arrivals import between, under_load
from zerocast.analysis.serve.steps import PricedSteps
from zerocast.simulator import simulate

SMALL = (("hidden_size", 256), ("intermediate_size", 512), ("num_attention_heads", 4), ("num_hidden_layers", 1),
         ("num_key_value_heads", 2), ("vocab_size", 64))  # fmt: skip
MODEL = Network("hf:meta-llama/Llama-2-7b-hf", arguments=SMALL)


def _serve(accelerator: str, prompt: int, generate: int, *batches: int) -> Serving:
    return serve(MODEL, load(accelerator), prompt, generate, batches, silent)


@pytest.mark.parametrize("accelerator", ["nvidia-h100-sxm", "systolic-32x32"])
def test_a_request_is_its_prompt_and_each_of_its_steps(accelerator: str) -> None:
    """Against every step simulated by itself, not two of them and a line."""
    machine = load(accelerator)
    times, energies = [], []
    for tokens, cache in ((8, None), *((None, 8 + made) for made in range(3))):
        workload = lower(Network(MODEL.model, batch=2, tokens=tokens, cache=cache, arguments=SMALL), silent)
        result = simulate(workload, machine, allow_overflow=True)
        times.append(result.latency_s)
        energies.append(result.energy_j)
    row = _serve(accelerator, 8, 4, 2).rows[0]
    assert row.first_token_s == times[0]
    assert math.isclose(row.request_s, sum(times), rel_tol=0.01)
    assert math.isclose(row.token_s, sum(times[1:]) / 3, rel_tol=0.01)
    assert math.isclose(row.token_j, sum(energies) / 8, rel_tol=0.01)
    assert math.isclose(row.tokens_per_s, 8 / sum(times), rel_tol=0.01)


def test_the_largest_batch_is_the_last_that_fits() -> None:
    most = _serve("nvidia-h100-sxm", 1024, 64, 4).largest_batch
    assert most is not None
    capacity = load("nvidia-h100-sxm").dram.capacity_bytes
    steps = PricedSteps(MODEL, load("nvidia-h100-sxm"), silent)
    assert steps.token(most, 1087).peak_bytes <= capacity < steps.token(most + 2, 1087).peak_bytes


def test_weights_that_do_not_fit_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = [word for name, value in SMALL for word in ("--model-arg", f"{name}={value}")]
    command = ["serve", MODEL.model, "--accelerator", "nvidia-h100-sxm", "--prompt", "8", "--generate", "2", *arguments]
    command += ["--set", "memories.hbm.capacity_bytes=1e6", "--out", str(tmp_path / "rows.csv")]
    assert main(command) == 2
    assert "at batch 1 needs" in capsys.readouterr().err
    assert main([*command, "--allow-overflow"]) == 0
    told = capsys.readouterr().out
    assert "does not fit" in told and "largest batch that fits: 0" in told
    assert "does_not" not in (tmp_path / "rows.csv").read_text() and "False" in (tmp_path / "rows.csv").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch", "1,x"], "--batch '1,x': write whole numbers"),
        (["--batch", "0"], "--batch 0: must be 1 or more"),
        (["--prompt", "0"], "--prompt 0: must be 1 or more"),
        (["--out", "rows.parquet"], "--out 'rows.parquet': a table must end in .csv"),
        (["--model-arg", "cache=5"], "the model's argument 'cache' has an option of its own: --prompt"),
        (["--rate", "-1"], "--rate -1: must be a number of requests per second above 0"),
    ],
)
def test_mistakes(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", MODEL.model, "--accelerator", "nvidia-h100-sxm", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_regime_of_the_software_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """Eager launches each kernel by itself: a token of a small network takes longer than from a graph."""
    arguments = [word for name, value in SMALL for word in ("--model-arg", f"{name}={value}")]
    command = ["serve", MODEL.model, "--accelerator", "nvidia-h100-sxm", "--prompt", "8", "--generate", "2", *arguments]
    times = []
    for regime in ("eager", "graph"):
        assert main([*command, "--regime", regime]) == 0
        words = capsys.readouterr().out.splitlines()[1].split()
        times.append(float(words[3]) * {"µs": 1e-6, "ms": 1e-3}[words[4]])
    assert times[0] > 1.5 * times[1]


def test_a_network_without_a_cache_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "resnet9", "--accelerator", "nvidia-h100-sxm"]) == 2
    told = capsys.readouterr().err
    assert "'resnet9' cannot be served" in told and "give hf:NAME_OR_DIR" in told
    small = [word for each in ("num_hidden_layers=1", "hidden_size=64", "num_attention_heads=2", "vocab_size=64")
             for word in ("--model-arg", each)]  # fmt: skip
    assert (
        main(["serve", "hf:google-bert/bert-base-uncased", "--accelerator", "nvidia-h100-sxm", "--prompt", "8", *small])
        == 2
    )
    assert "cannot be served" in capsys.readouterr().err


# --- arrivals -----------------------------------------------------------------------------------------------------


def test_a_lone_request_waits_for_nobody() -> None:
    load = under_load(1e-6, lambda n: 2.0 * n, lambda n, made: 0.5 * n, generate=5, most=8, requests=20)
    assert (load.first_token_p50_s, load.first_token_p99_s) == (2.0, 2.0)
    assert (load.token_p50_s, load.batch, load.keeps_up) == (0.5, 1.0, True)


def test_requests_that_come_at_once_fill_batches() -> None:
    """Six requests, four at a time, by hand: the first is alone when its prompt begins, until 1; three join, until 2;
    three tokens of these four until 5; the prompts of two until 6, their tokens until 9."""
    load = under_load(1e9, lambda n: 1.0, lambda n, made: 1.0, generate=4, most=4, requests=6)
    assert math.isclose(load.tokens_per_s, 6 * 4 / 9, rel_tol=1e-6)
    assert math.isclose(load.first_token_p50_s, 2.0, rel_tol=1e-6)  # 1, 2, 2, 2, 6, 6
    assert math.isclose(load.batch, (1 + 3 + 3 * 4 + 2 + 3 * 2) / 9, rel_tol=1e-6)


def test_a_machine_with_room_delivers_what_is_asked_for() -> None:
    load = under_load(10.0, lambda n: 1e-4, lambda n, made: 1e-5, generate=8, most=64)
    assert math.isclose(load.tokens_per_s, 80.0, rel_tol=0.01)


def test_a_queue_that_grows_is_told() -> None:
    over = under_load(10.0, lambda n: 1.0, lambda n, made: 1.0, generate=4, most=4, requests=200)
    assert not over.keeps_up and over.tokens_per_s < 4.0


@given(rate=st.floats(0.01, 100), generate=st.integers(1, 12), most=st.integers(1, 9))
def test_nothing_is_quicker_than_its_steps(rate: float, generate: int, most: int) -> None:
    load = under_load(rate, lambda n: 0.3 + 0.1 * n, lambda n, made: 0.2, generate=generate, most=most, requests=30)
    assert load.first_token_p50_s >= 0.4 - 1e-9
    assert generate == 1 or load.token_p50_s >= 0.2 - 1e-9
    assert load.batch <= most + 1e-9
    assert load.tokens_per_s <= most / 0.2 * max(generate, 1)


def test_times_between_priced_sizes() -> None:
    at = between([8, 1], [5.0, 4.0])
    assert (at(1), at(8), at(4.5), at(16)) == (4.0, 5.0, 4.5, 10.0)


def test_no_batch_is_no_question() -> None:
    with pytest.raises(AnalysisError, match="at least one size"):
        _serve("nvidia-h100-sxm", 8, 2)

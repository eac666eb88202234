"""`zerocast run --trace`: measured activation zeros reach the simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from zerocast.analysis.cli import main
from zerocast.workloads import save_trace, trace


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traced") / "mine.py"
    path.write_text(
        "import torch\nfrom torch import nn\n\n\ndef net():\n"
        "    torch.manual_seed(0)\n"
        "    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1)]\n"
        "    return nn.Sequential(*layers), torch.randn(1, 3, 16, 16)\n"
    )
    return path


def test_measured_zeros_gate_energy(model_file: Path, tmp_path: Path) -> None:
    from zerocast.workloads import build

    module, inputs = build(f"{model_file}:net")
    measured = trace(module, inputs[0], name="mine.net")
    save_trace(measured, tmp_path / "t.npz")
    common = ["run", f"{model_file}:net", "--accelerator", "systolic-8x8", "--set", "sparsity.input.mode=gate",
              "--baseline", "none"]  # fmt: skip
    assert main([*common, "--trace", str(tmp_path / "t.npz"), "--out", str(tmp_path / "a")]) == 0
    assert main([*common, "--out", str(tmp_path / "b")]) == 0
    with_zeros, without = (json.loads((tmp_path / d / "summary.json").read_text()) for d in "ab")
    density = next(t.density for name, t in measured.tensors.items() if name == "1.out")
    first, second = 16 * 16 * 16 * 27, 16 * 16 * 32 * 144
    assert 0.3 < density < 0.7
    assert with_zeros["mac_j"] / without["mac_j"] == pytest.approx((first + second * density) / (first + second))
    assert with_zeros["latency_s"] == without["latency_s"]


def test_trace_of_another_model_is_refused(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from torch import nn

    save_trace(trace(nn.Sequential(nn.Linear(4, 4)), torch.zeros(1, 4), name="other"), tmp_path / "t.npz")
    arguments = ["run", f"{model_file}:net", "--accelerator", "systolic-8x8", "--trace", str(tmp_path / "t.npz")]
    assert main([*arguments, "--out", str(tmp_path / "o")]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert np.all([word in line for word in ("other", "mine.net")])

"""The dense network that a pruned one is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerocast.accelerators import load
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.run.network import Network, compare, lower, silent
from zerocast.workloads.files.store import save


def test_what_is_updated_by_nonzeros_is_compared_with_updates_of_all_weights(tmp_path: Path) -> None:
    card = load("nvidia-a100-sxm-80g")
    sparse = Network("resnet9", "static:0.1", training=True, batch=2, optimizer="adamw:sparse")
    result, baseline = compare(sparse, card, silent)
    whole, _ = compare(Network("resnet9", training=True, batch=2, optimizer="adamw"), card, silent)
    assert baseline is not None and baseline.latency_s == whole.latency_s > result.latency_s
    assert baseline.footprint.peak_bytes == whole.footprint.peak_bytes > result.footprint.peak_bytes
    save(lower(sparse, silent), tmp_path / "step.npz")
    with pytest.raises(AnalysisError, match="updates what is not pruned alone"):
        compare(Network(str(tmp_path / "step.npz")), card, silent)

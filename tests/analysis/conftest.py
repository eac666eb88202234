"""A small network of the user's own, workloads saved from it, and a browser without a screen."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zerocast.analysis.cli import main

MODEL = """
import torch
from torch import nn


def _net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 64, 10),
    )


def net(batch):
    return _net(), torch.zeros(batch, 3, 8, 8)


def other(batch):
    return net(batch)


def leaves():
    raise SystemExit(7)


def nan_net():
    model = _net()
    with torch.no_grad():
        model[2].weight[0, 0, 0, 0] = float("nan")
    return model, torch.zeros(1, 3, 8, 8)


class Odd(nn.Module):
    def forward(self, x):
        return torch.linalg.inv(x)


def odd_net():
    return Odd(), torch.eye(4)
"""


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "mine.py"
    path.write_text(MODEL)
    return path


@pytest.fixture(scope="session")
def saved(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training step of the network, pruned 2:8 in both directions."""
    path = tmp_path_factory.mktemp("saved") / "bdwp.npz"
    arguments = ["--training", "--batch", "4", "--prune", "bdwp:2:8", "--out", str(path)]
    assert main(["lower", f"{model_file}:net", *arguments]) == 0
    return path


@pytest.fixture(scope="session")
def saved_dense(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training step, never pruned."""
    path = tmp_path_factory.mktemp("saved") / "dense.npz"
    assert main(["lower", f"{model_file}:net", "--training", "--batch", "4", "--out", str(path)]) == 0
    return path


FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


def missing(what: str) -> None:
    """Skip, or fail where a browser was promised."""
    if os.environ.get("ZEROCAST_NEEDS_CHROMIUM") == "1":
        pytest.fail(f"{what}, and ZEROCAST_NEEDS_CHROMIUM=1 asks for it")
    pytest.skip(f"{what}: the interactive page is not opened")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing("playwright is not installed (pip install playwright)")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    executable = os.environ.get("ZEROCAST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        missing("no Chromium in the path (apt install chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, headless=True, args=FLAGS)
        yield chromium
        chromium.close()

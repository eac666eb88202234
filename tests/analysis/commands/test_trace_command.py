"""The verb `trace`: from a folder of images to a file and a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer

from zerocast.analysis.commands.network.trace import measure, trace_command
from zerocast.analysis.errors import AnalysisError
from zerocast.workloads import WorkloadError, apply_trace, build, capture, load_trace
from zerocast.workloads.tracing.photos import IMAGENET, Scale, photo_files, read_photo

NET = """
import torch
from torch import nn
def make(batch=1):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    return net, torch.zeros(batch, 3, 12, 12)
def words(batch=1): return nn.Linear(3, 2), torch.zeros(batch, 3)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images of different sizes and kinds, and a file that is none."""
    from PIL import Image

    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    for number, (width, height) in enumerate([(20, 30), (16, 16), (40, 12), (12, 50), (33, 31)]):
        picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        (picture.convert("L") if number == 1 else picture).save(images / f"{number}.{'jpg' if number == 2 else 'png'}")
    (images / "notes.txt").write_text("no image")
    (tmp_path / "net.py").write_text(NET)
    return images


def verb(*arguments: str) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("trace")(trace_command)
    typer.main.get_command(app).main(args=list(arguments), prog_name="zerocast", standalone_mode=False)


def test_a_folder_becomes_a_file_and_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = f"{folder.parent / 'net.py'}:make", folder.parent / "t.npz"
    verb(model, "--inputs", str(folder), "--out", str(out), "--images", "3", "--seed", "4")
    trace = load_trace(out)
    assert (trace.model, trace.runs, trace.batch, trace.sampled) == ("net.make", 3, 1, (0, 1, 2))
    text = capsys.readouterr().out
    inner = trace.tensors["1.out"]
    assert inner.shape == (1, 4, 10, 10) and f"{inner.density:.3f}" in text and "1x4x10x10" in text
    assert f"{1 - trace.density:.3f} of all activation elements" in text and "masks of 3 runs" in text
    workload = apply_trace(capture(*build(model, batch=4), name="net.make"), trace)
    assert workload.tensors["1.out"].pattern.density == pytest.approx(inner.density, abs=0.1)


def test_batches_leave_the_rest_out(folder: Path) -> None:
    from zerocast.analysis.commands.printing.console import progress

    model = f"{folder.parent / 'net.py'}:make"
    with progress() as steps:
        trace = measure(model, str(folder), steps, batch=2, mask_bytes=0)
    assert (trace.runs, trace.batch, trace.sampled) == (2, 2, ())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "t.csv"], "must end in .npz"),
        (["--out", "t.npz", "--batch", "0"], "--batch 0: must be 1 or more"),
        (["--out", "t.npz", "--batch", "6"], "there are only 5 images"),
        (["--out", "t.npz", "--images", "6"], "6 images asked for, .* has 5"),
        (["--out", "t.npz", "--inputs", "nowhere"], "'nowhere': no such folder"),
        (["--out", "t.npz", "--mask-bytes", "-1"], "--mask-bytes -1: must be 0 or more"),
    ],
)
def test_mistakes_are_named(folder: Path, arguments: list[str], message: str) -> None:
    with pytest.raises((AnalysisError, WorkloadError), match=message):
        verb(f"{folder.parent / 'net.py'}:make", "--inputs", str(folder), *arguments)


def test_networks_without_images_and_files_that_are_none(folder: Path) -> None:
    net, out = folder.parent / "net.py", str(folder.parent / "t.npz")
    with pytest.raises(AnalysisError, match=r"takes no square RGB images \(its inputs: \[\(1, 3\)\]\)"):
        verb(f"{net}:words", "--inputs", str(folder), "--out", out)
    (folder / "broken.png").write_bytes(b"not an image")
    with pytest.raises(WorkloadError, match=r"broken\.png: cannot be read"):
        verb(f"{net}:make", "--inputs", str(folder), "--out", out)
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(WorkloadError, match="no images"):
        photo_files(folder)


def test_pixels_are_cropped_and_scaled(tmp_path: Path) -> None:
    """The middle of a striped image has one colour, away from the filter's reach over its edges; channel order and
    scale are the network's."""
    from PIL import Image

    pixels = np.zeros((16, 48, 3), np.uint8)
    pixels[:, 16:32] = (200, 100, 50)
    Image.fromarray(pixels).save(tmp_path / "stripes.png")
    plain = read_photo(tmp_path / "stripes.png", 8, Scale((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    assert plain.shape == (3, 8, 8) and np.all(plain[..., 3:5] == np.array([200, 100, 50])[:, None, None])
    turned = read_photo(tmp_path / "stripes.png", 8, Scale((40.0, 90.0, 180.0), (1.0, 2.0, 4.0), bgr=True))
    assert np.all(turned[..., 3:5] == np.array([10, 5, 5])[:, None, None])
    usual = read_photo(tmp_path / "stripes.png", 8)
    np.testing.assert_allclose(usual[0, :, 3:5], (200 - IMAGENET.mean[0]) / IMAGENET.deviation[0], rtol=1e-6)

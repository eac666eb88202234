"""Photographs as inputs: which files, cut to a network's size, in the numbers it was trained on."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zerocast.workloads.errors import WorkloadError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
"""Of the files in a folder that count as images."""

_SHOWN = 0.875
"""Share of the shorter side that the square crop shows: 224 of 256, as evaluation on ImageNet has it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From pixels 0..255 to a network's numbers: (x - mean) / deviation per channel, in its channel order."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    bgr: bool = False


IMAGENET = Scale((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""What torchvision's users train with; also for networks that say nothing else."""

SCALES = {
    "efficientnet_lite0": Scale((127.0,) * 3, (128.0,) * 3),
    "vgg16_hed": Scale((104.007, 116.669, 122.679), (1.0,) * 3, bgr=True),
}
"""By zoo name. Sources: preprocessing of the networks' own training code."""


def photo_files(source: str | Path, images: int | None = None, seed: int = 0) -> list[Path]:
    """Image files to use, sorted by name.

    source: a folder, or "builtin" for the pictures inside scikit-image's package (none is downloaded).
    images: as many of them, drawn with `seed`; None for all.
    Raises `WorkloadError` for a folder without images, or fewer than asked for.
    """
    folder = _builtin() if str(source) == "builtin" else Path(source)
    if not folder.is_dir():
        raise WorkloadError(f"inputs {str(source)!r}: no such folder; give one with images, or builtin")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise WorkloadError(f"inputs {str(source)!r}: no images ({', '.join(SUFFIXES)}) in this folder")
    if images is None:
        return files
    if not 1 <= images <= len(files):
        raise WorkloadError(f"{images} images asked for, {str(source)!r} has {len(files)}; ask for 1 to {len(files)}")
    drawn = np.random.default_rng(seed).choice(len(files), images, replace=False)
    return [files[at] for at in sorted(drawn.tolist())]


def _builtin() -> Path:
    # found without importing: the import takes a second
    spec = importlib.util.find_spec("skimage")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        return Path(folder) / "data"
    raise WorkloadError("builtin images are scikit-image's, which is not installed: pip install 'zerocast[real]'")


def read_photo(file: Path, side: int, scale: Scale = IMAGENET) -> NDArray[np.float32]:
    """An image as the network's input, [3, side, side]: the middle square, scaled with a bicubic filter.

    Raises `WorkloadError` for a file that is no image.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise WorkloadError("images are read with Pillow, which is not installed: pip install pillow") from None
    try:
        with Image.open(file) as image:
            picture = image.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise WorkloadError(f"image {file}: cannot be read ({error}); remove or repair it") from error
    half = _SHOWN * min(picture.size) / 2
    x, y = picture.width / 2, picture.height / 2
    picture = picture.resize((side, side), Image.Resampling.BICUBIC, box=(x - half, y - half, x + half, y + half))
    pixels = np.asarray(picture, dtype=np.float32)[..., :: -1 if scale.bgr else 1]
    return ((pixels - np.asarray(scale.mean)) / np.asarray(scale.deviation)).transpose(2, 0, 1).astype(np.float32)

"""Networks that others made: programs that torch.export saved, and the timm library's by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.user_code.blame import reason

if TYPE_CHECKING:
    from torch import nn

EXPORTED = ".pt2"
TIMM = "timm:"


def from_exported(name: str, given: Mapping[str, Any]) -> tuple[nn.Module, tuple[Any, ...]]:
    """The module and the example inputs of a program saved by `torch.export.save`.

    given: sizes and arguments, of which it takes none. Raises `WorkloadError` for any, and for a file that is none.
    """
    import torch

    if not Path(name).is_file():
        raise WorkloadError(f"model {name!r}: there is no such file")
    if given:
        raise WorkloadError(f"model {name!r}: an exported program has the shapes that it was exported with; leave "
                            f"{', '.join(given)} out, or export it anew")  # fmt: skip
    from zerocast.workloads.lowering.exporting.export import quiet

    try:
        with quiet():
            program = torch.export.load(name)
    except Exception as error:
        raise WorkloadError(f"model {name!r} is no program that torch.export saved: {reason(error)}") from error
    inputs, keywords = program.example_inputs or ((), {})
    if not inputs or keywords:
        raise WorkloadError(f"model {name!r} holds no example inputs by position; export it with them")
    return program.module(), tuple(inputs)


def from_timm(
    model: str, batch: int, image: int | None, arguments: Mapping[str, Any]
) -> tuple[nn.Module, tuple[Any, ...]]:
    """The network `timm:NAME` on the meta device, and an image of the size that it is meant for, or of `image`.

    arguments: of timm.create_model. Raises `WorkloadError` for a name that timm does not have.
    """
    import torch

    try:
        import timm
    except ImportError:
        raise WorkloadError(f"model {model!r} needs timm, which is not installed: pip install timm") from None

    name = model.removeprefix(TIMM)
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else "see timm.list_models()"
        raise WorkloadError(f"model {model!r}: timm has no {name!r}; {hint}")
    sized = {} if image is None else {"img_size": image}
    try:
        with torch.device("meta"):
            try:
                network = timm.create_model(name, pretrained=False, **sized, **arguments)
            except TypeError:  # convolutional ones take images of any size
                network = timm.create_model(name, pretrained=False, **arguments)
    except Exception as error:
        raise WorkloadError(f"model {model!r} cannot be built: {reason(error)}") from error
    channels, *sides = network.default_cfg.get("input_size", (3, 224, 224))
    return network.eval(), (torch.zeros(batch, channels, *(sides if image is None else (image, image)), device="meta"),)

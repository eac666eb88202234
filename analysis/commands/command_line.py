"""What several verbs of the command line share: options, and the checks before the long work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from zerocast.accelerators import Accelerator
    from zerocast.analysis.run.network import Network
    from zerocast.simulator.cards import Layout

_OPTION = typer.Option
Prune = Annotated[str | None, _OPTION("--prune", help="Recipe; see `zerocast list recipes`.")]
Training = Annotated[bool, _OPTION("--training", help="A training step, not inference.")]
Batch = Annotated[int | None, _OPTION("--batch", help="Samples in one step.")]
MaskUpdate = Annotated[
    str | None, _OPTION("--mask-update", help="Of moving masks: amortised (default), never, or only (such a step).")
]
Dtype = Annotated[
    str | None, _OPTION("--dtype", help="Type of all floating tensors; fp16 by default; int8, w4a16 etc. in inference.")
]
AllowUnknown = Annotated[bool, _OPTION("--allow-unknown", help="Price unknown operators by their bytes.")]
Model = Annotated[str, typer.Argument(help="Zoo name, path/to/file.py:factory, or a saved workload .npz.")]
Baseline = Annotated[str | None, _OPTION("--baseline", help="dense, none, another recipe, or FILE.npz.")]
Folder = Annotated[Path, _OPTION("--out", help="Folder for tables, plots and the report.")]
AcceleratorName = Annotated[str, _OPTION("--accelerator", help="Template name or YAML file.")]
Settings = Annotated[list[str] | None, _OPTION("--set", metavar="KEY=VALUE", help="E.g. compute.rows=64.")]
Objective = Annotated[
    str, _OPTION("--objective", help="Choose mappings for latency, energy, edp or cycles (of the array alone).")
]
Fidelity = Annotated[str, _OPTION("--fidelity", help="analytic or tile.")]
Tokens = Annotated[int | None, _OPTION("--tokens", help="Sequence length of a language model of the zoo.")]
Cache = Annotated[
    int | None, _OPTION("--cache", help="With hf:NAME: tokens that came before, so that one new token is generated.")
]
Weights = Annotated[
    str | None, _OPTION("--weights", help=".safetensors file, folder of them, or .pt file: weights to find zeros in.")
]
Image = Annotated[int | None, _OPTION("--image", help="Side of the square images of a network of the zoo.")]
ModelArguments = Annotated[
    list[str] | None,
    _OPTION("--model-arg", metavar="KEY=VALUE", help="Argument of the zoo's constructor or of your factory."),
]
Dense = Annotated[
    list[str] | None, _OPTION("--dense", metavar="GLOB", help="With --prune: layers that stay dense, e.g. 'layer1.*'.")
]
Optimizer = Annotated[
    str | None,
    _OPTION("--optimizer", help="sgd, sgd_momentum (the default), adam, adamw, adamw:bf16, adam8bit, galore8bit:RANK."),
]
Update = Annotated[
    str | None,
    _OPTION("--update", help="per-layer: each weight as soon as its gradient is whole; else all at the end."),
]
Checkpoint = Annotated[
    list[str] | None,
    _OPTION(
        "--checkpoint", metavar="GLOB", help="Modules whose activations are computed again, e.g. 'model.layers.*'."
    ),
]
GivenMapping = Annotated[
    Path | None, _OPTION("--mapping", help="YAML: what is fixed of mappings, by glob of layer; the rest is searched.")
]
Regime = Annotated[
    str | None,
    _OPTION(
        "--regime",
        help="Software on a GPU: eager (PyTorch op by op), compiled (torch.compile), graph (compiled, replayed from "
        "a CUDA graph; the default) or engine (TensorRT and the like).",
    ),
]
TensorParallel = Annotated[
    int | None,
    _OPTION("--tensor-parallel", metavar="N", help="GPUs that share each product over their link (`gpu.link`)."),
]
Pipeline = Annotated[
    int | None, _OPTION("--pipeline", metavar="N", help="GPUs, or groups of them, that layers are dealt to in order.")
]
DataParallel = Annotated[
    int | None, _OPTION("--data-parallel", metavar="N", help="Replicas, each with batches of its own.")
]
MicroBatches = Annotated[
    int | None, _OPTION("--micro-batches", metavar="N", help="Batches in a replica before the weights are updated.")
]
OBJECTIVES = ("latency", "energy", "edp", "cycles")
FIDELITIES = ("analytic", "tile")


def load_accelerator(name: str, settings: list[str] | None, regime: str | None = None) -> Accelerator:
    """The accelerator of `--accelerator` with the values of `--set`, under the regime of `--regime`."""
    from zerocast.accelerators import load
    from zerocast.accelerators.library import with_regime
    from zerocast.analysis.run.values import overrides

    found = load(name, overrides(settings or []))
    return found if regime is None else with_regime(found, regime)


def with_cards(settings: list[str] | None, accelerator: str, tensor_parallel: int | None) -> list[str]:
    """The values of `--set`, and that of `--tensor-parallel`; `AnalysisError` for none, and for what is no GPU."""
    from zerocast.accelerators import load
    from zerocast.analysis.errors import AnalysisError

    if tensor_parallel is None:
        return list(settings or ())
    if tensor_parallel < 1:
        raise AnalysisError(f"--tensor-parallel {tensor_parallel}: must be 1 or more")
    if load(accelerator).gpu is None:
        raise AnalysisError(f"--tensor-parallel: {accelerator} is no GPU; describe several cores as levels of memory")
    return [*(settings or ()), f"gpu.cards={tensor_parallel}"]


def network_of(
    model: str,
    *,
    model_arguments: list[str] | None,
    dense: list[str] | None,
    checkpoint: list[str] | None = None,
    own: Mapping[str, str] | None = None,
    **options: Any,
) -> Network:
    """The network that a command is asked for. own: the command's options for sizes of the input, as of `arguments_of`.

    Raises `AnalysisError` for arguments of the model that are wrong.
    """
    from zerocast.analysis.run.network import Network
    from zerocast.analysis.run.values import OWN_OPTIONS, arguments_of

    arguments = arguments_of(model_arguments or (), OWN_OPTIONS if own is None else own)
    return Network(model, arguments=arguments, dense=tuple(dense or ()), checkpoint=tuple(checkpoint or ()), **options)


def values_of(
    settings: list[str] | None, accelerator: str, tensor_parallel: int | None, regime: str | None
) -> dict[str, Any]:
    """Values of the accelerator by dotted path, of `--set`, `--tensor-parallel` and `--regime` together."""
    from zerocast.analysis.run.values import overrides

    values = with_cards(settings, accelerator, tensor_parallel)
    return overrides([*values, *([f"gpu.regime={regime}"] if regime else ())])


def layout_of(
    machine: Accelerator, pipeline: int | None, data_parallel: int | None, micro_batches: int | None
) -> Layout | None:
    """The groups of cards that are asked for; None where nothing is. Raises what `Layout.check` raises."""
    from zerocast.simulator.cards import Layout

    given = pipeline, data_parallel, micro_batches
    if given == (None, None, None):
        return None
    layout = Layout(*(1 if each is None else each for each in given))
    layout.check(machine)
    return layout


def listed(option: str, text: str) -> list[str]:
    """Names with commas between them. Raises `AnalysisError` for none, and for one that is there twice."""
    from zerocast.analysis.errors import AnalysisError

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise AnalysisError(f"{option} {text!r}: name each once, with commas between them")
    return names


def sizes_of(option: str, text: str) -> list[int]:
    """Whole numbers with commas between them, each once."""
    from zerocast.analysis.errors import AnalysisError

    try:
        return [int(part) for part in listed(option, text)]
    except ValueError:
        raise AnalysisError(f"{option} {text!r}: write whole numbers, such as 1,8,64") from None


TABLE = (".csv", "")
"""Endings of tables; none, so that /dev/stdout is one, too."""


def writable(file: Path, what: str, endings: Sequence[str] = TABLE, option: str = "--out") -> None:
    """Refuse a folder, a file in a folder that does not exist, and one whose ending promises something else than what
    is written, before the long work, not after it."""
    from zerocast.analysis.errors import AnalysisError

    if file.is_dir():  # which is also what an empty text becomes
        raise AnalysisError(f"{option} {str(file)!r} is a folder; name a file")
    if file.suffix not in endings:
        raise AnalysisError(f"{option} {str(file)!r}: {what} must end in {endings[0]}")
    if not file.parent.is_dir():
        raise AnalysisError(f"{option} {str(file)!r}: there is no folder {str(file.parent)!r}")


def spare(out: Path, read: Path | None) -> None:
    """Refuse to write over what is read."""
    from zerocast.analysis.errors import AnalysisError

    if read is not None and out.exists() and read.exists() and out.samefile(read):
        raise AnalysisError(f"--out {str(out)!r} is the file to read; name another file")

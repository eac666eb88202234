"""From a model's name to a result and its baseline: lower, prune, simulate."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from zerocast.accelerators import Accelerator
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.run.baseline import has_zeros, holds_no_dense, same_work, without_zeros
from zerocast.analysis.run.values import one_of
from zerocast.simulator import Result, SimulationError, simulate
from zerocast.simulator.products.given import read_page
from zerocast.workloads.dtypes import types_of
from zerocast.workloads.ir import Workload
from zerocast.workloads.training.expand import PER_LAYER
from zerocast.workloads.training.weights.masks import MASK_UPDATES
from zerocast.workloads.training.weights.rules import optimizer_named

if TYPE_CHECKING:
    from zerocast.workloads.checkpoint import Checkpoint
    from zerocast.workloads.explanation import ExplainedNode

Step = Callable[[int, int], None]
"""Told how many parts of a step are done, and how many there are."""


PLAIN = "fp16"
"""Type of a network whose configuration names none."""


class Steps(Protocol):
    """Announces the long steps: `with steps("simulate") as step` gives the callback to report to."""

    def __call__(self, what: str, /) -> AbstractContextManager[Step]: ...


def silent(what: str, /) -> AbstractContextManager[Step]:
    """Steps that are announced to nobody."""
    return nullcontext(lambda done, of: None)


@dataclass(frozen=True, slots=True)
class Network:
    """What to lower: a zoo name, "path/to/file.py:factory" or a saved workload (.npz), and how.

    prune: recipe, None for dense. batch, dtype: None for the model's own and fp16. trace: file with the measured
    zeros of its activations; masks: take the real masks of its first runs, not densities (inference alone). tokens,
    image, cache: sizes of the input, None for the model's own. arguments: of its constructor, by name. dense: globs of
    layers that the recipe leaves alone. weights: file or folder that they are read from, in place of the model's own.
    update: per-layer throws each gradient away as soon as its weight is updated; checkpoint: globs of modules whose
    activations are computed again. mask_update: which step of training is taken where masks move, None for the mean.
    schedule, steps: of a whole training run, which varies the recipe `prune` (`analysis.train`).
    """

    model: str
    prune: str | None = None
    training: bool = False
    batch: int | None = None
    optimizer: str | None = None
    dtype: str | None = None
    allow_unknown: bool = False
    trace: str | None = None
    masks: bool = False
    tokens: int | None = None
    image: int | None = None
    arguments: tuple[tuple[str, Any], ...] = ()
    dense: tuple[str, ...] = ()
    cache: int | None = None
    weights: str | None = None
    update: str | None = None
    checkpoint: tuple[str, ...] = ()
    mask_update: str | None = None
    schedule: str | None = None
    steps: int | None = None

    @property
    def is_saved(self) -> bool:
        """Whether the model is a saved workload, which needs no PyTorch."""
        return self.model.endswith(".npz")

    @property
    def is_of_hub(self) -> bool:
        """Whether the model is named as `hf:NAME_OR_DIR`."""
        return self.model.startswith("hf:")

    @property
    def files(self) -> tuple[Path, ...]:
        """The user's files and folders that it names: of the model, its weights, its trace, its densities."""
        name = self.model.removeprefix("hf:") if self.is_of_hub else self.model.rpartition(":")[0] or self.model
        own = Path(name)
        is_named = own.is_dir() if self.is_of_hub else own.suffix in (".py", ".pt2", ".npz")
        fields = [field for part in (self.prune or "").split("+") for field in part.split(":")]
        densities = [field[1:] for field in fields if field.startswith("@")]
        return (*((own,) * is_named), *(Path(each) for each in (self.weights, self.trace, *densities) if each))


def check(network: Network) -> None:
    """Refuse what can be refused before the slow steps: `AnalysisError` or `WorkloadError`."""
    if network.is_saved:
        given = {"--prune": network.prune, "--training": network.training, "--batch": network.batch,
                 "--optimizer": network.optimizer, "--dtype": network.dtype, "--tokens": network.tokens,
                 "--image": network.image, "--cache": network.cache, "--weights": network.weights,
                 "--model-arg": network.arguments, "--dense": network.dense, "--update": network.update,
                 "--checkpoint": network.checkpoint, "--mask-update": network.mask_update}  # fmt: skip
        if wrong := [option for option, value in given.items() if value]:
            raise AnalysisError(
                f"{', '.join(wrong)} cannot change the saved workload {network.model!r}; "
                f"give {'it' if len(wrong) == 1 else 'them'} to `zerocast lower`"
            )
        return
    if network.batch is not None and network.batch < 1:
        raise AnalysisError(f"--batch {network.batch}: must be 1 or more")
    for option, size in (("--tokens", network.tokens), ("--image", network.image), ("--cache", network.cache)):
        if size is not None and size < 1:
            raise AnalysisError(f"{option} {size}: must be 1 or more")
    if network.dense and network.prune is None and network.schedule is None:
        raise AnalysisError("--dense: names layers that a recipe leaves alone; give the recipe with --prune")
    _check_training(network)
    types_of(network.dtype or PLAIN, network.training)
    if network.schedule is not None or network.steps is not None:
        _check_run(network)
    elif network.prune is not None:
        from zerocast.workloads.recipes import chain

        chain(network.prune)


def _check_run(network: Network) -> None:
    """Refuse what is wrong with a whole training run."""
    from zerocast.workloads.schedules import parse_schedule

    if network.schedule is None or network.steps is None:
        raise AnalysisError("a training run has a schedule and steps; give both")
    if network.steps < 1:
        raise AnalysisError(f"steps {network.steps}: must be 1 or more")
    if not network.training:
        raise AnalysisError(f"schedule {network.schedule!r}: is how a network is trained; add training: true")
    for option in ("trace", "weights", "cache"):
        if getattr(network, option) is not None:
            raise AnalysisError(f"{option}: has no part in a run that trains the weights; leave it out")
    parse_schedule(network.schedule, network.prune)


def _check_training(network: Network) -> None:
    """Refuse what is wrong with how a network is trained, and what asks for training where there is none."""
    optimizer_named(network.optimizer or "sgd_momentum")
    one_of("--update", network.update or "whole", ("whole", PER_LAYER))
    if network.mask_update is not None:
        one_of("--mask-update", network.mask_update, MASK_UPDATES)
    given = {"--optimizer": network.optimizer, "--update": network.update, "--checkpoint": network.checkpoint,
             "--mask-update": network.mask_update}  # fmt: skip
    if not network.training and (wrong := [option for option, value in given.items() if value]):
        raise AnalysisError(f"{wrong[0]}: is how a network is trained; add --training")


def lower(network: Network, steps: Steps) -> Workload:
    """The workload of a network, pruned by its recipe, its activations with the densities of its trace.

    Imports PyTorch unless it is a saved one.
    """
    check(network)
    workload = _lower(network, steps)
    if network.trace is None:
        return workload
    from zerocast.workloads.tracing import apply_trace, load_trace

    masks = network.masks and not workload.meta.get("training")
    return apply_trace(workload, load_trace(network.trace), masks=masks)


def _lower(network: Network, steps: Steps) -> Workload:
    if network.is_saved:
        from zerocast.workloads.files.store import load_workload

        return load_workload(network.model)
    from zerocast.workloads import capture, prune
    from zerocast.workloads.checkpoint import load_into

    checkpoint = _checkpoint(network)
    module, inputs = built(network, steps)
    is_loaded = checkpoint is not None and not any(each.is_meta for each in module.parameters())
    if checkpoint is not None and is_loaded:
        with steps("read the weights"):
            load_into(checkpoint, module)
    pruning = None
    if network.prune is not None:
        with steps("prune"):
            module, pruning = prune(module, network.prune, inputs, dense=network.dense)
    with steps("capture"):
        return capture(
            module, inputs, name=title_of(network.model), training=network.training, pruning=pruning,
            optimizer=network.optimizer or "sgd_momentum", dtype=network.dtype or own_type(network, checkpoint),
            allow_unknown=network.allow_unknown, weights=None if is_loaded else checkpoint,
            as_stored=None if network.dtype else checkpoint, equal_layers_once=network.is_of_hub,
            per_layer=network.update == PER_LAYER, checkpoints=network.checkpoint,
            mask_update=network.mask_update or "amortised",
        )  # fmt: skip


def explained(network: Network, steps: Steps) -> list[ExplainedNode]:
    """What every node of the forward pass of a network, without any recipe, becomes."""
    from zerocast.workloads.explanation import explain

    if network.is_saved:
        raise AnalysisError(f"--explain: {network.model} is lowered already; give the network that it was made of")
    check(network)
    module, inputs = built(network, steps)
    with steps("explain"):
        return explain(module, inputs, dtype=network.dtype or own_type(network), allow_unknown=network.allow_unknown)


def built(network: Network, steps: Steps) -> tuple[Any, Any]:
    """The module and its example inputs."""
    from zerocast.workloads.zoo import build

    with steps("build"):
        return build(
            network.model, batch=network.batch, tokens=network.tokens, image=network.image, cache=network.cache,
            **dict(network.arguments),
        )  # fmt: skip


def _checkpoint(network: Network) -> Checkpoint | None:
    """The weights that were given, or lie beside the configuration of a network of the hub."""
    from zerocast.workloads.checkpoint import open_checkpoint
    from zerocast.workloads.zoo.hub import weights_beside

    path = network.weights or weights_beside(network.model)
    return None if path is None else open_checkpoint(path)


def own_type(network: Network, checkpoint: Checkpoint | None = None) -> str:
    """The type of a network for which none was asked: that of its configuration, whose weights' is given by those of
    `checkpoint`, tensor by tensor; else fp16. Raises `WorkloadError` where the configuration's has no price."""
    if not network.is_of_hub:
        return PLAIN
    from zerocast.workloads.zoo.hub import quantised_type

    own = quantised_type(network.model)
    return own.partition("*")[0] if checkpoint is not None and checkpoint.narrow else own


def baseline_of(network: Network, workload: Workload, wanted: str | None, steps: Steps) -> Workload | None:
    """What to compare with, if anything.

    wanted: `none`, `dense`, a recipe, or FILE.npz; None stands for dense where a recipe left zeros or a trace
    measured some.
    """
    if wanted == "none":
        return None
    if wanted is not None and wanted.endswith(".npz"):
        return same_work(workload, lower(Network(wanted), steps), wanted)
    changed = bool(workload.meta.get("module_changed"))
    if wanted is None and not (changed or has_zeros(workload) or workload.meta.get("trace")):
        return None
    if wanted in (None, "dense"):
        if holds_no_dense(workload) and not network.is_saved:
            return lower(replace(network, prune=None, dense=()), steps)
        return without_zeros(workload)
    if network.is_saved:
        raise AnalysisError(f"--baseline {wanted!r}: a saved workload compares with dense, none or FILE.npz")
    return lower(replace(network, prune=wanted), steps)


def compare(
    network: Network,
    accelerator: Accelerator,
    steps: Steps,
    *,
    baseline: str | None = None,
    objective: str = "latency",
    fidelity: str = "analytic",
    mapping: Path | None = None,
    allow_overflow: bool = False,
) -> tuple[Result, Result | None]:
    """Simulate a network and its baseline on the same accelerator; `mapping` is the network's, not the baseline's."""
    check(network)
    if mapping is not None:
        read_page(mapping, accelerator)  # its mistakes before the long work
    workload = lower(network, steps)
    other = baseline_of(network, workload, baseline, steps)
    options: dict[str, Any] = {"objective": objective, "fidelity": fidelity, "allow_overflow": allow_overflow}
    with steps("simulate") as step:
        result = simulate(workload, accelerator, mapping=mapping, progress=step, **options)
    if other is None:
        return result, None
    with steps("simulate the baseline") as step:
        try:
            return result, simulate(other, accelerator, progress=step, **options)
        except SimulationError as error:
            raise AnalysisError(f"the baseline cannot be priced: {error}; --baseline none leaves it out") from None


def title_of(model: str) -> str:
    """Name of the workload: the zoo's, that of the hub without its owner, or that of the user's factory."""
    if Network(model).is_of_hub:
        return Path(model.removeprefix("hf:")).name
    path, _, factory = model.rpartition(":")
    return f"{Path(path).stem}.{factory}" if path else model

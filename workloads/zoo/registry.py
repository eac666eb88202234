"""The zoo's names, and how each network is made. Torch is imported only when one is built."""

from __future__ import annotations

import difflib
import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerocast.extras import need
from zerocast.workloads.errors import UnfitSize, WorkloadError
from zerocast.workloads.user_code.blame import reason
from zerocast.workloads.zoo.arguments import accepted, checked
from zerocast.workloads.zoo.hub import from_hub, is_hub_name
from zerocast.workloads.zoo.hub.sizes import Sizes
from zerocast.workloads.zoo.outside import EXPORTED, TIMM, from_exported, from_timm
from zerocast.workloads.zoo.own_file import from_file

if TYPE_CHECKING:
    from torch import Tensor, nn

    Built = tuple[nn.Module, tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True)
class Entry:
    """How a zoo network is made.

    module, factory: where its constructor is, inside `workloads.zoo`.
    arguments: keyword arguments of the constructor; a caller may override them.
    image: side of the square RGB input, 0 for a language model, whose constructor makes its own inputs.
    tokens: sequence length of a language model.
    package: what it is built from besides PyTorch, of an extra. config: its class there whose fields are arguments.
    trained: whether its weights are trained ones, from a package of the extra `real`.
    """

    module: str
    factory: str
    arguments: dict[str, Any]
    image: int = 0
    tokens: int = 0
    package: str = ""
    config: str = ""
    trained: bool = False


ENTRIES: dict[str, Entry] = {
    "resnet9": Entry("convnets", "ResNet9", {"classes": 10}, image=32),
    "resnet18": Entry("convnets", "ResNet", {"block": "BasicBlock", "depths": (2, 2, 2, 2), "classes": 1000}, 224),
    "resnet18_tiny": Entry(
        "convnets",
        "ResNet",
        {"block": "BasicBlock", "depths": (2, 2, 2, 2), "classes": 200, "small": True},
        64,
    ),
    "resnet50": Entry("convnets", "ResNet", {"block": "Bottleneck", "depths": (3, 4, 6, 3), "classes": 1000}, 224),
    "vgg19": Entry("convnets", "VGG", {"classes": 100}, image=32),
    "inception_v1": Entry("inception", "inception_v1", {"classes": 1000}, image=224),
    "inception_v2": Entry("inception", "inception_v2", {"classes": 1000}, image=224),
    "inception_v3": Entry("inception", "inception_v3", {"classes": 1000}, image=299),
    "inception_v4": Entry("inception", "inception_v4", {"classes": 1000}, image=299),
    "mobilenet_v1": Entry("convnets", "MobileNetV1", {"classes": 1000, "width": 1.0}, image=224),
    "mobilenet_v2": Entry("convnets", "MobileNetV2", {"classes": 1000}, image=224),
    "efficientnet_lite0": Entry("trained", "efficientnet_lite0", {"classes": 1000}, image=224, trained=True),
    "vgg16_hed": Entry("trained", "vgg16_hed", {}, image=224, trained=True),
    "vit_cifar": Entry(
        "transformers",
        "VisionTransformer",
        {"image": 32, "patch": 4, "width": 384, "depth": 7, "heads": 8, "hidden": 768, "classes": 100},
        image=32,
    ),
    "vit_b16": Entry(
        "transformers",
        "VisionTransformer",
        {"image": 224, "patch": 16, "width": 768, "depth": 12, "heads": 12, "hidden": 3072, "classes": 1000},
        image=224,
    ),
    "bert_base": Entry("transformers", "bert", {}, tokens=128, package="transformers", config="BertConfig"),
    "gpt2": Entry("transformers", "gpt2", {}, tokens=128, package="transformers", config="GPT2Config"),
    "llama2_7b": Entry("transformers", "llama", {}, tokens=2048, package="transformers", config="LlamaConfig"),
    "llama2_7b_decode": Entry(
        "transformers", "llama_decode", {}, tokens=2048, package="transformers", config="LlamaConfig"
    ),
    "lstm": Entry("recurrent", "LSTMLanguageModel", {}, tokens=35),
}


def models() -> list[str]:
    """Names of the networks of the zoo, sorted."""
    return sorted(ENTRIES)


def build(
    name: str,
    batch: int | None = None,
    *,
    tokens: int | None = None,
    image: int | None = None,
    cache: int | None = None,
    **arguments: Any,
) -> Built:
    """A network and example inputs for it.

    name: one of `models()`, "path/to/file.py:factory" for a function that returns (module, inputs), or "hf:NAME_OR_DIR"
    for a network of transformers by its name on the hub, or from a folder with its configuration, "timm:NAME" for one
    of timm's, or "file.pt2" for a program that torch.export saved.
    batch: rows of the input, 1 where not given. tokens: sequence length, for language models. image: side of the square
    images, for the others. cache: tokens before them whose keys and values a network of the hub keeps.
    Of an own file all are arguments of the factory.
    arguments: override constructor arguments (`classes`, `width`, `num_hidden_layers`, ...).
    Weights are random, from a fixed seed that leaves the caller's random state alone; Llama has none (meta), and
    the trained ones come with their own, from packages of the extra `real`.
    Raises `WorkloadError` for a name or a file that cannot be used.
    """
    given = {"tokens": tokens, "image": image, "cache": cache}
    sizes = {key: size for key, size in given.items() if size is not None}
    _check(name, batch, sizes)
    if is_hub_name(name):
        return from_hub(name, Sizes(batch or 1, **sizes), arguments)
    if name.startswith(TIMM):
        if unfit := [what for what in ("tokens", "cache") if what in sizes]:
            raise UnfitSize(f"model {name!r} takes images, not tokens; leave `{unfit[0]}` out")
        return from_timm(name, batch or 1, image, arguments)
    if name.endswith(EXPORTED):
        return from_exported(name, {**({} if batch is None else {"batch": batch}), **sizes, **arguments})
    if ":" in name or name.endswith(".py"):
        return from_file(name, batch, {**arguments, **sizes})
    return _of_the_zoo(name, _entry(name), batch or 1, sizes, arguments)


def _check(name: Any, batch: Any, sizes: dict[str, Any]) -> None:
    if not isinstance(name, str):
        raise WorkloadError(f"model {name!r} is no name; give one of models(), or 'path/to/file.py:factory'")
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int)):
        raise WorkloadError(f"model {name!r}: batch {batch!r} must be a whole number of 1 or more, such as 4")
    if batch is not None and batch < 1:
        raise WorkloadError(f"model {name!r}: batch {batch} must be 1 or more")
    for what, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise WorkloadError(f"model {name!r}: {what} {size!r} must be a whole number of 1 or more")


def _entry(name: str) -> Entry:
    if name in ENTRIES:
        return ENTRIES[name]
    if _is_path(name):
        raise WorkloadError(f"model {name!r}: {_no_model(Path(name))}")
    close = difflib.get_close_matches(name, ENTRIES, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(models())}"
    raise WorkloadError(f"unknown model {name!r}: {hint} (or path/to/file.py:factory for one of your own)")


def _of_the_zoo(name: str, entry: Entry, batch: int, sizes: dict[str, int], arguments: dict[str, Any]) -> Built:
    """A network of the zoo; what its constructor makes of odd arguments in one line."""
    if entry.package:
        need(entry.package, f"model {name!r}")
    if "tokens" in sizes and not entry.tokens:
        raise UnfitSize(f"model {name!r} takes images, not tokens; leave `tokens` out")
    if "cache" in sizes:
        raise UnfitSize(f"model {name!r} takes no cache; give a causal language model as hf:NAME, or leave it out")
    if "image" in sizes and not entry.image:
        raise UnfitSize(f"model {name!r} takes tokens, not images; leave `image` out")
    try:
        tokens, image = sizes.get("tokens", entry.tokens), sizes.get("image", entry.image)
        return _construct(name, entry, batch, tokens, image, arguments)
    except WorkloadError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            raise WorkloadError(
                f"model {name!r}: inputs of batch {batch} do not fit in this machine's memory; give a smaller batch"
            ) from error
        if not (arguments or sizes):
            raise
        words = ", ".join(f"{key}={value!r}" for key, value in {**arguments, **sizes}.items())
        raise WorkloadError(
            f"model {name!r} cannot be built with these arguments ({words}): {reason(error)}"
        ) from error


def _is_path(name: str) -> bool:
    """True where a name can only be meant as a file: it names a folder, has a suffix, or is there."""
    path = Path(name)
    return "/" in name or len(path.parts) > 1 or path.suffix[1:].isalpha() or path.exists()


def _no_model(path: Path) -> str:
    remedy = "give a zoo name, path/to/file.py:factory, or a workload saved by `zerocast lower` (.npz)"
    kind = "is a folder" if path.is_dir() else "is no Python file" if path.exists() else "does not exist"
    return f"the file {str(path)!r} {kind}; {remedy}"


def _construct(name: str, entry: Entry, batch: int, tokens: int, image: int, overrides: dict[str, Any]) -> Built:
    import torch

    module = importlib.import_module(f"zerocast.workloads.zoo.{entry.module}")
    factory: Any = getattr(module, entry.factory)
    known = accepted(factory, entry.arguments, _fields(entry.config))
    arguments = {**entry.arguments, **checked(name, overrides, known)}
    for key, value in overrides.items():
        if key in inspect.signature(factory).parameters and type(arguments[key]) is int and value < 1:
            raise WorkloadError(f"model {name!r}: {key} must be 1 or more")
    if isinstance(block := arguments.get("block"), str):
        if not hasattr(module, block):
            raise WorkloadError(f"model {name!r}: argument block={block!r} is no block; known: BasicBlock, Bottleneck")
        arguments["block"] = getattr(module, block)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if entry.image:
            side = arguments.get("image", image) if "image" in overrides else image
            if "image" in known:
                arguments["image"] = side
            return factory(**arguments), (torch.randn(batch, 3, side, side),)
        if inspect.isfunction(factory):
            return factory(batch, tokens, **arguments)
        return factory(**arguments), (torch.zeros(batch, tokens, dtype=torch.long),)


def _fields(config: str) -> dict[str, Any]:
    """Fields of a configuration class of transformers, with their values."""
    if not config:
        return {}
    transformers = importlib.import_module("transformers")
    filled = getattr(transformers, config)()
    fields: dict[str, Any] = filled.to_dict()
    return {**fields, **{other: fields[name] for other, name in filled.attribute_map.items() if name in fields}}

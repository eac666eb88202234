"""What a network is built from: its configuration, from a folder, the table of public ones or the hub's cache."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zerocast.extras import need
from zerocast.workloads.checkpoint import has_weights
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.user_code.blame import reason

_CLASS, _TYPE, _PARAMETERS = "class", "type", "parameters"
ARCHITECTURE = "architectures"
"""The field that names the class to build."""

_PREFIX = "hf:"


def is_hub_name(model: str) -> bool:
    """Whether a model is named as `hf:NAME_OR_DIR`."""
    return model.startswith(_PREFIX)


def bare(model: str) -> str:
    """The hub name or folder of a model, without the mark that it is one."""
    return model.removeprefix(_PREFIX)


@cache
def table() -> dict[str, dict[str, Any]]:
    """The public configurations that come with zerocast, by hub name (configurations.yaml)."""
    import yaml  # not at hand where networks are measured

    text = resources.files(__package__).joinpath("configurations.yaml").read_text()
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return entries


def known() -> dict[str, int]:
    """Hub names that are built without any file, each with its number of parameters."""
    return {name: entry[_PARAMETERS] for name, entry in table().items()}


def configuration(name: str, given: Mapping[str, Any] = MappingProxyType({})) -> tuple[Any, str]:
    """The configuration (of transformers) of a folder or hub name, and the class to build from it.

    given: fields in place of its own, from which others may follow (a head's width from the number of heads).
    A folder's config.json comes first, then the table, then the hub's cache; nothing is fetched and no code of a
    checkpoint is run. Raises `WorkloadError` where none of them has it.
    """
    from transformers import AutoConfig

    if name in table() and not Path(name).is_dir():
        entry = table()[name]
        fields = {key: value for key, value in entry.items() if key not in (_CLASS, _TYPE, _PARAMETERS)}
        return AutoConfig.for_model(entry[_TYPE], **{**fields, **given}), str(given.get(ARCHITECTURE, entry[_CLASS]))
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise WorkloadError(f"model 'hf:{name}': the folder has no config.json; give the folder of a saved model")
    try:
        found = AutoConfig.from_pretrained(name, local_files_only=True, trust_remote_code=False, **given)
    except Exception as error:  # of many kinds; what it says is for people with a network
        if Path(name).is_dir():
            raise WorkloadError(f"model 'hf:{name}': its config.json cannot be used: {reason(error)}") from error
        raise WorkloadError(f"model 'hf:{name}': {_unknown(name)}") from error
    named = found.architectures or ()
    return found, named if isinstance(named, str) else next(iter(named), "")


def weights_beside(model: str) -> Path | None:
    """The folder where the weights of `hf:NAME_OR_DIR` lie beside its configuration; None where there are none."""
    if not is_hub_name(model):
        return None
    folder = Path(bare(model))
    if not folder.is_dir():
        need("transformers", f"model {model!r}")
        from transformers.utils import cached_file

        try:
            found = cached_file(bare(model), "config.json", local_files_only=True)
        except OSError:  # not in the cache
            return None
        folder = Path(str(found)).parent
    return folder if has_weights(folder) else None


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, table(), n=3, cutoff=0.6)
    near = f"did you mean {' or '.join(f'hf:{each}' for each in close)}? " if close else ""
    return (
        f"{near}it is no folder, not in the hub's cache on this machine and not among the {len(table())} "
        "configurations that `zerocast list hub` shows; give a folder with its config.json"
    )

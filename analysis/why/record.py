"""What a run was asked, beside its results, so that it can be asked again with something changed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.run.network import Network

_FILE = "asked.json"


@dataclass(frozen=True, slots=True)
class Asked:
    """The network, the accelerator by name or file, the values set in it by dotted path, and how it was simulated."""

    network: Network
    accelerator: str
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def save_record(asked: Asked, folder: Path) -> None:
    """Write asked.json; files are named by their whole paths, so that it is read from anywhere."""
    facts = asdict(asked)
    network, options = facts["network"], facts["options"]
    if asked.network.is_of_hub:
        prefix, colon, rest = network["model"].partition(":")
        network["model"] = prefix + colon + _whole(rest)
    else:
        file, colon, factory = network["model"].rpartition(":")
        network["model"] = _whole(file) + colon + factory if colon else _whole(factory)
    facts["accelerator"] = _whole(facts["accelerator"])
    network["weights"], network["trace"] = _whole(network["weights"]), _whole(network["trace"])
    options["mapping"] = _whole(options.get("mapping"))
    (folder / _FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _whole(name: str | None) -> Any:
    """The whole path of what is a file or folder here; any other name as it is."""
    return str(Path(name).resolve()) if name and Path(name).exists() else name


def load_record(folder: Path) -> Asked:
    """Read asked.json. Raises `AnalysisError` where a folder holds none, or not of this program."""
    try:
        held = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        network = {**held["network"], "dense": tuple(held["network"]["dense"])}
        network["checkpoint"] = tuple(held["network"]["checkpoint"])
        network["arguments"] = tuple((name, _frozen(value)) for name, value in held["network"]["arguments"])
        return Asked(Network(**network), held["accelerator"], held["settings"], held["options"])
    except FileNotFoundError:
        raise AnalysisError(f"{str(folder)!r} holds no {_FILE}: give the --out folder of a `zerocast run`") from None
    except (ValueError, KeyError, TypeError) as error:
        raise AnalysisError(f"{str(folder / _FILE)!r} is no record of this program ({error}); run again") from None


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value

"""Read an accelerator: a shipped template by name, or a YAML file, with values set by dotted path."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Hashable, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.schema import Accelerator
from zerocast.accelerators.tables.energy import table_at

_SYSTOLIC = re.compile(r"systolic-(\d+)x(\d+)$")
_SUFFIXES = {".yaml", ".yml"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def templates() -> list[str]:
    """Names of the shipped templates; `systolic-RxC` scales to any array."""
    return sorted(_shipped())


@cache
def _shipped() -> dict[str, Traversable]:
    """The shipped templates by name: folders group them by what kind of machine they are, and are in no name."""
    kinds = [kind for kind in (files("zerocast.accelerators") / "templates").iterdir() if kind.is_dir()]
    entries = [entry for kind in kinds for entry in kind.iterdir() if entry.name.endswith(".yaml")]
    return {entry.name.removesuffix(".yaml"): entry for entry in entries}


def load(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Accelerator:
    """The accelerator of a template name or a YAML file.

    `overrides` maps dotted paths to values (`compute.rows`, `memories.dram.bandwidth_bytes_per_s`: an item of a
    list is named by its `name`). Raises `AcceleratorError`: unknown template, malformed YAML, a key, value or
    path that the schema refuses. A calibration file or energy table that a YAML file names is looked for beside that
    file, then among the shipped ones; one in `overrides` from the working directory. What an energy table holds
    becomes part of the description.
    """
    return parse(describe(name_or_path, overrides), str(name_or_path))


def with_regime(accelerator: Accelerator, regime: str) -> Accelerator:
    """A GPU under another software regime. Raises `AcceleratorError` for an unknown one, and for what is no GPU."""
    if accelerator.gpu is None:
        raise AcceleratorError(f"{accelerator.name} is no GPU and has no software regimes; leave the regime out")
    if regime not in accelerator.gpu.regimes:
        known = ", ".join(accelerator.gpu.regimes)
        raise AcceleratorError(f"{accelerator.name} has no software regime {regime!r}; choose {known}")
    return accelerator.model_copy(update={"gpu": accelerator.gpu.model_copy(update={"regime": regime})})


def describe(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The description that `load` checks, as nested mappings and lists. Raises `AcceleratorError` as `load` does."""
    description = _read(str(name_or_path))
    for part, field, folder in (("gpu", "calibration", "calibrations"), ("technology", "energy_table", "tables")):
        _place(description, Path(name_or_path), part, field, folder)
    _take_in_regimes(description)
    for path, value in (overrides or {}).items():
        _assign(description, path, value)
    _take_in_regimes(description)  # of a table that an override names
    _take_in_table(description)
    return description


def variants(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Variants:
    """Designs that differ from an accelerator in a few values; the arguments and errors are those of `load`."""
    return Variants(describe(name_or_path, overrides), str(name_or_path))


class Variants:
    """Designs that differ from one description in a few values, without reading it again for each."""

    def __init__(self, description: Mapping[str, Any], origin: str) -> None:
        """description: as YAML gives it, never changed; it need not be complete before values are set. origin: its
        name in errors."""
        self.description = description
        self.origin = origin
        try:
            self.base: Accelerator | None = parse(description, origin)
        except AcceleratorError:
            self.base = None

    def describe(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """The description with the values at dotted paths set; it shares the rest with the first one. Raises
        `AcceleratorError` for a path that leads nowhere."""
        description = dict(self.description)
        for path, value in overrides.items():
            _copy_along(description, path)
            _assign(description, path, value)
        _take_in_regimes(description)
        _take_in_table(description)
        return description

    def build(self, overrides: Mapping[str, Any]) -> Accelerator:
        """The design with these values, equal to what `load` gives; same errors."""
        description = self.describe(overrides)
        if self.base is None:
            return parse(description, self.origin)
        checked = {
            key: getattr(self.base, key) if self.description.get(key, _ABSENT) is part else part
            for key, part in description.items()
        }
        try:
            return Accelerator.model_validate(checked)
        except ValidationError as error:
            raise AcceleratorError(f"accelerator {self.origin}: {explain(error, description, Accelerator)}") from None


_ABSENT = object()


def parse(description: Mapping[str, Any], origin: str) -> Accelerator:
    """Check a description against the schema; `origin` names it in errors."""
    try:
        return Accelerator.model_validate(description)
    except ValidationError as error:
        raise AcceleratorError(f"accelerator {origin}: {explain(error, description, Accelerator)}") from None


def dump(accelerator: Accelerator) -> str:
    """The accelerator as YAML that `load` reads back."""
    return yaml.safe_dump(accelerator.model_dump(mode="json", exclude_unset=True), sort_keys=False, width=110)


def read_file(path: Path) -> dict[str, Any]:
    """What a YAML file holds, with the errors of `read_yaml`; `AcceleratorError` too for what is no text."""
    try:
        return read_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise AcceleratorError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def read_yaml(text: str, origin: str) -> dict[str, Any]:
    """Parse YAML that must be a mapping without a key twice; `AcceleratorError` names the line otherwise."""
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        twice = _twice(node)
        content = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise AcceleratorError(f"{origin}: malformed YAML{line}: {problem}") from None
    finally:
        loader.dispose()
    if twice is not None:
        raise AcceleratorError(f"{origin}: the key {twice.value!r} at line {twice.start_mark.line + 1} is there twice")
    if not isinstance(content, dict):
        raise AcceleratorError(f"{origin}: expected a mapping of keys to values, found {type(content).__name__}")
    return content


def _twice(root: yaml.Node | None) -> yaml.Node | None:
    """The first key that its mapping has already: YAML would keep the last value and say nothing."""
    pending, visited = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[Hashable] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        return key
                    keys.add(key.value)
                pending.append(value)
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
    return None


def _read(name: str) -> dict[str, Any]:
    path = Path(name)
    if path.suffix in _SUFFIXES:
        if not path.is_file():
            raise AcceleratorError(f"no accelerator file {name!r}; `zerocast list accelerators` names the templates")
        return read_file(path)
    scaled = _SYSTOLIC.match(name)
    template = _shipped().get("systolic-32x32" if scaled else name)
    if template is None:
        close = difflib.get_close_matches(name, templates(), n=2)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(templates())}, or a YAML file"
        raise AcceleratorError(f"unknown accelerator {name!r}; {hint}")
    description = read_yaml(template.read_text(encoding="utf-8"), name)
    if scaled:
        rows, cols = int(scaled[1]), int(scaled[2])
        description["name"] = name
        description["compute"] |= {"rows": rows, "cols": cols}
    return description


def _names(items: list[Any]) -> list[str]:
    """How a path calls the parts of a list: by their names; by number, from 0, where they have none."""
    return [str(item.get("name", place)) if isinstance(item, dict) else "" for place, item in enumerate(items)]


def _assign(description: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path of a raw description; the path must lead to a field of the schema."""
    here: Any = description
    keys = path.split(".")
    for depth, key in enumerate(keys):
        done = ".".join(keys[:depth]) or "the description"
        if isinstance(here, list):
            names = _names(here)
            if key not in names:
                raise AcceleratorError(f"no parameter {path!r}: {done} has {', '.join(names) or 'no items'}")
            here = here[names.index(key)]
            if depth == len(keys) - 1:
                raise AcceleratorError(f"{path!r} names a whole part; set one of {', '.join(here)}")
        elif not isinstance(here, dict):
            raise AcceleratorError(f"no parameter {path!r}: {done} is the value {here!r}")
        elif depth == len(keys) - 1:
            here[key] = value
        else:
            here = here.setdefault(key, {})


def _copy_along(description: dict[str, Any], path: str) -> None:
    """Replace the mappings and lists on the way to a path by copies, so that setting it changes no other design."""
    here: Any = description
    for key in path.split(".")[:-1]:
        slot: Any = key
        if isinstance(here, list):
            slot = _names(here).index(key) if key in _names(here) else None
        if slot is None or (isinstance(here, dict) and slot not in here):
            return
        if not isinstance(here[slot], (dict, list)):
            return
        here[slot] = here[slot].copy()
        here = here[slot]


def _place(description: dict[str, Any], origin: Path, part: str, field: str, folder: str) -> None:
    """Make a file that an accelerator's YAML file names absolute, so that it means the same from everywhere."""
    fields = description.get(part)
    if not isinstance(fields, dict):
        return
    name = fields.get(field)
    if origin.suffix not in _SUFFIXES or not isinstance(name, str) or Path(name).suffix not in _SUFFIXES:
        return
    beside = origin.resolve().parent / name
    shipped = files("zerocast.accelerators") / folder / f"{Path(name).stem}.yaml"
    is_shipped = not beside.is_file() and Path(name).name == name and shipped.is_file()
    description[part] = {**fields, field: Path(name).stem if is_shipped else str(beside)}


def _take_in_table(description: dict[str, Any]) -> None:
    """Put what a user's energy table holds in the place of its path: a design is what it costs, wherever it goes."""
    part = description.get("technology")
    if not isinstance(part, dict):
        return
    name = part.get("energy_table")
    if isinstance(name, str) and Path(name).suffix in _SUFFIXES:
        description["technology"] = {**part, "energy_table": table_at(Path(name))}


def _take_in_regimes(description: dict[str, Any]) -> None:
    """Put the regimes of a software stack, with their sources, in the place of its name: paths lead into them."""
    part = description.get("gpu")
    if not isinstance(part, dict) or not isinstance(name := part.get("regimes", "cuda"), str):
        return
    table = copy.deepcopy(_stack(name))
    description["gpu"] = {**part, "regimes": table["regimes"]}
    if isinstance(sources := description.get("sources"), dict):
        places = [(each, field) for each, regime in table["regimes"].items() for field in regime]
        found = {f"gpu.regimes.{each}.{field}": table["sources"][field] for each, field in places}
        description["sources"] = {**found, **sources}


@cache
def _stack(name: str) -> dict[str, Any]:
    """A shipped table of regimes: `regimes` by name, `sources` by field."""
    folder = files("zerocast.accelerators") / "regimes"
    known = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    if name not in known:
        raise AcceleratorError(f"gpu.regimes: no table {name!r}; there are {', '.join(known)}, or give regimes by name")
    return read_yaml((folder / f"{name}.yaml").read_text(encoding="utf-8"), f"regimes {name}")


_PLAIN = {
    "tuple_type": "must be a list such as [a, b]",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_type": "must be text",
}
"""What the checks of the schema say, by their type, in the words of YAML instead of Python."""


def explain(error: ValidationError, description: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Every mistake of a description of `model` in one line each: key, bad value, what is allowed."""
    mistakes = []
    for item in error.errors():
        key = _path(item["loc"], description)
        message = _PLAIN.get(item["type"], item["msg"].removeprefix("Value error, "))
        if item["type"] == "extra_forbidden":
            message = f"unknown key{_close_key(item['loc'], model)}"
        elif item["type"] == "missing":
            message = "is missing"
        elif item["loc"] and not isinstance(item["input"], dict):  # a check of a whole part names what is wrong itself
            message = f"{message}; found {item['input']!r}"
        mistakes.append(f"{key}: {message}" if item["loc"] else message)
    return "; ".join(mistakes)


def _path(location: tuple[int | str, ...], description: Any) -> str:
    """Dotted path of a mistake, with an item of a list under its name, as `--set` takes it."""
    here: Any = description
    parts: list[str] = []
    for part in location:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):  # a key that is missing, or inside a value of the wrong kind
            here = None
        name = here.get("name") if isinstance(part, int) and isinstance(here, dict) else None
        parts.append(name if isinstance(name, str) else str(part))
    return ".".join(parts)


def _close_key(location: tuple[int | str, ...], model: Any) -> str:
    """A suggestion for a misspelt key, from the fields of the part it stands in."""
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part) if isinstance(part, str) else None
        if field is not None:
            candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
            model = next((c for c in candidates if hasattr(c, "model_fields")), None)
    allowed = list(getattr(model, "model_fields", {}))
    close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
    return f"; did you mean {close[0]!r}?" if close else (f"; allowed: {', '.join(allowed)}" if allowed else "")

"""What a space file may say, key by key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from zerocast.analysis.errors import AnalysisError

Number = StrictInt | StrictFloat
Mapped = Literal["latency", "energy", "edp", "cycles"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class WorkloadEntry(_Part):
    """A network as `zerocast run` takes it."""

    model: StrictStr
    """Zoo name, path/to/file.py:factory, or a saved workload .npz; paths from the space file's folder."""
    prune: StrictStr | None = None
    """Recipe."""
    training: StrictBool = False
    """A training step, not inference."""
    batch: StrictInt | None = Field(default=None, ge=1)
    """Samples in one step."""
    optimizer: StrictStr | None = None
    """Of a training step."""
    schedule: StrictStr | None = None
    """Of a whole training run, whose totals the results then are; `prune` is the recipe that it varies."""
    steps: StrictInt | None = Field(default=None, ge=1)
    """Of a whole training run."""
    update: Literal["whole", "per-layer"] | None = None
    """When its weights are updated."""
    checkpoint: list[StrictStr] = Field(default_factory=list)
    """Globs of modules whose activations are computed again."""
    dtype: StrictStr | None = None
    """Type of all floating tensors."""
    tokens: StrictInt | None = Field(default=None, ge=1)
    """Sequence length of a language model."""
    image: StrictInt | None = Field(default=None, ge=1)
    """Side of the square images."""
    cache: StrictInt | None = Field(default=None, ge=1)
    """Tokens that came before, of a network of the hub."""
    weights: StrictStr | None = None
    """File or folder of the weights that zeros are found in."""
    arguments: dict[StrictStr, Any] = Field(default_factory=dict)
    """Of the zoo's constructor or the user's factory, by name."""
    dense: list[StrictStr] = Field(default_factory=list)
    """Globs of layers that the recipe leaves alone."""
    trace: StrictStr | None = None
    """Activation zeros, from `zerocast trace`."""
    allow_unknown: StrictBool = False
    """Price unknown operators by their bytes."""
    label: StrictStr | None = Field(default=None, min_length=1)
    """Its name in the table."""
    accuracy: Number | None = None
    """Measured by the user."""
    set: dict[StrictStr, Any] = Field(default_factory=dict)
    """Values of the accelerator in the designs that run it, by dotted path."""


class ParameterEntry(_Part):
    """What a free parameter may be: values, or a range."""

    values: list[Any] | None = None
    """The values, in order."""
    start: Number | None = Field(default=None, alias="from")
    """Start of a range."""
    end: Number | None = Field(default=None, alias="to")
    """End of a range, included."""
    step: Number | None = None
    """Distance of the values of a range."""
    steps: Number | None = None
    """How many values of a range."""
    log: StrictBool = False
    """Values evenly spread by ratio."""
    when: StrictStr | None = None
    """Condition on parameters written before; where it is false the parameter is not set."""
    paths: list[StrictStr] | None = Field(default=None, min_length=1)
    """Paths that take the value together; without it the parameter's name is its path."""


class ObjectiveEntry(_Part):
    """A metric, and whether less or more of it is better."""

    name: StrictStr
    """A column of the result table."""
    direction: Literal["min", "max"] | None = None
    """Without it, the metric's own."""


class SpaceFile(_Part):
    """A space of designs."""

    name: StrictStr = Field(min_length=1)
    """For titles and file names."""
    workloads: list[WorkloadEntry] = Field(min_length=1)
    """What is run."""
    accelerator: StrictStr
    """Template, or YAML file from the space file's folder."""
    set: dict[StrictStr, Any] = Field(default_factory=dict)
    """Values that hold in all designs, by dotted path."""
    parameters: dict[StrictStr, Any] = Field(min_length=1)
    """What is free, by dotted path."""
    constraints: list[StrictStr] = Field(default_factory=list)
    """What a design must keep to."""
    objectives: list[StrictStr | ObjectiveEntry] = Field(min_length=1)
    """What is looked for."""
    accuracy: dict[StrictStr, Number] = Field(default_factory=dict)
    """Measured by the user, by recipe; `dense` without one."""
    mapping: Mapped = "latency"
    """Objective of the mapping search."""
    mappings: StrictStr | None = None
    """YAML file, from the space file's folder: what is fixed of mappings, as `zerocast run --mapping` takes it."""
    fidelity: Literal["analytic", "tile"] = "analytic"
    """As `zerocast run --fidelity`."""


def parse_space(content: Mapping[str, Any], origin: str) -> tuple[SpaceFile, dict[str, ParameterEntry]]:
    """The space and its parameters' entries. Raises `AnalysisError` with key, value and remedy of every mistake."""
    content = numbers(content)
    try:
        space = SpaceFile.model_validate(content)
    except ValidationError as error:
        raise AnalysisError(f"space {origin}: {_explain(error, '', SpaceFile)}") from None
    return space, {name: _parameter(name, entry, origin) for name, entry in space.parameters.items()}


def numbers(value: Any) -> Any:
    """YAML 1.1 reads 1e9 as text, because it has no dot; people mean the number."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    if not isinstance(value, str) or not value[:1].lstrip("+-").isdigit() or "e" not in value.lower():
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _parameter(name: str, entry: Any, origin: str) -> ParameterEntry:
    where = f"space {origin}: parameters.{name}"
    if isinstance(entry, list):
        return ParameterEntry(values=entry)
    if not isinstance(entry, dict):
        raise AnalysisError(
            f"{where}: {entry!r} is one value, so nothing is free; put it under `set`, or write a list such as [1, 2]"
        )
    try:
        parsed = ParameterEntry.model_validate(entry)
    except ValidationError as error:
        raise AnalysisError(f"{where}: {_explain(error, '', ParameterEntry)}") from None
    ranged = [key for key in ("from", "to", "step", "steps", "log") if key in entry]
    if parsed.values is not None and ranged:
        raise AnalysisError(f"{where}: has values and {', '.join(ranged)}; keep the list or the range")
    if parsed.values is None and (parsed.start is None or parsed.end is None):
        raise AnalysisError(f"{where}: needs values, or from and to; e.g. {{from: 16, to: 128, step: 16}}")
    return parsed


_PLAIN = {
    "missing": "is missing",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def _explain(error: ValidationError, prefix: str, model: type[BaseModel]) -> str:
    lines: dict[str, None] = {}
    for item in error.errors():
        # of a union, the kinds that were tried are no keys of the file
        kinds = ("int", "float", "str", "ObjectiveEntry")
        location = [part for part in item["loc"] if part not in kinds]
        key = prefix + ".".join(map(str, location))
        if item["type"] == "extra_forbidden":
            allowed = _keys(model, location[:-1])
            close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(allowed)}"
            lines[f"{key}: unknown key; {hint}"] = None
            continue
        message = _PLAIN.get(item["type"], item["msg"])
        found = "" if item["type"] == "missing" else f"; found {item['input']!r}"
        lines[f"{key}: {message}{found}"] = None
    return "; ".join(lines)


def _keys(model: type[BaseModel], location: list[int | str]) -> list[str]:
    """Keys that the part at a location of the file has."""
    parts: dict[str, type[BaseModel]] = {"workloads": WorkloadEntry, "objectives": ObjectiveEntry}
    owner: type[BaseModel] = parts.get(str(location[0]), model) if location else model
    return [field.alias or name for name, field in owner.model_fields.items()]

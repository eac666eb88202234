"""What all parts of a description have in common."""

from __future__ import annotations

from typing import Any, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Part(BaseModel):
    """A part of the description: unknown keys are refused, values are frozen, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Python takes true for 1, so that `rows: yes` would be an array of one row."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        inside = value.values() if get_origin(annotation) is dict and isinstance(value, dict) else (value,)
        if annotation is not bool and any(isinstance(item, bool) for item in inside):
            raise ValueError("a boolean stands where another value belongs")
        return value

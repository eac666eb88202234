"""The fields of a short text, such as that of a schedule or a recipe, read by kind."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from zerocast.workloads.errors import WorkloadError


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields without a name in order, and options by name. text, spelling, kind (`schedule`, `recipe`): for errors."""

    text: str
    spelling: str
    plain: tuple[str, ...]
    options: Mapping[str, str]
    kind: str = "schedule"
    _read: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, text: str, spelling: str, rest: str, kind: str = "schedule") -> Fields:
        """Fields between colons; `name=value` is an option."""
        parts = [part.strip() for part in rest.split(":")] if rest else []
        given = [part.split("=", 1) for part in parts if "=" in part]
        fields = cls(text, spelling, tuple(part for part in parts if "=" not in part), dict(given), kind)
        if len(given) > len(fields.options):
            fields.refuse("an option stands there twice")
        return fields

    def refuse(self, why: str = "") -> NoReturn:
        """Raise `WorkloadError` with the grammar, or with what is wrong."""
        raise WorkloadError(f"{self.kind} {self.text!r}: {why or f'does not fit its grammar {self.spelling}'}")

    def expect(self, count: int) -> tuple[str, ...]:
        """The plain fields, of which there must be so many."""
        if len(self.plain) != count:
            self.refuse()
        return self.plain

    def whole(self, text: str, least: int = 1) -> int:
        """A whole number."""
        if not re.fullmatch(r"\d+", text) or int(text) < least:
            self.refuse(f"{text!r} must be a whole number of {least} or more")
        return int(text)

    def refuse_recipe(self, recipe: str) -> None:
        """Refuse a recipe beside those that the text names itself."""
        if recipe:
            self.refuse("names its recipes itself; drop --recipe")

    def share(self, text: str) -> float:
        """A share of something, as 25% or 0.25."""
        number = re.fullmatch(r"(\d+\.?\d*|\.\d+)(%?)", text.strip())
        value = float(number[1]) / (100 if number[2] else 1) if number else -1.0
        if not 0 <= value <= 1:
            self.refuse(f"{text!r} is no share; write 25% or 0.25")
        return value

    def option(self, name: str, default: float) -> float:
        """An option that is a share."""
        self._read.add(name)
        return self.share(self.options[name]) if name in self.options else default

    def steps(self, name: str, default: int = 1) -> int:
        """An option that counts."""
        self._read.add(name)
        return self.whole(self.options[name]) if name in self.options else default

    def refuse_unread(self, known: Collection[str]) -> None:
        """Refuse options that nothing read."""
        if unread := sorted(set(self.options) - self._read):
            self.refuse(f"no option {unread[0]!r}; it has {', '.join([*sorted(self._read), *known])}")

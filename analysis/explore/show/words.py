"""How counts and paces are said."""

from __future__ import annotations

import sys


def design_count(number: int) -> str:
    """`1 design`, `2,304 designs`."""
    return f"{number:,} design{'' if number == 1 else 's'}"


def pace(priced: int, seconds: float) -> str:
    """Designs a second, of slow ones seconds a design; "" where none was priced."""
    if not priced or seconds <= 0:
        return ""
    rate = priced / seconds
    return f"{rate:,.1f} designs/s" if rate >= 1.0 else f"{1.0 / rate:,.1f} s a design"


def warn(text: str) -> None:
    """A doubt about what was asked for, on stderr."""
    print(f"warning: {text}", file=sys.stderr)

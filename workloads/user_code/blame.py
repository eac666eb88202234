"""Where in the user's own code something failed: a file and a line for error messages."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from pathlib import Path

_OURS = f"{Path(__file__).parents[2]}{os.sep}"
_FOREIGN = (_OURS, *(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")))
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def place(error: BaseException) -> str:
    """The words " at FILE:LINE" for the innermost frame in neither this program nor an installed package; else "".

    A syntax error names the line that cannot be read; an error raised while another was handled is asked first.
    """
    if isinstance(error, SyntaxError) and error.filename and is_users(error.filename):
        return f" at {error.filename}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_users(frame.filename):
            return f" at {frame.filename}:{frame.lineno}"
    earlier = error.__cause__ or error.__context__
    return place(earlier) if earlier is not None else ""


def place_in(stack: str) -> str:
    """The same from the text of a traceback, such as a graph node carries."""
    for file, line in reversed(_FRAME.findall(stack)):
        if is_users(file):
            return f" at {file}:{line}"
    return ""


def reason(error: BaseException) -> str:
    """What an error says in one line, without its type: libraries wrap the sentence that tells in lines of theirs."""
    lines = [text.strip() for text in str(error).splitlines() if text.strip()]
    while len(lines) > 1 and lines[0].endswith(":"):
        lines.pop(0)
    return lines[0] if lines else type(error).__name__


def line(error: BaseException) -> str:
    """Type and message of an error in one line: torch's messages go on for pages after the first."""
    first = next((text.strip() for text in str(error).splitlines() if text.strip()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def is_users(file: str) -> bool:
    """True for a file of neither this program, an installed package nor Python itself."""
    return not file.startswith("<") and not file.startswith(_FOREIGN)

"""`python -m zerocast.analysis.measure`: `zerocast measure` without the packages that the rest of zerocast needs."""

from __future__ import annotations

import sys

from zerocast.analysis.errors import AnalysisError

NEEDED = ("torch", "numpy", "pandas")


def main(argv: list[str] | None = None) -> int:
    """Run the command; a mistake in what was asked for is one line on stderr and status 2."""
    try:
        from zerocast.analysis.measure.command import (
            measure,  # here, so that Ctrl-C is one line while torch loads as well
        )

        return measure(sys.argv[1:] if argv is None else argv)
    except (AnalysisError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        print(f"error: measuring needs {error.name}: install {', '.join(NEEDED)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""`python -m zerocast`: the command without its script."""

import sys

from zerocast.analysis.cli import main

if __name__ == "__main__":
    sys.exit(main())

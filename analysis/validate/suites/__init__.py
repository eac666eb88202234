"""One file per suite of comparisons."""

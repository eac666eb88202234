"""Packages that only some of zerocast's work needs, and the extra of `pip install` that brings each."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "transformers": "models",
    "safetensors": "models",
    "distributed": "cluster",
    "plotly": "pages",
    "pyarrow": "parquet",
}


class MissingExtra(ModuleNotFoundError):
    """A package of an extra is not installed; the message holds the command that mends it."""


def lacking(package: str, purpose: str) -> str:
    """One line with the remedy where a package of an extra is not installed, else "". purpose: what needs it."""
    if find_spec(package) is not None:
        return ""
    return f"{purpose} needs {package}, which is not installed: pip install 'zerocast[{EXTRAS[package]}]'"


def need(package: str, purpose: str) -> None:
    """Raises `MissingExtra` where a package of an extra is not installed. The caller imports it then."""
    if why := lacking(package, purpose):
        raise MissingExtra(why, name=package)

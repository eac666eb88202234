"""Remarks beside the results of a command."""

from __future__ import annotations

import typer


def note(text: str) -> None:
    """Say something on stderr."""
    typer.echo(text, err=True)

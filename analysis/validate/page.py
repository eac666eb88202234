"""All comparisons as a page of Markdown, the same text for the same figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zerocast.analysis.validate import SUITES
from zerocast.analysis.validate.record import key_of, off
from zerocast.analysis.validate.verdict import judge

if TYPE_CHECKING:
    from zerocast.analysis.validate.comparison import Comparison
    from zerocast.analysis.validate.record import Key, Miss

_HEAD = """# Every comparison of `zerocast validate`

Written by `zerocast validate --record`, beside the record (`validation.csv`) that later runs are held to: a row that is
worse than recorded fails. A row out of its tolerance is a known miss (`known_misses.csv`) with its cause and the bound
that it must not exceed, or it fails. Information has no tolerance: with a reference it must not get worse, without one
it must not move.
"""
_KINDS = {"limit": "at most ", "share": "at least ", "ceiling": "at most "}


def page(rows: Sequence[Comparison], misses: Mapping[Key, Miss]) -> str:
    """The page of some comparisons, judged by tolerances and known misses alone."""
    verdicts = {key_of(v.comparison): v for v in judge(rows, {}, misses)}
    counts = Counter(v.status for v in verdicts.values())
    lines = [
        _HEAD,
        f"{counts['holds']} rows within tolerance, {counts['known miss']} known misses, {counts['information']} for "
        f"information, {counts['FAIL']} failed.",
    ]
    sources = {text: number for number, text in enumerate(dict.fromkeys(row.source for row in rows if row.source), 1)}
    for suite, about in SUITES.items():
        if not (own := [row for row in rows if row.suite == suite]):
            continue
        lines += ["", f"## {suite}", "", f"{about[:1].upper()}{about[1:]}.", ""]
        lines += ["| row | predicted | reference | unit | error | verdict |", "|---|---:|---:|---|---:|---|"]
        for row in own:
            verdict = verdicts[key_of(row)]
            words = {"FAIL": f"**fails**: {verdict.why}", "holds": _held(row)}.get(verdict.status, verdict.status)
            if verdict.status == "known miss":
                words = f"known miss (off by at most {misses[key_of(row)].bound:.1%}): {verdict.why}"
            lines.append(
                f"| {_cell(row.what)} | {row.predicted:.6g} | {_reference(row, sources)} | {_cell(row.unit)} | "
                f"{_error(row)} | {_cell(words)} |"
            )
    lines += ["", "## Sources", ""]
    lines += [f"{number}. {_cell(text)}" for text, number in sources.items()]
    return "\n".join(lines) + "\n"


def _held(row: Comparison) -> str:
    """How a row holds."""
    if row.nature == "target" and row.tolerance is not None:
        return f"within {row.tolerance:.1%}"
    return "holds"


def _reference(row: Comparison, sources: Mapping[str, int]) -> str:
    if row.reference is None:
        return ""
    mark = f" [{sources[row.source]}]" if row.source else ""
    return f"{_KINDS.get(row.nature, '')}{row.reference:.6g}{mark}"


def _error(row: Comparison) -> str:
    """The signed error of a target; of a limit what is above it, where something is."""
    if row.reference is None or not row.reference:
        return ""
    if row.nature == "target":
        return f"{row.predicted / row.reference - 1:+.1%}"
    return f"{off(row):+.1%}" if row.ok is False else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())

"""The scoreboard as a page of Markdown, written by `zerocast validate systems --record`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from zerocast.analysis.validate.suites.systems.scoreboard import FAMILIES, Claim, Judged

FILE = "SYSTEMS.md"
_HEAD = """# The 59 systems

Written by `zerocast validate systems --record` from what each row's command and claims gave. A system works where its
command is priced, the program does all that it needs (asked for one by one, on small networks) and every claim that can
be predicted holds; nobody writes a status.
"""


def page(tried: Iterable[Judged]) -> str:
    """The page of all systems."""
    rows = list(tried)
    counts = Counter(row.status for row in rows)
    lines = [_HEAD, f"{counts['works']} work, {counts['partly']} partly, {counts['no']} not at all."]
    for family, words in FAMILIES.items():
        lines += ["", f"## {words[:1].upper()}{words[1:]}", ""]
        for row in rows:
            if row.system.family == family:
                lines += _lines(row)
    return "\n".join(lines) + "\n"


def _lines(row: Judged) -> Iterator[str]:
    system = row.system
    doubt = ", number from memory" if system.recalled else ""
    yield f"**{system.label}** (arXiv {system.arxiv}{doubt}): {system.gist}. {row.status.capitalize()}" + (
        f": {'; '.join(row.why)}." if row.why else "."
    )
    yield ""
    if system.command:
        yield from ("```", system.command, "```", "")
    if system.claims:
        yield from ("| claim | published | predicted | |", "|---|---:|---:|---|")
        yield from (_claim(claim, row) for claim in system.claims)
        yield ""


def _claim(claim: Claim, row: Judged) -> str:
    """A claim beside its prediction, and whether it holds."""
    predicted = ""
    held = next((each for each in row.comparisons if each.what.endswith(f": {claim.what}")), None)
    said = f"not predictable: {claim.because}" if claim.because else "not predicted yet"
    if held is not None:
        predicted = f"{held.predicted:.4g}"
        said = "holds" if held.ok else "**off**"
        said += f" ({held.error:+.1%})" if held.error and abs(held.error) > 5e-4 else ""
    words = (claim.what, f"{claim.value} {claim.unit}".strip(), predicted, said)
    return f"| {' | '.join(word.replace('|', '/') for word in words)} |"

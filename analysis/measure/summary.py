"""What a file of measurements holds, in a few lines for the user who has just made it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from zerocast.analysis.measure.machine.drift import drift_words
from zerocast.analysis.measure.options import SUITES
from zerocast.analysis.measure.results import load_measurements

SHOWN = 5
"""Reasons of failures that are told, the most frequent ones."""


def summary(path: Path) -> list[str]:
    """Rows and failures by suite, why variants were left out and measurements failed, how far the anchors moved.

    Raises `AnalysisError` for a file that cannot be read.
    """
    rows, about = load_measurements(path)
    lines = []
    for suite in SUITES:
        errors = rows.error[rows.suite == suite]
        if len(errors):
            failed = int((errors != "").sum())
            lines.append(f"{suite}: {len(errors) - failed} measured" + (f", {failed} failed" if failed else ""))
    reasons = Counter(rows.error[(rows.suite != "probe") & (rows.error != "")])
    lines += [f"failed: {count} x {reason}" for reason, count in reasons.most_common(SHOWN)]
    if len(reasons) > SHOWN:
        lines.append(f"failed: {len(reasons) - SHOWN} other reasons, see column error")
    left_out = about["left_out"]
    for reason in dict.fromkeys(left_out.values()):
        lines.append(f"left out: {', '.join(name for name in left_out if left_out[name] == reason)}: {reason}")
    if (rows.suite == "gemm").any():
        lines.append(drift_words(about["drift"]))
    return lines + about["notes"]

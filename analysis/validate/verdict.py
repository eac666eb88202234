"""Whether a run of the comparisons holds: each row against its tolerance, the known misses and the record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from zerocast.analysis.validate.comparison import Comparison
from zerocast.analysis.validate.record import Key, Miss, key_of, off

SLACK = 0.005
"""How much worse than recorded a row may be, as a share of its reference (a figure: of itself). Far below what a
changed constant does, far above what another machine's rounding does."""

Status = Literal["holds", "known miss", "information", "FAIL"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a comparison. why: the cause of a known miss, or what fails. remark: what is no fault, but
    should be known."""

    comparison: Comparison
    status: Status
    why: str = ""
    remark: str = ""


def judge(rows: Sequence[Comparison], record: Mapping[Key, Comparison], misses: Mapping[Key, Miss]) -> list[Verdict]:
    """A verdict for each comparison."""
    return [_judged(row, record.get(key_of(row)), misses.get(key_of(row))) for row in rows]


def missing(
    rows: Iterable[Comparison], record: Mapping[Key, Comparison], misses: Mapping[Key, Miss], whole: Iterable[str]
) -> tuple[list[str], list[str]]:
    """What is wrong, and what is to be remarked, about rows of whole suites that were expected and did not come."""
    there, suites = {key_of(row) for row in rows}, set(whole)
    wrong, remarks = [], []
    for key, row in record.items():
        if key in there or row.suite not in suites:
            continue
        if row.needs:
            remarks.append(f"not run: {row.suite}, {row.what}: needs the extra {row.needs}")
        else:
            wrong.append(f"{row.suite}, {row.what}: is in the record and was not computed")
    for key in misses:
        optional = key in record and record[key].needs
        if key not in there and key[0] in suites and not optional:
            wrong.append(f"{key[0]}, {key[1]}: is a known miss and was not computed; remove it from known_misses.csv")
    return wrong, remarks


def _judged(row: Comparison, before: Comparison | None, miss: Miss | None) -> Verdict:
    remark = "" if before is not None else "not in the record"
    if before is not None:
        fault, remark = _moved(row, before)
        if fault:
            return Verdict(row, "FAIL", fault)
    if row.ok is None:
        return Verdict(row, "information", "", remark)
    if row.ok:
        if miss is not None:
            remark = "; ".join(filter(None, ("a known miss that holds now: remove it from known_misses.csv", remark)))
        return Verdict(row, "holds", "", remark)
    if miss is None:
        return Verdict(row, "FAIL", "out of its tolerance, and no known miss")
    if off(row) > miss.bound + 1e-9:
        return Verdict(row, "FAIL", f"off by {off(row):.1%}, its bound as a known miss is {miss.bound:.1%}")
    return Verdict(row, "known miss", miss.cause, remark)


def _moved(row: Comparison, before: Comparison) -> tuple[str, str]:
    """What is wrong with how a row differs from its record, and what is to be remarked about it."""
    if row.nature in ("figure", "ceiling"):  # neither more nor less is better: any move is one that nobody meant
        change = _change(row.predicted, before.predicted)
        return (
            (f"moved by {change:+.2%} from the recorded {before.predicted:.6g}", "")
            if abs(change) > SLACK
            else ("", "")
        )
    worse = off(row) - off(replace(row, predicted=before.predicted))
    if worse > SLACK:
        return f"fell: {row.predicted:.6g}, recorded {before.predicted:.6g}", ""
    return "", f"better than the recorded {before.predicted:.6g}" if worse < -SLACK else ""


def _change(now: float, before: float) -> float:
    if before:
        return now / before - 1
    return 0.0 if abs(now) < SLACK else math.inf


def judge_alone(rows: Sequence[Comparison]) -> list[Verdict]:
    """Verdicts by tolerance alone, for comparisons that no record knows: those with a user's own measurements."""
    found: list[Verdict] = []
    for row in rows:
        status: Status = "information" if row.ok is None else "holds" if row.ok else "FAIL"
        found.append(Verdict(row, status, "out of its tolerance" if row.ok is False else ""))
    return found

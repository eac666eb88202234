"""Constraints and conditions: comparisons of dotted names, read off Python's own grammar by a whitelist."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.space.domains import is_finite

Lookup = Callable[[str], Any]
"""The value of a name; None where a conditional parameter is not there."""

_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_ALLOWED = "comparisons, and, or, not, + - * / // %, numbers, text in quotes and dotted names"


@dataclass(frozen=True)
class Expression:
    """A condition on named values, such as `compute.rows >= compute.cols and dsp < 5847`."""

    text: str
    tree: ast.expr = field(repr=False, compare=False)
    names: tuple[str, ...]
    """The names in it, in the order written."""

    def holds(self, lookup: Lookup) -> bool:
        """Whether it is true. Raises `AnalysisError` where values cannot be compared (text with a number)."""
        return bool(self._run(lambda: _value(self.tree, lookup)))

    def violation(self, lookup: Lookup) -> float:
        """0 where it is true, otherwise by how much it is not: of a comparison of numbers, their distance relative
        to the larger one; of `and` the sum, of `or` the least; 1 for all else. No unit."""
        return float(self._run(lambda: _violation(self.tree, lookup)))

    def _run(self, compute: Callable[[], Any]) -> Any:
        try:
            return compute()
        except ZeroDivisionError:
            raise AnalysisError(f"{self.text!r} divides by zero") from None
        except OverflowError:
            raise AnalysisError(f"{self.text!r} computes a number above 1.8e308; write it with smaller ones") from None
        except TypeError:
            raise AnalysisError(
                f"{self.text!r} compares values of different kinds (text and a number), or computes with text"
            ) from None


def parse_expression(text: str) -> Expression:
    """Read a condition. Raises `AnalysisError` for what is no condition, with what is allowed."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise AnalysisError(f"{text!r} cannot be read; write e.g. compute.rows >= 16") from None
    names: dict[str, None] = {}
    for node in _leaves(tree, text):
        names[node] = None
    if not _is_condition(tree):
        raise AnalysisError(f"{text!r} is no comparison; write e.g. area_mm2 < 40")
    if not names:
        raise AnalysisError(f"{text!r} names nothing that differs between designs")
    return Expression(text.strip(), tree, tuple(names))


def dotted(node: ast.expr) -> str | None:
    """`technology.clock_hz` of an attribute of a name; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return None if inner is None else f"{inner}.{node.attr}"
    return None


def constant(node: ast.expr) -> float | None:
    """The number that a part without names stands for; None where it has names or is no number."""
    try:
        value = _value(node, _no_name)
    except (LookupError, TypeError, ZeroDivisionError, OverflowError):
        return None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def bounds(expression: Expression) -> Iterator[tuple[str, str, float]]:
    """Name, operator (<, <=, >, >=, ==) and number of each simple comparison that must hold."""
    for left, sign, right in _must_hold(expression.tree):
        name, number = dotted(left), constant(right)
        if name is not None and number is not None:
            yield name, _SIGNS[sign][0], number
        name, number = dotted(right), constant(left)
        if name is not None and number is not None:
            yield name, _SIGNS[sign][1], number


_SIGNS: dict[type, tuple[str, str]] = {
    ast.Lt: ("<", ">"), ast.LtE: ("<=", ">="), ast.Gt: (">", "<"), ast.GtE: (">=", "<="), ast.Eq: ("==", "=="),
}  # fmt: skip
"""How a comparison reads from its left side, and from its right one."""


def _must_hold(node: ast.expr) -> Iterator[tuple[ast.expr, type, ast.expr]]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        for part in node.values:
            yield from _must_hold(part)
    elif isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        for left, sign, right in zip(sides, node.ops, sides[1:], strict=False):
            if type(sign) in _SIGNS:
                yield left, type(sign), right


def _no_name(name: str) -> Any:
    raise LookupError(name)


def _is_condition(node: ast.expr) -> bool:
    if isinstance(node, ast.BoolOp):
        return all(map(_is_condition, node.values))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _is_condition(node.operand)
    return isinstance(node, ast.Compare)


def _leaves(node: ast.expr, text: str) -> Iterator[str]:
    """The names below a node; `AnalysisError` for a node that is not allowed."""
    name = dotted(node)
    if name is not None:
        yield name
    elif isinstance(node, ast.BoolOp):
        for part in node.values:
            yield from _leaves(part, text)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.UAdd)):
        yield from _leaves(node.operand, text)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield from _leaves(node.left, text)
        yield from _leaves(node.right, text)
    elif isinstance(node, ast.Compare) and all(type(sign) in _COMPARISONS for sign in node.ops):
        for part in (node.left, *node.comparators):
            yield from _leaves(part, text)
    elif isinstance(node, (ast.Tuple, ast.List)):
        for part in node.elts:
            yield from _leaves(part, text)
    elif not (isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str, bool, type(None)))):
        bad = ast.unparse(node)
        raise AnalysisError(f"{bad!r} in {text!r} is not allowed; there are {_ALLOWED}")
    elif isinstance(node.value, (int, float)) and not is_finite(node.value):
        raise AnalysisError(f"{text[:40]!r} has a number above 1.8e308; write a smaller one")


def _value(node: ast.expr, lookup: Lookup) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if (name := dotted(node)) is not None:
        return lookup(name)
    if isinstance(node, ast.BoolOp):
        decides = all if isinstance(node.op, ast.And) else any
        return decides(bool(_value(part, lookup)) for part in node.values)
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand, lookup)
        if isinstance(node.op, ast.Not):
            return not value
        return -value if isinstance(node.op, ast.USub) else +value
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, lookup), _value(node.right, lookup)
        if not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
            raise TypeError  # Python would repeat text, and format it with %
        return _ARITHMETIC[type(node.op)](left, right)
    if isinstance(node, (ast.Tuple, ast.List)):
        return [_value(part, lookup) for part in node.elts]
    assert isinstance(node, ast.Compare)
    values = [_value(part, lookup) for part in (node.left, *node.comparators)]
    return all(_compares(sign, a, b) for sign, a, b in zip(node.ops, values, values[1:], strict=False))


def _compares(sign: ast.cmpop, left: Any, right: Any) -> bool:
    if isinstance(sign, _ORDERED) and (left is None or right is None):
        return False  # a parameter that is not there is neither less nor more
    alike = None in (left, right) or isinstance(left, str) == isinstance(right, str)
    if not alike and not isinstance(sign, (ast.In, ast.NotIn)):
        raise TypeError
    return _COMPARISONS[type(sign)](left, right)


def _violation(node: ast.expr, lookup: Lookup) -> float:
    if isinstance(node, ast.BoolOp):
        parts = [_violation(part, lookup) for part in node.values]
        return sum(parts) if isinstance(node.op, ast.And) else min(parts)
    if isinstance(node, ast.Compare):
        values = [_value(part, lookup) for part in (node.left, *node.comparators)]
        pairs = zip(node.ops, values, values[1:], strict=False)
        return sum(0.0 if _compares(sign, a, b) else _distance(a, b) for sign, a, b in pairs)
    return 0.0 if _value(node, lookup) else 1.0


def _distance(left: Any, right: Any) -> float:
    """Above 0 even where both are equal (the comparison is broken then too), and never above 1."""
    if not all(isinstance(value, (int, float)) for value in (left, right)):
        return 1.0
    scale = max(abs(left), abs(right))
    apart = abs(left - right) / scale if scale else 0.0
    return min(max(apart / (1 + apart), 1e-9), 1.0) if apart == apart else 1.0

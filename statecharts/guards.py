"""The language of guards: whole numbers compared with each other, and ``and``, ``or``, ``not``.

A number is a variable, a parameter or a constant. A condition compares two numbers, or joins other
conditions. This is the common part of python-statemachine's boolean expressions, JavaScript and
Promela, so a guard means the same wherever the chart runs. That is why there are no chains (``a < b
< c``), no arithmetic, no numbers as conditions (``when="n"``), no comparison of conditions (in
JavaScript ``true`` is not 1), and none of python-statemachine's operators ``v``, ``^`` and ``!``.
"""

from __future__ import annotations

import ast

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


class GuardError(ValueError):
    """A guard uses something that the language of guards does not have."""


def parse(guard: str) -> ast.expr:
    """The syntax tree of a guard. Raises ``GuardError`` that says what is not allowed."""
    try:
        tree = ast.parse(guard, mode="eval").body
    except SyntaxError as error:
        raise GuardError(
            f"guard {guard!r} is not an expression: {error.msg} (and, or, not are written as words)"
        ) from error
    _check_condition(tree, guard)
    return tree


def _check_condition(node: ast.expr, guard: str) -> None:
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                _check_condition(value, guard)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _check_condition(operand, guard)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
            _check_number(left, guard)
            _check_number(right, guard)
        case _:
            raise GuardError(
                f"guard {guard!r}: {ast.unparse(node)!r} is not one comparison, and, or, not"
            )


def _check_number(node: ast.expr, guard: str) -> None:
    match node:
        case ast.Name(id="v"):
            raise GuardError(f"guard {guard!r}: 'v' is an operator of python-statemachine")
        case ast.Name():
            pass
        case ast.Constant(value=int(number)) if type(number) is int:
            pass
        case _:
            raise GuardError(
                f"guard {guard!r}: {ast.unparse(node)!r} is not a name or a whole number from 0 on"
            )


def names(guard: str) -> frozenset[str]:
    """The variables and parameters a guard reads."""
    return frozenset(node.id for node in ast.walk(parse(guard)) if isinstance(node, ast.Name))


def render(guard: str, *, conjunction: str, disjunction: str, negation: str, prefix: str) -> str:
    """The guard with the operators of another language, and ``prefix`` before each name."""

    def of(node: ast.expr) -> str:
        match node:
            case ast.BoolOp(op=op, values=parts):
                joiner = conjunction if isinstance(op, ast.And) else disjunction
                return "(" + f" {joiner} ".join(of(part) for part in parts) + ")"
            case ast.UnaryOp(operand=operand):
                return f"{negation}({of(operand)})"
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return f"({of(left)} {_COMPARISONS[type(op)]} {of(right)})"
            case ast.Name(id=name):
                return prefix + name
            case _:
                return ast.unparse(node)

    return of(parse(guard))

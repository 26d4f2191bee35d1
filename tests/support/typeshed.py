"""Which names of the standard library another system lacks, as typeshed has it.

mypy brings typeshed with it: these are the names that it knows for its option ``--platform``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

_MYPY = find_spec("mypy")
assert _MYPY is not None
assert _MYPY.origin is not None
_STUBS = Path(_MYPY.origin).parent / "typeshed" / "stdlib"


class Lacking(NamedTuple):
    """What Linux has and another system lacks.

    ``modules``: whole modules. ``names``: of a module, or of an enumeration in it by a dotted name,
    as in ``signal.Signals``.
    """

    modules: list[str]
    names: dict[str, list[str]]


@cache
def lacking(platform: str) -> Lacking:
    """What ``platform`` lacks, ``darwin`` or ``win32``, of all modules that typeshed has."""
    modules: list[str] = []
    names: dict[str, list[str]] = {}
    for path in sorted(_STUBS.rglob("*.pyi")):
        module = ".".join(path.relative_to(_STUBS).with_suffix("").parts).removesuffix(".__init__")
        if "sys.platform" not in path.read_text(encoding="utf-8"):
            continue
        here, there = (_tables(module, each) for each in ("linux", platform))
        if any(here.values()) and not any(there.values()):
            modules.append(module)
            continue
        for where, known in here.items():
            if missing := known - there.get(where, set()):
                names[where] = sorted(missing)
    return Lacking(modules, names)


@cache
def _tables(module: str, platform: str) -> dict[str, set[str]]:
    """The public names of a module, and the members of each of its enumerations."""
    path = _STUBS.joinpath(*module.split("."))
    stub = path / "__init__.pyi" if path.is_dir() else path.with_suffix(".pyi")
    tables: dict[str, set[str]] = {module: set()}
    for node in _in_force(ast.parse(stub.read_text(encoding="utf-8")).body, platform):
        match node:
            case ast.ClassDef(name=name, bases=bases):
                tables[module].add(name)
                if any(ast.unparse(base).endswith(("Enum", "Flag")) for base in bases):
                    members = [_bound(each) for each in _in_force(node.body, platform)]
                    tables[f"{module}.{name}"] = {each for some in members for each in some}
            case ast.ImportFrom(module=str(other), names=[ast.alias(name="*")], level=0):
                tables[module] |= _tables(other, platform)[other]
            case _:
                tables[module].update(_bound(node))
    return {
        where: {each for each in known if not each.startswith("_")}
        for where, known in tables.items()
    }


def _bound(node: ast.stmt) -> list[str]:
    """The names that one statement of a stub gives to others."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return [name]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign(targets=targets):
            return [each.id for each in targets if isinstance(each, ast.Name)]
        case ast.ImportFrom(names=names):
            # Only so does a stub hand on what it imports.
            return [each.asname for each in names if each.asname is not None]
        case _:
            return []


def _in_force(body: list[ast.stmt], platform: str) -> Iterator[ast.stmt]:
    for node in body:
        match node:
            case ast.If(test=test):
                holds = _holds(test, platform)
                yield from _in_force(node.body if holds else node.orelse, platform)
            case _:
                yield node


def _holds(test: ast.expr, platform: str) -> bool:
    """Whether the condition of a stub holds with this version of Python. Raises ``ValueError``."""
    match test:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_holds(each, platform) for each in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_holds(each, platform) for each in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _holds(operand, platform)
        case ast.Compare(
            left=ast.Attribute(attr="platform"), ops=[op], comparators=[ast.Constant(value=name)]
        ):
            return (name == platform) == isinstance(op, ast.Eq)
        case ast.Compare(
            left=ast.Attribute(attr="version_info"), ops=[op], comparators=[ast.Tuple() as version]
        ):
            least: tuple[int, ...] = ast.literal_eval(version)
            reached = sys.version_info >= least
            return reached == isinstance(op, ast.GtE)
        case ast.Name(id="TYPE_CHECKING"):
            return True
        case _:
            raise ValueError(f"no condition that is known: {ast.unparse(test)}")

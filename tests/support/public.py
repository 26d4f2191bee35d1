"""What is public, and what says what it is: for the reference in ``docs/api`` and its test."""

from __future__ import annotations

import inspect
import sys
from functools import cache
from types import ModuleType, UnionType
from typing import TypeVar, Union, get_args, get_origin

from sphinx.pycode import ModuleAnalyzer

from statecharts import Chart, System

# Of the driver a program has a use for these only.
OF_STREAMS = ["connect_tcp", "connect_unix", "listen_tcp", "listen_unix", "Listening"]


def public(module: ModuleType) -> list[str]:
    """The names that a module gives to programs: no modules, and no variables of types."""
    if module.__name__ == "hsms_engine.driver.tcp":
        return OF_STREAMS
    names: list[str] = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return [
        name
        for name in names
        if not name.startswith("__")
        and not isinstance(vars(module).get(name), ModuleType | TypeVar)
    ]


def is_data(value: object) -> bool:
    """Whether it is a constant or the name of a type, which cannot have a docstring."""
    return not (inspect.isclass(value) or inspect.isroutine(value))


@cache
def comments(module: str) -> dict[str, str]:
    """The texts below the constants and types of a module."""
    found = ModuleAnalyzer.for_module(module).find_attr_docs()
    return {name: "\n".join(lines).strip() for (owner, name), lines in found.items() if not owner}


def comment(module: ModuleType, name: str) -> str:
    """What a constant or a type is, empty when nothing says so: the text below it.

    For a chart and a system that is their title, for a union without a text its types.
    """
    value = getattr(module, name)
    package = module.__name__.partition(".")[0]
    for other, found in list(sys.modules.items()):
        has_it = other.partition(".")[0] == package and vars(found).get(name) is value
        if has_it and (text := comments(other).get(name)):
            return text
    match value:
        case Chart(title=title) | System(title=title):
            return f"{title}."
        case _ if get_origin(value) in (Union, UnionType):
            kinds = (get_origin(each) or each for each in get_args(value))
            return "One of " + ", ".join(f":py:obj:`{each.__name__}`" for each in kinds) + "."
        case _:
            return ""

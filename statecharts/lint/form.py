"""Every field holds what its declaration says: asked first, since all other rules read the fields.

A type checker says the same earlier. The types are read from the declaration, so that a field
cannot be forgotten here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from statecharts.declare import Chart, Effect, Increment, On, Parameter, State, Timer, Variable
from statecharts.refusals import Part, short

from .lookup import Finding, Rule

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    NoneType: "None",
    Effect: "an effect object",
    Increment: "an Increment",
    On: "an On",
}


@cache
def _types(part: Any) -> dict[str, Any]:
    """The fields of a class and the type of each."""
    types = get_type_hints(part)
    return {each.name: types[each.name] for each in fields(part)}


def _choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is UnionType else (kind,)


def _fits(value: object, kind: Any) -> bool:
    return any(_is_one(value, each) for each in _choices(kind))


def _is_one(value: object, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        return (
            isinstance(value, tuple) and len(value) == len(kinds) and all(map(_fits, value, kinds))
        )
    if isinstance(value, bool):
        # To Python it is a number as well.
        return kind is bool
    return isinstance(value, kind) or (kind is float and isinstance(value, int))


def _words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"({', '.join(map(_words, get_args(kind)))})"
    return " or ".join(_WORDS.get(each, f"a {each.__name__}") for each in _choices(kind))


def _remedy(value: object, kind: Any) -> str:
    """What to write instead, by what its author seems to have meant."""
    choices = _choices(kind)
    match value:
        case type():
            return f"write {value.__name__}(...): objects, no classes"
        case State(id=str(name)) | Timer(id=str(name)) | Variable(name=str(name)) if str in choices:
            return f"write its name, {name!r}"
        case str() if State in choices:
            return f"write State({value!r})"
        case tuple() | list() if Timer in choices:
            return "a state has one timer: for another put a state inside it or around it"
        case int() | float() if Timer in choices:
            return "write Timer(id, label, meaning, seconds, lowest, highest)"
        case tuple() | list() if str in choices:
            return "name one: for the next write another On or State"
        case Timer() if Effect in choices:
            return "give the state the timer: it starts and stops it"
        case _ if callable(value):
            return (
                "a chart asks and never acts: no callables, no coroutines; "
                "write an effect, and a guard as text"
            )
        case _ if str in choices and int not in choices:
            return "ids, names, labels and guards are text in quotes"
        case _:
            return f"write {_words(kind)}"


def _place(part: Part, around: str) -> str:
    match part:
        case Chart():
            return "the chart"
        case State(id=name):
            return f"state {name}"
        case On():
            return f"transition {part}"
        case Timer(id=name):
            return f"timer {name}"
        case Variable(name=name):
            return f"variable {name}"
        case Parameter(name=name):
            return f"parameter {name}"
        case _:
            return around


def _misfits(part: Part, around: str) -> Iterator[Finding]:
    place = _place(part, around)
    own: Any = type(part)
    for field, kind in _types(own).items():
        value: object = getattr(part, field)
        name = field if place != around else f"{own.__name__}.{field}"
        match get_args(kind), value:
            case (each, last), tuple() if last is Ellipsis:
                fields = [(f"{short(one)} in {name}", one, each) for one in value]
            case (_, last), _ if last is Ellipsis:
                yield place, f"{name}={short(value)} is not a tuple", "write (..., ) with its comma"
                continue
            case _:
                fields = [(f"{name}={short(value)}", value, kind)]
        for text, one, wanted in fields:
            if not _fits(one, wanted):
                yield place, f"{text} is not {_words(wanted)}", _remedy(one, wanted)
            elif isinstance(one, Part):
                yield from _misfits(one, place)


def _form(chart: Chart) -> Iterator[Finding]:
    # Several states may have the same timer.
    yield from dict.fromkeys(_misfits(chart, ""))


RULES: tuple[Rule, ...] = (_form,)

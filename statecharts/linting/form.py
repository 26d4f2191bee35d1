"""Rules about the type of each field. They come first, because all other rules read the fields.

A type checker says the same earlier. The types are read from the dataclasses, so no field can be
forgotten here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

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


class _Field(NamedTuple):
    """A field, whether it holds a tuple of any length, and the kinds of it or of its elements.

    A kind is a class, or a tuple of classes for a tuple of exactly these.
    """

    name: str
    many: bool
    kinds: tuple[Any, ...]


@cache
def _fields(part: Any) -> tuple[_Field, ...]:
    types = get_type_hints(part)
    return tuple(_field(each.name, types[each.name]) for each in fields(part))


def _field(name: str, declared: Any) -> _Field:
    inside = get_args(declared)
    if inside[1:] == (Ellipsis,):
        return _Field(name, True, _field(name, inside[0]).kinds)
    if get_origin(declared) is tuple:
        return _Field(name, False, (inside,))
    return _Field(name, False, inside or (declared,))


def _fits(value: object, kind: Any) -> bool:
    if isinstance(kind, tuple):
        return isinstance(value, tuple) and len(value) == len(kind) and all(map(_fits, value, kind))
    if isinstance(value, bool):
        # Python counts a bool as a number too.
        return kind is bool
    return isinstance(value, kind) or (kind is float and isinstance(value, int))


def _words(kinds: tuple[Any, ...]) -> str:
    return " or ".join(
        f"({', '.join(_words((each,)) for each in kind)})"
        if isinstance(kind, tuple)
        else _WORDS.get(kind, f"a {kind.__name__}")
        for kind in kinds
    )


def _remedy(value: object, kinds: tuple[Any, ...]) -> str:
    """What to write instead, guessed from the value."""
    match value:
        case type():
            return f"write {value.__name__}(...): objects, no classes"
        case State(id=str(name)) | Timer(id=str(name)) | Variable(name=str(name)) if str in kinds:
            return f"write its name, {name!r}"
        case str() if State in kinds:
            return f"write State({value!r})"
        case tuple() | list() if Timer in kinds:
            return "a state has one timer: for another put a state inside it or around it"
        case int() | float() if Timer in kinds:
            return "write Timer(id, label, meaning, seconds, lowest, highest)"
        case (State(), *_):
            return "states inside a state are its children=(State(...), ...)"
        case tuple() | list() if str in kinds:
            return "name one: for the next write another On or State"
        case Timer() if Effect in kinds:
            return "give the state the timer: it starts and stops it"
        case _ if callable(value):
            return (
                "a chart asks and never acts: no callables, no coroutines; "
                "write an effect, and a guard as text"
            )
        case _ if str in kinds and int not in kinds:
            return "ids, names, labels and guards are text in quotes"
        case _:
            return f"write {_words(kinds)}"


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
    for field, many, kinds in _fields(own):
        value: Any = getattr(part, field)
        name = field if place != around else f"{own.__name__}.{field}"
        if many and not isinstance(value, tuple):
            yield place, f"{name}={short(value)} is not a tuple", "write (..., ) with its comma"
            continue
        for one in value if many else (value,):
            if not any(_fits(one, kind) for kind in kinds):
                text = f"{short(one)} in {name}" if many else f"{name}={short(one)}"
                yield place, f"{text} is not {_words(kinds)}", _remedy(one, kinds)
            elif isinstance(one, Part):
                yield from _misfits(one, place)


def _form(chart: Chart) -> Iterator[Finding]:
    # Several states may have the same timer.
    yield from dict.fromkeys(_misfits(chart, ""))


RULES: tuple[Rule, ...] = (_form,)

"""Rules about names of other parts: events, states, domains, actions and guards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import assert_never

from statecharts.declare import Action, Chart, Effect, Increment, Keep, Set, Start, Stop
from statecharts.guards import GuardError, names

from .lookup import Finding, Rule


def _references(chart: Chart) -> Iterator[Finding]:
    known = {state.id for state in chart.walk()}
    events = chart.events
    for on in chart.transitions:
        place = f"transition {on}"
        for end in (on.source, on.to):
            if end is not None and end not in known:
                yield place, f"there is no state {end!r}", "check the spelling"
        if on.event is not None and on.event not in events:
            yield (
                place,
                f"event {on.event!r} is not declared",
                "add it to received, local or reported, or give a state the timer",
            )
        if on.event is None and on.to is None:
            yield place, "at once, and going nowhere, it never ends", "give it a target"
    used = {on.event for on in chart.transitions}
    for event in events:
        if event not in used:
            yield f"event {event}", "no transition takes it", "remove it or write the transition"


def _promises(chart: Chart) -> Iterator[Finding]:
    known = {state.id for state in chart.walk()}
    for id in (*chart.total_in, *(state for _, state in chart.gated)):
        if id not in known:
            yield "total_in and gated", f"there is no state {id!r}", "check the spelling"
    for id in chart.ends:
        if id not in known:
            yield "ends", f"there is no state {id!r}", "check the spelling"
    for event, _ in chart.gated:
        if event not in chart.received:
            yield "gated", f"{event!r} is not a received event", "check the spelling"
    if chart.received and not chart.total_in:
        yield (
            "total_in",
            "it names no state, so nothing says where a peer's messages are answered",
            "name the states in which a peer may send anything, or report the events instead",
        )


def _domains(chart: Chart) -> Iterator[Finding]:
    parameters = {each.name: each for each in chart.parameters}
    for each in chart.parameters:
        place = f"parameter {each.name}"
        if not 0 <= each.lowest <= each.default <= each.highest:
            yield (
                place,
                f"{each.default} is not in {each.lowest}..{each.highest} from 0 on",
                "give a range that holds the default",
            )
    for variable in chart.variables:
        place = f"variable {variable.name}"
        if isinstance(variable.highest, str):
            if variable.highest not in parameters:
                yield place, f"there is no parameter {variable.highest!r}", "declare it"
        elif variable.highest < 1:
            yield place, f"0..{variable.highest} is no domain", "give a whole number above 0"


def _effect_finding(effect: Effect) -> tuple[str, str] | None:
    # A class with "__slots__ = ()" adds no field: what its base is, it is too.
    kind = next(
        each
        for each in type(effect).__mro__
        if "__dataclass_params__" in vars(each) or vars(each).get("__slots__") != ()
    )
    declared = vars(kind).get("__dataclass_params__")
    if declared is None or not (declared.frozen and declared.eq):
        return (
            f"{type(effect).__name__} is not a frozen dataclass",
            "make it one, compared by value",
        )
    if type(effect) is Effect:
        return f"{effect} asks for nothing", "subclass Effect for each thing to be asked for"
    values = [getattr(effect, each.name) for each in fields(effect)]
    if callable(effect) or any(callable(value) for value in values):
        return f"{effect} carries something to call", "a chart asks and never acts"
    try:
        hash(effect)
    except TypeError:
        return f"{effect} has a field that can change", "use tuples and frozen objects"
    return None


def _all_actions(chart: Chart) -> Iterator[tuple[str, Action]]:
    for state in chart.walk():
        for action in (*state.enter, *state.exit):
            yield f"state {state.id}", action
    for on in chart.transitions:
        for action in on.do:
            yield f"transition {on}", action


def _actions(chart: Chart) -> Iterator[Finding]:
    bounds = {each.name: each.highest for each in chart.variables}
    lowest = {each.name: each.lowest for each in chart.parameters}
    for place, action in _all_actions(chart):
        match action:
            case Start() | Stop():
                yield place, f"{action} by hand", "give the state a timer: it starts and stops it"
            case Keep():
                yield place, f"{action} by hand", "give the transition keep=...: it keeps the timer"
            case Set(variable, _) | Increment(variable) if variable not in bounds:
                yield place, f"there is no variable {variable!r}", "declare it with its domain"
            case Set(variable, value):
                bound = bounds[variable]
                # A parameter may be chosen as low as its range allows.
                safe = lowest.get(bound, 0) if isinstance(bound, str) else bound
                if not 0 <= value <= safe:
                    yield place, f"{action} may leave 0..{bound}", f"set a number of 0..{safe}"
            case Increment():
                pass
            case Effect():
                if found := _effect_finding(action):
                    yield place, *found
            case _:
                assert_never(action)


def _guards(chart: Chart) -> Iterator[Finding]:
    variables = {each.name for each in chart.variables}
    parameters = {each.name for each in chart.parameters}
    read: set[str] = set()
    for on in chart.transitions:
        if not on.when:
            continue
        try:
            here = names(on.when)
        except GuardError as error:
            yield f"transition {on}", str(error), "compare variables, parameters and numbers only"
            continue
        read |= here
        if unknown := here - variables - parameters:
            what = ", ".join(sorted(unknown))
            yield f"transition {on}", f"its guard reads {what}", "declare the variable"
        if not here:
            yield f"transition {on}", "its guard reads nothing", "remove it or the transition"
    changed = {
        action.variable for _, action in _all_actions(chart) if isinstance(action, Set | Increment)
    }
    for name in sorted(variables - changed):
        yield f"variable {name}", "no action changes it", "make it a parameter or remove it"
    bounds = {each.highest for each in chart.variables}
    for name in sorted(parameters - read - bounds):
        yield f"parameter {name}", "nothing reads it", "remove it"


RULES: tuple[Rule, ...] = (_references, _promises, _domains, _actions, _guards)

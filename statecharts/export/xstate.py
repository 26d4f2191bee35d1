"""A chart as an XState v5 machine: a configuration of plain data, and its JSON.

There are two forms. ``timers="events"`` says literally what the chart says: ``Start`` and ``Stop``
are actions, and an expired timer is an event. ``timers="after"`` makes each timer a delayed
transition of the state that owns it, as users of Stately's tools expect it. Where a transition
keeps a timer, its actions are ``Stop``, ``Keep``, ``Start``, which together mean: let it run on. A
delayed transition of XState cannot run on, so such a timer is written as events in both forms.

XState gets what it needs to mean the same as SCXML:

* ``reenter`` where the target is the source. Elsewhere both mean the same without it (lint refuses
  targets below the source, where they do not);
* in the form with ``after``, a state inside the timer's owner may answer the timer in its own way.
  A delayed transition belongs to the owner alone, so such an answer is written there with the guard
  ``in <state>``, innermost first. Exit of the owner exits all states inside, so this is the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, Literal

from statecharts.declare import Action, Chart, Increment, On, Set, State, Timer
from statecharts.guards import render
from statecharts.machine import Machine

from .source import source

_WIDTH = 90

Timers = Literal["events", "after"]


def _plain(value: object) -> object:
    match value:
        case Timer(id=id):
            return id
        case Enum(value=content):
            return _plain(content)
        case int() | float() | str():
            return value
        case _:
            return str(value)


def action_object(chart: Chart, action: Action) -> dict[str, Any]:
    """An action as XState's ``{type, params}``; equal effects give equal objects, others do not."""
    match action:
        case Set(variable, value):
            return {"type": "set", "params": {"variable": variable, "value": value}}
        case Increment(variable):
            (highest,) = (each.highest for each in chart.variables if each.name == variable)
            return {"type": "increment", "params": {"variable": variable, "highest": highest}}
        case _:
            params = {each.name: _plain(getattr(action, each.name)) for each in fields(action)}
            made: dict[str, Any] = {"type": type(action).__name__}
            return made | {"params": params} if params else made


def javascript(guard: str) -> str:
    """A guard as an expression over XState's ``context``."""
    return render(guard, conjunction="&&", disjunction="||", negation="!", prefix="context.")


def delayed(chart: Chart, timers: Timers) -> frozenset[Timer]:
    """The timers that are delayed transitions in this form."""
    if timers == "events":
        return frozenset()
    return frozenset(chart.timers) - {on.keep for on in chart.transitions}


def _transition(chart: Chart, on: On, written_at: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if on.to is not None:
        made["target"] = f"#{on.to}"
        if on.to == written_at:
            made["reenter"] = True
    if on.source != written_at:
        made["guard"] = f"in {on.source}" + (f" and ({on.when})" if on.when else "")
    elif on.when:
        made["guard"] = on.when
    if on.actions:
        made["actions"] = [action_object(chart, action) for action in on.actions]
    return made


def _timeouts(chart: Chart, owner: State) -> list[On]:
    """The transitions that answer the timer of ``owner``, innermost first."""
    assert owner.timer is not None
    depth = {state.id: len(chart.path(state.id)) for state in owner.walk()}
    found = [
        on for on in chart.transitions if on.event == owner.timer.expired and on.source in depth
    ]
    return sorted(found, key=lambda on: -depth[on.source])


def milliseconds(timer: Timer) -> int:
    """The default duration in XState's unit."""
    return round(timer.seconds * 1000)


def _state(chart: Chart, state: State, timers: Timers) -> dict[str, Any]:
    made: dict[str, Any] = {"id": state.id, "description": state.name}
    if state.parallel:
        made["type"] = "parallel"
    elif state.children:
        made["initial"] = state.children[0].id
    is_delayed = state.timer in delayed(chart, timers)
    entry = state.enter if is_delayed else state.entry_actions
    leave = state.exit if is_delayed else state.exit_actions
    if entry:
        made["entry"] = [action_object(chart, action) for action in entry]
    if leave:
        made["exit"] = [action_object(chart, action) for action in leave]
    if state.timer and is_delayed:
        answers = [_transition(chart, on, state.id) for on in _timeouts(chart, state)]
        made["after"] = {str(milliseconds(state.timer)): answers}
    hidden = {timer.expired for timer in delayed(chart, timers)}
    by_event: dict[str | None, list[dict[str, Any]]] = {}
    for on in chart.transitions:
        if on.source == state.id and on.event not in hidden:
            by_event.setdefault(on.event, []).append(_transition(chart, on, state.id))
    if always := by_event.pop(None, None):
        made["always"] = always
    if by_event:
        made["on"] = by_event
    if state.children:
        made["states"] = {child.id: _state(chart, child, timers) for child in state.children}
    return made


def machine_config(
    chart: Chart,
    timers: Timers = "events",
    parameters: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The argument of XState's ``createMachine``, as plain data; delays are in milliseconds.

    The context holds the variables, all 0, and the parameters. Raises what ``Machine`` raises for a
    chart or a parameter that it refuses.
    """
    machine = Machine(chart, **(parameters or {}))
    config: dict[str, Any] = {"id": chart.id, "description": chart.title}
    config["meta"] = {"source": source(chart)}
    if values := dict.fromkeys(machine.highest, 0) | machine.parameters:
        config["context"] = values
    config["initial"] = chart.states[0].id
    config["states"] = {state.id: _state(chart, state, timers) for state in chart.states}
    return config


def guards(chart: Chart) -> dict[str, str]:
    """Every guard of the chart, and the same in JavaScript."""
    return {on.when: javascript(on.when) for on in chart.transitions if on.when}


def inner_guards(chart: Chart) -> dict[str, tuple[str, str]]:
    """The guards that only the form with ``after`` has: name to (state, more JavaScript)."""
    found: dict[str, tuple[str, str]] = {}
    for owner in chart.walk():
        if owner.timer in delayed(chart, "after"):
            for on in _timeouts(chart, owner):
                if on.source != owner.id:
                    name = str(_transition(chart, on, owner.id)["guard"])
                    found[name] = (on.source, javascript(on.when) if on.when else "")
    return found


def compact(value: object, indent: int = 0, before: int = 0) -> str:
    """JSON text that puts a value on one line if it fits there after ``before`` characters."""
    line = json.dumps(value)
    if indent + before + len(line) < _WIDTH:
        return line
    inner = indent + 2
    match value:
        case dict():
            keys = [f"{json.dumps(key)}: " for key in value]
            rows = [
                key + compact(each, inner, len(key))
                for key, each in zip(keys, value.values(), strict=True)
            ]
        case list():
            rows = [compact(each, inner) for each in value]
        case _:
            return line
    margin = "\n" + " " * inner
    first, last = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return f"{first}{margin}{f',{margin}'.join(rows)}\n{' ' * indent}{last}"


def to_json(chart: Chart, timers: Timers = "after") -> str:
    """The configuration as JSON text, for Stately's tools. Raises ``ChartError``."""
    return compact(machine_config(chart, timers)) + "\n"

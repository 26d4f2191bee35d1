"""Rules about the declaration as such: its shape, and the names in it.

python-statemachine makes every id an attribute: of the machine, of the state above it, or of the
model. A name that means something there already breaks it, mostly without a message.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterator

from statemachine import State as NativeState
from statemachine import StateChart

from statecharts.declare import Chart, On, State

from .lookup import Finding, Rule

_TUPLES: dict[type, tuple[str, ...]] = {
    Chart: (
        "states",
        "transitions",
        "received",
        "local",
        "reported",
        "total_in",
        "gated",
        "variables",
        "parameters",
    ),
    State: ("children", "enter", "exit"),
    On: ("do",),
}
_WORD = re.compile(r"[a-z][a-z0-9_]*")

# Attributes of a machine that the library's base class does not have yet, and the names that are
# injected into callbacks.
_OF_INSTANCES = frozenset(
    "args error event event_data final_states history_values initial_state kwargs machine model "
    "new_configuration previous_configuration source start_configuration_values state state_field "
    "target transition".split()
)
# Attributes of the kit's model beside the variables; "v" is an operator of the library's guards.
_OF_MODEL = frozenset("active effects highest perform state take taken v".split())
_OF_STATES = frozenset(dir(NativeState()))
_CONVENTIONS = ("on_", "before_", "after_", "prepare_")


def _shape(chart: Chart) -> Iterator[Finding]:
    """A missing comma makes a word or an object of what should be a tuple."""
    waiting: list[object] = [chart]
    while waiting:
        part = waiting.pop()
        for name in _TUPLES.get(type(part), ()):
            value: object = getattr(part, name)
            if isinstance(value, tuple):
                waiting += value
                continue
            match part:
                case State(id):
                    place = f"state {id}"
                case On():
                    place = f"transition {part}"
                case _:
                    place = "the chart"
            yield place, f"{name}={value!r} is not a tuple", "write (..., ) with its comma"


def _states(chart: Chart) -> Iterator[Finding]:
    if not chart.states:
        yield "the chart", "it has no states", "declare at least one"
    for id, times in Counter(state.id for state in chart.walk()).items():
        if times > 1:
            yield f"state {id}", "its id is used twice", "ids are unique over the whole chart"
    for state in chart.walk():
        if state.parallel and len(state.children) < 2:
            yield f"state {state.id}", "a parallel state needs two regions", "add one or drop it"


def _timers(chart: Chart) -> Iterator[Finding]:
    for id, times in Counter(timer.id for timer in chart.timers).items():
        if times > 1:
            yield f"timer {id}", "two timers have this id", "give each timer an id of its own"
    for timer in chart.timers:
        if not 0 < timer.lowest <= timer.seconds <= timer.highest < float("inf"):
            yield (
                f"timer {timer.id}",
                f"{timer.seconds} s is not in {timer.lowest}..{timer.highest} s above 0",
                "give a positive range that holds the default",
            )


def _names(chart: Chart) -> Iterator[Finding]:
    declared = (*chart.received, *chart.local, *chart.reported)
    expiries = dict.fromkeys(timer.expired for timer in chart.timers)
    kinds = {
        "chart": [chart.id],
        "state": list(dict.fromkeys(state.id for state in chart.walk())),
        "event": [*declared, *expiries],
        "variable": [each.name for each in chart.variables],
        "parameter": [each.name for each in chart.parameters],
    }
    used_by: dict[str, str] = {}
    for kind, names in kinds.items():
        for name, times in Counter(names).items():
            place = f"{kind} {name}"
            if _WORD.fullmatch(name) is None or keyword.iskeyword(name):
                yield place, "its name is not a lower-case identifier", "use words_with_underscores"
            elif kind != "chart" and _is_taken(kind, name):
                yield place, "the library uses this name itself", "choose another"
            elif kind != "chart" and name.startswith(_CONVENTIONS):
                yield place, "the library calls methods of such names", "choose another"
            if times > 1:
                remedy = "declare it once"
                if name in expiries:
                    remedy = "the end of a timer needs no declaration"
                yield place, "it is declared twice", remedy
            if kind != "chart" and (other := used_by.setdefault(name, kind)) != kind:
                yield place, f"a {other} has the same name", "rename one"


def _is_taken(kind: str, name: str) -> bool:
    own = {"state": _OF_STATES, "variable": _OF_MODEL, "parameter": _OF_MODEL}
    attributes = own.get(kind, frozenset())
    return hasattr(StateChart, name) or name in _OF_INSTANCES or name in attributes


SHAPE: tuple[Rule, ...] = (_shape,)
RULES: tuple[Rule, ...] = (_states, _timers, _names)

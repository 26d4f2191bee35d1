"""Rules about the names in a declaration, and about each state and timer by itself.

python-statemachine makes every id an attribute of the machine, of the state above it, or of the
model. A name that already has a meaning there breaks it, most often without a message.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterator

from statemachine import State as NativeState
from statemachine import StateChart

from statecharts.declare import ADOPTED, Chart

from .lookup import Finding, Rule

_WORD = re.compile(r"[a-z][a-z0-9_]*")

# Attributes that a machine has and the library's base class does not, and the names of arguments
# that the library gives to callbacks.
_OF_INSTANCES = frozenset(
    "args error event event_data final_states history_values initial_state kwargs machine model "
    "new_configuration previous_configuration source start_configuration_values state state_field "
    "target transition".split()
) | {ADOPTED}
# Attributes of the kit's model besides the variables; "v" is an operator in the library's guards.
_OF_MODEL = frozenset("active asked effects highest perform state take taken v".split())
_OF_STATES = frozenset(dir(NativeState()))
_CONVENTIONS = ("on_", "before_", "after_", "prepare_")


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
            if kind == "event" and name.endswith("_expired") and name not in expiries:
                yield place, "no timer has this end", "give a state the timer, or choose another"
            if times > 1:
                remedy = "declare it once"
                if name in expiries:
                    remedy = "the end of a timer needs no declaration"
                yield place, "it is declared twice", remedy
            if kind != "chart" and (other := used_by.setdefault(name, kind)) != kind:
                article = "an" if other == "event" else "a"
                yield place, f"{article} {other} has the same name", "rename one"


def _events(chart: Chart) -> Iterator[Finding]:
    declared = frozenset(chart.events)
    for on in chart.transitions:
        if on.event is not None and on.event not in declared and not _WORD.fullmatch(on.event):
            yield (
                f"transition {on}",
                f"{on.event!r} is not the name of one event",
                "write one On for each event: no wildcards, no lists, no delays",
            )


def _is_taken(kind: str, name: str) -> bool:
    own = {"state": _OF_STATES, "variable": _OF_MODEL, "parameter": _OF_MODEL}
    attributes = own.get(kind, frozenset())
    return hasattr(StateChart, name) or name in _OF_INSTANCES or name in attributes


RULES: tuple[Rule, ...] = (_states, _timers, _names, _events)

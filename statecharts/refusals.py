"""Refuses, in a sentence, mistakes that are made before there is a chart for lint to read.

There are two kinds: an argument that a part of a chart does not have (``State(final=True)``), most
often a word of another tool; and an object of the wrong kind (a machine in place of a chart).
"""

from __future__ import annotations

import sys
from dataclasses import Field
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Self

_HERE = str(Path(__file__).parent)
_SHORT = 80

_TIME = 'time belongs to a state: State(timer=T7), and when it runs out, "t7_expired" comes'
_GUARD = 'a guard is text: when="failures >= threshold"'
_ACTIONS = "what is asked for stands in do=(effect, ...)"
_FIRST = "what stands first is initial (in a chart, in a state), and a variable starts at 0"

# Words of other tools, or of this one at the wrong place, and what to write instead.
_INSTEAD = {
    "action": _ACTIONS,
    "actions": _ACTIONS,
    "after": _TIME,
    "always": "an On whose event is None is taken at once",
    "before": _ACTIONS,
    "cond": _GUARD,
    "context": "declare variables=(Variable(name, highest), ...)",
    "deep": "there is no history: have a state or a variable for what is to be remembered",
    "delay": _TIME,
    "effects": _ACTIONS,
    "entry": "what is asked for on entry stands in enter=(effect, ...)",
    "events": "an event is received, local or reported: name it there",
    "external": "to=None stays, to=source exits and enters again",
    "final": "there are no final states, which would stop the chart for good: "
    "use a state without transitions, and name it in ends=",
    "guard": _GUARD,
    "history": "there is no history: have a state or a variable for what is to be remembered",
    "initial": _FIRST,
    "internal": "to=None stays, to=source exits and enters again",
    "invoke": "have an effect that asks for it, and events that report how it went",
    "name": "id= is its name in the chart; what people read is label= or title=",
    "on": "transitions stand in the chart: On(event, source, to=...)",
    "on_entry": "what is asked for on entry stands in enter=(effect, ...)",
    "on_exit": "what is asked for on exit stands in exit=(effect, ...)",
    "reenter": "to=None stays, to=source exits and enters again",
    "start": _FIRST,
    "start_value": "a snapshot is where a chart goes on: machine.snapshot(states, values)",
    "states": "the states inside a state are its children=(State(...), ...)",
    "target": "where it leads is to=",
    "timers": "a timer stands in the state in which it runs: State(timer=T7)",
    "type": "parallel=True makes regions of the children, which alone make a state compound",
    "unless": _GUARD,
    "validators": _GUARD,
}

# How to get the wanted object, by the name of its class.
_MADE = {
    "Chart": "declare one; a machine has it as .chart, a system several as .charts",
    "Graph": "Graph(model) makes one",
    "Machine": "Machine(chart) makes one",
    "Mapping": "name each machine by its chart: {chart.id: machine}",
    "Model": "alone(machine) makes one of a machine, Alone(router, outside) one of a system",
    "Outside": "TimersOnly(*chart.events) is the simplest",
    "Router": "Router(system) makes one",
    "Snapshot": "a machine has .initial, a step has .snapshot, machine.snapshot(...) makes others",
    "Subject": "it has restart(), take(event) and leaves(), as MachineSubject has",
    "System": "System(...) joins charts",
    "SystemSnapshot": "a router has .initial, a step of it has .snapshot",
    "Trace": "graph.trace(state) makes one, a verdict and an error have one",
}


def _cut(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."


def short(value: object) -> str:
    """A value as it is written in code, cut when it is too long for a message."""
    return _cut(repr(value))


def calling_frame() -> FrameType:
    """The frame that declares something: the nearest one outside this folder and dataclasses."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename == "<string>"
        or str(Path(frame.f_code.co_filename).parent) == _HERE
    ):
        frame = frame.f_back
    return frame


class Part:
    """The base of all parts of a chart. Raises ``TypeError`` for an argument it does not have."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __new__(cls, *given: object, **named: object) -> Self:
        for word in named:
            if word not in cls.__dataclass_fields__:
                frame = calling_frame()
                written = [*map(repr, given), *(f"{each}={named[each]!r}" for each in named)]
                remedy = _INSTEAD.get(word, f"it has {', '.join(cls.__dataclass_fields__)}")
                raise TypeError(
                    f"{frame.f_code.co_filename}:{frame.f_lineno}: "
                    f"{cls.__name__}({_cut(', '.join(written))}) has no {word!r}; {remedy}"
                )
        return object.__new__(cls)


def expect(given: object, *wanted: type) -> None:
    """Raise ``TypeError`` when ``given`` is none of ``wanted``; it says how to make one."""
    if not isinstance(given, wanted):
        names = [each.__name__ for each in wanted]
        what = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
        raise TypeError(
            f"wanted is {' or '.join(names)}, given is {what}; "
            f"{'; '.join(_MADE[name] for name in names)}"
        )

"""What a tool sends without being asked and without a rule in its file: alarms and events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hsms_engine.fake.model import Model
from hsms_engine.fake.rules.rule import Every, Rule
from hsms_engine.fake.rules.steps import SendEvent, SetAlarm, Span, Wait

# The shortest and the longest time between two, in seconds.
_LOWEST: Final = 0.001
_HIGHEST: Final = 86_400.0


def emissions(model: Model, alarms: float | None, events: float | None) -> Iterator[Rule]:
    """The rules that send S5F1 and S6F11 so often, in seconds; None for none.

    The first alarm of the model is set and cleared in turn, and its first event happens. Raises
    ``ValueError`` for seconds out of range, and for a model that has none.
    """
    if alarms is not None:
        _check("alarms", alarms, bool(model.alarms))
        alid = next(iter(model.alarms))
        wait = Span(alarms, alarms)
        steps = (SetAlarm(alid, True), Wait(wait), SetAlarm(alid, False))
        yield Rule("alarms", Every(Span(2 * alarms, 2 * alarms)), steps=steps)
    if events is not None:
        _check("events", events, bool(model.events))
        steps_of_event = (SendEvent(next(iter(model.events))),)
        yield Rule("events", Every(Span(events, events)), steps=steps_of_event)


def _check(name: str, seconds: float, has_one: bool) -> None:
    if not _LOWEST <= seconds <= _HIGHEST:
        raise ValueError(f"{name}={seconds!r} is not in {_LOWEST:g}..{_HIGHEST:g} s")
    if not has_one:
        raise ValueError(f"{name}={seconds:g}: the tool has no {name.removesuffix('s')} to send")

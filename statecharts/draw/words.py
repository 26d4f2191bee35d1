"""The words of a picture: events, timers and effects as a reader of the standard would say them.

* ``t7_expired`` reads ``after T7 = 10 s``: the timer's label and its default.
* A message that the chart's own effects spell (``Select.rsp 0``) is spelt so in events as well:
  ``select_req_received`` reads ``Select.req``. All else is the event's name in words.
* A received event drops ``received`` and a call drops ``requested``: their typeface says it.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache

from statecharts.declare import Action, Chart, Effect, Timer

_MESSAGE = re.compile(
    r"(?P<before>(?:\w+_)?)(?P<stem>[a-z]+)_(?P<kind>req|rsp)(?P<after>(?:_\w+)?)"
)


class Side(Enum):
    """Where an event comes from, and the typeface that says so."""

    RECEIVED = "received from the peer"
    LOCAL = "called by the user"
    REPORTED = "reported by the driver or another chart"
    TIMER = "end of a timer"
    AT_ONCE = "at once"


def side(chart: Chart, event: str | None) -> Side:
    """The side an event comes from."""
    if event is None:
        return Side.AT_ONCE
    if event in chart.received:
        return Side.RECEIVED
    if event in chart.local:
        return Side.LOCAL
    return Side.REPORTED if event in chart.reported else Side.TIMER


@cache
def _stems(chart: Chart) -> frozenset[str]:
    """The first words of the messages that the chart's effects name: ``select`` of Select.req."""
    lists = [(*state.enter, *state.exit) for state in chart.walk()]
    return frozenset(
        stem.lower()
        for actions in (*lists, *(on.do for on in chart.transitions))
        for action in actions
        if isinstance(action, Effect)
        for stem in re.findall(r"([A-Z][a-z]+)\.(?:req|rsp)", str(action))
    )


def timer_words(timer: Timer) -> str:
    """``T7 = 10 s``."""
    return f"{timer.label} = {timer.seconds:g} s"


def event_words(chart: Chart, event: str | None) -> str:
    """An event as plain text."""
    for timer in chart.timers:
        if event == timer.expired:
            return f"after {timer_words(timer)}"
    match side(chart, event), event:
        case Side.RECEIVED, str(name):
            name = name.removesuffix("_received")
            found = _MESSAGE.fullmatch(name)
            if found and found["stem"] in _stems(chart):
                message = f"{found['stem'].capitalize()}.{found['kind']}"
                return f"{found['before']}{message}{found['after']}".replace("_", " ")
            return name.replace("_", " ")
        case Side.LOCAL, str(name):
            return name.removesuffix("_requested").replace("_", " ")
        case _, str(name):
            return name.replace("_", " ")
        case _:
            return "at once"


def typeface(chart: Chart, event: str | None) -> str:
    """The tag of the typeface that says which side an event comes from; empty for the plain one."""
    match side(chart, event):
        case Side.LOCAL:
            return "B"
        case Side.REPORTED | Side.AT_ONCE:
            return "I"
        case _:
            return ""


def action_words(action: Action) -> str:
    """An effect or an assignment as plain text; empty parentheses say nothing."""
    return str(action).removesuffix("()")

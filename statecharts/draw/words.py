"""The words of a picture: what it says for the ids of a chart.

A user of the kit may give other words (``Words``). An id without such words is written like this:
``carrier_arrived`` reads ``carrier arrived``, ``t7_expired`` reads ``after T7``, and a ``Tell``
reads ``tell carrier arrived``. ``_received`` and ``_requested`` are not written, because the
typeface already shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from statecharts.declare import Action, Chart, Effect, Increment, Keep, Set, Tell, Timer


def typeface(chart: Chart, event: str | None) -> str:
    """The tag of the typeface that says where an event comes from; empty for the plain one.

    An event of the peer or of a timer is plain, a call is bold; a report, and a transition that is
    taken at once, are slanted.
    """
    if event in chart.local:
        return "B"
    return "I" if event is None or event in chart.reported else ""


def timer_words(timer: Timer) -> str:
    """``T7 = 10 s``."""
    return f"{timer.label} = {timer.seconds:g} s"


def plain(text: str) -> str:
    """A guard or a name as people read it: ``misses \N{GREATER-THAN OR EQUAL TO} threshold``."""
    signs = {
        ">=": "\N{GREATER-THAN OR EQUAL TO}",
        "<=": "\N{LESS-THAN OR EQUAL TO}",
        "!=": "\N{NOT EQUAL TO}",
        "==": "=",
    }
    for written, read in signs.items():
        text = text.replace(written, read)
    return text.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Words:
    """What a picture says for events, for effects, and for groups of events."""

    events: Mapping[str, str] = field(default_factory=dict)
    effects: Mapping[Effect, str] = field(default_factory=dict)
    together: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def event(self, chart: Chart, event: str | None) -> str:
        """An event of ``chart`` as plain text."""
        if event is None:
            return "at once"
        if event in self.events:
            return self.events[event]
        for timer in chart.timers:
            if event == timer.expired:
                return f"after {timer.label}"
        for ids, ending in ((chart.received, "_received"), (chart.local, "_requested")):
            if event in ids:
                event = event.removesuffix(ending)
        return plain(event)

    def action(self, action: Action) -> str:
        """An effect or an assignment as plain text, without empty parentheses."""
        match action:
            case Set() | Increment():
                return plain(str(action))
            case Keep(timer):
                return f"{timer.label} runs on"
            case Tell(event):
                return f"tell {self.events.get(event, plain(event))}"
            case _:
                return self.effects.get(action, str(action).removesuffix("()"))


PLAIN = Words()

"""Names of states and events in claims, each checked: one that no chart has is an error.

A claim about a misspelt state would be a comparison that is never true, and so might be "held".
"""

from __future__ import annotations

from collections.abc import Iterable

from statecharts.hsms.systems import CHARTS
from statecharts.router import SystemSnapshot

STATES = frozenset(state.id for chart in CHARTS for state in chart.walk())
VARIABLES = frozenset(variable.name for chart in CHARTS for variable in chart.variables)
EVENTS = frozenset(event for chart in CHARTS for event in chart.events)
TIMERS = frozenset(timer.id for chart in CHARTS for timer in chart.timers)


def known(names: Iterable[str], among: frozenset[str]) -> frozenset[str]:
    """The names. Raises ``KeyError`` when one of them is not among those that there are."""
    given = frozenset(names)
    if not given <= among:
        raise KeyError(f"no chart has {' or '.join(sorted(given - among))}")
    return given


def events(*names: str) -> frozenset[str]:
    """These events. Raises ``KeyError`` when no chart has one of them."""
    return known(names, EVENTS)


def any_of(snapshot: SystemSnapshot, *states: str) -> bool:
    """Whether one of these states is active; a state of charts that are not here is not.

    Raises ``KeyError`` when no chart has one of them.
    """
    return not known(states, STATES).isdisjoint(snapshot.states)

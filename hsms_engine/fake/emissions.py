"""The primaries that a fake equipment sends: alarms (S5F1) and events (S6F11), on a timer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hsms_engine.message import Message
from hsms_engine.messages import S5F1, S6F11

Make = Callable[[int], Message]
Emission = tuple[float, Make]
"""The seconds between two messages, and a function for the n-th message, counted from 1."""

# The shortest and the longest time between two, in seconds.
_LOWEST: Final = 0.001
_HIGHEST: Final = 86_400.0
_ALARM_SET: Final = 0x81
_ALARM_CLEARED: Final = 0x01


def alarm(number: int) -> Message:
    """S5F1: alarm 1 is set by every odd number and cleared by every even one."""
    return S5F1(_ALARM_SET if number % 2 else _ALARM_CLEARED, 1, "fake alarm")


def event(number: int) -> Message:
    """S6F11: event 1 with one report that holds the number."""
    return S6F11(number, 1, {1: [number]})


def emissions(alarms: float | None, events: float | None) -> list[Emission]:
    """The emissions, each every so many seconds; None for none. Raises ``ValueError``."""
    chosen: list[Emission] = []
    for name, seconds, make in (("alarms", alarms, alarm), ("events", events, event)):
        if seconds is None:
            continue
        if not _LOWEST <= seconds <= _HIGHEST:
            raise ValueError(f"{name}={seconds!r} is not in {_LOWEST:g}..{_HIGHEST:g} s")
        chosen.append((seconds, make))
    return chosen

"""Records from what an engine tells: the head of a file, states, steps, events, settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import Final

from hsms_engine import __version__
from hsms_engine.errors import HsmsError
from hsms_engine.events import LinkEvent
from hsms_engine.message import Message
from hsms_engine.protocol.outputs import Step
from hsms_engine.recording.records import (
    LAYOUT,
    ChartState,
    EventRecord,
    HeadRecord,
    HopRecord,
    Json,
    StepRecord,
)
from hsms_engine.secs2.encodings import superset_of_ascii
from hsms_engine.settings import Settings
from statecharts import Snapshot
from statecharts.hsms import CHARTS, OWNED_ACTIVE, OWNED_LINK
from statecharts.saving import digest

# Passwords are in no recording.
_SECRET: Final = frozenset({"tls_key_password"})
# These are keys of every record.
_EVERYWHERE: Final = frozenset({"at", "epoch"})


# Of two charts with the same id, this one is for a link that a lease decides about.
_OWNED: Final = f"{OWNED_LINK.id}.{OWNED_ACTIVE.id}"


@cache
def our_charts() -> Mapping[str, str]:
    """The SHA-256 of each chart of this version, by its id."""
    return {**{chart.id: digest(chart) for chart in CHARTS}, _OWNED: digest(OWNED_ACTIVE)}


def head(at: float, wall: float, recording: str, part: int = 1) -> HeadRecord:
    """The first record of a file that this version of the engine writes."""
    return HeadRecord(at, wall, LAYOUT, __version__, our_charts(), part, recording)


def other_charts(head: HeadRecord) -> tuple[str, ...]:
    """The ids of the charts of a recording that are not those of this version, in order.

    Its steps can be read. What this version would do from the states they name may be another.
    """
    ours = our_charts()
    return tuple(id for id, written in sorted(head.charts.items()) if ours.get(id) != written)


def states_of(snapshots: Iterable[Snapshot]) -> dict[str, ChartState]:
    """Where the charts of these snapshots are, by their ids."""
    return {
        each.machine.chart.id: ChartState(each.leaves, each.machine.values(each))
        for each in snapshots
    }


def step_record(step: Step, wall: float, link: int, timers: Mapping[str, float]) -> StepRecord:
    """The record of a step. ``timers`` run after it, each until the time that is given."""
    hops = tuple(
        HopRecord(
            hop.chart,
            hop.event,
            hop.before.leaves,
            hop.after.leaves,
            hop.after.machine.values(hop.after),
        )
        for hop in step.hops
    )
    effects = tuple(map(str, step.effects))
    return StepRecord(step.at, wall, link, step.epoch, step.event, hops, effects, timers)


def event_record(event: LinkEvent, wall: float, link: int) -> EventRecord:
    """The record of an event. Of a message there is its name: its frame is a record of its own."""
    told = {
        each.name: _plain(getattr(event, each.name))
        for each in fields(event)
        if each.name not in _EVERYWHERE
    }
    return EventRecord(event.at, wall, link, event.epoch, type(event).__name__, told)


def plain_settings(settings: Settings, before: Settings | None = None) -> dict[str, Json]:
    """All settings, or those that are not as ``before``. Passwords are left out."""
    return {
        each.name: _plain(value)
        for each in fields(settings)
        if each.name not in _SECRET
        and (
            (value := getattr(settings, each.name)) != getattr(before, each.name, None)
            or before is None
        )
    }


def text_encoding_of(settings: Mapping[str, Json]) -> str | None:
    """The ``text_encoding`` of a link with these settings; None when it is none here."""
    match settings.get("text_encoding"):
        case str() as encoding:
            try:
                return superset_of_ascii(encoding)
            except ValueError:
                return None
        case _:
            return None


def _plain(value: object) -> Json:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case tuple():
            return [_plain(each) for each in value]
        case HsmsError():
            return {"error": type(value).__name__, "text": str(value)}
        case _:
            assert isinstance(value, Message)
            return f"S{value.stream}F{value.function}"

"""A model that lives: values, links, alarms, and what is sent of them. ``replies`` has its replies.

It is pure: no clock, no connection, no random number. A function gives the time, and what the tool
has to do beside the reply is told to another.

Invariants:

* It keeps only what differs from its model, which other tools may share.
* Off-line, no event and no alarm is sent.
* Whatever a host sends, what is kept for it is bounded (``bounds``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final, assert_never

from hsms_engine.fake.model.changes import (
    Change,
    Trace,
    TraceBegun,
    TraceOver,
    VariableChanged,
)
from hsms_engine.fake.model.declared import Model, Source
from hsms_engine.fake.model.ids import Id
from hsms_engine.fake.model.overlay import Overlay
from hsms_engine.fake.model.times import time_text
from hsms_engine.messages import S5F1, S6F1, S6F11
from hsms_engine.secs2 import U1, U4, A, Item, L, Plain
from hsms_engine.sml import shorten

__all__ = ["LiveModel"]

Clock = Callable[[], datetime]
"""The time of the tool's place; its zone, if it has one, is passed over."""

_HOST_OFF_LINE: Final = U1(3)
_ON_LINE_REMOTE: Final = U1(5)
_ALARM_SET: Final = 0x80
_HIGHEST_DATAID: Final = 0xFFFF_FFFF
# The longest value that is told, in characters.
_SHOWN: Final = 60


class LiveModel:
    """What a tool has, now.

    ``clock`` gives the time. ``told`` gets each :data:`~hsms_engine.fake.model.changes.Change`,
    when it has been made.

    Where a variable or an event is named, an id does, a number or a text, and a name too:
    ``LookupError`` says what there is.
    """

    __slots__ = (
        "_alarms_enabled",
        "_alarms_set",
        "_clock",
        "_dataid",
        "_events_enabled",
        "_is_online",
        "_told",
        "clock_ahead",
        "links",
        "model",
        "programs",
        "reports",
        "traces",
        "values",
        "version",
    )

    def __init__(
        self, model: Model, clock: Clock, told: Callable[[Change], None] | None = None
    ) -> None:
        self.model = model
        self._clock = clock
        self._told = told
        self._is_online = model.is_online
        self.values = Overlay(model.values)
        self._events_enabled = Overlay(model.events_enabled)
        self._alarms_enabled = Overlay(model.alarms_enabled)
        self.reports = Overlay(model.reported)
        self.links = Overlay(model.links)
        self.programs = Overlay(model.bodies)
        self.traces: dict[Id, Trace] = {}
        self._alarms_set: set[int] = set()
        # How far a host has set the clock ahead.
        self.clock_ahead = timedelta()
        self._dataid = 0
        # Counts whatever changes a value.
        self.version = 0

    # Variables

    def value(self, variable: Id) -> Item:
        """The present value of a variable or a constant."""
        return self.value_of(self.model.vid(variable))

    def value_of(self, vid: Id) -> Item:
        """The same, by an id that is known to be one."""
        source = self.model.variables[vid].source
        return self.values[vid] if source is None else self._sourced(source)

    def value_or_none(self, vid: Id | None) -> Item:
        """The same, and an empty list for what is no variable: so SEMI E5 says it."""
        return L() if vid is None else self.value_of(vid)

    def set(self, variable: Id, value: Item | Plain | int) -> None:
        """Give a variable a value: an item of its format, or plain Python that takes it.

        Raises ``ValueError`` for a value that it may not have, and for a variable that gets its
        value from elsewhere. Then nothing is changed.
        """
        vid = self.model.vid(variable)
        declared = self.model.variables[vid]
        if declared.source is not None:
            raise ValueError(f"{declared} has source {declared.source!r}: it cannot be set")
        self.put(vid, declared.fit(value, self.model.text_encoding))

    def add(self, variable: Id, number: float) -> None:
        """Add to a variable of one number. Raises as ``set`` does."""
        value = self.value(variable).to_python()
        if isinstance(value, bool) or not isinstance(value, int | float):
            vid = self.model.vid(variable)
            raise ValueError(f"{self.model.variables[vid]} is not one number: nothing can be added")
        self.set(variable, value + number)

    def put(self, vid: Id, item: Item) -> None:
        """Give a variable a value that is known to fit."""
        if item != self.values[vid]:
            self.values.put(vid, item)
            self._changed(vid)

    def _changed(self, vid: Id) -> None:
        self.version += 1
        if self._told is not None:
            self._told(VariableChanged(vid))

    def _sourced(self, source: Source) -> Item:
        match source:
            case "clock":
                return A(self.time())
            case "control":
                return _ON_LINE_REMOTE if self._is_online else _HOST_OFF_LINE
            case "alarms-set":
                alarms = self.model.alarms
                return L(*[self.model.alarm_item(each) for each in alarms if self.is_set(each)])
            case "events-enabled":
                events = self._events_enabled
                return L(*[self.model.id_item(each) for each, on in events.items() if on])
            case _:
                assert_never(source)

    def _source_changed(self, source: Source) -> None:
        for vid in self.model.sources[source]:
            self._changed(vid)

    # Control and clock

    @property
    def is_online(self) -> bool:
        """Whether the tool is on-line. Off-line it answers two primaries, and sends none."""
        return self._is_online

    def go(self, *, online: bool) -> None:
        """Go on-line, or off-line."""
        if online != self._is_online:
            self._is_online = online
            self._source_changed("control")

    def time(self) -> str:
        """The time of the tool's clock: the 16 digits ``YYYYMMDDhhmmsscc``."""
        return time_text(self._now() + self.clock_ahead)

    def set_clock(self, time: datetime) -> None:
        """From now on the tool's clock counts from ``time``."""
        self.clock_ahead = time - self._now()

    def _now(self) -> datetime:
        # The clock of a tool shows the time of its place, and knows no zone.
        return self._clock().replace(tzinfo=None)

    # Events and reports

    def enable_events(self, ceids: Iterable[Id], *, enabled: bool) -> None:
        """Enable or disable events, by ids that are known."""
        for each in ceids:
            self._events_enabled.put(each, enabled)
        self._source_changed("events-enabled")

    def report(self, event: Id) -> S6F11 | None:
        """S6F11 of an event with the reports linked to it.

        None: the event is disabled, or the tool is off-line.
        """
        ceid = self.model.ceid(event)
        if not self._is_online or not self._events_enabled[ceid]:
            return None
        return S6F11(
            self.next_dataid(),
            self.model.id_item(ceid),
            self.linked(ceid),
            text_encoding=self.model.text_encoding,
        )

    def linked(self, ceid: Id) -> list[tuple[Item, list[Item]]]:
        """The reports of an event: id and values."""
        item = self.model.id_item
        return [(item(each), self.reported(each)) for each in self.links[ceid]]

    def reported(self, rptid: Id) -> list[Item]:
        """The present values of a report."""
        return [self.value_of(each) for each in self.reports[rptid]]

    def next_dataid(self) -> Item:
        """A number for data that is sent."""
        self._dataid = self._dataid % _HIGHEST_DATAID + 1
        return U4(self._dataid)

    # Alarms

    def is_set(self, alid: int) -> bool:
        """Whether an alarm is set."""
        return alid in self._alarms_set

    def is_alarm_enabled(self, alid: int) -> bool:
        """Whether S5F1 is sent of an alarm."""
        return self._alarms_enabled[alid]

    def enable_alarms(self, alids: Iterable[int], *, enabled: bool) -> None:
        """Enable or disable alarms, by ids that are known."""
        for each in alids:
            self._alarms_enabled.put(each, enabled)

    def alarm(self, alarm: Id, is_set: bool) -> S5F1 | None:
        """Set or clear an alarm: S5F1 of it, also when it is so already.

        None: the alarm is disabled, or the tool is off-line.
        """
        alid = self.model.alid(alarm)
        if is_set != self.is_set(alid):
            (self._alarms_set.add if is_set else self._alarms_set.discard)(alid)
            self._source_changed("alarms-set")
        if not self._is_online or not self._alarms_enabled[alid]:
            return None
        text = self.model.alarms[alid].text
        encoding = self.model.text_encoding
        return S5F1(
            self.alarm_code(alid), self.model.alarm_item(alid), text, text_encoding=encoding
        )

    def alarm_code(self, alid: int) -> int:
        """ALCD of an alarm: its category, and whether it is set."""
        return self.model.alarms[alid].category | (_ALARM_SET if self.is_set(alid) else 0)

    # Traces

    def begin_trace(self, trace: Trace) -> None:
        """Begin a trace; one of the same id is over."""
        self.traces[trace.id] = trace
        if self._told is not None:
            self._told(TraceBegun(trace))

    def end_trace(self, trid: Id) -> None:
        """End a trace, if there is such a one."""
        if self.traces.pop(trid, None) is not None and self._told is not None:
            self._told(TraceOver(trid))

    def sample(self, trace: Trace) -> list[Item]:
        """The present values of what a trace reads; an empty list for what is gone."""
        known = self.model.variables
        return [self.value_or_none(each if each in known else None) for each in trace.variables]

    def traced(self, trace: Trace, number: int, values: Iterable[Item]) -> S6F1:
        """S6F1 of the samples up to ``number``, counted from 1. After the last one it is over."""
        if number >= trace.total and self.traces.get(trace.id) is trace:
            del self.traces[trace.id]
        return S6F1(trace.item, number, self.time(), [*values])

    # Another model

    def adopt(self, model: Model) -> list[tuple[str, str]]:
        """Be a tool of another model, as after its file has changed.

        What has changed since the beginning is kept, as far as the new model has it and allows it.
        Returns what is not, and why.
        """
        self.model = model
        lost: list[tuple[str, str]] = []

        def tell(what: str, keys: Iterable[object], why: str) -> None:
            lost.extend((f"{what} {each}", why) for each in keys)

        def value_fits(vid: Id, value: Item) -> bool:
            what = f"value {shorten(value, _SHOWN)} of {vid}"
            declared = model.variables.get(vid)
            if declared is None:
                lost.append((what, "the new model has no such variable"))
                return False
            if declared.source is not None:
                lost.append((what, f"{declared} has source {declared.source!r} now"))
                return False
            try:
                declared.fit(value)
            except ValueError as error:
                lost.append((what, f"in the new model {error}"))
                return False
            return True

        def report_fits(rptid: Id, vids: tuple[Id, ...]) -> bool:
            return model.writes(rptid) and all(each in model.variables for each in vids)

        def links_fit(ceid: Id, rptids: tuple[Id, ...]) -> bool:
            return ceid in model.events and all(each in self.reports for each in rptids)

        self.values.rebase(model.values, value_fits)
        reports = self.reports.rebase(model.reported, report_fits)
        why = "the new model has not all of its variables, or cannot write its id"
        tell("report", reports, why)
        links = self.links.rebase(model.links, links_fit)
        for ceid, rptids in [*self.links.items()]:
            # A report that a host has deleted may be linked in the new model.
            present = tuple([each for each in rptids if each in self.reports])
            if present != rptids:
                self.links.put(ceid, present)
        tell("links of event", links, "the new model has no such event or report")
        events = self._events_enabled.rebase(
            model.events_enabled, lambda ceid, _: ceid in model.events
        )
        tell("event", events, "the new model does not have it")
        alarms = self._alarms_enabled.rebase(
            model.alarms_enabled, lambda alid, _: alid in model.alarms
        )
        alarms += [each for each in self._alarms_set if each not in model.alarms]
        self._alarms_set.intersection_update(model.alarms)
        tell("alarm", sorted(set(alarms)), "the new model does not have it")
        self.programs.rebase(model.bodies, lambda _name, _body: True)
        self.version += 1
        return lost

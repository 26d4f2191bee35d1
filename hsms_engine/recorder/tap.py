"""What follows one link and puts what it tells into a queue, in the thread of its event loop.

A short message becomes a line here, because that costs less than to hand it over. All else, a long
body and the steps of the charts, becomes lines in the thread of the recorder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from time import time
from typing import Final, NamedTuple, Protocol, TypeAlias

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.errors import DefectError, TransactionError
from hsms_engine.events import Closed, LinkEvent
from hsms_engine.message import Message
from hsms_engine.protocol.leasing import Ownership
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.traffic import FRAME_BYTES, Traffic
from hsms_engine.recorder.queue import Item
from hsms_engine.recording import (
    ErrorRecord,
    GoneRecord,
    LinkRecord,
    OwnerRecord,
    Record,
    SettingsRecord,
    event_record,
    frame_line,
    line_of,
    plain_settings,
    states_of,
    step_record,
)
from hsms_engine.settings import Settings
from statecharts import SystemSnapshot
from statecharts.hsms.passive import PASSIVE

Mask: TypeAlias = Callable[[Message], bytes | None]
"""What is recorded as the body of a message; None: no body. It is called in the event loop."""

# Bytes of a body above which the thread makes its line.
_SHORT: Final = 4_096
# Bytes of a long body that become text at once: so the event loop soon has its turn again.
_SLICE: Final = 32_768
# About what a line takes beside its body, and the line of a step.
_FRAME_LINE: Final = 320
_STEP_LINE: Final = 1_024
_QUOTED_END: Final = 3


class Sink(Protocol):
    """Where the lines of a link go."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is taken any more."""

    def put(self, item: Item, size: int) -> None:
        """Take a line, or what makes one, of about ``size`` bytes. It waits for nothing."""


class Now(NamedTuple):
    """What a link is after its latest step. Replaced as a whole, because the thread reads it."""

    at: float
    wall: float
    epoch: int
    peer: str
    settings: Settings
    states: SystemSnapshot
    timers: dict[str, float]
    ownership: OwnerRecord | None = None


class Tap:
    """Follows one driver, from ``attach`` until its link is closed or its sink is over."""

    __slots__ = (
        "_clock",
        "_driver",
        "_gone",
        "_is_ended",
        "_is_told",
        "_link",
        "_mask",
        "_now",
        "_server",
        "_settings",
        "_sink",
        "_wall",
    )

    def __init__(
        self,
        driver: Driver,
        link: int,
        sink: Sink,
        *,
        mask: Mask | None = None,
        server: str | None = None,
        gone: Callable[[int], object] = lambda _: None,
        wall: Callable[[], float] = time,
    ) -> None:
        """To be called in the event loop of ``driver``.

        ``gone(link)`` is called when the link is closed and all that it told is written. ``wall``
        gives the seconds since 1970.
        """
        self._driver = driver
        self._link = link
        self._sink = sink
        self._mask = mask
        self._is_ended = self._is_told = False
        self._clock = trio.lowlevel.current_clock().current_time
        self._server = server
        self._gone = gone
        self._wall = wall
        self._settings = driver.engine.settings
        self._now = self._look(self._clock())

    def attach(self) -> None:
        """Begin."""
        self._sink.put(partial(link_lines, self._now, self._link, self._server), _STEP_LINE)
        self._driver.recorders.append(self.stepped)
        self._driver.followers.append(self.happened)
        self._driver.failures += (self.failed,)
        self._driver.watchers.append(self.passed)
        self._driver.watch()

    def lines(self) -> Iterator[str]:
        """The record of the link as it is now, in any thread."""
        return link_lines(self._now, self._link, self._server)

    @property
    def now(self) -> Now:
        """What the link is after its latest step, in any thread."""
        return self._now

    @property
    def is_ended(self) -> bool:
        """Whether nothing more is told."""
        return self._is_ended

    # What the driver tells

    def passed(self, traffic: Traffic) -> None:
        """A message went over the wire."""
        if self._sink.is_over:
            self._detach()
            return
        header, message = traffic.header, traffic.message
        body, why = b"", None
        if message is None:
            if traffic.length > FRAME_BYTES:
                why = "not kept"
        elif self._mask is None:
            body = message.body
        else:
            body, why = self._masked(self._mask, message)
        line = partial(
            frame_line,
            traffic.at,
            self._wall(),
            self._link,
            traffic.epoch,
            traffic.sent,
            traffic.length,
            body=why,
            passed_over=traffic.passed_over,
            seconds=traffic.seconds,
            tolerated=[each.name for each in traffic.tolerated],
        )
        session_id, byte2, byte3, ptype, stype, system_bytes, _ = header
        start = f"{session_id:04x}{byte2:02x}{byte3:02x}{ptype:02x}{stype:02x}{system_bytes:08x}"
        if len(body) <= _SHORT:
            text = line(start + body.hex())
            self._sink.put(text, len(text))
        else:
            self._sink.put(partial(_sliced, line(start), body), 2 * len(body) + _FRAME_LINE)

    def stepped(self, step: Step) -> None:
        """The charts have made a step."""
        sink, engine = self._sink, self._driver.engine
        if sink.is_over:
            self._detach()
            return
        self._now = now = self._look(step.at)
        if engine.settings is not self._settings:
            changed = plain_settings(engine.settings, self._settings)
            self._settings = engine.settings
            self._put(SettingsRecord(step.at, now.wall, self._link, step.epoch, changed))
        sink.put(partial(_step_lines, step, now.wall, self._link, now.timers), _STEP_LINE)
        if engine.is_closed:
            self._end(step.at)

    def happened(self, event: LinkEvent) -> None:
        """The link has told an event."""
        if self._is_ended or self._sink.is_over:
            return
        self._put(event_record(event, self._wall(), self._link))
        match event:
            case Closed(error=DefectError()):
                # No step follows, because the charts have failed.
                self._end(event.at)
            case _:
                pass

    def failed(self, error: TransactionError) -> None:
        """A request has failed, and its connection stays."""
        epoch, name = self._driver.engine.epochs, type(error).__name__
        self._put(ErrorRecord(self._clock(), self._wall(), self._link, epoch, name, str(error)))

    # Inside

    def _look(self, at: float) -> Now:
        engine = self._driver.engine
        return Now(
            at,
            self._wall(),
            engine.epochs,
            engine.peer,
            engine.settings,
            engine.states,
            {} if engine.is_closed else engine.timers(),
            None if (found := engine.ownership) is None else _owner(found),
        )

    def _put(self, record: Record) -> None:
        line = line_of(record)
        self._sink.put(line, len(line))

    def _end(self, at: float) -> None:
        gone = GoneRecord(at, self._wall(), self._link, self._driver.engine.epochs)
        self._sink.put(partial(self._last_lines, gone), _FRAME_LINE)
        self._detach()

    def _last_lines(self, gone: GoneRecord) -> Iterator[str]:
        yield line_of(gone)
        self._gone(self._link)

    def _detach(self) -> None:
        """Follow no more, but for events: who is told of one must not take a follower away."""
        driver = self._driver
        self._is_ended = True
        driver.recorders[:] = [each for each in driver.recorders if each != self.stepped]
        driver.watchers[:] = [each for each in driver.watchers if each != self.passed]
        driver.failures = tuple(each for each in driver.failures if each != self.failed)
        driver.watch()

    def _masked(self, mask: Mask, message: Message) -> tuple[bytes, str | None]:
        try:
            masked = mask(message)
            if not isinstance(masked, bytes | None):
                raise TypeError(f"it returned {type(masked).__name__}, not bytes or None")
        except Exception as error:  # noqa: BLE001  # it is the user's, and may raise anything
            if not self._is_told:
                self._is_told = True
                text = "a mask of a recording raised, so bodies are left out: %s"
                self._driver.teller.say(logging.ERROR, text, repr(mask), error=error)
            masked = None
        if masked is None:
            return b"", "left out" if message.body else None
        return masked, None if masked == message.body else "masked"


def _sliced(line: str, body: bytes) -> Iterator[str]:
    """The pieces of a line whose value ends with a long body."""
    yield line[:-_QUOTED_END]
    for start in range(0, len(body), _SLICE):
        yield body[start : start + _SLICE].hex()
    yield line[-_QUOTED_END:]


def _owner(found: Ownership) -> OwnerRecord:
    return OwnerRecord(found.owner, found.lease_epoch)


def _step_lines(step: Step, wall: float, link: int, timers: dict[str, float]) -> Iterator[str]:
    yield line_of(step_record(step, wall, link, timers))


def link_lines(now: Now, link: int, server: str | None) -> Iterator[str]:
    """The record of a link as it was then."""
    yield line_of(
        LinkRecord(
            now.at,
            now.wall,
            link,
            now.epoch,
            now.settings.name,
            now.peer,
            "passive" if PASSIVE.id in now.states.charts else "active",
            plain_settings(now.settings),
            states_of(now.states.parts),
            now.timers,
            server,
            now.ownership,
        )
    )

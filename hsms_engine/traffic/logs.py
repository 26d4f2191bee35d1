"""The three logs of one link: its messages, its life, and the steps of its charts.

Nothing is formatted while a level is off. A record holds texts and numbers only, so a record that
is kept keeps no connection.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import assert_never

from hsms_engine import events
from hsms_engine.driver.driver import Driver
from hsms_engine.errors import AbortedError, HsmsError, TransactionError
from hsms_engine.events import LinkEvent
from hsms_engine.logs import LINK, Teller, escaped, hand_over, say
from hsms_engine.message import Message
from hsms_engine.protocol.outputs import Step
from hsms_engine.protocol.traffic import FOREIGN, NOT_ALLOWED, Traffic
from hsms_engine.settings import Settings
from hsms_engine.tolerances import DIRECTION
from hsms_engine.wire import CONTROL_SESSION_ID

_TRAFFIC = logging.getLogger("hsms_engine.traffic")
_CHARTS = logging.getLogger("hsms_engine.charts")

# The events of the charts that end a connection so that a person should look at it.
ALARMING = frozenset(
    {
        "communication_failed",
        "frame_deadline_expired",
        "linktest_failed",
        "t6_expired",
        "t6_linktest_expired",
        "t7_expired",
        "t8_expired",
        "write_deadline_expired",
        "write_timeout_expired",
    }
)
# One for all connections.
_WANTS_MESSAGES = partial(_TRAFFIC.isEnabledFor, logging.INFO)
_WANTS_STEPS = partial(_CHARTS.isEnabledFor, logging.DEBUG)
# The lines of one connection that say that it is selected, or not selected now.
_CHANGES = 20
# How many connections were left out before this one; None when it is left out too.
LeftOut = Callable[[], int | None]
REFUSED = "competing_select_req_received"


def write_logs(driver: Driver, left_out: LeftOut | None = None) -> None:
    """Write the logs of this driver from now on.

    ``left_out`` says whether its life is told before it is selected; without it, it is.
    """
    driver.observe(
        Logs(driver, left_out),
        wants_messages=_WANTS_MESSAGES,
        wants_steps=_WANTS_STEPS,
    )


class Logs:
    """Writes what one driver tells."""

    __slots__ = (
        "_changes",
        "_changes_epoch",
        "_driver",
        "_epoch",
        "_is_told",
        "_left_out",
        "_lines",
        "_name",
        "_own_name",
        "_peer",
        "_told",
    )

    def __init__(self, driver: Driver, left_out: LeftOut | None) -> None:
        self._driver = driver
        # Asked once, at the first line. Whether the lines before it is selected are written.
        self._left_out = left_out
        self._is_told = True
        # The lines of the step that is not told yet. Its event decides a level that is None.
        self._lines: list[tuple[int | None, str, tuple[str | float, ...]]] = []
        # The latest failure that was told.
        self._told: HsmsError | None = None
        # How often the latest connection was selected or not selected, and its number.
        self._changes = self._changes_epoch = 0
        # The peer of the latest message, the link's own name then, and both as lines have them.
        self._peer = self._own_name = self._name = ""
        # The connection that is told of.
        self._epoch = 0

    # Messages

    def passed(self, traffic: Traffic) -> None:
        """Log a message, and its body at DEBUG."""
        if traffic.first_of:
            self._epoch = traffic.epoch
            self._write_first(traffic)
        if _TRAFFIC.isEnabledFor(logging.INFO):
            self._write_traffic(traffic)

    def _write_first(self, traffic: Traffic) -> None:
        for each in traffic.tolerated:
            if each.name in traffic.first_of:
                self._say(
                    logging.INFO,
                    "%s was tolerated: %s (%s; only the first one of a connection is logged here)",
                    traffic.name,
                    each.deviation,
                    each.setting,
                )
        settings = self._driver.engine.settings
        session_id, why = traffic.header.session_id, traffic.passed_over
        if why not in traffic.first_of:
            return
        if why == NOT_ALLOWED:
            but = "its certificate may not use that"
        elif why == FOREIGN:
            session_id, but = settings.device_id(session_id), f"ours is {settings.session_id}"
            if session_id == settings.session_id | DIRECTION:
                but += " but for the direction bit: tolerate_direction_bit"
        else:
            but = f"that of a control message is {CONTROL_SESSION_ID}: tolerate_control_session_id"
        self._say(
            logging.WARNING,
            "%s has session id %s, and %s (only the first one of a connection is logged here)",
            traffic.name,
            session_id,
            but,
        )

    def _write_traffic(self, traffic: Traffic) -> None:
        settings = self._driver.engine.settings
        if traffic.peer is not self._peer or settings.name != self._own_name:
            self._peer, self._own_name = traffic.peer, settings.name
            self._name = escaped(self._driver.name)
        link, header = self._name, traffic.header
        seconds, why = traffic.seconds, traffic.passed_over
        name, direction, is_waiting = traffic.name, traffic.direction, traffic.is_waiting
        facts = {
            "link": link,
            "epoch": traffic.epoch,
            "direction": direction,
            "message_name": name,
            "wait": is_waiting,
            "session_id": header.session_id,
            "system_bytes": f"{header.system_bytes:08X}",
            "length": traffic.length,
            "seconds": seconds,
            "passed_over": why,
            "tolerated": ", ".join(each.name for each in traffic.tolerated),
        }
        values = (
            link,
            direction,
            name,
            " W" if is_waiting else "",
            header.session_id,
            header.system_bytes,
            traffic.length,
            "" if seconds is None else f" {seconds * 1_000:.1f} ms",
            "" if why is None else f", passed over: {why}",
            "".join(f", tolerated: {each.deviation}" for each in traffic.tolerated),
        )
        text = "%s %s %s%s session=%d system=%08X length=%d%s%s%s"
        hand_over(_TRAFFIC, logging.INFO, text, values, facts)
        message = traffic.message
        if message is None or not _TRAFFIC.isEnabledFor(logging.DEBUG) or not message.body:
            return
        for kind, shown in _texts(message, settings).items():
            parts = (link, direction, name, header.system_bytes, kind, escaped(shown))
            text = "%s %s %s system=%08X %s: %s"
            hand_over(_TRAFFIC, logging.DEBUG, text, parts, {**facts, kind: shown})

    # The life of the link, and its charts

    def failed(self, error: TransactionError) -> None:
        """Log a request that has failed. SxF0 is an answer that the peer may always give."""
        match error:
            case AbortedError():
                level = logging.INFO
            case _:
                level = logging.WARNING
        self._driver.teller.say(level, "%s", self._reason(error))

    def happened(self, event: LinkEvent) -> None:
        """Make the line of an event. It is logged when the step is known that it belongs to."""
        if not LINK.isEnabledFor(logging.WARNING):
            return
        self._epoch = event.epoch
        settings = self._driver.engine.settings
        match event:
            case events.Idle():
                self._lost("disabled")
            case events.Connecting(attempt=attempt):
                self._add(logging.INFO, "connecting, attempt %s", attempt)
            case events.Selecting(local="", remote=""):
                self._add(logging.INFO, "selecting: TCP is open (T6 = %g s)", settings.t6)
            case events.Selecting(local=local, remote=remote):
                text = "selecting: TCP is open from %s to %s (T6 = %g s)"
                self._add(logging.INFO, text, local, remote, settings.t6)
            case events.NotSelected():
                self._add_change("not selected: TCP is open (T7 = %g s)", settings.t7)
            case events.Selected():
                self._add_change("selected")
            case events.Separating():
                self._add(logging.INFO, "separating: the last frame is queued")
            case events.Waiting(retry_after=seconds):
                self._lost(f"waiting: {_until(seconds)}")
            case events.Blocked(retry_after=seconds):
                self._add(logging.INFO, "waiting for the breaker: %s", _until(seconds))
            case events.Closed(error=None):
                self._lost("closed")
            case events.Closed(error=error):
                # No step follows, because the charts have failed.
                self._write_lines("communication_failed")
                self._say(logging.ERROR, "%s", str(error))
            case events.BreakerOpened(failures=failures, threshold=most, retry_after=seconds):
                text = "breaker open: %s failures in a row (breaker_threshold = %s): %s"
                self._add(logging.WARNING, text, failures, most, _until(seconds))
            case events.BreakerHalfOpen():
                self._add(logging.INFO, "breaker half-open: one attempt may begin")
            case events.BreakerProbing():
                self._add(logging.INFO, "breaker half-open: its one attempt begins")
            case events.BreakerClosed():
                self._add(logging.INFO, "breaker closed")
            case events.BreakerIsolated():
                self._add(logging.INFO, "breaker isolated: no attempt until it is released")
            case events.Withdrawn():
                self._add(logging.INFO, "withdrawn: the lease of the tool is not wanted")
            case events.Standby():
                self._write_standby(event)
            case events.Owning(lease_epoch=number):
                self._add(logging.INFO, "owner of the tool: the lease is granted, epoch %s", number)
            case events.Doubtful(ends_in=seconds, error=failure):
                text = "the lease of the tool is doubtful: %s; disabled in %s s"
                self._add(logging.WARNING, text, str(failure), f"{seconds:.1f}")
            case events.Draining(why="deadline"):
                text = "draining: the lease of the tool was not renewed by its own deadline"
                self._add(logging.WARNING, text)
            case events.Draining(why="lost"):
                self._add(logging.WARNING, "draining: the lease of the tool is lost")
            case events.Draining():
                self._add(logging.INFO, "draining: the lease of the tool is given back")
            case events.Unsent(count=count):
                self._add(logging.WARNING, "%s bytes accepted for sending were not written", count)
            case events.Unreachable(seconds=seconds, error=error):
                # No step follows, because nothing has changed.
                why = "" if error is None else f": {self._reason(error)}"
                text = "unreachable for %s s (unreachable_after)%s"
                self._say(logging.WARNING, text, f"{seconds:.1f}", why)
            case events.UnexpectedSecondary() | events.Missed():
                # The one is in the log of messages, the other is no event of the link.
                pass
            case _:
                assert_never(event)

    def _write_standby(self, event: events.Standby) -> None:
        owner, error = event.owner, event.error
        text = "standby: %s owns the tool, epoch %s" if owner else "standby: no owner is known"
        values: tuple[str | float, ...] = (owner, event.lease_epoch) if owner else ()
        if error is not None:
            text, values = text + "; %s", (*values, str(error))
        level = logging.INFO if error is None else logging.WARNING
        if self._lines:
            self._add(level, text, *values)
        else:
            # Perhaps no step follows: a watch has seen another owner.
            self._say(level, text, *values)

    def stepped(self, step: Step) -> None:
        """Log what a step has brought, and the step itself."""
        self._epoch = step.epoch
        self._write_lines(step.event)
        if step.event == REFUSED:
            self._say(logging.WARNING, "refused with Select.rsp 3: others have the session")
        if _CHARTS.isEnabledFor(logging.DEBUG):
            self._write_step(step)

    def _add(self, level: int | None, text: str, *values: str | float) -> None:
        self._lines.append((level, text, values))

    def _add_change(self, text: str, *values: str | float) -> None:
        """A peer can select and deselect without end: not each time makes a line."""
        if self._changes_epoch != self._epoch:
            self._changes_epoch, self._changes = self._epoch, 0
        self._changes += 1
        if self._changes < _CHANGES:
            self._add(logging.INFO, text, *values)
        elif self._changes == _CHANGES:
            more = "%s (only the first %s such changes of a connection are logged here)"
            self._add(logging.INFO, more, text % values, _CHANGES)

    def _lost(self, then: str) -> None:
        """What the link does now, and before it the failure that has led to it, if it is new."""
        error = self._driver.engine.last_error
        if error is None or error is self._told:
            self._add(logging.INFO, "%s", then)
        else:
            self._told = error
            self._add(None, "%s; %s", self._reason(error), then)

    def _reason(self, error: HsmsError) -> str:
        return str(error).removeprefix(f"{self._driver.engine.peer}: ")

    def _write_lines(self, because: str) -> None:
        lines, self._lines = self._lines, []
        for level, text, values in lines:
            known = logging.WARNING if because in ALARMING else logging.INFO
            self._say(known if level is None else level, text, *values)

    def _say(self, level: int, text: str, *values: str | float) -> None:
        if self._left_out is not None:
            left_out, self._left_out = self._left_out(), None
            self._is_told = left_out is not None
            if left_out:
                text += " (%s other connections were left out)"
                values = (*values, left_out)
        if self._is_told or level >= logging.ERROR or self._driver.engine.times_selected:
            Teller(self._driver.name, self._epoch).say(level, text, *values)

    def _write_step(self, step: Step) -> None:
        statistics, name = self._driver.engine.statistics(), self._driver.name
        for hop in step.hops:
            say(
                _CHARTS,
                logging.DEBUG,
                "%s: %s %s: %s -> %s",
                name,
                hop.chart,
                hop.event,
                hop.before.leaves,
                hop.after.leaves,
                facts={
                    "link": name,
                    "epoch": step.epoch,
                    "chart": hop.chart,
                    "chart_event": hop.event,
                    "from_state": hop.before.leaves,
                    "to_state": hop.after.leaves,
                    "breaker_failures": statistics.breaker_failures,
                    "breaker_threshold": statistics.breaker_threshold,
                },
            )


def _texts(message: Message, settings: Settings) -> dict[str, str]:
    """The body of a message as its lines have it."""
    try:
        # Only who logs bodies needs SECS-II and SML.
        from hsms_engine.traffic.bodies import body_text, hex_text
    except (ImportError, OSError) as error:
        # The level may be chosen when the program can open no file any more.
        return {"body": f"not shown, because a module cannot be imported: {error}"}
    limit = settings.log_body_bytes
    texts = {"body": body_text(message, limit, settings.text_encoding)}
    if settings.log_hex:
        texts["hex"] = hex_text(message.body, limit)
    return texts


def _until(seconds: float) -> str:
    """When the next attempt begins."""
    if math.isinf(seconds):
        return "no attempt begins by itself"
    return f"the next attempt begins in {seconds:.1f} s"

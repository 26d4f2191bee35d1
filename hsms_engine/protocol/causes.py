"""Why something happened, in words for people, and as the error that the user gets.

The event is the one that the charts were given (``t8_expired``, ``select_rsp_refused``). The detail
is what an event of a chart cannot carry: an exception, a frame, a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from hsms_engine.errors import (
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HsmsError,
    RemoteProtocolError,
    SelectRefusedError,
)
from hsms_engine.protocol.epoch import Epoch
from hsms_engine.settings import Settings
from hsms_engine.wire import Frame, FrameLengthError, RejectReason, SelectStatus
from statecharts import SystemSnapshot

Detail = Exception | Frame | str | None
_Error = TypeVar("_Error", bound=HsmsError)

# Events in which the peer breaks the protocol, and is not just away.
_BREACHES = frozenset({"t8_expired", "frame_deadline_expired"})
# How what ends a session in order is called; all else is a connection that is lost.
_ENDED = {
    "separate_req_received": "connection closed",
    "disable_requested": "connection closed",
    "withdraw_requested": "connection closed",
    "own_deadline_expired": "connection closed",
    "lease_refused": "connection closed",
    "lease_freed": "connection closed",
    "deselect_req_received": "session ended",
    "deselect_rsp_ended": "session ended",
}

CLOSED = "closed by a call, or because the block that opened it has ended"
"""Two asyncio runs with one link, or a forgotten exit: nobody has called what closed it."""


class Cause(NamedTuple):
    """One event that the charts were given, with its detail, the settings in force, and the state.

    ``before``: the snapshot before it. ``epoch``: the connection at that time. ``now``: the clock.
    """

    event: str
    detail: Detail
    peer: str
    settings: Settings
    before: SystemSnapshot
    epoch: Epoch | None
    now: float

    def attempt_error(self) -> ConnectError:
        """The error of an attempt that failed before it was selected."""
        selecting = "selecting" in self.before
        where = "during select" if selecting else "during TCP connect"
        words = self.words()
        message = f"{self.peer}: not connected, {where}: {words}"
        error: ConnectError
        match self.event:
            case "select_rsp_refused" | "select_rsp_already_active":
                error = SelectRefusedError(message, words, status_of(self.detail))
            case _:
                error = ConnectError(message, words, "select" if selecting else "tcp connect")
        return self._blamed(error)

    def loss_error(self) -> ConnectionLostError:
        """The error of a connection that is lost."""
        words = self.words()
        breach = self.event in _BREACHES or isinstance(self.detail, FrameLengthError)
        kind = RemoteProtocolError if breach else ConnectionLostError
        what = _ENDED.get(self.event, "connection lost")
        return self._blamed(kind(f"{self.peer}: {what}: {words}", words))

    def unsent_error(self, count: int) -> ConnectionLostError:
        """The error of a close before which ``count`` accepted bytes could not be written."""
        words = f"{count} bytes accepted for sending were not written: {self.words()}"
        return self._blamed(ConnectionLostError(f"{self.peer}: closed, but {words}", words))

    def _blamed(self, error: _Error) -> _Error:
        """The error, with the exception that caused it as its ``__cause__``."""
        if isinstance(self.detail, Exception):
            # A user does not need its traceback, which would keep the engine and its stream alive.
            self.detail.__traceback__ = self.detail.__context__ = None
            error.__cause__ = self.detail
        return error

    def words(self) -> str:
        """One clause for people: which timer, which value, what was seen."""
        settings = self.settings
        match self.event:
            case "tcp_failed":
                return self._told()
            case "connect_timeout_expired":
                tried = f": {self.detail}" if self.detail else ""
                return f"no answer for {settings.connect_timeout:g} s (connect_timeout){tried}"
            case "tcp_closed" if self.detail is None:
                if self.epoch is not None and self.epoch.decoder.partial:
                    return f"the peer closed TCP inside a frame{self._frame_in_progress()}"
                return "the peer closed TCP"
            case "tcp_closed":
                return f"TCP broke: {self._told()}"
            case "t6_expired":
                return f"no response within T6 = {settings.t6:g} s"
            case "t7_expired":
                return f"not selected within T7 = {settings.t7:g} s"
            # A lowered linktest_threshold may be reached by the misses there are.
            case "t6_linktest_expired" | "linktest_failed":
                silent_for = self.now - self._open_epoch().last_received
                return (
                    f"{settings.linktest_threshold} linktest(s) in a row unanswered within T6 = "
                    f"{settings.t6:g} s; last sign of life {silent_for:.1f} s ago"
                )
            case "t8_expired":
                return f"T8 = {settings.t8:g} s passed inside a frame{self._frame_in_progress()}"
            case "frame_deadline_expired":
                return f"a frame was not complete by its deadline{self._frame_in_progress()}"
            case "write_timeout_expired":
                return (
                    f"the peer took no byte for {settings.write_timeout:g} s (write_timeout), "
                    f"{self._open_epoch().outbox.backlog} bytes are queued"
                )
            case "write_deadline_expired":
                outbox = self._open_epoch().outbox
                taken, batch = outbox.written - outbox.batch_start, outbox.batch_end
                return (
                    f"the peer took {taken} of {batch - outbox.batch_start} queued bytes by their "
                    f"deadline (frame_deadline = {settings.frame_deadline:g} s and 1 s for each "
                    "64 KiB)"
                )
            case "select_rsp_refused" | "select_rsp_already_active":
                status = status_of(self.detail)
                hint = ""
                if status == SelectStatus.ALREADY_ACTIVE:
                    hint = ", which tolerate_select_rsp_1 would take as 0"
                return f"the peer answered Select.req with status {status_name(status)}{hint}"
            case "select_rejected":
                return f"the peer rejected Select.req, reason {reject_name(status_of(self.detail))}"
            case "separate_req_received":
                return "the peer separated"
            case "deselect_req_received":
                return "the peer deselected the session"
            case "deselect_rsp_ended":
                return "the session was deselected"
            case "disable_requested" | "withdraw_requested" | "close_requested":
                return "it was ended by a call"
            case _:
                # communication_failed, or the end of a lease: the detail is the text or the error
                # that says why.
                return str(self.detail)

    def _told(self) -> str:
        """The detail in the system's own words, if it is an error of the system."""
        match self.detail:
            case OSError(strerror=str(words)):
                return words
            case other:
                return str(other)

    def _open_epoch(self) -> Epoch:
        """The connection of an event that only an open connection can have."""
        assert self.epoch is not None
        return self.epoch

    def _frame_in_progress(self) -> str:
        decoder = self._open_epoch().decoder
        return (
            f": declared length {decoder.pending_length or 'not complete'}, "
            f"{decoder.missing} bytes missing, "
            f"last bytes {decoder.last_bytes!r}"
        )


def each_with_reason(tried: Mapping[str, str]) -> str:
    """The addresses that an attempt has tried, each with what has become of it."""
    return "; ".join(f"{address}: {reason}" for address, reason in tried.items())


def status_of(detail: Detail) -> int:
    """The status or reason (header byte 3) of the frame that caused it."""
    assert isinstance(detail, Frame)
    return detail.byte3


def status_name(status: int) -> str:
    """A Select.rsp status with its name, where E37 gives it one."""
    known = {int(each): each.name.lower().replace("_", " ") for each in SelectStatus}
    known[SelectStatus.EXHAUSTED] += ": another host has the session"
    return f"{status} ({known[status]})" if status in known else str(status)


def reject_name(reason: int) -> str:
    """A Reject.req reason with its name, where E37 gives it one."""
    known = {int(each): each.name.lower().replace("_", " ") for each in RejectReason}
    return f"{reason} ({known[reason]})" if reason in known else str(reason)


def lost_request(name: str, cause: Cause) -> ClosedError | ConnectionLostError:
    """The error of a request that was open when the session was over."""
    if cause.event == "close_requested":
        return ClosedError(f"{cause.peer}: {name} got no reply: it was {CLOSED}")
    loss = cause.loss_error()
    error = type(loss)(f"{name} got no reply: {loss}", loss.reason)
    error.__cause__ = loss.__cause__
    return error

"""Why an attempt or a connection ended, in words for people, and as the error its users get.

The event that ended it is the one the charts were given (``t8_expired``, ``select_rsp_refused``);
the detail beside it is what the event itself must not carry: an exception, a frame, a number.
"""

from __future__ import annotations

from dataclasses import dataclass

from hsms_engine.errors import (
    ConnectError,
    ConnectionLostError,
    HsmsError,
    RemoteProtocolError,
    SelectRefusedError,
)
from hsms_engine.protocol.epoch import Epoch
from hsms_engine.settings import Settings
from hsms_engine.wire import Frame, FrameLengthError, RejectReason, SelectStatus

Detail = Exception | Frame | str | None

# Endings that are the peer's breach of the protocol, not its absence.
_BREACHES = frozenset({"t8_expired", "frame_deadline_expired"})


@dataclass(frozen=True, slots=True)
class Ending:
    """What ended it: the event, its detail, where it struck, and the numbers in force."""

    event: str
    detail: Detail
    peer: str
    settings: Settings
    epoch: Epoch | None
    silent_for: float

    def attempt_error(self, *, selecting: bool) -> ConnectError:
        """The error of an attempt that ended before it was selected."""
        phase = "select" if selecting else "tcp connect"
        where = "during select" if selecting else "during TCP connect"
        cause = self.cause()
        message = f"{self.peer}: not connected, {where}: {cause}"
        if self.event == "select_rsp_refused" and isinstance(self.detail, Frame):
            return SelectRefusedError(message, cause, self.detail.byte3)
        if self.event == "select_rsp_already_active":
            return SelectRefusedError(message, cause, SelectStatus.ALREADY_ACTIVE)
        return ConnectError(message, cause, phase)

    def loss_error(self) -> ConnectionLostError:
        """The error of a connection that was selected."""
        cause = self.cause()
        breach = self.event in _BREACHES or isinstance(self.detail, FrameLengthError)
        kind = RemoteProtocolError if breach else ConnectionLostError
        return kind(f"{self.peer}: connection lost: {cause}", cause)

    def cause(self) -> str:
        """One clause: which timer, what value, what was seen."""
        settings = self.settings
        match self.event:
            case "tcp_failed":
                return str(self.detail)
            case "connect_timeout_expired":
                return f"no answer for {settings.connect_timeout:g} s (connect_timeout)"
            case "tcp_closed" if self.detail is None:
                if self.epoch is not None and self.epoch.decoder.partial:
                    return f"the peer closed TCP inside a frame{self._frame_in_progress()}"
                return "the peer closed TCP"
            case "tcp_closed":
                return f"TCP broke: {self.detail}"
            case "t6_expired":
                return f"no response within T6 = {settings.t6:g} s"
            case "t7_expired":
                return f"not selected within T7 = {settings.t7:g} s"
            case "t6_linktest_expired":
                return (
                    f"{settings.linktest_threshold} linktest(s) in a row unanswered within T6 = "
                    f"{settings.t6:g} s; last sign of life {self.silent_for:.1f} s ago"
                )
            case "t8_expired":
                return f"T8 = {settings.t8:g} s passed inside a frame{self._frame_in_progress()}"
            case "frame_deadline_expired":
                return f"a frame was not complete by its deadline{self._frame_in_progress()}"
            case "write_timeout_expired":
                queued = self.epoch.backlog if self.epoch else 0
                return (
                    f"the peer took no byte for {settings.write_timeout:g} s (write_timeout), "
                    f"{queued} bytes are queued"
                )
            case "select_rsp_refused" | "select_rsp_already_active":
                return f"the peer answered Select.req with {self._status()}"
            case "select_rejected":
                return f"the peer rejected Select.req, {self._reject_reason()}"
            case "separate_req_received":
                return "the peer separated"
            case "deselect_req_received":
                return "the peer deselected the session"
            case "deselect_requested" | "deselect_rsp_ended" | "deselect_rejected":
                return "the session was deselected"
            case "disable_requested" | "close_requested":
                return "it was ended by a call"
            case _:
                return str(self.detail or self.event.replace("_", " "))

    def _frame_in_progress(self) -> str:
        # Only a connection that is up is in a frame.
        assert self.epoch is not None
        decoder = self.epoch.decoder
        return (
            f": declared length {decoder.pending_length}, {decoder.missing} bytes missing, "
            f"last bytes {decoder.last_bytes!r}"
        )

    def _status(self) -> str:
        return f"status {status_name(self.detail.byte3)}" if isinstance(self.detail, Frame) else "?"

    def _reject_reason(self) -> str:
        return f"reason {reject_name(self.detail.byte3)}" if isinstance(self.detail, Frame) else "?"


def status_name(status: int) -> str:
    """A Select.rsp status with its name, where E37 gives it one."""
    known = {int(each): each.name.lower().replace("_", " ") for each in SelectStatus}
    return f"{status} ({known[status]})" if status in known else str(status)


def reject_name(reason: int) -> str:
    """A Reject.req reason with its name, where E37 gives it one."""
    known = {int(each): each.name.lower().replace("_", " ") for each in RejectReason}
    return f"{reason} ({known[reason]})" if reason in known else str(reason)


def lost_request(name: str, ending: HsmsError) -> ConnectionLostError:
    """The error of a request that was open when its connection ended."""
    reason = ending.reason if isinstance(ending, ConnectionLostError) else str(ending)
    return ConnectionLostError(f"{name} got no reply: {ending}", reason)

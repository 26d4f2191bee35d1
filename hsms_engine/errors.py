"""What can go wrong, sorted by what the caller can still do.

=======================  ==========================================  ========================
error                    raised when                                 connection usable?
=======================  ==========================================  ========================
LocalProtocolError       you asked for what HSMS forbids             yes; nothing sent
WrongLoopError           called from another thread or event loop    yes; nothing was done
SettingsError            a setting is out of its range               nothing was changed
RestoreError             what was saved cannot be restored           there is none
TransactionError         one request failed                          yes
ConnectError             it never came up                            there is none
LinkDownError            a link is not selected now                  when it is selected again
OwnerUnknownError        no process of a fleet owns the tool         when one owns it again
ConnectionLostError      its connection is over                      no; a link makes another
ClosedError              you closed it                               no
DefectError              it closed itself: a defect of this package  no
LeaseError               the store of leases has not answered        yes, for a while; see below
=======================  ==========================================  ========================

Every message carries the values: the peer, the state, the timer, the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

AttemptPhase = Literal["tcp connect", "select"]
"""The two parts of an attempt: TCP is opened, and the session is selected."""


class HsmsError(Exception):
    """The base of every error this package raises on purpose.

    Can be copied and pickled, its ``__cause__`` included.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__, self.__cause__)


def _rebuild(
    kind: type[HsmsError],
    arguments: tuple[Any, ...],
    fields: dict[str, Any],
    cause: BaseException | None,
) -> HsmsError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(fields)
    if cause is not None:
        # Setting it, even to None, would hide the context of an error that has no cause.
        error.__cause__ = cause
    return error


class LocalProtocolError(HsmsError):
    """You asked for what HSMS forbids in this state, or for a frame longer than ``max_frame``.

    Nothing was sent; the connection is usable.
    """


class WrongLoopError(HsmsError, RuntimeError):
    """It was called from another thread, or another event loop, than the one it lives in.

    Nothing was done; the message says what to use there. The connection is usable in its own loop.
    """


class SettingsError(HsmsError, ValueError):
    """One or more settings are out of range; the message names field, value and range of each."""


class RestoreError(HsmsError, ValueError):
    """What was saved cannot be restored: the message says what is wrong with it.

    Where it cannot be read as JSON, the message says why. Nothing was opened. Without what was
    saved, the link can be opened.
    """


class TransactionError(HsmsError):
    """One request failed. The connection is usable."""


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The header of a message that came and was not taken: it may be the reply, gone wrong.

    ``late`` says so when it answers an earlier request, for which nobody waited any more. ``other``
    is the name of what is no data message, such as ``PType 3 SType 0``; ``stream``, ``function``
    and ``wait`` say nothing then.
    """

    stream: int
    function: int
    wait: bool
    session_id: int
    system_bytes: int
    late: str | None = None
    other: str | None = None

    @property
    def name(self) -> str:
        """``S1F2``, or ``other``."""
        return self.other or f"S{self.stream}F{self.function}"


class ReplyTimeoutError(TransactionError):
    """No reply came within T3. A reply that comes later is dropped and counted.

    ``not_taken`` has what came while the request was open and was not taken for its reply, though
    something about it fits, oldest first: a message with a foreign session id, a secondary of the
    same stream, or what has the same system bytes. Only the latest ones are kept.
    """

    def __init__(self, message: str, not_taken: tuple[NotTaken, ...] = ()) -> None:
        super().__init__(message)
        self.not_taken = not_taken


class RejectedError(TransactionError):
    """The peer answered with Reject.req. ``reason`` is its reason code (header byte 3)."""

    def __init__(self, message: str, reason: int) -> None:
        super().__init__(message)
        self.reason = reason


class AbortedError(TransactionError):
    """The peer ended the transaction with SxF0."""


class StreamNineError(TransactionError):
    """The peer has reported that it cannot take the request: S9F1, S9F3, S9F5, S9F7 or S9F11.

    ``function`` is that of the report: 1, 3, 5, 7 or 11.
    """

    def __init__(self, message: str, function: int) -> None:
        super().__init__(message)
        self.function = function

    @property
    def name(self) -> str:
        """The report's name: ``S9F5``."""
        return f"S9F{self.function}"


class ConnectError(HsmsError):
    """The connection never came up.

    ``cause`` says why in words; ``phase`` is where it failed: ``"tcp connect"`` or ``"select"``.
    ``__cause__`` is the ``OSError`` behind it, where there is one.
    """

    def __init__(self, message: str, cause: str, phase: AttemptPhase) -> None:
        super().__init__(message)
        self.cause = cause
        self.phase = phase


class SelectRefusedError(ConnectError):
    """The peer answered Select.req with a status other than 0; ``status`` is that status."""

    def __init__(self, message: str, cause: str, status: int) -> None:
        super().__init__(message, cause, "select")
        self.status = status


class CircuitOpenError(ConnectError):
    """The circuit breaker lets no attempt begin.

    ``retry_after``: seconds until it lets one begin; infinite while it is isolated by hand.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, "the circuit breaker is open", "tcp connect")
        self.retry_after = retry_after


class LinkDownError(HsmsError):
    """The link is not selected now. Calls that need a selected session raise this at once.

    Nothing was sent and nothing is queued. ``retry_after``: seconds to the next attempt; 0 when one
    is running, infinite when none will begin before ``enable`` or ``release``.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OwnerUnknownError(HsmsError):
    """No process of a fleet owns the tool now, so nothing was sent.

    ``last_owner`` had it last, and it is without one for ``seconds``; empty, and None, when the
    store does not know.
    """

    def __init__(self, message: str, last_owner: str, seconds: float | None) -> None:
        super().__init__(message)
        self.last_owner = last_owner
        self.seconds = seconds


class ConnectionLostError(HsmsError):
    """The connection is over: it was selected and was lost, or the primary came over it.

    ``reason`` says why in words; ``__cause__`` is the exception behind it, where there is one.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class RemoteProtocolError(ConnectionLostError):
    """The connection was lost because the peer broke the protocol."""


class ClosedError(HsmsError):
    """You closed it. Open another one."""


class DefectError(ClosedError):
    """It has closed itself because of a defect of this package. Please report it.

    ``__cause__`` is what failed. Open another one.
    """


class LeaseError(HsmsError):
    """The store of leases did not answer, or not what it can mean. It is asked again.

    A selected link goes on until its own deadline. No call of a link raises this: its events have
    it as their ``error``, and what is raised because the lease is over has it as its ``__cause__``.
    A request to a tool of a fleet raises it, and then the tool may have got the request.
    """


class LeaseSetupError(LeaseError):
    """The store will not answer before somebody changes something: a password, a version."""

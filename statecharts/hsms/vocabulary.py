"""The words of the HSMS charts: the effects they ask for, and transitions that name their clauses.

The effects are a closed set, named in the imperative.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from statecharts.declare import Action, Effect, On, Start, Stop, Timer


class Outgoing(Enum):
    """The control frames a chart sends, by E37's names; a status or reason is part of the name.

    Responses and rejects answer the received frame that caused the step, and echo its system bytes.
    """

    SELECT_REQ = "Select.req"
    SELECT_RSP_ESTABLISHED = "Select.rsp 0"
    SELECT_RSP_ALREADY_ACTIVE = "Select.rsp 1"
    SELECT_RSP_EXHAUSTED = "Select.rsp 3"
    DESELECT_REQ = "Deselect.req"
    DESELECT_RSP_ENDED = "Deselect.rsp 0"
    DESELECT_RSP_NOT_ESTABLISHED = "Deselect.rsp 1"
    LINKTEST_REQ = "Linktest.req"
    LINKTEST_RSP = "Linktest.rsp"
    SEPARATE_REQ = "Separate.req"
    REJECT_STYPE = "Reject.req 1"
    REJECT_PTYPE = "Reject.req 2"
    REJECT_NOT_OPEN = "Reject.req 3"
    REJECT_NOT_SELECTED = "Reject.req 4"


class Counter(Enum):
    """Frames and results that are counted, not answered. The value is the name in statistics."""

    SEPARATE_IGNORED = "separate_ignored"
    REJECT_UNKNOWN = "reject_unknown"
    DROPPED_WHILE_LEAVING = "dropped_while_leaving"
    STALE_RESULT = "stale_result"
    LINKTESTS_UNANSWERED = "linktests_unanswered"


@dataclass(frozen=True, slots=True)
class Send(Effect):
    """Queue this control frame. Only while TCP is open."""

    frame: Outgoing

    def __str__(self) -> str:
        return f"Send({self.frame.value})"


@dataclass(frozen=True, slots=True)
class Count(Effect):
    """Add one to a counter, so that nothing is dropped without a trace."""

    counter: Counter

    def __str__(self) -> str:
        return f"Count({self.counter.value})"


class OpenTcp(Effect):
    """Begin to connect. Only while TCP is closed and no attempt is running."""

    __slots__ = ()


class AbandonTcp(Effect):
    """Give up the attempt that is running."""

    __slots__ = ()


class FinishTcp(Effect):
    """Tell the peer that no more bytes follow (FIN) and go on reading."""

    __slots__ = ()


class CloseTcp(Effect):
    """Close the open TCP connection and everything that belongs to it."""

    __slots__ = ()


class ResetTcp(Effect):
    """The connection that this step has closed had failed: close its socket with a reset (RST).

    So the peer hears of it even where its data, or ours, is stuck.
    """

    __slots__ = ()


class ContestSession(Effect):
    """Tell each connection that has a session of this entity that another one asked for it."""

    __slots__ = ()


class OpenGate(Effect):
    """Let data messages pass: SELECTED begins."""

    __slots__ = ()


class CloseGate(Effect):
    """Let no data message pass and settle every open transaction as lost: SELECTED is over."""

    __slots__ = ()


class StoreCall(Enum):
    """What a process asks the store of leases for. See ``hsms_engine.lease``."""

    WATCH = "watch"
    ACQUIRE = "acquire"
    RENEW = "renew"


@dataclass(frozen=True, slots=True)
class AskStore(Effect):
    """Ask the store of leases. Only while it is asked nothing else."""

    call: StoreCall

    def __str__(self) -> str:
        return f"AskStore({self.call.value})"


class StopAsking(Effect):
    """What the store was asked is not wanted any more; it may be answered already."""

    __slots__ = ()


class ReleaseLease(Effect):
    """Give the lease back to the store. Only while TCP is closed and the store is asked nothing."""

    __slots__ = ()


class SettleTransaction(Effect):
    """Give the outcome to the caller that waits for the reply. The entered state names it."""

    __slots__ = ()


DriverEffect = (
    Start
    | Stop
    | Send
    | Count
    | OpenTcp
    | AbandonTcp
    | FinishTcp
    | CloseTcp
    | ResetTcp
    | ContestSession
    | OpenGate
    | CloseGate
    | AskStore
    | StopAsking
    | ReleaseLease
)


def rule(
    clauses: str,
    event: str | None,
    source: str,
    to: str | None = None,
    *do: Action,
    when: str = "",
    keep: Timer | None = None,
) -> On:
    """The transition that fulfils these clauses of ``rules.txt`` (ids separated by blanks)."""
    return On(event, source, to, when, do, tuple(clauses.split()), keep)

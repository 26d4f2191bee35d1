"""The effects that the HSMS charts ask for: a closed vocabulary, in the imperative."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from statecharts.declare import Effect, Start, Stop


class Outgoing(Enum):
    """The control frames a chart sends, by E37's names; a status or reason is part of the name.

    Responses and rejects answer the frame being handled and echo its system bytes.
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
    """What is counted instead of answered; every counter is visible in ``statistics()``."""

    SEPARATE_IGNORED = "separate ignored"
    REJECT_UNKNOWN = "reject of nothing we know"
    DROPPED_WHILE_LEAVING = "dropped while leaving"
    STALE_RESULT = "result of an earlier period"


@dataclass(frozen=True, slots=True)
class Send(Effect):
    """Queue this control frame. TCP is open."""

    frame: Outgoing

    def __str__(self) -> str:
        return f"Send({self.frame.value})"


@dataclass(frozen=True, slots=True)
class Count(Effect):
    """Add one to a counter: nothing is lost silently."""

    counter: Counter

    def __str__(self) -> str:
        return f"Count({self.counter.value})"


@dataclass(frozen=True, slots=True)
class OpenTcp(Effect):
    """Begin to connect. TCP is closed and no attempt is running."""


@dataclass(frozen=True, slots=True)
class AbandonTcp(Effect):
    """Give up the attempt that is running."""


@dataclass(frozen=True, slots=True)
class FinishTcp(Effect):
    """Tell the peer that no more bytes follow (FIN) and go on reading."""


@dataclass(frozen=True, slots=True)
class CloseTcp(Effect):
    """Close the open TCP connection and all that belongs to it."""


@dataclass(frozen=True, slots=True)
class OpenGate(Effect):
    """Let data messages pass: SELECTED has begun."""


@dataclass(frozen=True, slots=True)
class CloseGate(Effect):
    """Let no data message pass and end every open transaction: SELECTED is over."""


@dataclass(frozen=True, slots=True)
class AskBreaker(Effect):
    """May an attempt begin?"""


@dataclass(frozen=True, slots=True)
class ReportSuccess(Effect):
    """The attempt that had a permit came to SELECTED."""


@dataclass(frozen=True, slots=True)
class ReportFailure(Effect):
    """The attempt that had a permit failed."""


@dataclass(frozen=True, slots=True)
class ReturnPermit(Effect):
    """The attempt that had a permit was cancelled by its user: neither success nor failure."""


@dataclass(frozen=True, slots=True)
class GrantPermit(Effect):
    """The attempt that asked may begin."""


@dataclass(frozen=True, slots=True)
class RefusePermit(Effect):
    """The attempt that asked may not begin."""


@dataclass(frozen=True, slots=True)
class OfferPermit(Effect):
    """Whoever was refused may ask again."""


@dataclass(frozen=True, slots=True)
class WithdrawPermit(Effect):
    """The attempt that has a permit, if one has, is to be dropped and to report nothing."""


@dataclass(frozen=True, slots=True)
class BeginWatch(Effect):
    """The session is selected: linktests begin."""


@dataclass(frozen=True, slots=True)
class EndWatch(Effect):
    """The session is no longer selected: linktests end."""


@dataclass(frozen=True, slots=True)
class EndTraffic(Effect):
    """TCP is about to close: no frame is half read or half written any more."""


@dataclass(frozen=True, slots=True)
class PassProbeAnswer(Effect):
    """The response to our latest Linktest.req has come."""


@dataclass(frozen=True, slots=True)
class PassProbeReject(Effect):
    """Our latest Linktest.req was rejected, by a peer that is therefore alive."""


@dataclass(frozen=True, slots=True)
class FailLinktest(Effect):
    """The peer has not answered as many linktests in a row as the threshold allows."""


@dataclass(frozen=True, slots=True)
class FailFraming(Effect):
    """A frame was begun and not finished in time."""


@dataclass(frozen=True, slots=True)
class FailWriting(Effect):
    """The peer took no byte for the write timeout."""


@dataclass(frozen=True, slots=True)
class EndTransaction(Effect):
    """Wake whoever waits for the reply, with the outcome named by the state entered."""


DriverEffect = (
    Start | Stop | Send | Count | OpenTcp | AbandonTcp | FinishTcp | CloseTcp | OpenGate | CloseGate
)

"""The form of one row, and the words that many rows share."""

from __future__ import annotations

from statecharts.declare import Effect
from statecharts.explore.obligations import Obligation
from statecharts.hsms.vocabulary import (
    CloseGate,
    CloseTcp,
    Count,
    Counter,
    OpenGate,
    Outgoing,
    Send,
)

NS, S, LEAVING = "not_selected", "selected", "leaving"
END = (CloseTcp(),)
LOSE = (CloseGate(), CloseTcp())
SEPARATE = (CloseGate(), Send(Outgoing.SEPARATE_REQ))
ACCEPTED = (OpenGate(), Send(Outgoing.SELECT_RSP_ESTABLISHED))
FRESH = "communicating quiet misses=0"
LOST = "tcp_closed communication_failed"
LATE = "t8_expired frame_deadline_expired"
STUCK = "write_timeout_expired"
DESELECT = "deselect_req_received"
OUR_DESELECT = Outgoing.DESELECT_REQ
LINKTEST_RSP = "linktest_rsp_received"


def clause(
    clause: str,
    events: str,
    where: str,
    asks: tuple[Effect, ...] | Outgoing | Counter = (),
    goes: str = "",
    but: str = "",
    renews: str = "",
) -> Obligation:
    """One row: several words are several events, or states that must all be active."""
    match asks:
        case Outgoing():
            asks = (Send(asks),)
        case Counter():
            asks = (Count(asks),)
    return Obligation(
        clause,
        tuple(events.split()),
        tuple(where.split()),
        asks,
        tuple(goes.split()),
        tuple(but.split()),
        tuple(renews.split()),
    )


def attempt(
    text: str,
    events: str,
    where: str,
    asks: tuple[Effect, ...],
    goes: str,
    renews: str = "",
) -> Obligation:
    """The end of an attempt that holds a permit. What the breaker makes of it has its own rows."""
    return clause(text, events, where, asks, f"{goes} *breaker", renews=renews)

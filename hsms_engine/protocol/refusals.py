"""Why a call is not possible now, as the error that the caller gets."""

from __future__ import annotations

import copy
import math

from hsms_engine.errors import (
    CircuitOpenError,
    ClosedError,
    ConnectionLostError,
    HsmsError,
    LinkDownError,
    LocalProtocolError,
)
from hsms_engine.protocol.causes import CLOSED
from hsms_engine.protocol.context import Context
from hsms_engine.protocol.lifecycle import Lifecycle
from statecharts.hsms import BREAKER, LEASE

# The calls that have another name for people.
_CALLED = {"contend_requested": "enable", "withdraw_requested": "disable"}


def unusable(life: Lifecycle, context: Context) -> HsmsError:
    """Why no message can be sent while the session is not selected."""
    peer = context.peer
    if (defect := life.defect_again()) is not None:
        return defect
    by_call = life.session_ended_by == "close_requested"
    if not (life.reconnects or by_call) and isinstance(life.last_error, ConnectionLostError):
        # That closed it. An exception has the traceback of one raise: each caller gets its own.
        return copy.copy(life.last_error)
    if life.is_closing:
        return ClosedError(f"{peer}: {CLOSED}; open another one")
    if context.epoch is not None and not life.reconnects:
        return LocalProtocolError(
            f"{peer}: the connection is {life.phase}; messages are sent only while it is selected, "
            "and nothing was sent"
        )
    retry_after, lease = life.retry_after(), life.lease
    if lease is not None and lease.decides:
        return LinkDownError(f"{peer}: the link is {life.phase}; {lease.words()}", retry_after)
    where = life.phase if life.phase == "not selected" else f"{life.phase}, not selected"
    match retry_after:
        case 0:
            follows = ""
        case math.inf:
            follows = "; no attempt will be made until it is enabled or released"
        case _:
            is_open = life.breaker is not None and "breaker_open" in life.breaker
            breaker = "the circuit breaker is open, " if is_open else ""
            follows = f"; {breaker}next attempt in {retry_after:.1f} s"
    why = f" ({life.last_error})" if life.last_error else ""
    return LinkDownError(f"{peer}: the link is {where}{follows}{why}", retry_after)


def refused(life: Lifecycle, context: Context) -> CircuitOpenError | None:
    """Why the breaker lets no attempt begin; None when one may begin."""
    breaker, peer = life.breaker, context.peer
    if breaker is None or not ("breaker_open" in breaker or "isolated" in breaker):
        return None
    retry_after = life.retry_after()
    if "isolated" in breaker:
        return CircuitOpenError(
            f"{peer}: the circuit breaker is isolated by hand; release() or reset_breaker() lets "
            "attempts begin",
            retry_after,
        )
    return CircuitOpenError(
        f"{peer}: the circuit breaker is open after {life.failures} failed attempts in a row "
        f"(threshold {context.settings.breaker_threshold}); an attempt begins in "
        f"{retry_after:.1f} s",
        retry_after,
    )


def misplaced(life: Lifecycle, context: Context, event: str) -> HsmsError | None:
    """Why the call ``event`` does not fit the state; None when it fits."""
    call = _CALLED.get(event) or event.removesuffix("_requested").replace("_", " ")
    what = f"{context.peer}: {call}"
    owner = life.router.owner.get(event)
    if owner is None:
        return LocalProtocolError(f"{what} is for the end that dials")
    takes = life.takes(event)
    if (defect := life.defect_again()) is not None:
        return defect
    if life.is_closing:
        return ClosedError(f"{what} after close; open another one")
    if not takes:
        leaf = life.snapshot[owner].leaves
        while_it_is: str
        if owner == BREAKER.id:
            while_it_is = f"the circuit breaker is {leaf.removeprefix('breaker_')}"
        elif life.lease is not None and owner == LEASE.id:
            while_it_is = life.lease.ownership.state
        else:
            while_it_is = life.phase if life.phase == leaf else f"{life.phase} ({leaf})"
        return LocalProtocolError(f"{what} is not possible while {while_it_is}")
    return None

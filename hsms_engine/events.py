"""The events of a link, and those of a server, in order: two closed unions of small frozen records.

``at`` is the monotonic clock in seconds, ``epoch`` the number of the TCP connection (0 before the
first). There is one event for each change of the connection's phase and for each state that the
breaker enters, so the same event does not come twice in a row. A link that a lease decides about
has a third kind, for the states of its lease. For a server, ``epoch`` counts the connections that
it has accepted, from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hsms_engine.errors import DefectError, HsmsError, LeaseError
from hsms_engine.message import Message


@dataclass(frozen=True, slots=True)
class Happened:
    """The base of all events."""

    at: float
    epoch: int


class Idle(Happened):
    """Disabled: nothing is attempted."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Connecting(Happened):
    """TCP connect has begun. ``attempt`` counts from 1 over the life of the link."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Selecting(Happened):
    """TCP is open and our Select.req is unanswered; T6 runs.

    ``local`` and ``remote`` are the addresses that the connection has at this end and at the peer,
    as ``host:port``; empty when the stream does not know them.
    """

    local: str = ""
    remote: str = ""


class NotSelected(Happened):
    """TCP is open and the session is not selected; T7 runs."""

    __slots__ = ()


class Selected(Happened):
    """The session is selected: data messages may be sent."""

    __slots__ = ()


class Separating(Happened):
    """The last frame is queued; TCP closes when the peer has read it, or after ``linger``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Waiting(Happened):
    """An attempt or a connection is over; the next attempt begins in ``retry_after`` seconds.

    ``error`` is the ``ConnectError`` of an attempt, the ``ConnectionLostError`` of a connection,
    or None when a call closed it.
    """

    retry_after: float
    error: HsmsError | None


@dataclass(frozen=True, slots=True)
class Blocked(Happened):
    """The breaker refused an attempt; it offers one in ``retry_after`` seconds."""

    retry_after: float


@dataclass(frozen=True, slots=True)
class Closed(Happened):
    """The link, or the server, is over: no connection follows.

    ``error`` is None unless it has closed itself because of a defect of this package.
    """

    error: DefectError | None = None


@dataclass(frozen=True, slots=True)
class BreakerOpened(Happened):
    """``failures`` attempts in a row have failed; none begins for ``retry_after`` seconds."""

    failures: int
    threshold: int
    retry_after: float


class BreakerHalfOpen(Happened):
    """The open time is over: one attempt may begin, as a probe."""

    __slots__ = ()


class BreakerProbing(Happened):
    """The one attempt of the half-open breaker has begun."""

    __slots__ = ()


class BreakerClosed(Happened):
    """Attempts may begin; the count of failures is 0."""

    __slots__ = ()


class BreakerIsolated(Happened):
    """The breaker was opened by hand and stays open until it is released."""

    __slots__ = ()


class Withdrawn(Happened):
    """Disabled: this process does not want the lease of its tool."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Standby(Happened):
    """This process wants the lease of its tool and has not got it: nothing is attempted.

    ``owner`` has it, by its name in the store; empty when that is not known. ``lease_epoch`` is
    that of the owner, or the latest that is known (0: none is). ``error`` says why the store does
    not answer, or is None. It comes again when ``owner`` or ``error`` has changed.
    """

    owner: str
    lease_epoch: int
    error: LeaseError | None


@dataclass(frozen=True, slots=True)
class Owning(Happened):
    """This process has the lease of its tool: the link is enabled.

    ``lease_epoch`` is greater than that of each owner before. It comes again when the store has
    answered after ``Doubtful``.
    """

    lease_epoch: int


@dataclass(frozen=True, slots=True)
class Doubtful(Happened):
    """The lease is in force, and the store did not answer when it was to be renewed.

    ``error`` says why. The link is disabled in ``ends_in`` seconds unless the store answers.
    """

    error: LeaseError
    ends_in: float


DrainReason = Literal["deadline", "lost", "withdrawn"]
"""The store has not answered in time, another owner has got the lease, or a call gives it back."""


@dataclass(frozen=True, slots=True)
class Draining(Happened):
    """The link is disabled because of its lease, and comes to rest. ``why`` says which way."""

    why: DrainReason


@dataclass(frozen=True, slots=True)
class UnexpectedSecondary(Happened):
    """A secondary that answers no open request; the link stays up."""

    message: Message


@dataclass(frozen=True, slots=True)
class Unsent(Happened):
    """The connection is over, and ``count`` bytes of accepted messages were not written."""

    count: int


@dataclass(frozen=True, slots=True)
class Unreachable(Happened):
    """The link has been down for ``seconds``: enabled, and not selected (``unreachable_after``).

    It comes once; after it not before the link has been selected again. ``error`` is the latest
    failure since the link was selected, or None.
    """

    seconds: float
    error: HsmsError | None


@dataclass(frozen=True, slots=True)
class Missed(Happened):
    """This reader was too slow: ``count`` events were dropped here."""

    count: int


@dataclass(frozen=True, slots=True)
class PeerHappened(Happened):
    """The base of the events of a server about one connection."""

    peer: str


@dataclass(frozen=True, slots=True)
class PeerAccepted(PeerHappened):
    """A server has given a place to a connection of ``peer``, which is not selected yet.

    ``local`` is the address of this end that it has dialled; empty when the stream does not know.
    """

    local: str = ""


class PeerSelected(PeerHappened):
    """The connection of ``peer`` is selected."""

    __slots__ = ()


class PeerDeselected(PeerHappened):
    """The session of ``peer`` was closed with Deselect; its connection stays, and T7 runs."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PeerRefused(PeerHappened):
    """``peer`` has asked for a session, and others have all of them: Select.rsp 3."""

    max_sessions: int


@dataclass(frozen=True, slots=True)
class PeerTurnedAway(PeerHappened):
    """A connection of ``peer`` was closed at once, and ``why``. ``epoch`` is 0."""

    why: str


@dataclass(frozen=True, slots=True)
class PeerEnded(PeerHappened):
    """The connection of ``peer`` is over, and ``why``; its handler may run on."""

    was_selected: bool
    why: str


LinkEvent = (
    Idle
    | Connecting
    | Selecting
    | NotSelected
    | Selected
    | Separating
    | Waiting
    | Blocked
    | Closed
    | BreakerOpened
    | BreakerHalfOpen
    | BreakerProbing
    | BreakerClosed
    | BreakerIsolated
    | Withdrawn
    | Standby
    | Owning
    | Doubtful
    | Draining
    | UnexpectedSecondary
    | Unsent
    | Unreachable
    | Missed
)

ServerEvent = (
    PeerAccepted
    | PeerSelected
    | PeerDeselected
    | PeerRefused
    | PeerTurnedAway
    | PeerEnded
    | Closed
    | Missed
)

"""What one end knows of the lease of its tool, and the times that follow from a lease's length.

The chart of the lease (``statecharts.hsms.lease``) decides; this only knows what it cannot: when
the grant in force was asked for, who has the lease otherwise, and what the store's last failure
was.

There are two clocks, in seconds. The clock of the engine need not count the time for which the
system was suspended; the clock of the lease does. The deadlines of a lease are times of its own
clock, and ``due`` says when that is on the engine's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hsms_engine.errors import LeaseError, SettingsError
from hsms_engine.events import (
    Doubtful,
    Draining,
    DrainReason,
    LinkEvent,
    Owning,
    Standby,
    Withdrawn,
)
from hsms_engine.protocol.causes import Detail
from hsms_engine.settings import is_number
from statecharts.hsms.timers import (
    LEASE_END,
    LEASE_POLL,
    OWN_DEADLINE,
    RENEWAL,
    RENEWAL_RETRY,
    STORE_TIMEOUT,
)

SHORTEST, LONGEST = 1.0, 600.0
"""The lengths that a lease may have, in seconds."""

# The parts of a lease's length. Two clocks are each wrong by 1 % at most, so by the owner's clock
# the lease ends before 0.98 of it: 0.98 / 0.99 < 1 / 1.01.
_DRAIN, _END = 0.10, 0.98
_PARTS = {
    LEASE_POLL.id: 0.25,
    STORE_TIMEOUT.id: 0.20,
    RENEWAL.id: 0.25,
    RENEWAL_RETRY.id: 0.05,
    OWN_DEADLINE.id: _END - _DRAIN,
    LEASE_END.id: _END,
}
# Those that run from when the grant in force was asked for, on the clock of the lease.
DEADLINES = (OWN_DEADLINE.id, LEASE_END.id)

OwnershipState = Literal[
    "withdrawn", "standby", "acquiring", "owner", "doubtful", "draining", "ended"
]
"""Where the lease of a link is, as this process sees it."""

# Every leaf of the chart; a test compares this table with it.
OWNERSHIP: dict[str, OwnershipState] = {
    "withdrawn": "withdrawn",
    "standby": "standby",
    "acquiring": "acquiring",
    "settled": "owner",
    "renewing": "owner",
    "pausing": "doubtful",
    "asking_again": "doubtful",
    "draining": "draining",
    "cut": "draining",
    "ended": "ended",
}
# In which another process may have the lease, and this one wants it.
_STANDING_BY = ("standby", "acquiring")
# In which the grant is in force; and in which it is, or what is left of it.
_IN_FORCE = ("owner", "doubtful")
_HAVING = (*_IN_FORCE, "draining")
_WHY: dict[str, DrainReason] = {
    "own_deadline_expired": "deadline",
    "lease_refused": "lost",
    "lease_freed": "lost",
    "withdraw_requested": "withdrawn",
}


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long a grant lasts, in seconds, and what follows from it.

    All who may have the lease of one tool have the same ``duration``. ``name`` is what is owned,
    ``owner`` this process's name in the store; both are for people. Raises ``SettingsError`` for a
    ``duration`` that is not from 1 to 600.
    """

    duration: float
    name: str = "the tool"
    owner: str = "this process"

    def __post_init__(self) -> None:
        value = self.duration
        if not is_number(value) or not SHORTEST <= value <= LONGEST:
            raise SettingsError(
                f"duration={value!r} of a lease is not from {SHORTEST:g} to {LONGEST:g} seconds"
            )

    def seconds(self, timer: str) -> float:
        """How long a timer of the lease runs. Raises ``KeyError`` for any other."""
        return self.duration * _PARTS[timer]

    @property
    def store_timeout(self) -> float:
        """For how long the store may take to answer."""
        return self.seconds(STORE_TIMEOUT.id)

    @property
    def own_deadline(self) -> float:
        """When the owner leaves, so long after it has asked for the grant in force."""
        return self.seconds(OWN_DEADLINE.id)

    @property
    def end(self) -> float:
        """When the grant is over by the owner's clock, so long after it was asked for."""
        return self.seconds(LEASE_END.id)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who owns the tool, as this process knows it at one moment.

    ``since`` is when that began, on the clock of the link in seconds: the state (``"acquiring"`` is
    a part of standing by), or that ``owner`` is known to have the lease. ``owner`` is empty when it
    is not known; ``lease_epoch`` is that of the owner, or the latest one that is known.

    ``ends_in`` is in seconds: until an owner that cannot renew the lease leaves its tool; for one
    that is draining, until its lease is over; for a standby, until that of the other owner is over
    unless it is renewed. Infinite when nobody is known to have it.
    """

    state: OwnershipState
    since: float
    owner: str
    lease_epoch: int
    ends_in: float

    @property
    def is_in_force(self) -> bool:
        """Whether this process owns the tool, so that its link is enabled."""
        return self.state in _IN_FORCE


class Leasing:
    """What one engine knows of its lease. ``clock`` is that of the engine, ``leaf`` gives the state
    of the chart.
    """

    __slots__ = (
        "_asked_at",
        "_clock",
        "_epoch",
        "_error",
        "_leaf",
        "_lease_clock",
        "_other",
        "_other_ends",
        "_ready_since",
        "_since",
        "_told",
        "_was_ready",
        "times",
    )

    def __init__(
        self,
        times: LeaseTimes,
        clock: Callable[[], float],
        lease_clock: Callable[[], float],
        leaf: Callable[[], str],
    ) -> None:
        self.times = times
        self._leaf = leaf
        self._clock = clock
        self._lease_clock = lease_clock
        # When the grant in force was asked for, on the clock of the lease; infinitely long ago
        # while there is none.
        self._asked_at = -math.inf
        self._epoch = 0
        # Another owner, and when its lease is over, on the clock of the lease.
        self._other, self._other_ends = "", math.inf
        # The store's latest failure, until it answers.
        self._error: LeaseError | None = None
        self._since = clock()
        # Since when ``is_ready_standby`` is as it is.
        self._was_ready, self._ready_since = False, clock()
        # What the latest ``Standby`` has told, while standing by.
        self._told: tuple[str, str | None] | None = None

    # What is known

    @property
    def _state(self) -> OwnershipState:
        return OWNERSHIP[self._leaf()]

    @property
    def is_in_force(self) -> bool:
        """Whether attempts are made because of it."""
        return self._state in _IN_FORCE

    @property
    def decides(self) -> bool:
        """Whether it is because of the lease that no attempt is made, and not because of a call."""
        return self._state in (*_STANDING_BY, "draining")

    @property
    def ownership(self) -> Ownership:
        """Who owns the tool now."""
        state = self._state
        is_ours = state in _HAVING and not self._other
        match state:
            case "owner" | "doubtful":
                ends = self._asked_at + self.times.own_deadline
            case "draining":
                ends = self._asked_at + self.times.end
            case _:
                ends = self._other_ends
        ends_in = max(0.0, ends - self._lease_clock())
        owner = self.times.owner if is_ours else self._other
        return Ownership(state, self._since, owner, self._epoch, ends_in)

    @property
    def error(self) -> LeaseError | None:
        """The store's latest failure; None when it has answered since."""
        return self._error

    @property
    def is_ready_standby(self) -> bool:
        """Whether another one has the lease, and this process would notice when it is over."""
        return self._state in _STANDING_BY and self._other != "" and self._error is None

    @property
    def ready_since(self) -> float:
        """When ``is_ready_standby`` became what it is, on the clock of the engine."""
        return self._ready_since

    def may_send(self) -> bool:
        """Whether the grant in force is not over."""
        return self._lease_clock() < self._asked_at + self.times.end

    def is_too_late(self, asked_at: float) -> bool:
        """Whether a grant that was asked for at ``asked_at`` is past its own deadline."""
        # No number is too late, too.
        return not asked_at + self.times.own_deadline > self._lease_clock()

    def due(self, timer: str, started: float) -> float:
        """When a timer of the lease, started at ``started``, is due on the clock of the engine."""
        seconds = self.times.seconds(timer)
        if timer in DEADLINES:
            return self._clock() + (self._asked_at + seconds - self._lease_clock())
        return started + seconds

    def expired(self, timer: str) -> LeaseError | None:
        """What it means for people that a timer of the lease has expired; None: nothing bad."""
        times = self.times
        match timer:
            case STORE_TIMEOUT.id:
                return LeaseError(
                    f"the store of leases has not answered for {times.store_timeout:g} s"
                )
            case OWN_DEADLINE.id:
                return self._because(
                    f"the lease of {times.name} was not renewed by its own deadline, "
                    f"{times.own_deadline:g} s after it was asked for"
                )
            case LEASE_END.id:
                return self._because(
                    f"the lease of {times.name} is over, {times.end:g} s after it was asked for"
                )
            case _:
                return None

    def lost(self) -> LeaseError:
        """What it means for people that the store does not renew the lease."""
        name, other = self.times.name, self._other
        if other:
            return LeaseError(f"{other} has got the lease of {name}")
        return LeaseError(f"by the store, the lease of {name} is not ours any more")

    def words(self) -> str:
        """Why this process does not use the tool, as a clause for people."""
        times, other = self.times, self._other
        why = f" ({self._error})" if self._error else ""
        match self._state:
            case "standby" | "acquiring" if other:
                seconds = self._clock() - self._since
                return f"standby: {other} has owned {times.name} for at least {seconds:.1f} s{why}"
            case "standby" | "acquiring":
                return f"standby: who owns {times.name} is not known yet{why}"
            case "draining" if other:
                return f"draining: {other} has got the lease of {times.name}"
            case _:
                return f"{self._state}: the lease of {times.name} is given back{why}"

    def _because(self, words: str) -> LeaseError:
        error = LeaseError(words if self._error is None else f"{words}: {self._error}")
        error.__cause__ = self._error
        return error

    # What happens

    def granted(self, epoch: int, asked_at: float) -> None:
        """The lease is ours; it was asked for at ``asked_at``, which cannot be later than now."""
        self._asked_at = min(asked_at, self._lease_clock())
        self._epoch = epoch
        self._other, self._other_ends = "", math.inf

    def held(self, owner: str, epoch: int, remaining: float) -> None:
        """Another one has it; empty: not known who, or nobody."""
        if owner != self._other and self._state in _STANDING_BY:
            self._since = self._clock()
        self._other, self._epoch = owner, epoch
        self._other_ends = self._lease_clock() + remaining if owner else math.inf

    def answered(self, event: str, detail: Detail = None) -> bool:
        """What an event says about the store, before the charts take it. Whether it has failed."""
        match event:
            case "store_failed" | "store_timeout_expired":
                assert isinstance(detail, LeaseError)
                self._error = detail
                return True
            case "lease_freed" if self._state in _STANDING_BY:
                # It is asked for next: only that tells whether the store does what it should.
                return False
            case "lease_granted" | "lease_refused" | "lease_freed":
                self._error = None
                return False
            case _:
                return False

    def moved(self, before: str, after: str, event: str, at: float, epoch: int) -> LinkEvent | None:
        """The chart has gone from one leaf to another on ``event``: what is told, if anything.

        ``Standby`` is not: see ``standby``.
        """
        left, state = OWNERSHIP[before], OWNERSHIP[after]
        if left == state:
            return None
        if not (left in _STANDING_BY and state in _STANDING_BY):
            self._since = at
        if state not in _HAVING:
            self._asked_at = -math.inf
        if state not in _STANDING_BY:
            self._told = None
        match state:
            case "withdrawn":
                self._other, self._other_ends, self._error = "", math.inf, None
                return Withdrawn(at, epoch)
            case "owner":
                return Owning(at, epoch, self._epoch)
            case "doubtful":
                assert self._error is not None
                return Doubtful(at, epoch, self._error, self.ownership.ends_in)
            case "draining":
                return Draining(at, epoch, _WHY[event])
            case _:
                return None

    def standby(self, at: float, epoch: int) -> Standby | None:
        """What a standby knows, when that is not told yet. To be called after each change."""
        if self._was_ready is not self.is_ready_standby:
            self._was_ready, self._ready_since = not self._was_ready, at
        if self._state not in _STANDING_BY:
            return None
        error = self._error
        known = self._other, None if error is None else str(error)
        if known == self._told:
            return None
        self._told = known
        return Standby(at, epoch, self._other, self._epoch, error)

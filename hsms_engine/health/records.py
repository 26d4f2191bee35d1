"""What a link, and a server, say about themselves: frozen records without any object of theirs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from hsms_engine import bounds
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.leasing import Ownership, OwnershipState
from hsms_engine.protocol.phases import Phase
from hsms_engine.settings import ONE_WAY_DELAY, Settings


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a link is ready, and if not, why and until when.

    It is ready when it is selected; with a lease also as a standby: another process owns the tool,
    and this one would take over from it.

    Times are seconds; infinite is one that never comes. ``name`` is that of the settings, or else
    the peer. ``since_seconds``: how long ``is_ready`` is as it is. ``why`` is one sentence.
    ``next_attempt_in`` is 0 while an attempt runs, infinite while none is needed, and when none
    begins by itself. ``last_error`` is the latest failure since the link was selected, or None.

    ``recovery_bound`` is the longest time until both ends are selected, and ``recovery_condition``
    says when that holds, or why it is infinite (``Settings.recovery_bound``).

    ``ownership`` is the state of the lease, and ``owner`` who has it, or None when that is not
    known. ``lease_ends_in`` is as in ``Ownership``. Without a lease they are None and infinite.
    """

    name: str
    peer: str
    is_ready: bool
    phase: Phase
    since_seconds: float
    why: str
    next_attempt_in: float
    recovery_bound: float
    recovery_condition: str
    last_error: str | None
    ownership: OwnershipState | None
    owner: str | None
    lease_ends_in: float

    def as_json(self) -> dict[str, object]:
        """Its fields as plain JSON values, in which null stands for infinite too."""
        return _plain(asdict(self))


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """Whether a server is ready, that is listens. It dials nobody, and says who has come.

    ``since_seconds``: how long ``is_ready`` is as it is. ``connections`` are open, ``selected`` of
    them have a session.
    """

    name: str
    peer: str
    is_ready: bool
    since_seconds: float
    why: str
    connections: int
    selected: int

    def as_json(self) -> dict[str, object]:
        """Its fields as plain JSON values."""
        return _plain(asdict(self))


def link_health(engine: Engine) -> Health:
    """The health of a link that reconnects, at one moment; from another thread, at nearly one."""
    while True:
        phase, is_selected, ownership = engine.phase, engine.is_selected, engine.ownership
        state = None if ownership is None else ownership.state
        is_standby = not is_selected and engine.is_ready_standby
        error, last_error = engine.unusable(), engine.last_error
        settings, peer = engine.settings, engine.peer
        retry_after = engine.statistics().retry_after
        bound, condition = _recovery(settings, state, comes_back=retry_after < math.inf)
        health = Health(
            name=settings.name or peer,
            peer=peer,
            is_ready=is_selected or is_standby,
            phase=phase,
            since_seconds=_since(engine, is_selected=is_selected, is_standby=is_standby),
            why=_selected(engine, ownership) if is_selected else _without(peer, error),
            next_attempt_in=math.inf if is_selected else retry_after,
            recovery_bound=bound,
            recovery_condition=condition,
            last_error=None if last_error is None else _without(peer, last_error),
            ownership=state,
            owner=None if ownership is None else ownership.owner or None,
            lease_ends_in=math.inf if ownership is None else ownership.ends_in,
        )
        now = engine.ownership
        if (engine.phase, None if now is None else now.state) == (phase, state):
            return health


def server_health(
    settings: Settings,
    address: str,
    *,
    connections: int,
    selected: int,
    is_listening: bool,
    since_seconds: float,
) -> ServerHealth:
    """The health of a server with these counts."""
    sessions = f"{selected} of {settings.max_sessions} sessions selected"
    return ServerHealth(
        name=settings.name or address,
        peer=address,
        is_ready=is_listening,
        since_seconds=since_seconds,
        why=f"listening; {sessions}" if is_listening else f"closed; {sessions}",
        connections=connections,
        selected=selected,
    )


def _since(engine: Engine, *, is_selected: bool, is_standby: bool) -> float:
    """How long it is ready, or is not."""
    if is_selected:
        return engine.unchanged_for
    ready_for = engine.standby_unchanged_for
    return ready_for if is_standby else min(engine.unchanged_for, ready_for)


def _selected(engine: Engine, ownership: Ownership | None) -> str:
    if ownership is None or ownership.state != "doubtful":
        return "selected"
    return (
        f"selected; the lease of the tool is doubtful ({engine.store_error}): disabled in "
        f"{ownership.ends_in:.1f} s unless the store answers"
    )


def _without(peer: str, error: Exception) -> str:
    """The text of an error without the name of the peer, which stands beside it."""
    return str(error).removeprefix(f"{peer}: ")


def _recovery(
    settings: Settings, state: OwnershipState | None, *, comes_back: bool
) -> tuple[float, str]:
    """The bound, and when it holds, or why it is infinite."""
    if not comes_back and state in ("standby", "acquiring", "draining"):
        return math.inf, "no attempt begins before this process has the lease of the tool"
    if not comes_back:
        return math.inf, "no attempt begins by itself: it is disabled, isolated or closed"
    bound = bounds.recovery(settings, ONE_WAY_DELAY)
    if bound.seconds < math.inf:
        ends = f"both ends have these settings, a frame takes at most {ONE_WAY_DELAY:g} s"
        return bound.seconds, f"{bound.about}; {ends}"
    never = [f"{each.name}: {each.why}" for each in bound.terms if each.seconds == math.inf]
    return math.inf, "; ".join(
        [*(str(each) for each in bound.conditions if not each.holds), *never]
    )


def _plain(fields: dict[str, object]) -> dict[str, object]:
    return {name: None if value == math.inf else value for name, value in fields.items()}

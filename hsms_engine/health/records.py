"""What a link, and a server, say about themselves: frozen records without any object of theirs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from hsms_engine import bounds
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.phases import Phase
from hsms_engine.settings import ONE_WAY_DELAY, Settings


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a link is ready, that is selected, and if not, why and until when.

    Times are seconds; infinite is one that never comes. ``name`` is that of the settings, or else
    the peer. ``since_seconds``: how long ``is_ready`` is as it is. ``why`` is one sentence.
    ``next_attempt_in`` is 0 while an attempt runs, infinite while none is needed, and when none
    begins by itself. ``last_error`` is the latest failure since the link was selected, or None.

    ``recovery_bound`` is the longest time until both ends are selected, and ``recovery_condition``
    says when that holds, or why it is infinite (``Settings.recovery_bound``).
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
        phase, is_ready = engine.phase, engine.is_selected
        error, last_error = engine.unusable(), engine.last_error
        settings, peer = engine.settings, engine.peer
        retry_after = engine.statistics().retry_after
        bound, condition = _recovery(settings, comes_back=retry_after < math.inf)
        health = Health(
            name=settings.name or peer,
            peer=peer,
            is_ready=is_ready,
            phase=phase,
            since_seconds=engine.unchanged_for,
            why="selected" if is_ready else _without(peer, error),
            next_attempt_in=math.inf if is_ready else retry_after,
            recovery_bound=bound,
            recovery_condition=condition,
            last_error=None if last_error is None else _without(peer, last_error),
        )
        if engine.phase == phase:
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


def _without(peer: str, error: Exception) -> str:
    """The text of an error without the name of the peer, which stands beside it."""
    return str(error).removeprefix(f"{peer}: ")


def _recovery(settings: Settings, *, comes_back: bool) -> tuple[float, str]:
    """The bound, and when it holds, or why it is infinite."""
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

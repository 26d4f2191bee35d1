"""One connection that a server has accepted: its handshake, its rights, and what is told of it.

The server decides who has a place; nothing here knows of other places.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from hsms_engine.admission import sessions_of
from hsms_engine.connection import HsmsConnection
from hsms_engine.driver.driver import Driver
from hsms_engine.driver.tcp import Stream
from hsms_engine.driver.tls import TlsStream, secure
from hsms_engine.driver.tls_files import TlsChoice
from hsms_engine.events import (
    Closed,
    LinkEvent,
    NotSelected,
    PeerAccepted,
    PeerDeselected,
    PeerEnded,
    PeerSelected,
    Selected,
    ServerEvent,
)
from hsms_engine.protocol.causes import CLOSED
from hsms_engine.settings import Settings

# How many names of a certificate a text has: a peer may have any number of them.
_NAMES_SHOWN = 3


@dataclass(slots=True, eq=False)
class Place:
    """A connection that was accepted, until its handler has ended. ``number`` is its order."""

    number: int
    host: str
    driver: Driver
    connection: HsmsConnection
    # Around everything that is done for this connection: that of its nursery, once it has begun.
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    # Around its handshake, and when that began.
    handshake: trio.CancelScope = field(default_factory=trio.CancelScope)
    began: float = 0.0
    # Why we have closed it; empty when we have not.
    why: str = ""
    # What a new reader of events is told of it first; None when it is told that it has ended.
    latest: PeerAccepted | PeerSelected | PeerDeselected | None = None

    @property
    def peer(self) -> str:
        return self.driver.engine.peer

    def begin(self, scope: trio.CancelScope) -> None:
        """All that is done for this connection is done in ``scope``, from now on."""
        if self.scope.cancel_called:
            scope.cancel()
        self.scope = scope

    # TLS

    async def shake_hands(
        self, stream: Stream, choice: TlsChoice, settings: Settings
    ) -> TlsStream | None:
        """Make TLS of its stream; None when that is not chosen.

        T7 is the deadline: it says how long TCP may be open without a session. It begins anew when
        the handshake is over, because the engine knows of no TCP before that. Raises like
        ``secure``, or ``trio.TooSlowError``.
        """
        context = choice.context(settings)
        if context is None:
            return None
        self.began = trio.current_time()
        self.handshake.deadline = self.began + settings.t7
        with self.handshake:
            secured = await secure(stream, context, listens=True)
            self.driver.certificate = secured.peer_certificate
            return secured
        raise trio.TooSlowError

    def use(self, settings: Settings) -> None:
        """Use these settings, in a handshake that runs too."""
        self.handshake.deadline = self.began + settings.t7
        self.driver.use(settings)

    def restrict(self, rules: tuple[str, ...]) -> str:
        """Let the peer use the session ids of its certificate. Why it may use none, if so."""
        if not rules:
            return ""
        certificate = self.driver.certificate
        names = certificate.names if certificate is not None else ()
        session_ids = sessions_of(names, rules)
        self.driver.engine.allow(session_ids)
        if session_ids:
            return ""
        shown = ", ".join(names[:_NAMES_SHOWN]) or "without a name"
        return f"its certificate ({shown}) may use no session here (tls_sessions)"

    # What is told of it

    def news(self, event: LinkEvent) -> ServerEvent | None:
        """What readers of the server are told when this happens; None: nothing."""
        if self.latest is None:
            return None
        match event:
            case Selected(at):
                self.latest = PeerSelected(at, self.number, self.peer)
            case NotSelected(at) if self.driver.engine.times_selected:
                self.latest = PeerDeselected(at, self.number, self.peer)
            case Closed(at):
                return self.end(at)
            case _:
                return None
        return self.latest

    def end(self, at: float) -> PeerEnded:
        """Tell that it has ended, the last that is told of it."""
        engine, self.latest = self.driver.engine, None
        why = self.why or str(engine.last_error or CLOSED).removeprefix(f"{self.peer}: ")
        return PeerEnded(at, self.number, self.peer, engine.times_selected > 0, why)

"""What the objects of both doors share: the trio object behind them, and what needs no waiting.

Their properties and ``statistics`` may be used in any thread, and never wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from hsms_engine.connection import HsmsConnection
from hsms_engine.doors.call import Call
from hsms_engine.doors.hold import Hold
from hsms_engine.doors.later import Later
from hsms_engine.doors.thread import TrioThread
from hsms_engine.driver.driver import Driver
from hsms_engine.driver.event_reader import E, EventReader
from hsms_engine.driver.tls import PeerCertificate
from hsms_engine.link import HsmsLink
from hsms_engine.message import Message
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.phases import Phase
from hsms_engine.protocol.statistics import Statistics
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.protocol.transfers import Transfers
from hsms_engine.server import HsmsServer
from hsms_engine.server_statistics import ServerStatistics
from hsms_engine.settings import Settings

if TYPE_CHECKING:
    from hsms_engine.health import ServerHealth

M = TypeVar("M", HsmsConnection, HsmsLink)


class Held(Generic[M]):
    """A connection or a link of the trio API, which lives in the trio thread."""

    def __init__(self, thread: TrioThread, held: M) -> None:
        self._thread = thread
        self._held: M = held

    def __repr__(self) -> str:
        return f"<{_name(self)} {self.peer} {self._held._state_text}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and other._held is self._held

    def __hash__(self) -> int:
        return hash(self._held)

    @property
    def peer(self) -> str:
        """The peer's name in messages to people."""
        return self._held.peer

    @property
    def local_address(self) -> str:
        """That of this end of the latest connection, as ``host:port``; empty when not known."""
        return self._held.local_address

    @property
    def remote_address(self) -> str:
        """That of the peer, also when the link was given a name."""
        return self._held.remote_address

    @property
    def phase(self) -> Phase:
        """``"connecting"``, ``"selecting"``, ``"selected"``, ``"not selected"``, ``"closed"`` …"""
        return self._held.phase

    @property
    def is_selected(self) -> bool:
        """Whether data messages may be sent now (E37: SELECTED)."""
        return self._held.is_selected

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._held.settings

    @property
    def peer_certificate(self) -> PeerCertificate | None:
        """What the peer of the latest connection has proved to be; None without TLS, or unasked."""
        return self._held.peer_certificate

    def statistics(self) -> Statistics:
        """All counts, taken at the same moment."""
        return self._held.statistics()

    def transfers(self) -> Transfers:
        """How far the bytes are that take their time: to show the progress of long messages."""
        return self._held.transfers()

    @property
    def _source(self) -> Engine:
        return self._held._source

    def _observe(self, attach: Callable[[Driver], None]) -> None:
        """``attach`` is called in the trio thread, before all later calls."""
        self._thread.soon(partial(self._held._observe, attach))

    # For the doors

    def _request(self, message: Message, call: Call[Message]) -> None:
        """Begin ``request``, in the trio thread, and without a task if possible."""

        def settled(transaction: Transaction) -> None:
            call.finish(transaction.reply)

        if (abandon := self._held._request_now(message, settled)) is not None:
            call.begin(abandon)
        else:
            self._thread.spawn(partial(self._held.request, message), call)

    def _send(self, message: Message, call: Call[None]) -> None:
        """The same for ``send``: without a task, messages keep the order of their calls."""
        if self._held._send_now(message):
            call.succeed(None)
        else:
            self._thread.spawn(partial(self._held.send, message), call)

    def _reply(self, primary: Message, reply: Message, call: Call[None]) -> None:
        """The same for ``reply``."""
        if self._held._reply_now(primary, reply):
            call.succeed(None)
        else:
            self._thread.spawn(partial(self._held.reply, primary, reply), call)

    def _receive(self, call: Call[Primary]) -> None:
        """The same for ``receive``."""
        self._take(call, self._held._received)

    def _iterate(self, call: Call[Primary]) -> None:
        """The same for ``__anext__``."""
        self._take(call, self._held._iterated)

    def _take(self, call: Call[Primary], received: Callable[[Primary | None], Primary]) -> None:
        def taker(primary: Primary | None) -> None:
            # At the end of the thread this call fails as all others, and is told of that end.
            if primary is not None or not self._thread.is_over:
                call.finish(partial(received, primary))

        call.begin(self._held._next_now(taker))

    def _close(self, call: Call[None]) -> None:
        """Hand ``aclose`` over. When it is abandoned, also before it begins, it does not wait."""
        call.begin(self._held._close_at_once)
        self._thread.run(call, self._held.aclose)


class HeldServer:
    """A server of the trio API, and the block that holds it open."""

    def __init__(self, thread: TrioThread, hold: Hold[HsmsServer], held: HsmsServer) -> None:
        self._thread = thread
        self._hold = hold
        self._held = held

    def __repr__(self) -> str:
        return f"<{_name(self)} {self.address}>"

    @property
    def address(self) -> str:
        """``host:port``."""
        return self._held.address

    @property
    def port(self) -> int:
        """The TCP port. When the settings have 0, it is the port that the system has chosen."""
        return self._held.port

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._held.settings

    def statistics(self) -> ServerStatistics:
        """All counts, those of connections that are over included."""
        return self._held.statistics()

    @property
    def _source(self) -> HsmsServer:
        return self._held

    def _observe(self, attach: Callable[[Driver], None]) -> None:
        """As ``Held._observe``."""
        self._thread.soon(partial(self._held._observe, attach))

    def health(self) -> ServerHealth:
        """Whether it listens, since when, and how many peers have come."""
        return self._held.health()


class HeldReader(Generic[E]):
    """A reader of events. It is there from the call that has made it on.

    Calls reach the trio thread in their order, so it gets what all later ones bring about.
    """

    def __init__(self, thread: TrioThread, of: object, make: Callable[[], EventReader[E]]) -> None:
        self._thread = thread
        self._of = of
        self._reader = Later(thread, make)

    def __repr__(self) -> str:
        return f"<{_name(self)} of {self._of!r}>"


class SessionTask:
    """What ``on_selected`` returns."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """Take the task away, also for the sessions to come."""
        self._cancel()


def _name(held: object) -> str:
    """The name of the class, by the door that it belongs to."""
    kind = type(held)
    return f"{kind.__module__.rpartition('.')[0]}.{kind.__name__}"

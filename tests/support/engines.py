"""An engine without a driver: a clock that a test sets, a peer of bytes that it writes."""

from __future__ import annotations

from random import Random
from typing import Any

from hsms_engine import Settings
from hsms_engine.protocol import (
    ACTIVE_LINK,
    PASSIVE_LINK,
    ControlTransaction,
    Engine,
    Entity,
    Kept,
    OpenTcp,
    Output,
    Primary,
    Step,
    Transaction,
)
from hsms_engine.wire import Decoder, Frame
from statecharts import System
from tests.support.raw_peer import SELECT_REQ, select_req, select_rsp


class End:
    """One engine, without linktests of its own and without jitter unless ``changes`` say so.

    ``changes`` are settings. A dial begins at once.
    """

    def __init__(
        self,
        system: System = ACTIVE_LINK,
        *,
        entity: Entity | None = None,
        single_use: bool = False,
        kept: Kept | None = None,
        **changes: Any,
    ) -> None:
        self.now = 0.0
        # False: the peer takes no byte of what is written.
        self.is_read = True
        # What was written, whole.
        self.frames: list[Frame] = []
        self._written = Decoder(2**32 - 1)
        self.engine = Engine(
            system,
            Settings(linktest_interval=None, backoff_jitter=0.0).replace(**changes),
            clock=lambda: self.now,
            random=Random(1),
            peer=lambda settings: "tool" if settings.port == 5000 else "another",
            entity=entity,
            single_use=single_use,
            kept=kept,
        )

    def out(self) -> list[Output]:
        """What has come out, steps of the charts left out; bytes are written."""
        found: list[Output] = []
        while (output := self.engine.next_output()) is not None:
            match output:
                case bytes():
                    self.frames += self._written.feed(output)
                    self.engine.wrote(len(output) if self.is_read else 0)
                    found.append(output)
                case Step():
                    pass
                case OpenTcp():
                    self.engine.dial_began()
                    found.append(output)
                case _:
                    found.append(output)
        return found

    def take(self, *pieces: bytes) -> list[Output]:
        """These bytes have come, in one piece; what follows."""
        self.engine.receive(b"".join(pieces))
        return self.out()

    def primary(self, piece: bytes) -> Primary:
        """The primary that these bytes are."""
        (primary,) = (each for each in self.take(piece) if isinstance(each, Primary))
        return primary

    def at(self, now: float) -> list[Output]:
        """It is ``now``, in seconds; what follows."""
        self.now = now
        self.engine.tick()
        return self.out()

    @property
    def last(self) -> int:
        """The system bytes of the last frame written."""
        return self.frames[-1].system_bytes

    def counts(self) -> dict[str, int]:
        return self.engine.statistics().counts

    def linktest(self) -> ControlTransaction:
        transaction = self.engine.linktest()
        self.out()
        return transaction

    def deselect(self) -> ControlTransaction:
        transaction = self.engine.deselect()
        self.out()
        return transaction

    def select(self) -> ControlTransaction:
        transaction = self.engine.select()
        self.out()
        return transaction


def dialling(**changes: Any) -> End:
    """Enabled, and TCP connect has begun."""
    end = End(**changes)
    end.engine.enable()
    end.out()
    return end


def selecting(**changes: Any) -> End:
    """TCP is up and Select.req is written."""
    end = dialling(**changes)
    end.engine.tcp_opened()
    end.out()
    assert end.frames[-1].stype == SELECT_REQ
    return end


def selected(**changes: Any) -> End:
    """The end that dials, selected."""
    end = selecting(**changes)
    end.take(select_rsp(end.last))
    assert end.engine.is_selected
    return end


def accepted(**changes: Any) -> End:
    """The end that listens, not selected."""
    end = End(PASSIVE_LINK, **changes)
    end.engine.tcp_accepted()
    end.out()
    return end


def serving(**changes: Any) -> End:
    """The end that listens, selected."""
    end = accepted(**changes)
    end.take(select_req(1))
    assert end.engine.is_selected
    return end


def text_of(error: object) -> str:
    """What an error says; the test fails when there is none."""
    assert isinstance(error, Exception), error
    return str(error)


def outcome_of(transaction: Transaction | ControlTransaction) -> object:
    """How a settled transaction has turned out."""
    assert transaction.is_settled
    match transaction:
        case Transaction(outcome=outcome):
            return outcome
        case ControlTransaction(error=error):
            return error

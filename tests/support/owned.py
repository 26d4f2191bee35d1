"""An engine with a lease, without a driver: clocks that a test sets, and a store that it plays."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hsms_engine import Settings
from hsms_engine.errors import LeaseError
from hsms_engine.protocol import (
    AskStore,
    Kept,
    LeaseTimes,
    Output,
    OwnedEngine,
    Primary,
    ReleaseLease,
    StopAsking,
    StoreCall,
)
from tests.support.engines import End
from tests.support.raw_peer import select_rsp

TIMES = LeaseTimes(10, "TOOL-7", "host-a:1")
SILENT = LeaseError("the store is away")


class OwnedEnd(End):
    """As ``End``. ``asleep``: for how long the system was suspended, in seconds.

    ``asked`` is what the store is asked now, ``released`` how often the lease was given back.
    """

    engine: OwnedEngine

    def __init__(
        self,
        *,
        times: LeaseTimes = TIMES,
        kept: Kept | None = None,
        **changes: Any,
    ) -> None:
        super().__init__()
        self.asleep = 0.0
        self.clock: Callable[[], float] = lambda: self.now
        self.asked: StoreCall | None = None
        self.released = 0
        # What a test wants to answer later.
        self.primaries: list[Primary] = []
        self.engine = OwnedEngine(
            Settings(linktest_interval=None, backoff_jitter=0.0).replace(**changes),
            lease=times,
            lease_clock=lambda: self.clock() + self.asleep,
            clock=self._time,
            random=Random(1),
            peer=lambda _: "tool",
            kept=kept,
        )

    def _time(self) -> float:
        # It is looked up each time: a test may put another clock there.
        return self.clock()

    def out(self) -> list[Output]:
        found = super().out()
        for output in found:
            match output:
                case AskStore(call):
                    assert self.asked is None
                    self.asked = call
                case StopAsking():
                    assert self.asked is not None
                    self.asked = None
                case ReleaseLease():
                    assert self.asked is None
                    self.released += 1
                case _:
                    pass
        return found

    @property
    def state(self) -> str:
        """The leaf of the lease chart."""
        return self.engine.states["lease"].leaves

    def grant(self, epoch: int = 4, kept: Kept | None = None) -> list[Output]:
        """The store gives the lease, or renews it, at once."""
        self.engine.lease_granted(epoch, self.now + self.asleep, kept)
        return self.out()

    def refuse(self, owner: str = "host-b:2", epoch: int = 5) -> list[Output]:
        """Another owner has it for five seconds."""
        self.engine.lease_refused(owner, epoch, 5.0)
        return self.out()

    def fail(self, error: LeaseError = SILENT) -> list[Output]:
        """The store does not answer."""
        self.engine.store_failed(error)
        return self.out()


def withdrawn(**changes: Any) -> OwnedEnd:
    """As it begins."""
    return OwnedEnd(**changes)


def acquiring(**changes: Any) -> OwnedEnd:
    """Enabled, and the store has not answered."""
    end = OwnedEnd(**changes)
    end.engine.enable()
    end.out()
    return end


def standby(**changes: Any) -> OwnedEnd:
    """Another one has the lease."""
    end = acquiring(**changes)
    end.refuse(epoch=3)
    return end


def owner(**changes: Any) -> OwnedEnd:
    """The lease is ours since 0, and the tool is dialled."""
    end = acquiring(**changes)
    end.grant()
    return end


def owner_selected(**changes: Any) -> OwnedEnd:
    """The same, and the session is selected."""
    end = owner(**changes)
    end.engine.tcp_opened()
    end.out()
    end.take(select_rsp(end.last))
    assert end.engine.is_selected
    return end


def renewing(**changes: Any) -> OwnedEnd:
    """Selected, and the renewal is not answered."""
    end = owner_selected(**changes)
    end.at(2.5)
    return end


def pausing(**changes: Any) -> OwnedEnd:
    """Selected, and the renewal has failed."""
    end = renewing(**changes)
    end.fail()
    return end


def asking_again(**changes: Any) -> OwnedEnd:
    """Selected, and the second renewal is not answered."""
    end = pausing(**changes)
    end.at(3)
    return end


def draining(**changes: Any) -> OwnedEnd:
    """Separate.req is not read by the peer; the lease was given up by a call."""
    end = owner_selected(**changes)
    end.is_read = False
    end.engine.disable()
    end.out()
    return end


def lost(**changes: Any) -> OwnedEnd:
    """The same, but another one has got the lease."""
    end = renewing(**changes)
    end.is_read = False
    end.refuse()
    return end


def ended(**changes: Any) -> OwnedEnd:
    """Closed for good."""
    end = OwnedEnd(**changes)
    end.engine.close()
    end.out()
    return end


LEAVES: dict[str, Callable[..., OwnedEnd]] = {
    "withdrawn": withdrawn,
    "acquiring": acquiring,
    "standby": standby,
    "settled": owner_selected,
    "renewing": renewing,
    "pausing": pausing,
    "asking_again": asking_again,
    "draining": draining,
    "ended": ended,
}
"""An end in each state of its lease chart in which a step may stop."""

"""Two machines, one tool and one store of leases, in virtual time; and what must never be.

``Book`` knows what the store has granted, to whom and until when. ``Plant`` notes each byte that a
machine hands to its kernel without having the lease by then, and each session that the tool has
beside another one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Protocol

import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import HsmsLink, open_link
from hsms_engine.lease import Granted, Held, Lease, Vacant
from hsms_engine.virtual import Machine, Network, Socket
from tests.support.faulty_lease import FaultyLease
from tests.support.raw_peer import (
    LINKTEST_REQ,
    SELECT_REQ,
    SEPARATE_REQ,
    RawPeer,
    linktest_rsp,
    select_rsp,
)

QUIET: dict[str, Any] = {"t5": 1, "linktest_interval": None}


class Store(Protocol):
    """What gives leases."""

    def lease(self, name: str, owner: str | None = None) -> Lease: ...


class Book:
    """Until when the store has given the tool to whom, by the store's own doing."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}

    def granted(self, owner: str, duration: float) -> None:
        self._ends[owner] = trio.current_time() + duration

    def ended(self, owner: str) -> None:
        self._ends.pop(owner, None)

    def owners(self) -> list[str]:
        """Those who have it now."""
        # The store may have another zero of time, so another last digit.
        now = trio.current_time() + 1e-6
        return [owner for owner, end in self._ends.items() if now < end]


class Booked(FaultyLease):
    """A lease whose grants are in the book, as of the moment at which the store has made them."""

    def __init__(self, lease: Lease, book: Book) -> None:
        super().__init__(_Booking(lease, book))


class _Booking(FaultyLease):
    def __init__(self, lease: Lease, book: Book) -> None:
        super().__init__(lease)
        self._book = book

    async def _pass(self, seconds: float) -> None:
        """The way from here to the store is none."""

    async def acquire(self) -> Granted | Held:
        answer = await super().acquire()
        self._note(answer)
        return answer

    async def renew(self, epoch: int, saved: bytes) -> Granted | Held | Vacant:
        answer = await super().renew(epoch, saved)
        self._note(answer)
        return answer

    async def release(self, epoch: int, saved: bytes | None) -> None:
        await super().release(epoch, saved)
        self._book.ended(self.owner)

    def _note(self, answer: object) -> None:
        if isinstance(answer, Granted):
            self._book.granted(self.owner, self.duration)
            assert self._book.owners() == [self.owner]


class Host:
    """A process on a machine of its own, which wants the tool."""

    def __init__(self, plant: Plant, name: str) -> None:
        self.plant = plant
        self.machine: Machine = plant.network.machine(name)
        self.name = name
        self.lease = plant.new_lease(name)
        self.link: HsmsLink | None = None
        self.events: list[object] = []
        self.settings: dict[str, Any] = {**QUIET}
        self._scope = trio.CancelScope()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is stopped, or has crashed."""
        with self._scope:
            async with open_link(
                "tool",
                5000,
                dial=self._dial,
                random=self.plant.random,
                lease=self.lease,
                **self.settings,
            ) as link:
                self.link = link
                task_status.started()
                async for event in link.events():
                    self.events.append(event)

    async def _dial(self) -> trio.abc.Stream:
        return await self.machine.dial(self.plant.tool)

    def stop(self) -> None:
        """Leave the block in good order, as by SIGTERM."""
        self._scope.cancel()

    def crash(self) -> None:
        """Like kill -9 and the loss of power: nothing of it is heard any more."""
        self.lease.is_cut = True
        self.machine.crash()
        self._scope.cancel()
        self.plant.forget(self.name)

    def start_again(self) -> Host:
        """Another process on the same machine."""
        self.machine.start()
        again = Host(self.plant, self.name)
        self.plant.hosts[self.name] = again
        return again

    @property
    def is_selected(self) -> bool:
        return self.link is not None and self.link.is_selected


class Plant:
    """One tool, its hosts, and what was seen that must not be."""

    def __init__(self, random: Random, store: Store) -> None:
        self.random = random
        self.book = Book()
        self.store = store
        self.network = Network(random, sent=self._sent)
        self.tool = self.network.machine("tool")
        self.violations: list[str] = []
        # By the socket of the tool: the machine of the host that is selected there.
        self.sessions: dict[object, str] = {}
        self.hosts: dict[str, Host] = {}
        self._processes = 0

    def new_lease(self, machine: str) -> Booked:
        self._processes += 1
        owner = f"{machine}:{self._processes}"
        return Booked(self.store.lease("TOOL-7", owner), self.book)

    def host(self, name: str) -> Host:
        return self.hosts.setdefault(name, Host(self, name))

    def _sent(self, socket: Socket, data: bytes) -> None:
        machine, _, _ = socket.name.partition(":")
        owners = self.book.owners()
        if machine != "tool" and not any(each.startswith(f"{machine}:") for each in owners):
            now = trio.current_time()
            self.violations.append(f"{now}: {machine} sends {data!r}, owners: {owners}")

    def forget(self, machine: str) -> None:
        """The tool notices that this host is gone."""
        self.sessions = {socket: host for socket, host in self.sessions.items() if host != machine}

    async def serve(self) -> None:
        """The tool: it takes every host, so that nothing else keeps them apart."""
        post = self.tool.listen(5000)
        async with trio.open_nursery() as nursery:
            while True:
                socket, peer = await post.accept()
                nursery.start_soon(self._serve_one, socket, peer)

    async def _serve_one(self, socket: Socket, name: str) -> None:
        peer, machine = RawPeer(socket), name.partition(":")[0]
        try:
            while (frame := await peer.next_frame()) is not None:
                match frame.stype:
                    case x if x == SELECT_REQ:
                        self.sessions[socket] = machine
                        if len(self.sessions) > 1:
                            found = sorted(self.sessions.values())
                            self.violations.append(f"{trio.current_time()}: sessions of {found}")
                        await peer.send(select_rsp(frame.system))
                    case x if x == LINKTEST_REQ:
                        await peer.send(linktest_rsp(frame.system))
                    case x if x == SEPARATE_REQ:
                        break
                    case _:
                        pass
        except trio.BrokenResourceError:
            pass
        finally:
            self.sessions.pop(socket, None)
            with trio.CancelScope(shield=True):
                await socket.aclose()


@asynccontextmanager
async def plant(
    store: Callable[[], Store], seed: int = 1
) -> AsyncIterator[tuple[Plant, trio.Nursery]]:
    """A plant that runs; at its end nothing may have been seen that must not be."""
    made = Plant(Random(seed), store())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.network.run)
        nursery.start_soon(made.serve)
        await wait_all_tasks_blocked()
        yield made, nursery
        nursery.cancel_scope.cancel()
    assert made.violations == []


async def within(seconds: float, ready: Callable[[], object]) -> float:
    """Wait until ``ready()``; after how many seconds that was. Fails when it takes longer."""
    began, step = trio.current_time(), 0.05
    while not ready():
        assert trio.current_time() - began < seconds
        await trio.sleep(step)
    return trio.current_time() - began

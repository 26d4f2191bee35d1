"""Any life of a link: no counter ever falls, and all numbers agree with ``statistics()``."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import HsmsError, HsmsLink, Message
from hsms_engine.metrics import Collector
from hsms_engine.wire import SType
from tests.support.leaks import leak_check, no_task_left
from tests.support.metrics import Shown, fallen, number, numbers, shown
from tests.support.pair import Switchboard, link_end
from tests.support.raw_peer import (
    LINKTEST_REQ,
    RawPeer,
    data,
    deselect_req,
    linktest_req,
    linktest_rsp,
    raw,
    select_req,
    select_rsp,
    separate_req,
)
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]


# The bit of a primary that wants a reply.
W = 0x80


class Life:
    """A link and its peers, which do anything at any time."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.board = Switchboard()
        self.peers: list[RawPeer] = []
        self.before: Shown = {}

    async def meet(self) -> None:
        """The peers of all connections: each answers Select.req, or nothing."""
        while True:
            peer = await self.board.peer()
            self.peers.append(peer)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, AssertionError):
                if self.random.random() < 0.8:
                    system = (await peer.frame()).system
                    await peer.send(select_rsp(system, self.random.choice([0, 0, 0, 2])))

    async def peer_acts(self) -> None:
        if not self.peers:
            return
        peer, random = self.peers[-1], self.random
        system = random.randrange(4)
        said = random.choice(
            [
                separate_req(system),
                data(1, 1, system, wait=True),
                data(1, 2, system),
                data(1, 1, system)[: random.randrange(1, 14)],
                deselect_req(system),
                select_req(system),
                linktest_req(system),
                raw(0, 1, length=3),
                None,
            ]
        )
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if said is None:
                await peer.close()
            else:
                await peer.send(said)

    async def answer(self) -> None:
        """The latest peer answers the next frame that has come, if it is a request."""
        if not self.peers:
            return
        peer, got = self.peers[-1], None
        with suppress(AssertionError), trio.move_on_after(0.001):
            got = await peer.next_frame()
        if got is None:
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if got.stype == LINKTEST_REQ:
                await peer.send(linktest_rsp(got.system))
            elif got.stype == SType.DATA and got.byte2 & W:
                await peer.send(data(got.byte2 - W, got.byte3 + 1, got.system))

    async def serves(self, link: HsmsLink) -> None:
        async for primary in link:
            with suppress(HsmsError):
                await link.reply(primary, Message(primary.stream, primary.function + 1))

    async def asks(self, link: HsmsLink) -> None:
        with suppress(HsmsError):
            await link.request(Message(1, 1, wait=True))

    async def deselects(self, link: HsmsLink) -> None:
        with suppress(HsmsError):
            await link.deselect()

    async def link_acts(self, link: HsmsLink, nursery: trio.Nursery) -> None:
        random, board = self.random, self.board
        with suppress(HsmsError):
            match random.randrange(10):
                case 0:
                    link.disable()
                case 1 | 2 | 3:
                    link.enable()
                case 4:
                    nursery.start_soon(self.deselects, link)
                case 5:
                    link.isolate()
                case 6:
                    link.reset_breaker()
                case 7:
                    link.configure(
                        linktest_interval=random.choice([None, 1, 30]),
                        unreachable_after=random.choice([None, 1, 60]),
                        max_frame=random.choice([100, 10_000]),
                    )
                case 8:
                    board.refusal = random.choice([None, ConnectionRefusedError(111, "no")])
                case _:
                    nursery.start_soon(self.asks, link)

    def look(self, collector: Collector, link: HsmsLink, begun: float) -> None:
        now, told = shown(collector), link.statistics()
        assert fallen(self.before, now) == []
        if self.before:
            assert self.before.keys() - now.keys() == set()
        self.before = now
        is_selected = told.phase == "selected"
        ends = numbers(collector, "hsms_disconnects_total", "reason")
        assert sum(ends.values()) == told.times_selected - is_selected
        outcomes = numbers(collector, "hsms_attempts_total", "outcome")
        assert sum(outcomes.values()) == told.attempts - (told.phase in ("connecting", "selecting"))
        assert numbers(collector, "hsms_link_state", "state") == {told.phase: 1}
        frames = {"sent": 0.0, "received": 0.0}
        for (name, labels), value in now.items():
            if name == "hsms_frames_total":
                frames[dict(labels)["direction"]] += value
        counts = told.counts
        assert frames["received"] == counts["frames_received"]
        assert frames["sent"] == counts["messages_sent"] + counts["control_frames_sent"]
        seconds = number(collector, "hsms_selected_seconds_total")
        assert 0 <= seconds <= trio.current_time() - begun + 1e-6
        for name in ("recovery", "round_trip", "answer", "linktest"):
            count = number(collector, f"hsms_{name}_seconds_count")
            assert number(collector, f"hsms_{name}_seconds_bucket", le="+Inf") == count
            assert (number(collector, f"hsms_{name}_seconds_sum") > 0) <= (count > 0)


@pytest.mark.parametrize("seed", range(4))
async def test_no_counter_falls_and_all_agree_in_any_life(seed: int) -> None:
    collector, life = Collector(), Life(seed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.meet)
        async with link_end(life.board, linger=0.1, breaker_threshold=3) as link:
            collector.add(link, "a")
            nursery.start_soon(life.serves, link)
            begun = trio.current_time()
            for _ in range(100):
                await life.peer_acts()
                await life.link_acts(link, nursery)
                await trio.sleep(0.001)
                await life.answer()
                await trio.sleep(life.random.choice([0, 0.1, 1, 6, 20]))
                # What was queued in this turn is told at its end.
                await wait_all_tasks_blocked()
                life.look(collector, link, begun)
        life.look(collector, link, begun)
        nursery.cancel_scope.cancel()

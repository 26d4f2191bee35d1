"""The fault proxy, on connections in memory and a clock that jumps: what it does and tells."""

from __future__ import annotations

import errno
import math
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine.driver.tcp import Listening as Listener
from hsms_engine.proxy import (
    AcceptAndSayNothing,
    Acted,
    BlackHole,
    CorruptFrame,
    DropFrame,
    Ended,
    FaultError,
    InsertFrame,
    Latency,
    NotDialled,
    NotHsms,
    NotListening,
    Proxy,
    Rate,
    Refuse,
    Slice,
    open_proxy,
    parse_fault,
)
from hsms_engine.proxy.armed import ROOM, Armed
from hsms_engine.proxy.cutter import Cutter
from hsms_engine.proxy.events import described
from hsms_engine.proxy.faults import CORRUPTIBLE, KNOWN, usage
from hsms_engine.proxy.patterns import PATTERNS, frame_bytes, matches
from hsms_engine.virtual import Kernel, Network, Socket
from hsms_engine.wire import Decoder
from statecharts.nursery import open_bare_nursery
from tests.simulation.clock import VirtualClock
from tests.support.one_way import OneWay
from tests.support.raw_peer import (
    RawPeer,
    data,
    linktest_req,
    linktest_rsp,
    raw,
    select_req,
    select_rsp,
    separate_req,
)
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]


class Between:
    """A host and an equipment, and the proxy between them, on a network in memory.

    ``room``: bytes that the buffers of each kernel take, for each connection and direction.
    """

    def __init__(self, room: float = math.inf) -> None:
        kernel = Kernel(send_buffer=room, receive_buffer=room)
        self.network = Network(Random(1), kernel, self._note)
        self._host, self.machine, self.tool = map(self.network.machine, ("host", "proxy", "tool"))
        self._called = self.tool.listen()
        # How many bytes each end has sent at once, each time.
        self.pieces: dict[Socket, list[int]] = {}
        self.dialled = 0
        # What the proxy has of the stream that it dials.
        self.around: Callable[[Socket], trio.abc.Stream] = lambda each: each
        # What the next attempts to listen raise, and to dial.
        self.failures: list[OSError] = []
        self.refusal: OSError | None = None
        self.proxy: Proxy

    def _note(self, source: Socket, piece: bytes) -> None:
        self.pieces.setdefault(source, []).append(len(piece))

    async def listen(self, port: int) -> Listener:
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop()
        return self.machine.listen(port or 5_000)

    async def dial(self) -> trio.abc.Stream:
        if self.refusal is not None:
            raise self.refusal
        self.dialled += 1
        return self.around(await self.machine.dial(self.tool))

    async def come(self) -> RawPeer:
        """A host that has connected to the proxy."""
        return RawPeer(await self._host.dial(self.machine))

    async def called(self) -> RawPeer:
        """The equipment that the proxy has dialled."""
        stream, _ = await self._called.accept()
        return RawPeer(stream)

    async def connect(self) -> tuple[RawPeer, RawPeer]:
        """A host and the equipment that the proxy has dialled for it."""
        return await self.come(), await self.called()

    def told(self) -> list[str]:
        """The lines of what faults have done, and where: without the fault."""
        return [
            str(each).partition(" (")[0]
            for each in self.proxy.happened()
            if isinstance(each, Acted)
        ]

    def last(self) -> object:
        return self.proxy.happened()[-1]


@asynccontextmanager
async def proxied(*faults: str, room: float = math.inf, **options: Any) -> AsyncIterator[Between]:
    between = Between(room)
    opening = open_proxy(
        *("tool", 5000), dial=between.dial, listen=between.listen, faults=faults, **options
    )
    # Far behind all that is waited for: what never comes is a failure.
    with trio.fail_after(100_000):
        async with open_bare_nursery() as nursery:
            nursery.start_soon(between.network.run)
            async with opening as between.proxy:
                yield between
            nursery.cancel_scope.cancel()


def socket_of(peer: RawPeer) -> Socket:
    assert isinstance(peer.stream, Socket)
    return peer.stream


async def arrives(peer: RawPeer, expected: bytes) -> float:
    """When the last of these bytes comes."""
    await peer.expect(expected)
    return trio.current_time()


async def is_reset(peer: RawPeer) -> bool:
    try:
        assert await peer.stream.receive_some() == b""
    except trio.BrokenResourceError:
        return True
    return False


EVENT = data(6, 11, 1, wait=True, body=b"\x01\x00")
REPLY = data(6, 12, 1, body=b"\x21\x01\x00")


# Nothing wrong


async def test_without_a_fault_bytes_pass_as_they_come_and_ends_are_passed_on() -> None:
    async with proxied() as network:
        host, equipment = await network.connect()
        await host.send(b"\x00\x00\x00")
        await equipment.expect(b"\x00\x00\x00")
        await host.send(EVENT[3:], select_req(7)[:9])
        await equipment.expect(EVENT[3:], select_req(7)[:9])
        await socket_of(host).send_eof()
        await equipment.end()
        await equipment.send(REPLY)
        await host.expect(REPLY)
        await equipment.close()
        await host.end()
        await wait_all_tasks_blocked()
        ended = network.last()
        assert isinstance(ended, Ended)
        assert (ended.why, ended.to_equipment, ended.to_host) == (
            "closed",
            len(EVENT) + 9,
            len(REPLY),
        )
        assert network.proxy.connections == []
        assert network.told() == []


@pytest.mark.parametrize("faults", [[], ["drop-frame=S9F9"]])
async def test_a_reset_is_passed_on_as_a_reset(faults: list[str]) -> None:
    async with proxied(*faults) as network:
        for end in (0, 1):
            ends = await network.connect()
            await wait_all_tasks_blocked()
            socket_of(ends[end]).reset()
            assert await is_reset(ends[1 - end])
            await wait_all_tasks_blocked()
            assert str(network.last()).startswith(f"{end + 1}: ended, reset; bytes to the equip")


@pytest.mark.parametrize("ends", [False, True])
async def test_who_writes_to_an_end_that_is_gone_is_reset(ends: bool) -> None:
    async with proxied() as network:
        host, equipment = await network.connect()
        await equipment.close()
        await host.end()
        # Only by the answer to this it can be known that the equipment does not read either.
        await host.send(EVENT)
        await wait_all_tasks_blocked()
        if ends:
            await socket_of(host).send_eof()
        else:
            await host.send(EVENT)
        await wait_all_tasks_blocked()
        assert not socket_of(host).is_open
        assert str(network.last()).startswith("1: ended, reset; ")


async def test_a_stream_that_cannot_end_one_direction_is_closed_when_both_have_ended() -> None:
    async with proxied() as network:
        network.around = OneWay
        host, equipment = await network.connect()
        await socket_of(host).send_eof()
        await socket_of(equipment).send_eof()
        assert await equipment.stream.receive_some() == b""


async def test_connections_do_not_touch_each_other() -> None:
    async with proxied("stall connection=2") as n:
        (one, first), (two, second), (three, third) = [await n.connect() for _ in range(3)]
        for host in (one, two, three):
            await host.send(EVENT)
        await first.expect(EVENT)
        await third.expect(EVENT)
        await wait_all_tasks_blocked()
        assert n.proxy.connections == [1, 2, 3]
        n.proxy.set()
        await second.expect(EVENT)


async def test_a_side_that_does_not_read_slows_the_other_one_within_a_bound() -> None:
    sent = 4 * ROOM
    async with proxied(room=65_536) as network, trio.open_nursery() as nursery:
        host, equipment = await network.connect()
        nursery.start_soon(host.send, bytes([0, 0, 0, 10]) * (sent // 4))
        await wait_all_tasks_blocked()
        # Each system between takes some too, and so does the proxy with one read.
        assert ROOM < sum(network.pieces[socket_of(host)]) <= ROOM + 5 * 65_536
        await equipment.take(sent)


async def test_who_comes_beyond_the_most_connections_is_told_and_reset() -> None:
    async with proxied(max_connections=1) as network:
        first, _ = await network.connect()
        assert await is_reset(await network.come())
        await wait_all_tasks_blocked()
        assert [str(each).partition("; ")[0] for each in network.proxy.happened()[-2:]] == [
            "2: the equipment is not reached: 1 connections are open (max_connections)",
            "2: ended, not dialled",
        ]
        socket_of(first).reset()
        await wait_all_tasks_blocked()
        await network.connect()
        assert network.proxy.connections == [3]


async def test_a_proxy_that_dials_itself_dissolves() -> None:
    async with proxied(max_connections=5) as network:
        network.tool = network.machine
        host = await network.come()
        await host.close()
        await network.proxy.until(lambda: network.proxy.counts["ended"] == 6)
        assert network.proxy.connections == []


async def test_an_equipment_that_is_not_reached_is_told_and_the_host_reset() -> None:
    async with proxied() as network:
        network.refusal = OSError("nobody is there")
        host = await network.come()
        assert await is_reset(host)
        await wait_all_tasks_blocked()
        failed, ended = network.proxy.happened()[-2:]
        assert isinstance(failed, NotDialled)
        assert (
            str(failed) == f"1: the equipment is not reached: {network.proxy.to}: nobody is there"
        )
        assert str(ended) == ("1: ended, not dialled; bytes to the equipment 0, to the host 0")
        network.refusal = None
        await network.connect()


async def test_at_its_end_all_is_closed_and_told() -> None:
    async with proxied() as network:
        host, equipment = await network.connect()
    await host.end()
    await equipment.end()
    assert str(network.last()).startswith("1: ended, the proxy ends; ")
    assert not network.proxy.is_listening


# Times


async def test_latency_delays_one_direction_and_keeps_up_with_what_follows() -> None:
    async with proxied("to-host latency=200ms") as network:
        host, equipment = await network.connect()
        await host.send(EVENT)
        assert await arrives(equipment, EVENT) == 0
        await equipment.send(REPLY)
        await trio.sleep(0.1)
        await equipment.send(REPLY)
        assert await arrives(host, REPLY) == pytest.approx(0.2)
        assert await arrives(host, REPLY) == pytest.approx(0.3)
        await equipment.close()
        await host.end()
        assert trio.current_time() == pytest.approx(0.5)
        assert network.told() == ["1 to-host: acts from here on"]


async def test_latency_delays_a_reset_too() -> None:
    async with proxied("latency=2") as network:
        host, equipment = await network.connect()
        socket_of(host).reset()
        assert await is_reset(equipment)
        assert trio.current_time() == 2


async def test_what_waits_for_latency_comes_at_once_when_that_is_taken_away() -> None:
    async with proxied("latency=100") as network:
        host, equipment = await network.connect()
        await host.send(EVENT)
        await trio.sleep(1)
        network.proxy.set()
        assert await arrives(equipment, EVENT) == 1


async def test_jitter_delays_by_chance_and_keeps_the_order() -> None:
    times: list[float] = []

    async def read(equipment: RawPeer) -> None:
        times.extend([await arrives(equipment, linktest_req(number)) for number in range(20)])

    async with proxied("jitter=1s", seed=4) as network, trio.open_nursery() as nursery:
        host, equipment = await network.connect()
        nursery.start_soon(read, equipment)
        for number in range(20):
            await host.send(linktest_req(number))
            await trio.sleep(0.05)
    assert times == sorted(times)
    assert 0 < times[0] < 1
    assert len(set(times)) > 3


@pytest.mark.parametrize(("rate", "seconds"), [("1000", 2.0), ("64kB", 0.03125), ("8kbit", 2.0)])
async def test_a_rate_lets_so_many_bytes_pass_in_a_second(rate: str, seconds: float) -> None:
    sent = raw(0, 1, body=bytes(2_000 - 14))
    async with proxied(f"rate={rate}") as network:
        host, equipment = await network.connect()
        await host.send(sent)
        assert await arrives(equipment, sent) == pytest.approx(seconds)
        # It does not save up while nothing comes.
        await trio.sleep(10)
        await host.send(sent)
        assert await arrives(equipment, sent) == pytest.approx(2 * seconds + 10)


async def test_a_rate_that_is_waited_for_ends_with_its_connection() -> None:
    async with proxied("to-equipment rate=1", "to-host reset after=4.5") as network:
        host, equipment = await network.connect()
        await host.send(EVENT)
        assert await is_reset(host)
        await trio.sleep(10)
        assert await equipment.take(4) == EVENT[:4]
        with trio.move_on_after(1_000) as waiting:
            await equipment.take(1)
        assert waiting.cancelled_caught


async def test_a_slice_is_written_at_once_and_no_more() -> None:
    async with proxied("slice=3") as network:
        host, equipment = await network.connect()
        await host.send(EVENT)
        await equipment.expect(EVENT)
        assert network.pieces[socket_of(equipment).other] == [3] * 5 + [1]
        assert network.told() == ["1 to-equipment: acts from here on"]


async def test_a_black_hole_holds_all_and_gives_it_back_when_it_ends() -> None:
    async with proxied("black-hole after=10s for=5s") as network:
        host, equipment = await network.connect()
        await host.send(EVENT)
        assert await arrives(equipment, EVENT) == 0
        await trio.sleep(12)
        await host.send(EVENT)
        await host.close()
        assert await arrives(equipment, EVENT) == 15
        await equipment.end()
        # Two tasks tell it, in any order.
        assert sorted(network.told()) == [
            "1 to-equipment: passes nothing on",
            "1 to-equipment: passes on again",
            "1 to-host: passes nothing on",
            "1 to-host: passes on again",
        ]


async def test_a_reset_does_not_come_out_of_a_black_hole_before_its_end() -> None:
    async with proxied("black-hole=to-equipment at=1 for=5") as network:
        host, equipment = await network.connect()
        await trio.sleep(2)
        await equipment.send(REPLY)
        await host.expect(REPLY)
        socket_of(host).reset()
        assert await is_reset(equipment)
        assert trio.current_time() == 6


async def test_nobody_is_dialled_through_a_black_hole() -> None:
    async with proxied("black-hole for=3") as network:
        host, equipment = await network.connect()
        assert trio.current_time() == 3
        await host.send(EVENT)
        await equipment.expect(EVENT)
        assert "1 to-equipment: nobody is dialled" in network.told()


class Creeping(VirtualClock):
    """Time goes on between any two looks at it, as it does."""

    def current_time(self) -> float:
        self.now += 0.001
        return self.now


@pytest.mark.parametrize("fault", ["black-hole", "black-hole after=0.05", "stall after=0.05"])
def test_a_fault_that_ends_between_two_looks_at_the_clock_has_ended(fault: str) -> None:
    async def pass_one(lasting: float) -> None:
        async with proxied(f"{fault} for={lasting:g}") as network:
            host, equipment = await network.connect()
            for _ in range(3):
                await host.send(EVENT)
                await equipment.expect(EVENT)
                await trio.sleep(0.04)

    for number in range(1, 120):
        trio.run(pass_one, number / 1_000, clock=Creeping())


async def test_a_host_that_gives_up_in_a_black_hole_is_never_heard_of() -> None:
    async with proxied("to-equipment black-hole for=3", max_connections=3) as network:
        for closes in (True, False, True, False):
            host = await network.come()
            await host.send(select_req(1))
            if closes:
                await host.close()
            else:
                socket_of(host).reset()
            await wait_all_tasks_blocked()
        assert network.proxy.connections == []
        assert "1: ended, given up by the host; " in str(network.proxy.happened()[3])
        host = await network.come()
        await host.send(select_req(2)[:5])
        await trio.sleep(1)
        await host.send(select_req(2)[5:])
        equipment = await network.called()
        assert trio.current_time() == 3
        await equipment.expect(select_req(2))
        assert network.dialled == 1


async def test_what_a_host_says_in_a_black_hole_is_read_within_a_bound() -> None:
    async with proxied("black-hole for=3", room=65_536) as network, trio.open_nursery() as nursery:
        host = await network.come()
        nursery.start_soon(host.send, EVENT * 20_000)
        equipment = await network.called()
        assert sum(network.pieces[socket_of(host)]) <= 4 * 65_536
        await equipment.expect(EVENT * 20_000)


async def test_a_condition_of_time_counts_from_the_accept_or_from_when_it_was_set() -> None:
    async with proxied("reset after=10", "to-host stall at=1000") as network:
        await trio.sleep(100)
        host, _ = await network.connect()
        assert await is_reset(host)
        assert trio.current_time() == 110
        host, _ = await network.connect()
        await trio.sleep(5)
        network.proxy.set("reset after=10")
        assert await is_reset(host)
        assert trio.current_time() == 125


# Ends


async def test_a_reset_of_both_ends() -> None:
    async with proxied("reset at=3", "latency=0 at=1") as network:
        host, equipment = await network.connect()
        assert await is_reset(host)
        assert await is_reset(equipment)
        assert network.told()[-1] == "1: both ends are reset"


async def test_a_reset_of_one_end_is_not_known_to_the_other() -> None:
    async with proxied() as network:
        host, equipment = await network.connect()
        network.proxy.set("to-host reset", "to-host latency=1")
        assert await is_reset(host)
        await equipment.send(REPLY)
        network.proxy.set("to-host reset")
        await trio.sleep(100)
        assert network.proxy.connections == [1]
        await equipment.close()
        await wait_all_tasks_blocked()
        assert network.proxy.connections == []
        assert network.told() == ["1 to-host: this end is reset"]


async def test_an_end_that_takes_nothing_can_be_reset() -> None:
    async with proxied(room=10) as network, trio.open_nursery() as nursery:
        host, equipment = await network.connect()
        nursery.start_soon(host.send, EVENT * 3)
        await wait_all_tasks_blocked()
        network.proxy.set("to-equipment reset")
        await wait_all_tasks_blocked()
        # What its system had taken.
        await equipment.take(10)
        assert await is_reset(equipment)
        assert network.proxy.connections == [1]
        await host.close()
        await wait_all_tasks_blocked()
        assert network.proxy.connections == []


async def test_a_half_close_tells_the_end_and_drops_what_comes_after_it() -> None:
    async with proxied("to-equipment half-close after=1") as network:
        host, equipment = await network.connect()
        await host.send(EVENT)
        await equipment.expect(EVENT)
        await equipment.end()
        assert trio.current_time() == 1
        await host.send(EVENT)
        await equipment.send(REPLY)
        await host.expect(REPLY)
        await equipment.close()
        await host.end()
        await host.close()
        await wait_all_tasks_blocked()
        assert network.proxy.connections == []


async def test_a_lost_fin_is_not_passed_on_but_what_came_before_it_is() -> None:
    async with proxied("to-equipment lost-fin") as network:
        host, equipment = await network.connect()
        await host.send(EVENT)
        await host.close()
        await equipment.expect(EVENT)
        with trio.move_on_after(1_000) as waiting:
            await equipment.end()
        assert waiting.cancelled_caught
        await equipment.close()
        await wait_all_tasks_blocked()
        assert network.proxy.connections == []
        assert network.told() == ["1 to-equipment: the end of the stream is lost"]


async def test_a_cut_closes_both_ends_after_so_many_bytes() -> None:
    async with proxied("to-equipment cut-after=20") as network:
        host, equipment = await network.connect()
        await host.send(EVENT)
        await host.send(EVENT)
        await equipment.expect((EVENT * 2)[:20])
        await equipment.end()
        await host.end()
        await wait_all_tasks_blocked()
        assert network.told() == ["1 to-equipment: closed after 20 bytes"]
        assert str(network.last()).startswith("1: ended, cut; ")


async def test_a_cut_does_not_wait_for_more_than_its_bytes() -> None:
    async with proxied("to-host cut-after=17") as network:
        host, equipment = await network.connect()
        await equipment.send(REPLY)
        await host.expect(REPLY)
        await host.end()
        assert network.told() == ["1 to-host: closed after 17 bytes"]


async def test_a_cut_that_is_set_after_its_bytes_lets_nothing_more_pass() -> None:
    async with proxied() as network:
        host, equipment = await network.connect()
        await host.send(EVENT)
        await equipment.expect(EVENT)
        network.proxy.set(f"to-equipment cut-after={len(EVENT) - 1}")
        await host.send(EVENT)
        await equipment.end()
        await host.end()
        assert network.told() == [f"1 to-equipment: closed after {len(EVENT)} bytes"]


async def test_a_stall_reads_nothing_until_it_is_over() -> None:
    async with proxied("to-equipment stall after=1 for=5") as network:
        host, equipment = await network.connect()
        await trio.sleep(2)
        await host.send(EVENT)
        await host.send(EVENT)
        assert await arrives(equipment, EVENT * 2) == 6
        assert network.told() == [
            "1 to-equipment: is not read",
            "1 to-equipment: is read again",
        ]


async def test_a_firewall_that_forgets_drops_all_after_a_silence() -> None:
    async with proxied("forgetful-firewall=60s") as network:
        host, equipment = await network.connect()
        for _ in range(3):
            await trio.sleep(59)
            await host.send(EVENT)
            await equipment.expect(EVENT)
        await trio.sleep(61)
        await equipment.send(REPLY)
        await wait_all_tasks_blocked()
        await host.send(EVENT)
        await equipment.close()
        with trio.move_on_after(1_000) as waiting:
            await host.end()
        assert waiting.cancelled_caught
        socket_of(host).reset()
        await wait_all_tasks_blocked()
        assert network.proxy.connections == []
        assert network.told() == [
            "1 to-host: has forgotten it after 61 s of silence",
        ]


async def test_an_end_that_takes_nothing_can_be_forgotten() -> None:
    async with proxied("forgetful-firewall=60s", room=10) as network:
        host, equipment = await network.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.send, EVENT * 3)
            await trio.sleep(100)
            await equipment.send(b"gone")
            await wait_all_tasks_blocked()
            assert network.told() == ["1 to-host: has forgotten it after 100 s of silence"]
            # What the system of the equipment had taken still comes, and nothing after it.
            await equipment.take(len(EVENT))
            with trio.move_on_after(1_000) as waiting:
                await equipment.take(65_536)
        assert waiting.cancelled_caught
        # The proxy lives.
        network.proxy.reset_all()
        await network.connect()


async def test_what_is_forgotten_twice_is_told_once() -> None:
    async with proxied("forgetful-firewall=1", "forgetful-firewall=2", "forgetful-nat=1") as n:
        host, _ = await n.connect()
        await trio.sleep(5)
        await host.send(EVENT)
        await wait_all_tasks_blocked()
        assert n.told() == ["1 to-equipment: has forgotten it after 5 s of silence"]


async def test_a_nat_that_forgets_resets_who_sends_first() -> None:
    async with proxied("forgetful-nat=60s") as network:
        host, equipment = await network.connect()
        await trio.sleep(59)
        await host.send(EVENT)
        await equipment.expect(EVENT)
        await trio.sleep(61)
        await equipment.send(REPLY)
        assert await is_reset(equipment)
        with trio.move_on_after(1_000) as waiting:
            await host.end()
        assert waiting.cancelled_caught
        await host.close()
        await wait_all_tasks_blocked()
        assert network.proxy.connections == []
        assert network.told() == [
            "1 to-host: has forgotten it after 61 s of silence, and resets the sender"
        ]


async def test_all_can_be_reset() -> None:
    async with proxied() as network:
        ends = [*await network.connect(), *await network.connect()]
        network.proxy.reset_all()
        assert [await is_reset(each) for each in ends] == [True] * 4
        host, equipment = await network.connect()
        await host.send(EVENT)
        await equipment.expect(EVENT)


# Connecting


async def test_refuse_does_not_listen_for_its_time() -> None:
    async with proxied("refuse for=5") as network:
        for at in (0, 4.9):
            await trio.sleep(at - trio.current_time() + 0.05)
            with pytest.raises(ConnectionRefusedError):
                await network.come()
        await trio.sleep(1)
        await network.connect()
        assert [str(each) for each in network.proxy.happened()][:2] == [
            "listening on 127.0.0.1:5000"
        ] * 2


async def test_refuse_from_a_connection_on() -> None:
    async with proxied("refuse connection=3..") as network:
        for _ in range(2):
            await network.connect()
        await wait_all_tasks_blocked()
        with pytest.raises(ConnectionRefusedError):
            await network.come()
        assert network.proxy.connections == [1, 2]


async def test_refuse_can_be_set_and_taken_away() -> None:
    async with proxied() as network:
        host, equipment = await network.connect()
        network.proxy.set(Refuse())
        assert not network.proxy.is_listening
        with pytest.raises(ConnectionRefusedError):
            await network.come()
        # Who is connected already stays so.
        await host.send(EVENT)
        await equipment.expect(EVENT)
        network.proxy.set()
        await network.proxy.until(lambda: network.proxy.is_listening)
        await network.connect()


async def test_a_port_that_is_taken_meanwhile_is_told_and_tried_again() -> None:
    async with proxied("refuse for=5") as network:
        network.failures = [OSError(errno.EADDRINUSE, "it is taken"), OSError("odd")]
        await network.proxy.until(lambda: network.proxy.counts["not listening"] == 2)
        assert [str(e) for e in network.proxy.happened() if isinstance(e, NotListening)] == [
            "not listening: odd",
            "not listening: it is taken",
        ]
        await network.proxy.until(lambda: network.proxy.is_listening)
        assert trio.current_time() == 7


async def test_a_proxy_that_cannot_listen_does_not_begin() -> None:
    network = Between()
    network.failures = [OSError("taken")]
    with pytest.raises(OSError, match="taken"):
        async with open_proxy("tool", 1, dial=network.dial, listen=network.listen):
            pass


@pytest.mark.parametrize("ends", ["close", "reset"])
async def test_accept_and_say_nothing(ends: str) -> None:
    async with proxied("accept-and-say-nothing connection=1", "reset at=100") as network:
        host = await network.come()
        await host.send(EVENT, b"no HSMS")
        await trio.sleep(50)
        assert network.dialled == 0
        if ends == "reset":
            socket_of(host).reset()
        else:
            await host.close()
        await network.connect()
        assert network.told() == ["1: accepted, and nothing is said"]


@pytest.mark.parametrize("waits", ["accept-and-say-nothing", "black-hole for=9"])
@pytest.mark.parametrize("reset", ["reset at=5", "to-host reset at=5"])
async def test_a_reset_comes_while_a_host_waits(waits: str, reset: str) -> None:
    async with proxied(waits, "to-equipment reset at=1", reset) as network:
        host = await network.come()
        assert await is_reset(host)
        assert trio.current_time() == 5
        await wait_all_tasks_blocked()
        told = {"reset at=5": "1: the host is reset"}
        assert network.told()[-1] == told.get(reset, "1 to-host: this end is reset")
        assert str(network.last()).startswith("1: ended, reset; ")
        assert network.dialled == 0


# Frames


async def through(*faults: str, sent: list[bytes], seed: int = 0) -> tuple[list[bytes], list[str]]:
    """What comes of these frames at the equipment, and what was told."""
    async with proxied(*faults, seed=seed) as network:
        host, equipment = await network.connect()
        for frame in sent:
            await host.send(frame)
        await host.close()
        got = bytearray()
        while more := await equipment.stream.receive_some():
            got += more
        return cut(bytes(got)), [each.partition(": ")[2] for each in network.told()]


def cut(got: bytes) -> list[bytes]:
    frames = []
    while got:
        end = 4 + int.from_bytes(got[:4])
        frames.append(got[:end])
        got = got[end:]
    return frames


A, B, C = linktest_req(1), EVENT, REPLY


@pytest.mark.parametrize(
    ("fault", "sent", "got", "told"),
    [
        ("drop-frame=S6F11", [A, B, C], [A, C], ["S6F11 left out"]),
        (
            "drop-frame=any",
            [A, B, C],
            [],
            ["Linktest.req left out", "S6F11 left out", "S6F12 left out"],
        ),
        ("drop-frame=any nth=2", [A, B, C], [A, C], ["S6F11 left out"]),
        (
            "drop-frame=any every=2",
            [A, B, C, A],
            [A, C],
            ["S6F11 left out", "Linktest.req left out"],
        ),
        ("drop-frame=reply chance=0%", [A, B, C], [A, B, C], []),
        ("drop=100%", [A, B], [], ["Linktest.req left out", "S6F11 left out"]),
        ("drop=0%", [A, B], [A, B], []),
        ("duplicate-frame=S6F11", [A, B, C], [A, B, B, C], ["S6F11 sent again"]),
        ("duplicate-frame=S6F11 by=1", [A, B, C], [A, B, C, B], ["S6F11 sent again 1 s later"]),
        ("delay-frame=S6F11", [A, B, C], [A, C, B], ["S6F11 sent 1 s later"]),
        ("delay-frame=S6F11 by=0", [A, B, C], [A, B, C], ["S6F11 sent"]),
        ("swap-frames=S6F11", [A, B, C, A], [A, C, B, A], ["S6F11 sent after the next frame"]),
        (
            "swap-frames=any",
            [A, B, C],
            [B, A, C],
            ["Linktest.req sent after the next frame", "S6F12 sent after the next frame"],
        ),
        (
            "insert-frame=Separate.req before=S6F11",
            [A, B],
            [A, separate_req(0)[:10], B],
            ["S6F11 comes after Separate.req, which was put in"],
        ),
        (
            "insert-frame=S1F1W before=reply",
            [B, C],
            [B, data(1, 1, 0, wait=True)[:10], C],
            ["S6F12 comes after S1F1W, which was put in"],
        ),
        (
            "insert-frame=S1F2 nth=1",
            [A],
            [data(1, 2, 0)[:10], A],
            ["Linktest.req comes after S1F2, which was put in"],
        ),
        ("insert-frame=0x0000000A0000000000010203 nth=1", [A], [], None),
        ("replay-frame=S6F11", [A, B, C], [A, B, C], ["S6F11 kept for the next connection"]),
    ],
)
async def test_a_fault_of_frames(
    fault: str, sent: list[bytes], got: list[bytes], told: list[str] | None
) -> None:
    found, lines = await through(fault, sent=sent)
    if told is None:
        assert found[0][:12] == bytes.fromhex("0000000A0000000000010203")
        return
    # The system bytes of what was put in are drawn.
    assert [each[: len(want)] for each, want in zip(found, got, strict=True)] == got
    assert lines == told


@pytest.mark.parametrize("field", [each for each in CORRUPTIBLE if each not in ("length", "body")])
async def test_a_field_is_changed_and_no_other(field: str) -> None:
    places = {
        "session-id": "session_id",
        "w": "wait",
        "stream": "stream",
        "function": "function",
        "status": "function",
        "ptype": "ptype",
        "stype": "stype",
        "system-bytes": "system_bytes",
    }
    (before,) = Decoder().feed(B)
    names = set(places.values()) | {"body"}
    for seed in range(6):
        (got,), (line,) = await through(f"corrupt-frame=S6F11 field={field}", sent=[B], seed=seed)
        (after,) = Decoder().feed(got)
        changed = {each for each in names if getattr(before, each) != getattr(after, each)}
        assert changed == {places[field]}
        old, new = (int(getattr(each, places[field])) for each in (before, after))
        assert line == f"S6F11 has {field} {new} instead of {old}"
        most = {"session-id": 0xFFFF, "w": 1, "stream": 127, "system-bytes": 2**32 - 1}
        assert new in {0, old - 1, old + 1, most.get(field, 255)}


async def test_a_field_is_changed_to_a_value_and_at_most_its_greatest() -> None:
    (got,), told = await through("corrupt-frame=Select.rsp field=status to=3", sent=[select_rsp(5)])
    assert got == select_rsp(5, 3)
    assert told == ["Select.rsp 0 has status 3 instead of 0"]
    (got,), _ = await through("corrupt-frame=S6F11 field=stream to=0xFFF", sent=[B])
    assert got[6] == 0xFF
    found, _ = await through("corrupt-frame=S6F11 field=length to=4294967295", sent=[B])
    assert found == [b"\xff" * 4 + B[4:]]


async def test_a_byte_of_the_body_is_changed_if_there_is_one() -> None:
    (got,), (line,) = await through("corrupt-frame=any field=body", sent=[B])
    assert got[:14] == B[:14]
    assert sum(one != other for one, other in zip(got, B, strict=True)) == 1
    assert line.startswith("S6F11 has byte ")
    assert await through("corrupt-frame=any field=body", sent=[A]) == (
        [A],
        ["Linktest.req has no body that could be changed"],
    )


async def test_faults_of_frames_combine() -> None:
    got, told = await through(
        *("corrupt-frame=S6F11 field=w to=0", "duplicate-frame=S6F11", "insert-frame=0x0000 nth=1"),
        *("drop-frame=Linktest.req", "swap-frames=S6F11"),
        sent=[B, C],
    )
    changed = bytearray(B)
    changed[6] &= 0x7F
    assert b"".join(got) == b"\0\0" + changed + C + changed
    assert len(told) == 4


async def test_what_was_swapped_goes_with_the_end_of_the_stream() -> None:
    assert (await through("swap-frames=S6F11", sent=[A, B]))[0] == [A, B]
    # A frame that is left out has not followed it.
    found, _ = await through("swap-frames=S6F11", "drop-frame=reply", sent=[B, C, A])
    assert found == [A, B]


async def test_a_frame_that_is_cut_off_passes_as_far_as_it_came() -> None:
    for count in (3, 9, 15):
        found, _ = await through("duplicate-frame=S6F11", sent=[A, B[:count]])
        assert b"".join(found) == A + B[:count]


async def test_a_late_frame_is_put_in_between_frames() -> None:
    async with proxied("delay-frame=S6F11 by=5", "latency=1") as network:
        host, equipment = await network.connect()
        await host.send(B)
        await trio.sleep(4)
        # Half of one is on its way when the late one is due.
        await host.send(C[:15])
        await equipment.expect(C[:15])
        await trio.sleep(10)
        await host.send(C[15:])
        await equipment.expect(C[15:], B)


async def test_a_replayed_frame_comes_first_on_the_next_connection() -> None:
    async with proxied("to-equipment replay-frame=S6F11 nth=1") as network:
        for expected in ([A, B, B], [B, A, B, B], [A, B, B]):
            host, equipment = await network.connect()
            await host.send(A, B, B)
            await equipment.expect(*expected)
            await equipment.send(B)
            await host.expect(B)
            await host.close()
        assert network.told() == [
            "1 to-equipment: S6F11 kept for the next connection",
            "2 to-equipment: Linktest.req comes after a frame of connection 1",
        ]


async def test_what_is_kept_for_the_next_connection_is_bounded() -> None:
    large = data(7, 3, 1, body=bytes(ROOM // 2))
    async with proxied("to-equipment replay-frame=any") as network:
        host, equipment = await network.connect()
        await host.send(large, large, A)
        await equipment.expect(large, large, A)
        assert network.told() == [
            "1 to-equipment: S7F3 kept for the next connection",
            "1 to-equipment: S7F3 too large to be kept for the next connection",
            "1 to-equipment: Linktest.req kept for the next connection",
        ]


def test_keeping_a_frame_takes_no_longer_when_many_are_kept() -> None:
    armed = Armed(parse_fault("replay-frame=any"), 0, 0.0)
    calls = 0

    def count(_frame: object, _event: str, _: object) -> None:
        nonlocal calls
        calls += 1

    def calls_to(call: Callable[[], object]) -> int:
        nonlocal calls
        calls = 0
        sys.setprofile(count)
        try:
            call()
        finally:
            sys.setprofile(None)
        return calls

    def keep() -> int:
        return calls_to(lambda: armed.keep(1, "to-host", A))

    def look() -> int:
        return calls_to(lambda: armed.take_kept(1, "to-host"))

    first = (keep(), look())
    for _ in range(1_000):
        armed.keep(1, "to-host", A)
    assert (keep(), look()) <= first
    assert len(armed.take_kept(2, "to-host")) == 1_002
    assert armed.take_kept(3, "to-host") == []


async def test_without_a_fault_for_it_a_frame_is_not_held_back() -> None:
    async with proxied("duplicate-frame=S6F11", "drop-frame=S6F12") as network:
        host, equipment = await network.connect()
        large = data(7, 3, 1, body=bytes(5_000_000))
        for at in range(0, len(large), 1_000_000):
            await host.send(large[at : at + 1_000_000])
            await equipment.expect(large[at : at + 1_000_000])
        # But its header is.
        await host.send(A[:13])
        await wait_all_tasks_blocked()
        await host.send(A[13:])
        await equipment.expect(A)
        whole = data(6, 11, 1, body=bytes(3 * ROOM))
        await host.send(whole, data(6, 12, 1, body=bytes(3 * ROOM)), A)
        await equipment.expect(whole, whole, A)


async def test_faults_that_are_set_in_mid_frame_act_from_the_next_frame_on() -> None:
    async with proxied() as network:
        host, equipment = await network.connect()
        await host.send(B[:15])
        await equipment.expect(B[:15])
        network.proxy.set("duplicate-frame=any")
        await host.send(B[15:], A[:8])
        await equipment.expect(B[15:])
        network.proxy.set()
        await host.send(A[8:], C)
        await equipment.expect(A, C)


# What is no HSMS


@pytest.mark.parametrize("faults", [[], ["duplicate-frame=any"]])
@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x09" + bytes(30)])
async def test_what_is_no_hsms_passes_and_is_told_once(garbage: bytes, faults: list[str]) -> None:
    async with proxied(*faults, max_frame=1_000_000) as network:
        host, equipment = await network.connect()
        await host.send(A)
        await equipment.expect(*[A] * (1 + len(faults)))
        for piece in (garbage[:2], garbage[2:], garbage, A):
            await host.send(piece)
        await equipment.expect(garbage, garbage, A)
        told = [each for each in network.proxy.happened() if isinstance(each, NotHsms)]
        (only,) = told
        assert str(only).startswith("1 to-equipment: no HSMS from here on: length ")
        assert str(only).endswith(" is not in 10..1000000")
        # The other direction goes on.
        await equipment.send(C)
        await host.expect(*[C] * (1 + len(faults)))


async def test_whatever_passes_does_not_end_it() -> None:
    random = Random(1)
    async with proxied("duplicate-frame=any chance=50%", "corrupt-frame=any chance=50%") as network:
        for _ in range(200):
            host, equipment = await network.connect()
            sent = bytearray()
            for _ in range(random.randrange(5)):
                body = random.randbytes(random.randrange(40))
                sent += raw(*(random.randrange(256) for _ in range(2)), body=body)
            if random.random() < 0.5 and sent:
                sent[random.randrange(len(sent))] ^= 0xFF
            for at in range(0, len(sent), 7):
                await host.send(bytes(sent[at : at + 7]))
            await host.close()
            while await equipment.stream.receive_some():
                pass
            await equipment.close()
        await network.proxy.until(lambda: network.proxy.counts["ended"] == 200)


@pytest.mark.parametrize("heads", [True, False])
def test_a_cutter_gives_the_same_bytes_however_they_come(heads: bool) -> None:
    random = Random(2)
    sent = b"".join(
        raw(random.randrange(10), number, body=bytes(random.randrange(30))) for number in range(50)
    )
    for _ in range(50):
        cutter, at, parts = Cutter(1_000), 0, []
        while at < len(sent):
            size = random.randrange(1, 60)
            parts += cutter.feed(sent[at : at + size], heads=heads)
            at += size
        assert b"".join(each.data for each in parts) == sent
        assert parts[-1].ends
        if heads:
            assert sum(each.head is not None for each in parts) == 50
            assert sum(each.ends for each in parts) == 50


# Seeds


async def run_with(seed: int, order: Callable[[list[int]], list[int]]) -> dict[str, list[str]]:
    """What faults did on each connection and way, whose traffic comes in this order."""
    faults = ("drop=20%", "jitter=1", "corrupt-frame=any chance=30% field=body", "latency=0.1")
    async with proxied(*faults, seed=seed) as network:
        ends = [await network.connect() for _ in range(3)]
        for _ in range(10):
            for number in order([0, 1, 2]):
                await ends[number][0].send(EVENT)
                await ends[number][1].send(REPLY)
                await trio.sleep(0.3)
        await trio.sleep(10)
        done: dict[str, list[str]] = {}
        for each in network.told():
            where, _, what = each.partition(": ")
            done.setdefault(where, []).append(what)
        return done


async def test_the_same_seed_and_traffic_have_the_same_faults_whatever_the_order() -> None:
    first = await run_with(1, lambda numbers: numbers)
    assert await run_with(1, lambda numbers: numbers[::-1]) == first
    assert await run_with(2, lambda numbers: numbers) != first
    assert len(first) == 6
    assert first["1 to-host"] != first["2 to-host"]
    assert sum("left out" in each for each in first["1 to-host"]) > 0


# What is told


async def test_events_are_read_in_order_until_the_end() -> None:
    names: list[str] = []

    async def read(proxy: Proxy) -> None:
        names.extend([each.event async for each in proxy.events()])

    async with trio.open_nursery() as nursery:
        async with proxied("drop-frame=S6F11") as network:
            nursery.start_soon(read, network.proxy)
            await wait_all_tasks_blocked()
            assert names == []
            host, equipment = await network.connect()
            await host.send(B, A)
            await equipment.expect(A)
            network.proxy.set(Latency(1.5, direction="to-host"))
        assert network.proxy.faults == (Latency(1.5, direction="to-host"),)
    assert names == ["listening", "accepted", "fault", "changed", "ended"]
    counts = network.proxy.counts
    assert counts["drop-frame=S6F11"] == 1


async def test_a_reader_that_is_too_slow_misses_the_oldest() -> None:
    async with proxied() as network:
        events = network.proxy.events()
        for number in range(10_001):
            network.proxy.set(Latency(number % 2))
        assert len(network.proxy.happened()) == 10_000
        # The first one and the listening are gone.
        first = await anext(events)
        assert str(first) == "faults: latency=1"
        network.proxy.set()
        assert str(network.last()) == "faults: none"


async def test_each_event_is_reported_and_is_a_json_object() -> None:
    told: list[dict[str, object]] = []
    async with proxied("drop-frame=S6F11", report=lambda event: told.append(described(event))) as n:
        host, equipment = await n.connect()
        await trio.sleep(2)
        await host.send(B, A)
        await equipment.expect(A)
        n.proxy.set(DropFrame("S6F11"), "refuse")
    assert told[0] == {"event": "listening", "at": 0.0, "host": "127.0.0.1", "port": 5000}
    assert told[2] == {
        "event": "fault",
        "at": 2.0,
        "connection": 1,
        "direction": "to-equipment",
        "frame": "S6F11",
        "what": "left out",
        "fault": "drop-frame=S6F11",
    }
    assert told[3] == {"event": "changed", "at": 2.0, "faults": ["drop-frame=S6F11", "refuse"]}


async def test_a_wrong_fault_changes_nothing() -> None:
    async with proxied("latency=1") as network:
        with pytest.raises(FaultError):
            network.proxy.set("latency=2", "latncy=1")
        assert network.proxy.faults == (Latency(1.0),)


# Faults as text


TEXTS = {
    "latency=200ms": "latency=0.2",
    "latency=2s": "latency=2",
    "to-host jitter=0.05": "to-host jitter=0.05",
    "rate=512kbit": "rate=64000",
    "rate=64kB": "rate=64000",
    "rate=1.5": "rate=1.5",
    "slice=1": "slice=1",
    "black-hole=to-host for=5s after=10s": "to-host black-hole after=10 for=5",
    "black-hole connection=3..": "black-hole connection=3..",
    "reset connection=3": "reset connection=3",
    "half-close connection=1..2": "half-close connection=1..2",
    "lost-fin": "lost-fin",
    "cut-after=1MB": "cut-after=1000000",
    "stall at=1ms": "stall at=0.001",
    "forgetful-firewall=60": "forgetful-firewall=60",
    "forgetful-nat=60": "forgetful-nat=60",
    "refuse connection=2": "refuse connection=2",
    "accept-and-say-nothing": "accept-and-say-nothing",
    "drop=1%": "drop=1%",
    "drop=0%": "drop=0%",
    "drop-frame=S6F11 nth=2 every=3 chance=2.5%": "drop-frame=S6F11 nth=2 every=3 chance=2.5%",
    "duplicate-frame=reply by=1": "duplicate-frame=reply by=1",
    "delay-frame=any by=1": "delay-frame=any",
    "corrupt-frame=Select.rsp field=status to=0x03": "corrupt-frame=Select.rsp field=status to=3",
    "swap-frames=primary": "swap-frames=primary",
    "insert-frame=S1F1W before=S6F11": "insert-frame=S1F1W before=S6F11",
    "insert-frame=0x00ff": "insert-frame=0x00ff",
    "replay-frame=control": "replay-frame=control",
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_fault_can_be_written_and_read_again(text: str) -> None:
    fault = parse_fault(text)
    assert str(fault) == TEXTS[text]
    assert parse_fault(str(fault)) == fault


def test_every_fault_is_written_in_a_test() -> None:
    assert {type(parse_fault(each)) for each in TEXTS} == set(KNOWN.values())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("latncy=1", "unknown fault 'latncy'; did you mean 'latency'?"),
        ("to-hots latency=1", "unknown fault 'to-hots'; did you mean 'to-host'?"),
        ("loss=1%", "unknown fault 'loss'; there are latency, "),
        ("at=1 reset", "'at=1' is a condition: it comes after the name of the fault"),
        ("reset to-host", "reset: a direction comes first, so to-host before reset"),
        (
            "latency=1 nth=2",
            "latency: 'nth=2' is none of its conditions; there are after, at, for,",
        ),
        ("", "'' names no fault; there are latency, "),
        ("to-host", "'to-host' names no fault; there are latency, "),
        ("latency", "latency needs a value: latency=SECONDS"),
        ("latency=x", "latency=x is not a time in 0..86400 seconds, such as 0.2, 200ms or 2s"),
        ("latency=86401", "latency=86401 is not a time in 0..86400 seconds"),
        ("latency=-1", "latency=-1 is not a time in"),
        ("latency=1h", "latency=1h is not a time in"),
        ("rate=0.5", "rate=0.5 is not bytes per second in 1..1000000000000, such as"),
        ("slice=0", "slice=0 is not a number of bytes in 1..1000000000000"),
        ("slice=1.5", "slice=1.5 is not a number of bytes"),
        ("slice=x", "slice=x is not a number of bytes"),
        ("drop=1", "drop=1 is not a share such as 1%, in 0%..100%"),
        ("drop=101%", "drop=101% is not a share"),
        ("reset=3", "reset takes no value, not '3'"),
        ("refuse=to-host", "refuse takes no value, not 'to-host'"),
        ("to-host refuse", "refuse has no direction: it is about the whole connection"),
        ("to-host reset=to-host", "reset: direction is given twice"),
        ("latency=1 after", "latency: 'after' is none of its conditions; did you mean 'after'?"),
        ("latency=1 aftr=2", "latency: 'aftr=2' is none of its conditions; did you mean 'after'?"),
        ("latency=1 after=2 after=2", "latency: after is given twice"),
        ("latency=1 after=x", "latency: after=x is not a time in"),
        ("latency=1 for=0", "latency: for=0 is not a time in 0.001..86400 seconds"),
        ("reset connection=0", "reset: connection=0 is not the numbers of connections, from 1 on"),
        ("reset connection=3..2", "reset: connection=3..2 is not the numbers"),
        ("reset connection=x", "reset: connection=x is not the numbers"),
        ("drop-frame=S6F256", "drop-frame=S6F256 is not one of any, data, "),
        ("drop-frame=S128F1", "drop-frame=S128F1 is not one of any"),
        ("drop-frame=S06F11", "drop-frame=S06F11 is not one of any"),
        ("drop-frame=S6F11W", "drop-frame=S6F11W is not one of any"),
        ("drop-frame=select.req", "drop-frame=select.req is not one of any"),
        ("drop-frame=any nth=0", "drop-frame: nth=0 is not a whole number in 1..1000000"),
        ("drop-frame=any nth=x", "drop-frame: nth=x is not a whole number"),
        ("corrupt-frame=any field=id", "corrupt-frame: field=id is not one of length, session-id"),
        ("corrupt-frame=any to=4294967296", "corrupt-frame: to=4294967296 is not a whole number"),
        ("insert-frame=S1F2W", "insert-frame=S1F2W is not a control message, S1F1 or S1F1W"),
        ("insert-frame=0x0", "insert-frame=0x0 is not a control message"),
    ],
)
def test_a_wrong_fault_is_told(text: str, why: str) -> None:
    with pytest.raises(FaultError) as caught:
        parse_fault(text)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    ("kind", "given", "named", "why"),
    [
        (Latency, (-1,), {}, "latency: seconds=-1 is not a time in 0..86400 seconds"),
        (Latency, (math.nan,), {}, "latency: seconds=nan is not a time"),
        (Latency, ("1",), {}, "latency: seconds='1' is not a time"),
        (Rate, (0,), {}, "rate: bytes_per_second=0 is not bytes per second in 1.."),
        (Slice, (1.5,), {}, "slice: size=1.5 is not a number of bytes"),
        (BlackHole, (), {"lasting": 0}, "black-hole: lasting=0 is not a time in 0.001.."),
        (BlackHole, (), {"direction": "up"}, "black-hole: direction='up' is not one of to-eq"),
        (BlackHole, (), {"connections": 3}, "black-hole: connections=3 is not the numbers"),
        (AcceptAndSayNothing, (), {"at": -1}, "accept-and-say-nothing: at=-1 is not a time"),
        (DropFrame, (7,), {}, "drop-frame: pattern=7 is not one of any"),
        (CorruptFrame, ("any", "x"), {}, "corrupt-frame: field='x' is not one of length"),
        (InsertFrame, (7,), {}, "insert-frame: frame=7 is not a control message"),
    ],
)
def test_a_fault_that_a_program_makes_is_held_to_the_same_ranges(
    kind: Callable[..., object], given: tuple[Any, ...], named: dict[str, Any], why: str
) -> None:
    with pytest.raises(FaultError) as caught:
        kind(*given, **named)
    assert str(caught.value).startswith(why)


def test_a_usage_shows_what_may_be_left_out() -> None:
    assert usage(KNOWN["delay-frame"]) == "delay-frame=PATTERN [by=SECONDS]"
    assert usage(KNOWN["reset"]) == "reset"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_for_the_frames_of_its_name(pattern: str) -> None:
    unknown = [raw(8, 1), raw(0, 1, ptype=3), raw(1, 1, ptype=3)]
    known = [raw(stype, 1) for stype in (1, 2, 3, 4, 5, 6, 7, 9)]
    sent = [B, C, data(6, 0, 1), *known, *unknown]
    (heads,) = [Decoder().feed(b"".join(sent))]
    matched = [matches(pattern, each) for each in heads]
    names = "Select.req Select.rsp Deselect.req Deselect.rsp Linktest.req Linktest.rsp".split()
    names += ["Reject.req", "Separate.req"]
    expected = {
        "any": [True] * len(sent),
        "data": [True] * 3 + [False] * 11,
        "primary": [True] + [False] * 13,
        "reply": [False, True, True] + [False] * 11,
        "control": [False] * 3 + [True] * 8 + [False] * 3,
    }
    assert matched == expected.get(
        pattern, [False] * 3 + [name == pattern for name in names] + [False] * 3
    )


def test_a_frame_that_is_put_in_has_the_session_of_the_data() -> None:
    assert frame_bytes("S1F1W", 7, 9) == data(1, 1, 9, wait=True, session=7)
    assert frame_bytes("S1F1", 0xFFFF, 9) == data(1, 1, 9)
    assert frame_bytes("Linktest.rsp", 7, 9) == linktest_rsp(9)

"""Turns between connections: a peer that floods costs the others one short slice, not more."""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import HsmsConnection, Message
from hsms_engine.driver.tcp import Listener, connect_tcp, listen_tcp
from hsms_engine.driver.turns import (
    LITTLE_BYTES,
    LITTLE_FRAMES,
    LONG,
    SHORT,
    Share,
    new_share,
)
from tests.support.pair import echo, server_end
from tests.support.raw_peer import RawPeer, data, linktest_req, raw
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

JUNK = raw(99, 7)
FLOODS = {
    "linktests": linktest_req(7),
    "junk": JUNK,
    "events": data(6, 11, 7),
    "primaries": data(1, 1, 7, wait=True),
}


class Passes(trio.abc.Instrument):
    """Counts the passes of the event loop, and the turns of each task."""

    def __init__(self) -> None:
        self.count = 0

    def after_io_wait(self, timeout: float) -> None:
        del timeout
        self.count += 1


async def selected_peers(listener: object, count: int) -> list[RawPeer]:
    peers = []
    for _ in range(count):
        peer: RawPeer = await listener.raw()  # type: ignore[attr-defined]  # a MemoryListener
        await peer.select()
        peers.append(peer)
    return peers


@pytest.mark.clause("bound/turns")
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
@pytest.mark.parametrize("attackers", [1, 8])
async def test_an_honest_peer_is_answered_within_a_few_passes(flood: bytes, attackers: int) -> None:
    """Each attacker has sent more than 4,000 frames, and all lie unread at the server."""
    async with server_end(echo, max_sessions=100, inbox_size=100_000, linktest_interval=None) as (
        _,
        listener,
    ):
        honest, *others = await selected_peers(listener, 1 + attackers)
        passes = Passes()
        trio.lowlevel.add_instrument(passes)
        for other in others:
            await other.send(flood * 4_000)
        # So that it is known as one that has little to do.
        for number in range(1, 21):
            before = passes.count
            await honest.send(data(1, 1, number, wait=True))
            assert (await honest.frame()).system == number
            assert passes.count - before <= 8
        trio.lowlevel.remove_instrument(passes)


# Shares, on a clock that moves as the test says


class Clock(trio.abc.Clock):
    """A clock that a test moves, and that never makes anybody wait."""

    def __init__(self) -> None:
        self.now = 0.0

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return 0 if deadline <= self.now else math.inf


def on(clock: Clock, test: Callable[[], Awaitable[None]]) -> None:
    trio.run(test, clock=clock)


def little(share: Share) -> None:
    share.handled_little(all_of_it=True)


def test_slices_are_long_until_another_connection_has_little_to_do() -> None:
    clock = Clock()

    async def test() -> None:
        heavy, light = new_share(), new_share()
        heavy.begin()
        assert heavy.look == LONG.look
        little(light)
        heavy.begin()
        assert heavy.look == SHORT.look
        # Its own frames do not make its slices short.
        little(heavy)
        light.begin()
        assert light.look == SHORT.look
        clock.now += 0.1
        heavy.begin()
        assert heavy.look == LONG.look
        little(heavy)
        little(heavy)
        heavy.begin()
        assert heavy.look == LONG.look

    on(clock, test)


def test_a_connection_with_more_than_a_little_to_do_shortens_nobodys_slices() -> None:
    async def test() -> None:
        heavy, other = new_share(), new_share()
        other.handled_little(all_of_it=False)
        heavy.begin()
        assert heavy.look == LONG.look

    on(Clock(), test)


@pytest.mark.parametrize(
    ("flood", "shortens"),
    [
        (linktest_req(7) * LITTLE_FRAMES, True),
        (linktest_req(7) * (LITTLE_FRAMES + 1), False),
        (data(6, 11, 7, body=bytes(LITTLE_BYTES - 14)), True),
        (data(6, 11, 7, body=bytes(LITTLE_BYTES - 13)), False),
    ],
)
async def test_what_is_little(flood: bytes, shortens: bool) -> None:
    async with server_end(echo, max_sessions=2, linktest_interval=None) as (_, listener):
        await trio.sleep(1)
        one = await listener.raw()
        await one.select()
        await trio.sleep(1)
        await one.send(flood)
        await wait_all_tasks_blocked()
        other = new_share()
        other.begin()
        assert (other.look == SHORT.look) is shortens


@pytest.mark.parametrize(("short", "kind"), [(True, SHORT), (False, LONG)])
def test_a_slice_ends_by_its_time_and_by_its_frames(short: bool, kind: object) -> None:
    clock = Clock()
    chosen = SHORT if short else LONG
    assert chosen is kind

    async def test() -> None:
        share, other = new_share(), new_share()
        if short:
            little(other)
        share.begin()
        for _ in range(chosen.frames // chosen.look - 1):
            assert not share.handled()
        assert share.handled()
        share.begin()
        clock.now += chosen.seconds * 0.9
        assert not share.handled()
        clock.now += chosen.seconds * 0.2
        assert share.handled()

    on(clock, test)


def test_only_one_of_those_that_wait_has_its_slice_and_the_one_with_least_debt_first() -> None:
    clock = Clock()
    order: list[str] = []

    async def use(name: str, seconds: float, times: int) -> None:
        share = shares[name]
        for _ in range(times):
            share.begin()
            clock.now += seconds
            share.end()
            await share.wait()
            order.append(name)
        share.leave()

    async def test() -> None:
        shares.update({name: new_share() for name in ("much", "more", "light")})
        little(shares["light"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use, "more", 0.003, 3)
            nursery.start_soon(use, "much", 0.001, 3)

    shares: dict[str, Share] = {}
    on(clock, test)
    assert sorted(order) == ["more"] * 3 + ["much"] * 3
    # Whoever began, the one that uses less is not behind the other for long.
    assert order.index("much") <= 1


def test_nobody_waits_for_ever() -> None:
    """A connection with much debt has its slice although others with little debt keep coming."""
    clock = Clock()
    turns_of_others = 0
    done = False

    async def other(share: Share) -> None:
        nonlocal turns_of_others
        while not done:
            share.begin()
            clock.now += 0.000_2
            share.end()
            await share.wait()
            turns_of_others += 1
        share.leave()

    async def test() -> None:
        nonlocal done
        light, heavy = new_share(), new_share()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(other, new_share())
            little(light)
            heavy.begin()
            clock.now += 1
            heavy.end()
            little(light)
            heavy.begin()
            await heavy.wait()
            done = True
            heavy.leave()

    on(clock, test)
    assert turns_of_others < 200


def test_a_connection_that_is_cancelled_while_it_waits_or_has_its_slice_holds_up_nobody() -> None:
    clock = Clock()
    ended: list[int] = []

    async def use(number: int, share: Share) -> None:
        try:
            for _ in range(20):
                share.begin()
                clock.now += 0.001
                share.end()
                await share.wait()
                await trio.lowlevel.checkpoint()
        finally:
            share.leave()
        ended.append(number)

    async def test() -> None:
        little(new_share())
        for cancelled_after in range(12):
            ended.clear()
            async with trio.open_nursery() as nursery:
                scopes = [trio.CancelScope() for _ in range(3)]

                async def scoped(number: int, scope: trio.CancelScope) -> None:
                    with scope:
                        await use(number, new_share())

                for number, scope in enumerate(scopes):
                    nursery.start_soon(scoped, number, scope)
                for _ in range(cancelled_after):
                    await trio.lowlevel.checkpoint()
                scopes[cancelled_after % 3].cancel()
            assert len(ended) >= 2

    on(clock, test)


def test_debt_is_paid_off_with_time_and_a_small_one_does_not_wait() -> None:
    clock = Clock()

    async def test() -> None:
        light, share = new_share(), new_share()

        def must_wait(seconds: float) -> bool:
            little(light)
            share.begin()
            clock.now += seconds
            return share.end()

        assert not must_wait(0.000_3)
        assert must_wait(0.000_3)
        clock.now += 10
        assert not must_wait(0.000_3)
        # However much it has used, a little time later it does not wait.
        assert must_wait(3)
        clock.now += 0.02
        assert not must_wait(0)

    on(clock, test)


# Connections that come


@pytest.mark.parametrize(("after", "most"), [(0.0, 1), (0.1, 16)])
def test_while_turns_are_short_one_connection_is_accepted_in_each_pass(
    after: float, most: int
) -> None:
    clock = Clock()
    accepted: list[trio.abc.Stream] = []
    found: list[int] = []

    async def accept(listener: Listener) -> None:
        while True:
            accepted.append((await listener.accept())[0])

    async def test() -> None:
        listener = await listen_tcp("127.0.0.1", 0)
        clients = [await connect_tcp("127.0.0.1", listener.port) for _ in range(40)]
        little(new_share())
        clock.now += after
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, listener)
            while len(accepted) < len(clients):
                before = len(accepted)
                await trio.lowlevel.checkpoint()
                found.append(len(accepted) - before)
            nursery.cancel_scope.cancel()
        listener.close()
        for each in (*clients, *accepted):
            await each.aclose()

    on(clock, test)
    # Two of its turns may be in one of ours.
    assert most <= max(found) <= 2 * most


# The program's side


@pytest.mark.parametrize("answers", [False, True])
async def test_a_handler_that_takes_and_answers_without_end_lets_others_run(answers: bool) -> None:
    seen: list[int] = []
    numbers = itertools.count()

    async def handler(connection: HsmsConnection) -> None:
        async for primary in connection:
            next(numbers)
            if answers:
                await connection.reply(primary, Message(primary.stream, primary.function + 1))

    async with server_end(handler, inbox_size=100_000, linktest_interval=None) as (_, listener):
        peer = await listener.raw()
        await peer.select()

        async def watch() -> None:
            while True:
                seen.append(next(numbers))
                await trio.lowlevel.checkpoint()

        await peer.send(data(1, 1, 7, wait=True) * 10_000)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                while next(numbers) < 10_000:
                    await trio.lowlevel.checkpoint()
                scope.cancel()
    # Of two passes one task may be the last and then the first.
    most = 2 * LONG.frames + 10
    assert max(after - before for before, after in itertools.pairwise(seen)) <= most


async def test_no_primary_is_lost_when_a_handler_is_cancelled_while_others_have_their_turn() -> (
    None
):
    taken: list[int] = []

    async def handler(connection: HsmsConnection) -> None:
        for after in itertools.count(1):
            with trio.CancelScope() as scope:
                for _ in range(5):
                    primary = await anext(connection)
                    taken.append(primary.system_bytes or 0)
                    if after % 3 == 0:
                        scope.cancel()

    async with server_end(handler, inbox_size=100_000, linktest_interval=None) as (_, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.send(b"".join(data(6, 11, number) for number in range(1, 5_001)))
        await wait_all_tasks_blocked()
        assert taken == list(range(1, 5_001))


async def test_a_program_that_answers_many_at_once_lets_others_run() -> None:
    passes = Passes()

    async def handler(connection: HsmsConnection) -> None:
        primaries = [await anext(connection) for _ in range(3_000)]
        before = passes.count
        for primary in primaries:
            await connection.reply(primary, Message(primary.stream, primary.function + 1))
        assert passes.count - before >= 3_000 // LONG.frames
        done.set()
        await trio.sleep_forever()

    done = trio.Event()
    async with server_end(handler, inbox_size=100_000, linktest_interval=None) as (_, listener):
        trio.lowlevel.add_instrument(passes)
        peer = await listener.raw()
        await peer.select()
        await peer.send(data(1, 1, 7, wait=True) * 3_000)
        await done.wait()
        trio.lowlevel.remove_instrument(passes)

"""Dials: all addresses of a name, and not too many attempts at once. Time jumps, TCP is real."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import ConnectError, open_hsms, open_link
from hsms_engine.driver import dialling
from hsms_engine.driver.dialling import DIALS, Dials
from hsms_engine.driver.tcp import DirectStream, connect_tcp, listen_tcp
from tests.support.leaks import leak_check, no_task_left
from tests.support.names import Found, every_name_has, found, silent_resolver
from tests.support.network import Hole, closed_port, direct
from tests.support.raw_peer import SELECT_REQ, RawPeer, select_rsp
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
SLOTS, LOOK_UPS = 64, 8
now = trio.current_time


# All addresses of a name


async def test_an_address_that_never_answers_delays_the_next_by_a_quarter_of_a_second() -> None:
    every_name_has(found(HERE, ELSEWHERE))
    with Hole() as hole:
        listener = await listen_tcp(ELSEWHERE, hole.port)
        began = now()
        stream = await connect_tcp("tool", hole.port)
        assert now() - began == pytest.approx(0.25)
        accepted, _ = await listener.accept()
        for each in (stream, accepted, listener):
            each.close()


async def test_the_first_address_to_answer_wins_also_when_another_was_tried_later() -> None:
    every_name_has(found(ELSEWHERE, HERE))
    with Hole() as hole:
        listener = await listen_tcp(ELSEWHERE, hole.port)
        stream = await connect_tcp("tool", hole.port)
        assert stream._stream.socket.getpeername() == (ELSEWHERE, hole.port)
        for each in (stream, listener):
            each.close()


async def test_an_address_that_refuses_is_followed_by_the_next_at_once() -> None:
    every_name_has(found(ELSEWHERE, HERE))
    listener = await listen_tcp(HERE, 0)
    began = now()
    stream = await connect_tcp("tool", listener.port)
    assert now() == began
    for each in (stream, listener):
        each.close()


async def test_an_attempt_that_fails_at_all_addresses_is_one_failure_that_names_each() -> None:
    unheard_of = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP, "", ("10.0.0.9", 0))
    every_name_has([*found(HERE), unheard_of])
    async with open_link("tool", closed_port()) as link:
        with pytest.raises(ConnectError) as caught:
            await link.connect()
        reasons = "127.0.0.1: Connection refused; 10.0.0.9: Protocol not supported"
        assert str(caught.value).endswith(f"not connected, during TCP connect: {reasons}")
        statistics = link.statistics()
        assert (statistics.failed_attempts, statistics.breaker_failures) == (1, 1)


async def test_an_attempt_that_is_not_answered_says_so_of_each_address() -> None:
    every_name_has(found(HERE, ELSEWHERE))
    with Hole() as hole:
        async with open_link("tool", hole.port, connect_timeout=3) as link:
            with pytest.raises(ConnectError) as caught:
                await link.connect()
    reasons = "127.0.0.1: no answer; 127.0.0.2: Connection refused"
    assert str(caught.value).endswith(f"no answer for 3 s (connect_timeout): {reasons}")


async def test_a_reason_that_all_addresses_share_is_still_an_error_of_that_kind() -> None:
    every_name_has(found(HERE, ELSEWHERE))
    with pytest.raises(ConnectionRefusedError) as caught:
        await connect_tcp("tool", closed_port())
    reason = "127.0.0.1: Connection refused; 127.0.0.2: Connection refused"
    assert caught.value.strerror == reason


async def test_of_two_addresses_that_answer_in_the_same_turn_one_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every_name_has(found(HERE, ELSEWHERE))
    made: list[socket.socket] = []
    answers = trio.lowlevel.ParkingLot()

    async def connect(*_: object) -> socket.socket:
        one, other = socket.socketpair()
        other.close()
        made.append(one)
        await answers.park()
        return one

    async def answer() -> None:
        await trio.sleep(1)
        answers.unpark_all()

    monkeypatch.setattr(dialling, "_connect", connect)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        stream = await connect_tcp("tool", 5000)
    assert sorted(each.fileno() == -1 for each in made) == [False, True]
    stream.close()


async def test_a_socket_that_connects_to_itself_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = socket.socket()
    made.bind((HERE, 0))
    monkeypatch.setattr(socket, "socket", lambda *_: made)
    with pytest.raises(ConnectionRefusedError, match="refused"):
        await connect_tcp(*made.getsockname())
    assert made.fileno() == -1


class Peerless(socket.socket):
    """A socket that was connected, and has no peer any more: it was reset at once."""

    def connect_ex(self, _: Any, /) -> int:
        return 0


async def test_a_connection_reset_before_it_is_looked_at_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Peerless()
    monkeypatch.setattr(socket, "socket", lambda *_: made)
    with pytest.raises(OSError, match="not connected"):
        await connect_tcp(HERE, 5000)
    assert made.fileno() == -1


# Look-ups


class Names:
    """A look-up that answers when it is told to."""

    def __init__(self, answer: Sequence[Found] | OSError) -> None:
        self.answer = answer
        self.answers = trio.Event()
        self.asked: list[str] = []

    async def look_up(self, host: str) -> Sequence[Found]:
        self.asked.append(host)
        await self.answers.wait()
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


async def test_a_name_that_many_ask_for_at_once_is_looked_up_once() -> None:
    names = Names(found(HERE))
    dials = Dials(names.look_up)
    got: list[object] = []

    async def ask() -> None:
        got.append(await dials.addresses("tool"))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        names.answers.set()
    assert (len(got), names.asked) == (100, ["tool"])
    # Nothing is kept beyond that.
    await ask()
    assert names.asked == ["tool", "tool"]


async def test_a_look_up_goes_on_for_the_others_when_the_first_is_cancelled() -> None:
    names = Names(found(HERE))
    dials = Dials(names.look_up)
    got: list[object] = []
    scopes = [trio.CancelScope() for _ in range(3)]

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            got.append(await dials.addresses("tool"))

    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(ask, scope)
            await wait_all_tasks_blocked()
        scopes[0].cancel()
        await wait_all_tasks_blocked()
        assert names.asked == ["tool", "tool"]
        names.answers.set()
    assert got == [found(HERE)] * 2


async def test_each_who_asks_gets_an_error_of_his_own() -> None:
    names = Names(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    dials = Dials(names.look_up)
    errors: list[OSError] = []

    async def ask() -> None:
        with pytest.raises(socket.gaierror, match="not known") as caught:
            await dials.addresses("tool")
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        names.answers.set()
    assert len(names.asked) == 1
    assert len({id(each) for each in errors}) == 3


async def test_names_that_do_not_resolve_leave_the_programs_threads_and_numbers_alone() -> None:
    listener = await listen_tcp(HERE, 0)
    with silent_resolver() as asked:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(connect_tcp, f"tool{number}", 5000)
            while len(asked) < LOOK_UPS:
                await trio.lowlevel.checkpoint()
            assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
            stream = await connect_tcp(HERE, listener.port)
            stream.close()
            assert len(asked) == LOOK_UPS
            nursery.cancel_scope.cancel()
    listener.close()


# Turns


async def dead_ends(nursery: trio.Nursery, hole: Hole) -> None:
    """As many dials that get no answer as there are slots."""
    for _ in range(SLOTS):
        nursery.start_soon(connect_tcp, HERE, hole.port)
    await wait_all_tasks_blocked()
    assert DIALS.get().slots.borrowed_tokens == SLOTS


async def test_dials_to_dead_addresses_hold_up_others_for_a_second_at_most() -> None:
    listener = await listen_tcp(HERE, 0)
    with Hole() as hole:
        async with trio.open_nursery() as nursery:
            began = now()
            await dead_ends(nursery, hole)
            turns: list[float] = []
            stream = await connect_tcp(HERE, listener.port, lambda _: turns.append(now()))
            assert turns == [pytest.approx(began + 1)]
            assert DIALS.get().slots.borrowed_tokens == 0
            nursery.cancel_scope.cancel()
    for each in (stream, listener):
        each.close()


async def test_a_dial_that_ends_gives_its_turn_to_the_next_at_once() -> None:
    with Hole() as hole:
        async with trio.open_nursery() as nursery:
            began = now()
            await dead_ends(nursery, hole)
            for _ in range(10):
                DIALS.get().slots.total_tokens += 1
                with pytest.raises(ConnectionRefusedError):
                    await connect_tcp(HERE, closed_port())
                DIALS.get().slots.total_tokens -= 1
            assert now() == began
            nursery.cancel_scope.cancel()


async def test_no_timer_runs_against_a_peer_that_is_not_dialled_yet() -> None:
    async def look_up(_: str) -> Sequence[Found]:
        await trio.sleep(100)
        return found(HERE)

    DIALS.set(Dials(look_up))
    with Hole() as hole:
        settings: dict[str, Any] = {"connect_timeout": 3, "t5": 10, "backoff_jitter": 0.0}
        async with open_link("tool", hole.port, **settings) as link:
            with pytest.raises(ConnectError, match=r"no answer for 3 s \(connect_timeout\)"):
                await link.connect()
            assert now() == pytest.approx(103)
            # T5 separates dials, not the waits for a turn.
            assert link.statistics().retry_after == pytest.approx(7)


async def test_an_attempt_abandoned_in_the_turn_in_which_it_begins_begins_no_other() -> None:
    DIALS.set(dials := Dials())
    holders = [object() for _ in range(SLOTS + 1)]
    for holder in holders[:SLOTS]:
        dials.slots.acquire_on_behalf_of_nowait(holder)
    async with trio.open_nursery() as nursery, open_link(HERE, closed_port()) as link:
        await wait_all_tasks_blocked()
        nursery.start_soon(dials.slots.acquire_on_behalf_of, holders[-1])
        # T5 is long over.
        await trio.sleep(300)
        dials.slots.release_on_behalf_of(holders[0])
        link.disable()
        link.enable()
        await trio.sleep(300)
        statistics = link.statistics()
        assert (link.phase, statistics.attempts, statistics.failed_attempts) == ("connecting", 2, 0)


async def test_a_dial_of_the_users_own_begins_at_once() -> None:
    async def dial() -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(ConnectError, match="no answer for 3 s"):
        async with open_hsms("tool", 1, dial=dial, random=Random(1), connect_timeout=3):
            pass
    assert now() == pytest.approx(3)


@pytest.mark.parametrize(
    ("answer", "held"), [(True, 0.5), (False, 0.5), (None, 1.0)], ids=["selected", "lost", "silent"]
)
async def test_a_slot_is_held_until_the_select_is_decided_and_for_a_second_at_most(
    answer: bool | None, held: float
) -> None:
    """One slot and two links: a server that comes back has one Select.req at a time."""
    DIALS.set(dials := Dials())
    dials.slots.total_tokens = 1
    listener = await listen_tcp(HERE, 0)
    settings: dict[str, Any] = {"t6": 100, "linktest_interval": None, "t5": 100}
    async with (
        open_link(HERE, listener.port, **settings),
        open_link(HERE, listener.port, **settings),
    ):
        began = now()
        first = RawPeer((await listener.accept())[0])
        system = await first.control(SELECT_REQ)
        await trio.sleep(0.5)
        assert dials.slots.borrowed_tokens == 1
        if answer:
            await first.send(select_rsp(system))
        elif answer is False:
            await first.close()
        second = RawPeer((await listener.accept())[0])
        assert now() == pytest.approx(began + held)
        await second.control(SELECT_REQ)
        for each in (first, second):
            await each.close()
    assert dials.slots.borrowed_tokens == 0
    listener.close()


# The stream


async def tcp_pair() -> tuple[DirectStream, DirectStream]:
    listener = await listen_tcp(HERE, 0)
    ours = await connect_tcp(HERE, listener.port)
    theirs, _ = await listener.accept()
    listener.close()
    return ours, theirs


async def full_pair() -> tuple[DirectStream, DirectStream]:
    """Both ends have sent until the kernel takes no more, and have read nothing."""
    pair = await tcp_pair()
    for stream in pair:
        while stream.send_nowait(bytes(65_536)):
            await trio.lowlevel.checkpoint()
    return pair


async def test_a_reset_is_heard_at_once_however_much_is_stuck_in_both_directions() -> None:
    ours, theirs = await full_pair()
    ours.reset()
    ours.reset()

    async def read() -> None:
        while await theirs.receive_some():
            pass

    with pytest.raises(trio.BrokenResourceError) as caught:
        await read()
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    with pytest.raises(trio.BrokenResourceError):
        theirs.send_nowait(b"x")
    theirs.reset()


async def test_a_unix_socket_that_is_reset_just_closes() -> None:
    ours, theirs = (direct(each) for each in socket.socketpair())
    ours.reset()
    assert await theirs.receive_some() == b""
    theirs.close()


@pytest.mark.skipif(sys.platform != "linux", reason="what Linux tells")
async def test_what_the_peers_system_has_not_acknowledged_is_told() -> None:
    ours, theirs = await tcp_pair()
    ours.send_nowait(b"taken")
    assert await theirs.receive_some() == b"taken"
    assert ours.unacknowledged() == 0
    sent = 0
    while count := ours.send_nowait(bytes(65_536)):
        sent += count
        await trio.lowlevel.checkpoint()
    waiting = ours.unacknowledged()
    assert waiting is not None
    assert 0 < waiting <= sent
    while (left := ours.unacknowledged()) is not None and left:
        await theirs.receive_some()
    assert left == 0
    ours.close()
    assert ours.unacknowledged() is None
    theirs.close()


@pytest.mark.skipif(sys.platform != "linux", reason="what Linux tells")
async def test_a_unix_socket_tells_whether_its_peer_has_read_all() -> None:
    ours, theirs = (direct(each) for each in socket.socketpair())
    assert ours.unacknowledged() == 0
    ours.send_nowait(b"not read yet")
    assert ours.unacknowledged()
    await theirs.receive_some()
    assert ours.unacknowledged() == 0
    theirs.close()
    assert ours.unacknowledged() == 0
    ours.close()


async def test_the_kernel_holds_a_bounded_number_of_unsent_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        stream, other = await tcp_pair()
        unsent = stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        assert unsent == 131_072
        stream.close()
        other.close()
        monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT")
    stream, other = await tcp_pair()
    # Linux doubles it, for its own records.
    assert stream._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in (131_072, 262_144)
    stream.close()
    other.close()

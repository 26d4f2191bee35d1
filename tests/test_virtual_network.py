"""The network in memory behaves as kernels joined by cables do, as far as a program sees."""

from __future__ import annotations

import errno
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import HsmsServer, open_hsms, serve_hsms
from hsms_engine.virtual import Kernel, Machine, Network, Socket
from tests.support.pair import echo
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

PATIENT = Kernel(first_pause=1, longest_pause=4, patience=20)


class Cable:
    """Two machines, ``here`` and ``there``, and the ways between them."""

    def __init__(self, nursery: trio.Nursery, delay: float = 0.0, **kernel: Any) -> None:
        self.network = Network(Random(1), Kernel(**kernel) if kernel else PATIENT)
        nursery.start_soon(self.network.run)
        self.here, self.there = map(self.network.machine, ("here", "there"))
        self.out = self.network.way("here", "there")
        self.back = self.network.way("there", "here")
        self.out.delay = self.back.delay = delay

    def cut(self, is_cut: bool) -> None:
        self.out.is_cut = self.back.is_cut = is_cut

    async def connect(self, backlog: int = 9) -> tuple[Socket, Socket]:
        post = self.there.listen(backlog=backlog)
        ours = await self.here.dial(self.there)
        theirs, peer = await post.accept()
        assert peer == ours.name
        return ours, theirs


async def never(wait: Any) -> bool:
    """Whether it waits for longer than anything here takes."""
    with trio.move_on_after(10_000) as patience:
        await wait
    return patience.cancelled_caught


def number_of(broken: pytest.ExceptionInfo[BaseException]) -> int | None:
    cause = broken.value.__cause__
    assert isinstance(cause, OSError)
    return cause.errno


async def test_a_server_listens_on_it_and_a_host_dials_it(nursery: trio.Nursery) -> None:
    cable = Cable(nursery, 0.5)
    post = cable.there.listen(5_001)

    async def serve(task_status: trio.TaskStatus[HsmsServer]) -> None:
        await serve_hsms(echo, listener=post, task_status=task_status)

    server: HsmsServer = await nursery.start(serve)
    assert (server.address, server.port) == ("there:5001", 5_001)
    with pytest.raises(OSError, match="in use"):
        cable.there.listen(5_001)
    async with open_hsms(dial=lambda: cable.here.dial(cable.there, 5_001)) as connection:
        assert trio.current_time() == 2
        assert server.connections[0].peer == "here:40001"
        await connection.linktest()
        assert trio.current_time() == 3
    await server.aclose()
    with pytest.raises(ConnectionRefusedError):
        await cable.here.dial(cable.there, 5_001)


async def test_bytes_arrive_in_order_after_the_delay_and_then_the_end(
    nursery: trio.Nursery,
) -> None:
    here, there = await Cable(nursery, 2.0).connect()
    begun = trio.current_time()
    await here.wait_send_all_might_not_block()
    await here.send_all(b"ab")
    await trio.sleep(1)
    await here.send_all(b"c")
    await here.send_eof()
    await here.send_eof()
    with pytest.raises(trio.BrokenResourceError):
        here.send_nowait(b"d")
    assert here.unacknowledged() == 4
    assert await there.receive_some(1) == b"a"
    assert trio.current_time() == begun + 2
    assert await there.receive_some() == b"b"
    assert await there.receive_some() == b"c"
    assert trio.current_time() == begun + 3
    assert await there.receive_some() == b""
    assert await there.receive_some() == b""
    await trio.sleep(2)
    assert here.unacknowledged() == 0
    # Half closed: the other direction goes on.
    await there.send_all(b"e")
    assert await here.receive_some() == b"e"


async def test_a_reader_that_reads_nothing_fills_both_buffers_and_then_the_sender_waits(
    nursery: trio.Nursery,
) -> None:
    cable = Cable(nursery, 0.5, send_buffer=10, receive_buffer=8, segment=3, patience=30)
    here, there = await cable.connect()
    assert here.send_nowait(bytes(30)) == 10
    await trio.sleep(2)
    # Eight have come, and two wait; there is room for eight more.
    assert here.send_nowait(bytes(30)) == 8
    assert here.send_nowait(b"x") == 0
    assert await never(here.send_some(memoryview(b"x")))
    assert here.unacknowledged() == 10
    nursery.start_soon(here.send_all, b"xyz")
    taken = 0
    while taken < 21:
        taken += len(await there.receive_some(5))
    assert taken == 21
    await trio.sleep(5)
    assert here.unacknowledged() == 0


async def test_bytes_take_their_time_at_a_rate(nursery: trio.Nursery) -> None:
    cable = Cable(nursery, 1.0)
    here, there = await cable.connect()
    cable.out.rate = 100
    begun = trio.current_time()
    here.send_nowait(bytes(960))
    assert len(await there.receive_some()) == 960
    assert trio.current_time() == pytest.approx(begun + 11)


async def test_what_a_kernel_takes_is_told_and_where_an_end_is_can_be_asked(
    nursery: trio.Nursery,
) -> None:
    told: list[tuple[str, bytes]] = []
    network = Network(Random(1), sent=lambda socket, data: told.append((socket.name, data)))
    nursery.start_soon(network.run)
    post = network.machine("there").listen()
    here = await network.machine("here").dial(network.machine("there"))
    there, _ = await post.accept()
    await here.send_all(b"abc")
    assert told == [(here.name, b"abc")]
    was_sending = here.is_sending
    await trio.sleep(1)
    assert (was_sending, here.is_sending) == (True, False)
    for is_open in (True, False):
        assert here.is_open is is_open
        await here.aclose()
    assert there.is_open
    assert not there.is_forgotten
    network.forget(resets=True)
    assert there.is_forgotten


async def test_what_an_end_that_is_over_would_have_sent_again_is_not(
    nursery: trio.Nursery,
) -> None:
    cable = Cable(nursery, 1.0)
    here, there = await cable.connect()
    cable.out.is_cut = True
    here.send_nowait(b"a")
    await trio.sleep(1.5)
    here.send_nowait(b"b")
    # While the second one is lost, and before the first one is sent again.
    here.break_off()
    assert await never(there.receive_some())


async def test_chance_cuts_what_is_sent(nursery: trio.Nursery) -> None:
    cable = Cable(nursery, segment=20, is_choppy=True)
    here, there = await cable.connect()
    assert cable.network.ways() == [cable.out, cable.back]
    assert cable.network.machine("here") is cable.here
    cable.out.jitter = 0.1
    sent = bytes(range(200))
    await here.send_all(sent)
    pieces: list[bytes] = []
    while len(b"".join(pieces)) < 200:
        pieces.append(await there.receive_some())
    assert b"".join(pieces) == sent
    assert len(pieces) > 4


async def test_what_is_lost_is_sent_again_also_by_chance(nursery: trio.Nursery) -> None:
    cable = Cable(nursery, 0.1, segment=10, first_pause=1.0, longest_pause=2.0)
    here, there = await cable.connect()
    cable.out.loss = cable.back.loss = 0.3
    sent = bytes(range(250))
    await here.send_all(sent)
    await here.send_eof()
    got = b""
    while data := await there.receive_some():
        got += data
    assert got == sent
    await there.send_all(sent)
    await there.aclose()
    got = b""
    while data := await here.receive_some():
        got += data
    assert got == sent


async def test_what_was_sent_while_the_cable_was_cut_arrives_when_it_is_whole(
    nursery: trio.Nursery,
) -> None:
    cable = Cable(nursery)
    here, there = await cable.connect()
    cable.cut(True)
    here.send_nowait(b"a")
    await trio.sleep(4)
    assert here.unacknowledged() == 1
    cable.cut(False)
    # Sent again after 1, then 2, then 4 seconds, which is the longest pause.
    assert await there.receive_some() == b"a"
    assert trio.current_time() == 7


async def test_a_kernel_gives_up_a_connection_on_which_nothing_is_answered(
    nursery: trio.Nursery,
) -> None:
    cable = Cable(nursery)
    here, there = await cable.connect()
    cable.out.is_cut = True
    here.send_nowait(b"a")
    with pytest.raises(trio.BrokenResourceError) as broken:
        await here.receive_some()
    assert number_of(broken) == errno.ETIMEDOUT
    assert 20 <= trio.current_time() <= 24
    with pytest.raises(trio.BrokenResourceError):
        await here.send_all(b"b")
    with pytest.raises(trio.BrokenResourceError):
        await here.send_eof()
    here.close()
    assert await never(there.receive_some())
    # The other end still believes in it, until it sends something.
    cable.out.is_cut = False
    there.send_nowait(b"c")
    with pytest.raises(trio.BrokenResourceError) as broken:
        await there.receive_some()
    assert number_of(broken) == errno.ECONNRESET


async def test_a_kernel_is_patient_with_a_reader_that_only_reads_nothing(
    nursery: trio.Nursery,
) -> None:
    here, there = await Cable(nursery, receive_buffer=4, patience=20).connect()
    here.send_nowait(b"abcdef")
    # It asks more often than a float can be doubled.
    for _ in range(2):
        await trio.sleep(80_000)
    assert here.unacknowledged() == 2
    assert await there.receive_some() == b"abcd"
    assert await there.receive_some() == b"ef"
    # A kernel that is short of memory may take less than it has said.
    await trio.sleep(1)
    there.receive_buffer = 1
    here.send_nowait(b"gh")
    assert await there.receive_some() == b"g"
    assert await there.receive_some() == b"h"


async def test_a_lost_end_is_sent_again_and_a_lost_reset_is_not(nursery: trio.Nursery) -> None:
    cable = Cable(nursery)
    here, there = await cable.connect()
    cable.out.loses_fin = cable.out.loses_reset = True
    await here.send_eof()
    assert here.unacknowledged() == 1
    await trio.sleep(2)
    cable.out.loses_fin = False
    assert await there.receive_some() == b""
    assert trio.current_time() == 3
    here.reset()
    here.reset()
    await trio.sleep(100)
    cable.out.loses_reset = False
    there.send_nowait(b"a")
    await trio.sleep(1)
    with pytest.raises(trio.BrokenResourceError):
        there.send_nowait(b"b")


async def test_what_comes_to_a_closed_end_is_answered_by_a_reset(nursery: trio.Nursery) -> None:
    here, there = await Cable(nursery, 1.0).connect()
    await there.aclose()
    await there.aclose()
    here.send_nowait(b"a")
    assert here.unacknowledged() == 1
    await trio.sleep(1.5)
    assert await here.receive_some() == b""
    await trio.sleep(1)
    # The end has come before the reset.
    assert await here.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        here.send_nowait(b"b")


async def test_who_closes_without_having_read_all_resets(nursery: trio.Nursery) -> None:
    here, there = await Cable(nursery).connect()
    here.send_nowait(b"a")
    await trio.sleep(1)
    there.close()
    with pytest.raises(trio.BrokenResourceError) as broken:
        await here.receive_some()
    assert number_of(broken) == errno.ECONNRESET
    assert there.unacknowledged() is None
    with pytest.raises(trio.ClosedResourceError):
        await there.receive_some()


async def test_who_waits_on_an_end_that_is_closed_hears_it(nursery: trio.Nursery) -> None:
    here, _ = await Cable(nursery).connect()
    heard = []

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await here.receive_some()
        heard.append("closed")

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    here.close()
    await wait_all_tasks_blocked()
    assert heard == ["closed"]


async def test_both_ends_that_have_closed_are_forgotten(nursery: trio.Nursery) -> None:
    cable = Cable(nursery)
    here, there = await cable.connect()
    here.close()
    there.close()
    await trio.sleep(1)
    assert not cable.here.sockets
    assert not cable.there.sockets


async def test_a_blocked_program_finds_what_came_meanwhile(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    cable = Cable(nursery, 1.0)
    here, there = await cable.connect()
    here.send_nowait(b"a")
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(50)
    assert await there.receive_some() == b"a"
    # It was acknowledged by the kernel when it came, and not when the program woke.
    assert here.unacknowledged() == 0
    assert trio.current_time() == 53


async def test_a_graceful_close_lasts_for_linger_when_the_peer_has_vanished(
    nursery: trio.Nursery,
) -> None:
    """The end, which the kernel counts as a byte, is none of the bytes before Separate.req."""
    cable = Cable(nursery)
    post = cable.there.listen()

    async def serve() -> None:
        await serve_hsms(echo, listener=post)

    nursery.start_soon(serve)
    async with open_hsms(dial=lambda: cable.here.dial(cable.there), linger=3) as connection:
        await trio.sleep(1)
        cable.cut(True)
        begun = trio.current_time()
        await connection.aclose()
        assert trio.current_time() == begun + 3


# Dials


async def test_nobody_listens(nursery: trio.Nursery) -> None:
    cable = Cable(nursery, 1.0)
    with pytest.raises(ConnectionRefusedError):
        await cable.here.dial(cable.there)
    assert trio.current_time() == 2
    cable.there.is_silent = True
    with pytest.raises(TimeoutError):
        await cable.here.dial(cable.there)
    cable.out.is_cut = True
    with pytest.raises(TimeoutError):
        await cable.here.dial(cable.there)


async def test_a_dial_that_is_lost_is_made_again(nursery: trio.Nursery) -> None:
    cable = Cable(nursery)
    post = cable.there.listen()
    cable.back.is_cut = True
    nursery.start_soon(trio.sleep, 0)

    async def heal() -> None:
        await trio.sleep(2)
        cable.back.is_cut = False

    nursery.start_soon(heal)
    here = await cable.here.dial(cable.there)
    assert trio.current_time() == 3
    there, _ = await post.accept()
    await here.send_all(b"a")
    assert await there.receive_some() == b"a"
    # It was the same connection each time.
    assert len(cable.there.sockets) == 1


async def test_an_answer_whose_answer_is_lost_is_given_again_or_given_up(
    nursery: trio.Nursery,
) -> None:
    cable = Cable(nursery, 0.1)
    post = cable.there.listen(backlog=1)

    async def dial(machine: Machine) -> None:
        await machine.dial(cable.there)

    nursery.start_soon(dial, cable.here)
    await trio.sleep(0.15)
    cable.out.is_cut = True
    await trio.sleep(0.1)
    # Half open: it takes no room from others.
    nursery.start_soon(dial, cable.network.machine("third"))
    _, peer = await post.accept()
    assert peer == "third:40001"
    await trio.sleep(PATIENT.patience - 2)
    assert len(post.knocking) == 1
    await trio.sleep(10)
    assert not post.knocking


async def test_who_was_answered_comes_in_when_there_is_room(nursery: trio.Nursery) -> None:
    cable = Cable(nursery, 1.0)
    post = cable.there.listen(backlog=1)
    sent = []

    async def dial() -> None:
        socket = await cable.here.dial(cable.there)
        await socket.send_all(b"a")
        sent.append(socket)

    for _ in range(3):
        nursery.start_soon(dial)
    await trio.sleep(5)
    assert (len(sent), len(post.knocking)) == (3, 2)
    for _ in range(3):
        socket, _ = await post.accept()
        assert await socket.receive_some() == b"a"


async def test_a_full_queue_hears_nobody(nursery: trio.Nursery) -> None:
    cable = Cable(nursery)
    post = cable.there.listen(backlog=1)
    await cable.here.dial(cable.there)
    await trio.sleep(0.1)
    begun = trio.current_time()

    async def accept() -> None:
        await trio.sleep(2)
        await post.accept()

    nursery.start_soon(accept)
    await cable.here.dial(cable.there)
    assert trio.current_time() == begun + 3


async def test_a_dial_that_is_given_up_leaves_nothing(nursery: trio.Nursery) -> None:
    cable = Cable(nursery, 1.0)
    post = cable.there.listen()
    with trio.move_on_after(1.5):
        await cable.here.dial(cable.there)
    await trio.sleep(5)
    assert not cable.here.sockets
    assert not cable.there.sockets
    assert not post.knocking


async def test_who_waits_at_a_listener_that_closes_is_turned_away(nursery: trio.Nursery) -> None:
    cable = Cable(nursery, 1.0)
    post = cable.there.listen()
    waits = await cable.here.dial(cable.there)
    await trio.sleep(1)
    late = []

    async def dial() -> None:
        late.append(await cable.here.dial(cable.there))

    nursery.start_soon(dial)
    await trio.sleep(1.5)
    post.close()
    post.close()
    with pytest.raises(trio.BrokenResourceError):
        await waits.receive_some()
    await trio.sleep(2)
    with pytest.raises(trio.BrokenResourceError):
        await late[0].receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await post.accept()


# Machines


async def test_a_machine_that_crashes_and_comes_back_resets_what_it_does_not_know(
    nursery: trio.Nursery,
) -> None:
    cable = Cable(nursery)
    here, there = await cable.connect()
    waiting = await cable.here.dial(cable.there)
    await trio.sleep(1)
    cable.there.crash()
    # Its program hears nothing, and what it says is lost.
    assert there.send_nowait(b"x") == 1
    await there.send_eof()
    assert await never(there.receive_some())
    here.send_nowait(b"a")
    with pytest.raises(trio.BrokenResourceError) as broken:
        await here.receive_some()
    assert number_of(broken) == errno.ETIMEDOUT
    cable.there.start()
    waiting.send_nowait(b"a")
    with pytest.raises(trio.BrokenResourceError) as broken:
        await waiting.receive_some()
    assert number_of(broken) == errno.ECONNRESET
    cable.there.listen()
    await cable.here.dial(cable.there)


async def test_behind_a_firewall_it_answers_nothing(nursery: trio.Nursery) -> None:
    cable = Cable(nursery)
    here, there = await cable.connect()
    cable.there.crash()
    cable.there.is_silent = True
    cable.there.start()
    here.send_nowait(b"a")
    with pytest.raises(trio.BrokenResourceError) as broken:
        await here.receive_some()
    assert number_of(broken) == errno.ETIMEDOUT
    there.break_off()


async def test_an_end_that_is_broken_off_is_reset_when_it_is_used(nursery: trio.Nursery) -> None:
    cable = Cable(nursery)
    here, there = await cable.connect()
    here.break_off()
    with pytest.raises(trio.BrokenResourceError):
        await here.receive_some()
    here.reset()
    there.send_nowait(b"a")
    with pytest.raises(trio.BrokenResourceError):
        await there.receive_some()


@pytest.mark.parametrize("resets", [True, False])
async def test_a_nat_forgets(nursery: trio.Nursery, resets: bool) -> None:
    cable = Cable(nursery)
    here, there = await cable.connect()
    cable.network.forget(resets=resets)
    here.send_nowait(b"a")
    with pytest.raises(trio.BrokenResourceError) as broken:
        await here.receive_some()
    assert number_of(broken) == (errno.ECONNRESET if resets else errno.ETIMEDOUT)
    assert await never(there.receive_some())
    # New ones are let through.
    await cable.here.dial(cable.there)

"""After the end of the lease nothing is handed on, whatever waits for it, and below TLS."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from hsms_engine.driver.dialling import dial
from hsms_engine.driver.fence import Fence
from hsms_engine.driver.reading import Readable
from hsms_engine.driver.tcp import (
    Addressed,
    DirectStream,
    Resettable,
    Stream,
    connect_tcp,
    dial_tcp,
    listen_tcp,
)
from hsms_engine.driver.tls import TlsStream, secure
from tests.support.certificates import host, listening
from tests.support.leaks import leak_check, no_task_left
from tests.support.names import every_name_has, found
from tests.support.one_way import OneWay
from tests.support.pair import direct_pair

__all__ = ["leak_check", "no_task_left"]

HERE = "127.0.0.1"
OVER = "the lease of this process is over: nothing is sent any more"
NOBODY = "the lease of this process is over: nobody is dialled"


class Lease:
    """Whether it is in force, and how often that was asked."""

    def __init__(self) -> None:
        self.is_ours = True
        self.asked = 0
        self.fence = Fence(self)

    def __call__(self) -> bool:
        self.asked += 1
        return self.is_ours

    async def put_before(self, stream: Stream) -> Any:
        """``stream`` behind the fence."""

        async def dialled() -> tuple[Stream, Callable[[], None]]:
            await trio.lowlevel.checkpoint()
            return stream, lambda: None

        fenced, _ = await self.fence.around(dialled)
        return fenced


async def tcp_pair() -> tuple[DirectStream, DirectStream]:
    listener = await listen_tcp(HERE, 0)
    ours = await connect_tcp(HERE, listener.port)
    theirs, _ = await listener.accept()
    listener.close()
    return ours, theirs


async def received(stream: Stream) -> bytes | type[Exception]:
    """All that came; or that it broke."""
    data = b""
    try:
        while piece := await stream.receive_some(1_000_000):
            data += piece
    except trio.BrokenResourceError:
        return trio.BrokenResourceError
    return data


async def test_while_it_is_in_force_a_stream_does_what_it_did() -> None:
    lease = Lease()
    inner, theirs = await tcp_pair()
    ours = await lease.put_before(inner)
    assert [isinstance(ours, kind) for kind in (Readable, Addressed, Resettable)] == [True] * 3
    assert (ours.local_address, ours.remote_address) == (
        theirs.remote_address,
        theirs.local_address,
    )
    assert ours.send_nowait(b"a") == 1
    assert ours.send_pieces_nowait([b"b", b"c"]) == 2
    assert await ours.send_some(memoryview(b"d")) == 1
    await ours.send_all(b"e")
    await ours.wait_send_all_might_not_block()
    assert lease.asked == 4
    await theirs.send_all(b"answer")
    assert await ours.receive_some() == b"answer"
    assert ours.unacknowledged() is not None
    await ours.send_eof()
    assert await received(theirs) == b"abcde"
    await theirs.aclose()
    await ours.aclose()


async def at_once(call: Callable[[Any], object], what: Any) -> None:
    call(what)


SENDS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "send_nowait": lambda stream: at_once(stream.send_nowait, b"late"),
    "send_pieces_nowait": lambda stream: at_once(stream.send_pieces_nowait, [b"la", b"te"]),
    "send_some": lambda stream: stream.send_some(memoryview(b"late")),
    "send_all": lambda stream: stream.send_all(b"late"),
    "send_eof": lambda stream: stream.send_eof(),
}


@pytest.mark.parametrize("call", SENDS.values(), ids=list(SENDS))
async def test_after_its_end_each_way_to_send_is_broken_and_the_peer_gets_a_reset(
    call: Callable[[Any], Awaitable[object]],
) -> None:
    lease = Lease()
    inner, theirs = await tcp_pair()
    ours = await lease.put_before(inner)
    await ours.send_all(b"before")
    assert await theirs.receive_some() == b"before"
    lease.is_ours = False
    with pytest.raises(trio.BrokenResourceError, match=OVER):
        await call(ours)
    await ours.aclose()
    assert await received(theirs) is trio.BrokenResourceError
    await theirs.aclose()


async def test_who_has_told_its_end_in_time_closes_as_ever() -> None:
    lease = Lease()
    inner, theirs = await tcp_pair()
    ours = await lease.put_before(inner)
    await ours.send_all(b"all of it")
    await ours.send_eof()
    lease.is_ours = False
    await ours.aclose()
    assert await received(theirs) == b"all of it"
    await theirs.aclose()


@pytest.mark.parametrize("call", [SENDS["send_some"], SENDS["send_all"]])
async def test_who_waits_for_room_when_it_ends_sends_nothing_when_there_is_room(
    call: Callable[[Any], Awaitable[object]],
) -> None:
    lease = Lease()
    inner, theirs = await tcp_pair()
    ours = await lease.put_before(inner)
    sent = 0
    while count := ours.send_nowait(bytes(100_000)):
        sent += count

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError, match=OVER):
            await call(ours)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        lease.is_ours = False
        got = 0
        while got < sent:
            got += len(await theirs.receive_some(1_000_000))
    assert got == sent
    await ours.aclose()
    assert await received(theirs) is trio.BrokenResourceError
    await theirs.aclose()


async def test_a_stream_of_trio_is_fenced_piece_by_piece() -> None:
    """Trio's own sends what is left of a message whenever there is room."""
    listeners = await trio.open_tcp_listeners(0, host=HERE)
    inner = await trio.testing.open_stream_to_socket_listener(listeners[0])
    theirs = await listeners[0].accept()
    lease = Lease()
    ours = await lease.put_before(inner)
    assert ours.send_nowait(b"direct") == 6
    for each in (ours, theirs, listeners[0]):
        await each.aclose()


async def test_of_a_stream_that_can_only_send_all_of_it_each_piece_is_fenced() -> None:
    inner, theirs = memory_stream_pair()
    lease = Lease()
    ours = await lease.put_before(OneWay(inner))
    assert not isinstance(ours, Readable)
    assert (ours.send_nowait, ours.send_pieces_nowait, ours.send_some) == (None, None, None)
    assert ours.unacknowledged() is None
    assert ours.local_address == ""
    await ours.send_all(b"piece")
    assert await theirs.receive_some() == b"piece"
    # It has no end in one direction.
    await ours.send_eof()
    lease.is_ours = False
    with pytest.raises(trio.BrokenResourceError, match=OVER):
        await ours.send_all(b"late")
    await ours.aclose()
    assert await received(theirs) == b""


async def test_a_stream_that_cannot_send_pieces_is_asked_for_none() -> None:
    inner, _ = direct_pair()
    lease = Lease()
    ours = await lease.put_before(inner)
    assert ours.send_nowait(b"one") == 3
    assert ours.send_pieces_nowait is None


async def test_tls_stands_on_the_fence_with_its_handshake_and_its_end() -> None:
    inner, below = await tcp_pair()
    lease = Lease()
    ours = await lease.put_before(inner)
    ends: list[TlsStream] = []

    async def shake(stream: Stream, context: ssl.SSLContext, *, listens: bool) -> None:
        ends.append(await secure(stream, context, listens=listens, name="tool"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: shake(ours, host(), listens=False))
        nursery.start_soon(lambda: shake(below, listening(), listens=True))
    # In TLS 1.3 who dials writes twice.
    assert lease.asked >= 2
    secured = next(each for each in ends if each._stream is ours)
    lease.is_ours = False
    with pytest.raises(trio.BrokenResourceError, match=OVER):
        secured.send_nowait(b"late")
    await secured.aclose()
    assert await received(below) is trio.BrokenResourceError
    await below.aclose()


async def test_a_handshake_that_begins_after_the_end_sends_nothing() -> None:
    inner, theirs = await tcp_pair()
    lease = Lease()
    ours = await lease.put_before(inner)
    lease.is_ours = False
    with trio.move_on_after(0) as scope:
        await secure(ours, host(), listens=False, name="tool")
    assert scope.cancelled_caught
    await ours.aclose()
    assert await received(theirs) is trio.BrokenResourceError
    await theirs.aclose()


# Dials


def began(_: object) -> None:
    pass


async def test_nobody_is_dialled_after_the_end() -> None:
    listener = await listen_tcp(HERE, 0)
    with pytest.raises(OSError, match=NOBODY) as raised:
        await dial_tcp(HERE, listener.port, began, may_dial=lambda: False)
    assert raised.value.errno == errno.ECANCELED
    with trio.move_on_after(0) as scope:
        await listener.accept()
    assert scope.cancelled_caught
    listener.close()


async def test_of_several_addresses_those_that_are_left_at_the_end_are_not_tried() -> None:
    every_name_has(found("127.0.0.2", HERE))
    listener = await listen_tcp(HERE, 0)
    answers = iter([True, False])
    with pytest.raises(OSError, match=NOBODY):
        await dial("tool", listener.port, began, may_dial=lambda: next(answers))
    listener.close()


# When all is closed


async def test_it_is_clear_when_every_stream_is_closed_and_every_dial_has_failed() -> None:
    lease = Lease()
    fence = lease.fence
    await fence.until_clear()
    first, second = [await lease.put_before(memory_stream_pair()[0]) for _ in range(2)]
    cleared = trio.Event()

    async def wait() -> None:
        await fence.until_clear()
        cleared.set()

    async def fails() -> tuple[Stream, Callable[[], None]]:
        await trio.sleep_forever()
        raise AssertionError

    async with trio.open_nursery() as nursery:
        dialling = trio.CancelScope()

        async def dial_in_vain() -> None:
            with dialling:
                await fence.around(fails)

        nursery.start_soon(dial_in_vain)
        await wait_all_tasks_blocked()
        nursery.start_soon(wait)
        for close in (first.aclose, first.aclose, second.aclose):
            await close()
            await wait_all_tasks_blocked()
            assert not cleared.is_set()
        dialling.cancel()
        await wait_all_tasks_blocked()
        assert cleared.is_set()

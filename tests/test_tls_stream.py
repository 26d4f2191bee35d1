"""A stream of TLS is to its users what one of TCP is: sends that never wait, ends, half-closes."""

from __future__ import annotations

import gc
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from hsms_engine.driver.tls import TlsError, TlsStream, secure, take_leave
from hsms_engine.virtual import Socket
from tests.support.certificates import host, listening
from tests.support.one_way import OneWay
from tests.support.tls_records import DATA, HANDSHAKE, NEW_KEY, NEW_KEY_OF_BOTH, Raw, ticket
from tests.support.virtual import tcp_pair, virtual_time

__all__ = ["virtual_time"]

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
LARGE = bytes(range(256)) * 4_096 * 2
# What TLS 1.3 adds to the bytes of a record.
RECORD = 22


def of(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    context.maximum_version = version
    return context


async def joined(
    ours: trio.abc.Stream, theirs: trio.abc.Stream, version: ssl.TLSVersion = TLS_1_3
) -> tuple[TlsStream, TlsStream]:
    """Both ends, the one that has dialled first."""
    made: dict[bool, TlsStream] = {}

    async def shake(stream: trio.abc.Stream, *, listens: bool) -> None:
        context = of(listening() if listens else host(), version)
        made[listens] = await secure(stream, context, listens=listens, name="tool")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: shake(ours, listens=False))
        nursery.start_soon(lambda: shake(theirs, listens=True))
    if version is TLS_1_3:
        # The tickets of the listening end are before its first byte.
        await made[True].send_all(b"!")
        assert await made[False].receive_some() == b"!"
    return made[False], made[True]


async def ends(
    room: int = 1_000_000, version: ssl.TLSVersion = TLS_1_3
) -> tuple[TlsStream, Socket, TlsStream, Socket]:
    """Both ends, each with what is below it."""
    ours, theirs = await tcp_pair(room)
    one, other = await joined(ours, theirs, version)
    return one, ours, other, theirs


def leave_room(below: Socket, room: int) -> None:
    """From now on it takes so many bytes, and the system of the other end none."""
    below.other.receive_buffer = 0
    below.send_buffer = room


def read_again(below: Socket) -> None:
    """The system of the other end has room again; our one asks for it now and then."""
    below.other.receive_buffer = 1_000_000


def answer_after(below: Socket, seconds: float) -> None:
    """What the system of the other end says from now on, comes so much later."""
    other = below.other.machine
    other.network.way(other.name, below.machine.name).delay = seconds


async def read(stream: TlsStream, count: int, most: int | None = None) -> bytes:
    """The next ``count`` bytes."""
    data = bytearray()
    while len(data) < count:
        more = await stream.receive_some(most or count - len(data))
        assert more
        data += more
    return bytes(data)


def why(error: BaseException) -> str:
    assert isinstance(error.__cause__, TlsError)
    assert str(error) == str(error.__cause__)
    return str(error)


# The certificate


async def test_each_end_knows_the_certificate_of_the_other() -> None:
    one, _, other, _ = await ends()
    assert one.peer_certificate is not None
    assert other.peer_certificate is not None
    assert one.peer_certificate.names == ("tool", "127.0.0.1")
    assert other.peer_certificate.name == "host-1"
    assert other.peer_certificate.not_after.endswith("GMT")
    assert int(other.peer_certificate.serial, 16)


# Sending


@VERSIONS
async def test_a_send_that_never_waits_sends_all_that_the_stream_below_takes(
    version: ssl.TLSVersion,
) -> None:
    one, _, other, _ = await ends(version=version)
    assert one.send_nowait(b"") == 0
    assert one.send_nowait(b"first") == 5
    assert one.send_nowait(memoryview(b"second")) == 6
    assert await read(other, 11) == b"firstsecond"


@VERSIONS
@pytest.mark.parametrize("room", [1, 5, 1_000, 20_000, 100_000])
async def test_what_is_not_taken_now_is_sent_in_order_when_there_is_room(
    room: int, version: ssl.TLSVersion
) -> None:
    one, below, other, _ = await ends(version=version)
    data = LARGE[: max(room * 20, 2_000)]
    leave_room(below, room)
    taken = one.send_nowait(data)
    assert taken <= room
    assert one.send_nowait(memoryview(data)[taken:]) == 0

    async def send() -> None:
        rest = memoryview(data)[taken:]
        while rest:
            rest = rest[await one.send_some(rest) :]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        read_again(below)
        assert await read(other, len(data)) == data


async def test_what_is_taken_follows_what_is_sent_but_its_last_byte_is_taken_last() -> None:
    one, below, other, _ = await ends()
    data = memoryview(bytes(10_000))
    leave_room(below, 0)
    assert one.send_nowait(data) == 0
    taken, moves = 0, 0
    while taken < len(data):
        below.send_buffer += 500
        count = await one.send_some(data[taken:])
        assert count <= 500
        taken, moves = taken + count, moves + bool(count)
    assert moves >= 20
    left = below.unacknowledged()
    assert left is not None
    assert left < below.send_buffer
    read_again(below)
    assert await read(other, len(data)) == bytes(data)


async def test_what_was_encrypted_is_told_as_taken_also_when_less_is_asked_for() -> None:
    one, below, other, _ = await ends()
    leave_room(below, 0)
    assert one.send_nowait(b"abcdefgh") == 0
    below.send_buffer = 1_000
    # A stream between may give it frame by frame.
    assert await one.send_some(memoryview(b"abc")) == 3
    assert one.send_nowait(b"de") == 2
    assert one.send_nowait(b"fgh") == 3
    assert one.send_nowait(b"i") == 1
    read_again(below)
    assert await read(other, 9) == b"abcdefghi"


@VERSIONS
async def test_large_messages_pass_in_both_directions_at_once(version: ssl.TLSVersion) -> None:
    one, _, other, _ = await ends(room=30_000, version=version)
    async with trio.open_nursery() as nursery:
        for sender, receiver in ((one, other), (other, one)):
            nursery.start_soon(sender.send_all, LARGE)

            async def compare(receiver: TlsStream = receiver) -> None:
                assert await read(receiver, len(LARGE), 16_384) == LARGE

            nursery.start_soon(compare)


@VERSIONS
async def test_a_stream_below_that_can_only_wait_is_good_enough(version: ssl.TLSVersion) -> None:
    one, other = await joined(*memory_stream_pair(), version)
    assert one.send_nowait(b"ab") == 0
    assert await one.send_some(memoryview(b"ab")) == 2
    await one.send_all(b"")
    await one.wait_send_all_might_not_block()
    await other.send_all(LARGE)
    assert await read(other, 2) == b"ab"
    assert await read(one, len(LARGE)) == LARGE
    assert one.unacknowledged() is None
    await one.send_eof()
    assert await other.receive_some() == b""
    one.reset()
    one.close()
    await other.aclose()


async def test_what_waits_encrypted_is_bounded() -> None:
    one, below, _, _ = await ends(room=100_000)
    leave_room(below, 0)
    gc.collect()
    tracemalloc.start()
    for _ in range(100):
        assert one.send_nowait(LARGE) == 0
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 200_000


# What the peer has


async def test_what_the_peer_has_not_acknowledged_is_told_and_is_no_less_than_that() -> None:
    one, below, other, _ = await ends()
    assert one.unacknowledged() == 0
    answer_after(below, 1)
    sent = 0
    for size in (14, 14, 5_000, 30_000, 200_000):
        assert one.send_nowait(bytes(size)) == size
        sent += size
        assert one.unacknowledged() == sent
    await read(other, sent)
    await trio.sleep(2)
    assert one.unacknowledged() == 0
    assert one.send_nowait(b"more") == 4
    await read(other, 4)
    told = one.unacknowledged()
    assert told is not None
    assert 4 <= told <= 4 + RECORD


async def test_what_the_peer_acknowledges_is_seen_while_more_is_sent_all_the_time() -> None:
    one, below, _, _ = await ends()
    answer_after(below, 3.5)
    for turn in range(100):
        assert one.send_nowait(bytes(5_000)) == 5_000
        await trio.sleep(1)
        if turn >= 4:
            told = one.unacknowledged()
            assert told is not None
            assert 15_000 <= told <= 4 * (5_000 + RECORD)


async def test_what_waits_encrypted_is_not_acknowledged() -> None:
    one, below, other, _ = await ends()
    await one.send_all(bytes(100))
    await read(other, 100)
    leave_room(below, 50)
    taken = one.send_nowait(bytes(60))
    # The bytes around those of a record are not counted as its own.
    assert taken == 50
    told = one.unacknowledged()
    assert told is not None
    assert taken <= told <= 60 + RECORD
    read_again(below)
    await trio.sleep(2)
    assert one.unacknowledged() == 60 + RECORD - 50


# The end


@VERSIONS
async def test_the_end_is_told_and_what_comes_after_it_is_still_read(
    version: ssl.TLSVersion,
) -> None:
    one, below, other, _ = await ends(version=version)
    await other.send_all(b"sent before")
    await other.send_all(b" and after")
    assert await one.receive_some(4) == b"sent"
    await one.send_eof()
    assert await other.receive_some() == b""
    # Also that of TCP.
    assert below.other.is_over()
    await other.send_all(b" the end")
    assert await read(one, 25, 10) == b" before and after the end"
    await other.aclose()
    assert await one.receive_some() == b""
    assert await one.receive_some() == b""
    await one.aclose()


async def test_the_end_is_told_over_a_stream_that_has_none() -> None:
    ours, theirs = memory_stream_pair()
    one, other = await joined(OneWay(ours), theirs)
    await one.send_eof()
    assert await other.receive_some() == b""


async def test_an_end_that_must_wait_for_room_is_told_when_there_is_some() -> None:
    one, below, other, _ = await ends()
    leave_room(below, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send_eof)
        await trio.sleep(10)
        assert not below.other.is_over()
        read_again(below)
        assert await other.receive_some() == b""
    assert below.other.is_over()


CUT = (
    "the peer closed TCP without the end of TLS (close_notify): it has crashed, or somebody "
    "between has cut the connection"
)


@VERSIONS
async def test_an_end_of_tcp_without_one_of_tls_is_a_break(version: ssl.TLSVersion) -> None:
    one, _, other, beyond = await ends(version=version)
    await other.send_all(b"cut")
    beyond.close()
    assert await one.receive_some() == b"cut"
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError) as caught:
            await one.receive_some()
        assert why(caught.value) == CUT
    with pytest.raises(trio.BrokenResourceError):
        one.send_nowait(b"more")


async def test_who_closes_while_bytes_wait_does_not_claim_that_this_is_all() -> None:
    one, below, other, _ = await ends()
    leave_room(below, 100)
    assert one.send_nowait(bytes(5_000)) < 5_000
    await one.aclose()
    read_again(below)
    with pytest.raises(trio.BrokenResourceError) as caught:
        await other.receive_some()
    assert why(caught.value) == CUT


RESET = r"^\[Errno \d+\] Connection reset by peer$"


async def test_a_reset_is_one_for_the_peer() -> None:
    one, _, other, _ = await ends()
    one.reset()
    with pytest.raises(trio.BrokenResourceError, match=RESET):
        await other.receive_some()
    one.close()


async def test_a_closed_stream_is_closed() -> None:
    one, _, other, _ = await ends()
    one.close()
    await one.aclose()
    with pytest.raises(trio.ClosedResourceError):
        one.send_nowait(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await one.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await one.send_some(memoryview(b"x"))
    with pytest.raises(trio.ClosedResourceError):
        await one.send_eof()
    assert await other.receive_some() == b""


async def test_a_send_over_a_broken_stream_raises_and_the_next_one_too() -> None:
    one, below, _, _ = await ends()
    below.break_off()
    with pytest.raises(trio.BrokenResourceError, match=RESET):
        one.send_nowait(b"x")
    with pytest.raises(trio.BrokenResourceError, match=RESET):
        await one.send_some(memoryview(b"x"))


# Hostile peers, after the handshake


async def test_bytes_that_are_no_record_break_it_and_the_peer_is_told() -> None:
    one, _, _, beyond = await ends()
    beyond.send_nowait(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(trio.BrokenResourceError) as caught:
        await one.receive_some()
    assert why(caught.value).startswith("OpenSSL says: ")


@asynccontextmanager
async def raw_end(
    folder: Path, *, listens: bool = False, version: ssl.TLSVersion = TLS_1_3
) -> AsyncIterator[tuple[Raw, TlsStream]]:
    """An end whose records are made by hand, and the stream at the other one."""
    ours, theirs = await tcp_pair()
    context = of(listening() if listens else host(), version)
    if listens:
        context.num_tickets = 0
    context.keylog_filename = str(folder / f"keys-{next(NUMBERS)}")
    raw = Raw(ours, context, listens=listens)
    made: list[TlsStream] = []

    async def shake() -> None:
        context = host() if listens else listening()
        made.append(await secure(theirs, context, listens=not listens, name="tool"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake)
        await raw.shake_hands()
    yield raw, made[0]


NUMBERS = count()
BOTH_ENDS = pytest.mark.parametrize("listens", [False, True])


async def waits(stream: trio.abc.ReceiveStream) -> bool:
    """Whether the stream has nothing more to read now."""
    with trio.move_on_after(1) as scope:
        await stream.receive_some()
    return scope.cancelled_caught


async def test_a_record_in_single_bytes_is_a_record(tmp_path: Path) -> None:
    async with raw_end(tmp_path) as (raw, other):
        raw.ssl.write(b"slowly")
        data = raw.out.read()
        async with trio.open_nursery() as nursery:

            async def dribble() -> None:
                for each in data:
                    raw.below.send_nowait(bytes([each]))
                    await wait_all_tasks_blocked()

            nursery.start_soon(dribble)
            assert await other.receive_some() == b"slowly"


async def test_records_without_data_are_bounded(tmp_path: Path) -> None:
    async with raw_end(tmp_path) as (raw, other):
        # A record that never ends: its length says 16 kB, again and again without a good one.
        raw.below.send_nowait(b"\x17\x03\x03\x40\x00" + bytes(10_000))
        with trio.move_on_after(1) as scope:
            await other.receive_some()
        assert scope.cancelled_caught
        other._without_data = 65_536
        raw.below.send_nowait(b"\0")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await other.receive_some()
        assert why(caught.value) == WITHOUT_DATA


@pytest.mark.parametrize("begun", [1, 10, 16_000])
async def test_as_much_as_is_read_at_once_behind_a_part_of_a_record_is_data(
    begun: int, tmp_path: Path
) -> None:
    async with raw_end(tmp_path) as (raw, other), trio.open_nursery() as nursery:
        raw.ssl.write(bytes(300_000))
        wire = raw.out.read()
        raw.below.send_nowait(wire[:begun])
        with trio.move_on_after(1) as scope:
            await other.receive_some()
        assert scope.cancelled_caught
        nursery.start_soon(raw.below.send_all, wire[begun:])
        # All that one read takes is there before it.
        await trio.sleep(1)
        assert await read(other, 300_000) == bytes(300_000)


WITHOUT_DATA = "the peer sent more than 65536 bytes of TLS without data"
UNREAD = "the peer wants answers of TLS and does not read them"


async def test_answers_of_tls_that_nobody_reads_are_bounded() -> None:
    one, below, other, _ = await ends()
    leave_room(below, 0)
    # What OpenSSL would have written by itself.
    one._ssl.write(bytes(200_000))
    await other.send_all(b"x")
    with pytest.raises(trio.BrokenResourceError) as caught:
        await one.receive_some()
    assert why(caught.value) == UNREAD


async def test_what_came_before_a_bad_record_is_read_first() -> None:
    one, _, other, beyond = await ends()
    await other.send_all(b"good")
    beyond.send_nowait(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert await one.receive_some() == b"good"
    with pytest.raises(trio.BrokenResourceError):
        await one.receive_some()


async def test_a_send_after_the_end_was_told_is_a_break() -> None:
    one, _, _, _ = await ends()
    await one.send_eof()
    with pytest.raises(trio.BrokenResourceError):
        one.send_nowait(b"more")


async def test_a_send_of_nothing_waits_for_nothing_also_below_a_stream_that_only_waits() -> None:
    one, other = await joined(*memory_stream_pair())
    assert await one.send_some(memoryview(b"")) == 0
    await other.aclose()


async def test_leave_is_taken_of_a_peer_that_has_no_half_close_and_sends_without_end() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(bytes(200_000))
    await take_leave(OneWay(ours))


# Records of every cut, and such as no program sends often


@BOTH_ENDS
@VERSIONS
async def test_bytes_may_come_cut_anywhere_also_while_our_end_is_told(
    version: ssl.TLSVersion, listens: bool, tmp_path: Path
) -> None:
    at, length = 0, 1
    while at < length:
        async with raw_end(tmp_path, listens=listens, version=version) as (raw, other):
            # The third record is the end.
            for data in (b"first", b"second"):
                raw.ssl.write(data)
            with pytest.raises(ssl.SSLError):
                raw.ssl.unwrap()
            wire = raw.out.read()
            length = len(wire)
            raw.below.send_nowait(wire[:at])
            got = b""
            with trio.move_on_after(1):
                while len(got) < 11:
                    got += await other.receive_some()
            await other.send_eof()
            raw.below.send_nowait(wire[at:])
            got += await read(other, 11 - len(got)) if len(got) < 11 else b""
            assert got == b"firstsecond"
            for _ in range(2):
                assert await other.receive_some() == b""
            at += 1


async def test_data_behind_the_handshake_in_the_same_piece_is_read(tmp_path: Path) -> None:
    ours, theirs = await tcp_pair()
    context = host()
    context.keylog_filename = str(tmp_path / "keys")
    raw = Raw(ours, context, listens=False)
    made: list[TlsStream] = []

    async def listen() -> None:
        made.append(await secure(theirs, listening(), listens=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        with pytest.raises(ssl.SSLWantReadError):
            raw.ssl.do_handshake()
        raw.flush()
        raw.bio_in.write(await ours.receive_some())
        raw.ssl.do_handshake()
        raw.ssl.write(b"at once")
        raw.flush()
    assert await read(made[0], 7) == b"at once"


async def test_a_handshake_may_come_in_single_bytes() -> None:
    one, other = await joined(*await tcp_pair(in_bytes=True))
    await other.send_all(b"after it")
    assert await read(one, 8) == b"after it"


@BOTH_ENDS
async def test_a_record_of_no_bytes_is_no_end(listens: bool, tmp_path: Path) -> None:
    async with raw_end(tmp_path, listens=listens) as (raw, other):
        raw.below.send_nowait(raw.record(DATA, b""))
        assert await waits(other)
        raw.below.send_nowait(raw.record(DATA, b"data"))
        assert await other.receive_some() == b"data"


@BOTH_ENDS
async def test_a_new_key_of_the_peer_is_used_and_ours_is_new_too(
    listens: bool, tmp_path: Path
) -> None:
    async with raw_end(tmp_path, listens=listens) as (raw, other):
        before = raw.record(DATA, b"old")
        raw.below.send_nowait(before + raw.record(HANDSHAKE, NEW_KEY_OF_BOTH))
        raw.below.send_nowait(raw.record(DATA, b"new"))
        assert await other.receive_some() == b"old"
        assert await other.receive_some() == b"new"
        assert other.send_nowait(b"reply") == 5
        raw.bio_in.write(await raw.below.receive_some())
        assert raw.ssl.read() == b"reply"


async def test_each_new_key_is_a_turn_of_its_own(tmp_path: Path) -> None:
    async with raw_end(tmp_path) as (raw, other):
        keys = b"".join(raw.record(HANDSHAKE, NEW_KEY) for _ in range(50))
        raw.below.send_nowait(keys + raw.record(DATA, b"x"))
        passes = 0

        async def pass_by() -> None:
            nonlocal passes
            while True:
                await trio.lowlevel.checkpoint()
                passes += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pass_by)
            assert await other.receive_some() == b"x"
            nursery.cancel_scope.cancel()
        assert passes >= 50


async def test_amid_a_message_of_tls_nothing_is_sent_and_nothing_is_lost(tmp_path: Path) -> None:
    async with raw_end(tmp_path, listens=True) as (raw, other):
        whole = ticket(1_000)
        parts = [raw.record(HANDSHAKE, each) for each in (whole[:300], whole[300:])]
        raw.below.send_nowait(parts[0])
        got: list[bytes] = []

        async def receive() -> None:
            got.append(await other.receive_some())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            assert other.send_nowait(b"ask") == 0
            nursery.start_soon(other.send_all, b"ask")
            await wait_all_tasks_blocked()
            assert await waits(raw.below)
            raw.below.send_nowait(parts[1])
            await wait_all_tasks_blocked()
            raw.bio_in.write(await raw.below.receive_some())
            assert raw.ssl.read() == b"ask"
            raw.below.send_nowait(raw.record(DATA, b"answer"))
        assert got == [b"answer"]


async def test_a_send_that_must_read_first_ends_with_the_stream(tmp_path: Path) -> None:
    async with raw_end(tmp_path, listens=True) as (raw, other):
        raw.below.send_nowait(raw.record(HANDSHAKE, ticket(1_000)[:300]))
        assert await waits(other)

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await other.send_all(b"ask")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            raw.below.close()
            with pytest.raises(trio.BrokenResourceError):
                await other.receive_some()


# What breaks while the peer's last words are on their way


async def test_what_the_peer_said_last_is_read_after_a_send_has_failed() -> None:
    one, _, other, beyond = await ends()
    await other.send_all(b"last words")
    beyond.reset()
    await wait_all_tasks_blocked()
    with pytest.raises(trio.BrokenResourceError, match=RESET):
        one.send_nowait(b"x")
    assert await one.receive_some() == b"last words"
    with pytest.raises(trio.BrokenResourceError) as caught:
        await one.receive_some()
    assert why(caught.value) == CUT


async def test_an_answer_that_cannot_be_sent_loses_nothing_that_has_come(tmp_path: Path) -> None:
    async with raw_end(tmp_path) as (raw, other):
        other._ssl.write(b"an answer")
        raw.below.send_nowait(raw.record(DATA, b"last words"))
        raw.below.reset()
        assert await other.receive_some() == b"last words"
        with pytest.raises(trio.BrokenResourceError, match=RESET):
            other.send_nowait(b"x")


async def test_a_handshake_that_cannot_be_sent_is_told_by_what_the_peer_said() -> None:
    ours: trio.abc.Stream
    theirs: trio.abc.Stream
    for ours, theirs in (await tcp_pair(), memory_stream_pair()):
        await theirs.send_all(b"\x15\x03\x03\x00\x02\x02\x28")
        if isinstance(theirs, Socket):
            theirs.reset()
        else:
            await theirs.aclose()
        with pytest.raises(TlsError, match="the peer refuses the handshake"):
            await secure(ours, host(), listens=False, name="tool")

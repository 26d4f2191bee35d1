"""Each bound is met exactly, where nothing happens, and exceeded by one, where something does.

The ranges of settings are in ``test_settings``, the fields of a frame in ``test_wire``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from hsms_engine import LocalProtocolError, Message, Settings
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.driver.loop import Loop
from hsms_engine.driver.tcp import host_of
from hsms_engine.events import BreakerOpened, LinkEvent, Missed, NotSelected, UnexpectedSecondary
from hsms_engine.protocol import ACTIVE_LINK, Engine, Entity
from hsms_engine.protocol.exchange import OVERHEAD, RESERVE, RESERVE_UNSELECTED
from hsms_engine.protocol.transactions import SYSTEM_BYTES
from hsms_engine.secs2 import MAX_LENGTH, B, DecodeError, L
from tests.support.engines import (
    End,
    accepted,
    dialling,
    selected,
    selecting,
    serving,
    text_of,
)
from tests.support.one_way import OneWay
from tests.support.pair import Told, server_end
from tests.support.raw_peer import (
    RawPeer,
    data,
    deselect_rsp,
    linktest_req,
    raw,
    select_req,
    select_rsp,
)
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

S1F1 = Message(1, 1, wait=True)
HEADER = 14


def event(number: int, body: bytes = b"") -> bytes:
    """A primary without W."""
    return data(6, 11, number, body=body)


# What waits for the program


def test_inbox_size_primaries_wait_and_one_more_ends_the_connection() -> None:
    end = selected(inbox_size=3)
    end.take(event(1), event(2))
    last = end.primary(event(3))
    assert end.engine.is_selected
    end.engine.take(last)
    end.take(event(4))
    assert end.engine.is_selected
    end.take(event(5))
    assert not end.engine.is_selected


def test_inbox_bytes_wait_and_one_byte_more_ends_the_connection() -> None:
    end = selected(inbox_bytes=100)
    first = end.primary(event(1, bytes(60)))
    end.take(event(2, bytes(40)), event(3))
    assert end.engine.is_selected
    end.engine.take(first)
    end.take(event(4, bytes(60)))
    assert end.engine.is_selected
    end.take(event(5, bytes(1)))
    assert not end.engine.is_selected


def test_a_lone_primary_may_be_longer_than_the_inbox_and_nothing_waits_beside_it() -> None:
    end = selected(inbox_bytes=100)
    end.take(event(1, bytes(101)))
    assert end.engine.is_selected
    end.take(event(2))
    assert not end.engine.is_selected


def test_server_inbox_bytes_wait_at_all_ends_together_and_one_byte_more_ends_a_connection() -> None:
    entity = Entity(2)
    one, other = (serving(entity=entity, server_inbox_bytes=1_000) for _ in range(2))
    first = one.primary(event(1, bytes(500 - OVERHEAD)))
    other.take(event(1, bytes(500 - OVERHEAD)))
    assert entity.waiting_bytes == 1_000
    one.engine.take(first)
    other.take(event(2, bytes(500 - OVERHEAD)))
    assert other.engine.is_selected
    one.take(event(2))
    assert not one.engine.is_selected
    assert other.engine.is_selected


# What waits for the peer


def unread(size: int, **changes: Any) -> End:
    """Selected, with ``size`` bytes queued for a peer that takes none."""
    end = selected(**changes)
    end.is_read = False
    end.engine.send(Message(6, 11, body=bytes(size - HEADER)))
    end.out()
    assert end.engine.statistics().queued_bytes == size
    return end


def test_senders_wait_above_outbox_size_and_not_at_it() -> None:
    assert not unread(1_000, outbox_size=1_000).engine.is_full
    end = unread(1_001, outbox_size=1_000)
    assert end.engine.is_full
    end.engine.wrote(1)
    assert not end.engine.is_full


@pytest.mark.clause("bound/answers")
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (linktest_req(7), HEADER),
        (raw(8, 7), HEADER),
        (data(1, 1, 7, session=9), HEADER + 12),
    ],
    ids=["Linktest.req", "an unknown SType", "a foreign session id"],
)
def test_answers_are_queued_up_to_the_reserve_whatever_else_is_queued(
    question: bytes, answer: int
) -> None:
    end = unread(16_000_000, outbox_size=1_000, is_equipment=True)
    fitting = RESERVE // answer
    end.take(question * fitting)
    assert end.engine.statistics().phase == "selected"
    end.take(question)
    words = f"the peer asks and reads no answers: {(fitting + 1) * answer} bytes of them are queued"
    assert words in text_of(end.engine.last_error)


def test_before_it_is_selected_a_peer_may_leave_few_answers_unread() -> None:
    end = accepted()
    end.is_read = False
    fitting = RESERVE_UNSELECTED // HEADER
    end.take(linktest_req(7) * fitting)
    assert end.engine.statistics().phase == "not selected"
    end.take(linktest_req(7))
    assert "the peer asks and reads no answers" in text_of(end.engine.last_error)


def test_answers_that_were_written_do_not_count() -> None:
    """A peer that is always behind with its reading, and always reads."""
    end = unread(1_000_000, outbox_size=1_000)
    for _ in range(20):
        end.take(linktest_req(7) * (RESERVE // HEADER // 4))
        end.engine.send(Message(6, 11, body=bytes(1_000_000)))
        end.out()
        end.engine.wrote(1_000_000 + RESERVE // HEADER // 4 * HEADER)
        end.out()
        assert end.engine.is_selected


@pytest.mark.parametrize("above", [0, 1])
def test_s9f7_is_queued_up_to_the_reserve(above: int) -> None:
    end = unread(1_000, is_equipment=True)
    fitting = (RESERVE - HEADER - 12) // HEADER
    end.take(linktest_req(7) * (fitting + above))
    primary = end.primary(data(1, 1, 7, body=b"\xff"))
    with pytest.raises(DecodeError):
        _ = primary.item
    end.engine.report_unreadable()
    assert end.engine.is_selected == (above == 0)


# What waits for a reader of events


def secondary(size: int) -> UnexpectedSecondary:
    return UnexpectedSecondary(0.0, 1, Message(1, 2, body=bytes(size)))


async def read(reader: EventReader[LinkEvent]) -> list[LinkEvent]:
    reader.close()
    return [event async for event in reader]


def reading(happened: list[LinkEvent], **changes: Any) -> EventReader[LinkEvent]:
    reader: EventReader[LinkEvent] = EventReader(Loop(), Told(Settings(**changes), "tool"))
    for each in happened:
        reader.put(each)
    return reader


async def test_events_size_events_wait_and_for_one_more_the_oldest_is_dropped() -> None:
    told: list[LinkEvent] = [NotSelected(at, 1) for at in range(4)]
    assert await read(reading(told[:3], events_size=3)) == told[:3]
    assert await read(reading(told, events_size=3)) == [Missed(1, 1, 1), *told[1:]]


async def test_inbox_bytes_of_messages_wait_in_events_and_for_one_byte_more_one_is_dropped() -> (
    None
):
    told: list[LinkEvent] = [secondary(60), NotSelected(0, 1), secondary(40), secondary(1)]
    assert await read(reading(told[:3], inbox_bytes=100)) == told[:3]
    assert await read(reading(told, inbox_bytes=100)) == [Missed(0, 1, 1), *told[1:]]


async def test_a_lone_event_may_be_longer_than_its_bound_until_another_comes() -> None:
    told: list[LinkEvent] = [secondary(101), NotSelected(0, 1)]
    assert await read(reading(told[:1], inbox_bytes=100)) == told[:1]
    assert await read(reading(told, inbox_bytes=100)) == [Missed(0, 1, 1), told[1]]


async def test_bytes_of_events_that_were_read_count_no_more() -> None:
    reader = reading([secondary(60)], inbox_bytes=100)
    assert await anext(reader) == secondary(60)
    for size in (60, 40):
        reader.put(secondary(size))
    assert await read(reader) == [secondary(60), secondary(40)]


# Frames


@pytest.mark.parametrize("start", [selected, serving])
def test_a_frame_of_max_frame_is_read_and_one_byte_more_ends_the_connection(
    start: Callable[..., End],
) -> None:
    end = start(max_frame=100)
    whole = event(1, bytes(90))
    assert len(end.primary(whole).body) == 90
    # In pieces it is another way through the decoder.
    end.take(whole[:5])
    assert len(end.primary(whole[5:]).body) == 90
    # Judged by its length alone.
    end.take(event(2, bytes(91))[:4])
    assert not end.engine.is_selected


def test_a_changed_max_frame_holds_for_the_frame_to_come() -> None:
    end = selected(max_frame=100)
    end.engine.configure(end.engine.settings.replace(max_frame=101))
    assert len(end.primary(event(1, bytes(91))).body) == 91
    end.take(event(2, bytes(92)))
    assert not end.engine.is_selected


def too_long(size: int, limit: int, name: str) -> str:
    return (
        f"{name} with a body of {size} bytes is a frame of {size + 10}, and max_frame is {limit}: "
        "nothing is sent; when the peer takes such a frame, set max_frame higher"
    )


@pytest.mark.parametrize("start", [selected, serving])
def test_a_frame_longer_than_max_frame_is_not_sent_and_its_sender_is_told_both_numbers(
    start: Callable[..., End],
) -> None:
    end = start(max_frame=100)
    primary = end.primary(data(1, 1, 5, wait=True))
    engine, written = end.engine, len(end.frames)
    fitting, longer = bytes(90), bytes(91)
    for send, name in (
        (lambda: engine.request(Message(6, 11, True, body=longer)), "S6F11"),
        (lambda: engine.send(Message(6, 13, body=longer)), "S6F13"),
        (lambda: engine.reply(primary, Message(1, 2, body=longer)), "S1F2"),
    ):
        with pytest.raises(LocalProtocolError) as caught:
            send()
        assert str(caught.value) == too_long(91, 100, name)
    assert end.out() == []
    assert (len(end.frames), engine.statistics().queued_bytes) == (written, 0)
    # Nothing has begun: no transaction is open, and the primary may still be answered.
    assert engine.statistics().open_transactions == 0
    engine.reply(primary, Message(1, 2, body=fitting))
    engine.request(Message(6, 11, True, body=fitting))
    engine.configure(engine.settings.replace(max_frame=101))
    engine.send(Message(6, 13, body=longer))
    end.out()
    assert [len(each.body) for each in end.frames[written:]] == [90, 90, 91]
    assert engine.is_selected


def test_a_report_to_a_peer_is_sent_whatever_max_frame_is() -> None:
    end = selected(max_frame=10, is_equipment=True)
    end.take(data(1, 1, 7, session=9))
    assert (end.frames[-1].stream, end.frames[-1].function) == (9, 1)
    assert end.engine.is_selected


def test_the_longest_item_goes_from_one_end_to_the_other_by_default() -> None:
    longest = Message(7, 3, True, L("recipe", B(bytes(MAX_LENGTH))))
    sender, receiver = selected(), serving()
    sender.engine.request(longest)
    piece = b"".join(each for each in sender.out() if isinstance(each, bytes))
    assert receiver.primary(piece) == longest
    with pytest.raises(LocalProtocolError, match=r"^S7F3 with a body of 33554440 bytes is a frame"):
        sender.engine.send(Message(7, 3, item=L(*[B(bytes(MAX_LENGTH))] * 2)))
    assert sender.engine.is_selected


def test_of_a_frame_that_stopped_the_last_16_bytes_are_shown() -> None:
    end = selected()
    cut = event(1, bytes(range(20)))[:17]
    end.take(cut)
    end.engine.tcp_closed()
    assert str(end.engine.last_error).endswith(f"last bytes {cut[1:]!r}")


def test_system_bytes_wrap_past_those_that_are_open() -> None:
    class Last(Random):
        """The first system bytes are the last there are."""

        def getrandbits(self, k: int) -> int:
            return (1 << k) - 1

    engine = Engine(
        ACTIVE_LINK, Settings(), clock=lambda: 0.0, random=Last(), peer=lambda _: "tool"
    )
    engine.enable()
    engine.tcp_opened()
    written = [each for each in iter(engine.next_output, None) if isinstance(each, bytes)]
    assert written[-1][10:] == (SYSTEM_BYTES - 1).to_bytes(4)
    engine.receive(raw(2, SYSTEM_BYTES - 1))
    assert [engine.request(S1F1).system_bytes for _ in range(2)] == [0, 1]


# Connections


def test_max_sessions_are_selected_and_one_more_is_refused_until_one_ends() -> None:
    entity = Entity(2)
    first, _ = (serving(entity=entity) for _ in range(2))
    surplus = accepted(entity=entity)
    surplus.take(select_req(7))
    assert surplus.frames[-1][2] == 3
    assert surplus.engine.phase == "separating"
    first.engine.tcp_closed()
    assert serving(entity=entity).engine.is_selected


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("10.1.2.3:5000", "10.1.2.3"),
        ("[2001:db8::1]:5000", "2001:db8::1"),
        ("[fe80::1%eth0]:5000", "fe80::1%eth0"),
        ("/run/tool.sock", ""),
        ("/run/tool:7", ""),
        ("a Unix socket", ""),
        ("memory peer 1", ""),
    ],
)
def test_connections_are_bounded_by_host_without_port(address: str, host: str) -> None:
    assert host_of(address) == host


async def test_max_connections_are_up_and_one_more_is_closed_until_one_ends() -> None:
    settings: dict[str, Any] = {"max_sessions": 2, "linktest_interval": None}
    async with server_end(max_connections=2, **settings) as (server, listener):
        first, other = [await listener.raw() for _ in range(2)]
        await first.select()
        await other.select()
        await wait_all_tasks_blocked()
        assert (len(server.connections), server.turned_away) == (2, 0)
        await (await listener.raw()).end()
        assert (len(server.connections), server.turned_away) == (2, 1)
        await first.close()
        await wait_all_tasks_blocked()
        await (await listener.raw()).select()
        assert server.turned_away == 1


# In a row


@pytest.mark.parametrize("threshold", [1, 2, 100])
def test_linktest_threshold_misses_end_the_connection_and_one_less_does_not(threshold: int) -> None:
    end = selected(linktest_threshold=threshold, linktest_interval=10, t6=5)
    for number in range(1, threshold + 1):
        assert end.engine.is_selected
        end.at(number * 15 - 5)
        end.at(number * 15)
    assert not end.engine.is_selected


@pytest.mark.parametrize("threshold", [1, 2, 1_000])
def test_breaker_threshold_failures_open_the_breaker_and_one_less_does_not(threshold: int) -> None:
    end = dialling(breaker_threshold=threshold)
    for number in range(1, threshold + 1):
        assert end.engine.refused() is None
        end.engine.tcp_failed(OSError())
        end.at(number * 10)
    assert end.engine.statistics().breaker_failures == threshold
    assert end.engine.refused() is not None


def pauses(count: int, **changes: Any) -> list[float]:
    """Seconds between the starts of attempts that fail at once."""
    end = dialling(breaker_threshold=1_000, **changes)
    found: list[float] = []
    for _ in range(count):
        end.engine.tcp_failed(OSError())
        end.out()
        found.append(end.engine.next_due() - end.now)
        end.at(end.engine.next_due())
    return found


def test_the_pause_grows_to_backoff_limit_and_is_never_less_than_t5() -> None:
    assert pauses(4, t5=10, backoff_factor=3, backoff_limit=90) == [10, 30, 90, 90]
    assert pauses(4, t5=10, backoff_factor=3, backoff_limit=89) == [10, 30, 89, 89]
    assert pauses(2, t5=10, backoff_factor=3, backoff_limit=0) == [10, 10]


def test_the_pause_has_its_limit_however_many_attempts_have_failed() -> None:
    assert pauses(999, backoff_factor=10.0, backoff_limit=240)[-1] == 240


@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_jitter_adds_no_more_than_its_fraction(jitter: float) -> None:
    found = pauses(200, t5=10, backoff_jitter=jitter)
    assert 10 <= min(found) <= max(found) <= 10 * (1 + jitter)
    assert (max(found) > 19) == bool(jitter)


@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_jitter_adds_to_each_open_time_a_fraction_of_its_own(jitter: float) -> None:
    end = dialling(t5=1, breaker_threshold=1, breaker_open_time=100, backoff_jitter=jitter)
    found: list[float] = []
    for _ in range(200):
        end.engine.tcp_failed(OSError())
        (opened,) = (each for each in end.out() if isinstance(each, BreakerOpened))
        found.append(opened.retry_after)
        assert end.engine.statistics().retry_after == opened.retry_after
        end.engine.configure(end.engine.settings.replace(breaker_threshold=1))
        assert end.engine.statistics().retry_after == opened.retry_after
        end.at(end.now + opened.retry_after - 0.001)
        assert end.engine.statistics().breaker_state == "breaker_open"
        end.at(end.now + 0.001)
        assert end.engine.statistics().breaker_state == "probing"
    assert 100 <= min(found) <= max(found) <= 100 * (1 + jitter)
    assert (max(found) > 190) == bool(jitter)
    assert (min(found) < 110) or not jitter


def test_a_dial_that_waits_for_its_turn_is_held_against_nobody() -> None:
    end = End(t5=10, connect_timeout=3)
    # The engine itself, because this end lets a dial begin at once.
    engine = end.engine

    def drain() -> None:
        while engine.next_output() is not None:
            pass

    engine.enable()
    drain()
    assert engine.next_due() == math.inf
    end.at(1_000)
    assert engine.statistics().failed_attempts == 0
    engine.dial_began()
    assert engine.next_due() == 1_003
    end.at(1_003)
    assert engine.statistics().failed_attempts == 1
    # Late: there is no dial.
    engine.dial_began()
    assert engine.statistics().retry_after == 7
    end.now = 1_010
    engine.tick()
    drain()
    assert (engine.phase, engine.next_due()) == ("connecting", math.inf)


# Timers


def cut(size: int) -> Callable[[End], object]:
    """The beginning of a frame of ``size`` bytes, whose rest comes byte by byte, and late."""

    def happens(end: End) -> None:
        frame = event(1, bytes(size - 10))
        end.take(frame[:14])
        end.now = 4.5
        end.take(frame[14:15])

    return happens


def stop_reading(end: End) -> None:
    end.is_read = False
    end.engine.send(Message(6, 11))
    end.out()


def fail(end: End) -> None:
    end.engine.tcp_failed(OSError())
    end.out()


def close(end: End) -> None:
    end.engine.close()
    end.out()


def request(end: End) -> None:
    end.engine.request(S1F1)
    end.out()


def deselect(end: End) -> None:
    end.deselect()
    end.take(deselect_rsp(end.last))


def nothing(_: End) -> None:
    """It runs already."""


SHORT = {"allow_short_timers": True}
# What starts a timer at 0, its seconds, and what is so (a phase, or a counter's 1) once it is over.
TIMERS: dict[str, tuple[Callable[[], End], Callable[[End], object], float, str]] = {
    "T3": (lambda: selected(t3=3), request, 3, "replies_timed_out"),
    "T5": (lambda: dialling(t5=3), fail, 3, "connecting"),
    "T6, Select": (lambda: selecting(t6=3), nothing, 3, "waiting"),
    "T6, Deselect": (lambda: selected(t6=3), lambda end: end.deselect(), 3, "waiting"),
    "T6, Linktest": (lambda: selected(t6=3), lambda end: end.linktest(), 3, "waiting"),
    "T7": (lambda: accepted(t7=3), nothing, 3, "closed"),
    "T7, after a Deselect": (lambda: selected(t7=3), deselect, 3, "waiting"),
    "T8": (lambda: selected(t8=3), lambda end: end.take(event(1)[:5]), 3, "waiting"),
    "connect_timeout": (lambda: dialling(connect_timeout=3), nothing, 3, "waiting"),
    "write_timeout": (lambda: selected(write_timeout=3), stop_reading, 3, "waiting"),
    "linger": (lambda: selected(linger=3), close, 3, "closed"),
    "frame_deadline": (
        lambda: selected(frame_deadline=5),
        cut(2 * 64 * 1024),
        5 + 2,
        "waiting",
    ),
    "frame_deadline, no length yet": (
        lambda: selected(frame_deadline=3, **SHORT),
        lambda end: end.take(b"\0"),
        3,
        "waiting",
    ),
    "linktest_interval": (
        lambda: selected(linktest_interval=3),
        nothing,
        3,
        "control_frames_sent",
    ),
    "breaker_open_time": (
        lambda: dialling(t5=1, breaker_open_time=3, breaker_threshold=1),
        fail,
        3,
        "connecting",
    ),
}


def is_over(end: End, sign: str, before: dict[str, int]) -> bool:
    counts = end.counts()
    return counts[sign] > before[sign] if sign in counts else end.engine.phase == sign


@pytest.mark.parametrize("timer", TIMERS)
def test_a_timer_is_over_at_its_very_second_and_not_before(timer: str) -> None:
    start, happens, seconds, sign = TIMERS[timer]
    end = start()
    happens(end)
    before = end.counts()
    assert end.engine.next_due() <= seconds
    end.at(seconds - 0.001)
    assert not is_over(end, sign, before)
    end.at(seconds)
    assert is_over(end, sign, before)


# The driver


class Pieces(OneWay):
    """A stream that cannot tell how much of a write it has taken, with the size of each write."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        super().__init__(inner)
        self.sizes: list[int] = []

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sizes.append(len(data))
        await super().send_all(data)


@pytest.mark.parametrize(
    ("size", "pieces"), [(65_536, [65_536]), (65_537, [65_536, 1])], ids=["one", "two"]
)
async def test_a_write_of_65536_bytes_is_one_piece_and_of_one_more_two(
    size: int, pieces: list[int]
) -> None:
    async with server_end(linktest_interval=None) as (server, listener):
        ours, theirs = memory_stream_pair()
        stream = Pieces(theirs)
        listener._give.send_nowait((stream, "memory peer 1"))
        peer = RawPeer(ours)
        await peer.select()
        await wait_all_tasks_blocked()
        stream.sizes.clear()
        await server.connections[0].send(Message(6, 11, body=bytes(size - HEADER)))
        await peer.take(size)
        assert stream.sizes == pieces


async def test_who_sends_waits_above_outbox_size_and_not_at_it() -> None:
    async with server_end(outbox_size=100, linktest_interval=None) as (server, listener):
        peer = await listener.raw()
        await peer.select()
        await wait_all_tasks_blocked()
        (connection,) = server.connections
        engine = connection._engine
        # Queued, and not taken out of the engine yet.
        for size, waits in ((100, False), (101, True)):
            engine.send(Message(6, 11, body=bytes(size - HEADER)))
            with trio.move_on_after(1) as patience:
                await connection.send(Message(6, 13))
            assert patience.cancelled_caught == waits
            await wait_all_tasks_blocked()


def test_every_connection_that_a_full_inbox_ends_is_counted() -> None:
    end = selected(inbox_size=1, t5=1)
    end.take(data(1, 1, 1))
    for connection in (1, 2):
        end.take(data(1, 1, 2))
        assert end.counts()["primaries_without_room"] == connection
        end.at(100.0 * connection)
        end.engine.tcp_opened()
        end.out()
        end.take(select_rsp(end.last))

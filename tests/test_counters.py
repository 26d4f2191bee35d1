"""Each counter moves when what it counts happens, by exactly so much, and all others stay."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import CircuitBreaker, CircuitOpenError, HsmsConnection, Message
from hsms_engine.driver.tls import secure
from hsms_engine.protocol import Entity, OwnedEngine, Primary, Transaction
from hsms_engine.protocol.statistics import COUNTERS
from hsms_engine.secs2 import DecodeError
from hsms_engine.tolerances import DIRECTION, TOLERANCES
from statecharts.hsms.vocabulary import Counter
from tests.support.certificates import host, listening
from tests.support.engines import End, accepted, dialling, selected, selecting, serving
from tests.support.network import direct
from tests.support.owned import SILENT, acquiring, owner, renewing, standby
from tests.support.pair import MemoryListener, server_end
from tests.support.raw_peer import (
    LINKTEST_REQ,
    SELECT_REQ,
    RawPeer,
    data,
    deselect_req,
    deselect_rsp,
    linktest_req,
    linktest_rsp,
    raw,
    reject_req,
    select_req,
    select_rsp,
    separate_req,
)
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

S1F1 = Message(1, 1, wait=True)
# A header and its length; S9F1 and S9F9 have the header at fault as their item of 12 bytes.
SHORT, S9 = 14, 14 + 12

NONSENSE = b"\xff\xff\xff"

Moved = dict[str, int]

# The primary that waits at an end that is full.
WAITING: WeakKeyDictionary[End, Primary] = WeakKeyDictionary()


def got(frames: int, size: int | None = None) -> Moved:
    """What ``frames`` that came move, each without a body or of ``size`` bytes together."""
    return {"frames_received": frames, "bytes_received": frames * SHORT if size is None else size}


def sent(frames: int, size: int | None = None) -> Moved:
    """The same of control frames that were written."""
    size = frames * SHORT if size is None else size
    return {"control_frames_sent": frames, "bytes_sent": size}


def told(messages: int, size: int | None = None) -> Moved:
    """The same of messages that were written."""
    size = messages * SHORT if size is None else size
    return {"messages_sent": messages, "bytes_sent": size}


REJECTED = {**got(1), **sent(1), "rejects_sent": 1}
MESSAGE = {**got(1), "messages_received": 1}
FAILED_ONCE = {"store_failures": 1}


def asked(**changes: Any) -> End:
    """Selected, and S1F1 has no reply yet."""
    end = selected(**changes)
    end.engine.request(S1F1)
    end.out()
    return end


def strict() -> End:
    """The same, and it tolerates no deviation."""
    return asked(**{each.setting: False for each in TOLERANCES})


def deselected(**changes: Any) -> End:
    end = selected(**changes)
    end.deselect()
    end.take(deselect_rsp(end.last))
    return end


def deselecting() -> End:
    end = selected()
    end.deselect()
    return end


def probing(**changes: Any) -> End:
    end = selected(**changes)
    end.linktest()
    return end


def leaving() -> End:
    end = selected()
    end.engine.close()
    end.out()
    return end


def full() -> End:
    end = selected(inbox_size=1)
    WAITING[end] = end.primary(data(6, 11, 1))
    return end


def competing() -> End:
    """Not selected, while another connection is."""
    entity = Entity(1)
    serving(entity=entity)
    return accepted(entity=entity)


def over() -> End:
    end = selected()
    end.engine.tcp_closed()
    end.out()
    return end


def waiting() -> End:
    end = selected()
    end.take(data(1, 1, 5, wait=True))
    return end


def send(end: End) -> None:
    end.engine.send(Message(5, 1, body=b"\x01\x00"))
    end.out()


def request(end: End) -> None:
    end.engine.request(S1F1)
    end.out()


def answer(end: End) -> None:
    (primary,) = (each for each in end.take(data(1, 1, 5, wait=True)) if isinstance(each, Primary))
    end.engine.reply(primary, Message(1, 2))
    end.out()


def give_up(end: End) -> None:
    transaction = end.engine.request(S1F1)
    end.out()
    end.engine.abandon(transaction)
    end.take(data(1, 2, end.last))


def drop(end: End) -> None:
    end.engine.drop(WAITING[end])
    end.out()


def read(end: End, message: Message) -> None:
    """The program reads it, twice."""
    for _ in range(2):
        with pytest.raises(DecodeError):
            _ = message.item
        end.engine.report_unreadable()
    end.out()


def read_primary(end: End) -> None:
    read(end, end.primary(data(1, 3, 5, wait=True, body=NONSENSE)))


def read_reply(end: End) -> None:
    (reply,) = (
        each.outcome
        for each in end.take(data(1, 2, end.last, body=NONSENSE))
        if isinstance(each, Transaction)
    )
    assert isinstance(reply, Message)
    read(end, reply)


def isolate(end: End) -> None:
    end.engine.isolate()
    end.out()


def fail(end: End) -> None:
    end.engine.tcp_failed(OSError())
    end.out()


def fail_twice(end: End) -> None:
    fail(end)
    end.at(10)
    fail(end)


def stop_reading(end: End) -> None:
    end.is_read = False
    send(end)


def write_late(end: End) -> None:
    end.engine.wrote(5)


def close(end: End) -> None:
    end.engine.close()
    end.out()


def lose_unread(end: End) -> None:
    stop_reading(end)
    end.engine.tcp_closed()


def close_unread(end: End) -> None:
    stop_reading(end)
    close(end)
    end.engine.tcp_closed()


def takes(*pieces: bytes) -> Callable[[End], object]:
    return lambda end: end.take(*pieces)


def rejected(end: End) -> None:
    end.take(reject_req(end.last, 0, 4))


def answered(stype_to_bytes: Callable[..., bytes], *status: int) -> Callable[[End], object]:
    """Our latest request is answered."""
    return lambda end: end.take(stype_to_bytes(end.last, *status))


def replied(stream: int, function: int, **more: Any) -> Callable[[End], object]:
    """A data message comes with the system bytes of our latest request."""
    return lambda end: end.take(data(stream, function, end.last, **more))


def later(seconds: float) -> Callable[[End], object]:
    return lambda end: end.at(end.now + seconds)


def answers(call: Callable[[OwnedEngine], object]) -> Callable[[End], object]:
    """The store of leases says so."""

    def happens(end: End) -> None:
        assert isinstance(end.engine, OwnedEngine)
        call(end.engine)

    return happens


# A scenario: what is so before, what happens, and the counters that move.
SCENARIOS: dict[str, tuple[Callable[[], End], Callable[[End], object], Moved]] = {
    # Messages
    "send": (selected, send, told(1, 16)),
    "send to who does not read": (selected, stop_reading, {"messages_sent": 1}),
    "request": (selected, request, told(1)),
    "reply": (selected, answer, MESSAGE | told(1)),
    "a primary": (selected, takes(data(6, 11, 1)), MESSAGE),
    "a reply": (asked, replied(1, 2), MESSAGE),
    "an abort": (asked, replied(1, 0), MESSAGE),
    "a reject of a request": (asked, rejected, got(1)),
    "T3, of a host": (asked, later(45), {"replies_timed_out": 1}),
    "T3, of an equipment": (
        lambda: asked(is_equipment=True),
        later(45),
        {"replies_timed_out": 1, **told(1, S9)},
    ),
    "before T3": (asked, later(44.9), {}),
    "a primary with the system bytes of a request": (asked, replied(1, 1), MESSAGE),
    # Secondaries
    **{
        f"not the reply: {what}": (strict, happens, {**MESSAGE, "unexpected_secondaries": 1})
        for what, happens in {
            "another stream": replied(2, 2),
            "another function": replied(1, 4),
            "with W": replied(1, 2, wait=True),
            "an abort with W": replied(1, 0, wait=True),
            "other system bytes": takes(data(1, 2, 7)),
        }.items()
    },
    "a reply nobody waits for any more": (
        selected,
        give_up,
        {**MESSAGE, **told(1), "unexpected_secondaries": 1},
    ),
    # What is tolerated
    **{
        f"tolerated: {what}": (start, happens, {**MESSAGE, **moved})
        for what, start, happens, moved in (
            ("W", asked, replied(1, 2, wait=True), {"tolerated_w_in_reply": 1}),
            ("W in an abort", asked, replied(1, 0, wait=True), {"tolerated_w_in_reply": 1}),
            (
                "the direction bit",
                selected,
                takes(data(1, 1, 5, session=DIRECTION)),
                {"tolerated_direction_bit": 1},
            ),
            (
                "the direction bit in what is not expected",
                selected,
                takes(data(1, 2, 5, session=DIRECTION)),
                {"tolerated_direction_bit": 1, "unexpected_secondaries": 1},
            ),
            (
                "the direction bit beside a foreign session id",
                selected,
                takes(data(1, 1, 5, session=DIRECTION + 9)),
                {"foreign_session_id": 1},
            ),
            (
                "another function",
                lambda: asked(tolerate_other_function=True),
                replied(1, 4),
                {"tolerated_other_function": 1},
            ),
            (
                "another stream, W and the direction bit",
                lambda: asked(tolerate_system_bytes_alone=True),
                replied(2, 4, wait=True, session=DIRECTION),
                {
                    "tolerated_system_bytes_alone": 1,
                    "tolerated_w_in_reply": 1,
                    "tolerated_direction_bit": 1,
                },
            ),
        )
    },
    "tolerated: Linktest.req with the session id of data": (
        selected,
        takes(raw(LINKTEST_REQ, 1, session=0)),
        {**got(1), **sent(1), "tolerated_control_session_id": 1},
    ),
    "tolerated: Reject.req of a request with another session id": (
        asked,
        lambda end: end.take(reject_req(end.last, 0, 4, session=1)),
        {**got(1), "tolerated_control_session_id": 1},
    ),
    "Reject.req of a request with its session id": (
        asked,
        lambda end: end.take(reject_req(end.last, 0, 4, session=0)),
        got(1),
    ),
    "not tolerated: Linktest.req with the session id of data": (
        lambda: selected(tolerate_control_session_id=False),
        takes(raw(LINKTEST_REQ, 1, session=0)),
        {**got(1), "foreign_session_id": 1},
    ),
    "tolerated: Select.rsp 1": (
        lambda: selecting(tolerate_select_rsp_1=True),
        answered(select_rsp, 1),
        {**got(1), "tolerated_select_rsp_1": 1},
    ),
    # Session ids
    "a foreign session id, to a host": (
        selected,
        takes(data(1, 1, 5, session=9)),
        {**MESSAGE, "foreign_session_id": 1},
    ),
    "a foreign session id, to an equipment": (
        lambda: serving(is_equipment=True),
        takes(data(1, 1, 5, session=9)),
        {**MESSAGE, **told(1, S9), "foreign_session_id": 1},
    ),
    "S9F1 with a foreign session id": (
        lambda: serving(is_equipment=True),
        takes(data(9, 1, 5, session=9)),
        {**MESSAGE, "foreign_session_id": 1},
    ),
    "S9F3 with a foreign session id": (
        lambda: serving(is_equipment=True),
        takes(data(9, 3, 5, session=9)),
        {**MESSAGE, **told(1, S9), "foreign_session_id": 1},
    ),
    "S1F1 with its own session id, to an equipment": (
        lambda: serving(is_equipment=True, session_id=9),
        takes(data(1, 1, 5, session=9)),
        MESSAGE,
    ),
    "a session id that is not checked": (
        lambda: serving(is_equipment=True, check_session_id=False),
        takes(data(1, 1, 5, session=9)),
        MESSAGE,
    ),
    # The inbox
    "no room": (full, takes(data(6, 11, 2)), {**MESSAGE, "primaries_without_room": 1}),
    "a reply needs no room": (full, takes(data(1, 2, 2)), {**MESSAGE, "unexpected_secondaries": 1}),
    "primaries dropped": (full, drop, {"primaries_dropped": 1}),
    # Bodies that are no SECS-II
    **{
        f"{what}, read by {who}": (
            partial(asked, is_equipment=is_equipment),
            happens,
            {**MESSAGE, "bytes_received": SHORT + 3, "unreadable_bodies": 1}
            | (told(1, S9) if is_equipment else {}),
        )
        for who, is_equipment in (("a host", False), ("an equipment", True))
        for what, happens in (("a primary", read_primary), ("a reply", read_reply))
    },
    "S9F7 that is unreadable": (
        lambda: selected(is_equipment=True),
        lambda end: read(end, end.primary(data(9, 7, 1, body=NONSENSE))),
        {**MESSAGE, "bytes_received": SHORT + 3, "unreadable_bodies": 1},
    ),
    "S9F5 that is unreadable": (
        lambda: selected(is_equipment=True),
        lambda end: read(end, end.primary(data(9, 5, 1, body=NONSENSE))),
        {**MESSAGE, "bytes_received": SHORT + 3, "unreadable_bodies": 1, **told(1, S9)},
    ),
    # After the end
    "frames behind a Separate": (
        selected,
        takes(separate_req(1), linktest_req(2), data(6, 11, 3), b"\0\0"),
        {**got(3, 44), "frames_after_the_end": 2},
    ),
    "a Separate as the last": (selected, takes(separate_req(1)), got(1)),
    "frames behind what has no room": (
        full,
        takes(data(6, 11, 2), data(6, 11, 3)),
        {**got(2), "messages_received": 1, "primaries_without_room": 1, "frames_after_the_end": 1},
    ),
    "bytes when there is no connection": (
        over,
        takes(linktest_req(1), b"\0"),
        {"bytes_received": 15, "bytes_after_the_end": 15},
    ),
    "bytes written when there is no connection": (over, write_late, {"bytes_sent": 5}),
    # Control
    "Linktest.req": (selected, takes(linktest_req(1)), got(1) | sent(1)),
    "Select.req": (accepted, takes(select_req(1)), got(1) | sent(1)),
    "Select.req once more": (serving, takes(select_req(1)), got(1) | sent(1)),
    "Select.req when another connection has the session": (
        competing,
        takes(select_req(1)),
        got(1) | sent(1),
    ),
    "Deselect.req": (selected, takes(deselect_req(1)), got(1) | sent(1)),
    "Select.rsp to ours": (selecting, answered(select_rsp), got(1)),
    "Select.rsp that refuses": (selecting, answered(select_rsp, 3), got(1)),
    "Deselect.rsp to ours": (deselecting, answered(deselect_rsp), got(1)),
    "our Linktest.req": (selected, lambda end: end.linktest(), sent(1)),
    "our Linktest.req, asked for twice": (probing, lambda end: end.linktest(), {}),
    "our Separate.req": (selected, close, sent(1)),
    "our end before it was selected": (selecting, close, {}),
    "Separate.req": (selected, takes(separate_req(1)), got(1)),
    **{
        f"Separate.req, {what}": (start, takes(separate_req(1)), {**got(1), "separate_ignored": 1})
        for what, start in {
            "never selected": accepted,
            "selecting": selecting,
            "deselected": deselected,
        }.items()
    },
    # What is rejected
    **{
        f"rejected: {what}": (start, happens, REJECTED)
        for what, (start, happens) in {
            "SType": (selected, takes(raw(8, 1))),
            "PType": (selected, takes(raw(0, 1, ptype=1))),
            "data before it is selected": (accepted, takes(data(1, 1, 1))),
            "Select.rsp of nobody": (selected, takes(select_rsp(77))),
            "Deselect.rsp of nobody": (selected, takes(deselect_rsp(77))),
            "Linktest.rsp of nobody": (selected, takes(linktest_rsp(77))),
            "Select.rsp once more": (selected, answered(select_rsp)),
        }.items()
    },
    "rejected: a control message with a body": (
        selected,
        takes(raw(SELECT_REQ, 1, body=b"12")),
        {**REJECTED, **got(1, 16)},
    ),
    # Rejects
    "a reject of nothing": (selected, takes(reject_req(77, 0, 3)), {**got(1), "reject_unknown": 1}),
    "a reject of nothing, not selected": (
        accepted,
        takes(reject_req(77, 0, 3)),
        {**got(1), "reject_unknown": 1},
    ),
    "a reject of our Select.req, which is over": (
        selected,
        rejected,
        {**got(1), "reject_unknown": 1},
    ),
    "a reject of our Deselect.req, which is over": (
        deselected,
        rejected,
        {**got(1), "reject_unknown": 1},
    ),
    "a reject of our Select.req": (selecting, rejected, got(1)),
    "a reject of our Deselect.req": (deselecting, rejected, got(1)),
    "a reject of our Linktest.req": (probing, rejected, got(1)),
    # While leaving
    "frames while leaving": (
        leaving,
        takes(linktest_req(1), data(1, 1, 2, wait=True), raw(8, 3), reject_req(77, 0, 3)),
        {**got(4), "dropped_while_leaving": 4},
    ),
    "the end of leaving": (leaving, lambda end: end.engine.tcp_closed(), {}),
    # What was queued and not written
    "a loss with bytes queued": (
        selected,
        lose_unread,
        {"messages_sent": 1, "bytes_unsent": 16},
    ),
    "a close with bytes queued": (
        selected,
        close_unread,
        {"messages_sent": 1, "control_frames_sent": 1, "bytes_unsent": 16 + 14},
    ),
    # Linktests
    "a linktest unanswered": (
        lambda: probing(linktest_threshold=2),
        later(5),
        {"linktests_unanswered": 1},
    ),
    "the last linktest unanswered": (probing, later(5), {"linktests_unanswered": 1}),
    "a linktest, T6 not over": (probing, later(4.9), {}),
    "a linktest answered": (probing, answered(linktest_rsp), got(1)),
    "a linktest excused": (
        lambda: probing(linktest_threshold=2),
        lambda end: (end.take(data(6, 11, 1)), end.at(5)),
        MESSAGE,
    ),
    # A store of leases
    "a store that fails": (
        renewing,
        answers(lambda engine: engine.store_failed(SILENT)),
        FAILED_ONCE,
    ),
    "a store that fails a standby": (
        standby,
        answers(lambda engine: engine.store_failed(SILENT)),
        FAILED_ONCE,
    ),
    "a store that does not answer": (acquiring, later(2), FAILED_ONCE),
    "a store that answers too late": (
        acquiring,
        answers(lambda engine: engine.lease_granted(4, -9.0)),
        FAILED_ONCE,
    ),
    "a store that answers": (acquiring, answers(lambda engine: engine.lease_granted(4, 0.0)), {}),
    "an answer that nobody waits for": (
        owner,
        answers(lambda engine: engine.store_failed(SILENT)),
        {},
    ),
    # The breaker counts results that come late; an attempt that is withdrawn has none.
    "an attempt withdrawn": (dialling, isolate, {}),
    "an attempt withdrawn while it selects": (selecting, isolate, {}),
    "an attempt that fails": (dialling, fail, {}),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_exactly_these_counters_move_and_by_so_much(scenario: str) -> None:
    start, happens, moved = SCENARIOS[scenario]
    end = start()
    before = end.counts()
    happens(end)
    after = end.counts()
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        name: by for name, by in moved.items() if by
    }


def test_each_counter_moves_in_some_scenario() -> None:
    moved = {name for _, _, moves in SCENARIOS.values() for name in moves}
    assert moved | {Counter.STALE_RESULT.value} == set(COUNTERS) == set(End().counts())


def test_a_new_link_has_counted_nothing() -> None:
    assert not any(End().counts().values())


@pytest.mark.parametrize(
    ("happens", "moved"),
    [
        (fail, (1, 1, 0)),
        (lambda end: (end.engine.disable(), end.out()), (1, 0, 0)),
        (isolate, (1, 0, 0)),
        (lambda end: (end.engine.tcp_opened(), end.out(), end.at(5)), (1, 1, 0)),
        (
            lambda end: (
                end.engine.tcp_opened(),
                end.out(),
                end.take(select_rsp(end.last)),
                end.engine.tcp_closed(),
            ),
            (1, 0, 1),
        ),
        (fail_twice, (2, 2, 0)),
    ],
    ids=["refused", "disabled", "isolated", "T6", "selected and lost", "refused twice"],
)
def test_attempts_failed_attempts_and_sessions_are_counted(
    happens: Callable[[End], object], moved: tuple[int, int, int]
) -> None:
    end = dialling()
    happens(end)
    found = end.engine.statistics()
    assert (found.attempts, found.failed_attempts, found.times_selected) == moved


# The breaker by itself


def permit_late(breaker: CircuitBreaker) -> None:
    permit = breaker.permit()
    breaker.reset()
    breaker.isolate()
    permit.failed()


def refused(breaker: CircuitBreaker) -> None:
    breaker.isolate()
    with pytest.raises(CircuitOpenError):
        breaker.permit()


@pytest.mark.parametrize(
    ("happens", "moved"),
    [
        (lambda breaker: breaker.permit(), {"granted": 1}),
        (refused, {"refused": 1}),
        (lambda breaker: breaker.permit().succeeded(), {"granted": 1, "attempt_succeeded": 1}),
        (lambda breaker: breaker.permit().failed(), {"granted": 1, "attempt_failed": 1}),
        (lambda breaker: breaker.permit().cancelled(), {"granted": 1, "attempt_cancelled": 1}),
        (permit_late, {"granted": 1, "attempt_failed": 1, "stale_result": 1}),
        (lambda breaker: breaker.configure(2, 10), {}),
    ],
    ids=["granted", "refused", "succeeded", "failed", "cancelled", "late", "configured"],
)
def test_a_breaker_counts_permits_and_results(
    happens: Callable[[CircuitBreaker], object], moved: Moved
) -> None:
    breaker = CircuitBreaker(3, 60, lambda: 0.0)
    happens(breaker)
    assert breaker.counts == moved


# The server


async def select(listener: MemoryListener) -> None:
    await (await listener.raw()).select()


async def close_at_once(listener: MemoryListener) -> None:
    await (await listener.raw()).close()


async def compete(listener: MemoryListener) -> None:
    await select(listener)
    other = await listener.raw()
    await other.send(select_req(1))
    await other.expect(select_rsp(1, 3))
    await other.close()


async def say_nothing(listener: MemoryListener) -> None:
    await listener.raw()
    await trio.sleep(10)


async def connect_three(listener: MemoryListener) -> None:
    for _ in range(3):
        await listener.raw()


async def select_three(listener: MemoryListener) -> None:
    for _ in range(2):
        await select(listener)
    await (await listener.raw()).end()


@pytest.mark.parametrize(
    ("happens", "counted"),
    [
        (select, (1, 0, 0)),
        (close_at_once, (1, 0, 1)),
        (compete, (2, 0, 1)),
        (say_nothing, (1, 0, 1)),
        (connect_three, (3, 0, 1)),
        (select_three, (2, 1, 0)),
    ],
)
async def test_a_server_counts_whom_it_accepts_turns_away_and_never_sees_selected(
    happens: Callable[[MemoryListener], Any], counted: tuple[int, int, int]
) -> None:
    settings: dict[str, Any] = {"linktest_interval": None}
    if happens is select_three:
        settings["max_sessions"] = 2
    async with server_end(max_connections=2, **settings) as (server, listener):
        assert (server.accepted, server.turned_away, server.never_selected) == (0, 0, 0)
        await happens(listener)
        await wait_all_tasks_blocked()
        assert (server.accepted, server.turned_away, server.never_selected) == counted


async def come_from_elsewhere(listener: MemoryListener) -> None:
    await (await listener.raw("10.0.0.1:1")).end()


async def come_three_times(listener: MemoryListener) -> None:
    for _ in range(3):
        await (await listener.raw("10.1.0.1:1")).close()


async def close_before_the_accept(listener: MemoryListener) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    listener._give.send_nowait((direct(theirs), "10.1.0.1:1"))


async def speak_no_tls(listener: MemoryListener) -> None:
    peer = await listener.raw()
    await peer.send(select_req(1))
    await peer.end()


async def be_another_host(listener: MemoryListener) -> None:
    stream = await secure(await listener.dial(), host("host-2"), listens=False, name="tool")
    await RawPeer(stream).end()


DOORS: tuple[tuple[Callable[[MemoryListener], Any], dict[str, Any], dict[str, int]], ...] = (
    (
        come_from_elsewhere,
        {"allowed_networks": ("10.1.0.0/16",)},
        {"turned_away": 1, "not_allowed": 1},
    ),
    (
        come_three_times,
        {"accept_rate_per_address": 1},
        {"accepted": 2, "never_selected": 2, "turned_away": 1, "too_frequent": 1},
    ),
    (
        come_three_times,
        {"accept_rate": 1},
        {"accepted": 2, "never_selected": 2, "turned_away": 1, "too_frequent": 1},
    ),
    (
        close_before_the_accept,
        {},
        {"turned_away": 1, "gone_before": 1},
    ),
    (
        speak_no_tls,
        {"tls": True},
        {"accepted": 1, "never_selected": 1, "failed_handshakes": 1},
    ),
    (
        say_nothing,
        {"tls": True},
        {"accepted": 1, "never_selected": 1, "failed_handshakes": 1},
    ),
    (
        be_another_host,
        {"tls": True, "tls_sessions": ("host-1=0",)},
        {"accepted": 1, "never_selected": 1, "refused_certificates": 1},
    ),
)


@pytest.mark.parametrize(("happens", "changes", "moved"), DOORS)
async def test_a_closed_door_counts_whom_it_keeps_out_and_why(
    happens: Callable[[MemoryListener], Any], changes: dict[str, Any], moved: dict[str, int]
) -> None:
    tls = listening() if changes.get("tls") else None
    settings = {name: value for name, value in changes.items() if name != "tls"}
    async with server_end(tls=tls, linktest_interval=None, **settings) as (server, listener):
        before = asdict(server.statistics())
        await happens(listener)
        await trio.sleep(1)
        after = asdict(server.statistics())
        assert {
            name: after[name] - before[name]
            for name in after
            if name != "counts" and after[name] != before[name]
        } == moved


async def test_who_was_selected_once_is_not_counted_as_never_selected() -> None:
    async def handler(_: HsmsConnection) -> None:
        return

    async with server_end(handler, linktest_interval=None) as (server, listener):
        peer = await listener.raw()
        await peer.select()
        await peer.close()
        await wait_all_tasks_blocked()
        assert (server.accepted, server.never_selected, server.connections) == (1, 0, [])

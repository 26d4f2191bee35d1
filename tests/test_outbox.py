"""What waits in our own outbox is not taken for a peer that is silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hsms_engine import ConnectionLostError, Message
from hsms_engine.errors import AbortedError, ReplyTimeoutError
from hsms_engine.events import Unsent
from tests.support.engines import End, outcome_of, selected, selecting, serving, text_of
from tests.support.raw_peer import (
    DESELECT_REQ,
    LINKTEST_REQ,
    SEPARATE_REQ,
    data,
    linktest_req,
    separate_req,
)

S1F1 = Message(1, 1, wait=True)
LONG = 10_000_000
# The bytes of a frame without a body.
EMPTY = 14


def behind(end: End) -> End:
    """The peer has taken no byte yet of a message of 10 MB."""
    end.is_read = False
    end.engine.send(Message(7, 3, body=bytes(LONG - EMPTY)))
    end.out()
    return end


def taking(end: End, since: float, until: float, count: int) -> None:
    """From ``since`` to ``until`` the peer takes ``count`` bytes, some each second."""
    seconds = int(until - since)
    for second in range(1, seconds + 1):
        end.at(since + second)
        end.engine.wrote(count // seconds)
        end.out()
    assert end.engine.phase in ("selected", "closing", "separating"), end.engine.last_error


@pytest.mark.clause("judge/handed-on")
@pytest.mark.parametrize("call", ["linktest", "deselect"])
def test_t6_of_a_request_starts_when_it_is_wholly_written(call: str) -> None:
    end = behind(selected(t6=5))
    transaction = getattr(end, call)()
    taking(end, 0, 40, LONG)
    # One byte of the request is missing.
    end.engine.wrote(EMPTY - 1)
    end.at(60)
    assert end.engine.is_selected
    end.engine.wrote(1)
    assert end.engine.next_due() == 65
    end.at(64.9)
    assert not transaction.is_settled
    end.at(65)
    assert transaction.is_settled
    assert not end.engine.is_selected


def test_t6_of_a_select_starts_when_it_is_wholly_written() -> None:
    end = End(t6=5, t7=100)
    end.is_read = False
    end.engine.enable()
    end.engine.tcp_opened()
    end.out()
    end.at(20)
    end.engine.wrote(EMPTY)
    end.at(24.9)
    assert end.engine.last_error is None
    end.at(25)
    assert "no response within T6 = 5 s" in text_of(end.engine.last_error)


def test_a_select_whose_bytes_nobody_takes_is_judged_by_the_write_timeout() -> None:
    end = End(t6=5, t7=100, write_timeout=7)
    end.is_read = False
    end.engine.enable()
    end.engine.tcp_opened()
    end.out()
    end.at(6.9)
    assert end.engine.phase == "selecting"
    end.at(7)
    assert "took no byte for 7 s" in text_of(end.engine.last_error)


def test_t6_starts_again_when_a_request_crosses_also_if_ours_is_not_written() -> None:
    end = behind(selected(t6=5))
    end.deselect()
    end.at(3)
    end.take(data(0, 0, 77, session=0xFFFF)[:9] + bytes([DESELECT_REQ]) + bytes(4))
    assert end.engine.phase == "not selected"
    taking_before_t7 = end.engine.next_due()
    assert taking_before_t7 == 3 + 10


@pytest.mark.clause("judge/taking")
def test_no_linktest_is_sent_while_bytes_wait() -> None:
    end = behind(selected(linktest_interval=10, t6=5))
    queued = end.engine.statistics().queued_bytes
    taking(end, 0, 50, LONG - 50)
    assert end.engine.statistics().queued_bytes == queued - LONG + 50 == 50
    end.at(12)
    assert end.frames[-1].stype != LINKTEST_REQ
    end.engine.wrote(50)
    # All is written, and no byte has come for an interval.
    assert end.engine.next_due() <= 12
    end.at(12)
    assert end.frames[-1].stype == LINKTEST_REQ


def test_the_two_judges_watch_meanwhile() -> None:
    end = behind(selected(linktest_interval=10, write_timeout=30))
    end.linktest()
    end.at(29.9)
    assert end.engine.is_selected
    end.at(30)
    assert "took no byte for 30 s" in text_of(end.engine.last_error)

    end = behind(selected(write_timeout=30, frame_deadline=60))
    transaction = end.linktest()
    due = 60 + LONG / 65_536
    for second in range(1, int(due) + 1):
        end.at(second)
        end.engine.wrote(1)
        end.out()
    assert end.engine.is_selected
    end.at(due)
    assert f"the peer took 212 of {LONG} queued bytes" in text_of(end.engine.last_error)
    assert "Linktest.req got no reply" in text_of(outcome_of(transaction))


# Written, and still on its way


def on_a_slow_line(**changes: Any) -> End:
    """A message of 3.8 MB is written; the line brings 62,500 bytes of it in a second."""
    end = selected(t6=5, **changes)
    end.engine.acknowledged(0)
    end.engine.send(Message(7, 3, body=bytes(3_800_000 - EMPTY)))
    end.out()
    return end


def at(end: End, now: float, arrived: int) -> None:
    """It is ``now``, and the peer's system has acknowledged ``arrived`` of 3.8 MB and the rest."""
    end.now = now
    sent = end.counts()["bytes_sent"] - EMPTY
    end.engine.acknowledged(max(sent - arrived, 0))
    end.at(now)


def test_a_transfer_on_a_slow_line_is_not_ended_by_a_linktest() -> None:
    end = on_a_slow_line(linktest_interval=10)
    for second in range(1, 61):
        at(end, second, second * 62_500)
        assert end.engine.is_selected
    # All has arrived, so the peer is asked, and given T6.
    at(end, 70, 3_800_000)
    assert end.frames[-1].stype == LINKTEST_REQ
    at(end, 74.9, 3_800_014)
    assert end.engine.is_selected
    at(end, 75, 3_800_014)
    assert not end.engine.is_selected


@pytest.mark.parametrize("call", ["linktest", "deselect"])
def test_t6_starts_again_while_what_is_before_the_request_arrives(call: str) -> None:
    end = on_a_slow_line()
    transaction = getattr(end, call)()
    for second in range(1, 61):
        at(end, second, second * 62_500)
        assert not transaction.is_settled
    # It has arrived between 60 and 61, so the peer has until 66 to answer.
    at(end, 61, 3_800_014)
    at(end, 65.9, 3_800_014)
    assert not transaction.is_settled
    at(end, 66, 3_800_014)
    assert transaction.is_settled


def test_t3_starts_again_while_what_is_before_the_primary_arrives() -> None:
    end = on_a_slow_line(t3=10)
    transaction = end.engine.request(S1F1)
    end.out()
    for second in range(10, 61, 10):
        at(end, second, second * 62_500)
        assert not transaction.is_settled
    at(end, 70, 3_800_014)
    assert isinstance(outcome_of(transaction), ReplyTimeoutError)


def test_bytes_that_do_not_arrive_excuse_nothing() -> None:
    """The line is cut: T6 is over T6 after the last progress that was seen."""
    end = on_a_slow_line(t3=60)
    probe, request = end.linktest(), end.engine.request(S1F1)
    end.out()
    at(end, 4, 250_000)
    at(end, 8.9, 250_000)
    assert not probe.is_settled
    at(end, 9, 250_000)
    assert not end.engine.is_selected
    assert isinstance(outcome_of(request), ConnectionLostError)


def test_a_probe_that_does_not_arrive_is_a_miss_after_t6() -> None:
    """Nothing is before it on its way, so its own bytes are no sign of life."""
    end = selected(t6=5, linktest_interval=10)
    at(end, 10, 0)
    assert end.frames[-1].stype == LINKTEST_REQ
    at(end, 14.9, 0)
    assert end.engine.is_selected
    at(end, 15, 0)
    assert not end.engine.is_selected


@pytest.mark.parametrize("answers", [1, 3])
def test_an_answer_that_does_not_arrive_is_no_reason_to_wait_with_the_linktest(
    answers: int,
) -> None:
    """The peer asks us and vanishes: what is known to have arrived came before its last byte."""
    end = selected(t6=5, linktest_interval=10)
    for number in range(answers):
        end.now = number
        end.take(linktest_req(number))
    last = end.now
    at(end, last + 10, (answers - 1) * EMPTY)
    assert end.frames[-1].stype == LINKTEST_REQ
    at(end, last + 15, (answers - 1) * EMPTY)
    assert not end.engine.is_selected


def test_an_answer_that_arrives_after_the_last_byte_is_a_sign_of_life() -> None:
    """The first of two answers, which were written in two pieces, is on its way for long."""
    end = selected(t6=5, linktest_interval=10)
    end.take(linktest_req(1), linktest_req(2))
    at(end, 10, EMPTY)
    assert end.frames[-1].stype != LINKTEST_REQ
    at(end, 15, EMPTY)
    assert end.frames[-1].stype == LINKTEST_REQ


def until_closed(end: End, outstanding: Callable[[float], int]) -> float:
    """As a driver: wake when something is due, and say how much is ``outstanding`` then."""
    for _ in range(50):
        end.now = end.engine.next_due()
        if end.engine.is_due():
            end.engine.acknowledged(outstanding(end.now))
            end.at(end.now)
        if not end.engine.is_selected:
            return end.now
    raise AssertionError("it lives on")


@pytest.mark.parametrize("t6", [1, 5, 10, 40])
@pytest.mark.parametrize("threshold", [1, 3])
@pytest.mark.parametrize("arrived", [0, 7, EMPTY, EMPTY + 7, 2 * EMPTY])
def test_a_peer_that_vanishes_amid_our_answers_is_noticed_within_the_bound(
    t6: float, threshold: int, arrived: int
) -> None:
    """Linktest.rsp is cut in two segments, and only the first of them has come."""
    end = selected(t6=t6, linktest_interval=10, linktest_threshold=threshold)
    end.now = 3.0
    end.take(linktest_req(1), linktest_req(2))
    sent = end.counts()["bytes_sent"]

    def outstanding(_: float) -> int:
        return end.counts()["bytes_sent"] - sent + 2 * EMPTY - arrived

    closed = until_closed(end, outstanding)
    bound = end.engine.settings.detection_bound().seconds
    assert closed - 3 == pytest.approx(bound)


@pytest.mark.parametrize("t6", [1, 5, 10, 40])
@pytest.mark.parametrize("lives", [1, 8.5, 9.5, 12, 26])
def test_a_peer_that_takes_bytes_and_vanishes_is_noticed_within_the_bound_of_its_last_sign(
    t6: float, lives: float
) -> None:
    """A line that brings 62,500 bytes a second is cut; until then no linktest is sent."""
    end = selected(t6=t6, linktest_interval=10)
    end.engine.send(Message(7, 3, body=bytes(3_800_000 - EMPTY)))
    end.out()

    def outstanding(now: float) -> int:
        if now < lives:
            assert end.counts()["control_frames_sent"] == before
        return end.counts()["bytes_sent"] - EMPTY - int(min(now, lives) * 62_500)

    before = end.counts()["control_frames_sent"]
    closed = until_closed(end, outstanding)
    bound = end.engine.settings.detection_bound().seconds
    assert bound <= closed <= lives + bound + 1e-6


def test_nothing_is_asked_ahead_when_the_peer_had_the_last_word() -> None:
    end = selected(t6=5, linktest_interval=10)
    assert end.engine.next_due() == 10
    end.take(linktest_req(1))
    end.engine.is_due()
    assert end.engine.next_due() == 5
    end.at(5)
    assert end.engine.next_due() == 10
    end.engine.send(Message(6, 11))
    end.out()
    assert end.engine.next_due() == 10


def test_a_peer_whose_system_takes_small_messages_for_ever_is_asked() -> None:
    """Its program hangs. One message is always on its way, and all older ones have arrived."""
    end = selected(t6=5, linktest_interval=10, t3=1)
    asked_at = None
    for tenth in range(1, 400):
        end.engine.send(Message(6, 11))
        end.out()
        at(end, tenth / 10, (tenth - 1) * EMPTY)
        if asked_at is None and end.frames[-1].stype == LINKTEST_REQ:
            asked_at = end.now
        if not end.engine.is_selected:
            break
    # The interval, and at most T6 to see that older messages do arrive.
    assert asked_at is not None
    assert 10 <= asked_at <= 15
    assert end.now == pytest.approx(asked_at + 5, abs=0.2)


def test_to_be_told_of_bytes_when_there_is_no_connection_changes_nothing() -> None:
    end = End()
    end.engine.acknowledged(7)
    assert end.out() == []


# The end of a connection


def test_what_was_accepted_is_written_before_the_separate_and_linger_starts_then() -> None:
    end = behind(selected(linger=0.5))
    end.engine.close()
    end.out()
    taking(end, 0, 40, LONG)
    assert end.engine.next_due() > 60
    end.engine.wrote(EMPTY)
    end.out()
    assert end.frames[-1].stype == SEPARATE_REQ
    assert end.engine.next_due() == 40.5
    end.at(40.5)
    assert end.engine.is_closed
    assert end.engine.unsent is None
    assert end.counts()["bytes_unsent"] == 0


@pytest.mark.clause("close/unsent")
@pytest.mark.parametrize(
    ("lose", "words"),
    [
        (lambda end: end.at(30), "the peer took no byte for 30 s (write_timeout)"),
        (lambda end: end.engine.tcp_closed(), "the peer closed TCP"),
        (
            lambda end: end.engine.tcp_closed(ConnectionResetError(104, "Connection reset")),
            "TCP broke: Connection reset",
        ),
    ],
    ids=["write timeout", "closed", "reset"],
)
@pytest.mark.parametrize("make", [selected, serving], ids=["dials", "listens"])
def test_a_graceful_end_says_what_was_lost(make: Any, lose: Any, words: str) -> None:
    end = behind(make())
    end.engine.wrote(1_000)
    end.engine.close()
    end.out()
    lose(end)
    assert end.engine.is_closed
    said = text_of(end.engine.unsent)
    assert f"closed, but {LONG - 1_000} bytes accepted for sending were not written: " in said
    assert words in said
    assert end.counts()["bytes_unsent"] == LONG - 1_000 + EMPTY


def test_a_separate_that_nobody_takes_is_no_lost_message() -> None:
    end = selected()
    end.is_read = False
    end.engine.close()
    end.out()
    end.engine.tcp_closed()
    assert end.engine.unsent is None
    assert end.counts()["bytes_unsent"] == EMPTY


def test_a_link_that_is_disabled_tells_it_as_an_event() -> None:
    end = behind(selected())
    end.engine.disable()
    end.out()
    end.engine.tcp_closed()
    assert Unsent(0.0, 1, LONG) in end.out()
    end.engine.close()
    assert end.engine.unsent is None


def test_a_loss_that_nobody_asked_for_counts_what_was_not_written() -> None:
    end = behind(selected())
    assert Unsent(0.0, 1, LONG) in end.take(separate_req(5))
    assert end.counts()["bytes_unsent"] == LONG
    assert end.engine.unsent is None


# What a peer asks while much is queued for it


def test_one_question_of_a_peer_that_is_behind_is_answered() -> None:
    end = behind(serving())
    end.take(linktest_req(7))
    taking(end, 0, 40, LONG + EMPTY)
    assert end.engine.is_selected


def test_an_abort_by_the_peer_needs_no_room() -> None:
    end = behind(selected())
    transaction = end.engine.request(S1F1)
    end.take(data(1, 0, transaction.system_bytes))
    assert isinstance(outcome_of(transaction), AbortedError)


def test_selecting_is_not_disturbed() -> None:
    end = selecting()
    assert end.engine.next_due() == 5

"""The engine is driven through one door: no event loop, no hook, nothing to reach through."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from hsms_engine import ClosedError, ConnectionLostError, Message, events
from hsms_engine.messages import S1F1
from hsms_engine.protocol import (
    AbandonTcp,
    CloseTcp,
    ControlTransaction,
    FinishTcp,
    LeaseTimes,
    OpenTcp,
    Primary,
    Transaction,
)
from hsms_engine.protocol.statistics import Statistics
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.wire import SType, control_frame, data_frame, encode
from tests.support.engines import End, accepted, dialling, selected
from tests.support.owned import SILENT, OwnedEnd
from tests.support.raw_peer import data, deselect_rsp, select_rsp

ROOT = Path(__file__).parent.parent
SELECT_RSP = SType.SELECT_RSP


def test_the_page_about_the_engine_shows_two_of_them_in_a_for_loop(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
    program, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    printed = capsys.readouterr().out
    assert re.fullmatch(r"S1F1 is answered: <Message S1F2 .*MDLN.*>\n", printed)
    assert names["host"].phase == names["tool"].phase == "closed"
    assert len(program.splitlines()) <= 40


def test_the_page_about_the_engine_shows_two_that_want_one_tool(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
    _, program = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (shown,) = re.findall(r"It prints:\n\n```\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    assert capsys.readouterr().out == shown
    states = [engine.ownership.state for engine in names["engines"].values()]
    assert states == ["owner", "owner"], "the first one has died, so it judges nothing any more"
    assert len(program.splitlines()) <= 45


def test_bytes_of_a_turn_are_one_piece_and_come_before_the_rest() -> None:
    end = selected()
    engine = end.engine
    for number in range(3):
        engine.send(Message(6, 11, body=bytes([number])))
    engine.close()
    data, *rest = end.out()
    assert isinstance(data, bytes)
    assert len(data) == 3 * 15 + 14
    assert [type(each) for each in rest] == [events.Separating, FinishTcp]


def test_what_was_asked_before_a_bad_length_is_answered_before_the_connection_closes() -> None:
    end = selected()
    engine = end.engine
    engine.receive(encode(control_frame(SType.LINKTEST_REQ, 7)) + b"\0\0\0\x09")
    data, *rest = end.out()
    assert data == encode(control_frame(SType.LINKTEST_RSP, 7))
    assert CloseTcp() in rest


def test_a_dial_that_is_given_up_is_told() -> None:
    end = End(connect_timeout=3)
    engine = end.engine
    engine.enable()
    assert OpenTcp() in end.out()
    assert engine.next_due() == 3
    end.now = 3
    engine.tick()
    assert AbandonTcp() in end.out()


def test_only_a_timer_that_waits_for_the_peer_judges() -> None:
    end = End(connect_timeout=3, t5=10, linktest_interval=20, t6=5, t3=45)
    engine = end.engine
    engine.enable()
    end.out()
    engine.dial_began()
    end.now = 2.9
    assert not engine.judges()
    end.now = 3
    assert engine.judges(), "the connect timeout"
    engine.tick()
    end.out()
    end.now = 10
    assert engine.is_due()
    assert not engine.judges(), "T5"
    end = selected(linktest_interval=20, t6=5, t3=45)
    engine = end.engine
    end.now += 20
    assert engine.is_due()
    assert not engine.judges(), "the linktest interval"
    assert engine.begins()
    engine.tick()
    end.out()
    end.now += 5
    assert engine.judges(), "T6 of the linktest"
    assert not engine.begins()
    end = selected(t3=45)
    end.engine.request(S1F1())
    end.out()
    end.now += 44
    assert not end.engine.judges()
    end.now += 1
    assert end.engine.judges(), "T3"


def test_who_begins_to_watch_sees_the_next_message_also_behind_one_that_waits() -> None:
    engine = selected().engine
    engine.send(Message(6, 11))
    engine.watch(lambda: True)
    engine.send(Message(6, 13))
    outputs = iter(engine.next_output, None)
    assert [each.message for each in outputs if isinstance(each, Traffic)] == [Message(6, 13)]


def test_time_is_an_answer() -> None:
    end = selected(t3=45)
    engine = end.engine
    assert engine.next_due() == float("inf")
    request = engine.request(S1F1())
    end.out()
    assert engine.next_due() == 45
    end.now = 44.9
    engine.tick()
    assert end.out() == []
    end.now = 45
    engine.tick()
    assert end.out() == [request]
    assert "T3 = 45 s" in str(request.outcome)


def test_due_is_never_later_than_what_comes_first_however_settings_change() -> None:
    end = selected(t3=45)
    engine = end.engine
    engine.request(S1F1())
    end.out()
    engine.configure(engine.settings.replace(t3=5))
    assert engine.next_due() == 5


def test_due_comes_nearer_when_the_breaker_forgets_its_failures() -> None:
    end = End(t5=10, backoff_factor=3, breaker_threshold=5)
    end.engine.enable()
    for pause in (0, 10, 30):
        end.now += pause
        end.engine.tick()
        assert OpenTcp() in end.out(), pause
        end.engine.tcp_failed(ConnectionRefusedError(111, "Connection refused"))
        end.out()
    assert end.engine.next_due() == end.now + 90
    end.engine.reset_breaker()
    assert end.engine.next_due() == end.now + 10


def test_a_settled_transaction_comes_out_once() -> None:
    end = selected()
    engine = end.engine
    request = engine.request(S1F1())
    end.out()
    reply = encode(data_frame(0, 1, 2, False, request.system_bytes, b""))
    engine.receive(reply)
    assert end.out() == [request]
    engine.receive(reply)
    (late,) = end.out()
    assert isinstance(late, events.UnexpectedSecondary)


@pytest.mark.parametrize("call", ["linktest", "deselect"])
def test_a_control_transaction_comes_out_when_its_answer_is_there(call: str) -> None:
    end = selected()
    engine = end.engine
    transaction: ControlTransaction = getattr(engine, call)()
    (request,) = end.out()
    assert isinstance(request, bytes)
    assert engine.next_output() is None
    stype = request[9] + 1
    engine.receive(encode(control_frame(stype, int.from_bytes(request[10:14]))))
    assert transaction in end.out()
    assert transaction.is_settled
    assert transaction.error is None


def test_an_abandoned_transaction_does_not_come_out() -> None:
    end = selected()
    engine = end.engine
    request, linktest = engine.request(S1F1()), engine.linktest()
    end.out()
    engine.abandon(request)
    engine.abandon(linktest)
    engine.tcp_closed()
    assert not [each for each in end.out() if isinstance(each, Transaction | ControlTransaction)]


def test_what_is_settled_or_abandoned_is_abandoned_in_vain() -> None:
    end = selected()
    engine = end.engine
    reply, linktest = engine.request(S1F1()), engine.linktest()
    (sent,) = end.out()
    assert isinstance(sent, bytes)
    engine.receive(encode(data_frame(0, 1, 2, False, reply.system_bytes, b"")))
    engine.receive(encode(control_frame(SType.LINKTEST_RSP, int.from_bytes(sent[-4:]))))
    engine.abandon(reply)
    engine.abandon(linktest)
    assert end.out() == [reply, linktest]
    assert isinstance(reply.outcome, Message)
    assert linktest.error is None
    request, probe = engine.request(S1F1()), engine.linktest()
    for _ in range(2):
        engine.abandon(request)
        engine.abandon(probe)
    engine.tcp_closed()
    assert request not in end.out()


def test_the_peer_is_told_once_that_no_more_bytes_follow() -> None:
    end = selected()
    end.engine.close()
    assert FinishTcp() in end.out()
    end.engine.wrote(0)
    assert end.out() == []


def test_reports_about_a_connection_that_is_over_change_nothing_and_are_counted() -> None:
    end = selected()
    engine = end.engine
    engine.tcp_closed(ConnectionResetError(104, "Connection reset by peer"))
    end.out()
    before = engine.statistics()
    assert engine.receive(b"1234567") == 7
    engine.tcp_closed()
    engine.wrote(5)
    assert end.out() == []
    after = engine.statistics()
    assert after.phase == before.phase == "waiting"
    assert after.counts["bytes_after_the_end"] == before.counts["bytes_after_the_end"] + 7
    assert after.counts["bytes_sent"] == before.counts["bytes_sent"] + 5


def test_reports_about_a_dial_that_was_given_up_change_nothing() -> None:
    end = End()
    end.engine.enable()
    end.engine.disable()
    assert AbandonTcp() in end.out()
    end.engine.tcp_opened()
    end.engine.tcp_failed(ConnectionRefusedError(111, "Connection refused"))
    assert end.out() == []
    statistics = end.engine.statistics()
    assert (statistics.phase, statistics.failed_attempts) == ("idle", 0)


def test_an_engine_that_nobody_runs_any_more_settles_what_waits() -> None:
    end = selected()
    engine = end.engine
    request = engine.request(S1F1())
    engine.stop()
    assert request in end.out()
    assert isinstance(request.outcome, ClosedError)
    assert engine.is_closed
    engine.stop()
    assert end.out() == []


def test_a_primary_counts_until_it_is_taken_or_answered() -> None:
    end = selected(inbox_size=2)
    engine = end.engine
    for number in (1, 2):
        engine.receive(encode(data_frame(0, 1, 1, True, number, b"")))
    first, second = [each for each in end.out() if isinstance(each, Primary)]
    assert engine.statistics().waiting_primaries == 2
    engine.take(first)
    engine.take(first)
    engine.reply(second, Message(1, 2))
    engine.reply(first, Message(1, 2))
    assert engine.statistics().waiting_primaries == 0


def test_a_reply_over_a_connection_that_is_over_is_one_error_whatever_came_after() -> None:
    end = selected(t5=1)
    engine = end.engine
    engine.receive(encode(data_frame(0, 1, 1, True, 9, b"")))
    (primary,) = [each for each in end.out() if isinstance(each, Primary)]
    engine.tcp_closed()
    over = "S1F1 came over connection 1, which is over"
    with pytest.raises(ConnectionLostError, match=over):
        engine.reply(primary, Message(1, 2))
    end.now = 100
    engine.tick()
    engine.tcp_opened()
    (request,) = [each for each in end.out() if isinstance(each, bytes)]
    engine.receive(encode(control_frame(SELECT_RSP, int.from_bytes(request[10:14]))))
    with pytest.raises(ConnectionLostError, match=over):
        engine.reply(primary, Message(1, 2))


def test_a_passive_engine_that_has_ended_stays_closed() -> None:
    end = accepted()
    engine = end.engine
    engine.tcp_closed()
    assert events.Closed(0.0, 1) in end.out()
    with pytest.raises(ConnectionLostError, match="the peer closed TCP"):
        engine.send(Message(6, 11))


def test_every_gauge_is_right_before_during_and_after_a_connection() -> None:
    end = End(t5=10)
    engine = end.engine

    def gauges() -> dict[str, object]:
        statistics = engine.statistics()
        return {
            name: getattr(statistics, name)
            for name in Statistics.__dataclass_fields__
            if name not in ("state", "counts", "breaker_threshold")
        }

    before = gauges()
    assert before == {
        "phase": "idle",
        "breaker_state": "breaker_closed",
        "breaker_failures": 0,
        "retry_after": math.inf,
        "epoch": 0,
        "attempts": 0,
        "failed_attempts": 0,
        "times_selected": 0,
        "open_transactions": 0,
        "waiting_primaries": 0,
        "queued_bytes": 0,
    }

    engine.enable()
    connecting = before | {"phase": "connecting", "attempts": 1, "retry_after": 0.0}
    assert gauges() == connecting
    engine.tcp_opened()
    assert gauges() == connecting | {"phase": "selecting", "epoch": 1, "queued_bytes": 14}
    end.out()
    end.take(select_rsp(end.last))
    up = connecting | {"phase": "selected", "epoch": 1, "times_selected": 1}
    assert gauges() == up
    engine.request(S1F1())
    engine.receive(data(6, 11, 7))
    assert gauges() == up | {"open_transactions": 1, "waiting_primaries": 1, "queued_bytes": 14}

    # Received is received; what was queued is gone. T5 runs from one attempt to the next.
    end.now = 3
    engine.tcp_closed()
    down = up | {"phase": "waiting", "waiting_primaries": 1, "retry_after": 7.0}
    assert gauges() == down
    end.now = 6
    assert gauges() == down | {"retry_after": 4.0}
    end.at(10)
    assert gauges() == down | {"phase": "connecting", "attempts": 2, "retry_after": 0.0}
    engine.tcp_failed(OSError("refused"))
    failed = {"attempts": 2, "failed_attempts": 1, "breaker_failures": 1}
    assert gauges() == down | failed | {"retry_after": 10.0}
    engine.close()
    assert gauges() == down | failed | {"phase": "closed", "retry_after": math.inf}


def test_the_end_that_listens_has_no_breaker_and_begins_no_attempt() -> None:
    statistics = accepted().engine.statistics()
    assert statistics.breaker_state is None
    assert statistics.breaker_failures == 0
    assert (statistics.attempts, statistics.failed_attempts) == (0, 0)


def test_a_control_transaction_comes_out_once_and_is_settled_once() -> None:
    end = selected()
    refused = end.deselect()
    assert refused in end.take(deselect_rsp(end.last, 2))
    error = refused.error
    granted = end.deselect()
    outputs = end.take(deselect_rsp(end.last))
    assert [each for each in outputs if isinstance(each, ControlTransaction)] == [granted]
    assert refused.error is error
    assert granted.error is None


@pytest.mark.parametrize("during", ["TCP connect", "select"])
def test_a_lowered_threshold_that_withdraws_an_attempt_is_no_error(during: str) -> None:
    end = dialling(t5=1, breaker_threshold=5)
    end.engine.tcp_failed(OSError("refused"))
    end.out()
    end.at(1)
    error = end.engine.last_error
    if during == "select":
        end.engine.tcp_opened()
        end.out()
    end.engine.configure(end.engine.settings.replace(breaker_threshold=1))
    (waiting,) = [each for each in end.out() if isinstance(each, events.Waiting)]
    assert waiting.error is None
    assert end.engine.last_error is error
    assert end.engine.failed_attempts == 1


LIFE = """\
Connecting(at=0, epoch=0, attempt=1)
Selecting(at=1, epoch=1, local='10.0.0.5:40001', remote='10.1.2.3:5000')
Selected(at=2, epoch=1)
UnexpectedSecondary(at=3, epoch=1, message=<Message S6F12 session=0 system=00000007>)
Unsent(at=5, epoch=1, count=14)
Waiting(at=5, epoch=1, retry_after=5.0, error=ConnectionLostError(...))
Connecting(at=10, epoch=1, attempt=2)
Waiting(at=11, epoch=1, retry_after=9.0, error=ConnectError(...))
Connecting(at=20, epoch=1, attempt=3)
Waiting(at=21, epoch=1, retry_after=60.0, error=ConnectError(...))
BreakerOpened(at=21, epoch=1, failures=2, threshold=2, retry_after=60.0)
Blocked(at=30, epoch=1, retry_after=51.0)
Unreachable(at=75, epoch=1, seconds=70, error=ConnectError(...))
BreakerHalfOpen(at=81, epoch=1)
BreakerProbing(at=81, epoch=1)
Connecting(at=81, epoch=1, attempt=4)
Selecting(at=82, epoch=2, local='', remote='')
Selected(at=83, epoch=2)
BreakerClosed(at=83, epoch=2)
NotSelected(at=85, epoch=2)
Selected(at=87, epoch=2)
BreakerIsolated(at=88, epoch=2)
BreakerClosed(at=89, epoch=2)
Separating(at=90, epoch=2)
Idle(at=91, epoch=2)
Closed(at=92, epoch=2, error=None)
"""


OWNED_LIFE = """\
Standby(at=0, epoch=0, owner='', lease_epoch=0, error=None)
Standby(at=1, epoch=0, owner='host-b', lease_epoch=3, error=None)
Standby(at=2, epoch=0, owner='host-b', lease_epoch=3, error=LeaseError(...))
Owning(at=20, epoch=0, lease_epoch=4)
Connecting(at=20, epoch=0, attempt=1)
Waiting(at=21, epoch=0, retry_after=9.0, error=ConnectError(...))
Connecting(at=30, epoch=0, attempt=2)
Waiting(at=40, epoch=0, retry_after=0.0, error=ConnectError(...))
Connecting(at=41, epoch=0, attempt=3)
Doubtful(at=43, epoch=0, error=LeaseError(...), ends_in=21.0)
Owning(at=47, epoch=0, lease_epoch=4)
Waiting(at=51, epoch=0, retry_after=0.0, error=ConnectError(...))
Connecting(at=52, epoch=0, attempt=4)
Waiting(at=62, epoch=0, retry_after=0.0, error=ConnectError(...))
Draining(at=62, epoch=0, why='lost')
Idle(at=62, epoch=0)
Standby(at=62, epoch=0, owner='host-c', lease_epoch=5, error=None)
Withdrawn(at=80, epoch=0)
"""


def test_a_failure_when_there_is_no_connection_changes_nothing() -> None:
    end = End()
    end.engine.fail("no room")
    assert end.out() == []
    assert end.engine.last_error is None


def goes_unread(end: End) -> None:
    """The peer takes no byte of a message."""
    end.is_read = False
    end.engine.send(Message(6, 11))


def is_lost(end: End) -> None:
    """TCP is over; the next connection is read."""
    end.engine.tcp_closed()
    end.is_read = True


def test_every_event_says_when_over_which_connection_and_its_values() -> None:
    end = End(t5=10, breaker_threshold=2, breaker_open_time=60, unreachable_after=70)
    engine = end.engine
    refused = OSError("refused")
    happens: dict[int, Callable[[], object]] = {
        0: engine.enable,
        1: lambda: engine.tcp_opened("10.0.0.5:40001", "10.1.2.3:5000"),
        2: lambda: engine.receive(select_rsp(end.last)),
        3: lambda: engine.receive(data(6, 12, 7)),
        4: lambda: goes_unread(end),
        5: lambda: is_lost(end),
        11: lambda: engine.tcp_failed(refused),
        21: lambda: engine.tcp_failed(refused),
        82: engine.tcp_opened,
        83: lambda: engine.receive(select_rsp(end.last)),
        84: engine.deselect,
        85: lambda: engine.receive(deselect_rsp(end.last)),
        86: engine.select,
        87: lambda: engine.receive(select_rsp(end.last)),
        88: engine.isolate,
        89: engine.release,
        90: engine.disable,
        91: engine.tcp_closed,
        92: engine.close,
    }
    assert told_by(end, happens) == LIFE.splitlines()


def told_by(end: End, happens: Mapping[int, Callable[[], object]]) -> list[str]:
    """The events of a life, in which these things happen after so many seconds."""
    told: list[str] = []
    for second in range(100):
        outputs = end.at(second)
        if second in happens:
            happens[second]()
        told += [
            re.sub(r"Error\('.*'\)", "Error(...)", repr(output))
            for output in outputs + end.out()
            if isinstance(output, events.Happened)
        ]
    return told


def test_every_event_of_a_lease_says_when_and_its_values() -> None:
    end = OwnedEnd(times=LeaseTimes(50))
    engine = end.engine
    happens: dict[int, Callable[[], object]] = {
        0: engine.enable,
        1: lambda: engine.lease_refused("host-b", 3, 5),
        2: lambda: engine.store_failed(SILENT),
        20: lambda: engine.lease_granted(4, 20),
        21: lambda: engine.tcp_failed(OSError("refused")),
        # The renewal, after 12.5 s, is not answered.
        47: lambda: engine.lease_granted(4, 47),
        62: lambda: engine.lease_refused("host-c", 5, 50),
        80: engine.disable,
    }
    assert told_by(end, happens) == OWNED_LIFE.splitlines()
    told = (LIFE + OWNED_LIFE).splitlines()
    kinds = {kind.__name__ for kind in get_args(events.LinkEvent)}
    # A reader tells this one.
    assert kinds - {line.partition("(")[0] for line in told} == {"Missed"}

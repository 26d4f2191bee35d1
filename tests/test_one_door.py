"""The engine is driven through one door: no event loop, no hook, nothing to reach through."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hsms_engine import ClosedError, ConnectionLostError, Message, Settings, events
from hsms_engine.messages import S1F1
from hsms_engine.protocol import (
    ACTIVE_LINK,
    PASSIVE_LINK,
    AbandonTcp,
    CloseTcp,
    ControlTransaction,
    Engine,
    FinishTcp,
    OpenTcp,
    Output,
    Primary,
    Step,
    Transaction,
)
from hsms_engine.wire import SType, control_frame, data_frame, encode

ROOT = Path(__file__).parent.parent
SELECT_RSP = SType.SELECT_RSP


class Time:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def dialling(**changes: Any) -> tuple[Engine, Time]:
    time = Time()
    settings = Settings(linktest_interval=None).replace(**changes)
    engine = Engine(ACTIVE_LINK, settings, clock=time, random=Random(1), peer=lambda _: "tool")
    return engine, time


def out(engine: Engine) -> list[Output]:
    """All that comes out now, the steps of the charts aside."""
    found: list[Output] = []
    while (output := engine.next_output()) is not None:
        if isinstance(output, bytes):
            engine.wrote(len(output))
        if not isinstance(output, Step):
            found.append(output)
    return found


def selected(**changes: Any) -> tuple[Engine, Time]:
    """An engine that has dialled and is selected; all that came out is taken."""
    engine, time = dialling(**changes)
    engine.enable()
    engine.tcp_opened()
    (request,) = [each for each in out(engine) if isinstance(each, bytes)]
    engine.receive(encode(control_frame(SELECT_RSP, int.from_bytes(request[10:14]))))
    assert engine.is_selected
    out(engine)
    return engine, time


def test_the_page_about_the_engine_shows_two_of_them_in_a_for_loop(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    printed = capsys.readouterr().out
    assert re.fullmatch(r"S1F1 is answered: <Message S1F2 .*MDLN.*>\n", printed)
    assert names["host"].phase == names["tool"].phase == "closed"
    assert len(program.splitlines()) <= 40


def test_bytes_of_a_turn_are_one_piece_and_come_before_the_rest() -> None:
    engine, _ = selected()
    for number in range(3):
        engine.send(Message(6, 11, body=bytes([number])))
    engine.close()
    data, *rest = out(engine)
    assert isinstance(data, bytes)
    assert len(data) == 3 * 15 + 14
    assert [type(each) for each in rest] == [events.Separating, FinishTcp]


def test_what_was_asked_before_a_bad_length_is_answered_before_the_connection_closes() -> None:
    engine, _ = selected()
    engine.receive(encode(control_frame(SType.LINKTEST_REQ, 7)) + b"\0\0\0\x09")
    data, *rest = out(engine)
    assert data == encode(control_frame(SType.LINKTEST_RSP, 7))
    assert CloseTcp() in rest


def test_a_dial_that_is_given_up_is_told() -> None:
    engine, time = dialling(connect_timeout=3)
    engine.enable()
    assert OpenTcp() in out(engine)
    assert engine.next_due() == 3
    time.now = 3
    engine.tick()
    assert AbandonTcp() in out(engine)


def test_time_is_an_answer() -> None:
    engine, time = selected(t3=45)
    assert engine.next_due() == float("inf")
    request = engine.request(S1F1())
    out(engine)
    assert engine.next_due() == 45
    time.now = 44.9
    engine.tick()
    assert out(engine) == []
    time.now = 45
    engine.tick()
    assert out(engine) == [request]
    assert "T3 = 45 s" in str(request.outcome)


def test_due_is_never_later_than_what_comes_first_however_settings_change() -> None:
    engine, _ = selected(t3=45)
    engine.request(S1F1())
    out(engine)
    engine.configure(engine.settings.replace(t3=5))
    assert engine.next_due() == 5


def test_due_comes_nearer_when_the_breaker_forgets_its_failures() -> None:
    engine, time = dialling(t5=10, backoff_factor=3, breaker_threshold=5)
    engine.enable()
    for pause in (0, 10, 30):
        time.now += pause
        engine.tick()
        assert OpenTcp() in out(engine), pause
        engine.tcp_failed(ConnectionRefusedError(111, "Connection refused"))
        out(engine)
    assert engine.next_due() == time.now + 90
    engine.reset_breaker()
    assert engine.next_due() == time.now + 10


def test_a_settled_transaction_comes_out_once() -> None:
    engine, _ = selected()
    request = engine.request(S1F1())
    out(engine)
    reply = encode(data_frame(0, 1, 2, False, request.system_bytes, b""))
    engine.receive(reply)
    assert out(engine) == [request]
    engine.receive(reply)
    (late,) = out(engine)
    assert isinstance(late, events.UnexpectedSecondary)


@pytest.mark.parametrize("call", ["linktest", "deselect"])
def test_a_control_transaction_comes_out_when_its_answer_is_there(call: str) -> None:
    engine, _ = selected()
    transaction: ControlTransaction = getattr(engine, call)()
    (request,) = out(engine)
    assert isinstance(request, bytes)
    assert engine.next_output() is None
    stype = request[9] + 1
    engine.receive(encode(control_frame(stype, int.from_bytes(request[10:14]))))
    assert transaction in out(engine)
    assert transaction.is_settled
    assert transaction.error is None


def test_an_abandoned_transaction_does_not_come_out() -> None:
    engine, _ = selected()
    request, linktest = engine.request(S1F1()), engine.linktest()
    out(engine)
    engine.abandon(request)
    engine.abandon(linktest)
    engine.tcp_closed()
    assert not [each for each in out(engine) if isinstance(each, Transaction | ControlTransaction)]


def test_what_is_settled_or_abandoned_is_abandoned_in_vain() -> None:
    engine, _ = selected()
    reply, linktest = engine.request(S1F1()), engine.linktest()
    (sent,) = out(engine)
    assert isinstance(sent, bytes)
    engine.receive(encode(data_frame(0, 1, 2, False, reply.system_bytes, b"")))
    engine.receive(encode(control_frame(SType.LINKTEST_RSP, int.from_bytes(sent[-4:]))))
    engine.abandon(reply)
    engine.abandon(linktest)
    assert out(engine) == [reply, linktest]
    assert isinstance(reply.outcome, Message)
    assert linktest.error is None
    request, probe = engine.request(S1F1()), engine.linktest()
    for _ in range(2):
        engine.abandon(request)
        engine.abandon(probe)
    engine.tcp_closed()
    assert request not in out(engine)


def test_the_peer_is_told_once_that_no_more_bytes_follow() -> None:
    engine, _ = selected()
    engine.close()
    assert FinishTcp() in out(engine)
    engine.wrote(0)
    assert out(engine) == []


def test_reports_about_a_connection_that_is_over_change_nothing_and_are_counted() -> None:
    engine, _ = selected()
    engine.tcp_closed(ConnectionResetError(104, "Connection reset by peer"))
    out(engine)
    before = engine.statistics()
    assert engine.receive(b"1234567") == 0
    engine.tcp_closed()
    engine.wrote(5)
    assert out(engine) == []
    after = engine.statistics()
    assert after.phase == before.phase == "waiting"
    assert after.counts["bytes_after_the_end"] == before.counts["bytes_after_the_end"] + 7
    assert after.counts["bytes_sent"] == before.counts["bytes_sent"] + 5


def test_an_engine_that_nobody_runs_any_more_settles_what_waits() -> None:
    engine, _ = selected()
    request = engine.request(S1F1())
    engine.stop()
    assert request in out(engine)
    assert isinstance(request.outcome, ClosedError)
    assert engine.is_closed
    engine.stop()
    assert out(engine) == []


def test_a_primary_counts_until_it_is_taken_or_answered() -> None:
    engine, _ = selected(inbox_size=2)
    for number in (1, 2):
        engine.receive(encode(data_frame(0, 1, 1, True, number, b"")))
    first, second = [each for each in out(engine) if isinstance(each, Primary)]
    assert engine.statistics().waiting_primaries == 2
    engine.take(first)
    engine.take(first)
    engine.reply(second, Message(1, 2))
    engine.reply(first, Message(1, 2))
    assert engine.statistics().waiting_primaries == 0


def test_a_reply_over_a_connection_that_is_gone_is_one_error_whatever_came_after() -> None:
    engine, time = selected(t5=1)
    engine.receive(encode(data_frame(0, 1, 1, True, 9, b"")))
    (primary,) = [each for each in out(engine) if isinstance(each, Primary)]
    engine.tcp_closed()
    gone = "S1F1 came over connection 1, which is gone"
    with pytest.raises(ConnectionLostError, match=gone):
        engine.reply(primary, Message(1, 2))
    time.now = 100
    engine.tick()
    engine.tcp_opened()
    (request,) = [each for each in out(engine) if isinstance(each, bytes)]
    engine.receive(encode(control_frame(SELECT_RSP, int.from_bytes(request[10:14]))))
    with pytest.raises(ConnectionLostError, match=gone):
        engine.reply(primary, Message(1, 2))


def test_a_passive_engine_that_has_ended_stays_closed() -> None:
    engine = Engine(
        PASSIVE_LINK, Settings(), clock=lambda: 0.0, random=Random(1), peer=lambda _: "host"
    )
    engine.tcp_accepted()
    engine.tcp_closed()
    assert events.Closed(0.0, 1) in out(engine)
    with pytest.raises(ConnectionLostError, match="the peer closed TCP"):
        engine.send(Message(6, 11))

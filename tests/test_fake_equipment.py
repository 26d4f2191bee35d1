"""The fake equipment does what it says: every behaviour, against the real client on loopback.

Nothing sleeps here to wait for a state, and no time is measured: what must not come in time is held
back for an hour, and the timer that ends the waiting is a short one.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    AbortedError,
    ConnectError,
    ConnectionLostError,
    HsmsConnection,
    HsmsError,
    HsmsLink,
    LocalProtocolError,
    Message,
    RemoteProtocolError,
    ReplyTimeoutError,
    SelectRefusedError,
    Settings,
    SettingsError,
    StreamNineError,
    open_hsms,
    open_link,
)
from hsms_engine.answers import AnswerBook
from hsms_engine.driver.tcp import connect_tcp, listen_tcp
from hsms_engine.fake import BehaviourError, Behaviours, FakeEquipment, serve_fake
from hsms_engine.fake.behaviours import KNOWN
from hsms_engine.fake.listener import FakeListener
from hsms_engine.fake.stream import GARBAGE, FakeStream
from hsms_engine.messages import S1F1, S1F2, S1F13, S5F1, S5F2
from hsms_engine.sml import parse_pattern
from tests.support.leaks import leak_check, no_task_left
from tests.support.network import direct
from tests.support.patience import PATIENCE
from tests.support.raw_peer import (
    LINKTEST_RSP,
    SEPARATE_REQ,
    RawPeer,
    data,
    linktest_req,
    raw,
    select_req,
    separate_req,
)

__all__ = ["leak_check", "no_task_left"]

HOST = "127.0.0.1"
# A timer that is meant to expire, and one that must not, in seconds.
SHORT = 0.05
NEVER = 3600.0

DRAIN_BODY = b"\x23\x0f\x42\x40" + bytes(1_000_000)


@asynccontextmanager
async def fake(*behaviours: str, **options: Any) -> AsyncIterator[FakeEquipment]:
    """A fake equipment, for as long as the block runs."""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(serve_fake, behaviours=behaviours, **options)
            equipment = await nursery.start(serve)
            yield equipment
            await equipment.aclose()


def dial(equipment: FakeEquipment, **settings: Any) -> Any:
    """A client of it, with ``settings`` that may be short."""
    chosen = Settings(allow_short_timers=True, linktest_interval=None, **settings)
    return open_hsms(HOST, equipment.port, chosen)


def dial_link(equipment: FakeEquipment) -> Any:
    """A client whose timers can be made short once it is selected."""
    settings = Settings(port=equipment.port, allow_short_timers=True, linktest_interval=None)
    return open_link(settings)


async def lose_reply(link: HsmsLink) -> None:
    """Send S1F1, whose reply does not come."""
    link.configure(t3=SHORT)
    with pytest.raises(ReplyTimeoutError):
        await link.request(S1F1())
    link.configure(t3=Settings().t3)


async def raw_peer(equipment: FakeEquipment) -> RawPeer:
    return RawPeer(await connect_tcp(HOST, equipment.port))


async def is_answered(connection: HsmsConnection | HsmsLink) -> bool:
    return (await connection.request(S1F1())).name == "S1F2"


# Answering


@pytest.mark.parametrize(
    ("request_text", "reply_text"),
    [
        ("S1F1 W", "S1F2 <L _ _>"),
        ("S1F3 W <L <U4 1> <U4 2>>", "S1F4 <L <L [0]> <L [0]>>"),
        ("S1F13 W <L [0]>", "S1F14 <L <B 0> <L _ _>>"),
        ("S1F17 W", "S1F18 <B 2>"),
        ("S2F13 W <L <U4 1>>", "S2F14 <L <L [0]>>"),
        ("S2F15 W <L <L <U4 1> <U4 2>>>", "S2F16 <B 1>"),
        ("S2F17 W", "S2F18 <A _>"),
        ("S2F25 W <B 1 2 3>", "S2F26 <B 1 2 3>"),
        ('S2F31 W <A "2000010100000000">', "S2F32 <B 0>"),
        ("S2F33 W <L <U4 1> <L>>", "S2F34 <B 0>"),
        ("S2F35 W <L <U4 1> <L>>", "S2F36 <B 0>"),
        ("S2F37 W <L <BOOLEAN T> <L>>", "S2F38 <B 0>"),
        ('S2F41 W <L <A "STOP"> <L>>', "S2F42 <L <B 2> _>"),
        ("S5F3 W <L <B 0x80> <U4 1>>", "S5F4 <B 1>"),
    ],
)
async def test_it_is_the_shipped_tool(request_text: str, reply_text: str) -> None:
    async with fake() as equipment, dial(equipment) as connection:
        reply = await connection.request(Message.parse(request_text))
    assert parse_pattern(reply_text).difference(reply) is None


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize(
    ("stream", "function", "report"), [(64, 1, 3), (64, 255, 3), (1, 101, 5), (5, 101, 5)]
)
async def test_it_reports_a_primary_that_it_does_not_know(
    stream: int, function: int, report: int, wait: bool
) -> None:
    request = Message(stream, function, wait, ["any"])
    async with fake() as equipment, dial(equipment) as connection:
        if wait:
            with pytest.raises(StreamNineError) as caught:
                await connection.request(request)
            assert caught.value.function == report
        else:
            await connection.send(request)
        told = await anext(connection)
        assert (told.stream, told.function, told.wait) == (9, report, False)
        byte2 = stream | 0x80 if wait else stream
        assert told.body[2:8] == bytes((0, 0, byte2, function, 0, 0))
        assert await is_answered(connection)


async def test_no_report_is_reported() -> None:
    async with fake() as equipment, dial(equipment) as connection:
        await connection.send(Message(9, 5))
        assert await is_answered(connection)
        assert [each.name for each in equipment.sent] == ["S1F2"]


async def test_it_echoes_what_it_does_not_know_where_that_is_asked_for() -> None:
    request = Message(64, 1, True, ["as", "it came"])
    async with fake(unknown="echo") as equipment, dial(equipment) as connection:
        await connection.send(Message(64, 3))
        assert await connection.request(request) == Message(64, 2, item=["as", "it came"])
        with pytest.raises(AbortedError):
            await connection.request(Message(64, 255, True))
        assert await is_answered(connection)


async def test_what_may_become_of_the_unknown_is_told() -> None:
    with pytest.raises(ValueError, match="unknown='eco': did you mean 'echo'"):
        await serve_fake(unknown="eco")  # type: ignore[arg-type]


async def test_it_takes_a_primary_without_w_and_says_nothing() -> None:
    async with fake("answer-everything") as equipment, dial(equipment) as connection:
        await connection.send(Message(10, 3, item=[b"\0", "hello"]))
        assert await is_answered(connection)
        assert [each.name for each in equipment.received] == ["S10F3", "S1F1"]
        assert (equipment.counts["replied"], equipment.counts["not replied"]) == (1, 0)


async def test_answers_win_over_its_model() -> None:
    book = AnswerBook.parse("S1F2 <L <A 'mine'> <A '1'>> .")
    async with fake(answers=book) as equipment, dial(equipment) as connection:
        assert await connection.request(S1F1()) == S1F2("mine", "1")
        assert (await connection.request(S1F13())).name == "S1F14"
        equipment.answers |= AnswerBook.parse("S1F2 .")
        assert await connection.request(S1F1()) == Message(1, 2)


async def test_a_function_is_asked_first() -> None:
    asked: list[str] = []

    def answer(message: Message) -> Message | None:
        asked.append(message.name)
        return S1F2("mine", "1") if message == S1F1() else None

    dropping = fake("drop-replies=4", answer=answer, unknown="echo")
    async with dropping as equipment, dial(equipment) as connection:
        assert await connection.request(S1F1()) == S1F2("mine", "1")
        assert (await connection.request(S1F13())).name == "S1F14"
        assert await connection.request(Message(64, 1, True, "echo")) == Message(64, 2, item="echo")
        # It wants no reply.
        await connection.send(Message(6, 3))
        # It acts, and its reply is dropped.
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.request, S1F1())
                await equipment.until(lambda: equipment.counts["dropped"] == 1)
                scope.cancel()
        equipment.answer = None
        assert (await connection.request(S1F1())).item != S1F2("mine", "1").item
    assert asked == ["S1F1", "S1F13", "S64F1", "S1F1"]


async def test_an_async_function_that_waits_holds_up_no_other_reply() -> None:
    go_on = trio.Event()

    async def answer(message: Message) -> Message | None:
        if message == S1F1():
            await go_on.wait()
        return None

    async with fake(answer=answer) as equipment, dial(equipment) as connection:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.request, S1F1())
            await equipment.until(lambda: equipment.counts["received"] == 1)
            await connection.request(S1F13())
            assert equipment.counts["replied"] == 1
            go_on.set()
        assert equipment.counts["replied"] == 2


async def test_any_function_may_give_what_is_awaited() -> None:
    async def later() -> Message:
        await trio.lowlevel.checkpoint()
        return S1F2("later", "1")

    async with fake(answer=lambda _: later()) as equipment, dial(equipment) as connection:
        assert await connection.request(S1F1()) == S1F2("later", "1")


class EndsTest(BaseException):
    """As pytest's own."""


@pytest.mark.parametrize(
    ("gives", "why"),
    [
        (ValueError("odd"), "ValueError: odd"),
        (EndsTest("not so"), "EndsTest: not so"),
        ("S1F2", "TypeError: the answer to S1F1 is S1F2, S1F0 or None, not 'S1F2'"),
        (S1F13(), "TypeError: the answer to S1F1 is S1F2, S1F0 or None, not S1F13"),
        (Message(1, 4), "TypeError: the answer to S1F1 is S1F2, S1F0 or None, not S1F4"),
        (Message(2, 2), "TypeError: the answer to S1F1 is S1F2, S1F0 or None, not S2F2"),
    ],
)
async def test_a_function_that_fails_is_told_and_aborts_that_request(
    gives: object, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []

    def answer(_: Message) -> Any:
        if isinstance(gives, BaseException):
            # Anew: it would keep the frames of its first raise.
            raise type(gives)(*gives.args)
        return gives

    def report(event: str, details: Mapping[str, object]) -> None:
        if event == "answer failed":
            told.append((details["message"], details["why"]))

    async with fake(answer=answer, report=report) as equipment, dial(equipment) as connection:
        for _ in range(2):
            with pytest.raises(AbortedError):
                await connection.request(S1F1())
        assert told == [("S1F1 W", why)] * 2
        # With the traceback.
        assert caplog.text.count("in respond") == 2
        assert why in caplog.text.replace("test_fake_equipment.", "")
        equipment.answer = lambda _: Message(1, 0)
        with pytest.raises(AbortedError):
            await connection.request(S1F1())
        assert len(told) == 2


async def test_a_function_that_still_waits_ends_with_its_equipment() -> None:
    async def answer(_: Message) -> None:
        await trio.sleep_forever()

    async with fake(answer=answer) as equipment, dial(equipment) as connection:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.request, S1F1())
            await equipment.until(lambda: equipment.counts["received"] == 1)
            nursery.cancel_scope.cancel()
        await equipment.kill()
        assert equipment.counts["answer failed"] == 0


async def test_a_message_that_nobody_looks_at_is_not_written_as_sml(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []
    told: list[Mapping[str, object]] = []

    def sml(message: Message, _encoding: str | None) -> str:
        written.append(message.name)
        return message.name

    monkeypatch.setattr("hsms_engine.fake.details._sml", sml)

    def report(event: str, details: Mapping[str, object]) -> None:
        if event == "received":
            told.append(details)

    async with fake(report=report) as equipment, dial(equipment) as connection:
        await connection.request(S1F1())
    (details,) = told
    assert (written, "message" in details, len(details)) == ([], True, 4)
    assert [*details] == ["peer", "message", "bytes", "sml"]
    # Once, however often it is looked at.
    assert [details["sml"], dict(details)["sml"]] == ["S1F1", "S1F1"]
    assert len(written) == 1


@pytest.mark.parametrize(
    ("message", "sml"),
    [
        (S1F1(), "S1F1 W ."),
        (Message(64, 3, item="a\x1b[0m"), 'S64F3\n<A "a" 0x1B "[0m"> .'),
        (Message(64, 3, body=b"\xff"), "// S64F3: a body of 1 bytes that is no SECS-II: "),
        (Message(64, 3, item=bytes(4_096)), "// S64F3: a body of 4099 bytes"),
    ],
)
async def test_what_it_has_received_is_reported_as_sml_and_not_judged(
    message: Message, sml: str
) -> None:
    told: list[object] = []

    def report(event: str, details: Mapping[str, object]) -> None:
        if event == "received":
            told.append(details["sml"])

    async with fake(report=report) as equipment, dial(equipment) as connection:
        await (connection.request if message.wait else connection.send)(message)
        # No S9F7 comes before the reply.
        await connection.request(S1F1())
        assert str(told[0]).startswith(sml)
        (at_it,) = equipment.connections
        assert at_it.statistics().counts["unreadable_bodies"] == 0


async def test_it_sends_alarms_and_events_while_it_answers() -> None:
    names: set[str] = set()
    async with fake(alarms=0.001, events=0.001) as equipment, dial(equipment) as connection:
        async for primary in connection:
            names.add(primary.name)
            await connection.reply(primary, Message(primary.stream, primary.function + 1))
            assert await is_answered(connection)
            if names == {"S5F1", "S6F11"}:
                break
        await equipment.until(lambda: equipment.counts["received"] >= 4)


async def test_an_alarm_nobody_acknowledges_is_told_and_the_next_one_comes() -> None:
    settings = Settings(port=0, t3=SHORT, allow_short_timers=True)
    async with fake(settings=settings, alarms=0.001) as equipment, dial(equipment) as connection:
        assert (await anext(connection)).name == "S5F1"
        await equipment.until(lambda: equipment.counts["not acknowledged"] >= 1)
        # The equipment reports its T3 with S9F9, as an equipment does.
        while (told := await anext(connection)).name in ("S5F1", "S6F11"):
            pass
        assert told.name == "S9F9"


async def test_no_alarm_is_sent_between_deselect_and_select() -> None:
    async with fake(alarms=0.001) as equipment, dial(equipment) as connection:
        await connection.deselect()
        await equipment.until(lambda: equipment.counts["not sent"] >= 2)
        assert connection.statistics().counts["rejects_sent"] == 0
        await connection.select()
        assert (await anext(connection)).name == "S5F1"


async def test_a_primary_can_be_sent_by_hand() -> None:
    async with fake() as equipment, dial(equipment) as connection:
        other = await raw_peer(equipment)
        await other.ping()
        await equipment.send(Message(6, 3))
        assert (await anext(connection)).name == "S6F3"
        await other.close()


async def test_a_request_goes_to_the_one_selected_connection() -> None:
    alarm = S5F1(0x81, 1, "hot")
    async with fake(max_sessions=2) as equipment:
        at = f"the fake equipment on {HOST}:{equipment.port}"
        peer = await raw_peer(equipment)
        await peer.ping()
        with pytest.raises(LocalProtocolError) as none:
            await equipment.request(alarm)
        assert str(none.value) == f"{at}: S5F1 needs one selected connection, and none is selected"
        async with dial(equipment) as connection:

            async def acknowledge() -> None:
                await connection.reply(await anext(connection), S5F2(0))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(acknowledge)
                assert await equipment.request(alarm) == S5F2(0)
            with pytest.raises(LocalProtocolError, match=r"S6F3 without W: .* use send\(\)"):
                await equipment.request(Message(6, 3))
            await peer.select()
            others = [each.peer for each in equipment.connections]
            with pytest.raises(LocalProtocolError) as several:
                await equipment.request(alarm)
            assert len(others) == 2
            assert str(several.value) == (
                f"{at}: S5F1 needs one selected connection, and {', '.join(others)} are selected"
            )
        await peer.close()


async def test_settings_by_name_change_those_that_are_given() -> None:
    async with fake(session_id=7) as equipment:
        assert equipment.settings.session_id == 7
        # Those of its own: the system chooses the port.
        assert equipment.settings.port == 0
        assert equipment.port != 0
    async with fake(settings=Settings(port=0, t3=7, t6=7), t3=9) as equipment:
        assert (equipment.settings.t3, equipment.settings.t6) == (9, 7)
    with pytest.raises(SettingsError, match="unknown setting behaviour; there are "):
        await serve_fake(behaviour="drop-replies")  # type: ignore[call-arg]  # what the test is of


@pytest.mark.parametrize("emission", ["alarms", "events"])
@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e6, float("nan")])
async def test_a_period_out_of_range_is_refused(emission: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=rf"{emission}=.* is not in 0\.001\.\.86400 s"):
        await serve_fake(**{emission: seconds})  # type: ignore[arg-type]  # one of two floats


# Before it is selected


async def test_refuse_tcp_refuses_and_listens_again_on_the_same_port() -> None:
    async with fake("refuse-tcp") as equipment:
        with pytest.raises(ConnectError, match="refused") as caught:
            async with dial(equipment):
                pass
        assert caught.value.phase == "tcp connect"
        assert equipment.counts["accepted"] == 0
        await equipment.behave()
        async with dial(equipment) as connection:
            await equipment.behave("refuse-tcp")
            await equipment.behave("refuse-tcp", "drop-replies=2")
            # Who is connected stays so.
            assert await is_answered(connection)
            with pytest.raises(ConnectError, match="refused"):
                async with dial(equipment):
                    pass


async def test_refuse_tcp_ends_with_the_program() -> None:
    async with fake("refuse-tcp") as equipment:
        assert equipment.connections == []


async def test_accept_and_close_closes_during_select() -> None:
    async with fake("accept-and-close") as equipment:
        with pytest.raises(ConnectError) as caught:
            async with dial(equipment):
                pass
        assert caught.value.phase == "select"
        assert (equipment.counts["accepted"], equipment.counts["selected"]) == (1, 0)


async def test_accept_and_say_nothing_lets_t6_expire_and_reads_on() -> None:
    async with fake("accept-and-say-nothing") as equipment:
        with pytest.raises(ConnectError, match="T6"):
            async with dial(equipment, t6=SHORT):
                pass
        await equipment.until(lambda: equipment.counts["let go"] == 1)
        assert (equipment.counts["accepted"], equipment.counts["selected"]) == (1, 0)


async def test_silent_connections_are_bounded() -> None:
    settings = Settings(port=0, max_connections=1)
    async with fake("accept-and-say-nothing", settings=settings) as equipment:
        held, surplus = await raw_peer(equipment), await raw_peer(equipment)
        await surplus.end()
        await held.send(b"still read")
        for peer in (held, surplus):
            await peer.close()


async def test_delay_accept_keeps_select_waiting() -> None:
    async with fake(f"delay-accept={NEVER}") as equipment:
        with pytest.raises(ConnectError, match="T6"):
            async with dial(equipment, t6=SHORT):
                pass
        assert (equipment.counts["accepted"], equipment.counts["selected"]) == (1, 0)
        await equipment.kill()
        await equipment.behave("delay-accept=0.001")
        await equipment.restart()
        async with dial(equipment) as connection:
            assert await is_answered(connection)


async def test_delay_select_keeps_only_select_waiting() -> None:
    async with fake(f"delay-select={NEVER}") as equipment:
        with pytest.raises(ConnectError, match="T6"):
            async with dial(equipment, t6=SHORT):
                pass
        # It has selected for its part; only its answer is late.
        assert equipment.counts["selected"] == 1
        peer = await raw_peer(equipment)
        await peer.send(select_req(1))
        await equipment.until(lambda: equipment.counts["selected"] == 2)
        # What is not held back has gone before the answer to someone who asks later.
        other = await raw_peer(equipment)
        await other.ping()
        await equipment.kill()
        await peer.end()
        for each in (peer, other):
            await each.close()
        await equipment.restart()
        await equipment.behave("delay-select=0.001")
        async with dial(equipment) as connection:
            assert await is_answered(connection)


@pytest.mark.parametrize("status", [1, 2, 3, 255])
async def test_refuse_select_answers_with_that_status(status: int) -> None:
    async with fake(f"refuse-select={status}") as equipment:
        with pytest.raises(SelectRefusedError) as caught:
            async with dial(equipment):
                pass
        assert caught.value.status == status
        assert (equipment.counts["select refused"], equipment.counts["selected"]) == (1, 0)


async def test_refuse_select_leaves_it_not_selected() -> None:
    async with fake("refuse-select") as equipment:
        peer = await raw_peer(equipment)
        await peer.send(select_req(1) + linktest_req(2) + data(1, 1, 3, wait=True))
        await peer.expect(raw(2, 1, byte3=2), raw(LINKTEST_RSP, 2), raw(7, 3, byte2=0, byte3=4))
        # It still closes on what is no HSMS.
        await peer.send(b"GET / HTTP/1.1\r\n\r\n")
        await peer.end()
        await peer.close()


async def test_refuse_select_can_be_taken_back_on_a_connection() -> None:
    async with fake("refuse-select") as equipment:
        peer = await raw_peer(equipment)
        await peer.send(select_req(1))
        await peer.expect(raw(2, 1, byte3=2))
        await equipment.behave()
        await peer.select(2)
        await equipment.until(lambda: equipment.counts["selected"] == 1)
        await peer.close()


# While it is selected


async def test_delay_replies_delays_each_for_itself() -> None:
    async with (
        fake(f"delay-replies={NEVER}") as equipment,
        dial(equipment) as connection,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(connection.request, S1F13())
        await equipment.until(lambda: equipment.counts["received"] == 1)
        await equipment.behave("delay-replies=0.001")
        assert await is_answered(connection)
        assert connection.statistics().open_transactions == 1
        nursery.cancel_scope.cancel()


async def test_a_reply_to_a_connection_that_has_gone_is_told() -> None:
    async with fake() as equipment:
        peer = await raw_peer(equipment)
        await peer.select()
        await peer.send(data(1, 1, 2, wait=True) + separate_req(3))
        await equipment.until(lambda: equipment.counts["not replied"] == 1)
        await peer.end()
        await peer.close()


async def test_a_reply_that_is_delayed_ends_with_its_connection_and_that_is_told() -> None:
    async with fake(f"delay-replies={NEVER}") as equipment:
        async with dial(equipment, t3=SHORT) as connection:
            with pytest.raises(ReplyTimeoutError):
                await connection.request(S1F1())
        await equipment.until(lambda: equipment.counts["ended"] == 1)
        assert (equipment.counts["replied"], equipment.counts["not replied"]) == (0, 1)


async def test_drop_replies_drops_every_nth() -> None:
    async with fake("drop-replies=3") as equipment, dial_link(equipment) as link:
        await link.wait_selected()
        for _ in range(2):
            assert await is_answered(link)
            assert await is_answered(link)
            await lose_reply(link)
        assert equipment.counts["dropped"] == 2


async def test_wrong_system_bytes_make_a_reply_nobodys() -> None:
    async with fake("wrong-system-bytes") as equipment, dial(equipment, t3=SHORT) as connection:
        with pytest.raises(ReplyTimeoutError):
            await connection.request(S1F1())
        assert connection.statistics().counts["unexpected_secondaries"] == 1
        await connection.linktest()


async def test_wrong_system_bytes_of_select_are_no_select() -> None:
    async with fake("wrong-system-bytes=select") as equipment:
        with pytest.raises(ConnectError, match="T6"):
            async with dial(equipment, t6=SHORT):
                pass
        assert equipment.counts["selected"] == 1


async def test_wrong_system_bytes_wrap() -> None:
    async with fake("wrong-system-bytes=linktest") as equipment:
        peer = await raw_peer(equipment)
        await peer.send(linktest_req(0xFFFF_FFFF))
        await peer.expect(raw(LINKTEST_RSP, 0))
        await peer.close()


async def test_send_garbage_in_place_of_a_reply() -> None:
    async with fake("send-garbage") as equipment, dial(equipment) as connection:
        with pytest.raises(ConnectionLostError, match="may not speak HSMS"):
            await connection.request(S1F1())
        with pytest.raises(RemoteProtocolError, match="may not speak HSMS"):
            await anext(connection)


@pytest.mark.parametrize("when", ["select", "accept"])
async def test_send_garbage_before_it_is_selected(when: str) -> None:
    async with fake(f"send-garbage={when}") as equipment:
        with pytest.raises(ConnectError, match="may not speak HSMS"):
            async with dial(equipment):
                pass


async def test_cut_mid_frame_ends_tcp_inside_a_reply() -> None:
    async with fake("cut-mid-frame", unknown="echo") as equipment:
        peer = await raw_peer(equipment)
        await peer.select()
        await peer.send(data(64, 1, 7, wait=True))
        await peer.expect(data(64, 2, 7)[:7])
        await peer.end()
        await peer.close()
        async with dial(equipment) as connection:
            with pytest.raises(ConnectionLostError, match="closed TCP"):
                await connection.request(S1F1())


async def test_cut_mid_frame_ends_tcp_inside_select() -> None:
    async with fake("cut-mid-frame=select") as equipment:
        with pytest.raises(ConnectError, match="closed TCP"):
            async with dial(equipment):
                pass


@pytest.mark.parametrize("when", ["reply", "select"])
async def test_stall_mid_frame_lets_t8_expire(when: str) -> None:
    async with fake(f"stall-mid-frame={when}") as equipment:
        with pytest.raises((ConnectError, ConnectionLostError), match="T8"):
            async with dial(equipment, t8=SHORT) as connection:
                await connection.request(S1F1())
        await equipment.until(lambda: equipment.counts["let go"] == 1)


@pytest.mark.parametrize("more", [(), ("delay-replies=0.001",)])
async def test_separate_after_so_many_primaries(more: tuple[str, ...]) -> None:
    async with fake("separate-after=2", *more) as equipment, dial(equipment) as connection:
        assert await is_answered(connection)
        assert await is_answered(connection)
        # Ended by a Separate, the iteration is over without an error.
        assert [primary async for primary in connection] == []


async def test_stop_reading_fills_the_way_to_it() -> None:
    async def send_for_ever(connection: HsmsConnection) -> None:
        while True:
            await connection.send(Message(6, 3, body=DRAIN_BODY))

    async with fake("stop-reading") as equipment:
        async with dial(equipment, write_timeout=SHORT) as connection:
            with pytest.raises(ConnectionLostError, match="write_timeout"):
                await send_for_ever(connection)
        assert (equipment.counts["fell silent"], equipment.counts["received"]) == (1, 0)


async def test_deaf_is_found_out_by_linktest() -> None:
    async with fake("deaf-after") as equipment, dial_link(equipment) as link:
        await link.wait_selected()
        link.configure(t6=SHORT)
        with pytest.raises(HsmsError, match="linktest"):
            await link.linktest()
        await equipment.until(lambda: equipment.counts["let go"] == 1)


async def test_a_connection_that_is_up_goes_deaf_when_told_and_swallows_what_comes() -> None:
    async with fake() as equipment, dial_link(equipment) as link:
        await link.wait_selected()
        assert await is_answered(link)
        await equipment.behave(f"deaf-after={NEVER}")
        assert await is_answered(link)
        await equipment.behave("deaf-after=0", f"stop-reading={NEVER}")
        await lose_reply(link)
        assert equipment.counts["received"] == 2


async def test_deafness_taken_back_in_time_is_none() -> None:
    async with fake() as equipment, dial(equipment) as connection:
        (stream,) = equipment.streams
        equipment.behaviours = Behaviours(deaf_after=0.0)
        stream.reconsider()
        equipment.behaviours = Behaviours()
        await wait_all_tasks_blocked()
        assert await is_answered(connection)


# Bytes


async def test_a_reply_larger_than_the_buffers_is_whole() -> None:
    body = DRAIN_BODY * 8
    async with fake(unknown="echo") as equipment, dial(equipment) as connection:
        reply = await connection.request(Message(64, 1, True, body=body))
        assert reply.body == body
        await equipment.behave("wrong-system-bytes=linktest")
        reply = await connection.request(Message(64, 1, True, body=body))
        assert reply.body == body


async def test_behaviours_that_change_in_mid_frame_leave_that_frame_alone() -> None:
    async with fake(unknown="echo") as equipment:
        peer = await raw_peer(equipment)
        await peer.select()
        await peer.send(data(64, 1, 7, wait=True, body=DRAIN_BODY * 8))
        await equipment.until(lambda: equipment.counts["replied"] == 1)
        # The kernel does not hold all of it, and nothing of it has been read yet.
        await equipment.behave("wrong-system-bytes")
        await peer.send(data(64, 1, 8, wait=True))
        await peer.expect(data(64, 2, 7, body=DRAIN_BODY * 8), data(64, 2, 9))
        await peer.close()


async def test_what_is_on_its_way_when_it_goes_deaf_is_swallowed() -> None:
    async with fake(unknown="echo") as equipment:
        peer = await raw_peer(equipment)
        await peer.select()
        await peer.send(data(64, 1, 7, wait=True, body=DRAIN_BODY * 8))
        await equipment.until(lambda: equipment.counts["replied"] == 1)
        await equipment.behave("deaf-after")
        await equipment.until(lambda: equipment.counts["fell silent"] == 1)
        await peer.close()


async def test_its_stream_is_a_trio_stream_like_any_other() -> None:
    async with fake() as equipment:
        peer = await raw_peer(equipment)
        await peer.ping()
        (stream,) = equipment.streams
        await stream.wait_send_all_might_not_block()
        await stream.send_all(linktest_req(1) + linktest_req(2))
        await peer.expect(linktest_req(1), linktest_req(2))
        await peer.close()


async def test_silent_it_swallows_whatever_the_engine_writes() -> None:
    async with fake() as equipment:
        peer = await raw_peer(equipment)
        await peer.select()
        (stream,) = equipment.streams
        await equipment.behave("deaf-after")
        # Told to be deaf, and its reader has not had the time to notice.
        await equipment.send(Message(6, 3))
        await equipment.until(lambda: equipment.counts["fell silent"] == 1)
        await stream.send_all(linktest_req(1))
        await equipment.kill()
        await peer.end()
        await peer.close()


async def test_its_listener_says_where_it_listens() -> None:
    async with fake() as equipment:
        assert FakeListener(equipment, "::1", 5000).address == "[::1]:5000"


# Together, and over time


async def test_behaviours_combine() -> None:
    behaviours = ("delay-replies=0.001", "drop-replies=2", "wrong-system-bytes=linktest")
    async with fake(*behaviours) as equipment, dial_link(equipment) as link:
        await link.wait_selected()
        assert await is_answered(link)
        await lose_reply(link)
        # T6 excuses a linktest when another frame has come meanwhile, as the wrong one has.
        link.configure(t6=1.0)
        await link.linktest()
        assert link.statistics().counts["rejects_sent"] == 1


async def test_it_is_killed_and_comes_back_on_the_same_port() -> None:
    async with fake() as equipment:
        port = equipment.port
        link_settings = Settings(port=port, t5=SHORT, allow_short_timers=True)
        async with open_link(link_settings) as link:
            await link.wait_selected()
            await equipment.kill()
            with pytest.raises(ConnectError):
                await link.connect()
            assert equipment.connections == []
            await equipment.restart()
            await link.wait_selected()
            assert (await link.request(S1F1())).name == "S1F2"
        assert equipment.port == port
        assert equipment.counts["listening"] == 2
        await equipment.kill()


async def test_killed_it_says_no_separate_and_lets_go_of_everyone() -> None:
    async with fake("accept-and-say-nothing") as equipment:
        silent = await raw_peer(equipment)
        await equipment.until(lambda: equipment.counts["accepted"] == 1)
        await equipment.behave("stop-reading")
        stuck = await raw_peer(equipment)
        await stuck.select()
        await equipment.until(lambda: equipment.counts["fell silent"] == 1)
        await equipment.behave()
        selected = await raw_peer(equipment)
        await selected.select()
        await equipment.kill()
        for peer in (silent, stuck, selected):
            await peer.end()
            await peer.close()


async def test_what_happens_is_counted_by_name_and_nothing_else_is() -> None:
    async with fake() as equipment:
        assert equipment.counts == {"listening": 1}
        async with dial(equipment) as connection:
            await is_answered(connection)
            await connection.send(Message(10, 3, item=[b"\0", "hello"]))
        await equipment.until(lambda: "ended" in equipment.counts)
        talked = {"accepted": 1, "selected": 1, "received": 2, "replied": 1, "ended": 1}
        assert equipment.counts == {"listening": 1, **talked}

        equipment.counts.clear()
        await equipment.behave("refuse-select=2")
        with pytest.raises(SelectRefusedError):
            async with dial(equipment):
                pass
        await equipment.until(lambda: "never selected" in equipment.counts)
        refused = {"accepted": 1, "select refused": 1, "never selected": 1}
        assert equipment.counts == {"behaves": 1, **refused}

        equipment.counts.clear()
        await equipment.kill()
        await equipment.restart()
        assert equipment.counts == {"killed": 1, "listening": 1}


async def test_a_peer_that_is_turned_away_is_told_with_the_reason() -> None:
    told: list[tuple[str, object]] = []
    settings = Settings(port=0, allowed_networks=("10.0.0.0/8",))
    report = partial(_remember, told)
    async with fake(settings=settings, report=report) as equipment:
        with pytest.raises(ConnectError):
            async with dial(equipment):
                pass
        await equipment.until(lambda: "turned away" in equipment.counts)
    assert ("turned away", "its address is in none of the allowed_networks") in told


def _remember(told: list[tuple[str, object]], event: str, details: Mapping[str, object]) -> None:
    told.append((event, details.get("why")))


CONTROLS: dict[str, Callable[[FakeEquipment], Awaitable[None]]] = {
    "behave": lambda equipment: equipment.behave("drop-replies"),
    "refuse": lambda equipment: equipment.behave("refuse-tcp"),
    "kill": FakeEquipment.kill,
    "restart": FakeEquipment.restart,
    "close": FakeEquipment.aclose,
}
BEFORE: dict[str, Callable[[FakeEquipment], Awaitable[None]]] = {
    "listening": lambda equipment: equipment.behave(),
    "refusing": lambda equipment: equipment.behave("refuse-tcp"),
    "killed": FakeEquipment.kill,
}


async def outcome(control: str, equipment: FakeEquipment) -> None:
    """Make the call; only a restart may be refused."""
    if control == "restart":
        with suppress(LocalProtocolError):
            await equipment.restart()
    else:
        await CONTROLS[control](equipment)


@asynccontextmanager
async def may_close(before: str) -> AsyncIterator[FakeEquipment]:
    """An equipment with two peers, which must work in the end, unless it was closed."""
    # The peers do not close TCP when it separates.
    settings = Settings(port=0, linger=SHORT, allow_short_timers=True)
    async with fake(settings=settings) as equipment:
        peers = [await raw_peer(equipment) for _ in range(2)]
        await peers[0].select()
        await BEFORE[before](equipment)
        yield equipment
        if not equipment.closed.is_set():
            await equipment.kill()
            assert equipment.connections == []
            await equipment.behave()
            await equipment.restart()
            peer = await raw_peer(equipment)
            await peer.select()
            await peer.close()
        for each in peers:
            await each.close()


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("control", CONTROLS)
async def test_a_control_that_is_cancelled_leaves_an_equipment_that_works(
    control: str, before: str
) -> None:
    for turns in range(6):
        async with may_close(before) as equipment, trio.open_nursery() as nursery:
            nursery.start_soon(outcome, control, equipment)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("first", CONTROLS)
@pytest.mark.parametrize("second", CONTROLS)
async def test_two_controls_at_once_bear_each_other(first: str, second: str, before: str) -> None:
    for turns in range(4):
        async with may_close(before) as equipment, trio.open_nursery() as nursery:
            nursery.start_soon(outcome, first, equipment)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            nursery.start_soon(outcome, second, equipment)


async def test_a_restart_that_failed_or_was_cancelled_can_be_made_again() -> None:
    async with fake() as equipment:
        await equipment.kill()
        other = await listen_tcp(HOST, equipment.port)
        with pytest.raises(OSError, match="in use"):
            await equipment.restart()
        other.close()
        with trio.move_on_after(0):
            await equipment.restart()
        await equipment.restart()
        async with dial(equipment) as connection:
            assert await is_answered(connection)


async def test_a_close_that_is_cancelled_separates_and_ends_it_all_the_same() -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            equipment = await nursery.start(serve_fake)
            peer = await raw_peer(equipment)
            await peer.select()
            await equipment.until(lambda: equipment.counts["selected"] == 1)
            with trio.move_on_after(0):
                await equipment.aclose()
        await peer.control(SEPARATE_REQ)
        await peer.close()


async def test_what_was_cancelled_as_a_whole_is_closed() -> None:
    async with trio.open_nursery() as nursery:
        equipment = await nursery.start(serve_fake)
        nursery.cancel_scope.cancel()
    with pytest.raises(LocalProtocolError, match="is closed"):
        await equipment.restart()
    assert equipment.connections == []
    await equipment.behave("refuse-tcp")
    await equipment.behave()


async def test_a_listener_that_was_closed_opens_no_more() -> None:
    async with fake() as equipment:
        listener = FakeListener(equipment, HOST, 0)
        listener.close()
        await listener.open()
        assert listener.port == 0


async def test_a_restart_is_refused_unless_it_is_killed() -> None:
    async with fake() as equipment:
        with pytest.raises(LocalProtocolError, match="is listening already: kill it first"):
            await equipment.restart()
        await equipment.kill()
        await equipment.kill()
        assert equipment.counts["killed"] == 1
    with pytest.raises(LocalProtocolError, match="is closed"):
        await equipment.restart()
    await equipment.behave()
    await equipment.kill()


@pytest.mark.parametrize(
    ("control", "told"), [(FakeEquipment.kill, "killed"), (FakeEquipment.aclose, "closed")]
)
async def test_a_restart_during_which_it_is_killed_or_closed_says_so(
    control: Callable[[FakeEquipment], Awaitable[None]], told: str
) -> None:
    refused: list[str] = []

    async def restart(equipment: FakeEquipment) -> None:
        with pytest.raises(LocalProtocolError) as raised:
            await equipment.restart()
        refused.append(str(raised.value))

    async with fake() as equipment:
        await equipment.kill()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(restart, equipment)
            while equipment._run is None:
                await trio.lowlevel.checkpoint()
            # It has begun, and does not listen yet.
            await control(equipment)
        name = f"the fake equipment on {HOST}:{equipment.port}"
        assert refused == [f"{name} was {told} before it could listen"]


async def test_behaviours_that_cannot_be_had_change_nothing() -> None:
    async with fake("refuse-tcp", "drop-replies") as equipment:
        before = equipment.behaviours
        other = await listen_tcp(HOST, equipment.port)
        with pytest.raises(OSError, match="in use"):
            await equipment.behave("delay-replies=1")
        assert equipment.behaviours == before
        other.close()
        await equipment.behave()
        async with dial(equipment) as connection:
            assert await is_answered(connection)


@pytest.mark.parametrize(
    ("event", "behaviours"),
    [
        ("listening", ()),
        ("accepted", ()),
        ("selected", ()),
        ("received", ()),
        ("replied", ()),
        ("dropped", ("drop-replies",)),
        ("ended", ()),
        ("fell silent", ("stall-mid-frame",)),
        ("let go", ("stall-mid-frame",)),
        ("select refused", ("refuse-select",)),
    ],
)
async def test_a_report_that_raises_ends_it_and_leaves_nothing_open(
    event: str, behaviours: tuple[str, ...]
) -> None:
    class ReportError(Exception):
        pass

    def report(told: str, _: Mapping[str, object]) -> None:
        if told == event:
            raise ReportError

    with trio.fail_after(PATIENCE), suppress(OSError, trio.BrokenResourceError):
        try:
            async with trio.open_nursery() as nursery:
                serve = partial(serve_fake, behaviours=behaviours, report=report)
                equipment = await nursery.start(serve)
                peer = await raw_peer(equipment)
                try:
                    # Of two that come together, the second one finds that it is ending.
                    await peer.send(
                        select_req(1), *(data(1, 1, each, wait=True) for each in (2, 3))
                    )
                    if event == "ended":
                        await peer.send(separate_req(4))
                    if event == "let go":
                        await equipment.until(lambda: equipment.counts["fell silent"] > 0)
                        await peer.close()
                    await equipment.until(lambda: equipment.counts[event] > 0)
                finally:
                    await peer.close()
                await trio.sleep_forever()
        except* ReportError as errors:
            raised = errors
    assert raised.subgroup(ReportError) is not None


async def test_a_peer_that_has_gone_is_sent_no_garbage() -> None:
    async with fake("send-garbage=accept", "delay-accept=0.05") as equipment:
        peer = await connect_tcp(HOST, equipment.port)
        await equipment.until(lambda: equipment.counts["accepted"] == 1)
        # TCP is reset, not closed in order.
        peer._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        other = await raw_peer(equipment)
        assert await other.take(len(GARBAGE)) == GARBAGE
        await other.close()


async def test_closed_it_separates() -> None:
    async with fake() as equipment, dial(equipment) as connection:
        await equipment.aclose()
        assert [primary async for primary in connection] == []


async def test_the_end_of_the_client_while_an_alarm_is_open_is_the_end_of_that_connection() -> None:
    async with fake(alarms=0.001) as equipment:
        async with dial(equipment) as connection:
            assert (await anext(connection)).name == "S5F1"
        await equipment.until(lambda: equipment.counts["ended"] == 1)
        async with dial(equipment) as connection:
            await connection.reply(await anext(connection), S5F2())


# Names


async def test_every_behaviour_has_a_field_and_every_field_a_behaviour() -> None:
    names = {name.replace("-", "_") for name in KNOWN} - {"answer_everything"}
    assert names == set(Behaviours.__dataclass_fields__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("answer-everything", {}),
        ("refuse-tcp", {"refuse_tcp": True}),
        ("delay-accept=0", {"delay_accept": 0.0}),
        ("delay-select=0.5", {"delay_select": 0.5}),
        ("refuse-select", {"refuse_select": 2}),
        ("refuse-select=255", {"refuse_select": 255}),
        ("drop-replies", {"drop_replies": 1}),
        ("wrong-system-bytes", {"wrong_system_bytes": "reply"}),
        ("cut-mid-frame=select", {"cut_mid_frame": "select"}),
        ("stop-reading", {"stop_reading": 0.0}),
        ("deaf-after=3600", {"deaf_after": 3600.0}),
    ],
)
async def test_a_behaviour_is_read(text: str, expected: dict[str, Any]) -> None:
    assert Behaviours.parse([text]) == Behaviours(**expected)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["explode"], "unknown behaviour 'explode'; there are answer-everything, refuse-tcp, "),
        ([""], "unknown behaviour ''"),
        (["refuse-tcp=1"], "refuse-tcp takes no argument, not '1'"),
        (["delay-select"], "delay-select needs a number of seconds in 0..3600: "),
        (["delay-select=soon"], "delay-select=soon is not a number of seconds in 0..3600"),
        (["delay-select=-1"], "delay-select=-1 is not a number of seconds in 0..3600"),
        (["delay-select=nan"], "delay-select=nan is not a number of seconds in 0..3600"),
        (["delay-select=3601"], "delay-select=3601 is not a number of seconds in 0..3600"),
        (["refuse-select=0"], "refuse-select=0 is not a whole number in 1..255"),
        (["refuse-select=256"], "refuse-select=256 is not a whole number in 1..255"),
        (["refuse-select=two"], "refuse-select=two is not a whole number in 1..255"),
        (["drop-replies=" + "9" * 5000], "is not a whole number in 1..1000000"),
        (["separate-after"], "separate-after needs a whole number in 1..1000000: "),
        (["cut-mid-frame=accept"], "cut-mid-frame=accept is not one of reply|select"),
        (["deaf-after", "deaf-after=1"], "deaf-after is given twice"),
    ],
)
async def test_a_wrong_behaviour_is_refused_in_one_line(texts: list[str], message: str) -> None:
    with pytest.raises(BehaviourError) as caught:
        Behaviours.parse(texts)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    async with fake() as equipment:
        with pytest.raises(BehaviourError):
            await equipment.behave(*texts)


async def test_a_stalled_connection_that_nobody_reads_stays_open() -> None:
    async with fake() as equipment:
        ours, theirs = (direct(each) for each in socket.socketpair())
        stream = FakeStream(equipment, ours, "peer")
        stream._is_stalled = True
        stream.close()
        assert equipment.counts["fell silent"] == 1
        theirs.close()
        await equipment.until(lambda: equipment.counts["let go"] == 1)

"""What goes over the wire: the log ``hsms_engine.traffic``, ``on_message``, and what they cost."""

from __future__ import annotations

import dataclasses
import gc
import logging
import pickle
import sys
import weakref
from collections import Counter
from types import FrameType
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import HsmsConnection, Message, Traffic
from hsms_engine.protocol.context import Context
from hsms_engine.secs2 import U1, U4, A, B, L, encode
from hsms_engine.traffic import bodies
from hsms_engine.wire import Frame
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import (
    Switchboard,
    active_end,
    echo,
    link_end,
    nothing,
    passive_end,
    server_end,
)
from tests.support.raw_peer import (
    LINKTEST_REQ,
    RawPeer,
    data,
    deselect_rsp,
    linktest_req,
    linktest_rsp,
    raw,
    reject_req,
    select_req,
    separate_req,
)
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

TRAFFIC = "hsms_engine.traffic"
QUIET: dict[str, Any] = {"linktest_interval": None}
S1F1 = Message(1, 1, wait=True)
PASSED_OVER = [
    (data(6, 11, 9, session=3), "S6F11 session=3", 14, "foreign session id"),
    (data(1, 2, 9), "S1F2 session=0", 14, "answers no open request"),
    (raw(8, 9), "SType 8 session=65535", 14, "unknown SType"),
    (raw(0, 9, ptype=2), "PType 2 SType 0 session=65535", 14, "unknown PType"),
    (raw(5, 9, body=b"abc"), "Linktest.req session=65535", 17, "control message with a body"),
    (linktest_rsp(9), "Linktest.rsp session=65535", 14, "answers no open request"),
    (reject_req(9, 0, 4), "Reject.req 4 session=65535", 14, "rejects no open request"),
]
NO_SECS_II = (
    "memory peer 1 passive received S6F11 system=00000001 body: no SECS-II, at byte 0: read format "
    "code 0o77, expected one of SEMI E5's fifteen: ff ff ff"
)
NOT_SHOWN = (
    "memory peer 1 passive received S6F11 system=00000001 body: not shown, because a module cannot "
    "be imported: import of hsms_engine.traffic.bodies halted; None in sys.modules"
)
REMOVED = "memory peer 1 passive: a callback is removed, because it raised: <function "
NAMED = encode(L(A("tool"), U1(7)))


def line(direction: str, name: str, system: int, length: int = 14, more: str = "") -> str:
    """A line of the end that dials."""
    session = 0 if name.startswith("S") and name[1].isdigit() else 65_535
    where = f"session={session} system={system:08X} length={length}"
    return f"tool:5000 active {direction} {name} {where}{more}"


def over(name: str, length: int, why: str) -> str:
    """A line of the end that listens, about what was passed over."""
    where = f"system=00000009 length={length}"
    return f"memory peer 1 passive received {name} {where}, passed over: {why}"


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    """The new lines of this level."""
    found = [
        each.getMessage()
        for each in caplog.records
        if each.name == TRAFFIC and each.levelno == level
    ]
    caplog.clear()
    return found


async def ask(
    connection: HsmsConnection, peer: RawPeer, message: Message, answer: bytes, after: float = 0
) -> Message:
    """A request that the peer answers with this body, ``after`` seconds later."""
    replies: list[Message] = []

    async def request() -> None:
        replies.append(await connection.request(message))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(request)
        got = await peer.frame()
        await trio.sleep(after)
        await peer.send(data(message.stream, message.function + 1, got.system, body=answer))
    return replies[0]


# Lines


async def test_each_message_is_one_line_in_both_directions(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, TRAFFIC)
    async with active_end(**QUIET) as (connection, peer):
        selecting = lines(caplog)
        system = int(selecting[0].partition("system=")[2][:8], 16)
        assert selecting == [
            line("sent", "Select.req", system),
            line("received", "Select.rsp 0", system, more=" 0.0 ms"),
        ]

        async def request() -> None:
            await connection.request(Message(1, 13, wait=True, item=L()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(request)
            got = await peer.frame()
            await trio.sleep(0.25)
            await peer.send(data(1, 14, got.system, body=NAMED))
        assert lines(caplog) == [
            line("sent", "S1F13 W", got.system, 16),
            line("received", "S1F14", got.system, 25, " 250.0 ms"),
        ]

        await peer.send(data(6, 11, 0xABC, wait=True))
        primary = await anext(aiter(connection))
        await trio.sleep(1.5)
        await connection.reply(primary, Message(6, 12, item=B(b"\0")))
        await connection.send(Message(6, 25))
        assert lines(caplog) == [
            line("received", "S6F11 W", 0xABC),
            line("sent", "S6F12", 0xABC, 17, " 1500.0 ms"),
            line("sent", "S6F25", got.system + 1),
        ]


async def test_control_messages_have_their_names_status_and_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with active_end(**QUIET) as (connection, peer):
        caplog.set_level(logging.INFO, TRAFFIC)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.linktest)
            system = await peer.control(LINKTEST_REQ)
            await trio.sleep(0.5)
            await peer.send(linktest_rsp(system))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.deselect)
            ours = (await peer.frame()).system
            await trio.sleep(0.125)
            await peer.send(deselect_rsp(ours))
        await peer.send(linktest_req(7), separate_req(8))
        await wait_all_tasks_blocked()
        assert lines(caplog) == [
            line("sent", "Linktest.req", system),
            line("received", "Linktest.rsp", system, more=" 500.0 ms"),
            line("sent", "Deselect.req", ours),
            line("received", "Deselect.rsp 0", ours, more=" 125.0 ms"),
            line("received", "Linktest.req", 7),
            line("sent", "Linktest.rsp", 7),
            line("received", "Separate.req", 8),
        ]


@pytest.mark.parametrize(("frame", "name", "length", "why"), PASSED_OVER)
async def test_what_is_passed_over_says_why(
    frame: bytes, name: str, length: int, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with passive_end(**QUIET) as (_, peer):
        caplog.set_level(logging.INFO, TRAFFIC)
        await peer.send(frame)
        await wait_all_tasks_blocked()
        assert lines(caplog)[0] == over(name, length, why)


async def test_a_reply_of_another_function_is_passed_over_and_a_reject_is_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with active_end(**QUIET) as (connection, peer):

        async def request() -> None:
            with pytest.raises(Exception, match="rejected S1F1"):
                await connection.request(S1F1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(request)
            system = (await peer.frame()).system
            caplog.set_level(logging.INFO, TRAFFIC)
            await trio.sleep(0.75)
            await peer.send(data(1, 4, system), reject_req(system, 0, 4))
        assert lines(caplog) == [
            line("received", "S1F4", system, more=", passed over: answers no open request"),
            line("received", "Reject.req 4", system, more=" 750.0 ms"),
        ]


async def test_a_level_that_is_changed_acts_for_the_next_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger(TRAFFIC)
    async with active_end(**QUIET) as (connection, peer):
        for level, count in ((logging.WARNING, 0), (logging.INFO, 2), (logging.WARNING, 0)):
            caplog.set_level(level, TRAFFIC)
            await ask(connection, peer, S1F1, b"")
            assert len(lines(caplog)) == count
        assert logger.level == logging.WARNING


# Records


async def test_a_record_has_the_facts_beside_the_text(caplog: pytest.LogCaptureFixture) -> None:
    async with passive_end(session_id=4, **QUIET) as (connection, peer):
        caplog.set_level(logging.DEBUG, TRAFFIC)
        await peer.send(data(1, 3, 9, wait=True, body=NAMED, session=4))
        await trio.sleep(0.5)
        await connection.reply(await anext(aiter(connection)), Message(1, 4))
        first, body, last = (each for each in caplog.records if each.name == TRAFFIC)
        facts = {
            "link": "memory peer 1 passive",
            "epoch": 1,
            "direction": "received",
            "message_name": "S1F3",
            "wait": True,
            "session_id": 4,
            "system_bytes": "00000009",
            "length": 25,
            "seconds": None,
            "passed_over": None,
        }
        assert vars(first).items() >= facts.items()
        assert vars(body).items() >= {**facts, "body": '<L [2] <A "tool"> <U1 7>>'}.items()
        assert vars(last)["seconds"] == pytest.approx(0.5)
        assert (vars(last)["direction"], vars(last)["message_name"]) == ("sent", "S1F4")


async def test_records_that_are_kept_keep_no_connection_and_can_be_sent_to_a_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    kept: list[logging.LogRecord] = []
    async with passive_end(**QUIET) as (connection, peer):
        engine = weakref.ref(connection._engine)
        await peer.send(data(1, 3, 9, wait=True, body=NAMED), b"\0\0\0\1")
        await peer.stream.receive_some(1)
        await wait_all_tasks_blocked()
        kept += caplog.records
        del connection
    assert {"hsms_engine.link", TRAFFIC, "hsms_engine.charts"} <= {each.name for each in kept}
    pickle.dumps([each for each in kept if each.name.startswith("hsms_engine.")])
    gc.collect()
    assert engine() is None


async def test_nothing_of_a_peer_can_begin_a_line_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "hsms_engine")
    text = "a\nb\r\x1b[31m\u2028"
    body = encode(L(A("a\nb\x1b"), B(text.encode())))
    async with server_end(nothing, **QUIET) as (_, listener):
        peer = await listener.raw(f"evil\npeer\x1b[0m {text}")
        await peer.select()
        await peer.send(data(6, 11, 1, body=body), data(6, 11, 1, body=text.encode()))
        await wait_all_tasks_blocked()
        messages = [each.getMessage() for each in caplog.records if "evil" in each.getMessage()]
    assert len(messages) > 6
    assert all(each.isprintable() for each in messages)


# Bodies


async def test_bodies_are_shown_at_debug_only_and_hex_on_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        caplog.set_level(logging.DEBUG, TRAFFIC)
        await link.wait_selected()
        caplog.clear()
        for changes, shown in (
            ({}, ["body: <U4 1 2>"]),
            ({"log_hex": True}, ["body: <U4 1 2>", "hex: b1 08 00 00 00 01 00 00 00 02"]),
            ({"log_body_bytes": 16}, ["body: <U4 1 2>", "hex: b1 08 00 00 00 01 00 00 00 02"]),
        ):
            link.configure(**changes)
            await link.send(Message(6, 25, item=U4(1, 2)))
            await link.send(Message(6, 25))
            found = lines(caplog, logging.DEBUG)
            assert [each.partition(" S6F25 ")[2][16:] for each in found] == shown
        await link.send(Message(6, 25, body=encode(B(bytes(300)))))
        assert [each.partition(" S6F25 ")[2][16:] for each in lines(caplog, logging.DEBUG)] == [
            "body: <B 0x00 0x00 ...",
            "hex: 22 01 2c 00 00 00 00 00 00 00 00 00 00 00 00 00...",
        ]


async def test_a_body_that_is_no_secs_ii_is_shown_as_bytes_and_reported_to_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with passive_end(is_equipment=True, **QUIET) as (connection, peer):
        caplog.set_level(logging.DEBUG, TRAFFIC)
        await peer.send(data(6, 11, 1, body=b"\xff\xff\xff"))
        await peer.ping()
        (shown,) = lines(caplog, logging.DEBUG)
        assert shown == NO_SECS_II
        assert connection.statistics().counts["unreadable_bodies"] == 0


async def test_a_body_that_no_module_can_show_costs_its_line_and_not_the_connection(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hsms_engine.traffic.bodies", None)
    async with passive_end(is_equipment=True, **QUIET) as (_, peer):
        caplog.set_level(logging.DEBUG, TRAFFIC)
        await peer.send(data(6, 11, 1, body=NAMED))
        await peer.ping()
        (shown,) = lines(caplog, logging.DEBUG)
        assert shown == NOT_SHOWN


# ``on_message``


async def test_a_callback_gets_every_message_in_order() -> None:
    seen: list[Traffic] = []
    async with active_end(**QUIET) as (connection, peer):
        connection.on_message(seen.append)
        reply = await ask(connection, peer, Message(1, 3, wait=True, item=U4(1)), NAMED, after=2)
        await peer.send(linktest_req(3))
        await wait_all_tasks_blocked()
        await connection.send(Message(6, 25))
    assert [(each.direction, each.name) for each in seen] == [
        ("sent", "S1F3"),
        ("received", "S1F4"),
        ("received", "Linktest.req"),
        ("sent", "Linktest.rsp"),
        ("sent", "S6F25"),
        ("sent", "Separate.req"),
    ]
    ours, theirs, linktest, *_ = seen
    assert ours.message == Message(1, 3, wait=True, item=U4(1))
    assert theirs.message == reply
    assert theirs == dataclasses.replace(
        theirs,
        at=2.0,
        epoch=1,
        peer="tool:5000",
        sent=False,
        header=Frame(0, 1, 4, 0, 0, ours.header.system_bytes, b""),
        length=14 + len(NAMED),
        passed_over=None,
        seconds=2.0,
    )
    assert (linktest.message, linktest.is_data, ours.is_data) == (None, False, True)


async def test_a_callback_of_a_server_gets_those_of_all_its_connections() -> None:
    seen: list[Traffic] = []
    async with server_end(echo, max_sessions=2, **QUIET) as (server, listener):
        early = await listener.raw()
        await early.select()
        server.on_message(seen.append)
        await (await listener.raw()).select()
        await early.ping()
    assert [(each.peer, each.name) for each in seen[:4]] == [
        ("memory peer 2", "Select.req"),
        ("memory peer 2", "Select.rsp 0"),
        ("memory peer 1", "Linktest.req"),
        ("memory peer 1", "Linktest.rsp"),
    ]


@pytest.mark.parametrize("kind", ["on_message", "on_step"])
async def test_a_callback_that_raises_is_removed_aloud_and_the_link_lives_on(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls: Counter[str] = Counter()

    def bad(_: object) -> None:
        calls["bad"] += 1
        raise KeyError("a\nb")

    def good(_: object) -> None:
        calls["good"] += 1

    async with passive_end(**QUIET) as (connection, peer):
        for callback in (bad, good):
            getattr(connection, kind)(callback)
        caplog.clear()
        await peer.ping()
        await peer.send(select_req(5))
        await peer.frame()
        assert connection.is_selected
        assert calls["bad"] == 1
        assert calls["good"] > 1
        (told,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    head, *trace = told.getMessage().split("\n")
    assert head.startswith(REMOVED)
    assert "bad" in head
    assert trace[0] == "  Traceback (most recent call last):"
    assert trace[-1] == "  KeyError: 'a\\nb'"


async def test_a_callback_that_raises_is_removed_from_all_connections_of_a_server() -> None:
    calls: list[str] = []

    def bad(traffic: Traffic) -> None:
        calls.append(traffic.peer)
        raise OSError("the disk is full")

    async with server_end(nothing, max_sessions=3, **QUIET) as (server, listener):
        peers = [await listener.raw(), await listener.raw()]
        server.on_message(bad)
        for peer in peers:
            await peer.select()
        await (await listener.raw()).select()
        assert calls == ["memory peer 1"]


async def test_callbacks_that_are_gone_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(_: Traffic) -> None:
        raise ValueError

    noted = 0
    original = Context.note

    def note(self: Context, *args: Any, **options: Any) -> None:
        nonlocal noted
        noted += 1
        original(self, *args, **options)

    monkeypatch.setattr(Context, "note", note)
    async with server_end(nothing, max_sessions=2, **QUIET) as (server, listener):
        peers = [await listener.raw(), await listener.raw()]
        server.on_message(bad)
        for peer in peers:
            await peer.select()
        # The removal came in the turn of the one, and the other knows it from its next one.
        before = noted
        for peer in peers:
            await peer.ping()
        assert noted == before


async def test_what_is_no_exception_comes_out_of_a_callback() -> None:
    def stop(_: Traffic) -> None:
        raise KeyboardInterrupt

    async def use() -> None:
        async with active_end(**QUIET) as (connection, peer):
            connection.on_message(stop)
            await peer.send(linktest_req(3))
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await use()
    assert caught.group_contains(KeyboardInterrupt)


# What it costs when it is off


async def test_nothing_is_made_while_all_is_off(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("something was made for nobody")

    caplog.set_level(logging.CRITICAL, "hsms_engine")
    monkeypatch.setattr(Context, "note", never)
    monkeypatch.setattr(logging.Logger, "_log", never)
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        for _ in range(3):
            await peer.send(linktest_req(3))
            await peer.frame()
            await link.send(Message(6, 25, item=L()))
            await peer.frame()
        await peer.close()
        await wait_all_tasks_blocked()


async def test_a_message_costs_one_call_more_while_all_is_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, TRAFFIC)
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        caller = frame.f_back
        if event == "call" and frame.f_code.co_filename in OBSERVERS and caller is not None:
            calls[f"{caller.f_code.co_name}: {frame.f_code.co_name}"] += 1

    async with active_end(**QUIET) as (connection, peer):
        sys.setprofile(count)
        try:
            for _ in range(100):
                await ask(connection, peer, S1F1, b"")
        finally:
            sys.setprofile(None)
    # A memory stream takes what is written in two steps of the charts, each way.
    assert calls.pop("_record: isEnabledFor") <= 200
    # One for each message that is sent, and one for each piece that is received.
    assert calls == {"_encode: isEnabledFor": 100, "receive: isEnabledFor": 100}


OBSERVERS = {
    logging.__file__,
    bodies.__file__,
    sys.modules["hsms_engine.logs"].__file__,
    sys.modules["hsms_engine.traffic.logs"].__file__,
    sys.modules["hsms_engine.protocol.traffic"].__file__,
}

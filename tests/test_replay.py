"""A side of a recording, played in memory on a clock that jumps: what is sent, when, and compared.

The other side is a handler of a server. Time jumps, so seconds in texts are exact.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import HsmsConnection, Message, open_hsms
from hsms_engine.errors import ConnectionLostError, ReplyTimeoutError, StreamNineError
from hsms_engine.recording import LostRecord, Record, head, line_of
from hsms_engine.recording.records import GoneRecord
from hsms_engine.replay import (
    Connected,
    Conversation,
    Ignored,
    ReplayError,
    Role,
    Said,
    Separated,
    Told,
    UnplayableError,
    open_conversation,
    player,
    replay,
)
from hsms_engine.replay import conversation as module
from hsms_engine.replay.comparing import first_difference
from hsms_engine.secs2 import F8, U4, A, B, L
from hsms_engine.sml import Difference
from hsms_engine.wire import SType
from tests.support.pair import server_end
from tests.support.recordings import control, link, said, written
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]

Tool = Callable[[HsmsConnection], Awaitable[object]]

S1F1 = Message(1, 1, True)
S1F2 = Message(1, 2, item=L(A("ETCHER"), A("7.1")))
S1F13 = Message(1, 13, True, L())
S1F14 = Message(1, 14, item=L(B(0), L(A("ETCHER"), A("7.1"))))
S5F1 = Message(5, 1, item=L(B(4), U4(7), A("hot")))
S5F2 = Message(5, 2, item=B(0))
S6F11 = Message(6, 11, True, L(U4(1), U4(101), L()))
S6F12 = Message(6, 12, item=B(0))
# What a host has said, and what came.
START_UP: list[Record] = [
    link(),
    control(0.5, True, SType.SELECT_REQ),
    control(1.0, False, SType.SELECT_RSP),
    said(3.0, True, S1F13, 10),
    said(3.5, False, S1F14, 10),
    control(9.0, True, SType.LINKTEST_REQ),
    said(13.5, True, S1F1, 11),
    said(13.75, False, S1F2, 11),
]
REPLIES = {"S1F1": S1F2, "S1F13": S1F14, "S5F1": S5F2, "S6F11": S6F12}


async def answering(connection: HsmsConnection) -> None:
    """A peer that answers all it knows."""
    async for primary in connection:
        if primary.wait:
            await connection.reply(primary, REPLIES[primary.name])


@asynccontextmanager
async def against(
    *tools: Tool, **changes: Any
) -> AsyncIterator[Callable[[], AbstractAsyncContextManager[HsmsConnection]]]:
    """Connections to these peers, one after the other."""
    left = [*tools]
    # What a handler raises ends its connection, and no test.
    wrong: list[AssertionError] = []

    async def serve(connection: HsmsConnection) -> None:
        try:
            await left.pop(0)(connection)
        except AssertionError as error:
            wrong.append(error)

    async with server_end(serve) as (_, listener):

        def connect() -> AbstractAsyncContextManager[HsmsConnection]:
            return open_hsms("tool", 5000, dial=listener.dial, random=Random(1), **changes)

        yield connect
        # They may still read what was sent last.
        await wait_all_tasks_blocked()
    assert wrong == []


async def opened(
    folder: Path, records: Sequence[Record], role: Role = "host", name: str | None = None
) -> Conversation:
    return await open_conversation(written(folder / "tool.jsonl", records), role, name)


async def outcome(
    folder: Path,
    records: Sequence[Record],
    *tools: Tool,
    role: Role = "host",
    ignore: Sequence[str] = (),
    speed: float = 1.0,
    **changes: Any,
) -> tuple[list[Told], ReplayError | None]:
    """What is told of a recording that is played against these peers, and the difference."""
    told: list[Told] = []
    conversation = await opened(folder, records, role)
    async with against(*tools, **changes) as connect:
        ignored = [Ignored.parse(each) for each in ignore]
        try:
            await replay(conversation, connect, speed=speed, ignore=ignored, tell=told.append)
        except ReplayError as error:
            return told, error
    return told, None


async def played(
    folder: Path, records: Sequence[Record], *tools: Tool, **options: Any
) -> list[Told]:
    told, error = await outcome(folder, records, *tools, **options)
    assert error is None, error
    return told


async def failure(
    folder: Path, records: Sequence[Record], *tools: Tool, **options: Any
) -> ReplayError:
    _, error = await outcome(folder, records, *tools, **options)
    assert error is not None
    return error


def numbers(told: Sequence[Told]) -> list[tuple[int, bool, str]]:
    return [(each.number, each.is_ours, each.message.name) for each in told if type(each) is Said]


# What is played


async def test_a_host_says_what_it_has_said_with_the_pauses_of_the_recording(
    tmp_path: Path,
) -> None:
    came: list[tuple[float, str]] = []

    async def tool(connection: HsmsConnection) -> None:
        async for primary in connection:
            came.append((trio.current_time(), primary.name))
            await connection.reply(primary, REPLIES[primary.name])

    told = await played(tmp_path, START_UP, tool)
    assert numbers(told) == [
        (1, True, "S1F13"),
        (2, False, "S1F14"),
        (3, True, "S1F1"),
        (4, False, "S1F2"),
    ]
    assert told[0] == Connected(1, "tool:5000")
    # From Select.rsp, and not from the linktest, which would hide the pause.
    assert came == [(2.0, "S1F13"), (12.0, "S1F1")]


@pytest.mark.parametrize(("speed", "seconds"), [(2.0, 6.0), (math.inf, 0.0)])
async def test_pauses_are_shorter_by_the_speed(
    tmp_path: Path, speed: float, seconds: float
) -> None:
    await played(tmp_path, START_UP, answering, speed=speed)
    assert trio.current_time() == seconds


async def test_nothing_is_sent_before_the_other_side_has_said_what_it_had_said(
    tmp_path: Path,
) -> None:
    async def slow(connection: HsmsConnection) -> None:
        async for primary in connection:
            await trio.sleep(20)
            await connection.reply(primary, REPLIES[primary.name])

    await played(tmp_path, START_UP, slow, speed=math.inf)
    assert trio.current_time() == 40.0


async def test_an_equipment_is_played_of_what_its_host_has_recorded(tmp_path: Path) -> None:
    records: list[Record] = [
        link(),
        said(0.0, True, S1F13, 10),
        said(0.0, False, S1F14, 10),
        said(0.0, False, S6F11, 900),
        said(0.0, True, S6F12, 900),
        said(0.0, False, S5F1, 901),
    ]

    async def host(connection: HsmsConnection) -> None:
        assert await connection.request(S1F13) == S1F14
        event = await connection.receive()
        assert event == S6F11
        await connection.reply(event, S6F12)
        assert await connection.receive() == S5F1

    told = await played(tmp_path, records, host, role="equipment", is_equipment=True)
    assert [each[1] for each in numbers(told)] == [False, True, True, False, True]


async def test_replies_go_to_the_primaries_that_stand_where_theirs_stood(tmp_path: Path) -> None:
    # Two that overlap, answered in the other order, on both sides.
    one, other = Message(2, 25, True, B(1)), Message(2, 25, True, B(2))
    reply, another = Message(2, 26, item=B(1)), Message(2, 26, item=B(2))
    records: list[Record] = [
        link(),
        said(0.0, False, one, 500),
        said(0.0, False, other, 501),
        said(0.0, True, another, 501),
        said(0.0, True, reply, 500),
        said(0.0, True, one, 500),
        said(0.0, True, other, 501),
        said(0.0, False, another, 501),
        said(0.0, False, reply, 500),
    ]
    got: list[Message] = []

    async def tool(connection: HsmsConnection) -> None:
        async def ask(message: Message) -> None:
            got.append(await connection.request(message))

        async with trio.open_nursery() as nursery:
            for each in (one, other):
                nursery.start_soon(ask, each)
                await wait_all_tasks_blocked()
        async for primary in connection:
            await connection.reply(primary, Message(2, 26, body=primary.body))

    await played(tmp_path, records, tool)
    assert got == [another, reply]


async def test_a_reply_may_come_after_an_event_that_it_had_come_before(tmp_path: Path) -> None:
    records: list[Record] = [
        link(),
        said(0.0, True, S1F1, 10),
        said(0.0, False, S1F2, 10),
        said(0.0, False, S5F1, 900),
    ]

    async def tool(connection: HsmsConnection) -> None:
        primary = await connection.receive()
        await connection.send(S5F1)
        await connection.reply(primary, S1F2)
        await trio.sleep_forever()

    assert len(numbers(await played(tmp_path, records, tool))) == 3


async def test_each_connection_is_played_over_one_of_its_own(tmp_path: Path) -> None:
    records: list[Record] = [
        link(),
        said(0.0, True, S1F1, 10),
        said(0.0, False, S1F2, 10),
        control(2.0, False, SType.SEPARATE_REQ),
        # One that says nothing.
        control(4.0, True, SType.SELECT_REQ, epoch=2),
        control(5.0, True, SType.SEPARATE_REQ, epoch=2),
        said(6.0, True, S1F13, 20, epoch=3),
        said(6.0, False, S1F14, 20, epoch=3),
        control(7.0, True, SType.SEPARATE_REQ, epoch=3),
        control(7.0, True, SType.SEPARATE_REQ, epoch=3),
        said(8.0, False, S5F1, 21, epoch=3),
    ]

    async def tool(connection: HsmsConnection) -> None:
        await connection.reply(await connection.receive(), S1F2)
        await trio.sleep(30)
        await connection.aclose()

    told = await played(tmp_path, records, tool, answering)
    assert [each for each in told if type(each) is Connected] == [
        Connected(1, "tool:5000"),
        Connected(2, "tool:5000"),
    ]
    assert [each for each in told if type(each) is Separated] == [
        Separated(1, 2.0, 2.0, False),
        Separated(2, 7.0, 1.0, True),
    ]


@pytest.mark.parametrize("width", [1, 2, 3])
async def test_a_report_of_stream_9_names_the_message_of_this_connection(
    tmp_path: Path, width: int
) -> None:
    def report(system_bytes: int, function: int = 5) -> Message:
        # B, with so many length bytes.
        header = bytes([0, 0, 0x81, 1, 0, 0]) + system_bytes.to_bytes(4)
        return Message(9, function, body=bytes([0x20 | width]) + (10).to_bytes(width) + header)

    asked = Message(1, 1, True)
    records: list[Record] = [
        link(),
        said(0.0, True, asked, 0xAAAA),
        said(0.0, False, report(0xAAAA), 900),
        said(0.0, False, report(0xBBBB), 901),
        said(0.0, False, Message(9, 5), 902),
        # What an engine does by itself.
        said(0.0, False, report(0xAAAA, 1), 903),
    ]

    async def tool(connection: HsmsConnection) -> None:
        primary = await connection.receive()
        assert primary.system_bytes != 0xAAAA
        await connection.send(report(primary.system_bytes or 0))
        await connection.send(report(0xBBBB))
        await connection.send(Message(9, 5))
        await trio.sleep_forever()

    assert len(numbers(await played(tmp_path, records, tool))) == 4
    conversation = await opened(tmp_path, records)
    assert conversation.notes == ("1 reports S9F1 and S9F9 are left to the engines",)

    async def host(connection: HsmsConnection) -> None:
        connection.on_message(
            lambda traffic: sent.append(traffic.header.system_bytes) if traffic.sent else None
        )
        with pytest.raises(StreamNineError):
            await connection.request(asked)
        got.extend([await connection.receive() for _ in range(3)])

    sent: list[int] = []
    got: list[Message] = []
    told = await played(tmp_path, records, host, role="equipment", is_equipment=True)
    assert len(numbers(told)) == 4
    assert got == [report(sent[0]), report(0xBBBB), Message(9, 5)]


async def test_an_abort_is_a_reply_as_any_other(tmp_path: Path) -> None:
    abort = Message(1, 0)
    records: list[Record] = [link(), said(0.0, True, S1F1, 10), said(0.0, False, abort, 10)]

    async def tool(connection: HsmsConnection) -> None:
        await connection.reply(await connection.receive(), abort)
        await trio.sleep_forever()

    assert len(numbers(await played(tmp_path, records, tool))) == 2
    error = await failure(tmp_path, START_UP[:1] + START_UP[6:], tool)
    assert (error.path, error.expected, error.found) == ("", "S1F2", "S1F0")


async def test_a_body_that_is_no_secs_ii_goes_as_it_is(tmp_path: Path) -> None:
    odd = Message(7, 3, True, body=b"\xff\x01\x02")
    records: list[Record] = [
        link(),
        said(0.0, True, odd, 10),
        said(0.0, False, Message(7, 4, body=b"\xfe"), 10),
    ]

    async def tool(connection: HsmsConnection) -> None:
        primary = await connection.receive()
        assert primary.body == odd.body
        await connection.reply(primary, Message(7, 4, body=b"\xfe"))
        await trio.sleep_forever()

    await played(tmp_path, records, tool)


async def test_a_full_outbox_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = [True]

    def request_now(self: HsmsConnection, *given: Any) -> object:
        return None if full else original(self, *given)

    async def room(_: HsmsConnection) -> None:
        full.clear()

    original = HsmsConnection._request_now
    monkeypatch.setattr(HsmsConnection, "_request_now", request_now)
    monkeypatch.setattr(HsmsConnection, "_room", room)
    assert len(numbers(await played(tmp_path, START_UP, answering))) == 4


async def test_what_waits_in_place_of_the_pauses_is_asked_before_each_message(
    tmp_path: Path,
) -> None:
    asked: list[str] = []

    async def ask(said: Said) -> None:
        asked.append(str(said))

    conversation = await opened(tmp_path, START_UP)
    async with against(answering) as connect:
        await replay(conversation, connect, before_sending=ask)
    assert asked == [
        "message 1 of the recording (S1F13 W, at 3.0)",
        "message 3 of the recording (S1F1 W, at 13.5)",
    ]
    assert trio.current_time() == 0.0


async def test_t5_passes_before_it_dials_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[Record] = [
        link(),
        *(said(0.0, True, S5F1, epoch, epoch=epoch) for epoch in (1, 2, 3)),
    ]
    dialled: list[float] = []
    conversation = await opened(tmp_path, records)
    async with against(answering, answering, answering) as connect:

        def dial(*_: object, **__: object) -> AbstractAsyncContextManager[HsmsConnection]:
            dialled.append(trio.current_time())
            return connect()

        monkeypatch.setattr(player, "open_hsms", dial)
        await replay(conversation, player.dialling(conversation.settings(t5=5)))
    assert dialled == [0.0, 5.0, 10.0]


# What differs


async def test_the_first_difference_is_shown_with_what_came_before(tmp_path: Path) -> None:
    async def tool(connection: HsmsConnection) -> None:
        async for primary in connection:
            same = primary.name == "S1F13"
            reply = S1F14 if same else Message(1, 2, item=L(A("ETCHER"), A("7.2")))
            await connection.reply(primary, reply)

    error = await failure(tmp_path, START_UP, tool)
    assert (error.path, error.expected, error.found) == ("[2]", '<A "7.1">', '<A "7.2">')
    assert error.problem == (
        "message 4 of the recording (S1F2, at 13.75): what came differs at [2]: expected "
        '<A "7.1">, found <A "7.2">'
    )
    assert str(error).splitlines() == [
        error.problem,
        "  S1F2",
        "  <L [2]",
        '    <A "ETCHER">',
        '-   <A "7.1">',
        '+   <A "7.2">',
        "  >",
        "the messages before it, the latest last:",
        "  sent S1F13 W <L [0]>",
        '  came S1F14 <L [2] <B 0x00> <L [2] <A "ETCHER"> <A "7.1">>>',
        "  sent S1F1 W",
    ]


@pytest.mark.parametrize("ignored", ["S1F2", "S1F2:2", "S1F2:*"])
async def test_an_item_that_is_ignored_may_be_another_one(tmp_path: Path, ignored: str) -> None:
    async def tool(connection: HsmsConnection) -> None:
        async for primary in connection:
            same = primary.name == "S1F13"
            await connection.reply(
                primary, S1F14 if same else Message(1, 2, item=L(A("ETCHER"), U4(8)))
            )

    await played(tmp_path, START_UP, tool, ignore=["S1F14:1", ignored])
    error = await failure(tmp_path, START_UP, tool, ignore=["S1F2:1", "S6F11"])
    assert error.path == "[2]"


async def test_a_reply_that_does_not_come_is_a_difference(tmp_path: Path) -> None:
    async def silent(_: HsmsConnection) -> None:
        await trio.sleep_forever()

    error = await failure(tmp_path, START_UP, silent, t3=7)
    assert error.problem.startswith("message 2 of the recording (S1F14, at 3.5): ")
    assert "T3" in error.problem
    assert isinstance(error.__cause__, ReplyTimeoutError)
    assert error.path is None
    assert error.details[-1] == "  sent S1F13 W <L [0]>"


EVENT: list[Record] = [link(), said(0.0, True, S1F1, 10), said(30.0, False, S5F1, 900)]


async def test_a_primary_has_its_time_and_t3_to_come(tmp_path: Path) -> None:
    def after(seconds: float) -> Tool:
        async def tool(connection: HsmsConnection) -> None:
            await trio.sleep(seconds)
            await connection.send(S5F1)
            await trio.sleep_forever()

        return tool

    await played(tmp_path, EVENT, after(36), t3=7, speed=math.inf)
    error = await failure(tmp_path, EVENT, after(38), t3=7)
    assert error.problem == (
        "message 2 of the recording (S5F1, at 30.0): it has not come within 37 s"
    )


async def test_a_connection_that_ends_is_a_difference(tmp_path: Path) -> None:
    async def separating(connection: HsmsConnection) -> None:
        await connection.receive()
        await connection.aclose()

    async def breaking(connection: HsmsConnection) -> None:
        await connection.receive()
        # No cause of E37: its peer sees the end of the stream.
        connection._driver.engine.tcp_closed()
        connection._driver.turn()

    error = await failure(tmp_path, EVENT, separating)
    assert error.problem == (
        "message 2 of the recording (S5F1, at 30.0): the other side has separated, before it came"
    )
    assert error.__cause__ is None
    error = await failure(tmp_path, START_UP, breaking)
    assert isinstance(error.__cause__, ConnectionLostError)
    records: list[Record] = [link(), said(0.0, True, S5F1, 10), said(30.0, True, S5F1, 11)]
    error = await failure(tmp_path, records, breaking)
    assert ": it cannot be sent: " in error.problem
    assert error.details == (
        "the messages before it, the latest last:",
        '  sent S5F1 <L [3] <B 0x04> <U4 7> <A "hot">>',
    )


async def test_who_does_not_separate_is_told(tmp_path: Path) -> None:
    records: list[Record] = [
        link(),
        said(0.0, False, S5F1, 900),
        control(5.0, False, SType.SEPARATE_REQ),
    ]

    async def tool(connection: HsmsConnection) -> None:
        await connection.send(S5F1)
        await trio.sleep_forever()

    error = await failure(tmp_path, records, tool, t3=7)
    assert error.problem == (
        "Separate.req of the recording (at 5.0): the other side has not separated within 12 s"
    )


async def test_what_comes_and_is_not_in_the_recording_is_a_difference(tmp_path: Path) -> None:
    records: list[Record] = [link(), said(0.0, False, S5F1, 900), said(9.0, True, S1F1, 10)]

    async def tool(connection: HsmsConnection) -> None:
        await connection.send(S5F1)
        await connection.send(S5F1)
        await trio.sleep_forever()

    error = await failure(tmp_path, records, tool)
    assert error.problem == (
        "message 2 of the recording (S1F1 W, at 9.0): after it S5F1 <L [3] <B 0x04> <U4 7> "
        '<A "hot">> came, which is not in it'
    )
    # In one that was cut, it may have been.
    file = written(tmp_path / "tool.jsonl", records)
    file.write_text(
        "".join(file.read_text(encoding="utf-8").splitlines(True)[:-1]), encoding="utf-8"
    )
    conversation = await open_conversation(file, "host")
    assert conversation.is_cut
    async with against(tool) as connect:
        await replay(conversation, connect)


async def test_the_first_message_may_be_the_one_that_differs(tmp_path: Path) -> None:
    records: list[Record] = [link(), said(0.0, False, S6F11, 900)]

    async def tool(connection: HsmsConnection) -> None:
        await connection.send(S5F1)
        await trio.sleep_forever()

    error = await failure(tmp_path, records, tool)
    assert error.details[:2] == ("- S6F11 W", "+ S5F1")
    assert error.details[-1] == "no message before it on this connection"


def message(*items: Any, wait: bool = False) -> Message:
    return Message(6, 11, wait, L(*items))


@pytest.mark.parametrize(
    ("expected", "found", "ignored", "difference"),
    [
        (message(U4(1)), message(U4(1)), (), None),
        (message(U4(1)), message(U4(1), wait=True), (), ("", "S6F11", "S6F11 W")),
        (message(U4(1)), message(), (), ("[1]", "<U4 1>", "nothing")),
        (message(), message(U4(1)), (), ("[1]", "nothing", "<U4 1>")),
        (message(U4(1), U4(2)), message(U4(2)), (), ("[1]", "<U4 1>", "<U4 2>")),
        (message(L(L(U4(1)))), message(L(L(U4(2)))), (), ("[1][1][1]", "<U4 1>", "<U4 2>")),
        (message(L(L(U4(1)))), message(L(L(U4(2)))), ("S6F11:1.*.1",), None),
        (message(U4(1)), message(U4(2)), ("S6F12:1",), ("[1]", "<U4 1>", "<U4 2>")),
        # Ignored is a value, and not that it is there.
        (message(U4(1)), message(), ("S6F11:1",), ("[1]", "<U4 1>", "nothing")),
        (message(F8(math.nan), B()), message(F8(math.nan), B(1)), (), ("[2]", "<B>", "<B 0x01>")),
        (message(F8(0.0)), message(F8(-0.0)), (), ("[1]", "<F8 0.0>", "<F8 -0.0>")),
        (Message(6, 11), message(), (), ("", "nothing", "<L [0]>")),
        (Message(6, 11, item=U4(1)), Message(6, 11, item=U4(2)), (), ("", "<U4 1>", "<U4 2>")),
        # The same item, with more bytes for its length.
        (Message(6, 11, body=b"\x21\x01\x07"), Message(6, 11, body=b"\x22\x00\x01\x07"), (), None),
        # Several items.
        (
            Message(6, 11, body=b"\x21\x01\x07\x21\x01\x08"),
            Message(6, 11, body=b"\x21\x01\x07"),
            (),
            ("[2]", "<B 0x08>", "nothing"),
        ),
        # No SECS-II.
        (
            Message(6, 11, body=b"\xff\x01\x02"),
            Message(6, 11, body=b"\xff\x01\x03"),
            (),
            (
                "",
                "a body of 3 bytes with 02 from byte 3 on",
                "a body of 3 bytes with 03 from byte 3 on",
            ),
        ),
        (
            Message(6, 11, body=b"\xff\x01"),
            Message(6, 11, body=b"\xff\x01\x03"),
            (),
            (
                "",
                "a body of 2 bytes with nothing from byte 3 on",
                "a body of 3 bytes with 03 from byte 3 on",
            ),
        ),
        (Message(6, 11, body=b"\xff"), Message(6, 11, body=b"\xfe"), ("S6F11",), None),
    ],
)
def test_two_messages_are_compared(
    expected: Message, found: Message, ignored: Sequence[str], difference: tuple[str, ...] | None
) -> None:
    got = first_difference(expected, found, [Ignored.parse(each) for each in ignored])
    assert got == (None if difference is None else Difference(*difference))


@pytest.mark.parametrize("text", ["S6F11", "S6F11:1", "S6F11:1.*.20", "S127F255:*"])
def test_an_item_to_ignore_is_read(text: str) -> None:
    assert str(Ignored.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "S6", "S6F11:", "S6F11:0", "S6F11:1.", "S6F11:.1", "S128F1", "S1F256", "s6f11"),
        *("S6F11:-1", "S6F11:a", "S6F11:1..2", "S\u0663F1", "S6F11 ", "S6F11:99999999", "S1111F1"),
    ],
)
def test_what_names_no_item_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"names no item: write S6F11, S6F11:2.1 or "):
        Ignored.parse(text)


# Recordings


async def test_who_was_host_and_who_dialled_is_known_from_the_recording(tmp_path: Path) -> None:
    for role, about, dials in (
        ("host", link(), True),
        ("equipment", link(), False),
        ("host", link(role="passive", is_equipment=True), True),
        ("equipment", link(role="passive", is_equipment=True), False),
        ("equipment", link(is_equipment=True), True),
        # A capture does not say.
        ("equipment", link(role="passive"), False),
    ):
        records: list[Record] = [about, said(0.0, True, S1F1, 1, session_id=0x8007)]
        conversation = await opened(tmp_path, records, role)  # type: ignore[arg-type]  # a tuple
        assert (conversation.dials, conversation.session_id) == (dials, 7)
        sent = (about.settings.get("is_equipment", about.role == "passive")) == (
            role == "equipment"
        )
        assert (conversation.ours, conversation.theirs) == ((1, 0) if sent else (0, 1))
        settings = conversation.settings(t3=10)
        assert (settings.session_id, settings.t3) == (7, 10)
        assert settings.is_equipment == (role == "equipment")


async def test_text_is_shown_in_the_encoding_of_the_link(tmp_path: Path) -> None:
    records: list[Record] = [link(text_encoding="gbk"), said(0.0, True, S1F1, 1)]
    conversation = await opened(tmp_path, records)
    assert conversation.text_encoding == "gbk"
    assert conversation.settings().text_encoding == "gbk"


SEVERAL: list[Record] = [
    link(1, "a"),
    link(2, "b", peer="10.1.2.4:5000"),
    link(3, "", role="passive", server="tools", is_equipment=True),
    said(0.0, True, S1F1, 1, number=1),
    said(0.0, True, S1F13, 1, number=2),
    said(0.0, False, S1F1, 1, number=3),
]


async def test_of_several_links_one_is_chosen(tmp_path: Path) -> None:
    with pytest.raises(UnplayableError, match=r"give --link, one of a, b, tools$"):
        await opened(tmp_path, SEVERAL)
    for name in ("b", "10.1.2.4:5000", "2"):
        conversation = await opened(tmp_path, SEVERAL, name=name)
        turns = [each for each in conversation.turns() if type(each) is Said]
        assert [each.message for each in turns] == [S1F13]
    assert (await opened(tmp_path, SEVERAL, name="tools")).ours == 1
    with pytest.raises(UnplayableError, match=r"no link 'tool' is in .*did you mean 'tools'"):
        await opened(tmp_path, SEVERAL, name="tool")
    many: list[Record] = [link(number, f"tool-{number}") for number in range(1, 101)]
    with pytest.raises(UnplayableError, match=r"one of tool-1, .*, tool-20, \.\.\.$"):
        await opened(tmp_path, many)


async def test_connections_of_a_server_are_played_one_after_the_other(tmp_path: Path) -> None:
    records: list[Record] = [
        link(1, "", role="passive", server="tool", peer="a:1", is_equipment=True),
        said(0.0, False, S1F1, 1, number=1),
        GoneRecord(1.0, 1.0, 1, 1),
        link(2, "", role="passive", server="tool", peer="b:1", is_equipment=True),
        said(2.0, False, S1F1, 1, number=2),
    ]
    assert (await opened(tmp_path, records)).connections == 2
    del records[2]
    records.append(said(3.0, False, S1F1, 2, number=1))
    with pytest.raises(UnplayableError, match=r"two connections of tool were .* such as 1$"):
        await opened(tmp_path, records)
    assert (await opened(tmp_path, records, name="2")).connections == 1
    # Each file of a recording begins with the links that are open.
    records.insert(3, records[0])
    with pytest.raises(UnplayableError, match="two connections"):
        await opened(tmp_path, records)


async def test_a_recording_that_is_another_one_meanwhile_is_told(tmp_path: Path) -> None:
    conversation = await opened(tmp_path, START_UP)
    again = [said(0.0, True, S1F1, 1, epoch=2), said(0.0, True, S1F1, 1, epoch=1)]
    written(tmp_path / "tool.jsonl", [link(), *again])
    with pytest.raises(UnplayableError, match="two connections"):
        [*conversation.turns()]


async def test_what_is_recorded_while_it_is_played_is_not_played(tmp_path: Path) -> None:
    conversation = await opened(tmp_path, START_UP)
    with (tmp_path / "tool.jsonl").open("a", encoding="utf-8") as file:
        file.write(line_of(said(14.0, True, S1F1, 12)))
    assert [turn.number for turn in conversation.turns() if type(turn) is Said] == [1, 2, 3, 4]
    again = await open_conversation(tmp_path / "tool.jsonl", "host")
    assert (again.ours, again.records) == (3, conversation.records + 1)


async def test_bodies_that_are_not_there_are_told_before_anything_is_sent(tmp_path: Path) -> None:
    records: list[Record] = [
        link(),
        said(0.0, True, S1F1, 1),
        said(0.0, False, S1F2, 1, body="left out"),
        said(0.0, True, S1F13, 2, body="masked"),
    ]
    with pytest.raises(UnplayableError) as caught:
        await opened(tmp_path, records)
    assert str(caught.value) == (
        f"1 message has no body in {tmp_path / 'tool.jsonl'}, and the host cannot send that: the "
        "first is message 3 of the recording (S1F13 W, at 0.0), which is masked"
    )
    with pytest.raises(UnplayableError, match=r"^2 messages have no body "):
        await opened(tmp_path, [*records, said(0.0, True, S1F13, 3, body="not kept")])

    async def tool(connection: HsmsConnection) -> None:
        await connection.reply(await connection.receive(), Message(1, 2, item=U4(3)))
        await trio.sleep_forever()

    # Of what comes, only the header is compared then.
    await played(tmp_path, records[:3], tool)


async def test_what_is_not_played_is_counted(tmp_path: Path) -> None:
    records: list[Record] = [
        said(0.0, True, S1F1, 1, number=7),
        link(),
        link(),
        LostRecord(0.0, 0.0, 12, 4_000),
        said(1.0, True, S1F1, 1),
        said(1.0, True, S1F1, 2, passed_over="foreign session id"),
        said(1.0, False, S1F14, 1),
        said(1.0, False, S1F2, 1),
        said(1.0, False, S1F2, 1),
        said(0.5, False, S1F2, 77),
        said(0.5, True, S1F1, 3),
    ]
    conversation = await opened(tmp_path, records)
    assert (conversation.ours, conversation.theirs) == (2, 1)
    assert set(conversation.notes) == {
        "12 records were dropped by the recorder, because its disk was slow",
        "1 messages are not played: their receivers have passed them over",
        "3 secondaries are not played: they answer nothing in it",
        "1 messages have an earlier time than the one above them",
    }


async def test_primaries_of_long_ago_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (module, player):
        monkeypatch.setattr(each, "REMEMBERED", 1)
    report = Message(9, 5, item=B(bytes([0, 0, 0x81, 1, 0, 0, 0, 0, 0, 1])))
    records: list[Record] = [
        link(),
        said(0.0, True, S1F1, 1),
        said(0.0, True, S5F1, 2),
        said(0.0, False, S1F2, 1),
        said(0.0, False, report, 900),
    ]

    async def tool(connection: HsmsConnection) -> None:
        await connection.send(report)
        await trio.sleep_forever()

    assert len(numbers(await played(tmp_path, records, tool))) == 3


async def test_a_recording_goes_over_several_files(tmp_path: Path) -> None:
    for name, recording, records in (
        ("tool.jsonl.1", "other", START_UP),
        ("tool.jsonl.2", "id", START_UP[:5]),
        ("tool.jsonl", "id", [link(), *START_UP[5:]]),
    ):
        written(tmp_path / name, records, recording)
    (tmp_path / "tool.jsonl.3").write_text("no recording", encoding="utf-8")
    conversation = await open_conversation(tmp_path / "tool.jsonl", "host")
    assert [each.name for each in conversation.files] == ["tool.jsonl.2", "tool.jsonl"]
    assert (conversation.connections, conversation.ours, conversation.theirs) == (1, 2, 2)
    # One of them alone, packed.
    packed = tmp_path / "old.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "tool.jsonl.1").read_bytes()))
    assert (await open_conversation(packed, "host")).ours == 2


async def test_two_recordings_in_one_file_are_played_one_after_the_other(tmp_path: Path) -> None:
    file = written(tmp_path / "tool.jsonl", START_UP)
    more = written(tmp_path / "more.jsonl", START_UP, "another id")
    file.write_text(
        file.read_text(encoding="utf-8") + more.read_text(encoding="utf-8"), encoding="utf-8"
    )
    assert (await open_conversation(file, "host")).connections == 2


async def test_what_is_no_recording_is_told_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "tool.jsonl"
    for text, why in (
        ("", f"{file} is no recording"),
        ("2026-11-28 S1F1 W .\n", f"{file} is no recording: {file}:1: "),
        (line_of(head(0.0, 0.0, "x")).replace('"layout":1', '"layout":2'), "is no recording: "),
        (line_of(head(0.0, 0.0, "x")), "no data message that can be played is in "),
        ("\xff" * 100, "is no recording: "),
    ):
        file.write_text(text, encoding="latin-1")
        with pytest.raises(UnplayableError) as caught:
            await open_conversation(file, "host")
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnplayableError, match="is no file that can be read twice"):
        await open_conversation(tmp_path, "host")
    with pytest.raises(FileNotFoundError):
        await open_conversation(tmp_path / "none.jsonl", "host")


async def test_a_file_cut_at_any_byte_is_played_up_to_there(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.jsonl", START_UP).read_bytes()
    file = tmp_path / "tool.jsonl"
    for size in range(0, len(whole), 7):
        file.write_bytes(whole[:size])
        try:
            conversation = await open_conversation(file, "host")
        except UnplayableError:
            # Before the end of the first message.
            assert size < whole.index(b"\n", whole.index(b'"at":3.0'))
        else:
            assert conversation.is_cut
            assert f"{file} is cut: it has no end" in conversation.notes
            assert conversation.ours + conversation.theirs in range(1, 5)


async def test_lines_of_garbage_are_told_and_so_many_only(tmp_path: Path) -> None:
    file = written(tmp_path / "tool.jsonl", START_UP)
    file.write_text(file.read_text(encoding="utf-8") + "garbage\n" * 1_500, encoding="utf-8")
    conversation = await open_conversation(file, "host")
    assert len(conversation.notes) == 21
    assert conversation.notes[20] == "and 1,480 more lines that cannot be read"
    # A long stretch without a turn lets others have theirs.
    assert None in [*conversation.turns()]
    async with against(answering) as connect:
        await replay(conversation, connect)


async def test_recordings_of_other_charts_are_played(tmp_path: Path) -> None:
    file = written(tmp_path / "tool.jsonl", START_UP)
    lines = file.read_text(encoding="utf-8").splitlines(True)
    lines[0] = lines[0].replace('"charts":{', '"charts":{"another":"abc",')
    file.write_text("".join(lines), encoding="utf-8")
    assert (await open_conversation(file, "host")).notes == ()


async def test_a_recording_needs_no_memory_of_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    original = module._Listener.take

    def take(self: module._Listener, record: Any) -> Any:
        turn = original(self, record)
        held.append(len(self._primaries) + len(self._links) + len(self.counts))
        return turn

    monkeypatch.setattr(module._Listener, "take", take)
    records: list[Record] = [link(), *(said(0.0, True, S1F1, number) for number in range(10_100))]
    conversation = await opened(tmp_path, records)
    assert conversation.ours == 10_100
    assert max(held) < 10_010
    held.clear()
    gone: list[Record] = [
        each
        for number in range(100)
        for each in (
            link(number),
            said(0.0, True, S1F1, 1, number=number),
            GoneRecord(0.0, 0.0, number, 1),
        )
    ]
    assert (await opened(tmp_path, gone)).connections == 100
    assert max(held) < 10


def test_a_replay_error_says_all() -> None:
    error = ReplayError("one", ["two", "three"])
    assert str(error) == "one\ntwo\nthree"

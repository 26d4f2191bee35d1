"""Recordings of live links over loopback, by the recorder, and played against live ends again."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hsms_engine import Message, blocking, open_hsms
from hsms_engine.fake import serve_fake
from hsms_engine.messages import S1F1, S1F13
from hsms_engine.recorder import Recorder
from hsms_engine.recording import Record
from hsms_engine.replay import (
    Connected,
    ReplayError,
    Said,
    Told,
    UnplayableError,
    dialling,
    open_conversation,
    replay,
    replay_in_thread,
    serve_replay,
)
from hsms_engine.secs2 import A, L
from tests.support.patience import PATIENCE
from tests.support.recordings import link, said, written

HOST = "127.0.0.1"
SHORT: Any = {"t5": 0.01, "allow_short_timers": True}


@pytest.fixture
async def tool(tmp_path: Path) -> Path:
    """What a fake equipment has recorded of a host that came twice."""
    file = tmp_path / "tool.jsonl"
    async with trio.open_nursery() as nursery:
        equipment = await nursery.start(partial(serve_fake, record=file))
        for _ in range(2):
            async with open_hsms(HOST, equipment.port) as connection:
                await connection.request(S1F13())
                await connection.request(S1F1())
        await equipment.aclose()
    return file


async def host(port: int, *messages: Message) -> list[Message]:
    """The replies that a host gets."""
    async with open_hsms(HOST, port) as connection:
        return [await connection.request(each) for each in messages]


async def test_a_host_that_an_equipment_has_recorded_is_played_against_another_one(
    tool: Path, tmp_path: Path
) -> None:
    told: list[Told] = []
    again = tmp_path / "again.jsonl"
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            equipment = await nursery.start(serve_fake)
            conversation = await open_conversation(tool, "host")
            assert conversation.dials
            settings = conversation.settings(host=HOST, port=equipment.port, **SHORT)
            recorder = Recorder(again)
            await replay(
                conversation, dialling(settings, recorder), speed=math.inf, tell=told.append
            )
            recorder.close()
            await equipment.aclose()
    assert len([each for each in told if type(each) is Said]) == 8
    assert len([each for each in told if type(each) is Connected]) == 2
    # What was recorded of it is the same conversation, now as its host has recorded it.
    other = await open_conversation(again, "host")
    assert (other.connections, other.ours, other.theirs) == (2, 4, 4)
    assert [each.message for each in other.turns() if type(each) is Said] == [
        each.message for each in conversation.turns() if type(each) is Said
    ]


async def test_an_equipment_acts_for_a_host_as_in_the_recording(tool: Path) -> None:
    told: list[Told] = []
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(serve_replay, tool, "equipment", tell=told.append)
            replayed = await nursery.start(serve)
            assert replayed.address == f"{HOST}:{replayed.port}"
            assert repr(replayed) == f"<Replayed equipment {HOST}:{replayed.port}>"
            assert replayed.missing == 8
            for _ in range(2):
                first, second = await host(replayed.port, S1F13(), S1F1())
                assert (first.name, second.name) == ("S1F14", "S1F2")
            await replayed.finished()
            assert replayed.missing == 0
    assert len([each for each in told if type(each) is Said]) == 8


async def test_a_host_that_says_another_thing_is_told_the_first_difference(tool: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            replayed = await nursery.start(partial(serve_replay, tool, "equipment"))
            async with open_hsms(HOST, replayed.port) as connection:
                await connection.send(Message(1, 13, item=L(A("x"))))
                # Each who waits for the end is told.
                for _ in range(2):
                    with pytest.raises(ReplayError) as caught:
                        await replayed.finished()
                    assert (caught.value.expected, caught.value.found) == ("S1F13 W", "S1F13")
            assert replayed.missing == 8


async def test_what_a_host_has_not_said_is_told_when_it_is_closed(tool: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            replayed = await nursery.start(partial(serve_replay, tool, "equipment"))
            await replayed.aclose()
            with pytest.raises(ReplayError) as caught:
                await replayed.finished()
            assert str(caught.value) == "8 of 8 messages were not played before it was closed"
            replayed = await nursery.start(partial(serve_replay, tool, "equipment"))
            await host(replayed.port, S1F13(), S1F1())
            await replayed.aclose()
            with pytest.raises(
                ReplayError, match=r"^4 of 8 .*; the last one that was is message 4 "
            ):
                await replayed.finished()


async def test_the_last_reply_of_a_recording_arrives(tmp_path: Path) -> None:
    body = bytes(1_000_000)
    long = Message(2, 26, body=b"\x23" + len(body).to_bytes(3) + body)
    records: list[Record] = [
        link(),
        said(0.0, True, Message(2, 25, True), 1),
        said(0.0, False, long, 1),
    ]
    file = written(tmp_path / "tool.jsonl", records)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            replayed = await nursery.start(partial(serve_replay, file, "equipment"))
            assert await host(replayed.port, Message(2, 25, True)) == [long]
            await replayed.finished()


async def test_what_cannot_be_played_is_not_served(tool: Path) -> None:
    for options, kind, text in (
        ({"link": "x"}, UnplayableError, "no link 'x' is in "),
        ({"ignore": ["x"]}, ValueError, "'x' names no item"),
        ({"t3": 0}, ValueError, "t3"),
    ):
        wrong: Any = options
        with pytest.raises(kind, match=text):
            await serve_replay(tool, "equipment", **wrong)


# In a thread


def asks(port: int, times: int) -> None:
    """A host that connects so often, in a plain program."""
    for _ in range(times):
        with blocking.open_hsms(HOST, port, timeout=PATIENCE) as connection:
            connection.request(S1F13(), timeout=PATIENCE)
            connection.request(S1F1(), timeout=PATIENCE)


async def test_an_equipment_acts_so_for_plain_programs_too(tool: Path) -> None:
    def test() -> None:
        with replay_in_thread(partial(serve_replay, tool, "equipment")) as replayed:
            assert (replayed.conversation.connections, replayed.missing) == (2, 8)
            assert replayed.address == f"{HOST}:{replayed.port}"
            asks(replayed.port, 2)
            replayed.finished()
            assert replayed.missing == 0
        with replay_in_thread(partial(serve_replay, tool, "equipment")) as replayed:
            asks(replayed.port, 1)
            with pytest.raises(ReplayError, match=r"^4 of 8 messages were not played "):
                replayed.finished(timeout=0)

    with trio.fail_after(PATIENCE):
        await trio.to_thread.run_sync(test)


async def test_a_thread_that_is_waited_for_would_stop_the_loop_of_a_test(tool: Path) -> None:
    serve = partial(serve_replay, tool, "equipment")
    with (
        replay_in_thread(serve) as replayed,
        pytest.raises(RuntimeError, match=r"await trio.to_thread.run_sync\(replayed.finished"),
    ):
        replayed.finished()


def test_what_cannot_be_played_is_raised_where_it_is_asked_for(tmp_path: Path) -> None:
    serve = partial(serve_replay, tmp_path / "none.jsonl", "equipment")
    with pytest.raises(FileNotFoundError), replay_in_thread(serve):
        pass

"""``serve_health`` and ``ask_health``: one program asks another on the same machine.

The texts of its errors are shown whole here.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import serve_health
from hsms_engine.driver.tcp import connect_tcp, listen_tcp
from hsms_engine.health import Answer, HealthServer, ServerHealth, ask_health
from hsms_engine.health import ask as asking
from hsms_engine.health import serve as serving
from hsms_engine.health.place import Where
from hsms_engine.health.serve import Healthy
from tests.support.doors import trio_at_rest
from tests.support.leaks import leak_check
from tests.support.network import patience
from tests.support.pair import Switchboard, link_end, server_end
from tests.support.threads import from_thread

__all__ = ["leak_check", "patience", "trio_at_rest"]

QUIET: dict[str, Any] = {"linktest_interval": None, "linger": 0.01}
HOST = "127.0.0.1"
LONG = 107 if sys.platform == "linux" else 103

FORMS = "write a port, HOST:PORT of this machine (127.0.0.1:9000), or a path with a / (./health)"
NO_PLACE = "'health' is no place to tell health: " + FORMS
NOT_SEEN = "'a/\\nb' is no place to tell health: it has a character not to be seen"
ELSEWHERE = (
    "'10.1.2.3:5000' is not on this machine: health is told, and asked, on 127.0.0.1, ::1 or "
    "localhost only, so that no tool is dialled and nobody elsewhere is told"
)
IN_USE = "cannot tell health on 127.0.0.1:{}: Address already in use"
LISTENS = "cannot tell health on {}: Address already in use: process {} of user {} listens there"
ANOTHER = "Address already in use: another program listens there"
NO_SOCKET = "cannot tell health on {}: something is there that is no socket"
TOO_LONG = "cannot {} {}: the path has 200 bytes, and that of a Unix socket at most " + str(LONG)
NO_FOLDER = "cannot tell health on {}: No such file or directory"
NO_RIGHT = "cannot ask {}: Permission denied"
NO_FILE = "nobody tells health on {}: No such file or directory; does the program run?"
NOBODY = "nobody tells health on {}: Connection refused; does the program run?"
BROKE = "no health is told on {}: the connection broke: Connection reset by peer"
ENDS = "no health is told on {}: it was closed without one: does the program end?"
MUCH = "no health is told on {}: it has more than 1000 bytes: another program listens there"
OTHER = "no health is told on {}: {}: another program listens there"
NO_LIST = "<HsmsLink tool:5000 waiting> is no collection of links and servers: give a list of them"
NO_LINK = "7 is no link and no server: it has no health()"


class Said:
    """What has a health, for tests."""

    def __init__(self, *, is_ready: bool = True, name: str = "etcher-1") -> None:
        self.is_ready = is_ready
        self.name = name

    def health(self) -> ServerHealth:
        return ServerHealth(self.name, f"{self.name}:5000", self.is_ready, 7.5, "why", 0, 0)


@asynccontextmanager
async def told(links: Collection[Healthy], where: Where = 0) -> AsyncIterator[HealthServer]:
    async with trio.open_nursery() as nursery:
        server: HealthServer = await nursery.start(partial(serve_health, links, where))
        yield server
        nursery.cancel_scope.cancel()


async def error_of(where: Where) -> str:
    with pytest.raises(OSError) as caught:  # noqa: PT011  # its text is compared
        await ask_health(where)
    return str(caught.value.strerror)


async def error_of_serving(where: Where, links: Collection[Healthy] = ()) -> str:
    with pytest.raises(OSError) as caught:  # noqa: PT011  # its text is compared
        await serve_health(links, where)
    return str(caught.value.strerror)


# Telling and asking


async def test_who_asks_is_told_of_each_link_and_whether_all_are_ready() -> None:
    board = Switchboard()
    async with link_end(board, name="etcher-1", **QUIET) as link, told([link]) as server:
        answer = await ask_health(server.where)
        assert (answer.is_ready, answer.process) == (False, os.getpid())
        (one,) = answer.links
        assert (one.name, one.peer, one.is_ready) == ("etcher-1", "tool:5000", False)
        assert one.why == "the link is selecting, not selected"
        assert one.facts.keys() == link.health().as_json().keys()
        await (await board.peer()).select_by_answering()
        await link.wait_selected()
        assert (await ask_health(server.where)).is_ready
        await link.aclose()
        assert not (await ask_health(server.where)).is_ready


async def test_a_server_and_a_link_are_told_together_and_of_one_alone() -> None:
    async with (
        server_end(name="line 3", **QUIET) as (server, _),
        link_end(Switchboard(), **QUIET) as link,
        told([server, link]) as telling,
    ):
        answer = await ask_health(telling.where)
        assert [each.name for each in answer.links] == ["line 3", "tool:5000"]
        assert not answer.is_ready
        assert answer.of("line 3").is_ready
        assert answer.of("memory") == answer.of("line 3")
        assert not answer.of("tool:5000").is_ready
        assert answer.of("line") == Answer(os.getpid(), ())


async def test_the_collection_may_change_and_without_a_link_it_is_not_ready() -> None:
    links: dict[str, Said] = {}
    async with told(links.values()) as server:
        assert not (await ask_health(server.where)).is_ready
        links["a"] = Said()
        assert (await ask_health(server.where)).is_ready
        links["b"] = Said(is_ready=False, name="b")
        assert [each.is_ready for each in (await ask_health(server.where)).links] == [True, False]


class Busy(Said):
    """What has a health, while another thread changes the collection that it is in."""

    def __init__(self, links: dict[str, Said]) -> None:
        super().__init__()
        self.links = links

    def health(self) -> ServerHealth:
        self.links[str(len(self.links))] = Said()
        return super().health()


async def test_the_collection_may_change_while_it_is_looked_through() -> None:
    links: dict[str, Said] = {}
    links["a"] = Busy(links)
    async with told(links.values()) as server:
        for count in (1, 2):
            assert len((await ask_health(server.where)).links) == count


@pytest.mark.parametrize("where", [0, "127.0.0.1:0", "localhost:0", "[::1]:0"])
async def test_where_it_is_told_can_be_asked(where: Where) -> None:
    async with told([Said()], where) as server:
        assert not server.where.endswith(":0")
        assert (await ask_health(server.where)).is_ready


# A place that is taken


async def test_a_port_that_is_taken_is_named() -> None:
    async with told([Said()]) as server:
        port = int(server.where.rpartition(":")[2])
        assert await error_of_serving(port) == IN_USE.format(port)


async def test_what_is_no_link_is_refused_before_it_listens() -> None:
    board = Switchboard()
    board.refuse()
    async with link_end(board, **QUIET) as link:
        await wait_all_tasks_blocked()
        wrong: Any = link
        with pytest.raises(TypeError) as caught:
            await serve_health(wrong, 0)
        assert str(caught.value) == NO_LIST
        wrong = [link, 7]
        with pytest.raises(TypeError) as caught:
            await serve_health(wrong, 0)
        assert str(caught.value) == NO_LINK


# Who asks without manners


async def test_who_says_nothing_and_who_says_garbage_get_the_answer_too() -> None:
    async with told([Said()]) as server:
        host, _, port = server.where.rpartition(":")
        for words in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(100_000)):
            stream = await connect_tcp(host, int(port))
            if words:
                await stream.send_some(memoryview(words))
            line = b""
            while b"\n" not in line:
                line += await stream.receive_some()
            assert json.loads(line)["is_ready"] is True
            stream.close()
        assert (await ask_health(server.where)).is_ready


async def test_what_came_before_the_answer_does_not_reset_the_connection() -> None:
    """Where a reset takes back what was not read, the answer would be lost."""
    async with told([Said()]) as server:
        host, _, port = server.where.rpartition(":")
        # Without a turn for who tells.
        asking_socket = socket.create_connection((host, int(port)))
        asking_socket.sendall(bytes(1_000))
        async with trio.SocketStream(trio.socket.from_stdlib_socket(asking_socket)) as stream:
            line = b"".join([bytes(more) async for more in stream])
    assert json.loads(line)["is_ready"] is True


async def test_who_goes_at_once_harms_nobody() -> None:
    async with told([Said()]) as server:
        host, _, port = server.where.rpartition(":")
        for number in range(20):
            stream = await connect_tcp(host, int(port))
            stream.reset() if number % 2 else stream.close()
        assert (await ask_health(server.where)).is_ready


async def test_many_ask_at_once() -> None:
    answers: list[Answer] = []

    async def ask(where: str) -> None:
        answers.append(await ask_health(where))

    async with told([Said()]) as server, trio.open_nursery() as nursery:
        for _ in range(300):
            nursery.start_soon(ask, server.where)
    assert len(answers) == 300
    assert all(each.is_ready for each in answers)


async def test_who_does_not_take_its_answer_is_left_and_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "_MOST", 2)
    monkeypatch.setattr(serving, "_PATIENCE", 0.05)
    # More than the system takes for who does not read.
    links = [Said(name=f"tool-{number}") for number in range(50_000)]
    async with told(links) as server:
        host, _, port = server.where.rpartition(":")
        idle = [await connect_tcp(host, int(port)) for _ in range(2)]
        await wait_all_tasks_blocked()
        links[1:] = []
        assert (await ask_health(server.where)).is_ready
        for stream in idle:
            got = b"".join([bytes(more) async for more in stream])
            assert got.startswith(b'{"is_ready": true')
            assert not got.endswith(b"\n")
            stream.close()


async def test_it_ends_with_its_scope_and_leaves_no_connection() -> None:
    async with told([Said()]) as server:
        host, _, port = server.where.rpartition(":")
        stream = await connect_tcp(host, int(port))
    # ``leak_check`` looks at the sockets.
    while await stream.receive_some():
        pass
    stream.close()


# What listens there is not ours


@asynccontextmanager
async def speaker(words: Sequence[bytes], *, resets: bool = False) -> AsyncIterator[str]:
    """A program that says this to whoever connects."""
    listener = await listen_tcp(HOST, 0)

    async def speak() -> None:
        stream, _ = await listener.accept()
        try:
            for each in words:
                await stream.send_all(each)
            # Until who asks waits for more.
            await wait_all_tasks_blocked()
        finally:
            stream.reset() if resets else stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        try:
            yield f"{HOST}:{listener.port}"
        finally:
            nursery.cancel_scope.cancel()
            listener.close()


FACTS = {"name": "a", "peer": "b", "is_ready": True, "since_seconds": 1.0, "why": "c"}
ANSWER = {"is_ready": True, "process": 1, "links": [FACTS]}


@pytest.mark.parametrize(
    "words",
    [
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\0\0\0\n\xff\xff\0\0\0\7\0\0\0\1",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"is_ready": true',
        json.dumps(ANSWER).encode().replace(b"1.0", b"1e999"),
        *(
            json.dumps(each).encode()
            for each in (
                {**ANSWER, "links": {}},
                {**ANSWER, "links": [7]},
                {**ANSWER, "is_ready": 1},
                {**ANSWER, "is_ready": False},
                {**ANSWER, "links": []},
                {**ANSWER, "links": [{**FACTS, "since_seconds": math.nan}]},
                {**ANSWER, "links": [{**FACTS, "new": math.inf}]},
                {**ANSWER, "process": "1"},
                {**ANSWER, "links": [{**FACTS, "is_ready": "true"}]},
                {**ANSWER, "links": [{**FACTS, "since_seconds": None}]},
                {**ANSWER, "links": [{**FACTS, "why": 1}]},
                {**ANSWER, "links": [{"name": "a"}]},
            )
        ),
    ],
    ids=lambda words: repr(words[:40]),
)
async def test_what_is_no_health_is_shown(words: bytes) -> None:
    async with speaker([words]) as where:
        shown = f"{words[:60]!r}{'…' if len(words) > 60 else ''}"
        assert await error_of(where) == OTHER.format(where, shown)


async def test_what_is_health_is_taken_with_what_a_later_version_adds() -> None:
    words = json.dumps({**ANSWER, "more": [{}], "links": [{**FACTS, "new": None}]}).encode()
    async with speaker([words[:10], words[10:]]) as where:
        answer = await ask_health(where)
    assert answer.links[0].facts["new"] is None
    assert (answer.is_ready, answer.process, answer.links[0].why) == (True, 1, "c")


async def test_an_end_without_an_answer_and_a_reset_are_told() -> None:
    async with speaker([]) as where:
        assert await error_of(where) == ENDS.format(where)
    async with speaker([], resets=True) as where:
        assert await error_of(where) == BROKE.format(where)


async def test_who_talks_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_LONGEST", 1_000)
    async with speaker([b"x" * 100_000]) as where:
        assert await error_of(where) == MUCH.format(where)


async def test_nobody_there_is_told() -> None:
    listener = await listen_tcp(HOST, 0)
    where = f"{HOST}:{listener.port}"
    listener.close()
    assert await error_of(where) == NOBODY.format(where)


async def test_who_gives_no_answer_is_waited_for_as_long_as_the_caller_wants() -> None:
    listener = await listen_tcp(HOST, 0)
    with trio.move_on_after(0.01) as scope:
        await ask_health(listener.port)
    assert scope.cancelled_caught
    listener.close()


async def test_a_link_says_it_in_any_thread() -> None:
    async with link_end(Switchboard(), **QUIET) as link:
        await wait_all_tasks_blocked()
        found: Any = await from_thread(link.health)
        assert (found.phase, found.peer) == ("selecting", "tool:5000")

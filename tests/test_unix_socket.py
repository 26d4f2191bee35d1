"""The same engine over a Unix socket: between tasks, between processes, many at once."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from hsms_engine import (
    ConnectError,
    ConnectionLostError,
    HsmsConnection,
    HsmsServer,
    Message,
    Settings,
    open_hsms,
    serve_hsms,
)
from hsms_engine.driver.tcp import connect_unix, listen_unix
from tests.support.leaks import leak_check, no_task_left
from tests.support.network import patience
from tests.support.pair import Handler, echo
from tests.support.unix_server import EVENTS

__all__ = ["leak_check", "no_task_left", "patience"]

if sys.platform == "win32":
    pytest.skip("Python has no Unix sockets there", allow_module_level=True)

ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "hsms")


def client(path: str, **changes: Any) -> Any:
    return open_hsms("unix", 0, dial=lambda: connect_unix(path), **changes)


@asynccontextmanager
async def other_process(path: str) -> AsyncIterator[trio.Process]:
    """A server in a process of its own, which listens when the block begins."""
    command = [sys.executable, "-m", "tests.support.unix_server", path]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.receive_some() == b"ready\n"
        yield process
        await process.stdin.aclose()
        await process.wait()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


@asynccontextmanager
async def server(path: str, handler: Handler = echo, **changes: Any) -> AsyncIterator[HsmsServer]:
    listener = await listen_unix(path)
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[HsmsServer]) -> None:
            settings = Settings().replace(**changes)
            await serve_hsms(handler, settings, listener=listener, task_status=task_status)

        started: HsmsServer = await nursery.start(serve)
        yield started
        nursery.cancel_scope.cancel()


async def test_it_connects_selects_and_talks(path: str) -> None:
    async with server(path) as serving, client(path) as connection:
        assert serving.address == path
        reply = await connection.request(Message(2, 25, wait=True, body=b"\x41\x01A"))
        assert (reply.name, reply.body) == ("S2F26", b"\x41\x01A")
        await connection.linktest()


async def test_two_processes_talk(path: str) -> None:
    async with other_process(path), client(path) as connection:
        body = Random(1).randbytes(1_000_000)
        reply = await connection.request(Message(2, 25, wait=True, body=body))
        assert reply.body == body


async def test_ten_clients_at_once_each_get_their_own_answers(path: str) -> None:
    async def talk(number: int) -> None:
        async with client(path) as connection, trio.open_nursery() as nursery:

            async def ask(turn: int) -> None:
                body = bytes([number, turn])
                reply = await connection.request(Message(2, 25, wait=True, body=body))
                assert reply.body == body

            for turn in range(20):
                nursery.start_soon(ask, turn)

    async with other_process(path), trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(talk, number)


async def test_100_rapid_events_arrive_in_order(path: str) -> None:
    async with other_process(path), client(path) as connection:
        await connection.request(Message(2, 41, wait=True))
        got = [(await anext(connection)).body[-1] for _ in range(EVENTS)]
        assert got == list(range(EVENTS))


@pytest.mark.parametrize("how", ["killed", "closed"])
async def test_the_end_of_the_other_process_is_noticed(path: str, how: str) -> None:
    async with other_process(path) as process, client(path) as connection:
        await connection.request(Message(1, 1, wait=True))
        if how == "killed":
            process.send_signal(signal.SIGKILL)
            with pytest.raises(ConnectionLostError):
                await anext(connection)
        else:
            assert process.stdin is not None
            await process.stdin.aclose()
            assert [primary async for primary in connection] == []


async def test_the_end_of_a_client_is_noticed(path: str) -> None:
    ended = trio.Event()

    async def handler(connection: HsmsConnection) -> None:
        assert [primary.name async for primary in connection] == ["S6F11"]
        ended.set()

    async with server(path, handler):
        async with client(path) as connection:
            await connection.send(Message(6, 11))
        await ended.wait()


async def test_nobody_there_is_a_connect_error(path: str) -> None:
    async def connect() -> None:
        async with client(path):
            pass

    with pytest.raises(ConnectError, match="No such file or directory"):
        await connect()
    async with server(path):
        pass
    with pytest.raises(ConnectError, match="No such file or directory"):
        await connect()


async def test_a_unix_socket_has_a_path_and_no_port(path: str) -> None:
    listener = await listen_unix(path)
    assert (listener.address, listener.port) == (path, 0)
    listener.close()


async def test_the_socket_file_goes_with_its_listener(path: str) -> None:
    async with server(path):
        assert stat.S_ISSOCK((await trio.Path(path).stat()).st_mode)
        with pytest.raises(OSError, match="Address already in use"):
            await listen_unix(path)
        assert stat.S_ISSOCK((await trio.Path(path).stat()).st_mode)
    assert not await trio.Path(path).exists()


async def test_a_socket_file_that_is_gone_already_is_no_error(path: str) -> None:
    listener = await listen_unix(path)
    await trio.Path(path).unlink()
    listener.close()
    listener.close()

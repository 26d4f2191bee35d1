"""Real TCP on loopback: an equipment to talk to, and listeners that misbehave.

``HSMS_SERVER_HOST`` and ``HSMS_SERVER_PORT`` name an equipment on another machine. Tests that need
only an equipment then use that one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
import trio

from hsms_engine import HsmsServer, Settings, serve_hsms
from hsms_engine.driver.tcp import DirectStream, Listener, listen_tcp
from tests.support.pair import Handler, echo
from tests.support.patience import PATIENCE


def elsewhere() -> tuple[str, int] | None:
    """The equipment on another machine that the environment names. Raises ``ValueError``."""
    host, port = os.environ.get("HSMS_SERVER_HOST"), os.environ.get("HSMS_SERVER_PORT") or "5000"
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        raise ValueError(f"HSMS_SERVER_PORT={port!r} is not a port in 1..65535")
    return (host, int(port)) if host else None


def run_patiently(function: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
    """``trio.run`` that fails after a time."""

    async def bounded() -> Any:
        with trio.fail_after(PATIENCE):
            return await function(*args)

    return trio.run(bounded, **options)


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest) -> None:
    """No test of a module that imports this waits for ever."""
    # The first mark names the runner; pytest-trio has added its own at the end.
    request.node.own_markers.insert(0, pytest.mark.trio(run=run_patiently).mark)


@asynccontextmanager
async def equipment(handler: Handler = echo) -> AsyncIterator[tuple[str, int]]:
    """The address of an equipment that echoes: the one named by the environment, or our own."""
    if address := elsewhere():
        yield address
        return
    async with serving(handler) as server:
        yield "127.0.0.1", server.port


@asynccontextmanager
async def serving(handler: Handler = echo, **changes: Any) -> AsyncIterator[HsmsServer]:
    """A server of ours on a port that the system chooses, closed after the block."""
    settings = Settings(port=0).replace(**changes)
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[HsmsServer]) -> None:
            await serve_hsms(handler, settings, task_status=task_status)

        server: HsmsServer = await nursery.start(serve)
        yield server
        nursery.cancel_scope.cancel()


class Gate:
    """A listener that counts its connections and handles each in a given way."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.came = 0
        self.port = listener.port

    async def run(self, treat: Callable[[DirectStream], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                stream, _ = await self._listener.accept()
                self.came += 1
                nursery.start_soon(treat, stream)


@asynccontextmanager
async def gate(treat: Callable[[DirectStream], Awaitable[None]]) -> AsyncIterator[Gate]:
    """A listener on loopback; ``treat`` gets each stream and has to close it."""
    listener = await listen_tcp("127.0.0.1", 0)
    try:
        async with trio.open_nursery() as nursery:
            opened = Gate(listener)
            nursery.start_soon(opened.run, treat)
            yield opened
            nursery.cancel_scope.cancel()
    finally:
        listener.close()


async def close_at_once(stream: DirectStream) -> None:
    await stream.aclose()


async def say_nothing(stream: DirectStream) -> None:
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass
    finally:
        stream.close()


def direct(connected: socket.socket) -> DirectStream:
    """The engine's own stream over a socket."""
    return DirectStream(trio.SocketStream(trio.socket.from_stdlib_socket(connected)))


def reset(stream: DirectStream) -> None:
    """Close with RST instead of FIN."""
    stream.reset()


def closed_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Hole:
    """An address on loopback that answers no connect: a listener whose queue is full."""

    def __init__(self) -> None:
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(0)
        self.port: int = self._listening.getsockname()[1]
        self._waiting: list[socket.socket] = []
        for _ in range(4):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self.port))
            self._waiting.append(waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (*self._waiting, self._listening):
            each.close()

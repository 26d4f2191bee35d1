"""A page of ``serve_monitor`` in a network in memory, and browsers that ask it by h11."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple

import h11
import pytest
import trio

from hsms_engine.monitor import MonitorServer, Watched, serve_monitor
from hsms_engine.monitor import serve as serving
from hsms_engine.virtual import Kernel, Network, Post, Socket

PORT = 8037
HOST = f"127.0.0.1:{PORT}"

Dial = Callable[[], Awaitable[Socket]]


class Reply(NamedTuple):
    """A response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name.lower())

    @property
    def object(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        found = self.object["error"]
        assert isinstance(found, str)
        return found


class Browser:
    """One connection of a browser, and its cookie."""

    def __init__(self, stream: trio.abc.Stream, cookie: str = "", host: str = HOST) -> None:
        self.stream = stream
        self.cookie = cookie
        self.host = host
        self.http = h11.Connection(h11.CLIENT)
        self._told: list[str] = []

    async def send(
        self,
        path: str,
        method: str = "GET",
        body: bytes = b"",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Ask."""
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        told = [("Host", self.host), ("Content-Length", str(len(body)))]
        told += [("Cookie", self.cookie)] if self.cookie else []
        told += headers.items()
        request = h11.Request(method=method, target=path, headers=told)
        data = self.http.send(request) or b""
        data += (self.http.send(h11.Data(data=body)) or b"") if body else b""
        await self.stream.send_all(data + (self.http.send(h11.EndOfMessage()) or b""))

    async def event(self) -> Any:
        """What comes next, as h11 says it."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(bytes(await self.stream.receive_some(65_536)))
        return event

    async def head(self) -> Reply:
        """A response without its body."""
        event = await self.event()
        while isinstance(event, h11.InformationalResponse):
            event = await self.event()
        assert isinstance(event, h11.Response)
        headers = [(name.decode(), value.decode()) for name, value in event.headers]
        return Reply(event.status_code, headers, b"")

    async def reply(self) -> Reply:
        """A whole response."""
        reply = await self.head()
        while isinstance(event := await self.event(), h11.Data):
            reply = reply._replace(body=reply.body + bytes(event.data))
        assert isinstance(event, h11.EndOfMessage)
        return reply

    async def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Reply:
        """Ask, and the response. In the names of ``headers``, _ is -."""
        await self.send(
            path, method, body, {name.replace("_", "-"): each for name, each in headers.items()}
        )
        return await self.reply()

    async def enter(self, token: str) -> Reply:
        """Send the token, and keep the cookie."""
        reply = await self.ask("/enter", "POST", token.encode())
        self.cookie = (reply.header("Set-Cookie") or "").partition(";")[0]
        return reply

    async def told(self) -> tuple[str, Any]:
        """The next event of a stream: its name, and what it tells; a sign of life has no name."""
        data = b""
        while not self._told:
            event = await self.event()
            assert isinstance(event, h11.Data), event
            data += bytes(event.data)
            if data.endswith(b"\n\n"):
                self._told = data.decode("ascii").split("\n\n")[:-1]
        name, _, rest = self._told.pop(0).partition("\n")
        if name == ":":
            return "", None
        return name.removeprefix("event: "), json.loads(rest.removeprefix("data: "))


class Site(NamedTuple):
    """A page that runs."""

    shown: MonitorServer
    dial: Dial
    ended: trio.CancelScope

    async def browser(self, *, enters: bool = False) -> Browser:
        """Another browser."""
        browser = Browser(await self.dial())
        if enters:
            reply = await browser.enter(self.shown.token)
            assert reply.status == 204
        return browser


@asynccontextmanager
async def site(*watched: Watched, room: float = 1_000_000, **options: Any) -> AsyncIterator[Site]:
    """A page, until the block ends. ``room``: bytes that a browser takes without reading."""
    network = Network(Random(1), Kernel(room, room, math.inf))
    here, there = map(network.machine, ("here", "there"))
    post = there.listen(PORT)

    async def listen(_host: str, _port: int) -> Post:
        await trio.lowlevel.checkpoint()
        return post

    trio.lowlevel.spawn_system_task(network.run)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(serving, "listen_tcp", listen)
        async with trio.open_nursery() as nursery:
            ended = trio.CancelScope()

            async def serve(task_status: trio.TaskStatus[MonitorServer]) -> None:
                with ended:
                    await serve_monitor(watched, **options, task_status=task_status)

            shown = await nursery.start(serve)
            yield Site(shown, partial(here.dial, there, PORT), ended)
            nursery.cancel_scope.cancel()

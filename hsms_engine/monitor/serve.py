"""``serve_monitor``: a page that shows what links do, live and in recordings."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Final

import trio
from trio import TaskStatus

from hsms_engine.driver.loop import expect_trio
from hsms_engine.driver.tcp import BROKEN, DirectStream, Listener, is_this_machine, listen_tcp
from hsms_engine.driver.tls import TlsError, secure
from hsms_engine.driver.tls_files import Tls, TlsFiles
from hsms_engine.errors import SettingsError
from hsms_engine.logs import LINK, say
from hsms_engine.monitor.answers import Answers, Source
from hsms_engine.monitor.errors import RefusedError
from hsms_engine.monitor.feed import Feed
from hsms_engine.monitor.guard import Guard
from hsms_engine.monitor.history import DEFAULT_BUDGET, ChangedError, FileHistory, LiveHistory
from hsms_engine.monitor.http import Request, Response, Send, converse
from hsms_engine.monitor.shown import Object
from hsms_engine.recorder import Mask, Observable
from hsms_engine.recorder.observed import Attach
from hsms_engine.recording import parts_of
from statecharts.nursery import open_bare_nursery

Watched = Observable | str | os.PathLike[str]
"""A link, a connection or a server of any door, or the file of a recording with its parts."""

Strangers = dict[trio.CancelScope, None]
"""The connections on which nobody has shown that he has entered, oldest first."""

# Connections at a time, and how many of them may be streams.
_MOST: Final = 64
_MOST_STREAMS: Final = 32
# Seconds for a handshake; between two events of a stream; between two signs of life.
_HANDSHAKE: Final = 10.0
_EVERY: Final = 0.25
_ALIVE: Final = 10.0
# Where the pictures are in a working copy; installed, they are in this package.
_SOURCE: Final = Path(__file__).parents[2] / "diagrams"
# Records of a file that are read in one turn.
_READ: Final = 64

_PAGES: Final = {
    "/": ("monitor.html", "text/html; charset=utf-8"),
    "/monitor.js": ("monitor.js", "text/javascript; charset=utf-8"),
    "/monitor.css": ("monitor.css", "text/css; charset=utf-8"),
}


@dataclass(slots=True)
class MonitorServer:
    """Shows a page until ``serve_monitor`` is cancelled.

    ``url`` is its address. ``token`` is what the next browser enters with, once; after that there
    is another.
    """

    url: str
    _guard: Guard = field(repr=False)
    _feed: Feed = field(repr=False)

    @property
    def token(self) -> str:
        """The token of the next browser."""
        return self._guard.token

    @property
    def attach(self) -> Attach:
        """So that a link can be followed from its beginning on: ``record=shown``."""
        return self._feed.attach

    def add(self, observable: Observable, /) -> None:
        """Show this too, from now on. Raises as ``Recorder.add``."""
        self._feed.add(observable)

    @property
    def link(self) -> str:
        """What to open in a browser: the address with the token behind a #, which is not sent."""
        return f"{self.url}#token={self.token}"


async def serve_monitor(
    watched: Sequence[Watched],
    host: str = "127.0.0.1",
    port: int = 8037,
    *,
    tls: Tls | None = None,
    mask: Mask | None = None,
    budget: int = DEFAULT_BUDGET,
    entered: Callable[[str], None] = lambda _: None,
    task_status: TaskStatus[MonitorServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Show links, servers and recordings on a page, read only.

    ``shown = await nursery.start(serve_monitor, [link, server, "tool-7.jsonl"])``, then open
    ``shown.link``. Port 0 lets the system choose one. On an address that other machines reach, TLS
    is required. ``mask`` is as for ``Recorder``; ``budget`` is how many bytes the latest records of
    live links may take. ``entered`` is called with the next token when a browser has entered.

    It runs until it is cancelled. Raises ``ValueError`` for a host that needs TLS,
    ``SettingsError`` for files of TLS that are none, ``TypeError`` for what is neither link nor
    file, ``OSError`` when it cannot listen or a file is not there.
    """
    expect_trio("serve_monitor()")
    if tls is None and not is_this_machine(host):
        raise ValueError(
            f"host={host!r} is reached by other machines, so the page needs tls= there: without, "
            "whoever listens on the network reads every message"
        )
    if isinstance(tls, TlsFiles):
        # So that a wrong file is told now, and not by silence to each browser.
        tls.context(listens=True)
    live = LiveHistory(budget=budget)
    feed = Feed(live, mask)
    sources: list[Source] = []
    histories: list[FileHistory] = []
    listener: Listener | None = None
    try:
        for each in watched:
            if isinstance(each, str | os.PathLike):
                history = FileHistory(parts_of(each) or [Path(each)])
                histories.append(history)
                sources.append(Source(Path(each).name, "file", history))
            else:
                feed.add(each)
        # Links may be added later.
        sources.insert(
            0 if len(histories) < len(watched) else len(histories), Source("live", "live", live)
        )
        listener = await listen_tcp(host, port)
        async with open_bare_nursery() as nursery:
            guard = Guard(
                listener.port, is_secure=tls is not None, sleep=trio.sleep, entered=entered
            )
            site = _Site(Answers(sources), guard)
            nursery.start_soon(_alone, feed.run)
            for history in histories:
                nursery.start_soon(_alone, partial(_read, history))
            scheme = "http" if tls is None else "https"
            task_status.started(MonitorServer(f"{scheme}://{listener.address}/", guard, feed))
            room = trio.Semaphore(_MOST)
            strangers: Strangers = {}
            while True:
                stream, _ = await listener.accept()
                nursery.start_soon(_alone, partial(_serve, stream, tls, site, room, strangers))
                if not room.value and strangers:
                    # Otherwise whoever says nothing, on so many connections, would let nobody in.
                    oldest = next(iter(strangers))
                    del strangers[oldest]
                    oldest.cancel()
                await room.acquire()
    finally:
        feed.end()
        if listener is not None:
            listener.close()


async def _alone(task: Callable[[], Awaitable[None]]) -> None:
    """Run a task of the page: no fault of it ends the links beside it."""
    try:
        await task()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is logged
        say(LINK, logging.ERROR, "a page of links has a defect, and its links go on:", error=error)


async def _read(history: FileHistory) -> None:
    while not history.is_read:
        history.read_more(_READ)
        await trio.lowlevel.checkpoint()


async def _serve(
    stream: DirectStream, tls: Tls | None, site: _Site, room: trio.Semaphore, strangers: Strangers
) -> None:
    """One connection of a browser."""
    inner: trio.abc.HalfCloseableStream = stream
    scope = trio.CancelScope()
    strangers[scope] = None

    def entered() -> None:
        strangers.pop(scope, None)

    try:
        with scope:
            if tls is not None:
                context = tls.context(listens=True) if isinstance(tls, TlsFiles) else tls
                with trio.fail_after(_HANDSHAKE):
                    inner = await secure(stream, context, listens=True)
            await converse(inner, partial(site.answer, entered), _refusal)
    except (TlsError, SettingsError, trio.TooSlowError, *BROKEN):
        # Who does not speak TLS here, or leaves: the next one comes.
        pass
    finally:
        entered()
        stream.close()
        room.release()


class _Site:
    """What is at each address."""

    def __init__(self, answers: Answers, guard: Guard) -> None:
        self._answers = answers
        self._guard = guard
        self._streams = 0

    async def answer(self, entered: Callable[[], None], request: Request) -> Response:
        """The response to any request. ``entered`` is called for that of one who has entered."""
        try:
            self._guard.check_origin(request)
            return await self._answer(entered, request)
        except RefusedError as error:
            return _refusal(error.status, str(error))
        except (OSError, ChangedError) as error:
            return _refusal(503, str(error))

    async def _answer(self, entered: Callable[[], None], request: Request) -> Response:
        method, path = request.method, request.path
        if path == "/enter":
            _expect(method == "POST", 405, "enter with POST")
            cookie = await self._guard.enter(request)
            entered()
            return Response(204, headers=(("Set-Cookie", cookie),))
        _expect(method in ("GET", "HEAD"), 405, "it is read only")
        if path in _PAGES:
            name, kind = _PAGES[path]
            return Response(200, kind, _static(name))
        self._guard.check_browser(request)
        entered()
        if path == "/api/events":
            _expect(self._streams < _MOST_STREAMS, 503, "too many pages are open")
            send = partial(self._stream, request.query.get("link"))
            return Response(200, "text/event-stream", stream=send)
        if path.startswith("/pictures/"):
            name = path.removeprefix("/pictures/").removesuffix(".svg")
            _expect(name in _pictures(), 404, f"there is no picture {name}")
            return Response(200, "image/svg+xml", _pictures()[name])
        return Response(200, body=_json(await self._answers.get(path, request.query)))

    async def _stream(self, key: str | None, send: Send) -> None:
        """Tell what changes. What a browser takes late it gets as it is then: nothing waits."""
        self._streams += 1
        try:
            changes = self._answers.changes(key)
            quiet = 0.0
            while True:
                told = [
                    f"event: {name}\ndata: {_json(each).decode()}\n\n"
                    for name, each in await changes.next()
                ]
                if told or quiet >= _ALIVE:
                    await send("".join(told or [":\n\n"]).encode())
                    quiet = 0.0
                await trio.sleep(_EVERY)
                quiet += _EVERY
        finally:
            self._streams -= 1


def _expect(holds: bool, status: int, why: str) -> None:
    if not holds:
        raise RefusedError(status, why)


def _refusal(status: int, why: str) -> Response:
    return Response(status, body=_json({"error": why}))


def _json(found: Object) -> bytes:
    return json.dumps(found, separators=(",", ":"), allow_nan=False).encode("ascii")


@cache
def _static(name: str) -> bytes:
    return (files("hsms_engine.monitor") / "static" / name).read_bytes()


@cache
def _pictures() -> Mapping[str, bytes]:
    """The pictures of the charts of this version, by their names, as SVG."""
    packed = files("hsms_engine.monitor") / "pictures"
    folder = packed if packed.is_dir() else _SOURCE
    return {
        each.name.removesuffix(".svg"): each.read_bytes()
        for each in folder.iterdir()
        if each.name.endswith(".svg")
    }

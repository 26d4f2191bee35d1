"""HTTP/1.1 over one connection, by h11: bounded in sizes and times, whatever a browser sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import trio

from hsms_engine.driver.tcp import BROKEN
from statecharts.nursery import open_bare_nursery

# Bytes of the request line and its headers, and of a body: a token.
_MOST_HEAD: Final = 16_384
_MOST_BODY: Final = 1_024
_PIECE: Final = 4_096
_MOST_FIELDS: Final = 32
# RFC 9110, 8.6: such a response has no Content-Length.
_NO_CONTENT: Final = 204
# Seconds for a request to come, for what is sent to be taken, and for the peer to close.
_PATIENCE: Final = 30.0
_SEND_PATIENCE: Final = 5.0
_LINGER: Final = 1.0

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ALWAYS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Content-Security-Policy", _POLICY),
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a browser asks. The names of ``headers`` are in lower case; the last of a name counts,
    and ``is_clear`` is false when those that decide who asks were there twice."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    is_clear: bool


Send = Callable[[bytes], Awaitable[None]]
Stream = Callable[[Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Response:
    """What it gets: ``body``, or what ``stream`` sends until the browser leaves."""

    status: int
    kind: str = "application/json"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    stream: Stream | None = field(default=None, compare=False)


Answer = Callable[[Request], Awaitable[Response]]

# Twice one of these is a trick.
_ONCE: Final = frozenset({b"host", b"origin", b"cookie", b"content-length"})


class _LeftError(Exception):
    """The browser has left, or takes nothing."""


async def converse(
    stream: trio.abc.HalfCloseableStream, answer: Answer, refuse: Callable[[int, str], Response]
) -> None:
    """Answer all requests of a connection, until the browser closes it, or does something wrong.

    ``refuse`` makes the response to what is no HTTP. The caller closes the stream.
    """
    connection = _Connection(stream)
    try:
        while True:
            try:
                request = await connection.request()
            except h11.RemoteProtocolError as error:
                await connection.respond(refuse(error.error_status_hint, str(error)))
                break
            if request is None:
                break
            await connection.respond(await answer(request))
            if not connection.goes_on():
                break
        await connection.finish()
    except (_LeftError, *BROKEN):
        pass


class _Connection:
    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEAD)
        # Whether the request wants no body: then h11 takes none.
        self._is_head = False

    def goes_on(self) -> bool:
        """Begin the next request and response, if the browser may send another."""
        if self._http.our_state is h11.MUST_CLOSE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def request(self) -> Request | None:
        """The next request; None when none comes any more. Raises ``h11.RemoteProtocolError``."""
        with trio.move_on_after(_PATIENCE):
            head: h11.Request | None = None
            body, self._is_head = b"", False
            while True:
                event = await self._event()
                match event:
                    case h11.Request():
                        head = event
                        self._is_head = head.method == b"HEAD"
                    case h11.Data():
                        body += event.data
                        if len(body) > _MOST_BODY:
                            raise h11.RemoteProtocolError("the body is too long", 413)
                    case h11.EndOfMessage():
                        assert head is not None
                        return _request(head, body)
                    case _:
                        return None
        return None

    async def _event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(bytes(await self._stream.receive_some(_PIECE)))

    async def respond(self, response: Response) -> None:
        """Send a response. Raises ``_LeftError``."""
        headers = [*_ALWAYS, *response.headers]
        if response.status != _NO_CONTENT:
            size = ("Content-Length", str(len(response.body)))
            # What the browser sends beside a stream is not read as requests.
            framing = size if response.stream is None else ("Connection", "close")
            headers += [("Content-Type", response.kind), framing]
        await self._send(h11.Response(status_code=response.status, headers=headers))
        if response.stream is not None and not self._is_head:
            await self._stream_out(response.stream)
        elif response.body and not self._is_head:
            await self._send(h11.Data(data=response.body))
        await self._send(h11.EndOfMessage())

    async def finish(self) -> None:
        """Let the browser read what was sent, which a reset would take from it."""
        with trio.move_on_after(_LINGER):
            await self._stream.send_eof()
            while await self._stream.receive_some(_PIECE):
                pass

    async def _stream_out(self, stream: Stream) -> None:
        async with open_bare_nursery() as nursery:

            async def watch() -> None:
                # It says nothing any more, but that it leaves.
                try:
                    while await self._stream.receive_some(_PIECE):
                        pass
                except BROKEN:
                    pass
                nursery.cancel_scope.cancel()

            async def send(data: bytes) -> None:
                await self._send(h11.Data(data=data))

            nursery.start_soon(watch)
            await stream(send)

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        with trio.move_on_after(_SEND_PATIENCE) as patience:
            await self._stream.send_all(data or b"")
        if patience.cancelled_caught:
            raise _LeftError


def _request(head: h11.Request, body: bytes) -> Request:
    names = [name for name, _ in head.headers]
    try:
        target = urlsplit(head.target.decode("ascii"))
        query = parse_qsl(target.query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise h11.RemoteProtocolError(f"{head.target!r} is no target: {error}") from error
    return Request(
        head.method.decode("ascii"),
        unquote(target.path),
        dict(query),
        {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers},
        body,
        all(names.count(each) <= 1 for each in _ONCE),
    )

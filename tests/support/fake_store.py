"""A server that speaks RESP, and answers what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

import trio

Words: TypeAlias = list[bytes]
Answers: TypeAlias = Callable[[Words], bytes]

INFO = b"# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"


def blob(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


def hello(version: bytes = b"7.2.4") -> bytes:
    """The answer to HELLO."""
    return b"%3\r\n" + b"".join(
        (blob(b"proto"), b":3\r\n", blob(b"version"), blob(version), blob(b"id"), b":1\r\n")
    )


def as_a_store(words: Words) -> bytes:
    """What a server answers before it is asked for a lease."""
    match words:
        case [b"HELLO", *_]:
            return hello()
        case [b"INFO", *_]:
            return blob(INFO)
        case [b"SUBSCRIBE", channel]:
            return b">3\r\n" + blob(b"subscribe") + blob(channel) + b":1\r\n"
        case [b"UNSUBSCRIBE", channel]:
            return b">3\r\n" + blob(b"unsubscribe") + blob(channel) + b":0\r\n"
        case _:
            return b"+OK\r\n"


def leases_by(answer: bytes) -> Answers:
    """A store that answers each script so."""

    def answers(words: Words) -> bytes:
        return answer if words[0] in (b"EVALSHA", b"EVAL") else as_a_store(words)

    return answers


@asynccontextmanager
async def fake_store(answers: Answers, at_once: bytes = b"") -> AsyncIterator[str]:
    """Its URL. It begins with ``at_once``; a connection ends when it has answered with nothing."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(
            trio.serve_listeners, partial(_serve, answers=answers, at_once=at_once), [listener]
        )
        yield f"redis://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def _serve(stream: trio.SocketStream, answers: Answers, at_once: bytes) -> None:
    received = b""
    try:
        await stream.send_all(at_once)
        async for piece in stream:
            received += piece
            commands, received = _commands(received)
            for words in commands:
                answer = answers(words)
                if not answer:
                    return
                await stream.send_all(answer)
    except trio.BrokenResourceError:
        pass
    finally:
        await trio.aclose_forcefully(stream)


def _commands(data: bytes) -> tuple[list[Words], bytes]:
    """The commands that are whole, and what is left."""
    found: list[Words] = []
    while True:
        head, end, rest = data.partition(b"\r\n")
        words: Words = []
        for _ in range(int(head[1:]) if end else 0):
            length, _, rest = rest.partition(b"\r\n")
            if not length or len(rest) < int(length[1:]) + 2:
                return found, data
            words.append(rest[: int(length[1:])])
            rest = rest[int(length[1:]) + 2 :]
        if not words:
            return found, data
        found.append(words)
        data = rest

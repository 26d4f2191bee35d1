"""Names and their addresses, as a test wants them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from hsms_engine.driver.dialling import DIALS, Dials

Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]


def found(*addresses: str) -> list[Found]:
    """What a look-up gives for these addresses."""
    families = [socket.AF_INET6 if ":" in each else socket.AF_INET for each in addresses]
    return [
        (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (each, 0))
        for family, each in zip(families, addresses, strict=True)
    ]


def every_name_has(addresses: Sequence[Found]) -> Dials:
    """From now on, in this trio run, every name has these addresses."""

    async def look_up(_: str) -> Sequence[Found]:
        return addresses

    DIALS.set(dials := Dials(look_up))
    return dials


@contextmanager
def silent_resolver() -> Iterator[list[str]]:
    """The system finds no name until the end of the block. Gives the names it looks for."""
    asked: list[str] = []
    over = threading.Event()
    original = socket.getaddrinfo

    def look(host: str, port: int, *, flags: int = 0, **options: Any) -> Any:
        if flags & socket.AI_NUMERICHOST:
            return original(host, port, flags=flags, **options)
        asked.append(host)
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look)
        try:
            yield asked
        finally:
            over.set()

"""A hostile peer of plain sockets that tells what it saw."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import Iterator
from typing import Self

from tests.support.legal_sender import Frames, Header
from tests.support.raw_peer import select_req

_NAMES = (
    "data Select.req Select.rsp Deselect.req Deselect.rsp Linktest.req Linktest.rsp Reject.req 8 "
    "Separate.req"
).split()
_RESET = struct.pack("ii", 1, 0)


class Peer:
    """One connection. What it cannot send, because the server has closed, is no error."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self.frames: list[Header] = []
        self._cut = Frames()
        self.end = "open"

    @classmethod
    def connect(cls, port: int, *, source: str = "127.0.0.1", window: int | None = None) -> Self:
        """Connect from ``source``; ``window``: the bytes of its receive buffer."""
        made = socket.socket()
        if window is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind((source, 0))
        made.settimeout(5)
        made.connect(("127.0.0.1", port))
        return cls(made)

    @classmethod
    def select(cls, port: int, *, window: int | None = None) -> Self:
        """Connect, and be selected."""
        peer = cls.connect(port, window=window)
        peer.send(select_req(1))
        peer.read(frames=1)
        assert [got[2:5] for got in peer.frames] == [(0, 0, 2)], f"not selected: {peer}"
        return peer

    def send(self, data: bytes) -> bool:
        """Whether all of it was taken."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def read(self, within: float = 5.0, frames: int | None = None) -> Self:
        """Read until it ends, or so many frames have come, or nothing comes for ``within`` s."""
        self.socket.settimeout(within)
        while self.end == "open" and (frames is None or len(self.frames) < frames):
            try:
                data = self.socket.recv(65_536)
            except TimeoutError:
                break
            except OSError:
                self.end = "RST"
                break
            self.frames += [header for header, _ in self._cut.feed(data, 2**32 - 1)]
            if not data:
                self.end = "FIN"
        return self

    def close(self, *, reset: bool = False) -> None:
        """Close, by FIN or by RST."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        with contextlib.suppress(OSError):
            self.socket.close()

    def __str__(self) -> str:
        words = list(_words(self.frames))
        return ", ".join([*words, self.end])


def _words(frames: list[Header]) -> Iterator[str]:
    """The frames that came: those that follow each other and are of one kind as one."""
    for name, several in itertools.groupby(frames, _name):
        count = len(list(several))
        yield name if count == 1 else f"{count} x {name}"


def _name(frame: Header) -> str:
    if frame.stype == 0:
        return f"S{frame.byte2 & 0x7F}F{frame.byte3}"
    name = _NAMES[frame.stype] if frame.stype < len(_NAMES) else str(frame.stype)
    return f"{name} {frame.byte3}" if frame.stype in (2, 4, 7) else name


def seen(peers: list[Peer]) -> str:
    """What most of them saw, and how many saw the same; then what others saw."""
    texts = sorted(str(peer) for peer in peers)
    groups = sorted(((len(list(g)), text) for text, g in itertools.groupby(texts)), reverse=True)
    shown = [text if count == 1 else f"{count} peers: {text}" for count, text in groups[:3]]
    return "; ".join(shown) + (f"; {len(groups) - 3} other ways" if len(groups) > 3 else "")

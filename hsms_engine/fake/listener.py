"""The listener of a fake equipment: it can refuse TCP, delay accepting, or close at once.

A connection that it does not pass on never reaches an engine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from hsms_engine.driver.tcp import address_text, listen_tcp
from hsms_engine.fake.stream import GARBAGE, Equipment, Socket


class Listener(Protocol):
    """What listens: ``accept`` raises ``trio.ClosedResourceError`` once it is closed."""

    @property
    def port(self) -> int: ...

    async def accept(self) -> tuple[Socket, str]: ...

    def close(self) -> None: ...


Listen = Callable[[str, int], Awaitable[Listener]]
"""Listens on a host and port. Raises ``OSError``."""


class FakeListener:
    """A listener that can be closed and opened again on the same port."""

    def __init__(
        self, equipment: Equipment, host: str, port: int, listen: Listen = listen_tcp
    ) -> None:
        self._equipment = equipment
        self._listen = listen
        self._host = host
        self.port = port
        # Listening exactly while this is not None.
        self._inner: Listener | None = None
        self._opened = trio.Event()
        self._is_over = False
        self.since = trio.current_time()
        """When it began to listen, or ceased, by trio's clock."""

    @property
    def is_listening(self) -> bool:
        """Whether TCP is accepted."""
        return self._inner is not None and not self._is_over

    @property
    def address(self) -> str:
        """``host:port``."""
        return address_text((self._host, self.port))

    async def open(self) -> None:
        """Listen, unless closed meanwhile. One call at a time.

        Raises ``OSError``, also when another program has taken the port of a listener that refuses.
        """
        if self._inner is not None:
            return
        inner = await self._listen(self._host, self.port)
        if self._is_over:
            inner.close()
            return
        self.port, self._inner, self.since = inner.port, inner, trio.current_time()
        self._opened.set()

    def refuse(self) -> None:
        """Stop listening until ``open``."""
        if self._inner is not None:
            self._inner.close()
            self._inner, self.since = None, trio.current_time()
            self._opened = trio.Event()

    async def accept(self) -> tuple[Socket, str]:
        """The next connection for an engine."""
        while True:
            socket, peer = await self._accept()
            try:
                self._equipment.tell("accepted", peer=peer)
                if delay := self._equipment.behaviours.delay_accept:
                    await trio.sleep(delay)
                behaviours = self._equipment.behaviours
                if behaviours.accept_and_close:
                    socket.close()
                elif behaviours.accept_and_say_nothing:
                    self._equipment.hold(socket, drain=True)
                else:
                    if behaviours.send_garbage == "accept":
                        socket.send_nowait(GARBAGE)
                    return socket, peer
            except trio.BrokenResourceError:
                # The peer has gone already, and takes no garbage.
                socket.close()
            except BaseException:
                socket.close()
                raise

    async def _accept(self) -> tuple[Socket, str]:
        while True:
            if self._inner is None:
                await self._opened.wait()
                continue
            try:
                return await self._inner.accept()
            except trio.ClosedResourceError:
                if self._is_over:
                    raise

    def close(self) -> None:
        """Stop listening for good."""
        if self.is_listening:
            self.since = trio.current_time()
        self._is_over = True
        if self._inner is not None:
            self._inner.close()

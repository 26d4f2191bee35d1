"""The side of a recording that listens: an equipment, or a host, that acts as in the recording."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Unpack, assert_never

import trio

from hsms_engine.connection import HsmsConnection
from hsms_engine.driver.tls_files import Tls
from hsms_engine.replay.comparing import Ignored
from hsms_engine.replay.conversation import (
    Conversation,
    Role,
    Said,
    Separated,
    open_conversation,
)
from hsms_engine.replay.errors import ReplayError
from hsms_engine.replay.player import Connected, Told, replay
from hsms_engine.server import HsmsServer, serve_hsms
from hsms_engine.settings import Settings, SettingsChanges
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from trio import TaskStatus

    from hsms_engine.recorder import RecordTo


class Replayed:
    """A side that is being played by ``serve_replay``."""

    def __init__(
        self, conversation: Conversation, server: HsmsServer, tell: Callable[[Told], object] | None
    ) -> None:
        self.conversation = conversation
        self._server = server
        self._tell = tell
        self._scope = trio.CancelScope()
        self._is_whole = False
        self._last: Said | None = None
        self._over = trio.Event()
        self._error: ReplayError | None = None
        self._said = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.conversation.role} {self.address}>"

    @property
    def address(self) -> str:
        """``host:port``."""
        return self._server.address

    @property
    def port(self) -> int:
        """The TCP port; the system has chosen it unless the settings have one."""
        return self._server.port

    @property
    def missing(self) -> int:
        """How many messages of the recording, of both sides, are not played yet."""
        return self.conversation.ours + self.conversation.theirs - self._said

    async def finished(self) -> None:
        """Wait until all is played. Raises ``ReplayError`` for the first difference.

        It says too what is missing when this was closed, or cancelled, before that.
        """
        await self._over.wait()
        if self._error is not None:
            # An exception carries the traceback of one raise: each caller gets its own.
            raise copy.copy(self._error)

    async def aclose(self) -> None:
        """Play no more, and listen no more. May be called repeatedly."""
        self._scope.cancel()
        await self._over.wait()

    def _told(self, told: Told) -> None:
        match told:
            case Said():
                self._said += 1
                self._last = told
            case Connected() | Separated():
                pass
            case _:
                assert_never(told)
        if self._tell is not None:
            self._tell(told)

    async def _play(self, play: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await play()
                self._is_whole = True
        except ReplayError as error:
            self._error = error
        finally:
            if self._error is None and not self._is_whole:
                count = self.conversation.ours + self.conversation.theirs
                last = "" if self._last is None else f"; the last one that was is {self._last}"
                self._error = ReplayError(
                    f"{self.missing:,} of {count:,} messages were not played before it was closed"
                    f"{last}"
                )
            self._over.set()


async def serve_replay(
    file: str | os.PathLike[str],
    role: Role,
    settings: Settings | None = None,
    *,
    link: str | None = None,
    speed: float = math.inf,
    ignore: Collection[str] = (),
    tell: Callable[[Told], object] | None = None,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    task_status: TaskStatus[Replayed] = trio.TASK_STATUS_IGNORED,
    **changes: Unpack[SettingsChanges],
) -> None:
    """Be ``role`` of a recording for who connects, until all of it is played or something differs.

    ``settings`` default to port 0, which lets the system choose one, and may be changed by name;
    session id, text encoding and role are those of the recording. Each connection of the recording
    is played over the next one that is selected; for that it waits as long as it takes. There is no
    pause between messages, unless ``speed`` is another one: see ``replay``. ``ignore`` has items
    that may be others, as ``"S6F11:2.1"``. ``link`` is as for ``open_conversation``, ``tls`` and
    ``record`` are as for ``serve_hsms``.

    A difference is not raised here but by ``Replayed.finished``. Raises ``UnplayableError``,
    ``ValueError`` for an item that is none, ``SettingsError``, and ``OSError`` when a file cannot
    be read, or it cannot listen.
    """
    ignored = [Ignored.parse(each) for each in ignore]
    conversation = await open_conversation(file, role, link)
    await serve_conversation(
        conversation,
        conversation.settings(settings or Settings(port=0), **changes),
        speed=speed,
        ignore=ignored,
        tell=tell,
        tls=tls,
        record=record,
        task_status=task_status,
    )


async def serve_conversation(
    conversation: Conversation,
    settings: Settings,
    *,
    speed: float,
    ignore: Collection[Ignored],
    tell: Callable[[Told], object] | None,
    before_sending: Callable[[Said], Awaitable[object]] | None = None,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    task_status: TaskStatus[Replayed] = trio.TASK_STATUS_IGNORED,
) -> None:
    """``serve_replay`` of what is open already."""
    give, take = trio.open_memory_channel[tuple[HsmsConnection, trio.Event]](0)

    async def hand_over(connection: HsmsConnection) -> None:
        done = trio.Event()
        await give.send((connection, done))
        await done.wait()

    @asynccontextmanager
    async def connect() -> AsyncIterator[HsmsConnection]:
        connection, done = await take.receive()
        try:
            yield connection
        finally:
            # The end of its handler closes it.
            done.set()

    async with open_bare_nursery() as nursery:
        serve = partial(serve_hsms, hand_over, settings, tls=tls, record=record)
        server = await nursery.start(serve)
        replayed = Replayed(conversation, server, tell)
        task_status.started(replayed)
        await replayed._play(
            partial(
                replay,
                conversation,
                connect,
                speed=speed,
                ignore=ignore,
                tell=replayed._told,
                before_sending=before_sending,
            )
        )
        await server.aclose()

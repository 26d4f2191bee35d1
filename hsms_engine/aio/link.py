"""``open_link`` for asyncio: a link for months, which reconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from random import Random
from time import time
from typing import TYPE_CHECKING, Any, Unpack, overload

import trio

from hsms_engine import link
from hsms_engine.aio.block import held_open
from hsms_engine.aio.messaging import Messaging
from hsms_engine.aio.tasks import Runner
from hsms_engine.aio.wait import act, thread_for_loop, wait_for
from hsms_engine.doors.held import SessionTask
from hsms_engine.doors.thread import TrioThread
from hsms_engine.driver.tls_files import Tls
from hsms_engine.health.records import Health
from hsms_engine.logs import name_of
from hsms_engine.settings import Settings, SettingsChanges

if TYPE_CHECKING:
    from hsms_engine.lease import Lease
    from hsms_engine.protocol.leasing import Ownership
    from hsms_engine.recorder import BlackBoxIn, RecordTo


class HsmsLink(Messaging[link.HsmsLink]):
    """An active link. Iterating yields the primaries of all its connections."""

    def __aiter__(self) -> HsmsLink:
        return self

    def on_selected(self, task: Callable[[HsmsLink], Awaitable[object]]) -> SelectedTask:
        """Run ``await task(link)`` in a task of this event loop for each selected session.

        At once when there is one. It is cancelled when its session ends; that of the next session
        begins when it has really ended. What it raises is logged and ends nothing else.
        ``cancel()`` of what is returned takes it away; to await that raises ``ClosedError`` when
        the link is closed.
        """
        runner = Runner(self._thread, task)

        async def run(_: link.HsmsLink) -> None:
            await runner(self)

        # For the log.
        run.__name__ = name_of(task)
        return SelectedTask(self._thread, lambda: self._held.on_selected(run))

    @property
    def ownership(self) -> Ownership | None:
        """Who has the lease of the link, as far as it is known here; None without a lease."""
        return self._held.ownership

    def enable(self) -> asyncio.Future[None]:
        """Connect, and reconnect from now on."""
        return act(self._thread, self._held.enable)

    def disable(self) -> asyncio.Future[None]:
        """Close the connection or abandon the attempt, and make no other until ``enable``."""
        return act(self._thread, self._held.disable)

    async def wait_selected(self) -> None:
        """Wait until the session is selected, however many attempts that takes."""
        await wait_for(self._thread, self._held.wait_selected)

    async def connect(self) -> None:
        """Wait for the result of one attempt, the running or the next."""
        await wait_for(self._thread, self._held.connect)

    def configure(
        self, settings: Settings | None = None, /, **changes: Unpack[SettingsChanges]
    ) -> asyncio.Future[None]:
        """Change settings of the running link; all of them or, on an error, none."""
        return act(self._thread, lambda: self._held.configure(settings, **changes))

    def health(self) -> Health:
        """Whether the link is selected now; if not, why and until when. It never waits."""
        return self._held.health()

    async def save(self) -> dict[str, object]:
        """What is to outlive this program, for ``open_link(restore=...)``."""
        return await act(self._thread, self._held.save)

    def isolate(self) -> asyncio.Future[None]:
        """Open the breaker by hand, until ``release``."""
        return act(self._thread, self._held.isolate)

    def release(self) -> asyncio.Future[None]:
        """Close the breaker that was isolated."""
        return act(self._thread, self._held.release)

    def reset_breaker(self) -> asyncio.Future[None]:
        """Close the breaker, whatever its state, and forget its failures."""
        return act(self._thread, self._held.reset_breaker)


class SelectedTask(SessionTask):
    """What ``on_selected`` returns. It may be awaited until the task is registered."""

    def __init__(self, thread: TrioThread, register: Callable[[], trio.CancelScope]) -> None:
        made: list[trio.CancelScope] = []

        def cancel() -> None:
            for scope in made:
                scope.cancel()

        # Calls reach the trio thread in their order, so it is there before it can be cancelled.
        self._registered = act(thread, lambda: made.append(register()))
        super().__init__(lambda: thread.soon(cancel))

    def __await__(self) -> Generator[object, None, SelectedTask]:
        yield from asyncio.shield(self._registered).__await__()
        return self


@overload
def open_link(
    host: str,
    port: int,
    settings: Settings = ...,
    /,
    *,
    random: Random | None = None,
    restore: link.Saved | None = None,
    wall_clock: Callable[[], float] = time,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    lease: Lease | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsLink]: ...
@overload
def open_link(
    settings: Settings = ...,
    /,
    *,
    random: Random | None = None,
    restore: link.Saved | None = None,
    wall_clock: Callable[[], float] = time,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    lease: Lease | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsLink]: ...
@asynccontextmanager
async def open_link(
    *given: Any,
    random: Random | None = None,
    restore: link.Saved | None = None,
    wall_clock: Callable[[], float] = time,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    lease: Lease | None = None,
    **changes: Unpack[SettingsChanges],
) -> AsyncIterator[HsmsLink]:
    """Open an enabled link: ``async with open_link(...) as link``. It reconnects until the exit.

    The arguments, errors and the exit of the block are those of ``hsms_engine.open_link``.
    """
    thread = thread_for_loop()
    block = partial(
        link.open_link,
        *given,
        random=random,
        restore=restore,
        wall_clock=wall_clock,
        tls=tls,
        record=record,
        black_box=black_box,
        lease=lease,
        **changes,
    )
    async with held_open(thread, block) as (_, held):
        yield HsmsLink(thread, held)

"""``open_link`` for threads: a link for months, which reconnects."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from random import Random
from time import time
from typing import TYPE_CHECKING, Any, Unpack, overload

import trio

from hsms_engine import link
from hsms_engine.blocking.block import Block
from hsms_engine.blocking.messaging import Messaging
from hsms_engine.blocking.wait import now
from hsms_engine.blocking.worker import Worker
from hsms_engine.doors.contained import contained
from hsms_engine.doors.held import SessionTask
from hsms_engine.doors.hold import Hold
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

    def __iter__(self) -> HsmsLink:
        return self

    def on_selected(self, task: Callable[[HsmsLink], object]) -> SessionTask:
        """Run ``task(link)`` in a thread of its own for each selected session.

        When its session ends, the calls of this door in that thread raise ``ConnectionLostError``,
        those that wait and all later ones. For the next session it is called again when it has
        returned. What it raises is logged and ends nothing else. ``cancel()`` takes it away.
        """
        limiter, function = trio.CapacityLimiter(1), contained(task)

        async def run(held: link.HsmsLink) -> None:
            if not limiter.available_tokens:
                held._teller.say(
                    logging.WARNING,
                    "the task of an earlier session still runs; that of this session begins when "
                    "it has returned",
                )
            await Worker(self._thread, partial(function, self), held).run(limiter)

        # For the log.
        run.__name__ = name_of(task)
        scope = now(self._thread, partial(self._held.on_selected, run))
        return SessionTask(partial(self._thread.soon, scope.cancel))

    @property
    def ownership(self) -> Ownership | None:
        """Who has the lease of the link, as far as it is known here; None without a lease."""
        return self._held.ownership

    def enable(self) -> None:
        """Connect, and reconnect from now on."""
        now(self._thread, self._held.enable)

    def disable(self) -> None:
        """Close the connection or abandon the attempt, and make no other until ``enable``."""
        now(self._thread, self._held.disable)

    def wait_selected(self, timeout: float | None = None) -> None:
        """Wait until the session is selected, however many attempts that takes.

        The ``TimeoutError`` says why it is not.
        """
        try:
            self._wait(self._held.wait_selected, "wait_selected", timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.health().why}") from None

    def connect(self, timeout: float | None = None) -> None:
        """Wait for the result of one attempt, the running or the next."""
        self._wait(self._held.connect, "connect", timeout)

    def configure(
        self, settings: Settings | None = None, /, **changes: Unpack[SettingsChanges]
    ) -> None:
        """Change settings of the running link; all of them or, on an error, none."""
        now(self._thread, partial(self._held.configure, settings, **changes))

    def health(self) -> Health:
        """Whether the link is selected now; if not, why and until when. It never waits."""
        return self._held.health()

    def save(self) -> dict[str, object]:
        """What is to outlive this program, for ``open_link(restore=...)``."""
        return now(self._thread, self._held.save)

    def isolate(self) -> None:
        """Open the breaker by hand, until ``release``."""
        now(self._thread, self._held.isolate)

    def release(self) -> None:
        """Close the breaker that was isolated."""
        now(self._thread, self._held.release)

    def reset_breaker(self) -> None:
        """Close the breaker, whatever its state, and forget its failures."""
        now(self._thread, self._held.reset_breaker)


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
) -> AbstractContextManager[HsmsLink]: ...
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
) -> AbstractContextManager[HsmsLink]: ...
def open_link(
    *given: Any,
    random: Random | None = None,
    restore: link.Saved | None = None,
    wall_clock: Callable[[], float] = time,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    lease: Lease | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractContextManager[HsmsLink]:
    """Open an enabled link: ``with open_link(...) as link``. It reconnects until the block ends.

    The arguments, errors and the exit of the block are those of ``hsms_engine.open_link``.
    """
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
    return Block("open_link", block, _make, None)


def _make(thread: TrioThread, _: Hold[link.HsmsLink], held: link.HsmsLink) -> HsmsLink:
    return HsmsLink(thread, held)

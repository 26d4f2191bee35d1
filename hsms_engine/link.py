"""``open_link``: a link that is kept for months: it reconnects, behind a circuit breaker.

An attempt that fails waits for T5 (or longer, with a backoff) and asks the breaker for a permit
before the next. Calls that need a selected session raise ``LinkDownError`` at once while there is
none: nothing is queued for a connection to come.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any, Unpack, overload

from hsms_engine.connection import closing, make_driver
from hsms_engine.driver.tcp import Dial
from hsms_engine.errors import ConnectError, LocalProtocolError
from hsms_engine.messaging import Messaging
from hsms_engine.nursery import open_bare_nursery
from hsms_engine.protocol.epoch import Primary
from hsms_engine.settings import Settings, SettingsChanges, chosen_settings


class HsmsLink(Messaging):
    """A link of the dialling end. Iterating yields the primaries of every connection it makes."""

    def __aiter__(self) -> HsmsLink:
        return self

    async def __anext__(self) -> Primary:
        """The next primary, over whichever connection; ends when the link is closed."""
        primary = await self._driver.next_primary()
        if primary is None:
            raise StopAsyncIteration
        return primary

    def enable(self) -> None:
        """Begin to connect, and keep at it. Raises ``LocalProtocolError`` when it is enabled."""
        self._call(self._engine.enable)

    def disable(self) -> None:
        """End the connection or the attempt and begin no other, until ``enable``.

        An attempt cut short counts neither as a success nor as a failure of the peer. Raises
        ``LocalProtocolError`` when it is disabled.
        """
        self._call(self._engine.disable)

    async def wait_selected(self) -> None:
        """Wait until the session is selected, however many attempts that takes.

        Raises ``ClosedError`` when the link is closed meanwhile.
        """
        engine = self._engine
        await self._driver.until(lambda: engine.is_selected)
        if not engine.is_selected:
            raise engine.unusable()

    async def connect(self) -> None:
        """Wait until the session is selected, or the attempt that runs or comes next has failed.

        All who wait see the outcome of the same attempt. Raises its ``ConnectError``,
        ``CircuitOpenError`` at once while the breaker lets no attempt begin, or ``ClosedError``.
        """
        engine = self._engine
        failed_before = engine.failed_attempts
        if engine.phase == "idle":
            raise LocalProtocolError(f"{self.peer}: the link is disabled; enable() it to connect")

        def decided() -> bool:
            failed = engine.failed_attempts > failed_before
            disabled = engine.phase == "idle"
            return engine.is_selected or failed or disabled or engine.refused() is not None

        await self._driver.until(decided)
        if engine.is_selected:
            return
        if engine.failed_attempts > failed_before and isinstance(engine.last_error, ConnectError):
            # An exception carries the traceback of one raise: each caller gets its own.
            raise copy.copy(engine.last_error)
        raise engine.refused() or engine.unusable()

    def configure(
        self, settings: Settings | None = None, /, **changes: Unpack[SettingsChanges]
    ) -> None:
        """Change settings of the running link; all of them or, on an error, none.

        They hold at once: running timers are re-timed, counts keep their history, and a failure
        count that reaches a lowered ``breaker_threshold`` opens the breaker. ``host`` and ``port``
        hold for the next attempt. Raises ``SettingsError``, or ``ClosedError`` when it is closed.
        """
        self._engine.configure((settings or self.settings).replace(**changes))
        self._driver.turn()

    def isolate(self) -> None:
        """Open the breaker by hand, until ``release``. A connection that is up stays up."""
        self._call(self._engine.isolate)

    def release(self) -> None:
        """Close the breaker that was isolated. Raises ``LocalProtocolError`` when it was not."""
        self._call(self._engine.release)

    def reset_breaker(self) -> None:
        """Close the breaker, whatever its state, and forget its failures."""
        self._call(self._engine.reset_breaker)


@overload
def open_link(
    host: str,
    port: int,
    settings: Settings = ...,
    /,
    *,
    dial: Dial | None = None,
    random: Random | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsLink]: ...
@overload
def open_link(
    settings: Settings = ...,
    /,
    *,
    dial: Dial | None = None,
    random: Random | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsLink]: ...
@asynccontextmanager
async def open_link(
    *given: Any,
    dial: Dial | None = None,
    random: Random | None = None,
    **changes: Unpack[SettingsChanges],
) -> AsyncIterator[HsmsLink]:
    """Open a link, enabled: it is connecting when the block begins and reconnects until it ends.

    Arguments as for ``open_hsms``. Leaving the block separates; an exception of the block comes out
    as it is.
    """
    driver = make_driver(chosen_settings(given, changes), dial, random, single_use=False)
    async with open_bare_nursery() as nursery:
        await nursery.start(driver.run)
        link = HsmsLink(driver)
        async with closing(link):
            link.enable()
            yield link
        nursery.cancel_scope.cancel()

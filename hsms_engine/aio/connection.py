"""``open_hsms`` for asyncio: one connection, dialled and selected, for as long as a block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Unpack, overload

from hsms_engine import connection
from hsms_engine.aio.block import held_open
from hsms_engine.aio.messaging import Messaging
from hsms_engine.aio.wait import thread_for_loop
from hsms_engine.driver.tls_files import Tls
from hsms_engine.settings import Settings, SettingsChanges

if TYPE_CHECKING:
    from hsms_engine.recorder import BlackBoxIn, RecordTo


class HsmsConnection(Messaging[connection.HsmsConnection]):
    """One selected connection, active or passive. Iterating yields the primaries received.

    The loop ends when the peer has separated, and raises when the connection was lost.
    """

    def __aiter__(self) -> HsmsConnection:
        return self


@overload
def open_hsms(
    host: str,
    port: int,
    settings: Settings = ...,
    /,
    *,
    random: Random | None = None,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsConnection]: ...
@overload
def open_hsms(
    settings: Settings = ...,
    /,
    *,
    random: Random | None = None,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractAsyncContextManager[HsmsConnection]: ...
@asynccontextmanager
async def open_hsms(
    *given: Any,
    random: Random | None = None,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    **changes: Unpack[SettingsChanges],
) -> AsyncIterator[HsmsConnection]:
    """Connect and select; ``async with open_hsms(...) as conn`` gets the selected connection.

    The arguments, errors and the exit of the block are those of ``hsms_engine.open_hsms``.
    """
    thread = thread_for_loop()
    block = partial(
        connection.open_hsms,
        *given,
        random=random,
        tls=tls,
        record=record,
        black_box=black_box,
        **changes,
    )
    async with held_open(thread, block) as (_, held):
        yield HsmsConnection(thread, held)

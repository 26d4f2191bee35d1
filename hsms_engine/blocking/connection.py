"""``open_hsms`` for threads: one connection, dialled and selected, for as long as a block."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Unpack, overload

from hsms_engine import connection
from hsms_engine.blocking.block import Block
from hsms_engine.blocking.messaging import Messaging
from hsms_engine.doors.hold import Hold
from hsms_engine.doors.thread import TrioThread
from hsms_engine.driver.tls_files import Tls
from hsms_engine.settings import Settings, SettingsChanges

if TYPE_CHECKING:
    from hsms_engine.recorder import BlackBoxIn, RecordTo


class HsmsConnection(Messaging[connection.HsmsConnection]):
    """One selected connection, active or passive. Iterating yields the primaries received.

    The loop ends when the peer has separated, and raises when the connection was lost.
    """

    def __iter__(self) -> HsmsConnection:
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
    timeout: float | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractContextManager[HsmsConnection]: ...
@overload
def open_hsms(
    settings: Settings = ...,
    /,
    *,
    random: Random | None = None,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    timeout: float | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractContextManager[HsmsConnection]: ...
def open_hsms(
    *given: Any,
    random: Random | None = None,
    tls: Tls | None = None,
    record: RecordTo | None = None,
    black_box: BlackBoxIn | None = None,
    timeout: float | None = None,
    **changes: Unpack[SettingsChanges],
) -> AbstractContextManager[HsmsConnection]:
    """Connect and select; ``with open_hsms(...) as conn`` gets the selected connection.

    The arguments, errors and the exit of the block are those of ``hsms_engine.open_hsms``;
    ``timeout`` is how many seconds it may take until it is selected.
    """
    block = partial(
        connection.open_hsms,
        *given,
        random=random,
        tls=tls,
        record=record,
        black_box=black_box,
        **changes,
    )
    return Block("open_hsms", block, _make, timeout)


def _make(
    thread: TrioThread,
    _: Hold[connection.HsmsConnection],
    held: connection.HsmsConnection,
) -> HsmsConnection:
    return HsmsConnection(thread, held)

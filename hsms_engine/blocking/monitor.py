"""``serve_monitor`` for threads: shows links on a page, while a block runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from hsms_engine.blocking.block import Block
from hsms_engine.doors.hold import Hold
from hsms_engine.doors.serving import showing_monitor
from hsms_engine.doors.thread import TrioThread

if TYPE_CHECKING:
    from hsms_engine.driver.tls_files import Tls
    from hsms_engine.monitor import MonitorServer, Watched
    from hsms_engine.recorder import Mask


def serve_monitor(
    watched: Sequence[Watched],
    host: str = "127.0.0.1",
    port: int = 8037,
    *,
    tls: Tls | None = None,
    mask: Mask | None = None,
) -> AbstractContextManager[MonitorServer]:
    """Show links, servers and recordings on a page: ``with serve_monitor([link]) as shown``.

    Open ``shown.link`` in a browser. The arguments and errors are those of
    ``hsms_engine.monitor.serve_monitor``. It needs the extra ``monitor``.
    """
    showing = partial(showing_monitor, watched, host, port, tls, mask)
    return Block("serve_monitor", showing, _held, None)


def _held(_: TrioThread, __: Hold[MonitorServer], held: MonitorServer) -> MonitorServer:
    return held

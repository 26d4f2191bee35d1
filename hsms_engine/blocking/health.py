"""``serve_health`` for threads: tells whether links are ready, while a block runs."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from functools import partial

from hsms_engine.blocking.block import Block
from hsms_engine.doors.hold import Hold
from hsms_engine.doors.serving import telling_health
from hsms_engine.doors.thread import TrioThread
from hsms_engine.health.place import Where
from hsms_engine.health.serve import HealthServer, Healthy


def serve_health(links: Collection[Healthy], where: Where) -> AbstractContextManager[HealthServer]:
    """Tell the health of links and servers: ``with serve_health([link], 9000) as told``.

    The arguments and errors are those of ``hsms_engine.serve_health``. It answers also while the
    program is busy.
    """
    return Block("serve_health", partial(telling_health, links, where), _held, None)


def _held(_: TrioThread, __: Hold[HealthServer], held: HealthServer) -> HealthServer:
    return held

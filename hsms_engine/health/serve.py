"""``serve_health``: tells whoever connects whether links are ready, and closes.

The answer is one line of JSON, in which nothing but the health of the links stands::

    {"is_ready": true, "process": 4711, "links": [{"name": "etcher-1", "is_ready": true, ...}]}

Invariants:

* What comes is dropped: whoever connects gets the same, whatever it says, up to ``_DROPPED`` bytes,
  or if it says nothing.
* At most ``_MOST`` answers are written at once, each for at most ``_PATIENCE`` seconds; who comes
  then waits in the system. No answer is kept for who does not take it.
* It runs in the loop of the links: while that is blocked, nobody is answered, which is an answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from hsms_engine.driver.loop import expect_trio
from hsms_engine.driver.tcp import BROKEN, DirectStream
from hsms_engine.health.place import Where, listen, place_of
from hsms_engine.health.records import Health, ServerHealth
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from trio import TaskStatus

# Answers that are written at once.
_MOST = 64
# Seconds for who asks to take its answer: on the same machine that is long.
_PATIENCE = 5.0
# The most bytes of who asks that are taken.
_DROPPED = 65_536


class Healthy(Protocol):
    """What has a health: a link or a server, of any door."""

    def health(self) -> Health | ServerHealth: ...


@dataclass(frozen=True, slots=True)
class HealthServer:
    """Tells health until ``serve_health`` is cancelled.

    ``where`` is where, as ``ask_health`` and ``hsms-engine health`` take it.
    """

    where: str


async def serve_health(
    links: Collection[Healthy],
    where: Where,
    *,
    task_status: TaskStatus[HealthServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Tell the health of ``links``, links and servers, on a port of this machine or a Unix socket.

    ``where`` is a port (0: the system chooses one), ``HOST:PORT`` of this machine, or a path with
    a ``/``; of a path only this user may ask, and one that a dead program has left is taken over.
    The collection is looked through anew for each answer, so it may change. Without any link it is
    not ready.

    Use ``told = await nursery.start(serve_health, [link], 9000)``. It runs until it is cancelled.
    Raises ``ValueError`` for a place that is none, ``TypeError`` when ``links`` is no collection of
    links, ``OSError`` when it cannot listen.
    """
    expect_trio("serve_health()")
    _check(links)
    listener = await listen(place_of(where))
    try:
        task_status.started(HealthServer(listener.address))
        room = trio.Semaphore(_MOST)
        async with open_bare_nursery() as nursery:
            while True:
                await room.acquire()
                stream, _ = await listener.accept()
                nursery.start_soon(_answer, stream, links, room)
    finally:
        listener.close()


def _check(links: Collection[Healthy]) -> None:
    # Not every caller uses a type checker.
    given: object = links
    if not isinstance(given, Collection):
        raise TypeError(f"{links!r} is no collection of links and servers: give a list of them")
    for each in links:
        if not hasattr(each, "health"):
            raise TypeError(f"{each!r} is no link and no server: it has no health()")


async def _answer(stream: DirectStream, links: Collection[Healthy], room: trio.Semaphore) -> None:
    try:
        with trio.move_on_after(_PATIENCE), suppress(*BROKEN):
            await stream.send_all(answer(links))
            # What lies unread when it closes would make the system take back the answer.
            stream.receive_nowait(_DROPPED)
    finally:
        stream.close()
        room.release()


def answer(links: Collection[Healthy]) -> bytes:
    """The line for who asks now."""
    # A copy, because a thread of the program may change it meanwhile.
    found = [each.health() for each in tuple(links)]
    told = {
        "is_ready": bool(found) and all(each.is_ready for each in found),
        "process": os.getpid(),
        "links": [each.as_json() for each in found],
    }
    return json.dumps(told).encode() + b"\n"

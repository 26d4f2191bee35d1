"""How long thousands of links take to come back when their server starts again."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection

import trio

from benchmarks.faults.processes import Child, child, heard, wait_until
from benchmarks.faults.server import SETTINGS, running_server
from hsms_engine import ConnectError, ConnectionLostError, HsmsLink, Settings, open_link
from hsms_engine.events import Waiting

PROCESSES = 2
LONGEST = 60.0


@dataclass(frozen=True, slots=True)
class Count:
    """Of all links: how many are selected now, and what has become of their attempts.

    ``refused``: attempts while nobody listened; ``failed``: all others that failed; ``lost``:
    connections that were selected and are over.
    """

    selected: int = 0
    refused: int = 0
    failed: int = 0
    lost: int = 0

    def plus(self, other: Count) -> Count:
        return Count(
            self.selected + other.selected,
            self.refused + other.refused,
            self.failed + other.failed,
            self.lost + other.lost,
        )


def main(links: int, t5: float) -> None:
    jitter = Settings().backoff_jitter
    of_each = links // PROCESSES
    links = of_each * PROCESSES
    print(f"8. {links} links in {PROCESSES} processes, T5 = {t5:g} s, to one server that is killed")
    print(f"   and started again. Aim: all selected within {t5 * (1 + jitter) + 15:g} s of its")
    print("   start, no failure after it.")
    port = free_port()
    settings = Settings(port=port, t5=t5, allow_short_timers=True)
    with ExitStack() as stack:
        with running_server(settings=SETTINGS.replace(port=port)):
            programs = [
                stack.enter_context(child(_hold, settings, of_each)) for _ in range(PROCESSES)
            ]
            wait(programs, links, "first start")
            # After this, T5 holds none of them back: each dials at once when its server is killed.
            time.sleep(t5)
            before = counted(programs)
        # In vain; the next dial of each comes after T5.
        wait_until(lambda: counted(programs).refused >= before.refused + links, 10)
        with running_server(settings=SETTINGS.replace(port=port)):
            wait(programs, links, "restart")


def wait(programs: Sequence[Child], links: int, name: str) -> None:
    """Wait until all links are selected, and print how long that took."""
    begun = time.monotonic()
    before = now = counted(programs)
    while now.selected < links and time.monotonic() < begun + LONGEST:
        time.sleep(0.2)
        now = counted(programs)
    print(
        f"   {name:12} {now.selected} of {links} selected after {time.monotonic() - begun:.1f} s; "
        f"since it listened: {now.failed - before.failed} attempts failed, "
        f"{now.lost - before.lost} links lost",
        flush=True,
    )


def counted(programs: Sequence[Child]) -> Count:
    for program in programs:
        program.tell(None)
    total = Count()
    for program in programs:
        total = total.plus(program.hear())
    return total


def free_port() -> int:
    """A port below those that the system gives to the links: none of them may take it."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _hold(pipe: Connection, settings: Settings, count: int) -> None:
    trio.run(_hold_links, pipe, settings, count)


async def _hold_links(pipe: Connection, settings: Settings, count: int) -> None:
    links: list[HsmsLink] = []
    refused = failed = lost = 0

    async def hold() -> None:
        nonlocal refused, failed, lost
        async with open_link(settings) as link:
            links.append(link)
            async for event in link.events():
                match event:
                    case Waiting(error=ConnectError(__cause__=ConnectionRefusedError())):
                        refused += 1
                    case Waiting(error=ConnectError()):
                        failed += 1
                    case Waiting(error=ConnectionLostError()):
                        lost += 1
                    case _:
                        pass

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(hold)
        while True:
            await heard(pipe)
            pipe.send(Count(sum(link.is_selected for link in links), refused, failed, lost))

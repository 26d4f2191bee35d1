"""What a program loses that wakes late: its loop was blocked, or its process stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from multiprocessing.connection import Connection

import trio

from benchmarks.faults.processes import child, heard, worker
from benchmarks.faults.server import Port, answer_later, running_server
from hsms_engine import HsmsError, HsmsLink, Message, ReplyTimeoutError, Settings, open_link

ROUNDS = 5
BLOCKED = 0.45
STOPPED = 1.5
PROCESSES = 4
REQUESTS = 7


def main(links: int) -> None:
    with running_server(answer_later) as server:
        print(f"5. A loop blocked for {BLOCKED} s, T6 = 0.2 s, {links} links in a linktest,")
        print(f"   {ROUNDS} rounds. Aim: 0 lost.")
        with child(_blocked, server.port, links) as program:
            lost = [program.hear() for _ in range(ROUNDS)]
        print(f"   lost: {sum(lost)} of {links * ROUNDS}", flush=True)
        print(
            f"   {PROCESSES} processes stopped for {STOPPED} s, T3 = 1 s, {REQUESTS} requests each;"
        )
        print("   the replies come after 0.5 s. Aim: 0 timed out.")
        with ExitStack() as stack:
            stopper = stack.enter_context(worker(_stop))
            programs = [stack.enter_context(child(_stopped, server.port)) for _ in range(PROCESSES)]
            for program in programs:
                program.hear()
            for program in programs:
                program.tell(None)
            for program in programs:
                program.hear()
            stopper.tell(([program.pid for program in programs],))
            results = [program.hear() for program in programs]
            timed_out, failed = (sum(counts) for counts in zip(*results, strict=True))
        print(
            f"   timed out though answered: {timed_out} of {REQUESTS * PROCESSES}; "
            f"failed otherwise: {failed}",
            flush=True,
        )


async def _all_have_begun() -> None:
    """In two passes of the loop, each task that was started has had its first turn."""
    for _ in range(2):
        await trio.lowlevel.checkpoint()


def _blocked(pipe: Connection, port: Port, count: int) -> None:
    settings = Settings(port=port, t5=0.5, t6=0.2, allow_short_timers=True)
    for _ in range(ROUNDS):
        pipe.send(trio.run(_lost_when_blocked, settings, count))


async def _lost_when_blocked(settings: Settings, count: int) -> int:
    async def linktest(link: HsmsLink) -> None:
        try:
            await link.linktest()
        except HsmsError:
            # The link that is lost is counted below.
            return

    lost = 0
    with trio.CancelScope() as scope:
        async with AsyncExitStack() as stack:
            links = [await stack.enter_async_context(open_link(settings)) for _ in range(count)]
            for link in links:
                await link.wait_selected()
            epochs = [link.statistics().epoch for link in links]
            async with trio.open_nursery() as nursery:
                for link in links:
                    nursery.start_soon(linktest, link)
                await _all_have_begun()
                time.sleep(BLOCKED)  # noqa: ASYNC251 - the fault that is measured
            lost = sum(
                not link.is_selected or link.statistics().epoch != epoch
                for link, epoch in zip(links, epochs, strict=True)
            )
            # Close them without waiting for the peer.
            scope.cancel()
    return lost


def _stop(pids: Sequence[int]) -> None:
    """Stop processes and let them go on. In a process of its own, so that none stays stopped."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(STOPPED)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def _stopped(pipe: Connection, port: Port) -> None:
    settings = Settings(port=port, t3=1, allow_short_timers=True)
    pipe.send(trio.run(_failed_when_stopped, pipe, settings))


async def _failed_when_stopped(pipe: Connection, settings: Settings) -> tuple[int, int]:
    timed_out = failed = 0

    async def request(link: HsmsLink) -> None:
        nonlocal timed_out, failed
        try:
            await link.request(Message(1, 1, wait=True))
        except ReplyTimeoutError:
            timed_out += 1
        except HsmsError:
            failed += 1

    async with open_link(settings) as link:
        await link.wait_selected()
        pipe.send(None)
        await heard(pipe)
        async with trio.open_nursery() as nursery:
            for _ in range(REQUESTS):
                nursery.start_soon(request, link)
            await _all_have_begun()
            pipe.send(None)
    return timed_out, failed

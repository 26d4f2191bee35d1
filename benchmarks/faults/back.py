"""How long a link takes to come back over real TCP, beside the bound that is proved.

Host and equipment are processes. A process that is stopped (SIGSTOP) says nothing more and does not
close TCP, as a machine without power.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection

import trio

from benchmarks.faults.processes import Child, child, heard
from benchmarks.faults.restart import free_port
from hsms_engine import HsmsConnection, Settings, bounds, open_link, serve_hsms
from hsms_engine.worst import Chance

# T3 is short because no request is open in these runs, and recovery counts it.
SETTINGS = Settings(
    t3=1,
    t5=2,
    t6=1,
    t7=2,
    linktest_interval=1.5,
    breaker_threshold=2,
    breaker_open_time=3,
    allow_short_timers=True,
)
# Seconds: how far from its bound a run over real TCP may be.
NEAR = 0.2


def main() -> None:
    print(
        "9. Host and equipment are processes, and what can go wrong goes wrong. Aim: each is over"
    )
    print(f"   within {NEAR:g} s of its bound.")
    for bound, run in (
        (bounds.recovery(SETTINGS, 0), recovery),
        (bounds.opened_breaker(SETTINGS, 0), opened_breaker),
        (bounds.crashed_host(SETTINGS, 0), crashed_host),
        (bounds.detection(SETTINGS), silence),
    ):
        with ExitStack() as stack:
            took = run(stack, SETTINGS.replace(port=free_port()))
        verdict = "near" if abs(took - bound.seconds) <= NEAR else "NOT NEAR"
        print(
            f"   {bound.name:16} bound {bound.seconds:6.3f} s, took {took:6.3f} s: {verdict}",
            flush=True,
        )


def recovery(stack: ExitStack, settings: Settings) -> float:
    """The second attempt, whose failure opens the breaker, reaches one that never answers."""
    host, equipment = started(stack, settings, _host), started(stack, settings, _equipment)
    host.tell("enable")
    when(host, "Waiting")
    with socket.create_server((settings.host, settings.port)) as listener:
        silent = stack.enter_context(listener.accept()[0])
        begun = when(host, "Selecting")
    equipment.ask("listen")
    assert silent.fileno() >= 0
    return when(host, "Selected") - begun


def opened_breaker(stack: ExitStack, settings: Settings) -> float:
    host, equipment = started(stack, settings, _host), started(stack, settings, _equipment)
    host.tell("enable")
    begun = when(host, "BreakerOpened")
    equipment.ask("listen")
    return when(host, "Selected") - begun


def crashed_host(stack: ExitStack, settings: Settings) -> float:
    """The host is stopped when it is selected, and another process takes its place."""
    old, equipment = started(stack, settings, _host), started(stack, settings, _equipment)
    new = started(stack, settings, _host)
    equipment.ask("listen")
    old.tell("enable")
    when(old, "Selected")
    os.kill(old.pid, signal.SIGSTOP)
    new.tell("enable")
    begun = when(new, "Connecting")
    return when(new, "Selected") - begun


def silence(stack: ExitStack, settings: Settings) -> float:
    """The equipment is stopped when it has answered Select.req."""
    host, equipment = started(stack, settings, _host), started(stack, settings, _equipment)
    equipment.ask("listen")
    host.tell("enable")
    begun = when(host, "Selected")
    os.kill(equipment.pid, signal.SIGSTOP)
    return when(host, "Waiting") - begun


def started(stack: ExitStack, settings: Settings, end: Callable[..., None]) -> Child:
    """A process of this end that has imported what it needs and waits to be told."""
    process = stack.enter_context(child(end, settings))
    process.hear()
    return process


def when(host: Child, event: str) -> float:
    """When this happens next, in seconds of the clock that all processes share."""
    while True:
        name, at = host.hear()
        if name == event:
            return float(at)


def _host(pipe: Connection, settings: Settings) -> None:
    trio.run(_run_host, pipe, settings)


async def _run_host(pipe: Connection, settings: Settings) -> None:
    pipe.send(None)
    await heard(pipe)
    async with open_link(settings, random=Chance()) as link:
        async for event in link.events():
            pipe.send((type(event).__name__, time.monotonic()))


def _equipment(pipe: Connection, settings: Settings) -> None:
    trio.run(_run_equipment, pipe, settings)


async def _run_equipment(pipe: Connection, settings: Settings) -> None:
    pipe.send(None)
    await heard(pipe)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_hsms, _hold, settings)
        pipe.send(None)


async def _hold(connection: HsmsConnection) -> None:
    async for _ in connection:
        pass

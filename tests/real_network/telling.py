"""What the programs at both ends have in common: lines of JSON with monotonic times.

``time.monotonic`` is the same clock in all namespaces, and in the program that reads the lines.
trio's clock has an offset of its own.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from hsms_engine import events, process
from hsms_engine.process import Process

Tell = Callable[..., None]


def program(main: Callable[[Process, Any, Tell], Awaitable[int]]) -> int:
    """Run ``main`` with the configuration, JSON in the first argument; return the exit code."""
    # It tells what happens; nobody is to hear it twice.
    logging.getLogger("hsms_engine").addHandler(logging.NullHandler())
    configuration = json.loads(sys.argv[1])

    async def run(this: Process) -> int:
        def tell(what: str, at: float | None = None, **details: object) -> None:
            when = time.monotonic() if at is None else at - trio.current_time() + time.monotonic()
            this.json({"at": when, "what": what, **details})

        return await main(this, configuration, tell)

    return process.run(run)


def tell_event(tell: Tell, event: events.LinkEvent | events.ServerEvent) -> None:
    """A line for an event: its name, when it was, and why."""
    match event:
        case events.Waiting(error=error) if error is not None:
            details = {"why": str(error), "error": type(error).__name__}
        case events.PeerEnded(why=why, was_selected=was_selected):
            details = {"why": why, "error": "selected" if was_selected else "never selected"}
        case events.BreakerOpened(failures=failures):
            details = {"why": f"{failures} failures", "error": ""}
        case events.Missed(count=count):
            raise AssertionError(f"{count} events were missed")
        case _:
            details = {}
    tell(type(event).__name__, event.at, **details)

"""The program around a fake equipment: what happens on standard output, a Separate on a signal."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from functools import partial

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.driver.tcp import address_text
from hsms_engine.fake.equipment import Report, serve_fake
from hsms_engine.nursery import open_bare_nursery
from hsms_engine.settings import Settings


def report_text(event: str, details: Mapping[str, object]) -> None:
    """One event as one line for people."""
    match details:
        case {"host": host, "port": port}:
            print(f"{event} on {address_text((host, port))}", flush=True)
        case {"peer": peer, **others}:
            words = [f"{peer}: {event}", *(f"{name} {value}" for name, value in others.items())]
            print(", ".join(words), flush=True)
        case _:
            print(event, flush=True)


def report_json(event: str, details: Mapping[str, object]) -> None:
    """One event as one JSON object on a line."""
    print(json.dumps({"event": event, **details}), flush=True)


async def run_fake(
    settings: Settings,
    behaviours: list[str],
    answers: AnswerBook,
    *,
    alarms: float | None,
    events: float | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Be an equipment until SIGINT or SIGTERM. Raises like ``serve_fake``."""
    show: Report = report_json if as_json else report_text

    def report(event: str, details: Mapping[str, object]) -> None:
        if not (quiet and "message" in details):
            show(event, details)

    serve = partial(
        serve_fake,
        settings,
        behaviours,
        answers=answers,
        alarms=alarms,
        events=events,
        report=report,
    )
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_bare_nursery() as nursery:
            equipment = await nursery.start(serve)
            async for _ in signals:
                await equipment.aclose()
                break
    report("stopped", {})

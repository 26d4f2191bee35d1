"""A fake equipment as a process: on a signal it separates and stops."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from functools import partial

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.fake.equipment import Report, serve_fake
from hsms_engine.nursery import open_bare_nursery
from hsms_engine.settings import Settings


async def run_fake(
    settings: Settings,
    behaviours: Iterable[str] = (),
    *,
    answers: AnswerBook | None = None,
    alarms: float | None = None,
    events: float | None = None,
    report: Report,
) -> None:
    """Be an equipment until SIGINT or SIGTERM, then report ``"stopped"``.

    Raises like ``serve_fake``.
    """
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

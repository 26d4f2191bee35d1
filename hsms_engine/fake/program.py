"""A fake equipment as a process: on a signal it separates and stops."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from hsms_engine.answers import AnswerBook
from hsms_engine.fake.equipment import Report, serve_fake
from hsms_engine.nursery import open_bare_nursery
from hsms_engine.process import Process
from hsms_engine.settings import Settings


async def run_fake(
    process: Process,
    settings: Settings,
    behaviours: Iterable[str] = (),
    *,
    answers: AnswerBook | None = None,
    alarms: float | None = None,
    events: float | None = None,
    report: Report,
) -> int:
    """Be an equipment until ``process`` is stopped, then separate and report ``"stopped"``.

    Returns exit code 0: a signal is how a server ends. Raises like ``serve_fake``.
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
    async with open_bare_nursery() as nursery:
        equipment = await nursery.start(serve)
        with process.until_stopped():
            await equipment.closed.wait()
        await equipment.aclose()
    report("stopped", {})
    return 0

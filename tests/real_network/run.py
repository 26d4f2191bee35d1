"""Runs one row: start both ends, make the fault, heal it, and judge what they have told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

import trio

from hsms_engine import SettingsChanges
from tests.real_network.elsewhere import Elsewhere, elsewhere
from tests.real_network.judge import (
    SLACK,
    Back,
    BreakerOpens,
    Expected,
    Fails,
    Finding,
    InOrder,
    Line,
    Noticed,
    ResetSent,
    Run,
    Unharmed,
    Unnoticed,
    judge,
)
from tests.real_network.namespaces import End
from tests.real_network.programs import Log
from tests.real_network.rows import SHORT, Row
from tests.real_network.stage import NotThere, Stage, is_from_the_start, stage

_SETTLING = 1.0
_AFTERWARDS = 1.0
# Seconds until a breaker must have opened: ten attempts, one each T5.
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a row. ``answered`` and ``failed`` count requests; ``took`` is in seconds."""

    row: Row
    findings: tuple[Finding, ...] = ()
    answered: int = 0
    failed: int = 0
    took: float = 0.0
    lines: tuple[Line, ...] = ()
    problem: str = ""
    """Why it could not be run to its end."""

    @property
    def is_good(self) -> bool:
        return not self.problem and all(each.is_met for each in self.findings)


async def run_row(row: Row, seed: int, address: tuple[str, int] | None = None) -> Result:
    """Run it in a network of its own, or against the equipment at ``address``.

    Raises ``OSError`` when that cannot be made, ``trio.TooSlowError`` when a program does not
    start.
    """
    began = time.monotonic()
    changes: SettingsChanges = {**SHORT, **(row.changes or {})}
    if address is None:
        async with stage(changes, row.talk, seed) as on:
            run = await _run(row, on)
    else:
        async with elsewhere(changes, row.talk, seed, address) as there:
            run = await _run(row, there)
    told = [line.what for line in run.lines]
    return Result(
        row,
        tuple(judge(each, run) for each in _told(row, run.ends)),
        told.count("answered"),
        told.count("failed") + told.count("damaged"),
        time.monotonic() - began,
        tuple(run.lines),
    )


def _told(row: Row, ends: Sequence[End]) -> Iterator[Expected]:
    """What is expected of those ends of which anything is heard."""
    for each in row.expected:
        match each:
            case Noticed(end=end) | ResetSent(end=end) if end not in ends:
                pass
            case _:
                yield each


async def _run(row: Row, on: Stage | Elsewhere) -> Run:
    fault, log = row.fault, on.log
    await on.prepare(fault)
    if not isinstance(fault, NotThere):
        await on.start("equipment")
    await on.start("host")
    began = healed = (await log.until_told("host", "Connecting", 1)).at
    if not is_from_the_start(fault):
        await log.until_told("host", "Selected", 1)
        if "equipment" in on.ends:
            await log.until_told("equipment", "PeerSelected", 1)
        await trio.sleep(_SETTLING)
        began = await on.begin(fault)

    def so_far() -> Run:
        lines = sorted(log.lines, key=lambda line: line.at)
        return Run(row.settings, row.delay, on.ends, row.talk.is_quiet, lines, began, healed)

    if row.lasts is not None:
        await trio.sleep(max(0.0, began + row.lasts - time.monotonic()))
    else:
        for each in _told(row, on.ends):
            match each:
                case Noticed() | Fails() | BreakerOpens():
                    await _until(log, partial(judge, each), so_far)
                case Back() | Unharmed() | ResetSent() | InOrder() | Unnoticed():
                    pass
                case never:
                    assert_never(never)
    if (ended := await on.end(fault)) is not None:
        healed = ended
    for each in row.expected:
        if isinstance(each, Back):
            await _until(log, partial(judge, each), so_far)
    await trio.sleep(_AFTERWARDS)
    return replace(so_far(), resets=on.resets())


async def _until(log: Log, judged: Callable[[Run], Finding], run: Callable[[], Run]) -> None:
    """Wait until something has come about, or its time is over."""
    bound = judged(run()).bound
    with trio.move_on_after(_PATIENCE if bound is None else bound + SLACK):
        await log.until(lambda: judged(run()).took is not None)

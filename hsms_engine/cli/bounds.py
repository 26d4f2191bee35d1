"""``hsms-engine bounds``: how long a link takes to notice that its peer is gone, and to come back.

It prints a table and the conditions, or one JSON object for each bound. On request it runs two real
ends on a virtual clock, and writes the picture of the run that takes as long as a bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from hsms_engine import process
from hsms_engine.bounds import Bound, table
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.options import (
    SECOND_HOST,
    AsJson,
    Given,
    checked,
    seconds,
    timer_option,
    whole,
)
from hsms_engine.process import Process
from hsms_engine.settings import ONE_WAY_DELAY, Settings
from hsms_engine.spelling import hint
from hsms_engine.worst import worst_run
from statecharts.hsms import timers

_NAMES = tuple(bound.name for bound in table(Settings()))
_LISTED = "\n  ".join(_NAMES)

_NOTES = f"""\
Settings that are not given have their defaults. Both ends have the same ones. Their options have
their names: advice to set linktest_interval means --linktest-interval.

The delay is the longest time of a frame on its way in one direction. How long TCP waits before it
sends a lost packet again is not in the bounds.

bounds, for --of:
  {_LISTED}

examples:
  hsms-engine bounds
  hsms-engine bounds --t5 5 --breaker-open-time 20 --one-way-delay 0.2
  hsms-engine bounds --of silence
  hsms-engine bounds --config links.toml --link etcher-1 --picture worst.mmd --of 'crashed host'
"""

_factor = checked(float, "a number")


def _option(convert: Any, metavar: str, meaning: str) -> Any:
    return typer.Option(parser=convert, metavar=metavar, help=meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded(Given):
    """The settings of which the bounds are made."""

    connect_timeout: Annotated[float | None, timer_option(timers.CONNECT_TIMEOUT)] = None
    write_timeout: Annotated[float | None, timer_option(timers.WRITE_TIMEOUT)] = None
    linger: Annotated[float | None, timer_option(timers.LINGER)] = None
    linktest_threshold: Annotated[
        int | None, _option(whole(1, 100), "N", "linktests that may go unanswered in a row")
    ] = None
    second_host: Annotated[str | None, SECOND_HOST] = None
    breaker_threshold: Annotated[
        int | None, _option(whole(1, 1_000), "N", "failed attempts that open the breaker")
    ] = None
    breaker_open_time: Annotated[float | None, timer_option(timers.OPEN_TIME)] = None
    backoff_factor: Annotated[
        float | None, _option(_factor, "FACTOR", "growth of the pause after each failure")
    ] = None
    backoff_limit: Annotated[
        float | None, _option(seconds, "SECONDS", "the longest pause, without its jitter")
    ] = None
    backoff_jitter: Annotated[
        float | None, _option(_factor, "FRACTION", "what is added to pauses at random, 0..1")
    ] = None


def bounds(
    *,
    given: Bounded,
    one_way_delay: Annotated[
        float,
        _option(seconds, "SECONDS", "the longest time of a frame on its way in one direction"),
    ] = ONE_WAY_DELAY,
    slot_wait: Annotated[
        float, _option(seconds, "SECONDS", "how long a dial may wait for other links that dial")
    ] = 0.0,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write the worst run as a Mermaid sequence diagram"),
    ] = None,
    of: Annotated[
        str | None, typer.Option(metavar="BOUND", help="the only bound to print, or to draw")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print how long a link takes to come back, at the most."""
    chosen = given.settings()
    try:
        found = table(chosen, one_way_delay, slot_wait=slot_wait)
    except ValueError as error:
        raise CommandError(error, 2) from error
    if of is not None:
        found = tuple(each for each in found if each.name == of)
        if not found:
            raise CommandError(f"--of {of!r} is no bound; {hint(of, _NAMES)}", 2)
    if picture is not None:
        _draw(picture, found[0], chosen, one_way_delay)

    async def run(this: Process) -> int:
        if as_json:
            for bound in found:
                this.json(_object(bound))
            return 0
        for bound in found:
            this.line(_row(bound))
        if conditions := found[0].conditions:
            this.line("conditions:")
            for condition in conditions:
                this.line(f"{'':12}{condition}")
        return 0

    return process.run(run)


def _draw(path: Path, bound: Bound, settings: Settings, delay: float) -> None:
    # Only a picture needs it.
    from hsms_engine.cli.connect import held_warnings

    # What the two ends warn of is staged.
    with held_warnings():
        text = worst_run(bound, settings, delay).picture()
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        why = error.strerror or error
        raise CommandError(f"cannot write --picture {path}: {why}") from error


def _row(bound: Bound) -> str:
    """One bound for people: its sum, and what it is made of."""
    longest = "never" if bound.seconds == math.inf else f"{bound.seconds:.6g} s"
    broken = "".join(f"\n{'':12}{each}" for each in bound.conditions if not each.holds)
    terms = "".join(
        f"\n{'':10}{_amount(term.seconds):>10}  {term.name}: {term.why}" for term in bound.terms
    )
    return f"{longest:>10}  {bound.name}: {bound.about}{broken}{terms}"


def _amount(value: float) -> str:
    return "for ever" if value == math.inf else f"{value:.6g} s"


def _object(bound: Bound) -> dict[str, object]:
    """One bound as JSON, in which null stands for infinite."""
    return {
        "bound": bound.name,
        "about": bound.about,
        "seconds": _finite(bound.seconds),
        "terms": [
            {"name": each.name, "seconds": _finite(each.seconds), "why": each.why}
            for each in bound.terms
        ],
        "conditions": [
            {
                "setting": each.setting,
                "seconds": each.seconds,
                "least": each.least,
                "holds": each.holds,
            }
            for each in bound.conditions
        ],
    }


def _finite(value: float) -> float | None:
    return None if value == math.inf else value


COMMAND = Command(bounds, _NOTES)

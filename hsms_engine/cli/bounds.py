"""``hsms-engine bounds``: how long a link takes to notice that its peer is gone, and to come back.

It prints a table and the conditions, or one JSON object for each bound. On request it runs two real
ends on a virtual clock, and writes the picture of the run that takes as long as a bound.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from hsms_engine import process
from hsms_engine.bounds import ONE_WAY_DELAY, Bound, table
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.options import SECOND_HOST, AsJson, checked, seconds, timer_option, whole
from hsms_engine.process import Process
from hsms_engine.settings import Settings
from hsms_engine.worst import worst_run
from statecharts.hsms import timers
from statecharts.saving import each_once

# The longest file of settings that is read, in bytes. A device may have no end.
_LONGEST = 65_536
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
  hsms-engine bounds --settings link.json --picture worst.mmd --of 'crashed host'
"""

_factor = checked(float, "a number")


def _option(convert: Any, metavar: str, meaning: str) -> Any:
    return typer.Option(parser=convert, metavar=metavar, help=meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The settings of which the bounds are made. None: not given."""

    t3: Annotated[float | None, timer_option(timers.T3)] = None
    t5: Annotated[float | None, timer_option(timers.T5)] = None
    t6: Annotated[float | None, timer_option(timers.T6)] = None
    t7: Annotated[float | None, timer_option(timers.T7)] = None
    connect_timeout: Annotated[float | None, timer_option(timers.CONNECT_TIMEOUT)] = None
    write_timeout: Annotated[float | None, timer_option(timers.WRITE_TIMEOUT)] = None
    linger: Annotated[float | None, timer_option(timers.LINGER)] = None
    linktest_interval: Annotated[
        float | None,
        typer.Option(
            "--linktest-interval",
            "--linktest",
            parser=seconds,
            metavar="SECONDS",
            help="silence before a linktest, 0 for never",
        ),
    ] = None
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
    allow_short_timers: Annotated[
        bool, typer.Option("--allow-short-timers", help="for tests: let timers be down to 1 ms")
    ] = False

    def over(self, base: dict[str, Any]) -> Settings:
        """The settings ``base``, changed by those that are given. Raises ``SettingsError``."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        changes = {
            name: value for name, value in given.items() if value is not None and value is not False
        }
        if self.linktest_interval == 0:
            changes["linktest_interval"] = None
        return Settings().replace(**{**base, **changes})


def bounds(
    *,
    settings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="a JSON object of settings by their names"),
    ] = None,
    given: Given,
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
    try:
        chosen = given.over({} if settings is None else _read(settings))
        found = table(chosen, one_way_delay, slot_wait=slot_wait)
    except ValueError as error:
        raise CommandError(error, 2) from error
    if of is not None:
        found = tuple(each for each in found if each.name == of)
        if not found:
            raise CommandError(f"--of {of!r} is not one of: {', '.join(_NAMES)}", 2)
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


def _read(path: Path) -> dict[str, Any]:
    """The settings in a file, by name. Raises ``CommandError``."""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except OSError as error:
        why = error.strerror or error
        raise CommandError(f"cannot read --settings {path}: {why}", 2) from error
    if len(data) > _LONGEST:
        raise CommandError(f"--settings {path} is longer than {_LONGEST} bytes", 2)
    try:
        read = json.loads(data, object_pairs_hook=each_once)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--settings {path} is no JSON: {error}", 2) from error
    if not isinstance(read, dict):
        raise CommandError(f"--settings {path} is no JSON object", 2)
    return read


def _draw(path: Path, bound: Bound, settings: Settings, delay: float) -> None:
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

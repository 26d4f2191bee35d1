"""Options that several commands have, and how their values are read.

For a wrong value the message is our own sentence: what was given, and what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from hsms_engine.cli.command import CommandError
from hsms_engine.errors import SettingsError
from hsms_engine.settings import Settings
from statecharts import Timer
from statecharts.hsms import timers

_T = TypeVar("_T")


def checked(convert: Callable[[str], _T], what: str) -> Callable[[str], _T]:
    """A parser for typer: ``convert``, with its ``ValueError`` reported as "is not ``what``"."""

    def read(text: str) -> _T:
        try:
            return convert(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not {what}") from None

    return read


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """A parser of whole numbers from ``lowest`` to ``highest``, both included."""

    def convert(text: str) -> int:
        number = int(text)
        if not lowest <= number <= highest:
            raise ValueError
        return number

    return checked(convert, f"a whole number in {lowest}..{highest}")


seconds = checked(float, "a number of seconds")


def timer_option(timer: Timer) -> Any:
    """An option for the seconds of a timer."""
    meaning = f"{timer.meaning} ({timer.lowest:g}..{timer.highest:g})"
    return typer.Option(parser=seconds, metavar="SECONDS", help=meaning)


SECOND_HOST: Any = typer.Option(
    parser=str, metavar="probe|refuse", help="what a listening end does when a second host asks"
)

AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object a line")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The settings of the protocol. Times are in seconds."""

    session_id: Annotated[
        int, typer.Option(parser=whole(0, 32_767), metavar="N", help="the device id (0..32767)")
    ] = 0
    t3: Annotated[float, timer_option(timers.T3)] = timers.T3.seconds
    t5: Annotated[float, timer_option(timers.T5)] = timers.T5.seconds
    t6: Annotated[float, timer_option(timers.T6)] = timers.T6.seconds
    t7: Annotated[float, timer_option(timers.T7)] = timers.T7.seconds
    t8: Annotated[float, timer_option(timers.T8)] = timers.T8.seconds
    linktest: Annotated[
        float,
        typer.Option(
            parser=seconds,
            metavar="SECONDS",
            help="silence after which a linktest is sent, 0 for never",
        ),
    ] = timers.LINKTEST_INTERVAL.seconds
    allow_short_timers: Annotated[
        bool,
        typer.Option(
            "--allow-short-timers",
            help="for tests: let timers be shorter than E37's ranges, down to 1 ms",
        ),
    ] = False

    def settings(self, host: str, port: int, **others: Any) -> Settings:
        """The settings, and ``others`` by name, validated as a whole. Raises ``CommandError``."""
        try:
            return Settings(
                host=host,
                port=port,
                session_id=self.session_id,
                t3=self.t3,
                t5=self.t5,
                t6=self.t6,
                t7=self.t7,
                t8=self.t8,
                linktest_interval=self.linktest or None,
                allow_short_timers=self.allow_short_timers,
                **others,
            )
        except SettingsError as error:
            raise CommandError(error, 2) from error

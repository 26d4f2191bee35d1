"""Options that several commands have, and how their values are read.

For a wrong value the message is our own sentence: what was given, and what is allowed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from hsms_engine.cli.command import CommandError
from hsms_engine.errors import SettingsError
from hsms_engine.settings import Settings
from hsms_engine.spelling import hint
from hsms_engine.tolerances import TOLERANCES
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


def host_or_equipment(text: str) -> Literal["host", "equipment"]:
    """A parser of the role of an end."""
    match text:
        case "host" | "equipment":
            return text
        case _:
            raise typer.BadParameter(f"{text!r} is neither host nor equipment")


def timer_option(timer: Timer) -> Any:
    """An option for the seconds of a timer."""
    allowed = f"{timer.lowest:g}..{timer.highest:g}, default {timer.seconds:g}"
    meaning = f"{timer.meaning} ({allowed})"
    return typer.Option(parser=seconds, metavar="SECONDS", help=meaning)


SECOND_HOST: Any = typer.Option(
    parser=str, metavar="probe|refuse", help="what a listening end does when a second host asks"
)

PASSWORD = "HSMS_TLS_KEY_PASSWORD"
"""The variable with the password of a key: what is on a command line, others can see."""


def path_option(what: str) -> Any:
    """An option for a file of TLS."""
    return typer.Option(parser=str, metavar="FILE", help=what)


# Of programs that dial or listen, as a file says.
EitherHost = Annotated[
    str | None,
    typer.Argument(
        metavar="HOST",
        help="where the other side listens, or this side is to (127.0.0.1)",
    ),
]
EitherPort = Annotated[
    int | None,
    typer.Argument(metavar="PORT", parser=whole(0, 65_535), help="its port (5000)"),
]
Listens = Annotated[
    bool | None, typer.Option("--listen/--dial", help="wait for the other side, or dial it")
]

AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object a line")]


_TOLERANCES = {each.name: each.setting for each in TOLERANCES}
# Fields of groups of options that are not named as a setting.
_NO_SETTINGS = frozenset({"config", "link", "tolerate", "no_tolerate"})


def _tolerance(text: str) -> str:
    """The name of a tolerance."""
    if text not in _TOLERANCES:
        why = "repeat the option for each" if "," in text else hint(text, _TOLERANCES)
        raise typer.BadParameter(f"{text!r} is no tolerance; {why}")
    return text


def _tolerance_option(what: str) -> Any:
    """An option for names of tolerances."""
    return typer.Option(
        parser=_tolerance, metavar="NAME", show_default=False, help=f"{what}; may be repeated"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The settings that are given: a link out of a file, and options that win over it.

    Each field is named as its setting, but for ``_NO_SETTINGS``. None: not given.
    """

    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="a TOML file of links and profiles; options win over it"),
    ] = None
    link: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="which link of that file, if it has several"),
    ] = None
    t3: Annotated[float | None, timer_option(timers.T3)] = None
    t5: Annotated[float | None, timer_option(timers.T5)] = None
    t6: Annotated[float | None, timer_option(timers.T6)] = None
    t7: Annotated[float | None, timer_option(timers.T7)] = None
    linktest_interval: Annotated[
        float | None,
        typer.Option(
            "--linktest-interval",
            "--linktest",
            parser=seconds,
            metavar="SECONDS",
            help="silence after which a linktest is sent, 0 for never (default "
            f"{timers.LINKTEST_INTERVAL.seconds:g})",
        ),
    ] = None
    allow_short_timers: Annotated[
        bool,
        typer.Option(
            "--allow-short-timers",
            help="for tests: let timers be shorter than E37's ranges, down to 1 ms",
        ),
    ] = False

    def settings(self, base: Settings | None = None, **others: Any) -> Settings:
        """These settings and ``others`` by name, of which None is not given either.

        ``base`` has those that are not given, unless they come from a file of links. They are
        validated as a whole: raises ``CommandError``.
        """
        changes: Any = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in _NO_SETTINGS
        } | others
        changes = {
            name: value
            for name, value in changes.items()
            if value is not None and value is not False
        }
        if password := os.environ.get(PASSWORD):
            changes["tls_key_password"] = password
        if changes.get("linktest_interval") == 0:
            changes["linktest_interval"] = None
        try:
            if self.config is not None:
                base = Settings.from_toml(self.config, self.link)
            elif self.link is not None:
                raise CommandError(f"--link {self.link} needs --config FILE, where it stands", 2)
            return (base or Settings()).replace(**changes)
        except SettingsError as error:
            raise CommandError(error, 2) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol(Given):
    """The settings of one end that talks."""

    t8: Annotated[float | None, timer_option(timers.T8)] = None
    session_id: Annotated[
        int | None,
        typer.Option(
            parser=whole(0, 32_767), metavar="N", help="the device id (0..32767, default 0)"
        ),
    ] = None
    text_encoding: Annotated[
        str | None,
        typer.Option(
            parser=str,
            metavar="ENCODING",
            help="how text in A is encoded and shown, as gbk, cp932 or utf-8 (default: only ASCII)",
        ),
    ] = None
    tls_certificate: Annotated[
        str | None, path_option("TLS: the certificate of this end, as PEM")
    ] = None
    tls_key: Annotated[
        str | None, path_option(f"its key, if in a file of its own; {PASSWORD} may open it")
    ] = None
    tls_authorities: Annotated[
        str | None,
        path_option("TLS: the authorities of the peer, as PEM; system: those known here"),
    ] = None
    tolerate: Annotated[
        list[str] | None,
        _tolerance_option(f"a deviation of the peer that is tolerated: {', '.join(_TOLERANCES)}"),
    ] = None
    no_tolerate: Annotated[
        list[str] | None, _tolerance_option("one that is not, though it is by default")
    ] = None

    def expect_place(self, host: str | None, port: int | None) -> None:
        """Raises ``CommandError`` when neither these nor a file of links say where a link is."""
        if self.config is None:
            if port is None and host is not None and ":" in host:
                raise CommandError(f"Missing argument 'PORT': write {host!r} with a space", 2)
            for name, value in (("HOST", host), ("PORT", port)):
                if value is None:
                    raise CommandError(f"Missing argument '{name}', or --config FILE", 2)

    def settings(self, base: Settings | None = None, **others: Any) -> Settings:
        """As those of ``Given``, and what is tolerated."""
        switched = dict.fromkeys(self.tolerate or (), True)
        for name in self.no_tolerate or ():
            if name in switched:
                raise CommandError(f"--tolerate and --no-tolerate name {name}: which?", 2)
            switched[name] = False
        changes: Any = {_TOLERANCES[name]: is_on for name, is_on in switched.items()}
        return Given.settings(self, base, **others).replace(**changes)

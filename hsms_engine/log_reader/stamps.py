"""Times as logs write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final, NamedTuple

from hsms_engine.log_reader.entries import LogTime

__all__ = ["STAMPS", "Stamp", "day_comes_first", "epoch_time", "find_stamp"]

STAMPS: Final = 160
"""Where a time is looked for in a line."""

_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()
# As German logs write them, where that is not the same.
_NUMBERS: Final = {name: number for number, name in enumerate(_MONTHS, 1)} | {
    "mär": 3, "mrz": 3, "mai": 5, "okt": 10, "dez": 12,
}  # fmt: skip
_MONTH: Final = rf"(?:{'|'.join(_NUMBERS)})[a-zä]*+\.?"
_DATE: Final = rf"""
      (?P<year> [0-9]{{4}} ) (?P<sign> [-/.] ) (?P<month> [0-9]{{1,2}} ) (?P=sign)
        (?P<day> [0-9]{{1,2}} ) (?![0-9])
    | (?P<one> [0-9]{{1,2}} ) (?P<mark> [-/.] ) (?P<two> [0-9]{{1,2}} ) (?P=mark)
        (?P<last> [0-9]{{4}} | [0-9]{{2}} ) (?![0-9])
    | (?P<named_day> [0-9]{{1,2}} ) \.?[-/ ]\s? (?P<named> {_MONTH} )
        (?: [-/ ,]{{1,2}} (?P<named_year> [0-9]{{4}} ) (?![0-9:]) )?
    | (?P<us> {_MONTH} ) [ ]{{1,2}} (?P<us_day> [0-9]{{1,2}} ) (?![0-9])
        (?: ,?[ ] (?P<us_year> [0-9]{{4}} ) (?![0-9:]) )?
    | (?P<packed> [12][09][0-9]{{2}} [01][0-9] [0-3][0-9] ) (?![0-9])
"""
_CLOCK: Final = r"""
    (?P<hour> [0-9]{1,2} ) : (?P<minute> [0-9]{2} ) : (?P<second> [0-9]{2} )
      (?: [.,] (?P<fraction> [0-9]{1,9} ) | : (?P<millis> [0-9]{3} ) )? (?![0-9:])
      (?: [ ]? (?P<half> [AaPp] ) \.? [Mm] \.? (?![A-Za-z0-9]) )?
      (?: [ ]? (?P<zone> Z (?![A-Za-z0-9]) | (?:UTC|GMT) (?![A-Za-z0-9+-])
                         | [+-][0-9]{2}:?[0-9]{2} (?![0-9]) )
          | (?P<short> [+-][0-9]{2} (?![0-9]) ) )?
      (?: (?<=[0-9]) [ ] (?P<late_year> [12][09][0-9]{2} ) (?![0-9.:]) )?
"""
_STAMP: Final = re.compile(
    rf"""
    (?<![A-Za-z0-9.:/-])
    (?: (?: {_DATE} ) (?: T | [ _,:;|-]{{1,3}} | \][ ]?\[ | \t ) )?
    {_CLOCK}
    | (?<![A-Za-z0-9.:/-]) (?P<day8> [12][09][0-9]{{2}} [01][0-9] [0-3][0-9] ) [T_ -]?
      (?P<time6> [0-2][0-9] [0-5][0-9] [0-5][0-9] ) (?: [.,_]? (?P<part> [0-9]{{1,6}} ) )? (?![0-9])
    | ^ [\s\[("]* (?P<epoch> [12][0-9]{{9}} (?: [0-9]{{3}} (?: [0-9]{{3}} ){{0,2}} )? )
      (?: \. (?P<rest> [0-9]{{1,9}} ) )? (?![0-9A-Za-z:])
    """,
    re.VERBOSE | re.IGNORECASE,
)
# The form of most logs, which Python reads by itself.
_PLAIN: Final = re.compile(
    r"[\s\[(]*+([0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:"
    r"[0-9]{2}:[0-9]{2}(?:[.,][0-9]{3}(?:[0-9]{3})?)?+)"
    r"(?![0-9:.,]|\s?[AaPp]\.?[Mm]|\s?[+-][0-9]|\s?(?:Z|UTC|GMT)|\s[12][09][0-9]{2}(?![0-9]))"
)
# Of a date that may be read in two ways.
_BOTH: Final = re.compile(
    r"(?<![0-9.:/-])([0-9]{1,2})([-/])([0-9]{1,2})\2(?:[0-9]{4}|[0-9]{2})(?![0-9])"
)
_HIGHEST_MONTH: Final = 12
_HALF_DAY: Final = 12
# Digits of seconds, milliseconds, microseconds and nanoseconds since 1970.
_EPOCHS: Final = frozenset({10, 13, 16, 19})
_MODERN: Final = 2000


class Stamp(NamedTuple):
    """A time, where it stands in its line, and whether its date may be read in two ways."""

    time: LogTime
    start: int
    end: int
    is_doubtful: bool


def find_stamp(line: str, start: int, end: int, day_first: bool | None) -> Stamp | None:
    """The first time in ``line[start:end]``; None when there is none."""
    if plain := _PLAIN.match(line, start, end):
        try:
            return Stamp(datetime.fromisoformat(plain[1]), plain.start(1), plain.end(), False)
        except ValueError:
            pass
    for match in _STAMP.finditer(line, start, end):
        try:
            found, is_doubtful = _time(match, day_first)
        except (ValueError, OverflowError):
            # No month 13, no hour 25: it is something else.
            continue
        return Stamp(found, match.start(), match.end(), is_doubtful)
    return None


def epoch_time(number: str, fraction: str = "") -> datetime:
    """A time since 1970: its ten digits of seconds may be followed by milliseconds or less.

    Raises ``ValueError`` or ``OverflowError`` when it is none.
    """
    if len(number) not in _EPOCHS:
        raise ValueError(f"no time since 1970: {number}")
    micros = int(f"{number[10:]}{fraction}0000000"[:6])
    return datetime.fromtimestamp(int(number[:10]), UTC) + timedelta(microseconds=micros)


def day_comes_first(lines: Iterable[str]) -> bool | None:
    """Whether dates as ``27/11/2026`` have the day first, by the first one that tells."""
    for line in lines:
        for one, _, two in _BOTH.findall(line[:120]):
            if (int(one) > _HIGHEST_MONTH) != (int(two) > _HIGHEST_MONTH):
                return int(one) > _HIGHEST_MONTH
    return None


def _time(match: re.Match[str], day_first: bool | None) -> tuple[LogTime, bool]:
    if match["epoch"]:
        return epoch_time(match["epoch"], match["rest"] or ""), False
    if match["day8"]:
        clock, part = match["time6"], f"{match['part'] or ''}000000"[:6]
        of_day = time(int(clock[:2]), int(clock[2:4]), int(clock[4:]), int(part))
        return datetime.combine(_packed(match["day8"]), of_day), False
    of_day = _clock(match)
    day, is_doubtful = _date(match, day_first)
    return (of_day if day is None else datetime.combine(day, of_day)), is_doubtful


def _clock(match: re.Match[str]) -> time:
    hour = int(match["hour"])
    if match["half"]:
        if not 1 <= hour <= _HALF_DAY:
            raise ValueError(f"no hour {hour} of half a day")
        hour = hour % _HALF_DAY + (_HALF_DAY if match["half"] in "Pp" else 0)
    part = f"{match['fraction'] or match['millis'] or ''}000000"[:6]
    zone = match["zone"] or match["short"]
    second = int(match["second"])
    return time(hour, int(match["minute"]), second, int(part), tzinfo=_zone(zone))


def _zone(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return timezone(-offset if text[0] == "-" else offset)


def _packed(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def _date(match: re.Match[str], day_first: bool | None) -> tuple[date | None, bool]:
    """The date, None when there is none that can be known; whether it may be read in two ways."""
    if match["year"]:
        return date(int(match["year"]), int(match["month"]), int(match["day"])), False
    if match["packed"]:
        return _packed(match["packed"]), False
    if match["one"]:
        return _short_date(match, day_first)
    if match["named"] or match["us"]:
        year = match["named_year"] or match["us_year"] or match["late_year"]
        month = _NUMBERS[(match["named"] or match["us"])[:3].lower()]
        day = int(match["named_day"] or match["us_day"])
        return (None if year is None else date(int(year), month, day)), False
    return None, False


def _short_date(match: re.Match[str], day_first: bool | None) -> tuple[date | None, bool]:
    one, two, year = int(match["one"]), int(match["two"]), int(match["last"])
    if len(match["last"]) == len("26"):
        year += _MODERN
    if match["mark"] == "." or one > _HIGHEST_MONTH:
        # Points are written by those who have the day first.
        return date(year, two, one), False
    if two > _HIGHEST_MONTH or one == two:
        return date(year, one, two), False
    if day_first is None:
        return None, True
    return (date(year, two, one) if day_first else date(year, one, two)), False

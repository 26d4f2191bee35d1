"""Times as SEMI E5 writes them: TIME of a clock, DSPER of a trace."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

__all__ = ["parse_period", "parse_time", "time_after", "time_text"]

_DIGITS: Final = re.compile(r"(?:[0-9]{12}|[0-9]{16})")
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}.*", re.ASCII)
_PERIOD: Final = re.compile(r"([0-9]{2})([0-5][0-9])([0-5][0-9])([0-9]{2})?")
# Years in which a clock may be set: a time far from now could not be counted on from.
_YEARS: Final = range(1970, 2100)
_BEGINNING: Final = datetime.min.replace(year=2000)  # noqa: DTZ901  # the time of no place


def time_text(time: datetime) -> str:
    """The 16 digits ``YYYYMMDDhhmmsscc``."""
    return f"{time.year:04}{time:%m%d%H%M%S}{time.microsecond // 10_000:02}"


def parse_time(text: str) -> datetime | None:
    """The time of 16 digits, of the 12 ``YYMMDDhhmmss``, or as ISO 8601 has it; None for no time.

    A tool's clock shows the time of its place: an offset from UTC is passed over.
    """
    if _DIGITS.fullmatch(text):
        whole = text if len(text) == 16 else f"20{text}00"
        date = f"{whole[:4]}-{whole[4:6]}-{whole[6:8]}"
        text = f"{date}T{whole[8:10]}:{whole[10:12]}:{whole[12:14]}.{whole[14:]}0000"
    if not _ISO.fullmatch(text):
        return None
    try:
        time = datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None
    return time if time.year in _YEARS else None


def parse_period(text: str) -> float | None:
    """The seconds of ``hhmmss`` or ``hhmmsscc``; None when it is none, or no time at all."""
    found = _PERIOD.fullmatch(text)
    if found is None:
        return None
    hours, minutes, seconds, hundredths = (int(each or 0) for each in found.groups())
    return hours * 3600 + minutes * 60 + seconds + hundredths / 100 or None


def time_after(seconds: float) -> datetime:
    """The time so many seconds after the year 2000 has begun: that of a tool without a clock."""
    return _BEGINNING + timedelta(seconds=seconds)

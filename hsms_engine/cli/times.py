"""The time of day, as the lines and the JSON objects of the programs have it."""

from __future__ import annotations

from datetime import datetime


def time_of_day(ago: float = 0.0) -> str:
    """``12:34:56.789``, of this place: now, or ``ago`` seconds before."""
    now = _time(ago)
    return f"{now:%H:%M:%S}.{now.microsecond // 1000:03}"


def time_now(ago: float = 0.0) -> str:
    """``2026-03-04T12:34:56.789+01:00``: ISO 8601, with the distance of this place from UTC."""
    return _time(ago).isoformat(timespec="milliseconds")


def _time(ago: float) -> datetime:
    return datetime.fromtimestamp(datetime.now().astimezone().timestamp() - ago).astimezone()


def date_and_time(wall: float) -> str:
    """``2026-03-04 12:34:56.789``, of this place. What no calendar has is the number it is."""
    try:
        found = datetime.fromtimestamp(wall).astimezone()
    except (OverflowError, OSError, ValueError):
        return f"{wall:.3f}"
    return f"{found:%Y-%m-%d %H:%M:%S}.{found.microsecond // 1000:03}"


def seconds_of(text: str) -> float:
    """The seconds since 1970 of a date and a time in ISO 8601; of this place, if it says no other.

    Raises ``ValueError``.
    """
    found = datetime.fromisoformat(text)
    # Not every system knows times that are further away.
    if not 1971 <= found.year < 3000:
        raise ValueError(f"the year {found.year} is far away")
    return found.timestamp()

"""The time of day, as the lines and the JSON objects of the programs have it."""

from __future__ import annotations

from datetime import datetime


def time_of_day() -> str:
    """``12:34:56.789``, of this place."""
    now = datetime.now().astimezone()
    return f"{now:%H:%M:%S}.{now.microsecond // 1000:03}"


def time_now() -> str:
    """``2026-03-04T12:34:56.789+01:00``: ISO 8601, with the distance of this place from UTC."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")

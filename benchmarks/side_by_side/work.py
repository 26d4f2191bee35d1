"""What a subject is asked to do in one turn, and how it is written for its processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Trips:
    """``count`` round trips, ``in_flight`` at a time: S1F1, or S2F25 with ``size`` bytes of B.

    ``tls`` is the folder of the certificates, if any. ``beside_slow``: all the while one S1F3 is
    open at a time, whose handler takes ``SLOW`` seconds.
    """

    count: int
    in_flight: int = 1
    size: int | None = None
    tls: str = ""
    beside_slow: bool = False


@dataclass(frozen=True, slots=True)
class Events:
    """``count`` S6F11 without W; each is built from items at one end and decoded at the other."""

    count: int


@dataclass(frozen=True, slots=True)
class Start:
    """From the start of the process at ``began``, of the monotonic clock, until it is SELECTED."""

    began: float = 0.0


@dataclass(frozen=True, slots=True)
class Connects:
    """``count`` times: connect, select, separate."""

    count: int
    tls: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    """Hold ``count`` links: idle for so many seconds, then so many ``trips`` over all of them."""

    count: int
    idle: float = 0.0
    trips: int = 0


@dataclass(frozen=True, slots=True)
class Steps:
    """``count`` events through a chart, in one process."""

    count: int


Work = Trips | Events | Start | Connects | Links | Steps
_KINDS: dict[str, type[Work]] = {
    kind.__name__: kind for kind in (Trips, Events, Start, Connects, Links, Steps)
}

# Seconds that the handler of S1F3 takes.
SLOW = 0.05


def written(work: Work) -> str:
    return json.dumps({"kind": type(work).__name__, **asdict(work)})


def read(text: str) -> Work:
    """The work that ``written`` has written."""
    fields: dict[str, Any] = json.loads(text)
    return _KINDS[fields.pop("kind")](**fields)


def paced(work: Work, pace: float) -> Work:
    """The same in smaller number, for a subject that needs so much longer for each."""
    match work:
        case Trips(count=count, in_flight=in_flight):
            return replace(work, count=max(in_flight, 2, int(count * pace)))
        case Events(count) | Connects(count):
            return replace(work, count=max(2, int(count * pace)))
        case _:
            return work


def shares(count: int, tasks: int) -> list[int]:
    """How many each of the tasks does, so that together they do all."""
    each, rest = divmod(count, tasks)
    return [each + (number < rest) for number in range(tasks)]


def warm_up(work: Trips) -> int:
    """Round trips before the clock starts."""
    return max(work.in_flight, min(20, work.count // 4), 1)


class CannotError(Exception):
    """A subject cannot do this work; the text says why."""

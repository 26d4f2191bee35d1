"""``ask_health``: what the program that owns the links says about them.

What comes need not be trusted: perhaps another program listens there.
"""

from __future__ import annotations

import errno
import json
import math
from dataclasses import dataclass
from typing import TypeVar

from hsms_engine.driver.tcp import BROKEN, DirectStream, system_error
from hsms_engine.health.place import Place, Where, connect, place_of

_T = TypeVar("_T")

# The longest answer that is read, in bytes: that of about 20,000 links.
_LONGEST = 16_777_216
# How much of what is no answer is shown, in bytes.
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of one link or server. ``facts`` has all fields of its record, as JSON."""

    name: str
    peer: str
    is_ready: bool
    since_seconds: float
    why: str
    facts: dict[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """``process`` is the id of the program."""

    process: int
    links: tuple[Told, ...]

    @property
    def is_ready(self) -> bool:
        """Whether all links are ready, and there is one."""
        return bool(self.links) and all(each.is_ready for each in self.links)

    def of(self, name: str) -> Answer:
        """The same of those links only that have this name or this peer; perhaps of none."""
        links = (each for each in self.links if name in (each.name, each.peer))
        return Answer(self.process, tuple(links))


async def ask_health(where: Where) -> Answer:
    """Ask the program that tells its health there (``serve_health``). It waits for the answer.

    A program that is stopped, or whose event loop is blocked, gives none: use
    ``trio.fail_after``. Raises ``ValueError`` for a place that is none, ``OSError`` when nobody
    answers there, or something else than the health of links.
    """
    place = place_of(where)
    stream = await connect(place)
    try:
        said = await _read(stream)
    except BROKEN as error:
        found = system_error(error)
        why = error if found is None else found.strerror
        raise _no_answer(place, f"the connection broke: {why}") from error
    finally:
        stream.close()
    if not said:
        raise _no_answer(place, "it was closed without one: does the program end?")
    if len(said) > _LONGEST:
        raise _no_answer(place, f"it has more than {_LONGEST} bytes: another program listens there")
    try:
        return _answer(json.loads(said, parse_float=_finite, parse_constant=_finite))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        shown = f"{said[:_SHOWN]!r}{'…' if len(said) > _SHOWN else ''}"
        raise _no_answer(place, f"{shown}: another program listens there") from error


async def _read(stream: DirectStream) -> bytes:
    """All that comes, or so much that it is too much."""
    said = bytearray()
    while len(said) <= _LONGEST and (more := await stream.receive_some()):
        said += more
    return bytes(said)


def _answer(told: dict[str, object]) -> Answer:
    """Raises ``KeyError``, ``TypeError`` or ``ValueError`` when it is none."""
    links = told["links"]
    if not isinstance(links, list):
        raise TypeError
    answer = Answer(_of_type(int, told["process"]), tuple(_told(each) for each in links))
    if told["is_ready"] is not answer.is_ready:
        raise ValueError
    return answer


def _finite(text: str) -> float:
    if not math.isfinite(found := float(text)):
        raise ValueError
    return found


def _told(facts: dict[str, object]) -> Told:
    return Told(
        _of_type(str, facts["name"]),
        _of_type(str, facts["peer"]),
        _of_type(bool, facts["is_ready"]),
        _of_type(float, facts["since_seconds"]),
        _of_type(str, facts["why"]),
        facts,
    )


def _of_type(kind: type[_T], value: object) -> _T:
    if type(value) is not kind:
        raise TypeError
    return value


def _no_answer(place: Place, why: str) -> OSError:
    return OSError(errno.EPROTO, f"no health is told on {place}: {why}")

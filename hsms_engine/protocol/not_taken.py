"""What came on one connection and was not taken, so that a request without a reply can tell of it.

Only headers are kept: the latest few for all open requests together, and for each open request the
latest message that has its system bytes, which a flood of others cannot push out. The latest few
requests for which nobody waits any more are kept too: what answers one of them is late, not wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hsms_engine.errors import NotTaken
from hsms_engine.protocol.replies import deviations
from hsms_engine.protocol.traffic import frame_name
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.settings import Settings
from hsms_engine.tolerances import DIRECTION, DIRECTION_BIT, TOLERANCES
from hsms_engine.wire import SECS_II, WAIT, Frame, SType

_ALL_ON: dict[str, Any] = {each.setting: True for each in TOLERANCES}
_KEPT = 16
_COMPARE = "compare session_id at both ends"
# So many different ones are told in words; the error has all.
_TOLD = 3


@dataclass(frozen=True, slots=True)
class _GivenUp:
    """A request for which nobody waits any more, ``how`` that came, and when."""

    stream: int
    function: int
    how: str
    at: float


class NotTakenMessages:
    """The headers of one connection. Their number never goes backwards."""

    __slots__ = ("_given_up", "_latest", "count")

    def __init__(self) -> None:
        self.count = 0
        self._latest: list[tuple[int, NotTaken]] = []
        # By system bytes, the oldest first.
        self._given_up: dict[int, _GivenUp] = {}

    def give_up(self, request: Transaction, how: str, now: float) -> None:
        """Nobody waits for the reply to ``request`` any more."""
        number = request.system_bytes
        self._given_up.pop(number, None)
        self._given_up[number] = _GivenUp(request.stream, request.function, how, now)
        if len(self._given_up) > _KEPT:
            del self._given_up[next(iter(self._given_up))]

    def late(self, frame: Frame, now: float, settings: Settings) -> str | None:
        """Which request a secondary answers too late, in words; None when it is none of the latest.

        SxF0 is an answer too.
        """
        gone = self._given_up.get(frame.system_bytes)
        if gone is None or deviations(frame, gone.stream, gone.function, settings) is None:
            return None
        name = f"S{gone.stream}F{gone.function}"
        return f"late reply to {name}, {gone.how} {now - gone.at:.1f} s before"

    def add(self, frame: Frame, named: Transaction | None, late: str | None = None) -> None:
        """This message has come and was not taken.

        ``named``: the open request that it would answer by its system bytes. ``late``: which one it
        answers too late, in words.
        """
        is_data = frame.stype == SType.DATA and frame.ptype == SECS_II
        note = NotTaken(
            frame.byte2 & 0x7F,
            frame.byte3,
            frame.byte2 > 0x7F,
            frame.session_id,
            frame.system_bytes,
            late,
            None if is_data else frame_name(frame),
        )
        self.count += 1
        if named is not None:
            named.misfit = note
        else:
            self._latest.append((self.count, note))
            del self._latest[:-_KEPT]

    def of(self, request: Transaction) -> tuple[NotTaken, ...]:
        """Those that came while ``request`` was open and may have been meant for it."""
        found = [
            note
            for number, note in self._latest
            if number > request.not_taken_before
            and (
                note.session_id != request.device_id
                or (not note.function & 1 and note.stream == request.stream)
            )
        ]
        return (*found, request.misfit) if request.misfit is not None else tuple(found)


def in_words(request: Transaction, notes: tuple[NotTaken, ...], settings: Settings) -> str:
    """The clause for the error of ``request``; empty when there are no ``notes``."""
    if not notes:
        return ""
    # The latest first: what came last is the likeliest.
    different = list(dict.fromkeys(_phrase(request, note, settings) for note in reversed(notes)))
    told = "; ".join(different[:_TOLD])
    more = f"; and {len(different) - _TOLD} more" if len(different) > _TOLD else ""
    return f"; meanwhile came and was not taken: {told}{more}"


def _phrase(request: Transaction, note: NotTaken, settings: Settings) -> str:
    if note.late is not None:
        return f"{note.name}, a {note.late}"
    if note.other is not None:
        return f"{note.name} with our system bytes"
    facts: list[str] = []
    if note.session_id != request.device_id:
        only_direction = note.session_id == request.device_id | DIRECTION
        what = "it differs in the direction bit" if only_direction else _COMPARE
        facts.append(f"session id {note.session_id} (ours is {request.device_id}: {what})")
    if not note.function & 1:
        if note.system_bytes != request.system_bytes:
            facts.append(
                f"system bytes {note.system_bytes:08X} (ours are {request.system_bytes:08X})"
            )
        elif note.session_id == request.device_id:
            facts.append("our system bytes")
        if note.wait:
            facts.append("W")
    off = _off(request, note, settings)
    then = f"; {' and '.join(off)} would take it" if off else ""
    return f"{note.name} with {' and '.join(facts)}{then}"


def _off(request: Transaction, note: NotTaken, settings: Settings) -> list[str]:
    """The settings that are off and would have it taken; none when they alone would not."""
    found = [DIRECTION_BIT] if note.session_id == request.device_id | DIRECTION else []
    if not found and note.session_id != request.device_id:
        return []
    if not note.function & 1:
        if note.system_bytes != request.system_bytes:
            return []
        byte2 = note.stream | (WAIT if note.wait else 0)
        frame = Frame(0, byte2, note.function, SECS_II, SType.DATA, note.system_bytes, b"")
        tolerant = settings.replace(**_ALL_ON)
        found += deviations(frame, request.stream, request.function, tolerant) or ()
    return [each.setting for each in found if not getattr(settings, each.setting)]

"""What faults of frames do to the frames of one direction.

A frame is held back as a whole only while a fault acts on it that needs the whole of it; one that
is left out is not held at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final, Literal, assert_never

from hsms_engine.protocol.traffic import frame_name
from hsms_engine.proxy.armed import InForce
from hsms_engine.proxy.cutter import Part
from hsms_engine.proxy.faults import (
    CorruptFrame,
    DelayFrame,
    Direction,
    Drop,
    DropFrame,
    DuplicateFrame,
    FrameFault,
    InsertFrame,
    ReplayFrame,
    SwapFrames,
)
from hsms_engine.proxy.patterns import frame_bytes
from hsms_engine.wire import SECS_II, Frame, SType

# Where each field is in a frame: its first byte, how many bytes, and which bits of them.
_PLACES: Final[dict[str, tuple[int, int, int]]] = {
    "length": (0, 4, 0xFFFF_FFFF),
    "session-id": (4, 2, 0xFFFF),
    "w": (6, 1, 0x80),
    "stream": (6, 1, 0x7F),
    "function": (7, 1, 0xFF),
    "status": (7, 1, 0xFF),
    "ptype": (8, 1, 0xFF),
    "stype": (9, 1, 0xFF),
    "system-bytes": (10, 4, 0xFFFF_FFFF),
}
_BODY_AT: Final = 14


@dataclass(frozen=True, slots=True)
class Out:
    """Bytes to be sent, ``by`` seconds later if that is not 0; then they are a whole frame."""

    data: bytes
    ends: bool
    by: float = 0.0


Acting = tuple[InForce, FrameFault]
_How = Literal["pass", "drop", "hold"]


class Treatment:
    """The frames of one direction of one connection."""

    def __init__(self, connection: int, direction: Direction) -> None:
        self._connection = connection
        self._direction = direction
        self._how: _How = "pass"
        # Of a frame that is held back: its bytes so far, its name, and what acts on it.
        self._whole = bytearray()
        self._name = ""
        self._acting: list[Acting] = []
        # The frame that is sent after the next one, if there is one.
        self._swapped: list[bytes] = []
        # The session id of the latest data message.
        self._session_id = 0

    def take(self, part: Part, faults: list[Acting]) -> list[Out]:
        """What is to be sent of a part; ``faults`` are those in force now."""
        outs = self._begin(part.head, faults) if part.head is not None else []
        match self._how:
            case "pass":
                outs.append(Out(part.data, part.ends))
            case "drop":
                pass
            case "hold":
                self._whole += part.data
            case how:
                assert_never(how)
        if part.ends:
            outs += self._end()
        return outs

    def _end(self) -> list[Out]:
        """A frame has ended: what was held back of it, and what it has overtaken."""
        how, self._how = self._how, "pass"
        if how == "drop":
            return []
        overtaken, self._swapped = self._swapped, []
        outs = self._finish(may_swap=not overtaken) if how == "hold" else []
        return [*outs, *(Out(each, True) for each in overtaken)]

    def rest(self) -> list[Out]:
        """What is held back when the stream has ended."""
        whole, self._whole = bytes(self._whole), bytearray()
        swapped, self._swapped = self._swapped, []
        return [Out(each, True) for each in (*swapped, whole)]

    def _begin(self, head: Frame, faults: list[Acting]) -> list[Out]:
        self._name = frame_name(head)
        if head.stype == SType.DATA and head.ptype == SECS_II:
            self._session_id = head.session_id
        outs = [out for in_force, fault in faults for out in self._replayed(in_force, fault)]
        acting = [each for each in faults if each[0].takes(each[1], head)]
        drops = [each for each in acting if isinstance(each[1], Drop | DropFrame)]
        self._acting = []
        for in_force, fault in drops[:1] or acting:
            match fault:
                case Drop() | DropFrame():
                    in_force.tell("left out", self._name)
                    self._how = "drop"
                case InsertFrame(frame=name):
                    system_bytes = in_force.random.getrandbits(32)
                    outs.append(Out(frame_bytes(name, self._session_id, system_bytes), True))
                    in_force.tell(f"comes after {name}, which was put in", self._name)
                case _:
                    self._acting.append((in_force, fault))
                    self._how = "hold"
        return outs

    def _replayed(self, in_force: InForce, fault: FrameFault) -> list[Out]:
        """The frames that an earlier connection has left for this one."""
        if not isinstance(fault, ReplayFrame):
            return []
        taken = in_force.armed.take_kept(self._connection, self._direction)
        for number, _ in taken:
            in_force.tell(f"comes after a frame of connection {number}", self._name)
        return [Out(data, True) for _, data in taken]

    def _finish(self, *, may_swap: bool) -> list[Out]:
        """The frame that was held back is whole."""
        whole, self._whole = self._whole, bytearray()
        copies: list[float] = []
        by, is_swapped = 0.0, False
        for in_force, fault in self._acting:
            match fault:
                case CorruptFrame():
                    what = _corrupt(whole, fault, in_force.random)
                case DuplicateFrame():
                    copies.append(fault.by)
                    what = f"sent again{_later(fault.by)}"
                case DelayFrame():
                    by += fault.by
                    what = f"sent{_later(fault.by)}"
                case SwapFrames() if may_swap:
                    is_swapped = True
                    what = "sent after the next frame"
                case ReplayFrame():
                    keep = in_force.armed.keep
                    is_kept = keep(self._connection, self._direction, bytes(whole))
                    what = (
                        f"{'kept' if is_kept else 'too large to be kept'} for the next connection"
                    )
                case _:
                    # It has overtaken another one, and is not overtaken itself.
                    continue
            in_force.tell(what, self._name)
        data = bytes(whole)
        if is_swapped:
            self._swapped.append(data)
        else:
            copies.insert(0, by)
        return [Out(data, True, each) for each in copies]


def _later(by: float) -> str:
    return f" {by:g} s later" if by else ""


def _corrupt(whole: bytearray, fault: CorruptFrame, random: Random) -> str:
    """Change a field of a frame. What was done."""
    if fault.field == "body":
        if len(whole) == _BODY_AT:
            return "has no body that could be changed"
        at, size, mask = random.randrange(_BODY_AT, len(whole)), 1, 0xFF
        name = f"byte {at - _BODY_AT} of the body"
    else:
        at, size, mask = _PLACES[fault.field]
        name = fault.field
    before = int.from_bytes(whole[at : at + size])
    # The mask is one run of bits; its lowest one is the unit of the field.
    unit = mask & -mask
    old, most = (before & mask) // unit, mask // unit
    choices = sorted({0, max(old - 1, 0), min(old + 1, most), most} - {old})
    new = random.choice(choices) if fault.to is None else min(fault.to, most)
    whole[at : at + size] = (before & ~mask | new * unit).to_bytes(size)
    return f"has {name} {new} instead of {old}"

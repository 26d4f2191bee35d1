"""The faults of a proxy: one frozen dataclass each, in a closed union, and the same as text.

``to-host latency=200ms after=10s`` is ``Latency(0.2, direction="to-host", after=10)``. The classes
are the only table: parsing, checking, help text and docs/proxy.md read their fields.

Invariant: ``parse_fault(str(fault)) == fault`` for every fault.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from typing import Annotated, ClassVar, Final, Literal, get_args, get_type_hints

from hsms_engine.proxy.values import (
    BYTES,
    CONNECTIONS,
    COUNT,
    FRAME,
    IDLE,
    LASTING,
    NUMBER,
    PATTERN,
    PERCENT,
    RATE,
    SECONDS,
    Kind,
    one_of,
)
from hsms_engine.spelling import hint

Direction = Literal["to-equipment", "to-host"]
"""Who dials the proxy is called the host, and whom the proxy dials the equipment."""

DIRECTIONS: Final[tuple[Direction, ...]] = get_args(Direction)
DIRECTION: Final = one_of("|".join(DIRECTIONS), *DIRECTIONS)
CORRUPTIBLE: Final = (
    "length",
    "session-id",
    "w",
    "stream",
    "function",
    "status",
    "ptype",
    "stype",
    "system-bytes",
    "body",
)
FIELD: Final = one_of("FIELD", *CORRUPTIBLE)


class FaultError(ValueError):
    """An unknown fault or a wrong value. In one line: what was given, and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """A fault in force from ``at`` seconds on, for ``lasting`` seconds, on some connections.

    ``at`` counts from when the fault was set. ``connections`` are numbers from 1 on, the first and
    the last one; ``(3, None)`` is each from the third on.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]

    at: Annotated[float, SECONDS] = 0.0
    lasting: Annotated[float | None, LASTING] = None
    connections: Annotated[tuple[int, int | None], CONNECTIONS] = (1, None)

    def __init_subclass__(cls) -> None:
        if "meaning" in vars(cls):
            cls.__doc__ = f"{cls.meaning[0].upper()}{cls.meaning[1:]}."

    def __post_init__(self) -> None:
        for each, kind in fields_of(type(self)):
            value = getattr(self, each.name)
            if value != each.default and not kind.fits(value):
                raise FaultError(f"{self.name}: {each.name}={value!r} is not {kind.allowed}")

    def __str__(self) -> str:
        words: list[str] = []
        first = self.name
        for each, kind in fields_of(type(self)):
            value = getattr(self, each.name)
            if each.default is not MISSING and value == each.default:
                continue
            if each.name == value_field(type(self)):
                first += f"={kind.show(value)}"
            elif each.name == "direction":
                first = f"{value} {first}"
            else:
                words.append(f"{kind.key or each.name}={kind.show(value)}")
        return " ".join([first, *words])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Directed(_Timed):
    """A fault in one direction, or in both when ``direction`` is None.

    ``after`` counts from when the connection was accepted, or the fault was set if that was later.
    """

    direction: Annotated[Direction | None, DIRECTION] = None
    after: Annotated[float, SECONDS] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfFrames(_Directed):
    """A fault of the frames that match a pattern: of the ``nth``, of each ``every``-th, by chance.

    They are counted over all connections since the fault was set. Given together, all must hold.
    """

    nth: Annotated[int | None, COUNT] = None
    every: Annotated[int, COUNT] = 1
    chance: Annotated[float, PERCENT] = 1.0


# Bytes


@dataclass(frozen=True, slots=True)
class Latency(_Directed):
    name: ClassVar[str] = "latency"
    meaning: ClassVar[str] = "pass everything on so much later"

    seconds: Annotated[float, SECONDS]


@dataclass(frozen=True, slots=True)
class Jitter(_Directed):
    name: ClassVar[str] = "jitter"
    meaning: ClassVar[str] = "pass each piece on later by chance, up to this; the order stays"

    seconds: Annotated[float, SECONDS]


@dataclass(frozen=True, slots=True)
class Rate(_Directed):
    name: ClassVar[str] = "rate"
    meaning: ClassVar[str] = "pass on at most so many bytes per second"

    bytes_per_second: Annotated[float, RATE]


@dataclass(frozen=True, slots=True)
class Slice(_Directed):
    name: ClassVar[str] = "slice"
    meaning: ClassVar[str] = "write at most so many bytes at once"

    size: Annotated[int, BYTES]


@dataclass(frozen=True, slots=True)
class BlackHole(_Directed):
    name: ClassVar[str] = "black-hole"
    meaning: ClassVar[str] = "pass on nothing, also no FIN and RST; afterwards what was held"


@dataclass(frozen=True, slots=True)
class Reset(_Directed):
    name: ClassVar[str] = "reset"
    meaning: ClassVar[str] = (
        "reset both ends (RST); with a direction only that end; a host that waits until somebody "
        "is dialled is reset too"
    )


@dataclass(frozen=True, slots=True)
class HalfClose(_Directed):
    name: ClassVar[str] = "half-close"
    meaning: ClassVar[str] = "tell the end of the stream (FIN), and drop what comes after it"


@dataclass(frozen=True, slots=True)
class LostFin(_Directed):
    name: ClassVar[str] = "lost-fin"
    meaning: ClassVar[str] = "pass on no end of the stream (FIN)"


@dataclass(frozen=True, slots=True)
class CutAfter(_Directed):
    name: ClassVar[str] = "cut-after"
    meaning: ClassVar[str] = "close both ends after so many bytes in one direction"

    size: Annotated[int, BYTES]


@dataclass(frozen=True, slots=True)
class Stall(_Directed):
    name: ClassVar[str] = "stall"
    meaning: ClassVar[str] = "read nothing, so that the buffers of the sender fill"


@dataclass(frozen=True, slots=True)
class ForgetfulFirewall(_Directed):
    name: ClassVar[str] = "forgetful-firewall"
    meaning: ClassVar[str] = "after such a silence drop all that comes, and tell nobody"

    seconds: Annotated[float, IDLE]


@dataclass(frozen=True, slots=True)
class ForgetfulNat(_Directed):
    name: ClassVar[str] = "forgetful-nat"
    meaning: ClassVar[str] = "after such a silence reset only the end that sends next"

    seconds: Annotated[float, IDLE]


# Connections


@dataclass(frozen=True, slots=True)
class Refuse(_Timed):
    name: ClassVar[str] = "refuse"
    meaning: ClassVar[str] = "do not listen, so that TCP is refused"


@dataclass(frozen=True, slots=True)
class AcceptAndSayNothing(_Timed):
    name: ClassVar[str] = "accept-and-say-nothing"
    meaning: ClassVar[str] = "accept, dial nobody, read and never write"


# Frames


@dataclass(frozen=True, slots=True)
class Drop(_Directed):
    name: ClassVar[str] = "drop"
    meaning: ClassVar[str] = "leave out this share of all frames"

    share: Annotated[float, PERCENT]


@dataclass(frozen=True, slots=True)
class DropFrame(_OfFrames):
    name: ClassVar[str] = "drop-frame"
    meaning: ClassVar[str] = "leave such a frame out"

    pattern: Annotated[str, PATTERN]


@dataclass(frozen=True, slots=True)
class DuplicateFrame(_OfFrames):
    name: ClassVar[str] = "duplicate-frame"
    meaning: ClassVar[str] = "send such a frame again, so much later (0 s)"

    pattern: Annotated[str, PATTERN]
    by: Annotated[float, SECONDS] = 0.0


@dataclass(frozen=True, slots=True)
class DelayFrame(_OfFrames):
    name: ClassVar[str] = "delay-frame"
    meaning: ClassVar[str] = "send such a frame so much later (1 s); others overtake it"

    pattern: Annotated[str, PATTERN]
    by: Annotated[float, SECONDS] = 1.0


@dataclass(frozen=True, slots=True)
class CorruptFrame(_OfFrames):
    name: ClassVar[str] = "corrupt-frame"
    meaning: ClassVar[str] = "change a field; without a value by chance to a near or extreme one"

    pattern: Annotated[str, PATTERN]
    field: Annotated[str, FIELD] = "system-bytes"
    to: Annotated[int | None, NUMBER] = None


@dataclass(frozen=True, slots=True)
class SwapFrames(_OfFrames):
    name: ClassVar[str] = "swap-frames"
    meaning: ClassVar[str] = "send such a frame after the frame that follows it"

    pattern: Annotated[str, PATTERN]


@dataclass(frozen=True, slots=True)
class InsertFrame(_OfFrames):
    name: ClassVar[str] = "insert-frame"
    meaning: ClassVar[str] = "put this frame before such a frame (any)"

    frame: Annotated[str, FRAME]
    before: Annotated[str, PATTERN] = "any"


@dataclass(frozen=True, slots=True)
class ReplayFrame(_OfFrames):
    name: ClassVar[str] = "replay-frame"
    meaning: ClassVar[str] = "send such a frame again, first of all, on the next connection"

    pattern: Annotated[str, PATTERN]


FrameFault = (
    Drop
    | DropFrame
    | DuplicateFrame
    | DelayFrame
    | CorruptFrame
    | SwapFrames
    | InsertFrame
    | ReplayFrame
)
FlowFault = (
    Latency
    | Jitter
    | Rate
    | Slice
    | BlackHole
    | Reset
    | HalfClose
    | LostFin
    | CutAfter
    | Stall
    | ForgetfulFirewall
    | ForgetfulNat
    | FrameFault
)
Fault = FlowFault | Refuse | AcceptAndSayNothing

KNOWN: Final[dict[str, type[Fault]]] = {each.name: each for each in get_args(Fault)}
"""The class of each name, in the order of the table."""


def parse_fault(text: str) -> Fault:
    """The fault written as ``[DIRECTION] NAME[=VALUE] [KEY=VALUE ...]``. Raises ``FaultError``."""
    words = text.split()
    given: dict[str, object] = {}
    if words and words[0] in DIRECTIONS:
        given["direction"] = words.pop(0)
    if not words:
        raise FaultError(f"{text!r} names no fault; {hint('', KNOWN)}")
    name, has_value, value = words[0].partition("=")
    if (kind := KNOWN.get(name)) is None:
        if name in (_key(each, how) for each, how in fields_of(DropFrame)):
            raise FaultError(f"{words[0]!r} is a condition: it comes after the name of the fault")
        # A direction may be meant, but is no fault.
        direction = hint(name, DIRECTIONS)
        why = direction if direction.startswith("did you") else hint(name, KNOWN)
        raise FaultError(f"unknown fault {name!r}; {why}")
    known = {_key(each, how): (each, how) for each, how in fields_of(kind)}
    first = value_field(kind)
    if has_value and first is None:
        if "direction" not in known or value not in DIRECTIONS:
            raise FaultError(f"{name} takes no value, not {value!r}")
        # black-hole=to-host
        words.append(f"direction={value}")
    elif first is not None:
        if not has_value:
            raise FaultError(f"{name} needs a value: {usage(kind)}")
        words.append(f"{first}={value}")
    if "direction" in given and "direction" not in known:
        raise FaultError(f"{name} has no direction: it is about the whole connection")
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or key not in known:
            if word in DIRECTIONS:
                raise FaultError(f"{name}: a direction comes first, so {word} before {name}")
            others = [each for each in known if each not in (first, "direction")]
            raise FaultError(f"{name}: {word!r} is none of its conditions; {hint(key, others)}")
        each, how = known[key]
        if each.name in given:
            raise FaultError(f"{name}: {key} is given twice")
        given[each.name] = read = how.read(value)
        if read is None or not how.fits(read):
            shown = f"{name}={value}" if key == first else f"{name}: {key}={value}"
            raise FaultError(f"{shown} is not {how.allowed}")
    made: Fault = kind(**given)  # type: ignore[arg-type]  # each is of its kind
    return made


def as_fault(given: Fault | str) -> Fault:
    """A fault, or one written as text. Raises ``FaultError``."""
    return parse_fault(given) if isinstance(given, str) else given


def fields_of(kind: type[_Timed]) -> tuple[tuple[Field[object], Kind], ...]:
    """The fields of a fault, its own first, each with the kind of its values."""
    return _fields_of(kind.name)


@cache
def _fields_of(name: str) -> tuple[tuple[Field[object], Kind], ...]:
    kind = KNOWN[name]
    hints = get_type_hints(kind, include_extras=True)
    own = [each for each in fields(kind) if not each.kw_only]
    shared = [each for each in fields(kind) if each.kw_only]
    # Those that fewer faults have come first.
    shared.sort(key=lambda each: _SHARED.index(each.name))
    return tuple((each, get_args(hints[each.name])[1]) for each in (*own, *shared))


def value_field(kind: type[_Timed]) -> str | None:
    """The field that is written as NAME=VALUE."""
    first = fields_of(kind)[0][0]
    return None if first.kw_only else first.name


def usage(kind: type[Fault]) -> str:
    """How it is written: ``delay-frame=PATTERN [by=SECONDS]``."""
    words = [kind.name]
    for each, how in fields_of(kind):
        if each.name == value_field(kind):
            words[0] += f"={how.metavar}"
        elif not each.kw_only:
            words.append(f"[{each.name}={how.metavar}]")
    return " ".join(words)


def rows() -> list[tuple[str, str]]:
    """Every fault: how it is written, and what it does."""
    return [(usage(each), each.meaning) for each in KNOWN.values()]


def conditions() -> list[tuple[str, str]]:
    """Every condition: how it is written, and when the fault is in force then."""
    every = {each.name: how for each, how in fields_of(DropFrame) if each.kw_only}
    return [
        (
            how.metavar if name == "direction" else f"{how.key or name}={how.metavar}",
            _CONDITIONS[name],
        )
        for name, how in every.items()
    ]


def listing() -> str:
    """All faults and conditions, one a line, for a help text."""
    parts = [rows(), conditions()]
    width = max(len(written) for part in parts for written, _ in part)
    faults, others = (
        "\n".join(f"  {written:{width}}  {meaning}" for written, meaning in part) for part in parts
    )
    return f"faults:\n{faults}\n\nconditions:\n{others}"


def values() -> str:
    """How the values in ``listing`` are written, for a help text."""
    found: dict[str, str] = {}
    for fault in KNOWN.values():
        for _, how in fields_of(fault):
            found.setdefault(how.metavar, how.allowed)
    width = max(map(len, found))
    return "\n".join(f"  {metavar:{width}}  {allowed}" for metavar, allowed in found.items())


# What the fields that many faults have mean, in the order in which they are shown.
_CONDITIONS: Final = {
    "direction": "only in this direction; it stands first",
    "nth": "only the n-th frame that matches, over all connections",
    "every": "each n-th frame that matches",
    "chance": "this share of the frames that match",
    "after": "so long after the connection was accepted, or the fault set if later",
    "at": "so long after the fault was set: the proxy sets it when it starts",
    "lasting": "for so long from then on",
    "connections": "only these connections, numbered as they come",
}
_SHARED: Final = tuple(_CONDITIONS)


def _key(each: Field[object], how: Kind) -> str:
    return how.key or each.name

"""The misbehaviours of a fake equipment, by name: ``delay-replies=0.5``, ``drop-replies=3``.

Invariants:

* ``KNOWN`` is the only list: parsing, the help text and error messages read it.
* Every name is a field of ``Behaviours``, with underscores for hyphens. The one exception is
  ``answer-everything``: it means that all fields have their defaults.
* Behaviours combine. Some of them leave no connection for the others (such as ``refuse-tcp``); when
  several of these are given, the first in the list is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from hsms_engine.spelling import hint

LONGEST: Final = 3600.0
"""The longest delay, in seconds."""


class BehaviourError(ValueError):
    """An unknown behaviour or argument. In one line: what was given, what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviours:
    """A combination of behaviours; without any, every primary with W is answered.

    Frames have these names: ``"reply"`` (a secondary), ``"select"`` and ``"linktest"`` (their
    responses). Times are in seconds. ``None``, and 0 for a whole number, mean never.
    """

    refuse_tcp: bool = False
    accept_and_close: bool = False
    accept_and_say_nothing: bool = False
    delay_accept: float = 0.0
    delay_select: float = 0.0
    delay_replies: float = 0.0
    refuse_select: int = 0
    wrong_system_bytes: str | None = None
    drop_replies: int = 0
    send_garbage: str | None = None
    cut_mid_frame: str | None = None
    stall_mid_frame: str | None = None
    separate_after: int = 0
    stop_reading: float | None = None
    deaf_after: float | None = None

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Behaviours:
        """The behaviours written as ``NAME`` or ``NAME=ARGUMENT``. Raises ``BehaviourError``."""
        chosen: dict[str, Any] = {}
        for text in texts:
            name, given, argument = text.partition("=")
            if (known := KNOWN.get(name)) is None:
                raise BehaviourError(f"unknown behaviour {name!r}; {hint(name, KNOWN)}")
            field = name.replace("-", "_")
            if field in chosen:
                raise BehaviourError(f"{name} is given twice")
            chosen[field] = known.value(name, argument if given else None)
        chosen.pop("answer_everything", None)
        return cls(**chosen)

    @property
    def touches_frames(self) -> bool:
        """Whether a frame may be sent later than the engine wrote it, or changed."""
        return bool(
            self.delay_select
            or self.wrong_system_bytes
            or self.send_garbage
            or self.cut_mid_frame
            or self.stall_mid_frame
        )


@dataclass(frozen=True, slots=True)
class Known:
    """One behaviour: what it does, and how its argument is read.

    ``default`` is used when no argument is given; when it is None, the argument is required.
    """

    meaning: str
    argument: str = ""
    allowed: str = ""
    read: Callable[[str], object | None] | None = None
    default: object | None = None

    def value(self, name: str, argument: str | None) -> object:
        """The value of the field. Raises ``BehaviourError``."""
        if self.read is None:
            if argument is not None:
                raise BehaviourError(f"{name} takes no argument, not {argument!r}")
            return True
        if argument is None:
            if self.default is None:
                raise BehaviourError(f"{name} needs {self.allowed}: {name}={self.argument}")
            return self.default
        if (value := self.read(argument)) is None:
            raise BehaviourError(f"{name}={argument} is not {self.allowed}")
        return value

    def usage(self, name: str) -> str:
        """How it is written: ``drop-replies[=N]``."""
        if self.read is None:
            return name
        shown = f"={self.argument}"
        return name + (shown if self.default is None else f"[{shown}]")


def _seconds(meaning: str, default: float | None = None) -> Known:
    def read(text: str) -> float | None:
        try:
            value = float(text)
        except ValueError:
            return None
        return value if 0 <= value <= LONGEST else None

    allowed = f"a number of seconds in 0..{LONGEST:g}"
    return Known(meaning, "SECONDS", allowed, read, default)


def _whole(meaning: str, argument: str, highest: int, default: int | None = None) -> Known:
    def read(text: str) -> int | None:
        # For very many digits int() would take long, and the number is out of range anyway.
        if not (text.isascii() and text.isdigit()) or len(text) > 9:
            return None
        value = int(text)
        return value if 1 <= value <= highest else None

    return Known(meaning, argument, f"a whole number in 1..{highest}", read, default)


def _one_of(meaning: str, *choices: str) -> Known:
    def read(text: str) -> str | None:
        return text if text in choices else None

    listed = "|".join(choices)
    return Known(meaning, listed, f"one of {listed}", read, choices[0])


KNOWN: Final[dict[str, Known]] = {
    "answer-everything": Known("answer every primary with W: what it does anyway, said aloud"),
    "refuse-tcp": Known("do not listen, so that TCP is refused"),
    "accept-and-close": Known("accept TCP and close it at once"),
    "accept-and-say-nothing": Known("accept TCP, read and never write"),
    "delay-accept": _seconds("wait before each accept"),
    "delay-select": _seconds("wait before each Select.rsp"),
    "delay-replies": _seconds("wait before each reply, each for itself"),
    "refuse-select": _whole(
        "answer Select.req with this status and stay not selected", "N", 255, 2
    ),
    "wrong-system-bytes": _one_of(
        "add 1 to the system bytes of such a frame", "reply", "select", "linktest"
    ),
    "drop-replies": _whole("leave out every N-th reply", "N", 1_000_000, 1),
    "send-garbage": _one_of(
        "send what is no HSMS in place of such a frame, or on accepting",
        "reply",
        "select",
        "accept",
    ),
    "cut-mid-frame": _one_of("send half of such a frame and close TCP", "reply", "select"),
    "stall-mid-frame": _one_of("send half of such a frame and no more", "reply", "select"),
    "separate-after": _whole("separate after so many primaries of a connection", "N", 1_000_000),
    "stop-reading": _seconds("so long after Select.rsp, read and write no more", 0.0),
    "deaf-after": _seconds("so long after Select.rsp, read, ignore and write no more", 0.0),
}

ONCE: Final = frozenset({"cut-mid-frame", "send-garbage", "stall-mid-frame"})
"""As a step without an argument, these spoil one frame at once: that of a linktest, or another."""


def listing() -> str:
    """All behaviours, one a line, for a help text."""
    rows = [(known.usage(name), known.meaning) for name, known in KNOWN.items()]
    width = max(len(usage) for usage, _ in rows)
    return "\n".join(f"  {usage:{width}}  {meaning}" for usage, meaning in rows)

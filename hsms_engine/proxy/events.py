"""What happens to a proxy, as typed events: ``str`` is a line for people.

``at`` is in seconds since the proxy began; connections are numbered from 1 on as they come.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from hsms_engine.driver.tcp import address_text
from hsms_engine.proxy.faults import Direction, Fault


@dataclass(frozen=True, slots=True)
class Listening:
    """It listens, for the first time or again."""

    event: ClassVar[str] = "listening"

    at: float
    host: str
    port: int

    def __str__(self) -> str:
        return f"listening on {address_text((self.host, self.port))}"


@dataclass(frozen=True, slots=True)
class NotListening:
    """It could not listen again, or not accept. It tries again after a second."""

    event: ClassVar[str] = "not listening"

    at: float
    why: str

    def __str__(self) -> str:
        return f"not listening: {self.why}"


@dataclass(frozen=True, slots=True)
class Changed:
    """Other faults were set."""

    event: ClassVar[str] = "changed"

    at: float
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return f"faults: {', '.join(map(str, self.faults)) or 'none'}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Somebody has connected."""

    event: ClassVar[str] = "accepted"

    at: float
    connection: int
    peer: str

    def __str__(self) -> str:
        return f"{self.connection}: accepted from {self.peer}"


@dataclass(frozen=True, slots=True)
class NotDialled:
    """The equipment could not be reached; who has connected was reset."""

    event: ClassVar[str] = "not dialled"

    at: float
    connection: int
    why: str

    def __str__(self) -> str:
        return f"{self.connection}: the equipment is not reached: {self.why}"


@dataclass(frozen=True, slots=True)
class Acted:
    """A fault has acted. Without a frame it is about bytes, without a direction about both ends."""

    event: ClassVar[str] = "fault"

    at: float
    connection: int
    direction: Direction | None
    frame: str | None
    what: str
    fault: Fault

    def __str__(self) -> str:
        where = f" {self.direction}" if self.direction else ""
        frame = f"{self.frame} " if self.frame else ""
        return f"{self.connection}{where}: {frame}{self.what} ({self.fault})"


@dataclass(frozen=True, slots=True)
class NotHsms:
    """What comes is no HSMS from here on: it passes, and faults of frames rest."""

    event: ClassVar[str] = "not HSMS"

    at: float
    connection: int
    direction: Direction
    why: str

    def __str__(self) -> str:
        return f"{self.connection} {self.direction}: no HSMS from here on: {self.why}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A connection is over. How many bytes were passed on to each end."""

    event: ClassVar[str] = "ended"

    at: float
    connection: int
    why: str
    to_equipment: int
    to_host: int

    def __str__(self) -> str:
        return (
            f"{self.connection}: ended, {self.why}; bytes to the equipment {self.to_equipment}, "
            f"to the host {self.to_host}"
        )


ProxyEvent = Listening | NotListening | Changed | Accepted | NotDialled | Acted | NotHsms | Ended


def described(event: ProxyEvent) -> dict[str, object]:
    """An event as a JSON object; faults are written as on the command line."""
    told: dict[str, object] = {"event": event.event}
    for each in fields(event):
        match getattr(event, each.name):
            case str() | int() | float() | None as plain:
                told[each.name] = plain
            case tuple() as several:
                told[each.name] = [str(fault) for fault in several]
            case fault:
                told[each.name] = str(fault)
    return told

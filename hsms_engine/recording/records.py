"""The records of a recording: a closed union of small frozen records.

``at`` is the monotonic clock of the link in seconds, ``wall`` are the seconds since 1970 (UTC).
``link`` is a whole number that is unique within the recording, ``epoch`` the number of the TCP
connection (0 before the first).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

LAYOUT = 1
"""Grows when the known keys, or their meaning, change."""

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""A JSON value. An infinite number is written as null."""


@dataclass(frozen=True, slots=True)
class ChartState:
    """Where a chart is: the names of its active leaves, and the values of its variables."""

    leaves: str
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HopRecord:
    """One chart's part in a step: its event, the leaves before and after, and the values after."""

    chart: str
    event: str
    before: str
    after: str
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The base of all records."""

    at: float
    wall: float


@dataclass(frozen=True, slots=True)
class HeadRecord(Recorded):
    """The first record of each file."""

    kind: ClassVar[str] = "recording"
    layout: int
    engine: str
    """The version of the engine that has written it."""
    charts: Mapping[str, str]
    """The SHA-256 of each chart, by its id."""
    part: int
    """The number of the file within the recording, from 1."""
    recording: str
    """An id that all parts of a recording share."""


@dataclass(frozen=True, slots=True)
class LostRecord(Recorded):
    """So many records, of so many bytes as lines, were dropped here: the disk was too slow."""

    kind: ClassVar[str] = "lost"
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class EndRecord(Recorded):
    """The file ends, and why. One without it was cut."""

    kind: ClassVar[str] = "end"
    why: str


@dataclass(frozen=True, slots=True)
class OfLink(Recorded):
    """The base of the records about a link."""

    link: int
    epoch: int


@dataclass(frozen=True, slots=True)
class OwnerRecord:
    """Who has the lease of a tool, by the name in the store; empty: not known, or nobody.

    ``lease_epoch`` is the latest that is known.
    """

    owner: str
    lease_epoch: int


@dataclass(frozen=True, slots=True)
class LinkRecord(OfLink):
    """A link begins to be recorded, or goes on in another file."""

    kind: ClassVar[str] = "link"
    name: str
    peer: str
    role: Literal["active", "passive"]
    settings: Mapping[str, Json]
    states: Mapping[str, ChartState]
    """Of all charts, by their ids."""
    timers: Mapping[str, float]
    """When each running timer is due, on the clock of ``at``; infinite: it waits for something."""
    server: str | None = None
    """The name of the server that has accepted it."""
    ownership: OwnerRecord | None = None
    """None: no lease decides about it."""


@dataclass(frozen=True, slots=True)
class SettingsRecord(OfLink):
    """These settings have now these values."""

    kind: ClassVar[str] = "settings"
    changed: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class FrameRecord(OfLink):
    """A message was received or queued for sending.

    ``data`` is header and body without the length field; only the header when ``body`` says why.
    ``length`` are the bytes on the wire, length field included.
    """

    kind: ClassVar[str] = "frame"
    sent: bool
    data: bytes
    length: int
    body: Literal["masked", "left out", "not kept"] | None = None
    """Why ``data`` has not the body that was on the wire; a masked one may have another instead."""
    passed_over: str | None = None
    seconds: float | None = None
    tolerated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepRecord(OfLink):
    """A step of the charts. ``timers`` are all that run after it, as in ``LinkRecord``."""

    kind: ClassVar[str] = "step"
    event: str
    hops: tuple[HopRecord, ...]
    effects: tuple[str, ...]
    timers: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EventRecord(OfLink):
    """An event of the link: the name of its class in ``hsms_engine.events``, and its fields."""

    kind: ClassVar[str] = "event"
    event: str
    fields: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErrorRecord(OfLink):
    """A request has failed: the class of the error, and what it says."""

    kind: ClassVar[str] = "error"
    error: str
    text: str


@dataclass(frozen=True, slots=True)
class GoneRecord(OfLink):
    """The link is over, or is recorded no more."""

    kind: ClassVar[str] = "gone"


RecordOfLink: TypeAlias = (
    LinkRecord | SettingsRecord | FrameRecord | StepRecord | EventRecord | ErrorRecord | GoneRecord
)

Record: TypeAlias = HeadRecord | LostRecord | EndRecord | RecordOfLink

"""Recordings written by hand: what two ends have said, a line a frame."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from hsms_engine import Message
from hsms_engine.recording import EndRecord, FrameRecord, LinkRecord, Record, head, line_of
from hsms_engine.wire import SType, control_frame, data_frame, encode

ENDED = EndRecord(99.0, 99.0, "closed")


def link(
    number: int = 1,
    name: str = "etcher-1",
    *,
    role: Literal["active", "passive"] = "active",
    server: str | None = None,
    peer: str = "10.1.2.3:5000",
    **settings: Any,
) -> LinkRecord:
    """A link begins to be recorded; without settings it is that of a host which has dialled."""
    return LinkRecord(0.0, 0.0, number, 0, name, peer, role, settings, {}, {}, server)


def said(
    at: float,
    sent: bool,
    message: Message,
    system_bytes: int,
    *,
    number: int = 1,
    epoch: int = 1,
    session_id: int = 0,
    body: Literal["masked", "left out", "not kept"] | None = None,
    passed_over: str | None = None,
) -> FrameRecord:
    """A data message."""
    data = encode(
        data_frame(
            session_id,
            message.stream,
            message.function,
            message.wait,
            system_bytes,
            b"" if body else message.body,
        )
    )[4:]
    length = len(message.body) + 14
    return FrameRecord(at, at, number, epoch, sent, data, length, body, passed_over)


def control(at: float, sent: bool, kind: SType, *, number: int = 1, epoch: int = 1) -> FrameRecord:
    """A control message."""
    return FrameRecord(at, at, number, epoch, sent, encode(control_frame(kind, 7))[4:], 14)


def written(file: Path, records: Iterable[Record], recording: str = "id") -> Path:
    """A file of these records, with a head and an end."""
    records = [head(0.0, 0.0, recording), *records, ENDED]
    file.write_text("".join(map(line_of, records)), encoding="utf-8")
    return file

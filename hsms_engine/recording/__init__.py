"""What a recording is: records, their lines of JSON, and how they are read.

A recording is one JSON object a line, in UTF-8, in one file or in several parts. Nothing here runs
a link, and nothing asks a clock. To read one::

    from hsms_engine.recording import FrameRecord, Unread, parts_of, read

    for record in read(parts_of("tool-7.jsonl")):
        match record:
            case FrameRecord(at=at, link=link, sent=sent, data=data):
                ...
            case Unread():
                print(record)      # a line that cannot be read, and why
            case _:
                ...

To write one: ``line_of(record)`` is the line of a record, with its end. ``head(...)`` makes the
first record of each file. docs/recorder.md has all keys.
"""

from __future__ import annotations

from hsms_engine.recording.lines import (
    LONGEST_LINE,
    UnreadableError,
    fields_of,
    frame_line,
    line_of,
    record_of,
)
from hsms_engine.recording.reading import Place, Reader, Unread, parts_of, read
from hsms_engine.recording.records import (
    LAYOUT,
    ChartState,
    EndRecord,
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HeadRecord,
    HopRecord,
    Json,
    LinkRecord,
    LostRecord,
    OwnerRecord,
    Record,
    RecordOfLink,
    SettingsRecord,
    StepRecord,
)
from hsms_engine.recording.telling import (
    event_record,
    head,
    other_charts,
    our_charts,
    plain_settings,
    states_of,
    step_record,
    text_encoding_of,
)

__all__ = [
    "LAYOUT",
    "LONGEST_LINE",
    "ChartState",
    "EndRecord",
    "ErrorRecord",
    "EventRecord",
    "FrameRecord",
    "GoneRecord",
    "HeadRecord",
    "HopRecord",
    "Json",
    "LinkRecord",
    "LostRecord",
    "OwnerRecord",
    "Place",
    "Reader",
    "Record",
    "RecordOfLink",
    "SettingsRecord",
    "StepRecord",
    "Unread",
    "UnreadableError",
    "event_record",
    "fields_of",
    "frame_line",
    "head",
    "line_of",
    "other_charts",
    "our_charts",
    "parts_of",
    "plain_settings",
    "read",
    "record_of",
    "states_of",
    "step_record",
    "text_encoding_of",
]

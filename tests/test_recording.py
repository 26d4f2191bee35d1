"""Records as lines, and files of them: whole, cut, spoilt, of another layout, long, packed."""

from __future__ import annotations

import gzip
import json
import math
import tracemalloc
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine import Message, ReplyTimeoutError, Settings, events
from hsms_engine.protocol.outputs import Step
from hsms_engine.recording import (
    LONGEST_LINE,
    EndRecord,
    EventRecord,
    FrameRecord,
    HeadRecord,
    HopRecord,
    Json,
    LinkRecord,
    Place,
    Reader,
    Record,
    StepRecord,
    Unread,
    UnreadableError,
    event_record,
    fields_of,
    line_of,
    other_charts,
    our_charts,
    plain_settings,
    read,
    record_of,
    states_of,
    step_record,
)
from hsms_engine.settings import Settings as AllSettings
from statecharts import Router
from statecharts.hsms import ACTIVE_LINK
from tests.support.recorded import RECORDS, SELECT_REQ, SOME

WHOLE = "".join(map(line_of, SOME)).encode()


def written(folder: Path, data: bytes, name: str = "link.jsonl") -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


def all_of(*files: Path, longest: int = LONGEST_LINE) -> list[Record | Unread]:
    return list(read(files, longest=longest))


# Lines


@given(RECORDS)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    line = line_of(record)
    assert line.isascii()
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert record_of(line.encode()) == (record, 0)


@given(RECORDS)
def test_a_line_is_the_object_of_its_record(record: Record) -> None:
    assert json.loads(line_of(record)) == json.loads(json.dumps(fields_of(record)))


def test_there_is_one_of_each_kind() -> None:
    assert {type(record) for record in SOME} == {*get_args(Record)}
    assert len({record.kind for record in SOME}) == len(get_args(Record))


def test_every_word_for_a_body_that_is_not_there_is_read() -> None:
    for body in ("masked", "left out", "not kept"):
        line = line_of(FrameRecord(1.0, 2.0, 1, 1, True, SELECT_REQ, 99, body))
        read_back, _ = record_of(line.encode())
        assert isinstance(read_back, FrameRecord)
        assert read_back.body == body


@given(RECORDS, st.dictionaries(st.sampled_from(("x_1", "x_2")), st.integers(), min_size=1))
def test_keys_that_are_not_known_are_passed_over_and_counted(
    record: Record, more: dict[str, int]
) -> None:
    line = json.dumps({**fields_of(record), **more})
    again, unknown = record_of(line.encode())
    if isinstance(record, EventRecord):
        # A later version has events with other fields.
        assert again == EventRecord(
            record.at, record.wall, record.link, record.epoch, record.event,
            {**record.fields, **more},
        )  # fmt: skip
        assert unknown == 0
    else:
        assert (again, unknown) == (record, len(more))


@given(RECORDS, st.data())
def test_a_key_that_is_missing_or_of_another_kind_spoils_its_line(
    record: Record, data: st.DataObject
) -> None:
    found = json.loads(line_of(record))
    optional = {"server", "body", "passed_over", "seconds", "tolerated", "retry_after"}
    known = sorted(
        key for key in found.keys() - optional
        if not (isinstance(record, EventRecord) and key in record.fields)
    )  # fmt: skip
    key = data.draw(st.sampled_from(known))
    missing = {each: value for each, value in found.items() if each != key}
    with pytest.raises(UnreadableError, match=f"^it has no {key}$"):
        record_of(json.dumps(missing).encode())
    bad: Json = [[]] if not isinstance(found[key], list) else {}
    with pytest.raises(UnreadableError, match=key):
        record_of(json.dumps({**found, key: bad}).encode())


@given(st.binary(max_size=60))
def test_garbage_is_unreadable(line: bytes) -> None:
    with pytest.raises(UnreadableError):
        record_of(line)


BASE = {"kind": "gone", "at": 1, "wall": 2, "link": 3, "epoch": 4}
FRAME = {**BASE, "kind": "frame", "sent": True, "length": 14, "bytes": SELECT_REQ.hex()}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "no JSON: Expecting value at character 1"),
        (b"\xff{}", "byte 1 of the line is no UTF-8"),
        (b"[" * 100_000, "its values are nested too deep"),
        (b"7", "no JSON object"),
        (b"[]", "no JSON object"),
        (b'{"at":NaN}', "no JSON: NaN is no JSON value"),
        (b'{"at":' + b"9" * 5_000 + b"}", "no JSON: Exceeds the limit"),
        (b"{}", "it has no kind"),
        (b'{"kind":1}', "kind=1 is no text"),
        (b'{"kind":"dream"}', "the kind 'dream' is not known"),
    ],
)
def test_each_kind_of_garbage_is_told_apart(line: bytes, why: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        record_of(line)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({**BASE, "at": "1"}, "at='1' is no number of seconds"),
        ({**BASE, "at": True}, "at=true is no number of seconds"),
        ({**BASE, "at": 10**30}, "at=a number of 100 bits is no number of seconds"),
        ({**BASE, "link": -1}, "link=-1 is no whole number from 0"),
        ({**BASE, "link": 1.0}, "link=1.0 is no whole number from 0"),
        ({**BASE, "link": None}, "link=null is no whole number from 0"),
        ({**BASE, "link": "x" * 50}, f"link='{'x' * 37}...' is no whole number from 0"),
        ({**FRAME, "sent": 1}, "sent=1 is not true or false"),
        ({**FRAME, "sent": {}}, "sent=an object is not true or false"),
        ({**FRAME, "bytes": "0g"}, "bytes is no text of hexadecimal digits"),
        ({**FRAME, "bytes": "00"}, "bytes has 1 bytes, and a header has 10"),
        ({**FRAME, "body": "gone"}, "body='gone' is not masked, left out or not kept"),
        ({**FRAME, "tolerated": "x"}, "tolerated='x' is no list"),
        ({**FRAME, "tolerated": [1]}, "tolerated=1 is no text"),
        ({**BASE, "kind": "settings", "changed": []}, "changed=a list is no object"),
    ],
)
def test_a_value_of_another_kind_is_named(found: dict[str, Json], why: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        record_of(json.dumps(found).encode())
    assert str(caught.value) == why


def test_a_link_that_is_neither_active_nor_passive_is_no_record() -> None:
    found = {**fields_of(SOME[1]), "role": "both"}
    with pytest.raises(UnreadableError, match="role='both' is not active or passive"):
        record_of(json.dumps(found).encode())


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("kind", ["settings", "event"])
def test_values_within_values_end_somewhere(kind: str, opened: str, closed: str) -> None:
    # Below what json.loads takes, and above: both are no record.
    told = {"changed": {"a": None}} if kind == "settings" else {"event": "x", "a": None}
    line = json.dumps({**BASE, "kind": kind, **told})
    for depth, is_read in ((31, True), (32, False), (400, False), (900, False), (100_000, False)):
        deep = line.replace("null", f"{opened * depth}1{closed * depth}").encode()
        if is_read:
            assert line_of(record_of(deep)[0])
        else:
            with pytest.raises(UnreadableError, match="its values are nested too deep"):
                record_of(deep)


def test_a_number_that_is_too_large_for_a_float_is_none() -> None:
    line = json.dumps({**BASE, "kind": "settings", "changed": {}}).replace("{}", '{"t3":1e999}')
    record, _ = record_of(line.encode())
    assert fields_of(record)["changed"] == {"t3": None}


# Files


def test_a_file_is_read_in_its_order(tmp_path: Path) -> None:
    reader = read([written(tmp_path, WHOLE)])
    assert tuple(reader) == SOME
    assert (reader.cut, reader.unknown_keys) == ([], 0)


def test_a_file_cut_at_any_byte_is_read_up_to_there(tmp_path: Path) -> None:
    for size in range(len(WHOLE)):
        file = written(tmp_path, WHOLE[:size])
        reader = Reader([file])
        *records, last = [*reader, None]
        whole = WHOLE[:size].count(b"\n")
        # A line may miss its end only.
        whole += WHOLE[size : size + 1] == b"\n"
        assert tuple(records[:whole]) == SOME[:whole]
        unread = records[whole:]
        assert len(unread) <= 1
        for each in unread:
            assert isinstance(each, Unread)
            assert each.line == whole + 1
            assert each.why.startswith("the file is cut here: ")
        assert last is None
        assert reader.cut == ([] if size == len(WHOLE) - 1 else [file])


def test_a_packed_file_cut_at_any_byte_is_read_up_to_there(tmp_path: Path) -> None:
    packed = gzip.compress(WHOLE)
    assert tuple(all_of(written(tmp_path, packed))) == SOME
    for size in range(2, len(packed)):
        records = all_of(written(tmp_path, packed[:size]))
        assert isinstance(records[-1], Unread)
        assert "the gzip file is cut or spoilt" in records[-1].why
        good = [each for each in records if not isinstance(each, Unread)]
        assert tuple(good) == SOME[: len(good)]


def test_a_spoilt_packed_file_is_told(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(WHOLE))
    for at in range(2, len(packed)):
        spoilt = packed.copy()
        spoilt[at] ^= 0xFF
        # Whatever comes out, nothing is raised.
        all_of(written(tmp_path, bytes(spoilt)))


def test_garbage_between_lines_spoils_no_other_line(tmp_path: Path) -> None:
    lines = WHOLE.splitlines(keepends=True)
    for at in range(1, len(lines) + 1):
        data = b"".join([*lines[:at], b"\x00\xff?\n", *lines[at:]])
        file = written(tmp_path, data)
        records = all_of(file)
        unread = records.pop(at)
        assert tuple(records) == SOME
        assert str(unread) == f"{file}:{at + 1}: byte 2 of the line is no UTF-8"


def test_lines_that_are_swapped_are_read_as_they_are(tmp_path: Path) -> None:
    lines = WHOLE.splitlines(keepends=True)
    lines[2], lines[-2] = lines[-2], lines[2]
    records = all_of(written(tmp_path, b"".join(lines)))
    assert (records[2], records[-2]) == (SOME[-2], SOME[2])


def test_a_file_of_another_layout_ends_at_its_head(tmp_path: Path) -> None:
    other = written(tmp_path, WHOLE.replace(b'"layout":1', b'"layout":2', 1), "other")
    assert all_of(other, written(tmp_path, WHOLE)) == [
        Unread(other, 1, "layout 2 is not 1: another version of the engine has written it"),
        *SOME,
    ]


def test_a_file_without_a_head_is_told_and_read(tmp_path: Path) -> None:
    file = written(tmp_path, "".join(map(line_of, SOME[1:])).encode())
    told, *records = all_of(file)
    assert told == Unread(file, 1, "the first record is no head of layout 1")
    assert tuple(records) == SOME[1:]


def test_marks_and_line_ends_of_other_systems_are_read(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + WHOLE.replace(b"\n", b"\r\n")
    assert tuple(all_of(written(tmp_path, data))) == SOME


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_too_long_is_not_read(tmp_path: Path, end: bytes) -> None:
    longest = max(map(len, WHOLE.splitlines(keepends=True)))
    data = WHOLE + b'{"kind":"' + b"x" * (3 * longest) + end + (WHOLE if end else b"")
    file = written(tmp_path, data)
    records = all_of(file, longest=longest)
    unread = records.pop(len(SOME))
    assert unread == Unread(
        file, len(SOME) + 1, f"the line is longer than {longest} bytes, and is not read"
    )
    assert tuple(records) == (SOME * 2 if end else SOME)


def test_the_longest_frame_of_settings_is_not_too_long() -> None:
    record = FrameRecord(1.0, 2.0, 1, 1, True, bytes(Settings().max_frame), 1)
    assert len(line_of(record)) < LONGEST_LINE


def test_memory_does_not_grow_with_the_lines(tmp_path: Path) -> None:
    line = line_of(SOME[4]).encode()
    few, many = (written(tmp_path, line * n, str(n)) for n in (100, 20_000))

    def peak(file: Path) -> int:
        tracemalloc.start()
        try:
            assert sum(1 for _ in read([file])) > 100
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(few)
    assert peak(many) < peak(few) + 50_000


def test_a_file_that_is_not_there_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        all_of(tmp_path / "none")


def test_a_recording_of_other_charts_is_read_and_they_are_named() -> None:
    ours = SOME[0]
    assert isinstance(ours, HeadRecord)
    assert other_charts(ours) == ()
    charts = {**our_charts(), "breaker": "0", "lease": "1"}
    other = HeadRecord(0.0, 0.0, 1, "9", charts, 1, "a")
    again, _ = record_of(line_of(other).encode())
    assert isinstance(again, HeadRecord)
    assert other_charts(again) == ("breaker", "lease")


# What an engine tells


def test_settings_are_plain_and_have_no_password() -> None:
    settings = AllSettings(tls_key_password="secret", tls_certificate="a.pem")
    plain = plain_settings(settings)
    assert "secret" not in json.dumps(plain)
    assert len(plain) == len(AllSettings.__annotations__) - 1
    assert plain["tls_certificate"] == "a.pem"
    assert plain["allowed_networks"] == []


def test_only_the_settings_that_have_changed_are_told() -> None:
    before = Settings(t3=10, unreachable_after=5)
    after = Settings(t3=20, tls_key_password="new", tls_certificate="a.pem")
    changed = plain_settings(after, before)
    assert changed == {"t3": 20, "unreachable_after": None, "tls_certificate": "a.pem"}


def test_an_event_has_its_fields() -> None:
    error = ReplyTimeoutError("no reply")
    assert event_record(events.Waiting(1.0, 2, math.inf, error), 9.0, 3) == EventRecord(
        1.0, 9.0, 3, 2, "Waiting",
        {"retry_after": None, "error": {"error": "ReplyTimeoutError", "text": "no reply"}},
    )  # fmt: skip
    told = event_record(events.UnexpectedSecondary(1.0, 2, Message(1, 2)), 9.0, 3)
    assert told.fields == {"message": "S1F2"}
    assert event_record(events.Idle(1.0, 2), 9.0, 3).fields == {}


def test_a_step_and_states_have_the_names_of_the_charts() -> None:
    router = Router(ACTIVE_LINK)
    step = router.step(router.initial, "enable_requested")
    states = states_of(router.initial.parts)
    assert [*states] == [chart.id for chart in ACTIVE_LINK.charts]
    assert states["breaker"].values == {"failures": 0}
    record = step_record(
        Step(1.0, 0, "enable_requested", step.hops, step.effects), 9.0, 3, {"t5": 2.0}
    )
    assert isinstance(record, StepRecord)
    assert record.effects == tuple(map(str, step.effects))
    assert [(hop.chart, hop.event) for hop in record.hops] == [
        (hop.chart, hop.event) for hop in step.hops
    ]
    assert isinstance(record.hops[0], HopRecord)
    assert record_of(line_of(record).encode()) == (record, 0)


def test_the_end_says_why() -> None:
    last = SOME[-1]
    assert isinstance(last, EndRecord)
    assert last.why == "closed"
    assert isinstance(SOME[1], LinkRecord)


@pytest.mark.parametrize("is_packed", [False, True])
def test_reading_goes_on_at_any_place(tmp_path: Path, is_packed: bool) -> None:
    lines = [line_of(each).encode() for each in SOME]
    parts = (
        b"\xef\xbb\xbf" + b"".join(lines),
        b"nonsense\n\n" + b"".join(lines[:4]) + b"cut",
        b"",
        lines[0],
    )
    paths = [tmp_path / f"{number}.jsonl" for number in range(len(parts))]
    for path, data in zip(paths, parts, strict=True):
        path.write_bytes(gzip.compress(data) if is_packed else data)
    reader = read(paths)
    places, found = [reader.place], []
    for record in reader:
        found.append(record)
        places.append(reader.place)
    assert len(found) == len(lines) + 7 + 1
    assert places[0] == Place()
    for number, place in enumerate(places):
        assert list(read(paths, start=place)) == found[number:]


@pytest.mark.parametrize("start", ["a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "0a0d0d0a"])
def test_a_capture_is_known_and_the_next_file_is_read(start: str, tmp_path: Path) -> None:
    capture, after = tmp_path / "a.pcap", tmp_path / "b.jsonl"
    capture.write_bytes(bytes.fromhex(start) + bytes(100) + b"\n" * 20)
    after.write_text(line_of(SOME[0]), encoding="utf-8")
    why = "it is a capture: hsms-engine record from-pcap makes a recording of it"
    assert list(read([capture, after])) == [Unread(capture, 1, why), SOME[0]]

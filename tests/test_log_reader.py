"""Messages out of logs as engines, drivers and viewers write them, and what spoils a log."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hsms_engine
from hsms_engine import Message
from hsms_engine.log_reader import (
    CutMessage,
    Entry,
    LoggedControl,
    LoggedMessage,
    LogReader,
    NotUnderstood,
    read_log,
)
from hsms_engine.secs2 import U1, U4, A, B, L
from hsms_engine.secs2 import encode as encode_item
from hsms_engine.wire import control_frame, data_frame, encode
from tests.support.items import items

S1F13 = Message.parse('S1F13 W <L [2] <A "MDLN"> <A "1.0">> .')
SML = '<L [2]\n  <A "MDLN">\n  <A "1.0">\n>'
FRAME = encode(data_frame(3, 1, 13, True, 0x2A, S1F13.body))
LINKTEST = encode(control_frame(5, 7))
AT = datetime(2026, 11, 27, 20, 57, 15, 123_000)  # noqa: DTZ001  # a log without an offset


def read(text: str, **options: Any) -> list[Entry]:
    return list(read_log(text.splitlines(), **options))


def one(text: str, **options: Any) -> LoggedMessage:
    [entry] = read(text, **options)
    assert isinstance(entry, LoggedMessage), entry
    return entry


def why(text: str, **options: Any) -> list[tuple[int, str]]:
    return [
        (each.line, each.why) for each in read(text, **options) if isinstance(each, NotUnderstood)
    ]


# Times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-27 20:57:15,123", AT),
        ("2026-11-27T20:57:15.123", AT),
        ("[2026/11/27 20:57:15.123]", AT),
        ("2026.11.27 20:57:15:123", AT),
        ("27.11.2026 20:57:15.123", AT),
        ("27.11.26 20:57:15,123", AT),
        ("03.04.2026 20:57:15.123", AT.replace(month=4, day=3)),
        ("27/11/2026 20:57:15.123", AT),
        ("11/27/2026 08:57:15.123 PM", AT),
        ("11-27-2026 8:57:15.123 p.m.", AT),
        ("20261127 20:57:15.123", AT),
        ("20261127_205715.123", AT),
        ("20261127205715123", AT),
        ("27-Nov-2026 20:57:15.123", AT),
        ("27 Nov 2026 20:57:15.123", AT),
        ("27. Nov. 2026 20:57:15.123", AT),
        ("Nov 27, 2026 20:57:15.123", AT),
        ("Fri Nov 27 20:57:15.123 2026", AT),
        ("INFO  | 2026-11-27 20:57:15.123 |", AT),
        ("2026-11-27 20:57:15.123Z", AT.replace(tzinfo=UTC)),
        ("2026-11-27 20:57:15.123 UTC", AT.replace(tzinfo=UTC)),
        ("2026-11-27T20:57:15.123+0100", AT.replace(tzinfo=timezone(timedelta(hours=1)))),
        ("2026-11-27T20:57:15.123-05:30", AT.replace(tzinfo=timezone(-timedelta(minutes=330)))),
        ("2026-11-27T20:57:15.123+01", AT.replace(tzinfo=timezone(timedelta(hours=1)))),
        ("2026-11-27 20:57:15.123456789", AT.replace(microsecond=123_456)),
        ("1795813035.123", AT.replace(tzinfo=UTC)),
        ("1795813035123", AT.replace(tzinfo=UTC)),
        ("1795813035123456", AT.replace(tzinfo=UTC, microsecond=123_456)),
        ("[1795813035]", AT.replace(tzinfo=UTC, microsecond=0)),
        ("20:57:15.123", AT.time()),
        ("(20:57:15)", time(20, 57, 15)),
        ("12:00:01 AM", time(0, 0, 1)),
        ("Nov 27 20:57:15 tool app[7]:", time(20, 57, 15)),
        ("3. Mär 20:57:15", time(20, 57, 15)),
        ("2026-13-27 20:57:15.123", None),
        ("25:57:15", None),
        ("13:00:00 PM", None),
        ("99999999999999", None),
        ("10.1.2.3:5000", None),
        ("00:11:22:33:44:55", None),
        ("", None),
    ],
)
def test_times_are_read_in_every_common_form(text: str, expected: object) -> None:
    assert one(f"{text} SEND S1F1 W").time == expected


def test_a_time_may_stand_behind_the_header() -> None:
    assert one("SEND S1F1 W 2026-11-27 20:57:15,123").time == AT


def test_a_date_with_two_readings_is_told_once_and_read_when_it_is_said() -> None:
    log = "03/04/2026 20:57:15 SEND S1F1 W\n03/04/2026 20:57:16 SEND S1F1 W"
    told, first, second = read(log)
    assert isinstance(told, NotUnderstood)
    assert told.why.startswith("the date may be day first or month first")
    assert [each.time for each in (first, second) if isinstance(each, LoggedMessage)] == [
        time(20, 57, 15),
        time(20, 57, 16),
    ]
    for day_first, month in ((True, 4), (False, 3)):
        at = one(log.splitlines()[0], day_first=day_first).time
        assert isinstance(at, datetime)
        assert at.month == month
    assert one("03/03/2026 20:57:15 SEND S1F1 W").time is not None


def test_a_file_decides_which_of_day_and_month_is_first(tmp_path: Path) -> None:
    log = tmp_path / "tool.log"
    log.write_text("03/04/2026 01:00:00 SEND S1F1 W\n13/04/2026 01:00:00 no message\n", "utf-8")
    [entry] = read_log(log)
    assert isinstance(entry, LoggedMessage)
    assert entry.time == datetime(2026, 4, 3, 1)  # noqa: DTZ001  # as above
    [entry] = read_log(log, day_first=False)
    assert isinstance(entry, LoggedMessage)
    assert entry.time == datetime(2026, 3, 4, 1)  # noqa: DTZ001  # as above


# Directions, system bytes, sessions


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        *((each, "sent") for each in "SEND SENT TX OUT Sending Transmit WRITE gesendet".split()),
        *((each, "received") for each in "RECV RX IN Received READ rcvd Empfangen".split()),
        *((each, "sent") for each in "--> -> ==> >>> → >".split()),
        *((each, "received") for each in "<-- <- <== <<< ← <".split()),
        *((each, "H->E") for each in "H->E [H->E] H=>E E<-H Host-->EQP Host→Tool".split()),
        *((each, "E->H") for each in "E->H H<-E (E->H) EQP->HOST Equipment->Host".split()),
        ("Host to Equipment", "H->E"),
        ("Equipment to Host:", "E->H"),
        ("[in]", "received"),
        ("Out:", "sent"),
        ("MessageIn", "received"),
        ("10.0.0.1:5000 -> 10.0.0.2:6000", None),
        ("SEND 10.0.0.1:5000 <- 10.0.0.2:6000", "sent"),
        ("Primary", None),
        ("", None),
    ],
)
def test_directions_are_words_and_arrows(text: str, direction: str | None) -> None:
    assert one(f"20:57:15 {text} S1F13 W\n{SML}").direction == direction


def test_a_direction_may_stand_behind_the_header_or_on_the_line_above() -> None:
    assert one(f"20:57:15 S1F13 W [H->E]\n{SML}").direction == "H->E"
    assert one("20:57:15 S1F1 W 10.0.0.1:5 -> 10.0.0.2:6 TX").direction == "sent"
    assert one(f"20:57:15 RECV\nS1F13 W\n{SML}").direction == "received"
    assert one(f"20:57:15.1 RECV\n20:57:15.2 S1F13 W\n{SML}").direction == "received"
    assert one(f"# recv [10.0.0.1:5 -> 10.0.0.2:6]\nS1F13 W\n{SML}").direction == "received"
    # The line above is of something else.
    assert one(f"20:57:15 a connection was received\n20:57:15 S1F13 W\n{SML}").direction is None
    far = "\n" + "something\n" * 9
    assert one(f"20:57:15 RECV{far}S1F13 W\n{SML}").direction is None


def test_what_is_said_above_is_said_of_one_message() -> None:
    first, second = read(f"20:57:15 RECV\nS1F13 W\n{SML}\nS1F13 W\n{SML}")
    assert isinstance(first, LoggedMessage)
    assert isinstance(second, LoggedMessage)
    assert (first.direction, second.direction) == ("received", None)
    assert first.time == second.time == time(20, 57, 15)


@pytest.mark.parametrize(
    ("text", "system", "session"),
    [
        ("system=0x0000002A", 42, None),
        ("SystemBytes=0000002A", 42, None),
        ("System Bytes: 42", 42, None),
        ("system bytes = 00 00 00 2A", 42, None),
        ("TID=42", 42, None),
        ("Transaction ID: 42", 42, None),
        ("[0x0000002A]", 42, None),
        ("[0000002A]", 42, None),
        ("[00 03|81 01|00 00|00 00 00 2A]", 42, 3),
        ("id(42)", 42, None),
        ("system=4294967295", 0xFFFF_FFFF, None),
        ("system=9999999999", None, None),
        ("device=3", None, 3),
        ("DeviceID: 3 SystemBytes: 42", 42, 3),
        ("session_id:0x0003, system:0x0000002a", 42, 3),
        ("session=70000", None, None),
        ("wid=42", None, None),
    ],
)
def test_system_bytes_and_sessions_are_read(
    text: str, system: int | None, session: int | None
) -> None:
    for log in (f"SEND S1F1 W {text}", f"SEND {text} S1F1 W", f"SEND S1F1 W\n  {text}"):
        message = one(log).message
        assert (message.system_bytes, message.session_id) == (system, session), log


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("S1F1 W", True),
        ("S1F1W", True),
        ("'S1F1' W", True),
        ("S1F1 [W]", True),
        ("S1F1 (W)", True),
        ("S01F01 W-bit", True),
        ("S1F1 Wbit=1", True),
        ("S1F1 wait=true", True),
        ("S1F1 wait=false", False),
        ("S1F1 W:0", False),
        ("S1, F1", False),
        ("s1f1", False),
        ("S1F1", False),
    ],
)
def test_the_w_bit_has_many_forms(text: str, wait: bool) -> None:
    assert one(f"20:57:15 SEND {text}").message == Message(1, 1, wait)


# SML


@pytest.mark.parametrize(
    "log",
    [
        'SEND S1F13 W <L [2] <A "MDLN"> <A "1.0">> .',
        f"20:57:15 SEND S1F13 W\n{SML}\n.",
        f"20:57:15 SEND S1F13 W\n\n{SML} .",
        f"20:57:15 SEND 'S1F13' W: {SML}",
        "20:57:15 SEND <S1F13 W <L <A 'MDLN'> <A '1.0'>>> .",
        "\n".join(f"20:57:15,00{n} INFO secs - {each}" for n, each in enumerate(
            ["SEND S1F13 W", "<L [2]", "  <A", '"MDLN">', '  <A "1.0">', ">", "."])),
        "\n".join(f"INFO : {each}" for each in ["--> S1F13 W", *SML.split("\n"), "."]),
        "\n".join(f"[12] {each}" for each in ["S1F13 W", *SML.split("\n"), "."]),
        f"S1F13 W\n{SML.replace('<A', '/* name */ <A')}",
        f"S1F13 W\n{SML.replace('MDLN', 'MDLN').replace('  ', chr(9))}\n",
        f"SEND S1F13 W {SML}".replace("\n", "\\r\\n"),
        "SEND S1F13 W\n<L [2]\n<A [4] 'MDLN'> * the name\n<A\n'1.0'\n>\n>",
    ],
)  # fmt: skip
def test_sml_is_read_in_one_line_or_several(log: str) -> None:
    assert one(log).message == S1F13


def test_the_next_message_may_be_on_the_same_line() -> None:
    first, second, third = read("20:57:15 S1F1 W . S1F3 W <L [0]> . S1F5 <B 1> .")
    assert [
        each.message.name for each in (first, second, third) if isinstance(each, LoggedMessage)
    ] == [
        "S1F1",
        "S1F3",
        "S1F5",
    ]


def test_a_string_may_go_over_lines() -> None:
    text = "S10F1\n<L [2] <B 0> <A 'one\n\n  20:57 two > three'>\n>"
    assert one(text).message.item == L(B(0), A("one\n\n  20:57 two > three"))


def test_notes_have_the_places_of_the_log() -> None:
    entry = one("\n\n20:57:15 S1F14 <L [3]\n20:57:15   <A[1] ''>\n20:57:15   <B 0>>")
    assert [(each.kind, each.line, each.column) for each in entry.notes] == [
        ("count", 3, 19),
        ("count", 4, 14),
    ]
    assert one("S1F14 W <L [0]>").notes[0].kind == "W"


def test_bytes_are_read_by_the_habit_of_the_log(tmp_path: Path) -> None:
    log = "S1F2 <B 10>\nS1F2 <B A4>\nS1F2 <B 10>\nS1F2 <B 05>"
    assert why(log) == [(3, why_of_bytes())]
    found = read(log, binary="hex")
    assert [each.message.item for each in found if isinstance(each, LoggedMessage)] == [
        B(0x10), B(0xA4), B(0x10), B(5),
    ]  # fmt: skip
    file = tmp_path / "tool.log"
    file.write_text(log, "utf-8")
    assert [each.line for each in read_log(file) if isinstance(each, NotUnderstood)] == [1, 3]


def why_of_bytes() -> str:
    return (
        "S1F2: two digits in a B may be hexadecimal, as other bytes of this log are, or decimal: "
        'say binary="hex" or "decimal"'
    )


def test_escapes_are_read_when_they_are_said_to_be_escapes() -> None:
    assert (
        one(r"S10F1 <A 'a\'b'>", escapes=True).message.item == Message.parse('S1F1 <A "a\'b">').item
    )


def test_text_that_is_not_ascii_is_read_in_its_encoding() -> None:
    name = A("温度计", encoding="gbk")
    body = encode_item(name)
    frame = encode(data_frame(1, 10, 3, False, 7, body))
    for log in (
        'SEND S10F3 <A "温度计">',
        "SEND S10F3 <ASCII[2] '温度计'>",
        'SEND S10F3\n<A\n  "温度计"\n>',
        'SEND S10F3 <A "温度计"\\n>\\n',
        f'SEND S10F3\n<A "温度计">\n{frame.hex(" ")}',
        f"SEND S10F3\n{body.hex(' ')}",
    ):
        found = one(log, text_encoding="gbk").message
        assert (found.item, found.text_encoding) == (name, "gbk"), log
        # Without it, there is no message with other bytes.
        told = [each.message.item for each in read(log) if isinstance(each, LoggedMessage)]
        assert told == [name] * (body.hex(" ") in log), log
        assert all("温" not in log or 'text_encoding="gbk"' in each for _, each in why(log))
    assert one("SEND S1F1 W", text_encoding="gbk").message.text_encoding == "gbk"
    [(line, problem)] = why('S10F3 <A "温度">')
    assert line == 1
    assert problem.startswith("S10F3: A character '温'")
    with pytest.raises(ValueError, match=r"^'utf-16' is no superset of ASCII"):
        read_log([], text_encoding="utf-16")


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("20:57 S1F13\n<L [2]\n  <A 'x'>\n20:57:16 x", [(2, "S1F13: this item is never closed")]),
        ("S1F13 <L [2]\n  <A 'x\n20:57:16 next", [(2, "S1F13: this string is never closed")]),
        ("S1F13 W\n<L <A 'x'>\nS1F14 <B 0>", [(2, "S1F13: this item is never closed")]),
        ("20:57:15 <U4 1>\n  <U4 2>", [(1, "an item without a"), (2, "an item without a header")]),
        ("SEND S1F13 timed out", [(1, "it names S1F13, and no item follows")]),
        ("S1F1 <U4 x>", [(1, "S1F1: expected an integer, found x")]),
        ("20:57:15 S1F13 W\n  L,2\n    A,4 <MDLN>", [(2, "S1F13: an item without angle brackets")]),
        ("S1F1 W <X 5>", [(1, "it names S1F1, and no item follows")]),
        ("<a href='x'>\n<b>text</b>", []),
        ("no reply to S1F13", []),
        ("S999F1 W <L [0]", []),
        ("see S1F13.sml", []),
    ],
)  # fmt: skip
def test_what_is_not_read_is_told_with_its_place(log: str, told: list[tuple[int, str]]) -> None:
    found = why(log)
    assert [line for line, _ in found] == [line for line, _ in told]
    for (_, text), (_, expected) in zip(found, told, strict=True):
        assert text.startswith(expected)


def test_a_broken_message_does_not_lose_the_next_one() -> None:
    entries = read(f"20:57:15 S1F13 W\n<L [2\n20:57:15 SEND S1F13 W\n{SML}")
    assert [type(each) for each in entries] == [NotUnderstood, LoggedMessage]
    assert str(entries[0]).startswith("line 2, column")


def test_lines_that_only_speak_of_messages_are_counted() -> None:
    reader = read_log(["T3 expired, no answer to S1F13", "S200F1", "nothing"])
    assert list(reader) == []
    assert iter(reader) is reader
    assert (reader.counts.mentions, reader.counts.lines) == (2, 3)


def test_a_header_alone_is_a_message_and_one_with_a_length_is_cut() -> None:
    assert one("20:57:15 S1F1 W .").message == Message(1, 1, True)
    assert one("20:57:15 RECV S1F1 W Are You There (R) length=10").message == Message(1, 1, True)
    [entry] = read("20:57:15 RECV S1F13 W, 30 bytes")
    assert entry == CutMessage(
        time(20, 57, 15), "received", "S1F13", True, None, None, 1,
        "its body is not in the log, which says 30 bytes",
    )  # fmt: skip


def test_headers_may_be_spelt_out_above_the_message() -> None:
    head = (
        "20:57:15 < {session_id:0x0003, stream:01, function:13, s_type:0x00, system:0x0000002a, "
        "require_response:True}"
    )
    found = one(f"{head}\nS1F13 W\n{SML}")
    assert (found.direction, found.message, found.line) == ("received", S1F13, 1)
    assert (found.message.session_id, found.message.system_bytes) == (3, 42)
    [cut] = read(head)
    assert isinstance(cut, CutMessage)
    assert (cut.name, cut.wait, cut.system_bytes) == ("S1F13", True, 42)
    control = (
        head.replace("s_type:0x00", "s_type:0x05").replace("01, f", "00, f").replace("13", "00")
    )
    for start in (control, control.removeprefix("20:57:15 ")):
        [entry] = read(f"{start}\n  Linktest.req")
        assert isinstance(entry, LoggedControl)
        assert (entry.name, entry.direction, entry.system_bytes) == ("Linktest.req", "received", 42)


# Control messages


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Select.req", "Select.req"),
        ("SELECT.RSP status=0", "Select.rsp 0"),
        ("select request", "Select.req"),
        ("LinkTest.rsp", "Linktest.rsp"),
        ("Link Test Response", "Linktest.rsp"),
        ("Separate_req", "Separate.req"),
        ("Reject.req (reason 4)", "Reject.req 4"),
        ("Deselect.rsp", "Deselect.rsp"),
    ],
)
def test_control_messages_are_named(text: str, name: str) -> None:
    [entry] = read(f"20:57:15 SEND {text}")
    assert entry == LoggedControl(time(20, 57, 15), "sent", name, None, None, 1)
    [entry] = read(f"20:57:15 RECV\n{text}")
    assert isinstance(entry, LoggedControl)
    assert entry.direction == "received"


def test_what_only_speaks_of_a_control_message_is_none() -> None:
    assert read("20:57:15 Select.req timed out\nwaiting for a Linktest.rsp") == []
    assert read("20:57:15 SEND Select.req was not answered") == []


# Dumps


def hexdump(data: bytes) -> Iterator[str]:
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        yield f"{at:08x}  {f'{left}  {right}'.rstrip():<48}  |{shown(row)}|"
    yield f"{len(data):08x}"


def xxd(data: bytes) -> Iterator[str]:
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        yield f"{at:08x}: {row.hex(' ', -2):<40} {shown(row)}"


def tcpdump(data: bytes) -> Iterator[str]:
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        yield f"\t0x{at:04x}:  {row.hex(' ', -2):<39}  {shown(row)}"


def wireshark(data: bytes) -> Iterator[str]:
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        yield f"{at:04x}  {row.hex(' '):<48}  {shown(row)}"


def hashed(data: bytes) -> Iterator[str]:
    yield f"#  size = {len(data)} (0x{len(data):x})"
    yield "#  0  1  2  3  4  5  6  7  8  9  A  B  C  D  E  F     0123456789ABCDEF"
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        yield f"#  {row.hex(' '):<47}    {shown(row)}"


def plain(data: bytes) -> Iterator[str]:
    for at in range(0, len(data), 16):
        yield data[at : at + 16].hex(" ").upper()


def octal(data: bytes) -> Iterator[str]:
    for at in range(0, len(data), 16):
        yield f"{at:07o} {data[at : at + 16].hex(' ')}"


def prefixed(data: bytes) -> Iterator[str]:
    yield f"data: {', '.join(f'0x{each:02X}' for each in data)}"


def suffixed(data: bytes) -> Iterator[str]:
    yield " ".join(f"{each:02X}h" for each in data)


def dashed(data: bytes) -> Iterator[str]:
    yield data.hex("-")


def joined(data: bytes) -> Iterator[str]:
    yield f"raw {data.hex()}"


def shown(row: bytes) -> str:
    return "".join(chr(each) if 32 <= each < 127 else "." for each in row)


DUMPS = [
    hexdump, xxd, tcpdump, wireshark, hashed, plain, octal, prefixed, suffixed, dashed, joined,
]  # fmt: skip


@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize("dump", DUMPS)
def test_dumps_are_read_with_and_without_the_length(
    dump: Callable[[bytes], Iterator[str]], start: int
) -> None:
    found = one("\n".join(["20:57:15,1 RECV", *dump(FRAME[start:]), "20:57:16 next"]))
    assert (found.time, found.direction) == (time(20, 57, 15, 100_000), "received")
    assert (found.message, found.message.session_id, found.message.system_bytes) == (S1F13, 3, 42)


@pytest.mark.parametrize("dump", DUMPS)
def test_a_dump_may_have_several_frames(dump: Callable[[bytes], Iterator[str]]) -> None:
    linktest, message = read("\n".join(dump(LINKTEST + FRAME)))
    assert isinstance(linktest, LoggedControl)
    assert (linktest.name, linktest.system_bytes) == ("Linktest.req", 7)
    assert isinstance(message, LoggedMessage)
    assert message.message == S1F13


@given(items, st.sampled_from([hexdump, xxd, tcpdump, wireshark, octal]))
def test_any_message_is_read_out_of_a_dump(
    item: Any, dump: Callable[[bytes], Iterator[str]]
) -> None:
    message = Message(6, 11, item=item)
    frame = encode(data_frame(1, 6, 11, False, 9, message.body))
    assert one("\n".join(dump(frame))).message == message


@pytest.mark.parametrize("dump", DUMPS)
def test_a_dump_behind_its_message_is_the_same_message(
    dump: Callable[[bytes], Iterator[str]],
) -> None:
    dumped = "\n".join(dump(FRAME))
    for log in (
        f"20:57:15 SEND S1F13 W system=42\n{SML}\n{dumped}",
        f"20:57:15 SEND\n{dumped}\nS1F13 W\n{SML}",
        f"20:57:15 SEND S1F13 W\n{dumped}",
    ):
        found = one(log)
        assert (found.message, found.direction) == (S1F13, "sent")
        assert (found.message.system_bytes, found.message.session_id) == (42, 3)


def test_a_control_message_and_its_dump_are_one() -> None:
    for log in (
        f"SEND Linktest.req\n{LINKTEST.hex(' ')}",
        f"SEND\n{LINKTEST.hex(' ')}\nLinktest.req system=7",
    ):
        [entry] = read(log)
        assert isinstance(entry, LoggedControl)
        assert (entry.name, entry.direction, entry.session_id, entry.line) == (
            "Linktest.req", "sent", 0xFFFF, 1 if log.startswith("SEND L") else 2,
        )  # fmt: skip


@pytest.mark.parametrize(
    "second",
    [
        "S1F13 W system=43\n" + SML,
        "S1F13 W system=42\n<L [0]>",
        "Linktest.req system=42",
        "\n" * 9 + "S1F13 W\n" + SML,
    ],
)
def test_another_message_behind_a_dump_is_another_message(second: str) -> None:
    assert len(read(f"SEND {FRAME.hex(' ')}\nSEND {second}")) == 2


def test_a_control_message_may_be_dumped_without_its_length() -> None:
    [entry] = read(f"SEND {LINKTEST[4:].hex(' ')}")
    assert isinstance(entry, LoggedControl)
    assert entry.name == "Linktest.req"


def test_a_dump_that_is_no_message_does_not_lose_the_header() -> None:
    first, told = read("SEND S1F1 W\n15 03 15 03 15 03 15 03")
    assert isinstance(first, LoggedMessage)
    assert isinstance(told, NotUnderstood)


def test_other_control_messages_are_two() -> None:
    assert len(read(f"SEND {LINKTEST.hex(' ')}\nSEND Linktest.rsp system=7")) == 2
    assert len(read(f"SEND {LINKTEST.hex(' ')}\nSEND Linktest.req system=8")) == 2


def test_a_dump_may_be_only_the_body() -> None:
    body = S1F13.body.hex(" ")
    assert one(f"SEND S1F13 W system=42 body={body}").message == S1F13
    assert one(f"SEND S1F13 W\n{SML}\n{body}").message == S1F13
    told, first = read(f"SEND S1F13 W\n{SML}\n{body} 00")[::-1]
    assert isinstance(first, LoggedMessage)
    assert isinstance(told, NotUnderstood)


def test_a_dump_of_another_message_is_not_that_of_the_header() -> None:
    first, second = read(f"20:57:15 SEND S1F1 W\n{FRAME.hex(' ')}")
    assert isinstance(first, LoggedMessage)
    assert isinstance(second, LoggedMessage)
    assert (first.message.name, second.message.name) == ("S1F1", "S1F13")


def test_rows_may_have_a_time_each_as_their_header_has() -> None:
    for rows in (hexdump(FRAME), plain(FRAME)):
        log = "\n".join(["20:57:15 SEND S1F13 W", *(f"20:57:15 {each}" for each in rows)])
        assert (one(log).message, one(log).direction) == (S1F13, "sent")
    many = "\n".join(f"20:57:15 {bytes([0, 1, *bytes(6)]).hex(' ')}" for _ in range(2_000))
    assert why(many) == [(1, "a dump of 16000 bytes that is no frame")]


def test_a_dump_begins_anew_at_offset_zero() -> None:
    linktest, message = read("\n".join([*wireshark(LINKTEST[4:]), *wireshark(FRAME[4:])]))
    assert isinstance(linktest, LoggedControl)
    assert isinstance(message, LoggedMessage)


def test_text_beside_a_row_may_look_like_bytes() -> None:
    rows = [FRAME[at : at + 8] for at in range(0, len(FRAME), 8)]
    lines = [f"{at * 8:08x}: {row.hex(' ')}  ca fe" for at, row in enumerate(rows)]
    lines[-1] = lines[-1].removesuffix("  ca fe")
    assert one("\n".join(lines)).message == S1F13


def test_dumps_of_two_records_are_two_dumps() -> None:
    first, second = read(f"20:57:15 TX {FRAME.hex(' ')}\n20:57:15 TX {FRAME.hex(' ')}")
    assert isinstance(first, LoggedMessage)
    assert isinstance(second, LoggedMessage)
    rows = [FRAME[at : at + 16].hex(" ") for at in range(0, len(FRAME), 16)]
    assert one("\n".join(f"20:57:15 TX {each}" for each in rows)).message == S1F13


@pytest.mark.parametrize("dump", [hexdump, tcpdump])
@pytest.mark.parametrize("ethernet", [b"", bytes(12) + b"\x08\x00"])
def test_the_headers_of_a_network_monitor_are_passed_over(
    dump: Callable[[bytes], Iterator[str]], ethernet: bytes
) -> None:
    def packet(payload: bytes, protocol: int = 6) -> bytes:
        head = bytes([0x45, 0, *(40 + len(payload)).to_bytes(2), 0, 0, 0, 0, 64, protocol])
        return ethernet + head + bytes(10) + bytes(12) + b"\x50\x18" + bytes(6) + payload + bytes(4)

    assert one("\n".join(dump(packet(FRAME)))).message == S1F13
    assert read("\n".join(dump(packet(b"")))) == []
    assert len(why("\n".join(dump(packet(b"GET /"))))) == 1
    assert len(why("\n".join(dump(packet(FRAME, protocol=17))))) == 1


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (FRAME + b"\0\0\0", "3 bytes of the dump are behind its last whole frame"),
        (FRAME[:-1], "a dump of 26 bytes that is no frame"),
        (b"\x15\x03" * 8, "a dump of 16 bytes that is no frame"),
        (bytes(12), "a dump of 12 bytes that is no frame"),
        (b"\0\0\0\x0b\xff\xff\0\0\0\x05\0\0\0\1\2", "a dump of 15 bytes that is no frame"),
    ],
)  # fmt: skip
def test_a_dump_that_is_no_frame_is_told(data: bytes, told: str) -> None:
    for log in (f"SEND {data.hex(' ')}", "\n".join(hexdump(data))):
        assert [text for _, text in why(log)] == [told]
    assert [type(each) for each in read(f"20:57:15 SEND S1F13 W\n{b'z'.hex()}\n")] == [
        LoggedMessage
    ]


def test_numbers_that_are_no_dump_are_none() -> None:
    ruler = bytes(range(16)).hex(" ")
    assert read(f"20:57:15 {ruler}\n1 2 3 4 5 6 7 8 9 10 11 12\n00000010  00 01\n0000:") == []


# JSON


@pytest.mark.parametrize(
    ("record", "at", "direction"),
    [
        ('{"time": 1795813035.123, "message": "SEND S1F1 W"}', AT.replace(tzinfo=UTC), "sent"),
        ('{"@t": "2026-11-27T20:57:15.123", "@m": "RECV S1F1 W"}', AT, "received"),
        ('{"ts": 1795813035123, "msg": "S1F1 W .", "dir": "out"}', AT.replace(tzinfo=UTC), "sent"),
        ('{"time": true, "ts": [], "text": "SEND S1F1 W\\n"}', None, "sent"),
        ('{"time": 1e300, "text": "SEND S1F1 W"}', None, "sent"),
        ('{"time": 12, "text": "SEND S1F1 W"}', None, "sent"),
        ('{"time": "soon", "text": "SEND S1F1 W"}', None, "sent"),
    ],
)  # fmt: skip
def test_records_of_json_are_read(record: str, at: object, direction: str) -> None:
    found = one(record)
    assert (found.message, found.time, found.direction) == (Message(1, 1, True), at, direction)


def test_what_only_looks_like_json_is_text() -> None:
    assert one("{SEND S1F1 W}").message == Message(1, 1, True)
    assert one("{tool-1} SEND S1F1 W").message == Message(1, 1, True)
    assert read("{" + '"a":[' * 10_000 + "}") == []
    assert read('{"time": 1}\n{}') == []
    # What Python calls the end of a line may stand in a string.
    for text in ("a\x0bb\x0c\x1cc", "a\x85b\u2028c"):
        record = json.dumps({"text": f'SEND S10F3 <A "{text}">'})
        assert one(record, text_encoding="utf-8").message.item == A(text, encoding="utf-8")
    assert one('{"text": "SEND S1F13 W\\n<L [1]\\n<U4 1>\\n>"}').message.item == L(U4(1))


# Bytes


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("utf-8", {}),
        ("utf-8-sig", {}),
        ("utf-16", {}),
        ("utf-32", {}),
        ("utf-16-le", {}),
        ("utf-16-be", {}),
        ("cp1252", {"encoding": "cp1252"}),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_bytes_are_read_in_their_encoding(
    data: str, options: dict[str, Any], end: str, tmp_path: Path
) -> None:
    text = f"20:57:15 Gerät SEND S1F13 W\n{SML}\n".replace("\n", end).encode(data)
    file = tmp_path / "tool.log"
    file.write_bytes(text)
    for source in (file, str(file), io.BytesIO(text)):
        [entry] = read_log(source, **options)
        assert isinstance(entry, LoggedMessage)
        assert entry.message == S1F13


def test_bytes_that_are_no_text_are_told_and_become_no_value() -> None:
    text = b"20:57:15 \xff\nSEND S1F1 <A 'a\xfc'>\nSEND S1F3 <U1 1>\0\0\0"
    told = list(read_log(io.BytesIO(text)))
    assert [each.message.item for each in told if isinstance(each, LoggedMessage)] == [U1(1)]
    assert [each.line for each in told if isinstance(each, NotUnderstood)] == [1, 2, 2, 3]
    [nuls, entry] = read_log(io.BytesIO(b"SEND S1F3 <U\x001 1>"))
    assert isinstance(nuls, NotUnderstood)
    assert nuls.why == "1 NULs are left out"
    assert isinstance(entry, LoggedMessage)
    assert entry.message.item == U1(1)


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_only_bytes_that_are_no_text_are_told(encoding: str) -> None:
    text = "\ufffd温度"
    log = f'SEND S10F3 <A "{text}">\n'.encode(encoding)
    [entry] = read_log(io.BytesIO(log), encoding=encoding, text_encoding=encoding)
    assert isinstance(entry, LoggedMessage)
    assert entry.message.item == A(text, encoding=encoding)
    spoilt = log.replace(b'">', b'\xff">')
    told = list(read_log(io.BytesIO(spoilt), encoding=encoding, text_encoding=encoding))
    assert [type(each) for each in told] == [NotUnderstood, NotUnderstood]
    assert str(told[0]).startswith(f"line 1, column 1: character 19 is no {encoding}: SEND S10F3")


def test_spoilt_lines_are_told_a_hundred_times_and_counted() -> None:
    reader = read_log(io.BytesIO(b"\xff\n" * 1000))
    assert len(list(reader)) == 100
    assert (reader.counts.spoilt_lines, reader.counts.not_understood) == (1000, 100)


def test_lines_of_text_may_have_a_mark_and_ends() -> None:
    [entry] = read_log(["\ufeffSEND S1F1 W\r\n"])
    assert isinstance(entry, LoggedMessage)


def test_what_is_too_long_is_cut_and_told() -> None:
    line = "x" * 300 + "\n"
    for source in (io.BytesIO(line.encode() * 2), [line, line]):
        reader = read_log(source, most_characters=200)
        assert [each.why for each in reader if isinstance(each, NotUnderstood)] == [
            "the line is longer than 200 characters, and the rest is not read"
        ] * 2
    log = "S1F1\n<L\n" + "  <U4 1>\n" * 100 + ">\nS1F3 W <L [0]>"
    told, read_on = read(log, most_characters=200)
    assert isinstance(told, NotUnderstood)
    assert (told.line, told.why) == (1, "the message has more than 200 characters")
    assert isinstance(read_on, LoggedMessage)
    assert read_on.message.name == "S1F3"
    dump = "\n".join(hexdump(bytes(400)))
    assert why(dump, most_characters=200)[0] == (1, "the dump has more than 200 bytes")


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    reader = read_log(tmp_path / "nothing.log")
    with pytest.raises(FileNotFoundError):
        next(reader)
    with pytest.raises(LookupError):
        next(read_log(io.BytesIO(b"x"), encoding="nonsense"))


def test_the_package_has_the_reader_under_its_name() -> None:
    assert hsms_engine.read_log is read_log
    assert isinstance(hsms_engine.read_log([]), LogReader)


# Anything

WORDS = st.sampled_from(
    """S1F1 S1F13 W <L <A <B > [2] ' " . 20:57:15 2026-11-27 --> <-- SEND RECV system=1 // /* */
    stream:1,function:1 0000: 00 0a ff {"text":"S1F1"} Linktest.req body: hex: \\n \\"""
    "".split()
)


@given(st.lists(st.lists(WORDS | st.text(max_size=4), max_size=12).map(" ".join), max_size=12))
def test_any_lines_are_read_without_an_error(lines: list[str]) -> None:
    reader = read_log(lines)
    for entry in reader:
        assert 1 <= entry.line <= len(lines)
    counts = reader.counts
    assert counts.lines == len(lines)


@given(items, st.sampled_from(["", "20:57:15 INFO x: ", "2026-11-27 20:57:15,123 "]), st.booleans())
def test_any_message_is_read_from_its_sml(item: Any, prefix: str, on_each: bool) -> None:
    message = Message(6, 11, True, item)
    lines = message.sml().split("\n")
    log = [prefix + each if on_each or not n else each for n, each in enumerate(lines)]
    assert one("\n".join(log)).message == message


@pytest.mark.parametrize(
    "log",
    [
        "S1F1\n" + "<L\n" * 10_000,
        "S1F1 " + "<L " * 10_000,
        "S1F1 <A '\n" + "abc\n" * 10_000,
        "S1F1 <A " + "'" * 10_001,
        "S1F1 " * 10_000 + "<L",
        "{" * 10_000 + "}",
        "00000000  00\n" + "00000010  00\n" * 10_000,
    ],
)
def test_what_never_ends_is_told(log: str) -> None:
    assert why(log) or log[0] == "{"

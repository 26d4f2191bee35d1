"""``hsms-engine record show``: one line for each record, in which no terminal finds a command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from hsms_engine.cli.showing import Lines
from hsms_engine.cli.times import date_and_time, seconds_of
from hsms_engine.recording import (
    ChartState,
    EndRecord,
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HopRecord,
    LostRecord,
    Record,
    SettingsRecord,
    StepRecord,
)
from tests.test_capture import WALL, frame, link
from tests.test_cli_captures import recorded, run

# A header and a body: S1F13 W, <L [0]>.
S1F13 = bytes.fromhex("0000 810d 0000 00000001 0100")
AT = (1.0, WALL, 1, 1)


def shown(records: Iterable[Record], wanted: str | None = None, *, sml: bool = True) -> list[str]:
    """The lines without their times."""
    lines = Lines(wanted, has_sml=sml)
    found = [lines.line(each) for each in records]
    return [each.split(" ", 2)[2] for each in found if each is not None]


def test_each_record_is_a_line() -> None:
    states = {"connection_active": ChartState("selected", {}), "breaker": ChartState("open", {})}
    hops = (
        HopRecord("connection_active", "t6_expired", "selecting", "waiting", {}),
        HopRecord("breaker", "failed", "closed", "closed", {}),
    )
    assert shown([
        FrameRecord(*AT, True, S1F13[:10], 14),
        replace(link(name="etcher-1"), states=states),
        FrameRecord(*AT, True, S1F13, 16),
        FrameRecord(*AT, False, S1F13, 16, "masked", "T3", None, ("a",)),
        FrameRecord(*AT, False, bytes.fromhex("ffff 0000 0005 00000001"), 14),
        FrameRecord(*AT, False, bytes.fromhex("ffff 0000 0905 00000001 ff"), 15),
        SettingsRecord(*AT, {"t3": 20, "name": "x" * 400}),
        StepRecord(*AT, "t6_expired", hops, (), {}),
        StepRecord(*AT, "flushed", hops[1:], (), {}),
        EventRecord(*AT, "Waiting", {"retry_after": 10.0, "error": None}),
        EventRecord(*AT, "Selected"),
        ErrorRecord(*AT, "ReplyTimeoutError", "no reply"),
        LostRecord(1.0, WALL, 3, 900),
        GoneRecord(*AT),
        EndRecord(1.0, WALL, "closed"),
    ]) == [
        "link 1 sent S1F13 W, 14 bytes",
        "etcher-1 link: active, peer 10.1.2.3:5000: connection_active selected, breaker open",
        "etcher-1 sent S1F13 W, 16 bytes: <L [0]>",
        "etcher-1 received S1F13 W, 16 bytes, body: masked, passed over: T3, tolerated: a: <L [0]>",
        "etcher-1 received Linktest.req, 14 bytes",
        "etcher-1 received PType 9 SType 5, 15 bytes",
        f'etcher-1 settings: t3=20, name="{"x" * 296}...',
        "etcher-1 step t6_expired: connection_active selecting -> waiting",
        "etcher-1 step flushed",
        "etcher-1 event Waiting retry_after=10.0, error=null",
        "etcher-1 event Selected",
        "etcher-1 error ReplyTimeoutError: no reply",
        "lost: 3 records of 900 bytes were dropped",
        "etcher-1 gone",
        "end: closed",
    ]  # fmt: skip


def test_bodies_are_shown_on_request_in_the_encoding_of_their_link() -> None:
    body = bytes.fromhex("4106") + "é日x".encode()
    records: list[Record] = [
        replace(link(), settings={"text_encoding": "utf-8"}),
        FrameRecord(*AT, True, S1F13[:10] + body, 20),
    ]
    assert shown(records, sml=False)[-1].endswith("sent S1F13 W, 20 bytes")
    assert shown(records)[-1].endswith('20 bytes: <A "é日x">')


@pytest.mark.parametrize("encoding", ["utf-16", "no such\0", "../x", 5, ["utf-8"], None, "rot13"])
def test_an_encoding_that_is_none_is_passed_over(encoding: str) -> None:
    records: list[Record] = [
        replace(link(), settings={"text_encoding": encoding}),
        FrameRecord(*AT, True, S1F13[:10] + b"\x41\x01a", 17),
    ]
    assert shown(records)[-1].endswith('17 bytes: <A "a">')


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b31m", "a\nb", "\u202e", "\udc80", "\x7f\r"])
def test_nothing_is_acted_on_by_a_terminal(text: str) -> None:
    records: list[Record] = [
        link(name=text),
        EventRecord(*AT, text, {text: text}),
        ErrorRecord(*AT, text, text),
        StepRecord(*AT, text, (HopRecord(text, text, text, text + "x", {}),), (), {}),
        replace(frame(wire_of(text), 1), passed_over=text, tolerated=(text,)),
        SettingsRecord(*AT, {text: {text: [text]}}),
        EndRecord(1.0, WALL, text),
    ]
    lines = shown(records)
    assert len(lines) == len(records)
    assert all(each.isprintable() for each in lines)


def wire_of(text: str) -> bytes:
    body = text.encode("utf-8", "surrogatepass")
    return (12 + len(body)).to_bytes(4) + S1F13[:10] + b"\x41" + len(body).to_bytes(1) + body


def test_a_long_body_is_one_line_that_can_be_read() -> None:
    body = b"\x43" + (1_000_000).to_bytes(3) + b"x" * 1_000_000
    (line,) = shown([FrameRecord(*AT, True, S1F13[:10] + body, 1_000_014)])
    assert len(line) < 2_100


@pytest.mark.parametrize("wall", [0.0, -1e9, 1e12, 1e18, -1e18])
def test_every_time_can_be_shown(wall: float) -> None:
    assert date_and_time(wall)


def test_a_time_is_one_of_this_place_or_says_where() -> None:
    assert seconds_of("1971-01-02T00:00:00Z") == 366 * 86_400
    assert date_and_time(seconds_of("2026-11-28T03:12")) == "2026-11-28 03:12:00.000"


def test_links_and_times_are_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = recorded(
        tmp_path / "a.jsonl",
        [
            link(1, name="one"),
            link(2, "10.9.9.9:5000", name="two"),
            *(replace(GoneRecord(*AT), link=number, wall=WALL + number) for number in (1, 2, 3)),
            GoneRecord(1.0, WALL + 100, 2, 1),
            EndRecord(1.0, WALL + 200, "closed"),
        ],
    )

    def said(*words: object) -> list[str]:
        assert run("show", file, *words) == 0
        return [each.split(" ", 2)[2] for each in capsys.readouterr().out.splitlines()]

    assert len(said()) == 8
    # What is told of a link that is gone has only its number.
    for name, count in (("two", 1), ("10.9.9.9:5000", 1), ("2", 2)):
        assert len([each for each in said("--link", name) if "gone" in each]) == count
    at = date_and_time(WALL + 2).replace(" ", "T")
    assert said("--from", at, "--link", "two") == ["two gone", "end: closed"]
    assert said("--until", at)[-1] == "one gone"
    assert run("show", file, "--link", "twp") == 1
    assert "no link 'twp' is recorded in" in (why := capsys.readouterr().err)
    assert "two" in why
    for wrong in ("now", "2026-13-01", "0001-01-01T00:00"):
        assert run("show", file, "--from", wrong) == 2
        assert "is not a date and a time" in capsys.readouterr().err


def test_lines_that_cannot_be_read_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = recorded(tmp_path / "a.jsonl", [link()])
    with file.open("a", encoding="utf-8") as more:
        more.write("{\n" * 25)
    assert run("show", file) == 1
    out, errors = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert len(errors.splitlines()) == 21
    assert run("show", tmp_path / "none.jsonl") == 1
    assert "cannot read" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="head is none of its programs")
def test_a_reader_that_has_seen_enough_ends_it(tmp_path: Path) -> None:
    file = recorded(tmp_path / "a.jsonl", [link() for _ in range(20_000)])
    command = f"{sys.executable} -m hsms_engine record show {file} | head -n 2"
    run = subprocess.run(command, shell=True, capture_output=True, encoding="utf-8", check=True)
    assert len(run.stdout.splitlines()) == 2
    assert run.stderr == ""

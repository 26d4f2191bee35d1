"""``--record FILE`` of each command that talks: what is in the file is what went over the wire."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

from hsms_engine import cli, open_hsms
from hsms_engine.capture import read_capture
from hsms_engine.cli.command import CommandError
from hsms_engine.cli.recording import Recording
from hsms_engine.messages import S1F1, S1F2
from hsms_engine.recording import (
    EndRecord,
    FrameRecord,
    LinkRecord,
    Record,
    StepRecord,
    Unread,
    parts_of,
    read,
)

if sys.platform == "win32":
    pytest.skip("signals of POSIX", allow_module_level=True)

from tests.support.raw_peer import select_req
from tests.test_cli import HOST, connect, equipment_here, fake, one_line, started
from tests.test_cli_listen import ended, listening

SCENARIO = """\
[scenario]
name = "hello"
role = "host"

[[step]]
send = "S1F1 W ."
expect = "S1F2 _"
"""


def records(file: Path) -> list[Record | Unread]:
    """All of them: none is unreadable, and the last one is an end."""
    found = [*read(parts_of(file))]
    assert not [each for each in found if isinstance(each, Unread)]
    assert isinstance(found[-1], EndRecord)
    assert found[-1].why == "closed"
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return found


def messages(found: Iterable[Record | Unread]) -> list[tuple[bool, int]]:
    """Of the data messages: whether they were sent, and their functions of stream 1."""
    return [
        (each.sent, each.data[3])
        for each in found
        if isinstance(each, FrameRecord) and each.data[5] == 0 and each.data[2] & 0x7F == 1
    ]


async def test_connect_records_what_it_does(tmp_path: Path) -> None:
    file = tmp_path / "connect.jsonl"
    async with equipment_here() as equipment:
        for _ in range(2):
            code, _, errors = await connect(equipment.port, "--send", "S1F1", "--record", file)
            assert (code, errors) == (0, "")
    # The first one has a number, and is no part of the second.
    found = records(file)
    assert messages(found) == [(True, 1), (False, 2)] * 2
    assert len([each for each in found if isinstance(each, LinkRecord)]) == 2
    assert any(isinstance(each, StepRecord) for each in found)


async def test_listen_and_fake_record_all_their_connections(tmp_path: Path) -> None:
    file = tmp_path / "listen.jsonl"
    async with listening("--record", file) as (lines, port):
        for _ in range(2):
            async with open_hsms(HOST, port) as connection:
                await connection.request(S1F1())
        await ended(lines)
    assert messages(records(file)) == [(False, 1), (True, 2)] * 2

    file = tmp_path / "fake.jsonl"
    async with fake("--record", file) as (lines, port):
        async with open_hsms(HOST, port) as connection:
            await connection.request(S1F1())
        await ended(lines)
    assert messages(records(file)) == [(False, 1), (True, 2)]


@pytest.mark.parametrize("listens", [False, True])
async def test_run_records_the_side_that_it_plays(tmp_path: Path, listens: bool) -> None:
    scenario, file = tmp_path / "hello.toml", tmp_path / "run.jsonl"
    scenario.write_text(SCENARIO, encoding="utf-8")
    async with equipment_here() as equipment:
        port = 0 if listens else equipment.port
        words = ("run", scenario, HOST, port, "--record", file, "--json")
        async with started(*words, *(["--listen"] if listens else [])) as lines:
            if listens:
                where = json.loads(await lines.next())
                async with open_hsms(HOST, where["port"], is_equipment=True) as connection:
                    primary = await anext(connection)
                    await connection.reply(primary, S1F2("MDLN", "1.0"))
                    assert [each async for each in connection] == []
            assert await lines.process.wait() == 0
    assert messages(records(file)) == [(True, 1), (False, 2)]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no/such/folder.jsonl", "there is no folder "),
        (".", "it cannot be written"),
        ("x" * 5_000, "File name too long"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_anything_begins(
    name: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    assert cli.main(["connect", HOST, "1", "--record", str(file)]) == 2
    line = one_line(capsys.readouterr().err)
    assert line.startswith(f"hsms-engine connect: cannot record into {file} (--record): {why}")


def test_a_folder_that_takes_no_file_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who may do everything is refused nothing.
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))
    file = tmp_path / "a.jsonl"
    for given in (Recording(record=file), Recording(pcap=file), Recording(black_box=tmp_path)):
        with pytest.raises(CommandError, match="cannot be written"), given.begun():
            pass


async def test_what_turns_out_later_is_a_warning_and_the_program_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "other.txt"
    file.write_text("not ours", encoding="utf-8")
    async with equipment_here() as equipment:
        code, out, errors = await connect(equipment.port, "--send", "S1F1", "--record", file)
    assert (code, errors) == (0, "")
    assert f"warning: the recording into {file} is over, and its links go on: it is there" in out
    assert file.read_text(encoding="utf-8") == "not ours"


async def test_a_capture_and_a_black_box_beside_a_recording(tmp_path: Path) -> None:
    file, capture, boxes = tmp_path / "a.jsonl", tmp_path / "a.pcap", tmp_path / "boxes"
    words = ("--record", file, "--pcap", capture, "--black-box", boxes)
    async with listening(*words) as (lines, port):
        async with open_hsms(HOST, port) as connection:
            await connection.request(S1F1())
        lost = await trio.open_tcp_stream(HOST, port)
        await lost.send_all(select_req(1))
        await lost.receive_some()
        await lost.aclose()
        # The way in which the link was lost is for the system to say.
        while " lost" not in await lines.next():
            pass
        await ended(lines)
    frames = [each for each in records(file) if isinstance(each, FrameRecord)]
    with capture.open("rb") as opened:
        found = [*read_capture(opened.read, ports=[5000])]
    assert [each.data for each in found if isinstance(each, FrameRecord)] == [
        each.data for each in frames
    ]
    (box,) = boxes.iterdir()
    *_, end = read([box])
    assert isinstance(end, EndRecord)
    assert end.why.startswith("the link was lost: ")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--pcap", "no/such/a.pcap"), "cannot record into no/such/a.pcap (--pcap): there is no"),
        (("--black-box", "no/such"), "cannot write into no/such (--black-box): there is no folder"),
        (("--black-box", __file__), f"cannot write into {__file__} (--black-box): it is no folder"),
        (("--black-box", "x" * 5_000), "cannot write into "),
        (("--pcap", "a", "--record", "a"), "--record and --pcap name the same file"),
    ],
)
def test_a_place_that_cannot_be_used_is_told_before_anything_begins(
    words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["connect", HOST, "1", *words]) == 2
    assert one_line(capsys.readouterr().err).startswith(f"hsms-engine connect: {why}")

"""``hsms-engine replay``: what it prints, its exit codes, and the page of replays."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from hsms_engine import Message, blocking, cli, open_hsms
from hsms_engine.messages import S1F1, S1F13
from hsms_engine.pytest_plugin import FakeEquipments
from hsms_engine.recording import Record
from hsms_engine.replay import Conversation
from hsms_engine.secs2 import A, L
from tests.support.network import closed_port
from tests.support.patience import PATIENCE
from tests.support.recordings import link, said, written

if sys.platform == "win32":
    pytest.skip("signals of POSIX", allow_module_level=True)

from tests.test_cli import errors_of, one_line, started

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
EVENTS: list[Record] = [link(), said(0.0, True, S1F1(), 1), said(60.0, False, Message(5, 1), 900)]


@pytest.fixture
def recorded(tmp_path: Path, fake_equipments: FakeEquipments) -> Path:
    """What a host has recorded of a fake equipment."""
    file = tmp_path / "tool.jsonl"
    port = fake_equipments().port
    with blocking.open_hsms(HOST, port, timeout=PATIENCE, record=file) as host:
        host.request(S1F13(), timeout=PATIENCE)
        host.request(S1F1(), timeout=PATIENCE)
    return file


def another(message: Message) -> Message | None:
    """What an equipment of another version answers."""
    return Message(1, 2, item=L(A("hsms-engine"), A("7.0"))) if message.name == "S1F1" else None


def replay(*words: object) -> int:
    return cli.main(["replay", *map(str, words)])


def test_a_host_is_played_a_line_a_message(
    recorded: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    port = fake_equipments().port
    assert replay(recorded, "--as", "host", "--speed", "10", HOST, port) == 0
    out, errors = capsys.readouterr()
    assert errors == ""
    assert out.splitlines() == [
        f"// connection 1: selected: {HOST}:{port}",
        "1 sent S1F13 W",
        "2 came S1F14",
        "3 sent S1F1 W",
        "4 came S1F2",
        "// connection 1: separated",
        f"// {recorded}: as recorded, 2 sent, 2 came",
    ]


def test_the_same_as_objects_and_recorded_again(
    recorded: Path,
    fake_equipments: FakeEquipments,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    port, again = fake_equipments().port, tmp_path / "again.jsonl"
    words = (recorded, "--as", "host", HOST, port, "--json", "--record", again)
    assert replay(*words) == 0
    told = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    assert [each.pop("event") for each in told] == [
        *("selected", "sent", "came", "sent", "came", "separated", "played")
    ]
    assert told[1] | {"at": 0} == {"at": 0, "number": 1, "connection": 1, "message": "S1F13"}
    assert again.exists()
    again.write_text("not ours", encoding="utf-8")
    assert replay(*words) == 0
    *_, warning, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert "its links go on" in warning["warning"]


def test_a_difference_is_a_diff_and_an_exit_code(
    recorded: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    port = fake_equipments(answer=another).port
    words = (recorded, "--as", "host", HOST, port, "--speed", "max")
    assert replay(*words) == 1
    out, errors = capsys.readouterr()
    lines = out.splitlines()
    at = next(index for index, each in enumerate(lines) if each.startswith("DIFFERS: message 4 "))
    assert lines[at].endswith('what came differs at [2]: expected <A "1.0">, found <A "7.0">')
    assert lines[at + 1 : at + 7] == [
        "  S1F2",
        "  <L [2]",
        '    <A "hsms-engine">',
        '-   <A "1.0">',
        '+   <A "7.0">',
        "  >",
    ]
    assert one_line(errors) == f"hsms-engine replay: {lines[at].removeprefix('DIFFERS: ')}"
    assert replay(*words, "--json") == 1
    *_, differs, error = map(json.loads, capsys.readouterr().out.splitlines())
    assert (differs["event"], differs["path"]) == ("differs", "[2]")
    assert (differs["expected"], differs["found"]) == ('<A "1.0">', '<A "7.0">')
    assert '+   <A "7.0">' in differs["details"]
    assert error["exit_code"] == 1
    assert replay(*words, "--ignore", "S1F2:2") == 0


def test_a_step_waits_for_enter(
    recorded: Path,
    fake_equipments: FakeEquipments,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = (recorded, "--as", "host", HOST, fake_equipments().port, "--step")
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    assert replay(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["// Enter sends S1F13 W <L [0]>", "1 sent S1F13 W"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert replay(*words) == 1
    line = one_line(capsys.readouterr().err)
    assert re.search(
        r": standard input has ended, before message 3 of the recording .* was sent$", line
    )
    monkeypatch.setattr(sys, "stdin", None)
    assert replay(*words) == 2
    assert "--step needs a standard input" in capsys.readouterr().err


def test_a_link_is_chosen_by_its_name(
    tmp_path: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    records: list[Record] = [
        link(1, "etcher-1"),
        link(2, "etcher-2"),
        said(0.0, True, S1F1(), 1, number=1),
        said(0.0, True, S1F13(), 1, number=2),
    ]
    file = written(tmp_path / "fab.jsonl", records)
    words = [file, "--as", "host", "--speed", "max"]
    assert replay(*words, HOST, 1) == 2
    assert one_line(capsys.readouterr().err).endswith("give --link, one of etcher-1, etcher-2")
    port = fake_equipments().port
    assert replay(*words, HOST, port, "--link", "etcher-2") == 0
    assert "1 sent S1F13 W" in capsys.readouterr().out
    links = tmp_path / "links.toml"
    links.write_text(
        f'[link.etcher-1]\nhost = "{HOST}"\nport = {port}\n[link.x]\nport = 1\nhost = "h"\n',
        encoding="utf-8",
    )
    assert replay(*words, "--config", links, "--link", "etcher-1") == 0
    assert "1 sent S1F1 W" in capsys.readouterr().out


def test_what_is_odd_in_a_recording_is_a_note(
    tmp_path: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "tool.jsonl", EVENTS[:2])
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "\x1b[2J\n", encoding="utf-8")
    assert replay(file, "--as", "host", HOST, fake_equipments().port) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"// note: {file}:5: ")


@pytest.mark.parametrize(
    ("name", "why"),
    [("none.jsonl", "cannot read .*: No such file"), (".", "is no file that can be read twice")],
)
def test_what_cannot_be_read_is_wrong_usage(
    name: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(tmp_path / name, "--as", "host", HOST, 1) == 2
    assert re.search(why, one_line(capsys.readouterr().err))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "Missing option '--as'"),
        (["--as", "tool"], "'tool' is neither host nor equipment"),
        (["--as", "host", "--speed", "0"], "'0' is not max, or a number above 0"),
        (["--as", "host", "--ignore", "S6F11:x"], "'S6F11:x' names no item: write S6F11, "),
    ],
)
def test_a_wrong_word_is_told(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(tmp_path / "none.jsonl", *words, HOST, 1) == 2
    assert why in one_line(capsys.readouterr().err)


def test_a_file_that_is_lost_meanwhile_is_told(
    recorded: Path,
    fake_equipments: FakeEquipments,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(_: Conversation) -> Any:
        raise FileNotFoundError(2, "No such file")

    monkeypatch.setattr(Conversation, "turns", lost)
    assert replay(recorded, "--as", "host", HOST, fake_equipments().port) == 1
    assert f"cannot read {recorded}: No such file" in one_line(capsys.readouterr().err)


def test_without_a_peer_or_a_port_it_ends_in_a_line(
    recorded: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(recorded, "--as", "host", HOST, closed_port()) == 1
    assert "Connection refused" in one_line(capsys.readouterr().err)
    port = fake_equipments().port
    assert replay(recorded, "--as", "equipment", HOST, port) == 1
    assert f"cannot listen on {HOST}:{port}: " in one_line(capsys.readouterr().err)
    assert replay(recorded, "--as", "host", "--listen", HOST, port) == 1
    assert f"cannot listen on {HOST}:{port}: " in one_line(capsys.readouterr().err)


async def test_an_equipment_listens_and_is_played(recorded: Path) -> None:
    async with started("replay", recorded, "--as", "equipment", HOST, 0, "--json") as lines:
        port = (await lines.until("listening"))["port"]
        async with open_hsms(HOST, port) as connection:
            await connection.request(S1F13())
            assert (await connection.request(S1F1())).name == "S1F2"
        await lines.until("played")
        assert await lines.process.wait() == 0


async def test_a_signal_ends_it_with_a_word(tmp_path: Path) -> None:
    file = written(tmp_path / "tool.jsonl", EVENTS)
    async with started("replay", file, "--as", "equipment", HOST, 0, "--json") as lines:
        await lines.until("listening")
        lines.process.send_signal(signal.SIGINT)
        await lines.until("stopped")
        assert await lines.process.wait() == 130
        assert await errors_of(lines) == ""


PAGE = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
TEXT = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_shows_what_is_printed(
    tmp_path: Path, fake_equipments: FakeEquipments, capsys: pytest.CaptureFixture[str]
) -> None:
    port = fake_equipments(answer=another).port
    file = os.path.relpath(tmp_path / "tool.jsonl")
    written(
        tmp_path / "tool.jsonl",
        [
            link(),
            said(171859.75, True, S1F13(), 1),
            said(171859.75, False, Message(1, 14, item=L()), 1),
            said(171859.92, True, S1F1(), 2),
            said(171859.92, False, Message(1, 2, item=L(A("hsms-engine"), A("1.0"))), 2),
        ],
    )
    words = [file, "--as", "host", "--speed", "max", "--ignore", "S1F14", HOST, port]
    assert replay(*words) == 1
    assert capsys.readouterr().out.replace(str(port), "5000") == TEXT[0]

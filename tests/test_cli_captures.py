"""``hsms-engine record to-pcap`` and ``from-pcap``: files, pipes, notes, and exit codes."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from hsms_engine import cli
from hsms_engine.capture import PCAP_HEADER
from hsms_engine.recording import FrameRecord, Record, head, line_of, read
from tests.test_capture import LONG, S1F1, SESSION, frame, link, packets_of, pcap


def run(*arguments: object) -> int:
    return cli.main(["record", *map(str, arguments)])


def recorded(path: Path, records: Iterable[Record]) -> Path:
    lines = [line_of(head(0.0, 0.0, "id")), *map(line_of, records)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return recorded(tmp_path / "tool.jsonl", SESSION)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "tool.pcap"
    path.write_bytes(pcap(SESSION))
    return path


def test_a_recording_becomes_a_capture_and_a_recording_again(
    recording: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    there, back = tmp_path / "there.pcap", tmp_path / "back.jsonl"
    assert run("to-pcap", recording, "-o", there) == 0
    assert there.read_bytes() == pcap(SESSION)
    assert run("from-pcap", there, "--port", 5000, "--port", 5001, "-o", back) == 0
    assert [each for each in read([back]) if isinstance(each, FrameRecord)] == [
        each for each in SESSION if isinstance(each, FrameRecord)
    ]
    assert capsysbinary.readouterr() == (b"", b"")
    if os.name == "posix":
        assert {path.stat().st_mode & 0o777 for path in (there, back)} == {0o600}


def test_without_a_file_it_goes_to_standard_output(
    recording: Path, capture: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("to-pcap", recording) == 0
    assert capsysbinary.readouterr() == (capture.read_bytes(), b"")
    assert run("from-pcap", capture, "--role", "passive") == 0
    out, err = capsysbinary.readouterr()
    assert err == b""
    kinds = [json.loads(each) for each in out.splitlines()]
    assert [each["kind"] for each in kinds] == ["recording", "link", *["frame"] * 5, "gone", "end"]
    assert kinds[1]["role"] == "passive"
    assert kinds[2]["sent"] is False


def test_several_files_are_one_recording_and_one_link_can_be_chosen(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    second: list[Record] = [link(2, name="stepper"), frame(S1F1, 9, number=2)]
    files = [recorded(tmp_path / "1", SESSION), recorded(tmp_path / "2", second)]
    assert run("to-pcap", *files) == 0
    assert capsysbinary.readouterr()[0] == pcap([*SESSION, *second])
    assert run("to-pcap", *files, "--link", "stepper") == 0
    assert capsysbinary.readouterr()[0] == pcap(second)
    assert run("to-pcap", *files, "--link", "steper") == 1
    out, err = capsysbinary.readouterr()
    assert out == PCAP_HEADER
    assert b"no frame of a link 'steper' is recorded in " in err
    assert err.endswith(b"did you mean 'stepper'?\n")


def test_lines_that_cannot_be_read_are_told_and_cost_the_exit_code(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = recorded(tmp_path / "spoilt", SESSION)
    with file.open("ab") as more:
        more.write(b"garbage\n" * 30)
    assert run("to-pcap", file) == 1
    out, err = capsysbinary.readouterr()
    assert out == pcap(SESSION)
    assert err.splitlines()[0].startswith(f"{file}:9: ".encode())
    assert err.splitlines()[20:] == [b"and 10 more lines that cannot be read"]


def test_a_recording_without_frames_is_told(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = recorded(tmp_path / "empty", [])
    assert run("to-pcap", file) == 1
    assert capsysbinary.readouterr()[1] == (
        f"hsms-engine record to-pcap: no frame is recorded in {file}\n".encode()
    )


def test_what_is_not_whole_in_a_capture_is_told(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    packets = packets_of(pcap([*SESSION[:4], frame(LONG, 5)]))
    file = tmp_path / "lossy.pcap"
    file.write_bytes(b"".join([PCAP_HEADER, *packets[:9], *packets[11:]])[:-3])
    assert run("from-pcap", file) == 0
    _, err = capsysbinary.readouterr()
    where = f"{file}: 10.1.2.9:6000 -> 10.1.2.3:5000:"
    assert err.decode().splitlines()[1:] == [
        f"{where} bytes not captured: 65,495",
        f"{where} frames without their body: 1",
    ]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the file is empty"),
        (b"GET /", "neither pcap nor pcapng: it begins with b'GET '"),
        (PCAP_HEADER, "no HSMS is in it of port 7"),
    ],
)
def test_what_has_no_hsms_is_one_line_and_no_file(
    data: bytes, why: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    file, output = tmp_path / "other", tmp_path / "output"
    file.write_bytes(data)
    assert run("from-pcap", file, "--port", 7, "-o", output) == 1
    line = f"hsms-engine record from-pcap: {file}: {why}\n".encode()
    assert capsysbinary.readouterr() == (b"", line)
    assert not output.exists()


def test_a_capture_may_come_from_a_pipe(
    capture: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(capture.read_bytes()), "utf-8"))
    assert run("from-pcap", "-") == 0
    assert capsysbinary.readouterr()[0].count(b'"kind":"frame"') == 5


@pytest.mark.parametrize("command", ["to-pcap", "from-pcap"])
def test_files_that_cannot_be_opened_are_named(
    command: str,
    recording: Path,
    capture: Path,
    tmp_path: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    given = recording if command == "to-pcap" else capture
    missing = tmp_path / "no" / "file"
    assert run(command, missing) == 1
    why = os.strerror(errno.ENOENT)
    assert capsysbinary.readouterr()[1] == (
        f"hsms-engine record {command}: cannot read {missing}: {why}\n".encode()
    )
    assert run(command, given, "-o", missing) == 1
    assert capsysbinary.readouterr()[1] == (
        f"hsms-engine record {command}: cannot write {missing}: {why}\n".encode()
    )


@pytest.mark.parametrize("command", ["to-pcap", "from-pcap"])
def test_a_file_is_not_written_over_while_it_is_read(
    command: str, capture: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    before = capture.read_bytes()
    assert run(command, capture, "-o", capture.parent / "." / capture.name) == 2
    assert b"would be written over while it is read" in capsysbinary.readouterr()[1]
    assert capture.read_bytes() == before


def test_a_capture_is_not_written_to_a_terminal(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run("to-pcap", recording) == 2
    assert "give -o FILE, or a pipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--port", "0"), "'0' is not a whole number in 1..65535"),
        (("--role", "host"), "'host' is neither active nor passive"),
    ],
)
def test_wrong_options_are_refused(
    arguments: tuple[str, ...], why: str, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("from-pcap", capture, *arguments) == 2
    assert why in capsys.readouterr().err


def program(*arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "hsms_engine", "record", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_reader_that_goes_away_is_told_nothing(tmp_path: Path) -> None:
    records: list[Record] = [link(), *(frame(LONG, each) for each in range(20))]
    with program("to-pcap", recorded(tmp_path / "long", records)) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(10)
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_output_is_told(recording: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hsms_engine", "record", "to-pcap", str(recording)],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.endswith(f"cannot write the output: {os.strerror(errno.ENOSPC)}\n".encode())

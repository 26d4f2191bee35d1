"""A recorder that writes a capture: whole packets at any moment, parts, and a disk that fails."""

from __future__ import annotations

import logging
import os
import stat
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from hsms_engine import Message, open_link, serve_hsms
from hsms_engine.capture import PCAP_HEADER, read_capture
from hsms_engine.recorder import Recorder
from hsms_engine.recorder import recorder as module
from hsms_engine.recorder.forms import PcapForm
from hsms_engine.recorder.parts import Parts
from hsms_engine.recording import FrameRecord, LostRecord, line_of, parts_of, read
from statecharts.nursery import open_bare_nursery
from tests.support.pair import MemoryListener, echo


def packets(path: Path) -> list[bytes]:
    """The packets of a capture, which is whole."""
    content = path.read_bytes()
    assert content.startswith(PCAP_HEADER)
    found, at = [], len(PCAP_HEADER)
    while at < len(content):
        _, _, kept, length = struct.unpack_from("<IIII", content, at)
        assert kept <= length
        found.append(content[at + 16 : at + 16 + kept])
        assert len(found[-1]) == kept
        at += 16 + kept
    return found


def frames(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [
            each.data
            for each in read_capture(file.read, ports=[5000])
            if isinstance(each, FrameRecord)
        ]


async def talk(record: Any, bodies: list[bytes]) -> None:
    listener = MemoryListener()
    async with open_bare_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve_hsms(echo, listener=listener, task_status=task_status)
        )
        async with open_link(
            "tool.fab", 5000, dial=listener.dial, name="tool-7", record=record
        ) as link:
            await link.wait_selected()
            for body in bodies:
                await link.request(Message(1, 1, wait=True, body=body))
        await server.aclose()


async def test_it_has_the_frames_of_a_recording_that_is_written_beside_it(tmp_path: Path) -> None:
    capture, lines = tmp_path / "a.pcap", tmp_path / "a.jsonl"
    recorder = Recorder(capture, pcap=True)
    long = b"\x23\x01\x86\xa0" + bytes(100_000)
    await talk([recorder, lines], [b"\x01\x00", long])
    recorder.close()
    assert packets(capture)
    if os.name == "posix":
        assert stat.S_IMODE(capture.stat().st_mode) == 0o600
    recorded = [each.data for each in read(parts_of(lines)) if isinstance(each, FrameRecord)]
    assert frames(capture) == recorded
    assert [each[10:] for each in recorded].count(long) == 2


async def test_full_parts_get_numbers_and_a_capture_of_others_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    capture = tmp_path / "a.pcap"
    recorder = Recorder(capture, pcap=True, part_bytes=65_536, parts=3)
    await talk(recorder, [b"\x41\x01a" * 1_000] * 40)
    recorder.close()
    assert len(parts_of(capture)) == 3
    assert all(packets(each) for each in parts_of(capture))
    assert all(each.stat().st_size <= 65_536 for each in parts_of(capture))
    other = PCAP_HEADER[:20] + b"\x01\0\0\0"
    capture.write_bytes(other)
    recorder = Recorder(capture, pcap=True)
    await talk(recorder, [b""])
    assert capture.read_bytes() == other
    recorder.close()
    assert "it is there and is no recording" in caplog.text


async def test_a_full_disk_leaves_whole_packets_and_the_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = Parts.write

    def limited(parts: Parts, data: bytes) -> None:
        if parts.written + len(data) > 1_000:
            write(parts, data[: 1_000 - parts.written])
            raise OSError(28, "No space left on device")
        write(parts, data)

    monkeypatch.setattr(Parts, "write", limited)
    capture = tmp_path / "a.pcap"
    recorder = Recorder(capture, pcap=True)
    await talk(recorder, [bytes(100)] * 20)
    recorder.close()
    assert packets(capture)
    # A message of 114 bytes and its acknowledgement take 226.
    assert 1_000 - 226 < capture.stat().st_size <= 1_000
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "No space left on device" in warnings[0].getMessage()
    assert len(warnings) == 1


def test_what_a_slow_disk_has_dropped_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    form = PcapForm("a.pcap")
    line = line_of(LostRecord(1.0, 1.0, 5, 700))
    assert b"".join(form.data((line, line))) == b""
    (warning,) = caplog.records
    assert warning.getMessage() == (
        "5 records and more are not in a.pcap: they came too fast to be written"
    )


async def test_it_can_be_read_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0)
    is_written = threading.Event()
    write = Parts.write

    def told(parts: Parts, data: bytes) -> None:
        write(parts, data)
        if b"\xfe\xed" in data:
            is_written.set()

    monkeypatch.setattr(Parts, "write", told)
    capture = tmp_path / "a.pcap"
    recorder = Recorder(capture, pcap=True)
    await talk(recorder, [b"\x21\x02\xfe\xed"])
    assert is_written.wait(60)
    assert len(packets(capture)) > 5
    recorder.close()

"""The programs of ``docs/recorder.md`` run, and the page has all kinds, keys and bounds."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from hsms_engine import recording
from hsms_engine.pytest_plugin import FakeEquipments
from hsms_engine.recorder import BlackBox, Recorder
from hsms_engine.recorder.memory import MEMORY
from hsms_engine.recording import lines

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "recorder.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_programs_of_the_page_run(
    fake_equipments: FakeEquipments,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    port = fake_equipments().port
    first, shared, box, reading = PROGRAMS
    for program in (first, shared, box):
        assert program.count(" 5000,") == 1
        exec(program.replace(" 5000,", f" {port},"), {})
    out = capsys.readouterr().out
    assert out.startswith("S1F2\n")
    assert out.endswith("\n0 0\n")
    exec(reading, {})
    told = capsys.readouterr().out.splitlines()
    # Select, S1F1 and Separate, all sent but for their answers.
    ways = [each.split()[1] for each in told]
    assert ways == ["sent", "received", "sent", "received", "sent"]
    [head, *others] = recording.read(recording.parts_of("fab.jsonl"))
    assert isinstance(head, recording.HeadRecord)
    bodies = [each for each in others if isinstance(each, recording.FrameRecord)]
    assert [each.body for each in bodies] == [None, None, None, "left out", None]


def test_the_page_has_every_kind_with_its_keys() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    kinds = {*lines._KEYS, lines._EVENT}
    assert rows.keys() == kinds
    of_all = {"at", "wall", "link", "epoch"}
    for kind in kinds - {lines._EVENT}:
        keys = set(re.findall(r"`(\w+)`", rows[kind]))
        assert lines._KEYS[kind] - of_all <= keys


def test_the_page_has_the_bounds_of_the_code() -> None:
    defaults = {
        name: each.default
        for name, each in inspect.signature(Recorder).parameters.items()
        if each.default not in (inspect.Parameter.empty, None, False)
    }
    assert defaults == {
        "part_bytes": 64 * 2**20,
        "part_seconds": 86_400.0,
        "parts": 16,
        "queue_size": 100_000,
        "queue_bytes": 32 * 2**20,
    }
    for text in ("64 MiB", "a day", "(16)", "100,000\nrecords", "32 MiB"):
        assert text in PAGE


def test_the_page_has_the_bounds_of_a_black_box() -> None:
    defaults = {
        name: each.default
        for name, each in inspect.signature(BlackBox).parameters.items()
        if each.default not in (inspect.Parameter.empty, None)
    }
    assert defaults == {"seconds": 60.0, "after": 5.0, "files_per_hour": 20}
    assert MEMORY.most == 64 * 2**20
    for text in ("last 60 seconds", "`after` (5)", "`files_per_hour` (20)", "64 MiB for the whole"):
        assert text in PAGE

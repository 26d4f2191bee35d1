"""``hsms-engine sml from-log``: what it writes, where, and its exit code; and the page of logs."""

from __future__ import annotations

import io
import json
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from hsms_engine import cli
from hsms_engine.secs2 import A
from hsms_engine.sml import parse

PAGE = Path(__file__).parent.parent / "docs" / "logs.md"
GOOD = """\
2026-11-27 20:57:15,123 SEND S1F13 W system=0x2A session=3
<L [1] <A "x">>.
20:57:16 --> Linktest.req
S1F14 <B 0> .
"""
BAD = """\
RECV S1F13 W length=30
S1F1 <L [2
20:57:17 SEND 00 00 00 0E 00 00 81 01 00 00 00 00 00 07 FF FF FF FF
"""


def run(*arguments: object) -> int:
    return cli.main(["sml", "from-log", *map(str, arguments)])


def test_messages_are_written_as_sml_below_where_they_are_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "tool.log"
    log.write_text(GOOD, "utf-8")
    assert run(log) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[::4] == [
        f"// 2026-11-27 20:57:15.123000 sent {log}:1 session=3 system=0000002A",
        "> .",
        "<B 0x00> .",
    ]
    assert f"// 20:57:16 sent {log}:3 Linktest.req" in out
    assert [each.name or f"S{each.stream}F{each.function}" for each in parse(out)] == [
        "S1F13",
        "S1F14",
    ]


def test_what_is_not_whole_is_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "tool.log"
    log.write_text(BAD, "utf-8")
    assert run(log) == 1
    out, err = capsys.readouterr()
    assert out == ""
    cut, broken, body = err.splitlines()
    assert cut == f"{log}:1: S1F13: its body is not in the log, which says length=30"
    assert broken.startswith(f"{log}:2:9: S1F1: ")
    assert body.startswith(f"{log}:3: S1F1: no SECS-II, ")
    assert body.endswith(": ff ff ff ff")


def test_objects_have_all_of_an_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "tool.log"
    log.write_text(GOOD + BAD, "utf-8")
    assert run("--json", log) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["event"] for each in told] == [
        "message", "control", "message", "cut", "not understood", "message",
    ]  # fmt: skip
    assert told[0] == {
        "event": "message",
        "file": str(log),
        "line": 1,
        "time": "2026-11-27T20:57:15.123000",
        "direction": "sent",
        "session_id": 3,
        "system_bytes": "0000002A",
        "message": "S1F13 W",
        "sml": 'S1F13 W\n<L [1]\n  <A "x">\n> .',
    }
    assert told[3]["why"] == "its body is not in the log, which says length=30"
    assert (told[4]["line"], told[4]["column"]) == (6, 9)
    assert (told[5]["hex"], told[5]["time"]) == ("ffffffff", "20:57:17")


def test_standard_input_is_a_log_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = b"03/04/2026 01:00:00 SEND S1F2 <B A0>\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(log), encoding="utf-8"))
    assert run("--day-first", "--binary", "hex", "-") == 0
    assert capsys.readouterr().out == "// 2026-04-03 01:00:00 sent -:1\nS1F2\n<B 0xA0> .\n"


def test_text_is_read_and_written_in_its_encoding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "tool.log"
    log.write_text('SEND S10F3 <A "温度">\n', "utf-8")
    assert run("--text-encoding", "gbk", log) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f'// sent {log}:1\nS10F3\n<A "温度"> .\n', "")
    [statement] = parse(out, "gbk")
    assert statement.item == A("温度", encoding="gbk")
    assert run("--text-encoding", "gbk", "--json", log) == 0
    assert json.loads(capsys.readouterr().out)["sml"] == 'S10F3\n<A "温度"> .'
    assert run(log) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{log}:1:15: S10F3: A character '温'")
    assert run("--text-encoding", "utf-16", log) == 2


def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "nothing.log") == 1
    assert "nothing.log: No such file" in capsys.readouterr().err
    assert run("--encoding", "nonsense", "-") == 2


def test_the_program_of_the_page_writes_what_it_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [expected] = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    with redirect_stdout(io.StringIO()) as out:
        exec(program, {})
    assert out.getvalue() == expected

"""``hsms-engine sml``: problems and notes with a caret, exit codes, and files in one form."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from hsms_engine import cli
from hsms_engine.sml import load, parse

GOOD = "go: S1F1 W .\n"
ODD = "Are You There: S1F1 W . // asks\nS1F2\t<A[1] ''> .\n"
BAD = f"{ODD}S1F3 <U1 300>.\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tool.sml"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.main(["sml", *map(str, words)])
    out, errors = capsys.readouterr()
    return code, out, errors


def test_check_shows_problems_and_notes_with_a_caret(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(BAD, encoding="utf-8")
    code, out, errors = run(capsys, "check", file)
    assert (code, errors) == (1, "")
    assert out == (
        f"{file}:1:1: note, name: Are You There is a name\n"
        "  Are You There: S1F1 W . // ask\n"
        "  ^\n"
        f"{file}:2:8: note, count: the count is [1], but 0 follow\n"
        "  S1F2 <A[1] ''> .\n"
        "         ^\n"
        f"{file}:3:10: problem: U1 value 300 is not in 0..255\n"
        "  S1F3 <U1 300>.\n"
        "           ^\n"
        f"{file}: 2 messages, 1 problem, 2 notes (1 count, 1 name), 1 comment\n"
    )


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [
        (GOOD, [], 0),
        (GOOD, ["--strict"], 0),
        (ODD, [], 0),
        (ODD, ["--strict"], 1),
        (BAD, [], 1),
        ("S1F2 <B 80 A4> . S1F4 <B 80> .", [], 1),
        ("S1F2 <B 80 A4> . S1F4 <B 80> .", ["--binary", "hex"], 0),
        ("S1F2 <B 80 A4> . S1F4 <B 80> .", ["--binary", "decimal"], 0),
        ("S1F2 <A 'a\\'b'> .", [], 1),
        ("S1F2 <A 'a\\'b'> .", ["--escapes"], 0),
        ("S1F2 <C 'ö'> .", [], 0),
        ("S1F2 <C 'ö'> .", ["--encoding", "utf-16-le"], 1),
        ("S1F2 <A 'ö'> .", [], 1),
        ("S1F2 <A 'ö'> .", ["--text-encoding", "latin-1"], 0),
    ],
)
def test_the_exit_code_says_whether_there_is_a_problem(
    text: str, words: list[str], code: int, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(text, encoding="utf-8")
    assert run(capsys, "check", *words, file)[0] == code


def test_check_takes_several_files_and_one_problem_is_enough(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.sml"
    file.write_text(BAD, encoding="utf-8")
    other.write_text(GOOD, encoding="utf-8")
    code, out, _ = run(capsys, "check", file, other)
    assert code == 1
    assert out.endswith(f"{other}: 1 message, 0 problems, 0 notes\n")


def test_check_as_json_is_an_object_for_each(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(BAD, encoding="utf-8")
    code, out, _ = run(capsys, "check", "--json", file)
    assert code == 1
    name, count, problem, read = map(json.loads, out.splitlines())
    place = {"file": str(file), "line": 1, "column": 1}
    assert name == {"event": "note", **place, "kind": "name", "text": "Are You There is a name"}
    assert count["kind"] == "count"
    assert problem == {
        "event": "problem",
        "file": str(file),
        "line": 3,
        "column": 10,
        "text": "U1 value 300 is not in 0..255",
    }
    assert read == {
        "event": "read",
        "file": str(file),
        "messages": 2,
        "problems": 1,
        "notes": {"count": 1, "name": 1},
        "comments": 1,
    }


def test_format_shows_text_in_its_encoding(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("S1F2 <A 0xCE 0xC2 0xFF> .", encoding="utf-8")
    gbk = '<A "温" 0xFF> .\n'
    assert run(capsys, "format", file, "--text-encoding", "gbk")[1] == f"S1F2\n{gbk}"
    told = json.loads(
        run(capsys, "format", file, "--text-encoding", "gbk", "--json")[1].split("\n")[0]
    )
    assert told["sml"] == f"S1F2\n{gbk}".rstrip()
    run(capsys, "format", "--in-place", file, "--text-encoding", "gbk")
    assert file.read_text(encoding="utf-8") == f"S1F2\n{gbk}"


def test_format_writes_one_form_and_says_what_it_does_not_keep(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(ODD, encoding="utf-8")
    code, out, errors = run(capsys, "format", file)
    assert code == 0
    assert out == '"Are You There": S1F1 W .\nS1F2\n<A> .\n'
    assert errors == (
        f"{file}: 2 messages, 0 problems, 2 notes (1 count, 1 name), 1 comment, not kept\n"
    )
    assert file.read_text(encoding="utf-8") == ODD
    assert run(capsys, "format", "--in-place", file)[:2] == (0, "")
    assert file.read_text(encoding="utf-8") == out
    # Then there is nothing to say.
    assert run(capsys, "format", file) == (
        0, out, f"{file}: 2 messages, 0 problems, 0 notes\n",
    )  # fmt: skip
    assert parse(out) == list(load(ODD).messages)


def test_format_writes_nothing_when_there_are_problems_unless_told(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(BAD, encoding="utf-8")
    code, out, errors = run(capsys, "format", "--in-place", file)
    assert (code, out) == (1, "")
    assert errors.startswith(f"{file}:3:10: problem: U1 value 300 is not in 0..255\n")
    assert errors.endswith(
        f"hsms-engine sml format: {file} is not written: 2 messages, 1 problem, 2 notes "
        "(1 count, 1 name), 1 comment\n"
    )
    assert file.read_text(encoding="utf-8") == BAD
    assert run(capsys, "format", "--force", "--in-place", file)[0] == 1
    assert file.read_text(encoding="utf-8") == '"Are You There": S1F1 W .\nS1F2\n<A> .\n'


@pytest.mark.parametrize("text", ["// a comment\n", "S1F3 <U1 300>.\n", "free text, no SML\n"])
def test_format_never_writes_no_message_over_a_text(
    text: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(text, encoding="utf-8")
    code, out, errors = run(capsys, "format", "--force", "--in-place", file)
    assert (code, out) == (1, "")
    assert errors.endswith(f"{file} is not written: no message is in it, and all would be lost\n")
    assert file.read_text(encoding="utf-8") == text


def test_format_in_place_leaves_an_empty_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(" \n", encoding="utf-8")
    assert run(capsys, "format", "--in-place", file)[:2] == (0, "")
    assert file.read_bytes() == b""


def test_standard_input_is_a_file_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def given(text: str, encoding: str) -> None:
        stdin = io.TextIOWrapper(io.BytesIO(text.encode(encoding)), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", stdin)

    given(GOOD, "utf-16")
    assert run(capsys, "check", "-") == (0, "-: 1 message, 0 problems, 0 notes\n", "")
    given("S1F2 <A 'ö'> .", "latin-1")
    out = run(capsys, "format", "-", "--encoding", "latin-1", "--text-encoding", "latin-1")[1]
    assert out == 'S1F2\n<A "ö"> .\n'
    assert run(capsys, "format", "--in-place", "-") == (
        2, "", "hsms-engine sml format: standard input cannot be written in place\n",
    )  # fmt: skip


def test_a_file_that_cannot_be_read_stops_no_other(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(GOOD, encoding="utf-8")
    why = "cannot read {}: No such file or directory"
    assert run(capsys, "check", "no.sml", file, "none.sml") == (
        1,
        f"{file}: 1 message, 0 problems, 0 notes\n",
        f"hsms-engine sml check: {why.format('no.sml')}; {why.format('none.sml')}\n",
    )


def test_format_as_json_is_an_object_for_each_message(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(BAD, encoding="utf-8")
    code, out, errors = run(capsys, "format", "--json", "--force", file)
    assert (code, errors) == (1, "")
    problem, first, second, read = map(json.loads, out.splitlines())
    assert (problem["event"], read["event"]) == ("problem", "read")
    assert first == {
        "event": "message",
        "file": str(file),
        "name": "Are You There",
        "message": "S1F1 W",
        "sml": '"Are You There": S1F1 W .',
    }
    assert (second["name"], second["message"]) == (None, "S1F2")


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["check", "nowhere.sml"], 1, "cannot read nowhere.sml: No such file or directory"),
        (["format", "nowhere.sml"], 1, "cannot read nowhere.sml: No such file or directory"),
        (["check", "--binary", "oct", "x"], 2, "'oct' is neither decimal nor hex"),
        (["check", "--encoding", "no", "x"], 2, "unknown encoding: no"),
        (["format", "--text-encoding", "utf-16", "x"], 2, "'utf-16' is no superset of ASCII"),
        (["check", "--encoding", "hex", "x"], 2, "'hex' is not a text encoding"),
        (["check"], 2, "Missing argument 'FILE'"),
        (["format"], 2, "Missing argument 'FILE'"),
        (["chekc"], 2, "No such command 'chekc'"),
        ([], 2, "Missing command."),
    ],
)
def test_a_failure_is_one_line(
    words: list[str], code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    got, out, errors = run(capsys, *words)
    assert (got, out) == (code, "")
    assert re.fullmatch(r"hsms-engine sml( check| format)?: .*\n", errors)
    assert why in errors


def test_a_file_that_cannot_be_written_is_a_failure(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    file.write_text(GOOD, encoding="utf-8")
    monkeypatch.setattr(Path, "write_text", refuse)
    code, _, errors = run(capsys, "format", "--in-place", file)
    assert code == 1
    assert errors.endswith(f"hsms-engine sml format: cannot write {file}: Permission denied\n")

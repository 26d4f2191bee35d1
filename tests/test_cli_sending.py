"""``--send`` and ``--library``: what is sent, what is passed over, and what is refused."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hsms_engine import messages
from hsms_engine.cli.command import CommandError
from hsms_engine.cli.sending import Passed, Sending
from hsms_engine.secs2 import A


def sent(*send: str, library: list[Path] | None = None, encoding: str | None = None) -> list[str]:
    """What is sent, as SML in one line."""
    found = Sending(send=list(send), library=library).primaries(encoding)
    return [" ".join(each.sml().split()) for each in found.messages]


def refused(*send: str, library: list[Path] | None = None) -> str:
    with pytest.raises(CommandError) as failed:
        Sending(send=list(send), library=library).primaries(None)
    assert failed.value.exit_code == 2
    text = str(failed.value)
    assert "\n" not in text
    return text


def written(folder: Path, text: str | bytes, name: str = "messages.sml") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def typed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


# Names


@pytest.mark.parametrize(
    ("text", "sml"),
    [
        ("S1F13", "S1F13 W <L [0]> ."),
        (" s1f13 ", "S1F13 W <L [0]> ."),
        ("S01F013", "S1F13 W <L [0]> ."),
        ("S1F1", "S1F1 W ."),
        ("S5F5", "S5F5 W <U4> ."),
        # The catalogue does not have it.
        ("S64F1", "S64F1 W ."),
        # As SML it is only a header.
        ("S1F13 W .", "S1F13 W ."),
        ("S1F13 .", "S1F13 W ."),
    ],
)
def test_a_bare_name_is_the_message_with_its_usual_body(text: str, sml: str) -> None:
    assert sent(text) == [sml]


def test_each_primary_of_the_catalogue_is_sent_or_says_what_to_write() -> None:
    for name in messages.NAMES:
        function = messages.find(name)
        assert function is not None
        if function.numbers[1] % 2 == 0:
            assert refused(name) == (
                f"--send {name}: {name} is a secondary: give a primary (odd function), as S1F1"
            )
            continue
        try:
            expected = function()
        except TypeError:
            why = refused(name)
            assert f"--send {name}: it has no usual body" in why
            assert f"hsms-engine messages {name}" in why
        else:
            [message] = Sending(send=[name]).primaries(None).messages
            assert message == expected
            assert messages.check(message) == []


def test_what_to_write_for_a_name_has_the_layout_in_one_line() -> None:
    layout = "<L [2] <RCMD> <L [n] <L [2] <CPNAME> <CPVAL> > > >"
    assert f"'S2F41 W {layout} .'" in refused("S2F41")
    # It has no reply.
    assert "'S9F1 <MHEAD> .'" in refused("S9F1")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("S1F2", "--send S1F2: S1F2 is a secondary: give a primary"),
        ("S1F2 <L> .", "--send S1F2: S1F2 is a secondary"),
        ("S200F1", "--send S200F1: stream 200 is not in 0..127"),
        ("S1F999", "--send S1F999: function 999 is not in 0..255"),
        ("Hello", "--send Hello: this is no message. Give S1F13, SML, @FILE, -, or --library"),
        ("S1F1 <", "--send 'S1F1 <', line 1, column"),
        ("", "--send '', line 1, column 1"),
        ("S1F1 . S1F1 .", "--send 'S1F1 . S1F1 .', line 1"),
        ("@", "--send @: no FILE is named after the @"),
        ("@no such file", "cannot read no such file: No such file or directory"),
        ("@\0", "cannot read \0: embedded null"),
        ("@/", "cannot read /: Is a directory"),
    ],
)
def test_what_is_no_primary_is_refused(text: str, why: str) -> None:
    assert refused(text).startswith(why)


# Files


def test_all_messages_of_a_file_are_sent_as_they_are_written(tmp_path: Path) -> None:
    file = written(tmp_path, "Hello: 'S1F13' W <L [0]> .\nS6F11 <L [0]> .\nS1F13 W .")
    assert sent("S1F1", f"@{file}") == [
        "S1F1 W .",
        "S1F13 W <L [0]> .",
        # Neither W nor a body is added.
        "S6F11 <L [0]> .",
        "S1F13 W .",
    ]


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, b"\xef\xbb\xbfS1F1 W .\nS1F3 W <L <U4 1>> .")
    assert sent("-") == ["S1F1 W .", "S1F3 W <L [1] <U4 1> > ."]
    assert refused("-", "-") == "--send - is given twice: standard input is read once"


def test_standard_input_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, b"S1F1 W <A '\xff'> .")
    assert refused("-").startswith("cannot read standard input: 'utf-8' codec can't decode byte")
    typed(monkeypatch, b"")
    assert refused("-") == "standard input has no message"
    monkeypatch.setattr(sys, "stdin", None)
    assert refused("-") == "cannot read standard input: it is closed"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", " has no message"),
        ("// nothing", " has no message"),
        ("S1F1 <L", ", line 1, column"),
        ("S1F1 W .\nS1F1 <Q> .\nS1F1 <Q> .", " (and 1 more problems); nothing is sent"),
        ("S1F1 W .\nS1F2 <L> .", "message 2 of "),
        (b"S1F1 <A '\xff'> .", ", line 1, column"),
        (b"\x7fELF\x00\x00", ", line 1, column"),
    ],
)
def test_a_file_of_which_not_all_can_be_sent_is_refused(
    tmp_path: Path, text: str | bytes, why: str
) -> None:
    assert why in refused(f"@{written(tmp_path, text)}")


def test_text_of_a_file_is_in_the_encoding_of_the_link(tmp_path: Path) -> None:
    file = written(tmp_path, 'T: S10F3 W <A "温度"> .')
    for text, library in ((f"@{file}", None), ("T", [file])):
        found = Sending(send=[text], library=library).primaries("gbk")
        assert [each.item for each in found.messages] == [A("温度", encoding="gbk")]


def test_what_was_passed_over_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, "S1F3 W <L <U4 1, 2>> .")
    found = Sending(send=[f"@{file}"]).primaries(None)
    [note] = found.passed
    assert note == Passed(str(file), 1, note.column, "comma", note.text)
    assert str(note) == f"{file}, line 1, column {note.column}: comma: {note.text}"


# Libraries


def test_a_library_has_messages_by_name(tmp_path: Path) -> None:
    first = written(tmp_path, "Hello: S1F13 W <L [0]> . Answer: S1F14 <L [0]> .", "first.sml")
    second = written(tmp_path, "Hello: S1F1 W . S1F17: S1F17 W <L [0]> . <", "second.sml")
    both = [first, second]
    # A name of a library wins over the catalogue, and the first library over the others.
    assert sent("Hello", "S1F17", "S1F1", library=both) == [
        "S1F13 W <L [0]> .",
        "S1F17 W <L [0]> .",
        "S1F1 W .",
    ]
    passed = Sending(library=both).primaries(None).passed
    assert [(each.file, each.kind) for each in passed] == [
        (str(second), "name"),
        (str(second), "problem"),
    ]
    assert str(passed[0]) == f"{second}: name: another library has a message Hello too"
    assert refused("Answer", library=both).startswith("--send Answer: S1F14 is a secondary")
    assert refused("Helo", library=both) == (
        f"--send Helo: no message of {first}, {second} has this name; did you mean 'Hello'?"
    )
    assert refused("S1F1", library=[tmp_path]).startswith(f"cannot read {tmp_path}: ")


def test_of_many_names_and_notes_only_the_first_are_told(tmp_path: Path) -> None:
    text = "\n".join(f"Message{number}: S1F3 W <L <U4 1, 2>> ." for number in range(25))
    file = written(tmp_path, text)
    assert refused("Other", library=[file]).endswith("has this name; there are 25")
    *told, last = Sending(library=[file]).primaries(None).passed
    assert len(told) == 20
    assert last == Passed(
        str(file), 0, 0, "left out", "5 more are not told here: hsms-engine sml check tells all"
    )


def test_nothing_is_sent_without_send() -> None:
    found = Sending().primaries(None)
    assert (found.messages, found.passed) == ([], [])

"""The answer book: replies from SML, with values of the request where the text says so."""

import os
import tracemalloc
from pathlib import Path

import pytest

from hsms_engine.answers import LONGEST, AnswerBook, AnswersError
from hsms_engine.message import Message
from hsms_engine.messages import S1F1, S1F3, S1F13, S2F41


def answered(book: str, request: str) -> str | None:
    reply = AnswerBook.parse(book).answer(Message.parse(request))
    return None if reply is None else " ".join(reply.sml().split())


@pytest.mark.parametrize(
    ("answer", "request_item", "reply"),
    [
        ("<A 'x'>", "", 'S1F4 <A "x"> .'),
        ("", "<U4 1>", "S1F4 ."),
        ("$", "<U4 1>", "S1F4 <U4 1> ."),
        ("$2.1", "<L <A> <L <U4 7>>>", "S1F4 <U4 7> ."),
        ("<L $2 <A 'x'> $1>", "<L <U4 1> <U4 2>>", 'S1F4 <L [3] <U4 2> <A "x"> <U4 1> > .'),
        ("<L <U4 0> ...>", "<L <A> <A>>", "S1F4 <L [2] <U4 0> <U4 0> > ."),
        ("<L <U4 0> ...>", "<L>", "S1F4 <L [0]> ."),
        ("<L <U4 0> ...>", "", "S1F4 <L [0]> ."),
        ("<L $* ...>", "<U4 1 2>", "S1F4 <L [2] <U4 1> <U4 2> > ."),
        ("<L [1] $>", "<U4 1>", "S1F4 <L [1] <U4 1> > ."),
        (
            "<L <B 0> <L <L $*.1 <B 0>> ...$2>>",
            "<L <A 'GO'> <L <L <A 'P'> <U4 1>> <L <A 'Q'> <U4 2>>>>",
            'S1F4 <L [2] <B 0x00> <L [2] <L [2] <A "P"> <B 0x00> > <L [2] <A "Q"> <B 0x00> > > > .',
        ),
        (
            "<L <L $1 <L $* ...$*.2> > ...$2>",
            "<L <A 'x'> <L <L <A> <L <U1 1> <U1 2>>>>>",
            'S1F4 <L [1] <L [2] <A "x"> <L [2] <U1 1> <U1 2> > > > .',
        ),
    ],
)
def test_an_answer_uses_values_of_its_request(answer: str, request_item: str, reply: str) -> None:
    assert answered(f"S1F4 {answer} .", f"S1F3 W {request_item}") == reply


@pytest.mark.parametrize(
    ("answer", "request_item"),
    [
        ("$", ""),
        ("$1", ""),
        ("$3", "<L <A> <A>>"),
        ("$1.1", "<L <A>>"),
        ("<L $* ...>", "<A 'text'>"),
        ("<L $*.1 ...>", "<L <A>>"),
        ("<L <L $>>", "<L " * 63 + ">" * 63),
    ],
)
def test_a_request_that_lacks_what_the_answer_uses_is_aborted(
    answer: str, request_item: str
) -> None:
    assert answered(f"S1F4 {answer} .", f"S1F3 W {request_item}") == "S1F0 ."


def test_a_request_that_does_not_decode_matters_only_where_it_is_used() -> None:
    request = Message(1, 3, True, body=b"\x41\x05x")
    assert AnswerBook.parse("S1F4 <L [0]> .").answer(request) == Message(1, 4, item=())
    assert AnswerBook.parse("S1F4 $ .").answer(request) == Message(1, 0)


def test_what_wants_no_answer_or_has_none_gets_none() -> None:
    assert answered("S1F2 <L> .", "S1F1") is None
    assert answered("S1F2 <L> .", "S1F3 W") is None
    assert AnswerBook.parse("").answer(S1F1()) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("S1F2 <A $>", "f.sml:1:9: expected a value or >, found $"),
        ("\nS1F1", "f.sml:2:1: S1F1 is no answer: an answer has an even function and no W"),
        ("S1F1 W", "f.sml:1:1: S1F1 W is no answer: an answer has an even function and no W"),
        ("S1F0", "f.sml:1:1: S1F0 is no answer: an answer has an even function and no W"),
        ("S1F2 .\nS1F2 .", "f.sml:2:1: S1F2 is answered twice"),
        ("S1F2 $*", "f.sml:1:6: $* stands only in an item that an ellipsis repeats"),
        ("S1F2 <L <L $*>>", "f.sml:1:12: $* stands only in an item that an ellipsis repeats"),
        ("S1F2 <L $1 ...$*.1>", "f.sml:1:12: $* stands only in an item that an ellipsis repeats"),
        ("S1F2 <L $.1>", "f.sml:1:10: expected an item or >, found ."),
        ("S1F2 $1.0", "f.sml:1:6: items of $1.0 are counted from 1"),
        ("S1F2 <L [2] $1>", "f.sml:1:9: the count is [2], but 1 follow"),
        ("S1F2 <L ...>", "f.sml:1:9: expected an item or >, found ..."),
        (f"S1F2 ${'9' * 5000}", "f.sml:1:16: expected a message like S1F13, found 99999999"),
        ("S1F2 <A 'x", "f.sml:1:9: this string is not closed on its line: write a line feed as"),
    ],
)
def test_a_fault_in_a_book_is_one_line_of_file_line_column_and_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f.sml").write_text(text, encoding="utf-8")
    with pytest.raises(AnswersError) as raised:
        AnswerBook.load("f.sml")
    assert str(raised.value).startswith(fault)
    assert "\n" not in str(raised.value)


def test_a_book_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    path = tmp_path / "latin.sml"
    path.write_bytes(b"S1F2 .\n// caf\xe9\n")
    with pytest.raises(AnswersError, match=r"latin\.sml:2: not UTF-8: "):
        AnswerBook.load(path)
    with pytest.raises(FileNotFoundError):
        AnswerBook.load(tmp_path / "missing.sml")


def test_a_book_that_is_too_long_or_has_no_end_is_read_up_to_its_limit(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    sparse.touch()
    os.truncate(sparse, 5_000_000_000)
    for path in (sparse, Path("/dev/zero")):
        tracemalloc.start()
        with pytest.raises(AnswersError) as raised:
            AnswerBook.load(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * LONGEST
        assert str(raised.value) == f"{path}: longer than 4 MB, the limit of an answer book"


def test_the_longest_book_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "long"
    answer = b"S1F2 <L> ."
    path.write_bytes(b" " * (LONGEST - len(answer)) + answer)
    assert list(AnswerBook.load(path)) == ["S1F1"]


def test_a_book_may_come_through_a_pipe_and_not_from_a_directory(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"S1F2 <L> .")
    os.close(theirs)
    assert list(AnswerBook.load(f"/dev/fd/{ours}")) == ["S1F1"]
    os.close(ours)
    with pytest.raises(IsADirectoryError):
        AnswerBook.load(tmp_path)


def test_a_book_says_what_it_answers() -> None:
    book = AnswerBook.parse("S1F2 <L> . S2F42 <L> .")
    assert list(book) == ["S1F1", "S2F41"]
    assert len(book) == 2
    assert "S1F1" in book
    assert "S1F3" not in book
    assert repr(book) == "AnswerBook(S1F1 S2F41)"
    assert book.answer(S2F41("X")) is not None
    assert book.answer(S1F13()) is None


def test_two_books_make_one_in_which_the_second_wins() -> None:
    one, other = AnswerBook.parse("S1F2 <L> . S1F4 <L> ."), AnswerBook.parse("S1F4 . S2F42 .")
    both = one | other
    assert [both.answer(each()) for each in (S1F1, S1F3)] == [Message(1, 2, item=()), Message(1, 4)]
    assert list(both) == ["S1F1", "S1F3", "S2F41"]
    assert (list(one), list(other)) == (["S1F1", "S1F3"], ["S1F3", "S2F41"])


def test_a_text_without_a_name_is_called_answers() -> None:
    with pytest.raises(AnswersError, match=r"^<answers>:1:1: "):
        AnswerBook.parse("x")

"""What the trade writes is read, with a note on each difference, or it is a problem."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from pathlib import Path
from types import MappingProxyType
from typing import get_args

import pytest
from hypothesis import example as with_example
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.secs2 import A, C
from hsms_engine.sml import (
    Library,
    NoteKind,
    SmlError,
    Statement,
    load,
    load_file,
    parse,
    parse_item,
    parse_one,
    to_sml,
)
from hsms_engine.sml.library import MOST_PROBLEMS
from hsms_engine.sml.notes import MOST_NOTES
from tests.support import dialects

# The text, the same in the grammar, and the kinds of its notes.
ROWS: list[tuple[str, str, str]] = [
    # Counts: the values win.
    ("S1F2 <A[1] ''> .", "S1F2 <A> .", "count"),
    ("S1F2 <L [3] <A [0] 'x'>>", "S1F2 <L <A 'x'>> .", "count count"),
    ("S1F2 <U4 [2] 1>", "S1F2 <U4 1> .", "count"),
    ("S1F2 <A [2] 0x0D>", "S1F2 <A 0x0D> .", "count"),
    (
        "S1F2 <L [...] <A [] 'x'> <A [n] 'y'> <A [*] 'z'>>",
        "S1F2 <L <A 'x'> <A 'y'> <A 'z'>> .",
        "count count count count",
    ),
    ("S1F2 <A [MAX 32] 'x'>", "S1F2 <A 'x'> .", "count"),
    ("S1F2 <A [MAX 1] 'xy'>", "S1F2 <A 'xy'> .", "count"),
    ("S1F2 <A [MIN 1] 'xy'>", "S1F2 <A 'xy'> .", "count"),
    ("S1F2 <A [1-3] /**/ 'xy'>", "S1F2 <A 'xy'> .", "count"),
    ("S1F2 <L [2/1] <A>>", "S1F2 <L <A>> .", "count"),
    ("S1F2 <L,2 <A,1 'x'> <U1,1 5>>", "S1F2 <L <A 'x'> <U1 5>> .", "count count count"),
    ("S1F2 <L, 2, <A>, <A>>", "S1F2 <L <A> <A>> .", "comma comma count"),
    ("S1F2 <L 1 <A>>", "S1F2 <L <A>> .", "count"),
    ("S1F2 <L(1) <A(1) 'x'>>", "S1F2 <L <A 'x'>> .", "count count"),
    ("S1F2 <A,0>", "S1F2 <A> .", "count no value"),
    # Text without quotes, which a count proves.
    ("S1F2 <A,4 text>", "S1F2 <A 'text'> .", "bare text"),
    ("S1F2 <A,5 text>", "S1F2 <A 'text'> .", "bare text count"),
    ("S1F2 <L <A,5 text>>", "S1F2 <L <A 'text'>> .", "bare text count"),
    ("S1F2 <ASCII [7] a 100 %> .", "S1F2 <A 'a 100 %'> .", "bare text type"),
    ("S1F2 <A,5 12345>", "S1F2 <A '12345'> .", "bare text"),
    ("S1F2 <A,2 65 66>", "S1F2 <A 65 66> .", "count"),
    ("S1F2 <A,6 text >", "S1F2 <A 'text'> .", "bare text count"),
    ("S1F2 <A,5 text >", "S1F2 <A 'text '> .", "bare text"),
    ("S1F2 <A,9 a /* b */>", "S1F2 <A 'a /* b */'> .", "bare text"),
    # Names.
    ("Are You There:'S1F1' W .", "'Are You There': S1F1 W .", "name"),
    ("'Ask Online': 'S1F17' W .", "'Ask Online': S1F17 W .", ""),
    ('"Go Online"\nS1F17 W .', "'Go Online': S1F17 W .", "name"),
    ("S1F1 W\n'Go'\nS1F17", "S1F1 W . 'Go': S1F17 .", "name"),
    ('“Go Online”\n\n"S1F17" W .', "'Go Online': S1F17 W .", "name quotes"),
    ("Go (on/off) v1.2-b: S1F17 W", "'Go (on/off) v1.2-b': S1F17 W .", "name"),
    ("Time: of day: S2F17 W", "'Time: of day': S2F17 W .", "name"),
    ("'a:b': S1F1", "'a:b': S1F1 .", ""),
    ("Operator's choice: S1F1", '"Operator\'s choice": S1F1 .', "name"),
    ("%1 (go): S1F1", "'%1 (go)': S1F1 .", "name"),
    ("go on /* now */: S1F1", "'go on': S1F1 .", "name"),
    ("'go' on: S1F1", '"\'go\' on": S1F1 .', "name"),
    ("“go” : S1F1", "'go': S1F1 .", "quotes"),
    ("S1F1 Are You There: S1F1 W", "'S1F1 Are You There': S1F1 W .", "name"),
    ("S1F1 W\nW: S1F3 W", "S1F1 W . W: S1F3 W .", ""),
    ("S1F1 INPUT: S1F3", "S1F1 . 'INPUT': S1F3 .", ""),
    ("S1F1 W 'Are You There' .", "'Are You There': S1F1 W .", "name"),
    ("a: S1F1 W = b 'c'", "a: S1F1 W .", "passed over passed over"),
    ("a: S1F1. a: S1F3.", "a: S1F1 . a: S1F3 .", "name"),
    ("Are You There = S1F1 W", "'Are You There': S1F1 W .", "name"),
    ("go=S1F1 W", "go: S1F1 W .", "name"),
    # W.
    ("S3F24 W <B 0> .", "S3F24 <B 0> .", "W"),
    (
        "S1F1 (W) . S1F3 'W'. S1F5 Wait. S1F7 [ w ].",
        "S1F1 W . S1F3 W . S1F5 W . S1F7 W .",
        "W W W W",
    ),
    ("S1F1 <A> W . W S1F3 .", "S1F1 W <A> . S1F3 W .", "W W"),
    ("S1F1 W W", "S1F1 W .", "W"),
    ("W S1F1\nW S1F3\nW S1F5", "S1F1 W . S1F3 W . S1F5 W .", "W W W"),
    ("W S1F1 <A>\nW S1F3 <A>", "S1F1 W <A> . S1F3 W <A> .", "W W"),
    ("S1F2 <A>\nW S1F3", "S1F2 <A> . S1F3 W .", "W"),
    ("S1F2\nW S1F3", "S1F2 . S1F3 W .", "W"),
    # Truth.
    ("S1F2 <BOOLEAN 0x01 0x00 00 0xFF>", "S1F2 <BOOLEAN T F F T> .", "truth truth truth truth"),
    ("S1F2 <BOOLEAN 'TRUE' \"f\">", "S1F2 <BOOLEAN T F> .", "quotes quotes"),
    # Bytes.
    ("S1F2 <B A4>", "S1F2 <B 0xA4> .", "binary"),
    ("S1F2 <B 00 0A 10>", "S1F2 <B 0 10 16> .", "binary"),
    (
        "S1F2 <L <B 0b 1E F> <B 5 007 100 0x80>>",
        "S1F2 <L <B 11 30 15> <B 5 7 100 128>> .",
        "binary",
    ),
    ("S1F2 <B 80 0A4h '5'>", "S1F2 <B 80 164 5> .", "number quotes"),
    ("S1F2 <B 0A 0xFF>", "S1F2 <B 10 255> .", "binary"),
    # Words for types.
    (
        "S1F2 <LIST <ASCII 'a'> <JIS-8 'b'> <JIS8 'c'> <BINARY 1> <BI 2> <BOOL T> <TF F>>",
        "S1F2 <L <A 'a'> <J 'b'> <J 'c'> <B 1> <B 2> <BOOLEAN T> <BOOLEAN F>> .",
        "type type type type type type type",
    ),
    (
        "S1F2 <L <UINT1 1> <UINT2 1> <UI4 1> <uint8 1> <INT1 1> <INT2 1> <INT4 1> <INT8 1>>",
        "S1F2 <L <U1 1> <U2 1> <U4 1> <U8 1> <I1 1> <I2 1> <I4 1> <I8 1>> .",
        "type type type type type type type type",
    ),
    (
        "S1F2 <L <FLOAT4 1> <FLOAT8 2> <FT4 /**/ 3>>",
        "S1F2 <L <F4 1> <F8 2> <F4 3>> .",
        "type type type",
    ),
    # Driver libraries.
    ("* one\nS1F1 W . * two\n#define X 5\n", "S1F1 W .", "comment comment"),
    ("; one\n -- two\nS1F2 <L\n<A> * three\n> .", "S1F2 <L <A>> .", "comment comment comment"),
    ("S1F2 <V> .", "S1F2 <L> .", "no value"),
    (
        "S1F2 = ack OUTPUT <L [1] <A [MAX 32]> = Mdln> .",
        "ack: S1F2 OUTPUT <L <A> = Mdln> .",
        "count name no value",
    ),
    (
        "S1F2 <L = report <A = Mdln> <L [1] = 'more of it' <A>>> = x",
        "S1F2 <L <A> = Mdln <L <A>> = 'more of it'> = report .",
        "name name name passed over",
    ),
    ("S1F2 <L <A = Mdln 'x'> <U1 [1] = y 5>>", "S1F2 <L <A 'x'> = Mdln <U1 5> = y> .", "name name"),
    # Headers.
    ("S1F13W", "S1F13 W .", "header"),
    ("S1F1 W H->E . S1F3 E -> H .", "S1F1 W H->E . S1F3 H<-E .", ""),
    ("S1F1 W H<->E S1F3 e<-h W", "S1F1 W H<->E . S1F3 W H->E .", ""),
    ("<S1F13 W <L [0]>>\n< 'S1F14' <L>> .", "S1F13 W <L> . S1F14 <L> .", "header header"),
    ("S01F01 W", "S1F1 W .", ""),
    (
        "S1 F1 W. S1,F3. 'S1F5 W'. \u2018S1F7\u2019. S1_F9_W",
        "S1F1 W . S1F3 . S1F5 W . S1F7 . S1F9 W .",
        "header header header header header quotes",
    ),
    ("S1F1 W [H->E] (Reply)", "S1F1 W H->E .", "header passed over"),
    ("S1F1 W Input", "S1F1 W INPUT .", ""),
    ("S1F1 INPUT OUTPUT", "S1F1 INPUT .", "passed over"),
    ("S1F1 W: <L>", "S1F1 W <L> .", "header"),
    ("S1F1: <L>", "S1F1 <L> .", "header"),
    ("S1F1, W", "S1F1 W .", "header"),
    ("<S1F1 W Primary>", "S1F1 W .", "header passed over"),
    ("S1F1 Primary <A>", "S1F1 <A> .", "passed over"),
    ("S1F1\nL: S1F3", "S1F1 . L: S1F3 .", ""),
    ("S1F1\nL and so on: S1F3", "S1F1 . 'L and so on': S1F3 .", "name"),
    ("S1F1 W (Are You There) [H] Reply .", "S1F1 W .", "passed over passed over passed over"),
    # Text.
    ("S1F2 <A 'two\nlines'>", "S1F2 <A 'two' 0x0A 'lines'> .", "lines"),
    (
        "S1F2 <A “typo” \u2018graphic\u2019 „text“>",
        "S1F2 <A 'typographictext'> .",
        "quotes quotes quotes",
    ),
    ("S1F2 <A 'a', \"b\">", "S1F2 <A 'ab'> .", "comma"),
    # Numbers.
    ("S1F2 <U4 1, 2 ,3>", "S1F2 <U4 1 2 3> .", "comma"),
    ("S1F2 <U4 100,200>", "S1F2 <U4 100 200> .", "comma"),
    ("S1F2 <U4 [2] 1,000>", "S1F2 <U4 1 0> .", "comma"),
    ("S1F2 <F4 1,2,3> S1F4 <F8 1.5,2.5>", "S1F2 <F4 1 2 3> . S1F4 <F8 1.5 2.5> .", "comma comma"),
    ("S1F2 <F4 [4] 1,5,2,7>", "S1F2 <F4 1 5 2 7> .", "comma"),
    (
        "S1F2 <U4 '5' 0XFF +1 0Ah 5.0 1E3>",
        "S1F2 <U4 5 255 1 10 5 1000> .",
        "number number number quotes",
    ),
    (
        "S1F2 <F4 '1.5E3 -1'> S1F4 <F8 \"nan\">",
        "S1F2 <F4 1500 -1> . S1F4 <F8 nan> .",
        "quotes quotes",
    ),
    # Full stops and line ends.
    (
        "S1F1 W.. S1F3 ; S1F5 ... S1F7",
        "S1F1 W . S1F3 . S1F5 . S1F7 .",
        "full stop full stop full stop",
    ),
    ("S1F1 W // a\rS1F3 // b\r", "S1F1 W . S1F3 .", "line end"),
    ("S1F1 W .\r\n\x1a", "S1F1 W .", "line end"),
    ("\ufeffS1F1\tW\r\nS1F3 W\r\n", "S1F1 W . S1F3 W .", ""),
]  # fmt: skip


def read_all(text: str, **options: object) -> Library:
    library = load(text, **options)  # type: ignore[arg-type]  # as the caller gives them
    assert library.problems == ()
    return library


@pytest.mark.parametrize(("text", "same", "kinds"), ROWS, ids=[row[0] for row in ROWS])
def test_a_dialect_is_read_with_a_note_and_printed_as_the_grammar_has_it(
    text: str, same: str, kinds: str
) -> None:
    library = read_all(text)
    assert list(library.messages) == parse(same)
    assert " ".join(sorted(note.kind for note in library.notes)) == kinds
    printed = "\n".join(map(to_sml, library.messages))
    again = load(printed)
    assert again.messages == library.messages
    assert {note.text for note in again.notes} <= {"another message is called a too"}
    if kinds and kinds != "line end" and "called" not in str(library.notes):
        with pytest.raises(SmlError, match=r"; sml\.load reads it, with a note"):
            parse(text)
    elif kinds != "line end":
        assert parse(text) == list(library.messages)


# The text, and what is wrong with it where.
PROBLEMS: list[tuple[str, int, int, str]] = [
    ("S1F2 <A hello>", 1, 9, "expected an integer, found hello; text needs quotes"),
    ("S1F2 <A,1 5>", 1, 6, "5 may be text or the codes of bytes: text needs quotes"),
    ("S1F2 <A [2] 65>", 1, 6, "65 may be text or the codes of bytes: text needs quotes"),
    ("S1F2 <A,9 'x>", 1, 11, "this string is never closed"),
    ("S1F2 <A,9 abc", 1, 6, "this item is never closed"),
    ("S1F2 <A,9 abc'x'>", 1, 11, "expected an integer, found abc; text needs quotes"),
    ("S1F2 <A,4 größ>", 1, 11, "A character 'ö' (U+00F6) at [2] is not ASCII (0..127)"),
    ("S1F2 <U4,5>", 1, 9, ",5 may be a count without values, or a value: write a count as [1]"),
    ("S1F2 <F4 1,5>", 1, 10, "1,5 may be one number or two: write a point or a blank"),
    ("S1F2 <F4 1,5 2,5>", 1, 10, "1,5 may be one number or two"),
    ("S1F2 <U4 1,000>", 1, 10, "1,000 may be one number or two"),
    ("S1F2 <U4 [1] 1,234>", 1, 14, "1,234 may be one number or two"),
    ("S1F2 <F4 1,5,2,7>", 1, 10, "1,5 may be one number or two"),
    ("S1F2 <U4,2,3>", 1, 9, ",2 may be a count, or a value: write a count as [1]"),
    ("S1F2 <A,5 hello /* c */>", 1, 6, "hello /* c */ may be text, or text and a comment: text"),
    ("S1F2 <A,9 abc <A,1 x>", 1, 15, "expected a value or >, found <"),
    ("S1F1 Wait: false .", 1, 12, "false behind S1F1 may be said of its W: write W or nothing"),
    ("S1F1 wait=false .", 1, 11, "false behind S1F1 may be said of its W"),
    ("S1F1 No W .", 1, 6, "No behind S1F1 may be said of its W"),
    ("S1F1 W without .", 1, 8, "without behind S1F1 may be said of its W"),
    ("S1F2 <U4 1.5>", 1, 10, "expected an integer, found 1.5"),
    ("S1F2 <U4 1e99>", 1, 10, "expected an integer, found 1e99"),
    ("S1F2 <U4 1.2.3>", 1, 10, "expected an integer, found 1.2"),
    ("S1F2 <U4 '1..2'>", 1, 10, "expected an integer, found 1..2"),
    ("S1F2 <U1 FF>", 1, 10, "expected an integer, found FF"),
    ("S1F2 <U1 300>", 1, 10, "U1 value 300 is not in 0..255"),
    ("S1F2 <BOOLEAN 'x'>", 1, 15, "expected T or F, found x"),
    ("S1F2 <BOOLEAN 256>", 1, 15, "expected T or F, found 256"),
    ("S1F2 <BOOLEAN 1.5>", 1, 15, "expected an integer, found 1.5"),
    (
        "S1F2 <B A4 100>",
        1,
        12,
        "other bytes of this item are hexadecimal, and 100 is no byte in he",
    ),
    ("S1F2 <B 80>. S1F4 <B A4>.", 1, 9, "80 is 80 in decimal and 128 in hexadecimal, which other"),
    ("S1F2 <V 5>", 1, 9, "expected nothing or >, found 5"),
    ("S1F2 <Q>", 1, 7, "expected an item type (L, A, U4, ...), found Q"),
    ("S1F2 L <A>", 1, 6, "expected <, found L"),
    ("S1F2\nL <A>", 2, 1, "expected <, found L"),
    ("S1F13 W\nL [2]\n <A 'x'>\n <A 'y'> .", 2, 1, "expected <, found L"),
    ("S1F4 Host Command Send\nS1F6\n<L>", 1, 6, "Host behind S1F4, and no item or full stop: a"),
    ("S1F4: Are You There\nS1F6 .", 1, 7, "Are behind S1F4, and no item or full stop: a"),
    ("S1F2 = 5", 1, 8, "expected a name, found 5"),
    ("S1F2 <L <A> = 5>", 1, 15, "expected a name, found 5"),
    ("S1F2 <A> <A>", 1, 10, "expected the end of S1F2, found <"),
    ("S1F2 . <A>", 1, 8, "expected the end of S1F2, found <"),
    ("S1F2 <A>> .", 1, 9, "expected the end of S1F2, found >"),
    ("S1F2 5", 1, 6, "expected the end of S1F2, found 5"),
    ("S1F1 H->H", 1, 8, "expected the end of S1F1, found >"),
    ("S1F2 % <A>", 1, 6, "unexpected '%'"),
    ("<S1F2 <A> .", 1, 11, "expected > at the end of S1F2, found ."),
    ("S1F2 <L <S1F2>>", 1, 9, "expected an item or >, found <"),
    ("S128F1 W", 1, 1, "S128F1 is not in S0F0..S127F255"),
    ("S1 F256", 1, 1, "S1 F256 is not in S0F0..S127F255"),
    ("garbage", 1, 1, "expected a message like S1F13, found garbage"),
    ("\x00\x00\x00", 1, 1, "unexpected '\\x00': in UTF-16, a file"),
    ("<A 'x'>", 1, 1, "expected a message like S1F13, found <"),
    ("It's \"so\": S1F1", 1, 1, "a name is in one line, with one kind of quotes"),
    ("S1F2 <A 'x\\'y'>", 1, 14, "this string is never closed (escapes=True reads \\\")"),
    ("S1F2 <A 'x>\n<A 'y'>", 1, 9, "this string is not closed on its line, and what is before the"),
    ("S1F2 /* x", 1, 6, "this comment is never closed"),
    ("S1F2 <L <A> ...>", 1, 13, "expected an item or >, found ..."),
    ("S1F2 " + "<L " * 65, 1, 198, "lists are nested more than 64 deep"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "problem"), PROBLEMS)
def test_what_has_two_meanings_or_none_is_a_problem_and_the_others_are_read(
    text: str, line: int, column: int, problem: str
) -> None:
    alone = load(text)
    [error] = alone.problems
    assert (error.line, error.column) == (line, column)
    assert error.problem.startswith(problem)
    with pytest.raises(SmlError) as raised:
        parse(text)
    assert "sml.load" not in raised.value.problem
    around = load(f"first: S9F1 <B 0x01> .\n{text}\nlast: S9F3 <B 0x02> .\n")
    assert parse_one("first: S9F1 <B 1> .") in around.messages
    assert parse_one("last: S9F3 <B 2> .") in around.messages
    assert {m.stream for m in around.messages} <= {9, 1}
    assert around.problems != ()


def test_every_kind_of_note_is_in_a_row() -> None:
    kinds = {note.kind for text, _, _ in ROWS for note in load(text).notes} | {"escape"}
    assert kinds == set(get_args(NoteKind))


def test_a_problem_hides_no_message_around_it_and_makes_none() -> None:
    text = """\
one: S1F1 W .
S1F2 <U1 300> . S1F3 W .
S1F2 <L <A 'x'>
Are You There: S1F5 W .
S1F2 <A 'x'
"Label"
S1F7 W
<L>
S1F2 <A x /* S9F9 . */ "
S9F9 in no comment: S1F9
S1F2 <A 5 'S9F9' % . // . S9F9
 # S9F9
 'S1F11' W .
S1F2 <U1 300> ; <S1F13>
S1F2 <U1 x S9F9>
S1F15
S1F2 <A
\u201cIn typographic quotes\u201d
S1F17
S1F2 <U1 300>S1F19 W . S1F21
S1F2 <A 'y'
Go /* now */ on: S1F23
"""
    library = load(text)
    assert [(m.name, m.stream, m.function) for m in library.messages] == [
        ("one", 1, 1),
        (None, 1, 3),
        ("Are You There", 1, 5),
        ("Label", 1, 7),
        ("S9F9 in no comment", 1, 9),
        (None, 1, 11),
        (None, 1, 13),
        (None, 1, 15),
        ("In typographic quotes", 1, 17),
        (None, 1, 19),
        (None, 1, 21),
        ("Go  on", 1, 23),
    ]
    # What was read twice is told once.
    assert library.counts == {"quotes": 1, "name": 5, "header": 1}
    assert library.comments == 2
    assert [error.line for error in library.problems] == [2, 4, 7, 9, 11, 14, 15, 19, 20, 22]


def functions(text: str) -> list[int]:
    return [message.function for message in load(text).messages]


@pytest.mark.parametrize("name", dialects.FILES)
def test_one_character_too_few_or_too_many_loses_two_messages_at_most(name: str) -> None:
    text = dialects.FILES[name]
    whole = functions(text)
    assert whole == [1, 3, 5, 7, 9]
    for place in range(len(text) + 1):
        behind = text[place:]
        for changed in (behind[1:], *(odd + behind for odd in "'\"<>")):
            library = load(text[:place] + changed)
            found = {message.function for message in library.messages}
            assert len(found.intersection(whole)) >= 3, text[:place] + changed


def test_a_quote_too_many_or_too_few_is_a_problem_of_its_message() -> None:
    assert functions("'S1F2' <A 'don't'> .\n'S1F3' W <A 'z'>.\n'S1F5' W .") == [3, 5]
    # Two of them make no text of what is between.
    assert functions("One: S1F1 W <A 'x> .\nTwo: S1F3 W <A y'> .") == []
    assert functions("S1F1 W <A 'x>\n;\nS1F3 W <A y'> .\nS1F5 .") == [5]
    assert functions("S1F1 W <A 'x\nGo on: S1F3 W <A y'> .\nS1F5 .") == [5]
    # What was read twice is not read a third time.
    again = "S1F1 <L <A 'a\n. S1F3 <L <A 'b'\nc'> % .\nS1F5 W ."
    assert functions(again)[-1:] == [5]


@pytest.mark.parametrize(
    "following", ["'S1F3' W .", "S1F3W .", "S1 F3 W .", "\"Go\"\n'S1F3' W .", "Go on: 'S1F3' W ."]
)
def test_a_leaf_that_is_not_closed_takes_no_message_with_it(following: str) -> None:
    assert functions(f"S1F2 <A 'x'\n{following}\nS1F5 W .") == [3, 5]
    # Where it is closed, it is text.
    assert functions("S1F2 <A\n'S1F3'\n> .") == [2]


@pytest.mark.parametrize(
    "following",
    [
        "W S1F3 .",
        "/* 1 */ S1F3 W .",
        "/* 1 */ /* 2 */ 'S1F3' W .",
        "/* 1\n */ Go: S1F3 W .",
        "\xa0S1F3 W .",
        "\fS1F3 W .",
        "\ufeff\u3000Go on: S1F3 W .",
    ],
)
def test_after_a_problem_a_message_is_found_in_any_spelling(following: str) -> None:
    assert functions(f"S1F1 % .\n{following}\nS1F5 .") == [3, 5]
    # No message begins behind a comment within a line.
    assert functions("S1F1 % /* a */ S1F3 .\n /* b */ %\nS1F5 .") == [5]


@pytest.mark.parametrize("end", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_comment_ends_with_its_line_whatever_ends_it(end: str) -> None:
    text = f"// library{end}S1F1 W .{end}# two{end}S1F3 W .{end}* three{end}S1F5 W .\n"
    library = read_all(text)
    assert [message.function for message in library.messages] == [1, 3, 5]
    assert library.counts == {"line end": 1, "comment": 1}
    assert [note.line for note in library.notes] == [1, 5]
    [problem] = load(f"S1F1 W .{end}S1F2 %{end}S1F3 .\n").problems
    assert (problem.line, problem.column) == (2, 6)
    # In a string it is a character, as for the strict reader.
    strict = f"S1F2 <A 'a{end}b'> .\n"
    if end.isascii():
        assert list(read_all(strict).messages) == parse(strict)


def test_bytes_that_may_be_hexadecimal_are_read_as_the_caller_says() -> None:
    text = "S1F2 <B 80 5 100>.\nS1F4 <B A4 10>.\nS1F6 <B 10>.\nS1F8 <B 0x10 9>."
    unsaid = load(text)
    assert [m.function for m in unsaid.messages] == [4, 8]
    assert [error.line for error in unsaid.problems] == [1, 3]
    assert all("binary='decimal'" in error.problem for error in unsaid.problems)
    for binary, first, third in (("hex", "128 5 100", "16"), ("decimal", "80 5 100", "10")):
        library = read_all(text, binary=binary)
        assert list(library.messages) == parse(
            f"S1F2 <B {first}>. S1F4 <B 164 16>. S1F6 <B {third}>. S1F8 <B 16 9>."
        )
    # Two digits each, and a zero before one: so bytes are written in hexadecimal.
    padded = "S1F2 <B [3] 00 81 01>."
    [problem] = load(padded).problems
    assert problem.problem.startswith("81 is 81 in decimal and 129 in hexadecimal, and a byte")
    assert read_all(padded, binary="hex").messages == (parse_one("S1F2 <B 0 129 1>"),)
    assert read_all(padded, binary="decimal").messages == (parse_one("S1F2 <B 0 81 1>"),)
    assert read_all("S1F2 <B 00 81 100>.").messages == (parse_one("S1F2 <B 0 81 100>"),)
    assert read_all("S1F2 <B 00 01>.").messages == (parse_one("S1F2 <B 0 1>"),)
    # Nothing else in the file is hexadecimal: it is as the grammar has it.
    assert read_all("S1F6 <B 10>.").messages == read_all("S1F6 <B 0x0A>.").messages


def test_escapes_are_read_only_when_that_is_said() -> None:
    text = r"""'a\'b': S1F2 <A "say \"x\" \\ \n\r\t\0\x41\'"> ."""
    library = read_all(text, escapes=True)
    assert list(library.messages) == parse(
        '"a\'b": S1F2 <A "say " 0x22 "x" 0x22 " \\ " 0x0A 0x0D 0x09 0x00 "A\'"> .'
    )
    assert library.counts == {"escape": 2}
    assert load(text).messages == ()
    # Without it, a backslash is one.
    assert read_all(r"S1F2 <A 'C:\new'>").messages == (parse_one(r"S1F2 <A 'C:\new'>"),)
    [problem] = load(r"S1F2 <A 'C:\new\q'>", escapes=True).problems
    assert (problem.problem, problem.column) == (r"the escape \q is unknown", 16)
    [problem] = load(r"S1F2 <A 'x\012'>", escapes=True).problems
    assert problem.problem == r"the escape \012 is unknown"
    lines = read_all('S1F2 <A "a\\"\nb">', escapes=True)
    assert lines.messages == (parse_one("S1F2 <A 'a\"' 0x0A 'b'>"),)
    assert lines.counts == {"escape": 1, "lines": 1}


def test_an_escape_beyond_ascii_is_a_byte_in_any_encoding() -> None:
    text = r"S1F2 <A '\xB0\xa1x\\xB0\x41é\n'> ."
    library = read_all(text, escapes=True, text_encoding="gbk")
    assert library.messages[0].item == A(b"\xb0\xa1x\\xB0A\xa8\xa6\n")
    assert read_all(r"S1F2 <C '\xC3\xA9'>", escapes=True).messages[0].item == C("é")


def test_a_count_of_text_without_quotes_is_in_bytes() -> None:
    library = read_all("S1F2 <A,2 温> . S1F4 <A,1 温> .", text_encoding="gbk")
    assert [message.item for message in library.messages] == [A(b"\xce\xc2")] * 2
    assert [note.text for note in library.notes if note.kind == "count"] == [
        "the count is 1, but 2 follow"
    ]


def test_a_library_is_a_mapping_of_the_messages_with_a_name() -> None:
    library = load("a: S1F1 W . S1F2 <A> . 'b c': S1F3 . a: S1F5 .\n%")
    assert list(library) == ["a", "b c"]
    assert len(library) == 2
    assert library["a"] == Statement("a", 1, 1, True, None)
    assert library["b c"].function == 3
    assert "d" not in library
    with pytest.raises(KeyError):
        library["d"]
    assert [m.function for m in library.messages] == [1, 2, 3, 5]
    assert str(library.notes[0]) == (
        "line 1, column 35: name: another message is called a too\n"
        "  a: S1F1 W . S1F2 <A> . 'b c': S1F3 . a: S1F5 .\n"
        "                                       ^"
    ).replace("column 35", "column 38")
    assert str(library.problems[0]) == "line 2, column 1: unexpected '%'\n  %\n  ^"


def test_items_alone_and_answers_have_no_names() -> None:
    with pytest.raises(SmlError, match="expected an item or >, found ="):
        parse_item("<L <A> = x>")
    assert parse_one("S1F2 <L <A> = x <L <A> <A> = y> = z> = all").names == (
        ((0,), "x"),
        ((1, 1), "y"),
        ((1,), "z"),
        ((), "all"),
    )


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a'b\"c"])
def test_a_name_that_cannot_be_written_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name is in one line, with one kind of quotes"):
        to_sml(Statement(name, 1, 1, False, None))


# The page


def page_rows(title: str) -> list[list[str]]:
    page = (Path(__file__).parent.parent / "docs" / "sml.md").read_text(encoding="utf-8")
    table = page.partition(f"\n## {title}\n")[2].partition("|---|")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[1:]]


def in_code(cell: str) -> str:
    return cell[cell.index("`") + 1 : -1].replace(" \u21b5 ", "\n").replace("\u21b5", "\n")


def test_the_table_of_the_page_is_true() -> None:
    for what, example, strict, result, kinds in page_rows("Dialects"):
        text = in_code(example)
        escapes = "escapes" in what
        library = read_all(text, escapes=escapes)
        same = text if result == "the same" else in_code(result.replace("`escapes=True`", ""))
        assert list(library.messages) == parse(same), what
        assert sorted(library.counts) == sorted(filter(None, kinds.split(", "))), what
        try:
            parse(text)
        except SmlError:
            assert strict == "no", what
        else:
            assert strict == "yes", what


def test_what_the_page_leaves_out_is_a_problem() -> None:
    for example, _ in page_rows("What is left out"):
        assert len(load(in_code(example)).problems) == 1, example


# Files


def test_the_text_of_a_file_has_an_encoding_of_its_own(tmp_path: Path) -> None:
    """What the file is written in is one thing, what its messages have another."""
    file = tmp_path / "tool.sml"
    file.write_text(
        "S1F2 <A '温'> .\nS1F4 <ASCII[9] '温' 0x0A> .\nS1F6 <A 'x'> .", encoding="utf-16"
    )
    library = load_file(file, text_encoding="gbk")
    assert [each.item for each in library.messages] == [
        A(b"\xce\xc2"),
        A(b"\xce\xc2\n"),
        A("x"),
    ]
    assert not library.problems
    assert load("S1F2 <A '温'> .", text_encoding="gbk").messages == library.messages[:1]
    assert [each.line for each in load_file(file).problems] == [1, 2]
    with pytest.raises(ValueError, match="utf-16"):
        load("S1F1", text_encoding="utf-16")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_a_byte_order_mark_wins_over_the_encoding(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "a.sml"
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    file.write_bytes(f"{mark}S1F2 <C 'größe'> .".encode(encoding))
    library = load_file(file, encoding="utf-8")
    assert library.problems == ()
    assert library.messages == (parse_one("S1F2 <C 'größe'> ."),)


def test_a_file_that_is_not_in_its_encoding_says_at_which_byte(tmp_path: Path) -> None:
    file = tmp_path / "a.sml"
    file.write_bytes("S1F1 W .\nS1F2 <C 'größe'> . // größe\nS1F3 W .".encode("latin-1"))
    library = load_file(file)
    assert [m.function for m in library.messages] == [1, 3]
    # The problem of the file explains the others, and is the first one.
    byte, text = library.problems
    assert (text.line, text.column) == (2, 9)
    assert (byte.line, byte.column) == (2, 12)
    assert (
        byte.problem == "byte 20 (0xF6) is no utf-8: invalid start byte; say which encoding it is"
    )
    whole = load_file(file, encoding="latin-1")
    assert whole.problems == ()
    assert whole.messages[1] == parse_one("S1F2 <C 'größe'>")
    with pytest.raises(LookupError):
        load_file(file, encoding="no such")


@pytest.mark.parametrize("text", ["größe: S1F1 W .", "'größe'\nS1F1 W", "S1F1 = 'größe'"])
def test_no_name_holds_what_could_not_be_read(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.sml"
    file.write_bytes(text.encode("latin-1"))
    assert list(load_file(file)) == []
    assert load_file(file, encoding="latin-1")["größe"].function == 1


def test_a_file_in_utf_16_without_its_mark_says_so_at_once(tmp_path: Path) -> None:
    file = tmp_path / "a.sml"
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        file.write_bytes("S1F1 W .\nS1F3 W .\n".encode(encoding))
        [problem] = load_file(file).problems
        assert problem.problem.startswith("unexpected '\\x00': in UTF-16, a file")
        assert len(load_file(file, encoding=encoding).messages) == 2
    # In a name, it is a character.
    assert list(load("'a\0': S1F1 W .\nS1F2 %")) == ["a\0"]


def test_the_problem_of_a_file_counts_among_the_most(tmp_path: Path) -> None:
    file = tmp_path / "a.sml"
    file.write_bytes(b"S1F2 %\n" * MOST_PROBLEMS + b"// \xff")
    problems = load_file(file).problems
    assert len(problems) == MOST_PROBLEMS
    assert problems[0].problem.startswith("byte ")
    assert problems[-1].problem.startswith("1000 problems: ")


def test_what_a_byte_may_be_is_one_of_two_words() -> None:
    with pytest.raises(ValueError, match="binary is 'decimal', 'hex' or None, not 'Hex'"):
        load("S1F1", binary="Hex")  # type: ignore[arg-type]  # as a caller without types gives it


def test_a_library_can_be_pickled_and_copied() -> None:
    library = load("a: S1F13W\n// b\nS1F2 %")
    for other in (pickle.loads(pickle.dumps(library)), copy.deepcopy(library)):
        assert (other.messages, other.notes, other.counts, other.comments) == (
            library.messages,
            library.notes,
            library.counts,
            1,
        )
        assert list(map(str, other.problems)) == list(map(str, library.problems))
        assert other["a"] == library["a"]
        assert isinstance(other.counts, MappingProxyType)


def test_a_file_that_ends_in_the_middle_of_a_character_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.sml"
    file.write_bytes("S1F1 W .\n".encode("utf-16") + b"S")
    library = load_file(file)
    assert [m.function for m in library.messages] == [1]
    assert len(library.problems) == 2


PIECES = [
    "S1F1", " S1F2", "'S1F3'", '"b c"', "a", ":", " W", " H->E", " INPUT", " = ", "<", ">", "L",
    "A", "U4", "B", "BOOLEAN", " [1]", " [0..]", " 'x'", " 1", " 80", " 0x1", " T", " .", "\n",
    "/**/", "//\n", "<A 'x'>", "<L <U4 1> <B 10>>", " ",
]  # fmt: skip

# Bounds

HOSTILE = {
    "unclosed comments": "S1F1 /* x\n",
    "comments in a comment": "/*",
    "unclosed strings": "S1F1 <A 'x\n",
    "quotes": "'\"\n",
    "unclosed lists": "S1F1 <L ",
    "lists alone": "<L ",
    "lists in lines": "S1F1\n<L\n",
    "names": "Are You There (or not): ",
    "names in lines": "Are you there\n",
    "labels": '"x"\n',
    "stops": ".S1F1 ?",
    "blanks": "S1F1 ?          ",
    "line ends": "S1F1 ?\n\n\n\n\n",
    "NUL": "\x00",
    "counts": "S1F1 <A [",
    "bare text": "S1F1 <A,5 x ",
    "stars": "*",
    "semicolons": " ;",
    "notes": "S1F13W\n",
    "messages with semicolons": "S1F1;",
    "long counts": "<A,999999 x>",
    "bare text in a line": ". S1F2 <A,5 x ",
    "words behind a header": "(a) ",
    "comments behind line ends": "//\r",
    "text over lines": "S1F1 <L <A 'a\n. S1F3 <L <A 'b'\nc'> ",
}


BEFORE = {"long counts": "S1F1 <L ", "words behind a header": "S1F1 "}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("escapes", [False, True])
def test_bad_text_takes_time_in_proportion_and_is_told_up_to_a_bound(
    name: str, escapes: bool
) -> None:
    piece = HOSTILE[name]
    # Long enough that anything quadratic would take minutes.
    library = load(BEFORE.get(name, "") + piece * (1_000_000 // len(piece)), escapes=escapes)
    assert len(library.problems) <= MOST_PROBLEMS
    assert len(library.notes) <= MOST_NOTES
    assert all(len(error.source) < 100 for error in library.problems)


@pytest.mark.parametrize(
    "before", ["S1", "S1,", "S1F", "S1F3", "a: S1", "<S1", ". S1", "W", "'x'", "'x' :"]
)
def test_one_long_run_of_blanks_is_read_once(before: str) -> None:
    library = load(f"S1F1 % .\n{before}{' ' * 1_000_000}x")
    assert [message.function for message in library.messages] in ([], [3])


def test_ten_thousand_unclosed_lists_are_problems_with_places() -> None:
    library = load("S1F1 <L\n" * 10_000)
    assert len(library.problems) == MOST_PROBLEMS
    *told, last = library.problems
    assert [error.line for error in told] == list(range(2, MOST_PROBLEMS + 1))
    assert last.problem == ("1000 problems: what is behind this one is not told, or not read")


def test_notes_are_kept_up_to_a_bound_and_all_are_counted() -> None:
    library = load("S1F13W\n" * (MOST_NOTES + 5))
    assert len(library.notes) == MOST_NOTES
    assert library.counts == {"header": MOST_NOTES + 5}
    assert library.notes[-1].line == MOST_NOTES


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("S1F1 <A 'x>\n" * 500_000, 3),
        # Values with commas are not kept as tokens: that would be eighty times the text.
        (f"S1F2 <U1 {'1, ' * 100_000}1>", 40),
    ],
)
def test_a_text_takes_memory_in_proportion(text: str, most: int) -> None:
    tracemalloc.start()
    try:
        load(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most * len(text)


# Any text, any dialect


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_what_the_strict_reader_reads_the_lenient_one_reads_as_the_same(text: str) -> None:
    try:
        strict = parse(text)
    except SmlError:
        return
    library = load(text)
    assert list(library.messages) == strict
    assert library.problems == ()
    assert {note.text for note in library.notes} <= {"another message is called a too"}


@st.composite
def strict_texts(draw: st.DrawFn) -> str:
    """Messages as the grammar has them, with names that are something else elsewhere."""
    pieces = []
    for _ in range(draw(st.integers(1, 4))):
        name = st.sampled_from(
            [
                "a",
                "W",
                "w",
                "Wait",
                "No",
                "INPUT",
                "l",
                "U4",
                "V",
                "S1F3",
                "S1F3W",
                "S1-F3",
                "W-1",
                "'S1F3'",
                "'Go Online'",
                '"W S1F1"',
                "'W'",
                "'a: S1F9'",
                '"="',
            ]
        )
        if draw(st.booleans()):
            pieces += [draw(name), ":"]
        pieces.append(draw(st.sampled_from(["S1F1", "'S1F2'", '"s2f17"', "S1F3"])))
        pieces += draw(st.lists(st.sampled_from(["W", "[W]", "H->E", "INPUT"]), max_size=2))
        item = st.sampled_from(
            [
                "<A 'x'>",
                "<A [1] 5>",
                "<A [2] 65 66>",
                "<A 'S1F3'>",
                "<L <B 0x80> <A> = W>",
                "<U4>",
                "<A 'a' 'S1F3' 0x41>",
                "<F4 1.5 2>",
                "<BOOLEAN T F>",
                "<C 13 'x'>",
                "<B 80 5>",
            ]
        )
        if draw(st.booleans()):
            pieces.append(draw(item))
            if draw(st.booleans()):
                pieces += ["=", draw(name)]
        pieces += draw(st.sampled_from([[], ["."]]))
    gap = st.sampled_from([" ", "\n", " /* c */ ", "\n// S1F9 :\n", " # : S1F9\n", "\t\n "])
    return "".join(f"{piece}{draw(gap)}" for piece in pieces)


@given(strict_texts())
@with_example('S1F1 "Go Online": S1F17 W .')
@with_example("S1F1 l : /* c */ S1F3")
@with_example("S1F1 U4 /* c */ : S1F2 .")
@with_example("S1F1 W /* c */ : S1F2 .")
@with_example("S1F2 <A [1] 5>")
@with_example("S1F1 S1F3 # a: S1F9\n")
@with_example("S1F1 /* a: S1F9 */ S1F3")
@with_example("S1F1 S1F3 // a: S1F9")
@with_example("S1F1 S1F1 S1F1 a : S1F1")
@with_example("S1F1 'W' : S1F1")
@with_example("S1F1 Wait : S1F1")
def test_any_message_of_the_grammar_is_read_by_both_as_the_same(text: str) -> None:
    try:
        strict = parse(text)
    except SmlError:
        return
    library = load(text)
    assert [error.problem for error in library.problems] == []
    assert list(library.messages) == strict


@st.composite
def texts(draw: st.DrawFn) -> tuple[dialects.Dialect, list[Statement], str]:
    dialect = draw(dialects.dialects)
    writer = dialects.Writer(draw, dialect)
    messages = draw(st.lists(dialects.statements(), max_size=4))
    return dialect, messages, "".join(map(writer.statement, messages))


@given(texts())
def test_any_messages_in_any_dialect_are_read_and_printed_back(
    given_text: tuple[dialects.Dialect, list[Statement], str],
) -> None:
    dialect, messages, text = given_text
    library = load(text, binary="hex" if dialect.hexadecimal else None, escapes=dialect.escapes)
    assert [error.problem for error in library.problems] == []
    assert list(library.messages) == messages
    assert parse("\n".join(map(to_sml, messages))) == messages


@given(texts(), st.integers(0, 200), st.text(max_size=3))
def test_a_fault_anywhere_is_no_exception(
    given_text: tuple[dialects.Dialect, list[Statement], str], place: int, odd: str
) -> None:
    dialect, _, text = given_text
    library = load(text[:place] + odd + text[place + 1 :], escapes=dialect.escapes)
    printed = "\n".join(map(to_sml, library.messages))
    assert parse(printed) == list(library.messages)
    assert list(map(str, (*library.problems, *library.notes))) is not None


@given(st.lists(dialects.statements(), max_size=4))
def test_the_form_of_this_package_is_read_without_a_note(messages: list[Statement]) -> None:
    text = "\n".join(map(to_sml, messages))
    library = load(text)
    assert list(library.messages) == messages == parse(text)
    assert {note.text.split(" is called ")[0] for note in library.notes} <= {"another message"}

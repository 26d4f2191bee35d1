"""A pattern matches what it says, binds what stands in its holes, and says where a message differs.

The meaning of lists with ellipses is compared with a matcher that tries all ways (``ways``).
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hsms_engine import Message, sml
from hsms_engine.secs2 import F4, F8, I2, U1, U4, A, B, C, Item, J, L
from hsms_engine.sml import (
    SmlError,
    Statement,
    fill,
    parse,
    parse_item,
    parse_item_template,
    parse_one,
    parse_pattern,
    parse_template,
    parse_templates,
    to_sml,
    uses,
)
from hsms_engine.sml.nodes import OpenList
from tests.support.cuts import cuts
from tests.support.items import items, statements
from tests.support.patience import PATIENCE

START = 'S2F41 W <L [2] <A "START"> <L [2] <L <A "PPID"> <A "x"> > <L <A "N"> <U4 7>>>>'


def matched(pattern: str, body: str, known: Mapping[str, Item] | None = None) -> dict[str, str]:
    """What the names stand for, as SML in one line. Fails when it does not match."""
    message = Message.parse(f"S1F1 W {body}")
    found = parse_pattern(f"S1F1 {pattern}").match(message, known or {})
    assert found is not None, f"{pattern} does not match {body}"
    return {name: _flat(item) for name, item in found.items()}


def _flat(item: Item) -> str:
    return re.sub(r"\s+", " ", to_sml(item))


def differs(pattern: str, body: str) -> str:
    """The difference in one line."""
    message = Message.parse(f"S1F1 W {body}")
    compiled = parse_pattern(f"S1F1 {pattern}")
    assert compiled.match(message) is None
    return str(compiled.difference(message))


@pytest.mark.parametrize(
    ("pattern", "bound"),
    [
        ("S2F41", {}),
        ("'s2f41' [W] .", {}),
        ("S2F41 W _ .", {}),
        ("S2F41 $body", {"body": Message.parse(START).item}),
        ('S2F41 <L "START" _>', {}),
        ("S2F41 <L <A $rcmd> _>", {"rcmd": A("START")}),
        ("S2F41 <L [2] _ <L _ <L [2] 'N' <U $n>>>>", {"n": U4(7)}),
        ("S2F41 <L _ <L <L $names _> ...>>", {"names": L("PPID", "N")}),
        ("S2F41 <L _ <L _ ... <L 'PPID' $ppid> _ ...>>", {"ppid": A("x")}),
        ("S2F41 <L <A [1..8] $_> <L [1..] _ ...>> // a comment", {"_": A("START")}),
    ],
)
def test_a_message_matches(pattern: str, bound: dict[str, Item]) -> None:
    compiled = parse_pattern(pattern)
    assert compiled.match(Message.parse(START)) == bound
    assert compiled.difference(Message.parse(START)) is None
    assert compiled.never() is None
    assert compiled.names == tuple(bound)


def test_w_is_asked_for_only_where_it_is_written() -> None:
    with_w, without = Message(1, 1, True), Message(1, 1)
    assert parse_pattern("S1F1").match(with_w) == parse_pattern("S1F1").match(without) == {}
    assert parse_pattern("S1F1 W").match(with_w) == {}
    assert parse_pattern("S1F1 W").match(without) is None
    assert str(parse_pattern("S1F1 W").difference(without)) == (
        "message: expected S1F1 W, found S1F1"
    )
    assert str(parse_pattern("S1F1").difference(Message(1, 3, True))) == (
        "message: expected S1F1, found S1F3"
    )


def test_a_header_alone_matches_any_body_and_a_body_asks_for_one() -> None:
    unreadable = Message(1, 1, body=b"\x41\x05x")
    several = Message(1, 1, body=b"\xb1\x00\xb1\x00")
    none = Message(1, 1)
    header, body = parse_pattern("S1F1"), parse_pattern("S1F1 _")
    for message in (unreadable, several, none):
        assert header.match(message) == {}
        assert header.difference(message) is None
        assert body.match(message) is None
    assert str(body.difference(none)) == "message: expected _, found no item"
    assert str(body.difference(unreadable)).startswith(
        "message: expected _, found a body that is not SECS-II: "
    )
    assert body.difference(several) is not None


@pytest.mark.parametrize(
    ("pattern", "bodies", "others"),
    [
        ("<A _>", ["<A>", "<A 'x'>"], ["<J 'x'>", "<L>", "<U1 1>"]),
        ("<A [1..2] _>", ["<A 'x'>", "<A 'xy'>"], ["<A>", "<A 'xyz'>"]),
        ("<U4 [..2] _>", ["<U4>", "<U4 1 2>"], ["<U4 1 2 3>"]),
        ("<U4 [1] _>", ["<U4 1>"], ["<U4>", "<U4 1 2>", "<U8 1>"]),
        ("<BOOL _>", ["<BOOLEAN T>", "<BOOLEAN>"], ["<U1 1>"]),
        ("<boolean _>", ["<BOOLEAN T>"], ["<U1 1>"]),
        ("<U _>", ["<U1 1>", "<U2>", "<U4 1 2>", "<U8 1>"], ["<I1 1>", "<F4 1>", "<B 1>"]),
        ("<I _>", ["<I1 1>", "<I8 -1>"], ["<U1 1>"]),
        ("<F _>", ["<F4 1>", "<F8 1>"], ["<U1 1>"]),
        ("<U 7>", ["<U1 7>", "<U8 7>"], ["<I1 7>", "<U1 8>", "<U1 7 7>", "<F4 7>"]),
        ("<I [1] -1>", ["<I2 -1>"], ["<I2 1>"]),
        ("<F 0.1>", ["<F4 0.1>", "<F8 0.1>"], ["<F8 0.10000000149011612>", "<U1 0>"]),
        ("7", ["<U1 7>", "<I8 7>", "<F4 7>", "<B 7>"], ["<U1 8>", "<U1 7 7>", "<A 7>", "<L>"]),
        ("0x10", ["<U1 16>", "<B 0x10>"], ["<B>", "<B 16 16>"]),
        ("1", ["<U1 1>"], ["<BOOLEAN T>"]),
        ("-1", ["<I1 -1>", "<F8 -1>"], ["<U1 255>", "<B 255>"]),
        ("7.0", ["<U1 7>", "<F4 7>"], ["<U1 8>"]),
        ("1.5", ["<F4 1.5>", "<F8 1.5>"], ["<U1 1>", "<F4 1.25>"]),
        ("0", ["<F4 0>", "<F4 -0.0>", "<B 0>"], ["<F4 nan>"]),
        ("300", ["<U2 300>"], ["<B 44>", "<U1 44>"]),
        ("1e300", ["<F8 1e300>"], ["<F4 inf>"]),
        ("'x'", ["<A 'x'>", "<J 'x'>", "<C 'x'>", "<C 4 'x'>"], ["<A 'X'>", "<B 120>", "<L>"]),
        ("'größe'", ["<C 'größe'>"], ["<C 'x'>", "<A 0xF6>", "<C 2 0xFF>", "<C 7 0x78>"]),
        ('"it\'s"', ["<A \"it's\">"], ["<A 'its'>"]),
        ("<A 'two' 0x0A>", ["<A 'two' 0x0A>"], ["<A 'two'>", "<J 'two' 0x0A>"]),
        ("<U4 [2] 1 2>", ["<U4 1 2>"], ["<U4 2 1>"]),
        ("<A>", ["<A>"], ["<A 'x'>", "<L>"]),
        ("<F4 nan>", ["<F4 nan>"], ["<F8 nan>"]),
        ("<L>", ["<L>"], ["<L <A>>", "<A>"]),
        ("<L _>", ["<L>", "<L <A>>", "<L <A> <B>>"], ["<A>"]),
        ("<L [1] _>", ["<L <A>>"], ["<L>", "<L <A> <B>>"]),
        ("<L <L _>>", ["<L <L>>", "<L <L <A> <B>>>"], ["<L>", "<L <A>>"]),
        ("<L [1..2] _ ...>", ["<L <A>>", "<L <A> <A>>"], ["<L>", "<L <A> <A> <A>>", "<A>"]),
        ("<L <U1 _> ...>", ["<L>", "<L <U1 1> <U1 2>>"], ["<L <U1 1> <A> <U1 2>>"]),
        ("<L 1 _ ... 2>", ["<L <B 1> <B 2>>", "<L <B 1> <A> <B 2>>"], ["<L <B 1>>", "<L <B 2>>"]),
        ("<L _ ... 2 _ ...>", ["<L <B 2>>", "<L <B 1> <B 2> <B 3>>"], ["<L>", "<B 2>"]),
        ("<L [..1] 1 ... 2 ...>", ["<L>", "<L <B 2>>"], ["<L <B 3>>", "<L <B 1> <B 1>>"]),
        ("<L $x $x>", ["<L <B 2> <B 2>>"], ["<L <B 2> <U1 2>>"]),
        ("<L <U $x> <F _> $x>", ["<L <U1 2> <F4> <U1 2>>"], ["<L <U1 2> <F4> <U2 2>>"]),
    ],
)  # fmt: skip
def test_an_item_matches_or_not(pattern: str, bodies: list[str], others: list[str]) -> None:
    compiled = parse_pattern(f"S1F1 {pattern}")
    for body in bodies:
        message = Message.parse(f"S1F1 {body}")
        assert compiled.match(message) is not None, body
        assert compiled.difference(message) is None, body
    for body in others:
        message = Message.parse(f"S1F1 {body}")
        assert compiled.match(message) is None, body
        assert compiled.difference(message) is not None, body
    assert compiled.never() is None


def test_text_is_compared_in_its_encoding() -> None:
    for text in ("S1F1 <A '温'>", "S1F1 '温'", "S1F1 <L <A '温'>>"):
        compiled = parse_pattern(text, "gbk")
        assert compiled == parse_pattern(text, "gbk") != parse_pattern("S1F1 '温'", "gb18030")
        item: Item = A("温", encoding="gbk")
        message = Message(1, 1, item=L(item) if "<L" in text else item)
        assert compiled.match(message) == {}
        other = compiled.difference(Message(1, 1, item=L(A("度", encoding="gbk"))))
        assert other is not None
        assert "温" in other.expected
        assert "度" in other.found
    assert parse_pattern("S1F1 '温'").match(Message(1, 1, item=A("温", encoding="gbk"))) is None
    with pytest.raises(ValueError, match="utf-16"):
        parse_pattern("S1F1", "utf-16")


@pytest.mark.parametrize(
    ("pattern", "body", "difference"),
    [
        ("<A 'x'>", "<A 'y'>", 'message: expected <A "x">, found <A "y">'),
        ("7", "<A 'y'>", 'message: expected 7, found <A "y">'),
        ("<U 7>", "<A 'y'>", 'message: expected <U 7>, found <A "y">'),
        ("'x'", "<A 'y'>", 'message: expected "x", found <A "y">'),
        ("'\"'", "<A 'y'>", "message: expected '\"', found <A \"y\">"),
        ("<L>", "<A 'y'>", 'message: expected <L [0]>, found <A "y">'),
        ("<L _ ...>", "<A 'y'>", 'message: expected <L _ ...>, found <A "y">'),
        ("<L _ ... 1 _ ...>", "<B 1>", "message: expected <L [1..] _ ... 1 _ ...>, found <B 0x01>"),
        ("<A [..8] $x>", "<B>", "message: expected <A [0..8] $x>, found <B>"),
        ("<A [2] $x>", "<A 'abc'>", 'message: expected <A [2] $x>, found <A "abc">'),
        ("<L <A> <L <B 1> 2>>", "<L <A> <L <B 1> <B 3>>>", "[2][2]: expected 2, found <B 0x03>"),
        ("<L 1 2>", "<L <B 1>>", "[2]: expected 2, found nothing"),
        ("<L 1 2>", "<L <B 2>>", "[1]: expected 1, found <B 0x02>"),
        ("<L 1>", "<L <B 1> <B 2>>", "[2]: expected nothing, found <B 0x02>"),
        ("<L $x $x>", "<L <B 1> <B 2>>", "[2]: expected <B 0x01>, which is $x, found <B 0x02>"),
        ("<L $x <B $x>>", "<L <B 1> <B 2>>", "[2]: expected <B 0x01>, which is $x, found <B 0x02>"),
        ("<L 1 _ ... 2>", "<L <B 1>>", "[2]: expected 2, found nothing"),
        ("<L 1 _ ... 2>", "<L <B 3>>", "[1]: expected 1, found <B 0x03>"),
        ("<L 1 _ ... 2>", "<L <B 3> <B 4>>", "[1]: expected 1, found <B 0x03>"),
        ("<L 1 3 ... 2>", "<L <B 1> <B 3> <B 4> <B 2>>", "[3]: expected 3, found <B 0x04>"),
        ("<L 1 3 ... 2>", "<L <B 1> <B 3> <B 4>>", "[3]: expected 2, found <B 0x04>"),
        ("<L [2..] _ ...>", "<L <B 1>>", "[2]: expected another item, found nothing"),
        ("<L [..1] _ ...>", "<L <B 1> <B 2>>", "[2]: expected nothing, found <B 0x02>"),
        ("<L [..1] _ ... 1 ...>", "<L <B 1> <B 2>>", "[2]: expected nothing, found <B 0x02>"),
        ("<L 1 ... 2 3 ...>", "<L <B 1> <B 4>>", "[2]: expected 1 or 2, found <B 0x04>"),
        ("<L 1 ... 2 3 ...>", "<L <B 1>>", "[2]: expected 1 or 2, found nothing"),
        ("<L 1 ... 2 3 ...>", "<L <B 2> <B 4>>", "[2]: expected 3, found <B 0x04>"),
        ("<L 1 ... 2 3 ... 4>", "<L <B 1> <B 2> <L>>", "[3]: expected 3 or 4, found <L [0]>"),
        ("<L _ ... 1 <L 2> 4 ...>", "<L <B 1> <L <B 5>>>", "[3]: expected _ or 1, found nothing"),
        ("<L 1 <L 2> 4 ... 5 ...>", "<L <B 1> <L <B 5>>>", "[2][1]: expected 2, found <B 0x05>"),
        ("<L 1 ... 2 ... 3>", "<L <B 3> <B 3>>", "[2]: expected nothing, found <B 0x03>"),
    ],
)  # fmt: skip
def test_the_first_difference_has_its_place(pattern: str, body: str, difference: str) -> None:
    assert differs(pattern, body) == difference


def test_a_difference_is_not_long() -> None:
    compiled = parse_pattern(f"S1F1 <L {' '.join(['<U4 1>'] * 300)}>")
    found = compiled.difference(Message(1, 1, item=A("x" * 100_000)))
    assert found is not None
    assert len(found.expected) == len(found.found) == 200
    unreadable = compiled.difference(Message(1, 1, body=b"\x41"))
    assert unreadable is not None
    assert len(unreadable.expected) == 200


def test_a_name_that_is_known_stands_for_what_is_equal() -> None:
    known = {"lot": A("L-1"), "other": B(1)}
    assert matched("<L $lot $n>", "<L <A 'L-1'> <B 2>>", known) == {
        "lot": '<A "L-1">',
        "n": "<B 0x02>",
    }
    compiled = parse_pattern("S1F1 <L $lot $n>")
    message = Message.parse("S1F1 <L <A 'L-2'> <B 2>>")
    assert compiled.match(message, known) is None
    assert str(compiled.difference(message, known)) == (
        '[1]: expected <A "L-1">, which is $lot, found <A "L-2">'
    )


def test_what_is_known_says_which_item_of_several_is_meant() -> None:
    body = "<L <L <A 'a'> <B 1>> <L <A 'b'> <B 2>>>"
    for name, value in (("a", "<B 0x01>"), ("b", "<B 0x02>")):
        found = matched("<L _ ... <L $id $value> _ ...>", body, {"id": A(name)})
        assert found["value"] == value
    compiled = parse_pattern("S1F1 <L <A _> ... <L $id _> <A _> ...>")
    found_difference = compiled.difference(Message.parse("S1F1 <L <L <A 'a'> <B 1>>>"), {"id": B()})
    assert (
        str(found_difference)
        == '[1]: expected <A _> or <L [2] $id _>, found <L [2] <A "a"> <B 0x01>>'
    )


@pytest.mark.parametrize(
    "pattern", ["<L $x ...>", "<L <B 0> $x ... <B 9>>", "<L <A> ... $x ... <B 9> ...>"]
)
def test_a_known_name_of_a_repeated_item_stands_for_the_whole_list(pattern: str) -> None:
    compiled = parse_pattern(f"S1F1 {pattern}")
    around = "0" in pattern
    for values, is_equal in (((1, 2), True), ((1, 3), False), ((1,), False)):
        inner = [B(value) for value in values]
        ends = ([B(0)], [B(9)]) if around else ([], [])
        message = Message(1, 1, item=L(*ends[0], *inner, *ends[1]))
        known = {"x": L(B(1), B(2))}
        assert (compiled.match(message, known) is not None) is is_equal
        found = compiled.difference(message, known)
        assert (found is None) is is_equal
        if found is not None:
            assert found.path == ""
            assert found.expected == "<L [2] <B 0x01> <B 0x02>>, which is $x"


def test_names_in_ellipses_stand_for_lists_also_of_lists() -> None:
    body = "<L <L <A 'a'> <L <B 1> <B 2>>> <L <A 'b'> <L>>>"
    assert matched("<L <L $id <L $values ...>> ...>", body) == {
        "id": '<L [2] <A "a"> <A "b"> >',
        "values": "<L [2] <L [2] <B 0x01> <B 0x02> > <L [0]> >",
    }
    assert matched("<L $x ...>", "<L>") == {"x": "<L [0]>"}


def test_each_of_several_ellipses_is_for_as_few_items_as_possible() -> None:
    body = "<L <B 1> <B 2> <B 3>>"
    assert matched("<L $a ... $b $c ...>", body) == {
        "a": "<L [0]>",
        "b": "<B 0x01>",
        "c": "<L [2] <B 0x02> <B 0x03> >",
    }
    assert matched("<L $a ... $b ... 3 $c ...>", body)["b"] == "<L [2] <B 0x01> <B 0x02> >"


@pytest.mark.parametrize(
    ("pattern", "column", "problem"),
    [
        ("", 1, "expected a message like S1F13, found the end of the text"),
        ("_", 1, "expected a message like S1F13, found _"),
        ("S128F1", 1, "S128F1 is not in S0F0..S127F255"),
        ("S1F2 W", 6, "S1F2 has an even function: no W"),
        ("Name: S1F1", 1, "a pattern has no name: leave Name: out"),
        ("'a name': S1F1", 1, "a pattern has no name: leave 'a name': out"),
        ("S1F1 E<-H _", 1, "a pattern has no direction: leave H->E out"),
        ("S1F1 _ _", 8, "expected one pattern and nothing after it, found _"),
        ("S1F1 . S1F1", 8, "expected one pattern and nothing after it, found S1F1"),
        ("S1F1 <>", 7, "expected an item type (L, A, U4, ..., or U, I, F for any size), found >"),
        ("S1F1 <_>", 7, "expected an item type"),
        ("S1F1 <N _>", 7, "expected an item type"),
        ("S1F1 <LIST _>", 7, "expected an item type"),
        ("S1F1 START", 6, "expected an item, _ or $name, found START; text needs quotes"),
        ("S1F1 T", 6, "expected an item, _ or $name, found T; text needs quotes"),
        ("S1F1 <A START>", 9, "expected an integer, found START; text needs quotes"),
        ("S1F1 <L >>", 10, "expected one pattern and nothing after it, found >"),
        ("S1F1 <L _", 6, "this item is never closed"),
        ("S1F1 <L [2] _>", 9, "the count is [2], but 1 follow"),
        ("S1F1 <L [2] $x>", 9, "the count is [2], but 1 follow"),
        ("S1F1 <L [0..2] $x>", 9, "[0..2] needs an ellipsis in the list, as in <L [0..2] _ ...>"),
        ("S1F1 <L [1] _ _ ... _>", 9, "the count is [1], but at least 2 follow"),
        ("S1F1 <A [2..1] _>", 9, "[2..1] allows no length"),
        ("S1F1 <A [2] 'x'>", 9, "the count is [2], but 1 follow"),
        ("S1F1 <U [2] 1>", 9, "the count is [2], but 1 follow"),
        ("S1F1 <A 'x' _>", 13, "_ stands for all values: <A _>"),
        ("S1F1 <A 'x' $x>", 13, "$x stands for all values: <A $x>"),
        ("S1F1 <A _ 'x'>", 11, "expected > behind _ or $name, which stands for all values, found"),
        ("S1F1 <A _ _>", 11, "expected > behind _ or $name, which stands for all values, found _"),
        ("S1F1 <A _ ...>", 11, "expected nothing or >, found ..."),
        ("S1F1 <U>", 6, "<U> is of any size: write one value, _ or $name"),
        ("S1F1 <U 1 2>", 6, "<U> is of any size: write one value, _ or $name"),
        ("S1F1 <U x>", 9, "expected a number, found x"),
        ("S1F1 <U '1'>", 9, "expected a number, found '1'"),
        ("S1F1 <U -1>", 9, "no item has the value <U -1>"),
        ("S1F1 <U 1.5>", 9, "no item has the value <U 1.5>"),
        ("S1F1 <F inf>", 9, "no item has the value <F inf>"),
        ("S1F1 <U4 -1>", 10, "U4 value -1 is not in 0..4294967295"),
        ("S1F1 1e999", 6, "no item has the value 1e999"),
        (f"S1F1 {'9' * 350}", 6, f"no item has the value {'9' * 40}..."),
        (f"S1F1 -{'9' * 5000}", 6, f"no item has the value -{'9' * 39}..."),
        ("S1F1 $", 6, "$ is for replies: a pattern binds a name, as $x"),
        ("S1F1 $1", 6, "$1 is for replies: a pattern binds a name, as $x"),
        ("S1F1 <L $*>", 9, "$* is for replies: a pattern binds a name, as $x"),
        ("S1F1 <L $x.1>", 9, "$x.1 is for replies: a pattern binds a name, as $x"),
        ("S1F1 ${1001}", 6, "a pattern asks for no variable: bind a name, as $x, and compare that"),
        ("S1F1 <A ${1001}>", 9, "a pattern asks for no variable: bind a name"),
        ("S1F1 ${1001", 7, "a variable is written in one line, as ${1001} or ${WaferCount}"),
        ("S1F1 {", 6, "unexpected '{'"),
        ("S1F1 <L ... _>", 9, "expected an item, _ or $name or >, found ..."),
        ("S1F1 <L _ ... ...>", 15, "expected an item before the ellipsis, found another ellipsis"),
        ("S1F1 <L _ ...$x>", 11, "...$x is for replies: in a pattern, a name is before"),
        ("S1F1 _ ...", 8, "expected one pattern and nothing after it, found ..."),
        ("S1F1 <L _ = name>", 11, "expected an item, _ or $name or >, found ="),
        ("S1F1 <L $x\n $x ...>", 2, "$x stands twice, and an ellipsis leaves open for which item"),
        ("S1F1 <L $x ... <L $x>>", 19, "$x stands twice, and an ellipsis leaves open"),
        ("S1F1 <L $x <L _ ... $x _ ...>>", 21, "$x stands twice, and an ellipsis leaves open"),
        ("S1F1 " + "<L " * 65 + ">" * 65, 198, "lists are nested more than 64 deep"),
        ("S1F1 <A 'x", 9, "this string is not closed on its line"),
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_refused_at_its_place(
    pattern: str, column: int, problem: str
) -> None:
    with pytest.raises(SmlError) as raised:
        parse_pattern(pattern)
    assert raised.value.problem.startswith(problem)
    assert raised.value.column == column


def test_a_name_may_stand_twice_beside_an_ellipsis_and_in_lists_of_their_own() -> None:
    assert matched("<L $x _ ... <L [1] $x>>", "<L <B 1> <A> <L <B 1>>>") == {"x": "<B 0x01>"}
    assert differs("<L $x _ ... <L [1] $x>>", "<L <B 1> <A> <L <B 2>>>") == (
        "[3][1]: expected <B 0x01>, which is $x, found <B 0x02>"
    )


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("<L <A $x> <U4 $x>>", "$x stands for two items, and no item is both"),
        ("<L <U $x> $x <L <A $x>>>", "$x stands for two items, and no item is both"),
        ("<L <A [..2] $x> <A [3..] $x>>", "$x stands for two items, and no item is both"),
        (
            "<A [16777216] _>",
            "<A [16777216] _> is longer than any item: one has at most 16777215 bytes",
        ),
        ("<U4 [4194304..] $x>", "<U4 [4194304..] $x> is longer than any item"),
        ("<L <U [16777216..] _> _ ...>", "<U [16777216..] _> is longer than any item"),
        ("<L _ ... <L [16777216..] _ ...>>", "<L [16777216..] _ ...> is longer than any item"),
        ("<L _ ... <L [16777216..] _ ... 1 ...>>", "<L [16777216..] _ ... 1 ...> is longer than"),
    ],
)
def test_a_pattern_that_can_never_match_says_why(pattern: str, why: str) -> None:
    found = parse_pattern(f"S1F1 {pattern}").never()
    assert found is not None
    assert found.startswith(why)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "<U4 [4194303] _>",
        "<U [16777215] _>",
        "<L <U $x> <U4 $x> <U4 [1] $x>>",
        "<L [16777215..] _ ...>",
        "<L <U [16777216..] _> ...>",
        "<L <L <A $x> <U1 $y>> ... <L <U1 [16777216] _>> ...>",
        "<L $x <L [1] $x> <A $x>>",
    ],
)
def test_a_pattern_that_can_match_says_nothing(pattern: str) -> None:
    assert parse_pattern(f"S1F1 {pattern}").never() is None


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("S1F1", "S1F1 W"),
        ("S1F1", "S1F1 <A>"),
        ("S1F1 _", "S1F1 $x"),
        ("S1F1 $x", "S1F1 <L _ ... 1 _ ...>"),
        ("S1F1 <A _>", "S1F1 <A 'x'>"),
        ("S1F1 <A [1..] _>", "S1F1 <A [2..3] _>"),
        ("S1F1 <U _>", "S1F1 <U4 _>"),
        ("S1F1 <U [1] _>", "S1F1 <U 7>"),
        ("S1F1 7", "S1F1 <U 0x7>"),
        ("S1F1 7", "S1F1 <F4 7>"),
        ("S1F1 'x'", "S1F1 <A 'x'>"),
        ("S1F1 'x'", 'S1F1 "x"'),
        ("S1F1 <L _>", "S1F1 <L 1 2>"),
        ("S1F1 <L _ ...>", "S1F1 <L>"),
        ("S1F1 <L _ ...>", "S1F1 <L 1 2>"),
        ("S1F1 <L _ ...>", "S1F1 <L 1 ... 2>"),
        ("S1F1 <L _ ... 2>", "S1F1 <L 1 ... 2>"),
        ("S1F1 <L _ ... 2 _ ...>", "S1F1 <L 1 ... 2>"),
        ("S1F1 <L _ ... 2 _ ...>", "S1F1 <L 1 2 3>"),
        ("S1F1 <L [2..] _ ...>", "S1F1 <L 1 2 3 ...>"),
        ("S1F1 <L $x <L [1] $x>>", "S1F1 W <L $x <L [1] $x>>"),
        ("S1F1 <L _ <L $x _>>", "S1F1 W <L $x <L $x 1>>"),
    ],
)
def test_a_wider_pattern_covers_a_narrower_one_and_not_the_other_way(
    wide: str, narrow: str
) -> None:
    one, other = parse_pattern(wide), parse_pattern(narrow)
    assert one.covers(one)
    assert other.covers(other)
    assert one.covers(other)
    if wide not in {"S1F1 _", "S1F1 'x'"} and "$x <L [1] $x>" not in wide:
        assert not other.covers(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("S1F1", "S1F3"),
        ("S1F1", "S3F1"),
        ("S1F1 W", "S1F1"),
        ("S1F1 _", "S1F1"),
        ("S1F1 <U _>", "S1F1 7"),
        ("S1F1 <U 7>", "S1F1 7"),
        ("S1F1 7", "S1F1 <U4 [1] _>"),
        ("S1F1 7", "S1F1 'x'"),
        ("S1F1 <A _>", "S1F1 'x'"),
        ("S1F1 <A _>", "S1F1 _"),
        ("S1F1 <A 'x'>", "S1F1 'x'"),
        ("S1F1 <L _ _>", "S1F1 <L _>"),
        ("S1F1 <L 1>", "S1F1 <L 1 ...>"),
        ("S1F1 <L 1 ...>", "S1F1 <L _ ...>"),
        ("S1F1 <L [..1] _ ...>", "S1F1 <L _ ...>"),
        ("S1F1 <L [2..] _ ...>", "S1F1 <L _ ...>"),
        ("S1F1 <A [1..] _>", "S1F1 <A _>"),
        ("S1F1 <L 1 _ ...>", "S1F1 <L 1 ... 2>"),
        ("S1F1 <L $x $x>", "S1F1 <L 1 2>"),
    ],
)
def test_a_pattern_does_not_cover_what_it_may_not_match(one: str, other: str) -> None:
    assert not parse_pattern(one).covers(parse_pattern(other))


def test_a_pattern_in_another_encoding_is_not_covered() -> None:
    assert not parse_pattern("S1F1 'x'", "gbk").covers(parse_pattern("S1F1 <A 'x'>"))
    assert parse_pattern("S1F1", "gbk").covers(parse_pattern("S1F1 <A 'x'>"))


LATE = """
import sys
from hsms_engine import sml
print("hsms_engine.sml.patterns" in sys.modules)
sml.parse_pattern, sml.Pattern
print("hsms_engine.sml.patterns" in sys.modules)
"""


def test_patterns_are_imported_when_they_are_first_named() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LATE],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=PATIENCE,
    )
    assert done.stdout.split() == ["False", "True"]
    assert all(getattr(sml, name) is not None for name in sml.__all__)
    unknown = "parse_patern"
    with pytest.raises(AttributeError, match=r"'hsms_engine\.sml' has no attribute 'parse_patern'"):
        getattr(sml, unknown)


# The page

PAGE = (Path(__file__).parent.parent / "docs" / "sml.md").read_text(encoding="utf-8")


def _codes(heading: str) -> list[str]:
    """What is in the first column of the table below a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


def test_the_patterns_of_the_page_are_patterns() -> None:
    patterns = _codes("Patterns")
    assert len(patterns) > 20
    for text in patterns:
        compiled = parse_pattern(text if text.startswith("S2F41") else f"S1F1 {text}")
        assert compiled.never() is None
    for first, second in (
        ('<L "x" _ $y>', '<L [3] "x" _ $y>'),
        ("<L _ ...>", "<L [0..] _ ...>"),
    ):
        assert parse_pattern(f"S1F1 {first}") == parse_pattern(f"S1F1 {second}")


def test_the_templates_of_the_page_are_templates() -> None:
    templates = _codes("Templates")
    assert len(templates) > 6
    for text in templates:
        assert uses(parse_item_template(text)) != uses(None)


def test_what_the_page_says_of_patterns_in_its_text_is_so() -> None:
    assert matched(
        "<L _ ... <L 'PPID' $ppid> _ ...>", "<L <A> <L <A 'PPID'> <B 1>> <L <A 'PPID'> <B 2>>>"
    ) == {"ppid": "<B 0x01>"}
    assert "expected 0.1, found" in differs("0.1", "<F4 0.2>")
    assert matched("0.1", "<F4 0.1>") == {}
    for refused in ("<L [2] $x>", '"two" 0x0A'):
        assert refused in PAGE
        with pytest.raises(SmlError):
            parse_pattern(f"S1F1 {refused}")
    [example_] = re.findall(r'parse_template\("(.*?)"\)', PAGE)
    template = parse_template(example_)
    assert template.uses.names == {"params"}
    assert not template.uses.request
    assert isinstance(template.node, OpenList)
    assert _flat(fill(template.node, None, {"params": L(L("PPID", B()))})) == (
        '<L [2] <B 0x00> <L [1] <L [2] <A "PPID"> <B 0x00> > > >'
    )


# Any items, and patterns that are made of them


@given(items)
def test_the_sml_of_an_item_is_a_pattern_that_it_matches(item: Item) -> None:
    compiled = parse_pattern(f"S1F1 {to_sml(item)}")
    message = Message(1, 1, item=item)
    assert compiled.match(message) == {}
    assert compiled.difference(message) is None
    assert compiled.covers(compiled)
    assert compiled.never() is None


def read(text: str) -> Message | None:
    """The message of a text that has nothing but what a message has when it is sent."""
    try:
        statement = parse_one(text)
    except SmlError:
        return None
    is_bare = statement.name is statement.direction is None and not statement.names
    return Message.from_statement(statement) if is_bare else None


@given(
    st.lists(
        st.sampled_from(
            ["<A", "<L", "<U4", "<L [2]", "<L [1..]", "<A [..2]", ">", ">", ">", "'x'", "1", "0x2",
             '"y"', "W", ".", "/* c */", "// c\n"]
        ),
        max_size=12,
    ).map(lambda pieces: " ".join(["s1f1", *pieces]))
)  # fmt: skip
@example("'S1F1' [W] <L [0..3] <A [1..] 'x' 0x0A \"y\"> <BOOLEAN T> <F4 nan(0x7F800001)>> .")
@example("S1F1 W <L [1..2] <L [..2]>> // a comment")
def test_what_the_strict_reader_reads_is_a_pattern_that_it_matches(text: str) -> None:
    message = read(text)
    if message is not None:
        assert parse_pattern(text).match(message) == {}
        template = parse_template(text)
        assert template.node == message.item
        assert template.wait is message.wait


@given(statements)
def test_a_message_that_is_printed_is_a_pattern_and_a_template(statement: Statement) -> None:
    text = to_sml(replace(statement, name=None))
    message = Message.from_statement(statement)
    assert parse_pattern(text).match(message) == {}
    template = parse_template(text)
    assert (template.stream, template.function) == (statement.stream, statement.function)
    assert (template.wait, template.node) == (statement.wait, statement.item)


@given(st.data(), items)
def test_a_pattern_binds_what_was_cut_out_of_the_item(data: st.DataObject, item: Item) -> None:
    cut = data.draw(cuts(item))
    compiled = parse_pattern(f"S1F1 {cut.text}")
    message = Message(1, 1, item=item)
    assert compiled.match(message) == cut.names
    assert compiled.match(message, cut.names) == cut.names
    assert compiled.difference(message) is None
    assert compiled.covers(parse_pattern(f"S1F1 {to_sml(item)}"))
    again = Message.received(1, 1, False, message.body, 0, 1)
    assert compiled.match(again) == cut.names


# A matcher that tries all ways

SMALL: Sequence[Item] = (U4(1), U4(2), U1(1), A("a"), B(1), I2(1), F4(1.0), J("a"), C("a"))
LEAVES = ("_", "$", "1", "'a'", "<U4 _>", "<U _>", "<U4 $>", "<U 1>", "<A 'a'>", "<U4 1>", "<L _>")
small_items = st.recursive(
    st.sampled_from(SMALL), lambda inner: st.lists(inner, max_size=4).map(lambda some: L(*some)),
    max_leaves=6,
)  # fmt: skip


@dataclass(frozen=True)
class Tree:
    """A pattern: a leaf, or a list of patterns, each with whether an ellipsis is behind."""

    leaf: str = ""
    parts: tuple[tuple["Tree", bool], ...] = ()

    def text(self, path: str = "") -> str:
        if self.leaf:
            return self.leaf.replace("$", f"$n{path}")
        texts = (
            part.text(f"{path}_{at}") + " ..." * is_many
            for at, (part, is_many) in enumerate(self.parts)
        )
        is_open = any(is_many for _, is_many in self.parts)
        return f"<L{'' if is_open else f' [{len(self.parts)}]'} {' '.join(texts)}>"

    def ways(self, item: Item, path: str = "") -> Iterator[dict[str, Item]]:
        """What the names may stand for, in all ways to match."""
        if self.leaf:
            if self._fits(item):
                yield {f"n{path}": item} if "$" in self.leaf else {}
        elif isinstance(item, L):
            yield from _lists(self.parts, tuple(item), path, 0)

    def names(self, path: str = "") -> Iterator[str]:
        if "$" in self.leaf:
            yield f"n{path}"
        for at, (part, _) in enumerate(self.parts):
            yield from part.names(f"{path}_{at}")

    def _fits(self, item: Item) -> bool:
        match self.leaf:
            case "_" | "$":
                return True
            case "1":
                return item in (U4(1), U1(1), B(1), I2(1), F4(1.0))
            case "'a'":
                return item in (A("a"), J("a"), C("a"))
            case "<U4 _>" | "<U4 $>":
                return isinstance(item, U4)
            case "<U _>":
                return isinstance(item, U4 | U1)
            case "<U 1>":
                return item in (U4(1), U1(1))
            case "<L _>":
                return isinstance(item, L)
            case exact:
                return item == parse_item(exact)


def _lists(
    parts: tuple[tuple[Tree, bool], ...], items: tuple[Item, ...], path: str, at: int
) -> Iterator[dict[str, Item]]:
    if not parts:
        if not items:
            yield {}
        return
    (part, is_many), *rest = parts
    lengths = range(len(items) + 1) if is_many else range(1, min(len(items), 1) + 1)
    for length in lengths:
        for names in _runs(part, is_many, items[:length], f"{path}_{at}"):
            for others in _lists(tuple(rest), items[length:], path, at + 1):
                yield names | others


def _runs(
    part: Tree, is_many: bool, items: tuple[Item, ...], path: str
) -> Iterator[dict[str, Item]]:
    if not is_many:
        yield from part.ways(items[0], path)
        return
    names = list(part.names(path))
    # The first way for each: no element has names that depend on the way of another.
    found = [next(part.ways(item, path), None) for item in items]
    if None not in found:
        yield {name: L(*(each[name] for each in found if each)) for name in names}


trees = st.recursive(
    st.sampled_from(LEAVES).map(Tree),
    lambda inner: st.lists(st.tuples(inner, st.booleans()), max_size=4).map(
        lambda parts: Tree(parts=tuple(parts))
    ),
    max_leaves=6,
)


@given(trees, small_items | st.lists(st.sampled_from(SMALL), max_size=5).map(lambda some: L(*some)))
@example(Tree(parts=((Tree("_"), True), (Tree("1"), False), (Tree("$"), True))), L(B(1), U4(1)))
def test_a_pattern_matches_what_one_of_all_ways_matches(tree: Tree, item: Item) -> None:
    compiled = parse_pattern(f"S1F1 {tree.text()}")
    message = Message(1, 1, item=item)
    found = compiled.match(message)
    # Of several ways, the first has the shortest runs.
    assert found == next(tree.ways(item), None)
    assert (compiled.difference(message) is None) is (found is not None)
    assert found is None or compiled.never() is None


@given(trees, trees, small_items)
def test_a_covered_pattern_matches_nothing_that_the_other_one_does_not(
    tree: Tree, other: Tree, item: Item
) -> None:
    one, two = parse_pattern(f"S1F1 {tree.text()}"), parse_pattern(f"S1F1 {other.text()}")
    message = Message(1, 1, item=item)
    if one.covers(two) and two.match(message) is not None:
        assert one.match(message) is not None
    assert one.covers(one)
    # What covers is asked of an item that is one of few.
    exact = parse_pattern(f"S1F1 {to_sml(item)}")
    assert one.covers(exact) is (one.match(message) is not None)


@given(
    st.lists(
        st.sampled_from(
            ["<", ">", "L", "A", "U", "U4", "S1F1", "W", ".", "[1]", "[0..]", "[..2]", "'x'", "1",
             "-1", "1.5", "_", "$x", "$y", "$1", "$", "${1}", "...", "...$x", " ", "=", ":", "'"]
        ),
        max_size=20,
    ).map(lambda pieces: "S1F1 " + " ".join(pieces))
)  # fmt: skip
def test_any_text_is_a_pattern_or_an_sml_error(text: str) -> None:
    for reader in (parse_pattern, parse_template):
        try:
            made: Any = reader(text)
        except SmlError:
            continue
        assert made.stream == 1


def test_a_match_takes_time_in_proportion_to_the_list() -> None:
    # Long enough that anything quadratic would take minutes.
    many = L(*([U4(1)] * 200_000))
    message = Message(1, 1, item=many)
    for pattern in ("<L $x ...>", "<L _ ... 1 _ ... 1 $x ...>"):
        compiled = parse_pattern(f"S1F1 {pattern}")
        assert compiled.match(message) is not None
    for pattern in ("<L 1 ... 2 1 ... 2>", "<L _ ... <L _> _ ...>", "<L <U1 _> ...>"):
        compiled = parse_pattern(f"S1F1 {pattern}")
        assert compiled.match(message) is None
        assert compiled.difference(message) is not None


# Templates


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("<A 'x'>", '<A "x">'),
        ("$lot", '<A "L-1">'),
        ("$pairs.2.1", '<A "N">'),
        ("<L $lot <L [2] $1 ${1001}>>", '<L [2] <A "L-1"> <L [2] <B 0x05> <U4 17> > >'),
        ("<L <L $*.1> ...$pairs>", '<L [2] <L [1] <A "PPID"> > <L [1] <A "N"> > >'),
        ("<L $* ...${ Slots }>", "<L [2] <U1 1> <U1 2> >"),
        ("<L <L $* ...$pairs.1> ...$>", '<L [1] <L [2] <A "PPID"> <U4 1> > >'),
    ],
)  # fmt: skip
def test_a_template_has_what_is_bound_and_what_variables_are(template: str, filled: str) -> None:
    names: dict[str, Item] = {
        "lot": A("L-1"),
        "pairs": L(L(A("PPID"), U4(1)), L(A("N"), U4(2))),
    }
    variables = {"1001": U4(17), "Slots": U1(1, 2)}
    node = parse_item_template(template)
    item = fill(node, L(B(5)), names, variables.__getitem__)
    assert _flat(item) == filled
    whole = parse_template(f"S6F11 W {template} .")
    assert (whole.stream, whole.function, whole.wait, whole.node) == (6, 11, True, node)
    assert whole.uses == uses(node)


@pytest.mark.parametrize(
    ("template", "names", "variables", "asks"),
    [
        ("<A 'x'>", set(), set(), False),
        ("$", set(), set(), True),
        ("<L $x.1 $x $y <B 0>>", {"x", "y"}, set(), False),
        ("<L ${1001} <L ${ Lot Id }>>", set(), {"1001", "Lot Id"}, False),
        ("<L $*.1 ...$x>", {"x"}, set(), False),
        ("<L $* ...>", set(), set(), True),
        ("<L <L $x $2> ...${7}>", {"x"}, {"7"}, True),
    ],
)
def test_a_template_says_what_it_refers_to(
    template: str, names: set[str], variables: set[str], asks: bool
) -> None:
    found = uses(parse_item_template(template))
    assert (found.names, found.variables, found.request) == (
        frozenset(names),
        frozenset(variables),
        asks,
    )


def test_a_message_without_item_refers_to_nothing() -> None:
    template = parse_template("S1F1 W .")
    assert template.node is None
    assert template.uses == uses(None)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("$x", "nothing is bound to $x"),
        ("$lot.1", "$lot has no $lot.1"),
        ("$1", "the request has no $1"),
        ("<L <B 0> ...$lot>", "$lot is not a list"),
        ("<L <B 0> ...$>", "$ of the request is not a list"),
        ("${1001}", "there is no variable 1001"),
        ("<L <B 0> ...${1001}>", "there is no variable 1001"),
    ],
)
def test_what_a_template_refers_to_and_is_not_there_is_told(template: str, problem: str) -> None:
    with pytest.raises(LookupError) as raised:
        fill(parse_item_template(template), A("request"), {"lot": A("L-1")})
    assert str(raised.value) == problem


def test_an_unfit_request_does_not_matter_to_what_repeats_for_a_name() -> None:
    node = parse_item_template("<L $* ...$x>")
    assert fill(node, None, {"x": L(B(1))}) == L(B(1))
    assert fill(parse_item_template("<L $* ...>"), None) == L()
    with pytest.raises(LookupError, match=re.escape("the request has no $")):
        fill(parse_item_template("$"), None)
    with pytest.raises(LookupError, match=re.escape("${1001} is not a list")):
        fill(parse_item_template("<L <B 0> ...${1001}>"), None, {}, {"1001": A()}.__getitem__)
    assert fill(node, None, {"x": F8(1.0, 2.0)}) == L(F8(1.0), F8(2.0))


@pytest.mark.parametrize(
    ("template", "column", "problem"),
    [
        ("$x.0", 1, "items of $x.0 are counted from 1"),
        ("${ }", 1, "expected the id or the name of a variable: ${1001}"),
        ("<L ${1001>", 5, "a variable is written in one line, as ${1001} or ${WaferCount}"),
        ("<A $x>", 4, "expected a value or >, found $x, which stands for a whole item"),
        ("$*", 1, "$* stands only in an item that an ellipsis repeats"),
        ("<L [1] $x $y>", 4, "the count is [1], but 2 follow"),
        ("$x $y", 4, "expected one item and nothing after it, found $y"),
        ("_", 1, "expected an item, found _"),
    ],
)  # fmt: skip
def test_what_is_no_template_is_refused_at_its_place(
    template: str, column: int, problem: str
) -> None:
    with pytest.raises(SmlError) as raised:
        parse_item_template(template)
    assert raised.value.problem.startswith(problem)
    assert raised.value.column == column
    with pytest.raises(SmlError) as raised:
        parse_template(f"S1F1 {template}")
    assert raised.value.column == column + 5


def test_a_template_has_no_name_and_no_direction() -> None:
    with pytest.raises(SmlError, match="a template has no name: leave Go: out"):
        parse_template("Go: S1F1 W")
    with pytest.raises(SmlError, match="a template has no direction: leave H->E out"):
        parse_template("S1F1 W H->E")


@pytest.mark.parametrize("reference", ["$x", "$x.1", "${1001}"])
def test_an_answer_of_a_book_has_no_names(reference: str) -> None:
    for text in (f"S1F2 {reference}", f"S1F2 <L {reference}>", f"S1F2 <L <A> ...{reference}>"):
        with pytest.raises(SmlError, match="is for rules and scenarios: an answer refers to the"):
            parse_templates(text)


@pytest.mark.parametrize("reference", ["$", "$1", "$x", "$x.1", "${1001}"])
@pytest.mark.parametrize("text", ["S1F1 {}", "S1F1 <L {}>", "S1F1 <A {}>", "{}"])
def test_a_message_refers_to_nothing(reference: str, text: str) -> None:
    with pytest.raises(SmlError) as raised:
        parse(text.format(reference))
    assert f"found {reference}; only patterns and templates refer to items" in (
        raised.value.problem
    )

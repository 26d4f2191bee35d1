"""Conditions of rules: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.fake.model import Id
from hsms_engine.fake.rules.conditions import (
    MOST_BRACKETS,
    Condition,
    ConditionError,
    Facts,
    Kind,
    UnclearError,
    kind_of,
    parse_condition,
)
from hsms_engine.secs2 import BOOLEAN, F4, F8, I2, U1, U4, A, B, C, Item, J, L

VARIABLES: Mapping[Id, Item] = {
    1001: U4(7),
    1002: A("ETCH"),
    1003: BOOLEAN(True),
    1004: L(U4(1), U4(2)),
    1005: F8(2.5),
    1006: B(4),
    1007: F4(0.1),
    1008: F4(float("nan")),
    "lot": J("L-7"),
}
NAMES: Mapping[str, Item] = {
    "ppid": A("ETCH"),
    "code": U1(3),
    "params": L(L(A("SLOTS"), U1(25)), L(A("FAST"), BOOLEAN(False))),
    "empty": U4(),
    "long": A("x" * 100),
}


class Declared:
    """These variables, of which 1001 has the name Wafers, and these names."""

    def __init__(self, *, knows_kinds: bool = True) -> None:
        self._knows_kinds = knows_kinds

    def variable(self, text: str) -> tuple[Id, Kind | None]:
        vid: Id = int(text) if text.isdigit() else {"Wafers": 1001}.get(text, text)
        if vid not in VARIABLES:
            raise LookupError(f"no variable {text!r}")
        return vid, kind_of(VARIABLES[vid]) if self._knows_kinds else None

    def name(self, name: str) -> None:
        if name not in NAMES:
            raise LookupError(f"the pattern binds no ${name}")


def condition(text: str, *, knows_kinds: bool = True) -> Condition:
    return parse_condition(text, Declared(knows_kinds=knows_kinds))


def holds(text: str, count: int = 3) -> bool:
    """The same with what is known when it is read, and without."""
    facts = Facts(VARIABLES.__getitem__, NAMES, count)
    known, unknown = (condition(text, knows_kinds=each).holds(facts) for each in (True, False))
    assert known is unknown
    return known


@pytest.mark.parametrize(
    "text",
    [
        "count == 3",
        "count==3",
        "${1001} > 5",
        "${ 1001 } > 5",
        "${Wafers} == 0x7",
        "${1001} >= 7 and ${1001} <= 7",
        "${1001} != -7",
        "${1001} < 7.5e0",
        "${1005} == 2.5",
        "${1006} == +4",
        "${1007} == 0.1",
        "${1007} <= 0.1 and ${1007} >= 0.1",
        "${1007} < 0.10000001",
        "${1008} != 0.1 and not ${1008} < 0.1",
        '${1002} == "ETCH"',
        "${1002} == 'ETCH'",
        '${1002} != "it\'s"',
        "${1002} > 'ETCA'",
        '${lot} == "L-7"',
        "${1003}",
        "not not ${1003}",
        "${1003} == true",
        "${1003} != false",
        "(${1003}) == (count == 3)",
        "$ppid == ${1002}",
        "$code == 3",
        '$params.1.1 == "SLOTS" and $params.1.2 == 25',
        "not $params.2.2",
        "count == 1 or count == 3 or $empty == 1",
        "not (count == 2)",
        "not count == 2",
        "not not not count == 2",
        "count == 2 and $empty == 1 or count == 3",
        "count == 3 or count == 2 and count == 1",
        "(count == 3 or count == 2) and not (count == 1)",
        "\n  ${1001} > 5\n  and count == 3\n",
    ],
)
def test_a_condition_is_true(text: str) -> None:
    assert holds(text)
    assert not holds(f"not ({text})")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${1001} > 'x'", "${1001} > 'x': 7 is a number, and 'x' is a text: neither is more than"),
        ("not (${1001} == true)", "${1001} == true: 7 is a number, and True is true or false"),
        ("${1003} < true", "True is true or false: these are equal or not, and neither is more"),
        ("${1004} == 1", "${1004} is <L [2] <U4 1> <U4 2>>, and no single number"),
        ("$empty == 1 or count == 3", "$empty is <U4>, and no single number, text or truth"),
        ("$params.3 == 1", "there is no $params.3"),
        ("$ppid.1 == 1", "there is no $ppid.1"),
        ("$code", "$code is 3, and neither true nor false"),
        ("$long and count == 3", f"$long is {'x' * 60!r}..., and neither true nor false"),
        ("$long == 5", f"{'x' * 60!r}... is a text, and 5 is a number"),
    ],
)
def test_a_condition_that_is_unclear_says_why(text: str, why: str) -> None:
    with pytest.raises(UnclearError) as caught:
        condition(text, knows_kinds=False).holds(Facts(VARIABLES.__getitem__, NAMES, 3))
    assert why in str(caught.value)


def test_text_that_its_encoding_cannot_read_is_unclear() -> None:
    unreadable = C.from_raw(b"\x00\x02\xff")
    facts = Facts(VARIABLES.__getitem__, {**NAMES, "ppid": unreadable}, 1)
    with pytest.raises(UnclearError, match=r"^\$ppid cannot be read: "):
        condition("$ppid == 'x'").holds(facts)


def test_text_is_in_the_encoding_of_the_tool() -> None:
    names = {**NAMES, "ppid": A("\u6e29", encoding="gbk"), "code": A(b"\xff"), "long": J("\uff71")}
    facts = Facts(VARIABLES.__getitem__, names, 1, "gbk")
    assert condition('$ppid == "\u6e29" and $long == "\uff71"').holds(facts)
    with pytest.raises(UnclearError, match=r"^\$code cannot be read: A byte 0xFF"):
        condition("$code == 'x'").holds(facts)


@pytest.mark.parametrize(
    ("text", "offset", "problem"),
    [
        ("", 0, 'expected a value: a number, a "text", true, false, count, ${VARIABLE} or'),
        ("count ==", 8, "found the end"),
        ("count == and", 9, "found 'and'"),
        ("count == 3 count", 11, "expected 'and', 'or' or the end, found 'count'"),
        ("count == 3)", 10, "this bracket has not been opened"),
        ("(count == 3", 0, "this bracket is never closed"),
        ("(count == 3 4)", 12, "expected 'and', 'or' or ), found '4'"),
        ("count", 0, "count is a number, and neither true nor false: compare it with a value"),
        ("not count", 4, "count is a number"),
        ("${1002} or count == 1", 0, "${1002} is a text, and neither true nor false"),
        ("count == 3 and 'x'", 15, "'x' is a text, and neither true nor false"),
        ("1 == 1", 0, "this is the same each time"),
        ("true", 0, "this is the same each time"),
        ("count = 3", 6, "two values are compared with =="),
        ("count == 3 && count == 4", 11, "write 'and'"),
        ("count == 3 || count == 4", 11, "write 'or'"),
        ("count == 3 & true", 11, "write 'and'"),
        ("count == 3 | true", 11, "write 'or'"),
        ("!(count == 3)", 0, "write 'not'"),
        ("count + 1 == 3", 6, "a condition does not calculate"),
        ("count == [1]", 9, "brackets are ( and )"),
        ("count == '3", 9, "this text is never closed"),
        ('count == "3', 9, "this text is never closed"),
        ("${1001 > 5", 0, "this name is never closed: ${1001}, ${WaferCount}"),
        ("$ > 5", 0, "a variable is ${1001} or ${WaferCount}, and what the pattern has bound is"),
        ("count == 3; x", 10, "';' is neither a value nor a sign"),
        ("count == 12x", 9, "'12x' is neither a value nor a sign"),
        ("count == ½", 9, "'½' is neither a value nor a sign"),
        ("count == \0", 9, r"'\x00' is neither a value nor a sign"),
        ("1 < count < 5", 10, "three values are compared in two steps: a < b and b < c"),
        ("count <> 5", 7, "found '>'"),
        ("count == 3 AND count == 4", 11, "expected 'and', 'or' or the end, found 'AND'"),
        ("NOT (count == 3)", 0, "write 'not'"),
        ("count == True", 9, "write 'true'"),
        ("Wafers > 5", 0, "the value of a variable is ${Wafers}"),
        ("ppid == 'x'", 0, "what the pattern has bound is $ppid"),
        ("$ppid == ETCH", 9, "unknown word 'ETCH': a text needs quotes, \"ETCH\"; there are"),
        ("coutn == 3", 0, "did you mean 'count'?"),
        ("${1} == 3", 0, "no variable '1'"),
        ("${} == 3", 0, "no variable ''"),
        ("count == 1 or $x == 3", 14, "the pattern binds no $x"),
        ("$params.0 == 3", 0, "items of $params.0 are counted from 1"),
        (f"$params.{'9' * 50} == 3", 0, "are counted from 1"),
        (f"count == {'9' * 5000}", 9, "a number has at most 40 characters"),
        ("count == 1e999", 9, "1e999 is too large for a number"),
        ("count == -1e999", 9, "-1e999 is too large for a number"),
        ("${1001} > 'x'", 8, "${1001} is a number, and 'x' is a text: neither is more than the"),
        ("${1001} != 'x'", 8, "${1001} is a number, and 'x' is a text: these are never equal"),
        ("${1002} == count", 8, "${1002} is a text, and count is a number: these are never equal"),
        ("${1003} >= true", 8, "${1003} is true or false, and true is true or false: these are eq"),
        ("${1001} == 7 and count == 0", 17, "this is never so: count is 1 when the rule is asked"),
        ("count < 1", 0, "this is never so"),
        ("0.5 > count", 0, "this is never so"),
        ("count == 1.5", 0, "this is never so"),
        ("not (count) <= -1", 4, "this is never so"),
        ("count >= 1", 0, "this is always so"),
        ("0 != count", 0, "this is always so"),
        ("count > 0x0", 0, "this is always so"),
        ("(" * 100_000, MOST_BRACKETS, "brackets are nested more than 20 deep"),
    ],
)
def test_a_text_that_is_no_condition_is_refused_with_its_place(
    text: str, offset: int, problem: str
) -> None:
    with pytest.raises(ConditionError) as caught:
        condition(text)
    assert (caught.value.offset, str(caught.value)[: len(problem)]) == (offset, problem) or (
        caught.value.offset == offset and problem in str(caught.value)
    )


def test_brackets_beside_each_other_are_not_nested() -> None:
    one = "(" * MOST_BRACKETS + "count == 3" + ")" * MOST_BRACKETS
    assert holds(" and ".join([one] * 50))
    assert holds("not " * 10_000 + "count == 3")


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (U4(1), "a number"),
        (F4(1.5), "a number"),
        (B(1), "a number"),
        (BOOLEAN(True), "true or false"),
        (A(""), "a text"),
        (J("x"), "a text"),
        (C("x"), "a text"),
        (B(b""), None),
        (B(1, 2), None),
        (I2(), None),
        (I2(1, 2), None),
        (L(), None),
    ],
)
def test_what_an_item_is_in_a_condition(item: Item, kind: Kind | None) -> None:
    assert kind_of(item) == kind


SIGNS = ("==", "!=", "<", "<=", ">", ">=")


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> tuple[str, str]:
    """A condition of ours, and the same for Python."""
    match draw(st.integers(0, 4 if depth else 1)):
        case 0 | 1:
            # Of the count, 0 and 1 may say the same each time.
            number = draw(st.integers(2, 8))
            sign = draw(st.sampled_from(SIGNS))
            ours, theirs = draw(st.sampled_from([("count", "count"), ("${1001}", "7")]))
            return f"{ours} {sign} {number}", f"{theirs} {sign} {number}"
        case 2:
            ours, theirs = draw(conditions(depth - 1))
            return f"not {ours}", f"not {theirs}"
        case 3:
            ours, theirs = draw(conditions(depth - 1))
            return f"({ours})", f"({theirs})"
        case _:
            word = draw(st.sampled_from(["and", "or"]))
            left, right = draw(conditions(depth - 1)), draw(conditions(depth - 1))
            return f"{left[0]} {word} {right[0]}", f"{left[1]} {word} {right[1]}"


@given(conditions(), st.integers(1, 9))
def test_words_and_brackets_bind_as_in_python(texts: tuple[str, str], count: int) -> None:
    ours, theirs = texts
    assert holds(ours, count) is eval(theirs, {}, {"count": count})  # its own text


@given(st.sampled_from(SIGNS), st.integers(-2, 4) | st.sampled_from((0.5, 1.5, 2.5)), st.booleans())
def test_what_the_count_never_or_always_is_is_refused(
    sign: str, number: float, count_is_first: bool
) -> None:
    text = f"count {sign} {number}" if count_is_first else f"{number} {sign} count"
    said = {eval(text, {}, {"count": count}) for count in range(1, 9)}  # its own text
    if len(said) == 1:
        with pytest.raises(ConditionError, match=r"this is (always|never) so"):
            condition(text)
    else:
        condition(text)


@given(st.text() | st.text(alphabet="count ${1001}$ppid.<>=!()'\"andornot357", max_size=40))
def test_any_text_is_a_condition_or_refused_at_a_place_inside(text: str) -> None:
    offset = 0
    try:
        condition(text)
    except ConditionError as error:
        offset = error.offset
    assert 0 <= offset <= len(text)

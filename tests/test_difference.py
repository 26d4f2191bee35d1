"""A difference as a diff of SML: where the marks stand, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from hsms_engine import Message
from hsms_engine.difference import brief, diff, indices, short
from hsms_engine.secs2 import U1, A, B, L
from hsms_engine.sml import parse_pattern


def shown(pattern: str, item: Any = None, **given: Any) -> list[str]:
    message = Message(1, 2, item=item, **given)
    difference = parse_pattern(pattern).difference(message)
    assert difference is not None
    return [*diff(message, difference)]


@pytest.mark.parametrize(
    ("pattern", "item", "lines"),
    [
        ("S1F2 <B 0>", B(1), ["  S1F2", "- <B 0x00>", "+ <B 0x01>"]),
        ("S1F2 <B 0>", None, ["  S1F2", "- <B 0x00>"]),
        ("S1F4 <B 0>", B(1), ["- S1F4", "+ S1F2", "  <B 0x01>"]),
        (
            "S1F2 <L [2] <L [1] <B 0>> <B 0>>",
            L(L(B(0)), B(1)),
            [
                *("  S1F2", "  <L [2]", "    <L [1]", "      <B 0x00>", "    >"),
                *("-   <B 0x00>", "+   <B 0x01>", "  >"),
            ],
        ),
        (
            "S1F2 <L [2] <L [0]> <L [1] <B 0>>>",
            L(L(), L()),
            ["  S1F2", "  <L [2]", "    <L [0]>", "    <L [0]>", "-     <B 0x00>", "  >"],
        ),
        (
            "S1F2 <L [2] <B 0> <B 1>>",
            L(B(0)),
            ["  S1F2", "  <L [1]", "    <B 0x00>", "-   <B 0x01>", "  >"],
        ),
        (
            "S1F2 <L [1] <B 0>>",
            L(B(0), B(1)),
            ["  S1F2", "  <L [2]", "    <B 0x00>", "+   <B 0x01>", "  >"],
        ),
    ],
)
def test_the_marks_stand_where_the_difference_is(pattern: str, item: Any, lines: list[str]) -> None:
    assert shown(pattern, item) == lines


def test_far_lines_are_left_out() -> None:
    numbers = [*range(30)]
    pattern = f"S1F2 <L [30] {' '.join(str(n if n != 15 else 99) for n in numbers)}>"
    assert shown(pattern, L(*map(U1, numbers))) == [
        "  ... 9 lines",
        *(f"    <U1 {number}>" for number in range(7, 15)),
        "-   99",
        "+   <U1 15>",
        *(f"    <U1 {number}>" for number in range(16, 24)),
        "  ... 7 lines",
    ]


def test_a_single_line_is_not_left_out() -> None:
    pattern = f"S1F2 <L [8] {' '.join('1' if n != 7 else '99' for n in range(8))}>"
    assert shown(pattern, L(*[U1(1)] * 8)) == [
        "  S1F2",
        "  <L [8]",
        *["    <U1 1>"] * 7,
        "-   99",
        "+   <U1 1>",
        "  >",
    ]


def test_a_body_that_is_no_secs_ii_is_told_in_its_header() -> None:
    expected, found = shown("S1F2 <B 0>", body=b"\xff")
    assert expected == "- <B 0x00>"
    assert found.startswith("+ S1F2 // a body of 1 bytes that is no SECS-II: ")


@pytest.mark.parametrize(("path", "found"), [("", ()), ("[1]", (0,)), ("[2][10]", (1, 9))])
def test_a_path_as_indices(path: str, found: tuple[int, ...]) -> None:
    assert indices(path) == found


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Message(1, 1, True), "S1F1 W"),
        (Message(1, 2, item=L(A("x"))), 'S1F2 <L [1] <A "x">>'),
        (Message(1, 2, item=A("x" * 200)), f'S1F2 <A "{"x" * 93}...'),
    ],
)
def test_a_message_in_one_line(message: Message, text: str) -> None:
    assert short(message) == text


def test_one_that_is_no_secs_ii_in_one_line() -> None:
    assert short(Message(1, 2, body=b"\xff")).startswith("S1F2 // a body of 1 bytes")


def test_sml_in_one_line() -> None:
    assert brief("<L [1]\n  <B 0>\n>") == "<L [1] <B 0> >"
    assert brief("x" * 200) == "x" * 97 + "..."

"""A run is drawn for a page without a script: each label is there, and a strange line is told."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from statecharts.draw import sequence
from tests.support.sequence_svg import drawn

STEPS = [
    ("host", "host", "enable", "HSMS connection: Connecting"),
    ("host", "tool", "Select.req & <more>; 100 %", "a note\n\nof three lines"),
    ("tool", "host", "Select.rsp 0", ""),
    ("", "", "the network is cut", ""),
    (
        "tool",
        "tool",
        "after T6",
        "NOT CONNECTED, Separation, Waiting to retry, and then more of it",
    ),
]


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter("text")]


def test_each_label_and_note_is_drawn() -> None:
    said = " ".join(texts(drawn(sequence(STEPS))))
    for *ends, label, note in STEPS:
        for words in (*ends, label, *note.splitlines()):
            assert words in said


def test_nothing_is_outside_the_drawing() -> None:
    picture = ET.fromstring(drawn(sequence(STEPS)))
    width, height = map(int, picture.attrib["viewBox"].split()[2:])
    for each in picture.iter("rect"):
        left, top = int(each.attrib["x"]), int(each.attrib["y"])
        assert left >= 0
        assert left + int(each.attrib["width"]) <= width
        assert 0 < top < top + int(each.attrib["height"]) <= height


@pytest.mark.parametrize(
    "text",
    [
        "graph TD\n    a --> b",
        "sequenceDiagram\n    loop every day",
        "sequenceDiagram\n    participant a0 as host\n    a0-->>a0: dashed",
        "sequenceDiagram\n    title a title",
    ],
)
def test_what_is_not_known_is_told_with_its_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^'.*' (begins no sequence diagram|is no line)"):
        drawn(text)

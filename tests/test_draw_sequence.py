"""A sequence diagram tells each step once, in order, and nothing lies on anything else."""

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from statecharts.draw import Message, sequence

STEPS = [
    Message("active", "active", "enable_requested", "idle -> connecting\ntimers: connect_timeout"),
    Message("active", "passive", "Select.req <1> & more"),
    Message("network", "network", "cut"),
    Message("", "", "from here for ever"),
    Message(
        "passive", "active", "a label that is so long that it has to be told in two lines", "x"
    ),
]
SVG = "{http://www.w3.org/2000/svg}"


def drawing(steps: list[Message] = STEPS) -> ET.Element:
    return ET.fromstring(sequence(steps, "A <title>", ("active", "network", "passive")))


def words(root: ET.Element) -> list[str]:
    return [each.text or "" for each in root.iter(f"{SVG}text")]


def test_every_step_and_every_note_is_told_in_order() -> None:
    told = " ".join(words(drawing()))
    at = -1
    for step in STEPS:
        for text in (step.label, *step.note.split("\n")):
            assert (at := told.find(text, at + 1)) >= 0, text


def test_actors_stand_in_the_order_asked_for_and_then_as_they_come() -> None:
    steps = [Message("late", "network", "x")]
    heads = words(ET.fromstring(sequence(steps, "", ("active", "network"))))[1:4]
    assert heads == ["active", "network", "late"]


def test_an_arrow_leads_from_one_actor_to_the_other() -> None:
    root = drawing([Message("active", "passive", "there"), Message("passive", "active", "back")])
    there, back = (each for each in root.iter(f"{SVG}line") if each.get("marker-end"))
    assert float(there.get("x1", "")) < float(there.get("x2", ""))
    assert (there.get("x1"), there.get("x2")) == (back.get("x2"), back.get("x1"))
    assert float(there.get("y1", "")) < float(back.get("y1", ""))


def test_no_two_texts_share_a_place() -> None:
    backgrounds = [
        (float(each.get("y", "")), float(each.get("y", "")) + float(each.get("height", "")))
        for each in drawing().iter(f"{SVG}rect")
        if (each.get("fill") == "#ffffff" and each.get("fill-opacity")) or each.get("rx") == "4"
    ]
    assert len(backgrounds) == len(STEPS) + 2
    for (_, end), (begin, _) in pairwise(backgrounds):
        assert end <= begin


def test_the_page_holds_every_text() -> None:
    root = drawing()
    left, top, width, height = (float(number) for number in root.get("viewBox", "").split())
    for each in root.iter(f"{SVG}rect"):
        x = float(each.get("x", ""))
        assert left <= x
        assert x + float(each.get("width", "")) <= left + width + 0.1
        assert float(each.get("y", "0")) + float(each.get("height", "")) <= top + height + 0.1


def test_a_label_has_room_between_its_actors() -> None:
    root = drawing([Message("active", "network", "a label of a good length indeed, here")])
    arrow = next(each for each in root.iter(f"{SVG}line") if each.get("marker-end"))
    background = next(each for each in root.iter(f"{SVG}rect") if each.get("fill-opacity"))
    span = float(arrow.get("x2", "")) - float(arrow.get("x1", ""))
    assert span > float(background.get("width", ""))


def test_plain_tuples_do_and_give_the_same_text() -> None:
    steps = [("a", "b", "there", ""), ("b", "a", "back", "note")]
    assert sequence(steps) == sequence(Message(*step) for step in steps)


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs an actor"):
        sequence([])

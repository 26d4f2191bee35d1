"""A sequence diagram tells each step once, in order, as Mermaid text that means just that."""

import html
import re

import pytest

from statecharts.draw import Message, fenced, sequence

STEPS = [
    Message("active", "active", "enable_requested", "idle -> connecting\ntimers: connect_timeout"),
    Message("active", "passive", "Select.req <1> & more; # 100 %% {x}"),
    Message("network", "network", "end"),
    Message("", "", "wrap: from here for ever"),
    Message("passive", "active", "", "x"),
]


def diagram(steps: list[Message] = STEPS) -> list[str]:
    return sequence(steps, "A <title>", ("active", "network", "passive")).splitlines()


def shown(text: str) -> str:
    """What Mermaid shows for a text: its entities are HTML's, with # for &#."""
    return html.unescape(re.sub(r"#(\d+);", r"&#\1;", text.replace("<br/>", "\n")))


def test_every_step_and_every_note_is_told_in_order_with_its_actors() -> None:
    first, title, *lines = map(str.strip, diagram())
    assert first == "sequenceDiagram"
    assert shown(title) == "title A <title>"
    assert lines[:3] == [
        "participant a0 as active",
        "participant a1 as network",
        "participant a2 as passive",
    ]
    assert [(line.partition(": ")[0], shown(line.partition(": ")[2])) for line in lines[3:]] == [
        ("a0->>a0", "enable_requested"),
        ("Note over a0", "idle -> connecting\ntimers: connect_timeout"),
        ("a0->>a2", "Select.req <1> & more; # 100 %% {x}"),
        ("a1->>a1", "end"),
        ("Note over a0,a2", "wrap: from here for ever"),
        ("a2->>a0", " "),
        ("Note over a0", "x"),
    ]


def test_no_text_is_taken_for_an_order_to_mermaid() -> None:
    for line in diagram()[1:]:
        text = line.partition(": ")[2]
        assert not re.search(r"[<>&%{}]", text.replace("<br/>", ""))
        assert not re.search(r"#(?!\d+;)|(?<!\d);", text)
        assert "wrap:" not in text


def test_actors_stand_in_the_order_asked_for_and_then_as_they_come() -> None:
    lines = sequence([Message("late", "network", "x")], "", ("active", "network")).splitlines()
    actors = [line.split(" as ")[1] for line in lines if " as " in line]
    assert actors == ["active", "network", "late"]
    assert not any("title" in line for line in lines)


def test_a_line_over_the_only_actor_names_it_once() -> None:
    lines = sequence([Message("", "", "for ever", "and a note")], "", ("alone",)).splitlines()
    assert [line.strip() for line in lines[2:]] == [
        "Note over a0: for ever",
        "Note over a0: and a note",
    ]


def test_plain_tuples_do_and_give_the_same_text() -> None:
    steps = [("a", "b", "there", ""), ("b", "a", "back", "note")]
    assert sequence(steps) == sequence(Message(*step) for step in steps)


def test_a_fenced_diagram_is_a_block_of_markdown() -> None:
    assert fenced(sequence([("a", "b", "x", "")])).splitlines()[::4] == [
        "```mermaid",
        "    a0->>a1: x",
    ]
    assert fenced("x\n") == "```mermaid\nx\n```\n"


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs an actor"):
        sequence([])

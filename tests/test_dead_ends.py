"""A part of a chart that is never left again is told, unless the chart says that it is meant."""

from __future__ import annotations

import dataclasses
import re

import pytest

from statecharts import Chart, ChartError, Machine, On, State, check, dead_ends
from statecharts.hsms import CHARTS, TRANSACTION


def made(states: tuple[State, ...], *arrows: str, ends: tuple[str, ...] = ()) -> Chart:
    """A chart with an event of its own for each arrow, ``"a > b"``; ``"a > "`` stays in a."""
    transitions = []
    for number, arrow in enumerate(arrows):
        source, to = (each.strip() for each in arrow.split(">"))
        transitions.append(On(f"came_{number}", source, to=to or None))
    events = tuple(on.event for on in transitions if on.event)
    return Chart("made", "Made", states, tuple(transitions), reported=events, ends=ends)


def leaves(*names: str) -> tuple[State, ...]:
    return tuple(map(State, names))


SIDES = State(
    "both",
    parallel=True,
    children=(State("one", children=leaves("a", "b")), State("other", children=leaves("c", "d"))),
)
NESTED = State("up", children=leaves("b", "c"))

OPEN = {
    "a ring": made(leaves("a", "b", "c"), "a > b", "b > c", "c > a"),
    "back from a side": made(leaves("a", "b", "c"), "a > b", "b > a", "a > c", "c > b"),
    "left by what is above": made((State("a"), NESTED), "a > up", "b > c", "up > a"),
    "never begun": made(leaves("a")),
    "stays in the first": made(leaves("a"), "a > "),
    "sides that come back": made((SIDES,), "a > b", "b > a", "c > d", "d > c"),
    "a side left from the other": made(
        (State("x"), SIDES), "x > both", "a > b", "c > d", "d > x"
    ),
    "meant": made(leaves("a", "b"), "a > b", ends=("b",)),
    "meant together": made((State("a"), NESTED), "a > up", "b > c", "c > b", ends=("up",)),
}  # fmt: skip

CLOSED = {
    "a leaf": (made(leaves("a", "b"), "a > b"), ["state b: no transition leaves it"]),
    "a leaf that stays": (made(leaves("a", "b"), "a > b", "b > "), ["state b: no transition"]),
    "a leaf entered again": (made(leaves("a", "b"), "a > b", "b > b"), ["state b: no transition"]),
    "a ring": (
        made(leaves("a", "b", "c"), "a > b", "b > c", "c > b"),
        ["states b, c: no transition leads out of them, and a never comes again; lead on"],
    ),
    "two": (made(leaves("a", "b", "c"), "a > b", "a > c"), ["state b: ", "state c: "]),
    "a leaf inside": (made((State("a"), NESTED), "a > up", "b > c", "b > a"), ["state c: "]),
    "in one side": (made((SIDES,), "a > b", "c > d", "d > c"), ["state b: "]),
    "half of it meant": (
        made(leaves("a", "b", "c"), "a > b", "b > c", "c > b", ends=("b",)),
        [r"states b, c: .* ends=\('b', 'c',\)"],
    ),
    "left, and meant not to be": (
        made(leaves("a", "b"), "a > b", "b > a", ends=("b",)),
        ["ends, b: it can be left; take it out"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_a_chart_that_can_always_go_on_has_none(name: str) -> None:
    assert list(dead_ends(OPEN[name])) == []


@pytest.mark.parametrize("name", CLOSED)
def test_what_is_never_left_is_told(name: str) -> None:
    chart, wanted = CLOSED[name]
    found = [str(each) for each in dead_ends(chart)]
    assert len(found) == len(wanted)
    for text, part in zip(found, wanted, strict=True):
        assert re.search(f"{re.escape(__file__)}: chart made, {part}", text), text
    # It is none of what lint refuses.
    check(chart)


def test_of_the_charts_of_hsms_only_a_closed_end_and_a_transaction_are_ever_over() -> None:
    found = {chart.id: [each.place for each in dead_ends(chart)] for chart in CHARTS}
    over = {id: places for id, places in found.items() if places}
    assert over.keys() == {"connection_active", "connection_passive", "transaction"}
    assert over["connection_active"] == over["connection_passive"] == ["state closed"]
    pending = TRANSACTION.state("pending").leaves
    assert over["transaction"] == [
        f"state {leaf.id}" for leaf in TRANSACTION.leaves if leaf not in pending
    ]


def test_ends_are_states_of_the_chart() -> None:
    with pytest.raises(ChartError, match="ends: there is no state 'bb'; check the spelling"):
        list(dead_ends(made(leaves("a", "b"), "a > b", ends=("bb",))))


def test_a_chart_with_ends_is_the_same_chart() -> None:
    chart = CLOSED["a leaf"][0]
    meant = dataclasses.replace(chart, ends=("b",))
    assert meant == chart
    assert Machine(meant).digest == Machine(chart).digest

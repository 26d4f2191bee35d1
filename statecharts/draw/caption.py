"""The text below a picture: its title, the charts' variables, and a legend.

The legend explains only what the picture has, so a small chart gets a small legend.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from statecharts.declare import Chart, Keep
from statecharts.machine import Machine, Snapshot

from .markup import ACCENT, LINE, heading, row, table
from .rows import EVERYTHING, Teller
from .view import Box, Look, View
from .words import plain


def values(chart: Chart, machine: Machine, snapshot: Snapshot | None) -> Iterator[str]:
    """The variables and parameters of a chart, each with its range and its value now."""
    now = machine.values(snapshot) if snapshot else {}
    for variable in chart.variables:
        shown = f" = {now[variable.name]}" if now else ""
        yield plain(f"{variable.name}{shown} (0..{variable.highest})")
    for parameter in chart.parameters:
        value = machine.parameters[parameter.name]
        yield plain(f"{parameter.name} = {value} ({parameter.lowest}..{parameter.highest})")


def _wins(view: View, box: Box, around: frozenset[str | None]) -> bool:
    """Whether a state in this box takes an event that a box around it takes too."""
    led = (rows for (source, _), rows in view.arrows().items() if source == box.state.id)
    shown = (*view.rows(box), *(row for rows in led for row in rows))
    own = frozenset(event for row in shown for event in row.events if event is not None)
    return bool(own & around) or any(_wins(view, each, around | own) for each in box.children)


def _legend(tellers: list[Teller]) -> Iterator[str]:
    views = [teller.view for teller in tellers]
    boxes = [(view, box) for view in views for top in view.boxes for box in top.walk()]
    rows = [row for view, box in boxes for row in view.rows(box)]
    led = [row for view in views for rows in view.arrows().values() for row in rows]
    events = {event for row in (*rows, *led) for event in row.events}
    sides = []
    if any(events.intersection(view.chart.received) for view in views):
        sides.append("received from the peer")
    if any(events.intersection(view.chart.local) for view in views):
        sides.append("<B>called by the user</B>")
    if any(events.intersection(view.chart.reported) for view in views):
        sides.append("<I>reported by the driver or another chart</I>")
    yield "event [guard] / effects, in order. Events: " + ", ".join(sides)
    notes = []
    if any(view.told for view in views):
        notes.append(f'<FONT COLOR="{ACCENT}">told by one chart and taken by the other</FONT>')
    if None in events:
        notes.append("<I>at once</I>: as soon as the guard holds")
    if any(view.chart.timers for view in views):
        notes.append("timer: runs exactly while in the state")
    if any(isinstance(action, Keep) for row in (*rows, *led) for action in row.do):
        notes.append("runs on: the timer does not start again")
    if any(each.to is None for each in rows):
        notes.append("no arrow: stays in the state")
    if any(each.to is not None for each in rows):
        notes.append("\N{RIGHTWARDS ARROW}: goes there")
    if any(_wins(view, top, frozenset()) for view in views for top in view.boxes):
        notes.append("a row of an inner state wins over the same event of the box around it")
    if any(box.is_final for _, box in boxes):
        notes.append("double border: final, without a way out")
    if any(box.look is Look.ASIDE for _, box in boxes):
        notes.append("broken border: shown on another page")
    if any(box.look is Look.COARSE for _, box in boxes):
        notes.append(
            "an overview: of what stays inside a box, only what is remembered or told is shown"
        )
    if any(box.is_folded for _, box in boxes):
        notes.append(
            "an arrow at a closed box begins or ends at a state inside it; "
            "not every state there has all its effects"
        )
    for teller in tellers:
        for phrase, members in teller.used.items():
            if phrase == EVERYTHING:
                notes.append(f"{phrase}: all {len(members)} events a peer may cause")
            else:
                chart = teller.view.chart
                named = (each for each in chart.events if each in members)
                meaning = " or ".join(teller.words.event(chart, each) for each in named)
                notes.append(f"{escape(phrase)}: {escape(meaning)}")
    yield from _lines(list(dict.fromkeys(notes)))


def _lines(notes: list[str]) -> Iterator[str]:
    """Two notes a line: a page is wide, and the legend must stay short."""
    for start in range(0, len(notes), 2):
        yield "; ".join(notes[start : start + 2])


def caption(title: str, facts: list[str], tellers: list[Teller], marked: Snapshot | None) -> str:
    """The graph's label."""
    lines = [heading(escape(title), 13, "LEFT")]
    if facts:
        lines.append(row("".join(escape(each) + LINE for each in facts)))
    legend = list(_legend(tellers))
    if marked:
        legend.append(f'<FONT COLOR="{ACCENT}">marked</FONT>: {escape(marked.leaves)} is active')
    lines.append(row(LINE.join(legend) + LINE))
    return table(lines, padding=1)

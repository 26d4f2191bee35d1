"""What stands below a picture: the chart's title, its variables, and a legend.

The legend explains exactly what the picture has, so that a small chart is not buried under it.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from statecharts.declare import Chart
from statecharts.machine import Machine, Snapshot

from .markup import ACCENT, LINE, row, table
from .rows import (
    EVERYTHING,
    arrows,
    box_rows,
    bundles,
    returns,
    tells_everything,
)
from .words import Side, side


def _values(chart: Chart, machine: Machine, snapshot: Snapshot | None) -> Iterator[str]:
    now = machine.values(snapshot) if snapshot else {}
    for variable in chart.variables:
        told = f" = {now[variable.name]}" if now else ""
        yield f"{variable.name}{told} (0..{variable.highest})"
    for parameter in chart.parameters:
        value = machine.parameters[parameter.name]
        yield f"{parameter.name} = {value} ({parameter.lowest}..{parameter.highest})"


def _legend(chart: Chart, snapshot: Snapshot | None) -> Iterator[str]:
    sides = {side(chart, on.event) for on in chart.transitions}
    yield "event [guard] / effects, in order"
    if Side.RECEIVED in sides:
        yield "received from the peer"
    if Side.LOCAL in sides:
        yield "<B>called by the user</B>"
    if Side.REPORTED in sides:
        yield "<I>reported by the driver or another chart</I>"
    if Side.AT_ONCE in sides:
        yield "<I>at once</I>: as soon as the guard holds"
    if chart.timers:
        yield "timer: runs exactly while in the state"
        yield "after: the timer has ended"
    if any(on.to is None for on in chart.transitions):
        yield "no arrow: stays in the state"
    if any(returns(chart, on) for on in chart.transitions):
        yield "\N{RIGHTWARDS ARROW} again: leaves the state and enters it again"
    if bundles(chart):
        yield "\N{RIGHTWARDS ARROW} in a box: goes there, the dashed arrow stands for all of these"
    boxes = [told for state in chart.walk() for told in box_rows(chart, state)]
    arrow_rows = [told for rows in arrows(chart).values() for told in rows]
    if any(tells_everything(chart, told) for told in (*boxes, *arrow_rows)):
        yield f"{EVERYTHING}: all {len(chart.received)} events a peer may cause"
    if snapshot:
        yield f'<FONT COLOR="{ACCENT}">marked</FONT>: {escape(snapshot.leaves)} is active'


def caption(chart: Chart, machine: Machine, snapshot: Snapshot | None) -> str:
    """The graph's label."""
    title = f'<FONT POINT-SIZE="13"><B>{escape(chart.title)}</B></FONT>'
    lines = [f'<TR><TD ALIGN="LEFT">{title}</TD></TR>']
    if values := LINE.join(map(escape, _values(chart, machine, snapshot))):
        lines.append(row(values + LINE))
    lines.append(row(LINE.join(_legend(chart, snapshot)) + LINE))
    return table(lines, padding=1)

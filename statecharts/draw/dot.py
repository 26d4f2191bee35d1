"""Charts as DOT text, made from the declaration only.

The same arguments always give the same text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from html import escape

from statecharts.declare import Chart
from statecharts.machine import Machine, Snapshot
from statecharts.refusals import expect
from statecharts.router import System, told_by

from .caption import caption, values
from .markup import FONT, INK, PAGE, PALE, heading, quoted, table
from .picture import Picture
from .rows import Teller
from .view import View
from .words import PLAIN, Words


def _document(id: str, label: str, lines: list[str]) -> str:
    face = f"fontname={quoted(FONT)}, fontcolor={quoted(INK)}"
    return "\n".join(
        [
            f"digraph {quoted(id)} {{",
            f"  graph [compound=true, newrank=true, rankdir=TB, bgcolor={quoted(PAGE)}, {face}]",
            "  graph [nodesep=0.12, ranksep=0.2, pad=0.12, labelloc=b, labeljust=l]",
            f"  graph [label={label}]",
            f"  node [shape=box, {face}, margin=0.05]",
            f"  edge [color={quoted(INK)}, arrowsize=0.7, penwidth=0.9]",
            *lines,
            "}",
            "",
        ]
    )


def _known(charts: Collection[Chart], states: Collection[str]) -> None:
    ids = {state.id for chart in charts for state in chart.walk()}
    for id in states:
        if id not in ids:
            raise ValueError(f"{', '.join(chart.id for chart in charts)}: no state {id!r} to draw")


def draw(
    chart: Chart,
    snapshot: Snapshot | None = None,
    parameters: Mapping[str, int] | None = None,
    *,
    fold: Collection[str] = (),
    page: Collection[str] = (),
    words: Words = PLAIN,
    title: str = "",
) -> str:
    """DOT text of a chart. With ``snapshot`` its states are marked and its values shown.

    Each state in ``fold`` is shown as one closed box. With ``page`` the picture shows only these
    states. See ``View`` for both, and ``Words`` for ``words``. Raises ``ValueError`` for a state
    that the chart does not have.
    """
    _known((chart,), (*fold, *page))
    machine = Machine(chart, **(parameters or {}))
    teller = Teller(View(chart, frozenset(fold), frozenset(page), frozenset()), words)
    active = frozenset(snapshot.states) if snapshot else frozenset()
    lines = list(Picture(teller, active, 1).whole())
    facts = list(values(chart, machine, snapshot))
    return _document(chart.id, caption(title or chart.title, facts, [teller], snapshot), lines)


def draw_system(system: System, *, fold: Collection[str] = (), words: Words = PLAIN) -> str:
    """DOT text of a system: its charts side by side, and in colour what they tell each other.

    It is an overview: see ``View``, also for ``fold``. Raises ``ValueError`` for a state that no
    chart has.
    """
    expect(system, System)
    _known(system.charts, fold)
    events = {event for chart in system.charts for event in chart.events}
    shared = frozenset(
        event for chart in system.charts for event in told_by(chart) if event in events
    )
    lines: list[str] = []
    tellers = []
    for chart in system.charts:
        tellers.append(
            Teller(View(chart, frozenset(fold), frozenset(), shared, is_overview=True), words)
        )
        name = table([heading(escape(chart.title), 12, "LEFT")], padding=2)
        lines += [
            f"  subgraph cluster_of_{chart.id} {{",
            f"    graph [style={quoted('rounded')}, color={quoted(PALE)}, margin=10]",
            f"    graph [labelloc=t, labeljust=l, label={name}]",
            *Picture(tellers[-1], frozenset(), 2).whole(),
            "  }",
        ]
    facts = list(_tellings(system, words))
    return _document(system.id, caption(system.title, facts, tellers, None), lines)


def _tellings(system: System, words: Words) -> Iterator[str]:
    """For each pair of charts: what the first tells the second."""
    for teller in system.charts:
        for taker in system.charts:
            shared = [event for event in told_by(teller) if event in taker.reported]
            if shared:
                names = ", ".join(words.event(taker, event) for event in shared)
                yield f"{teller.title} \N{RIGHTWARDS ARROW} {taker.title}: {names}"


def part(system: System, charts: Collection[str], id: str, title: str) -> System:
    """A system of some charts of another system, with what they tell each other."""
    kept = tuple(chart for chart in system.charts if chart.id in charts)
    known = {event for chart in kept for event in chart.events}
    outside = {event: None for chart in kept for event in told_by(chart) if event not in known}
    return System(id, title, kept, tuple(outside))

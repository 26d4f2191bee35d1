"""Charts as DOT text: the picture everyone sees, made from the declaration and from nothing else.

* Nested states are clusters; an arrow from or to one ends at its border.
* What is told on an arrow is a node of its own in the middle of the arrow, so it can neither cross
  another text nor be taken for another arrow's.
* Arrows are laid out in the order of declaration: what leads back to an earlier state is handed to
  ``dot`` the other way round, so that ranks follow the chart and not a search of ``dot``'s.
* The text depends on the arguments only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from html import escape
from textwrap import wrap

from statecharts.declare import Chart
from statecharts.machine import Machine, Snapshot
from statecharts.router import System, told_by

from .caption import caption, values
from .markup import (
    ACCENT,
    CURRENT,
    FILLS,
    FOLDED,
    FONT,
    INK,
    PAGE,
    PALE,
    heading,
    quoted,
    row,
    table,
)
from .rows import Teller
from .view import Box, Look, View
from .words import PLAIN, Words


def _first(box: Box) -> str:
    """The node that stands for a box where an arrow begins or ends at it from above."""
    return f"text_{box.state.id}" if box.children else box.state.id


def _last(box: Box) -> str:
    return _last(box.children[-1]) if box.children else box.state.id


class _Picture:
    """One chart's part of a drawing in the making: lines of DOT, and which states are current."""

    def __init__(self, teller: Teller, active: frozenset[str], depth: int) -> None:
        self.teller, self.view = teller, teller.view
        self.active = active
        self.boxes = {box.state.id: box for top in self.view.boxes for box in top.walk()}
        self.order = {id: index for index, id in enumerate(self.boxes)}
        self.lines: list[str] = []
        self.depth = depth

    def say(self, depth: int, line: str) -> None:
        self.lines.append("  " * (depth + self.depth) + line)

    def text(self, box: Box, width: int) -> str:
        """The text of a box: its name, what holds in it, what it answers by itself."""
        side = "LEFT" if box.children else "CENTER"
        facts, answers = self.teller.facts(box, width), self.teller.answers(box, width)
        rows = [*self.name(box, side), *map(row, facts)]
        if facts and answers:
            rows.append("<HR/>")
        return table([*rows, *map(row, answers)], padding=2)

    def name(self, box: Box, side: str) -> list[str]:
        lines = [box.state.name] if box.children else wrap(box.state.name, 15)
        return [heading(escape(line), 11, side) for line in lines]

    def looks(self, box: Box, *, region: bool) -> str:
        current = box.state.id in self.active
        broken = region or box.look is Look.ASIDE
        styles = "rounded,filled,dashed" if broken else "rounded,filled"
        if box.children:
            fill = (
                PAGE
                if box.look is Look.ASIDE
                else FILLS[min(len(self.view.chart.path(box.state.id)), len(FILLS)) - 1]
            )
        elif current:
            fill = CURRENT
        else:
            fill = FOLDED if box.look is Look.COARSE and box.state.children else PAGE
        colour = ACCENT if current else PALE if box.look is Look.ASIDE else INK
        looks = {"style": styles, "fillcolor": fill, "color": colour}
        told = [f"{key}={quoted(value)}" for key, value in looks.items()]
        return ", ".join([*told, f"penwidth={2.0 if current else 1.0}"])

    def box(self, box: Box, depth: int, *, region: bool = False) -> None:
        id, looks = box.state.id, self.looks(box, region=region)
        if not box.children:
            final = ", peripheries=2" if box.is_final else ""
            self.say(depth, f"{id} [label={self.text(box, 34)}, {looks}{final}]")
            return
        self.say(depth, f"subgraph cluster_{id} {{")
        self.say(depth + 1, f"graph [{looks}, margin=8, label={quoted('')}]")
        self.say(depth + 1, f"text_{id} [shape=plain, label={self.text(box, 56)}]")
        if box.look is not Look.ASIDE:
            if box.state.parallel:
                self.fork(box, depth + 1)
            elif box.children[0].state is box.state.children[0]:
                self.start(id, box.children[0], depth + 1)
        for child in box.children:
            self.box(child, depth + 1, region=box.state.parallel)
            self.say(depth + 1, f"text_{id} -> {_first(child)} [style=invis, weight=0]")
        self.labels(id, depth + 1)
        self.say(depth, "}")

    def start(self, owner: str, child: Box, depth: int) -> None:
        """The dot from which the initial state is entered."""
        self.say(depth, f"start_{owner} [shape=point, width=0.11, color={quoted(INK)}]")
        head = f", lhead=cluster_{child.state.id}" if child.children else ""
        if owner in self.boxes:
            # Beside the text, to its right.
            self.say(depth, f"{{ rank=same; text_{owner} -> start_{owner} [style=invis] }}")
        self.say(depth, f"start_{owner} -> {_first(child)} [weight=8{head}]")

    def fork(self, box: Box, depth: int) -> None:
        """The bar from which all regions are entered at once."""
        id = box.state.id
        self.say(
            depth,
            f"fork_{id} [shape=box, width=1.6, height=0.05, fixedsize=true, style=filled, "
            f"fillcolor={quoted(INK)}, label={quoted('')}]",
        )
        for child in box.children:
            head = f" [lhead=cluster_{child.state.id}]" if child.children else ""
            self.say(depth, f"fork_{id} -> {_first(child)}{head}")

    # Arrows.

    def home(self, source: str, target: str) -> str:
        """The innermost box around both ends, in which the arrow's text stands."""
        paths = (self.view.chart.path(source)[:-1], self.view.chart.path(target)[:-1])
        around = [one.id for one, other in zip(*paths, strict=False) if one is other]
        return around[-1] if around else ""

    def labels(self, home: str, depth: int) -> None:
        for (source, target), rows in self.view.arrows().items():
            if self.home(source, target) == home:
                text = table([row(line) for line in self.teller.arrow(rows)], padding=2)
                self.say(depth, f"{source}__{target} [shape=plain, label={text}]")

    def arrows(self) -> None:
        for source, target in self.view.arrows():
            one, other = self.boxes[source], self.boxes[target]
            middle = f"{source}__{target}"
            if self.order[source] < self.order[target]:
                self.hop(_last(one), middle, one, "tail")
                self.hop(middle, _first(other), other, "head")
            else:
                self.hop(_last(other), middle, other, "tail", back=True)
                self.hop(middle, _first(one), one, "head", back=True)

    def hop(self, tail: str, head: str, box: Box, end: str, *, back: bool = False) -> None:
        """Half an arrow. ``end``: at which side ``box`` is; ``back``: it points the other way."""
        parts = [f"l{end}=cluster_{box.state.id}"] if box.children else []
        if back:
            parts += ["dir=back", "arrowtail=normal"] if end == "tail" else ["arrowhead=none"]
        elif end == "tail":
            parts.append("arrowhead=none")
        self.say(0, f"{tail} -> {head}" + (f" [{', '.join(parts)}]" if parts else ""))

    def whole(self) -> Iterator[str]:
        """The chart: its boxes, and then its arrows."""
        first = self.view.boxes[0]
        if first.look is not Look.ASIDE and first.state is self.view.chart.states[0]:
            self.start(f"of_{self.view.chart.id}", first, 0)
        for box in self.view.boxes:
            self.box(box, 0)
        self.labels("", 0)
        self.arrows()
        return iter(self.lines)


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
    """DOT text of a chart; the states of ``snapshot`` are highlighted, its values told.

    States in ``fold`` are shown as one box each; with ``page`` the picture is about these states
    only. See ``View`` for both, and ``Words`` for ``words``. Raises ``ValueError`` for a state that
    the chart does not have.
    """
    _known((chart,), (*fold, *page))
    machine = Machine(chart, **(parameters or {}))
    teller = Teller(View(chart, frozenset(fold), frozenset(page), frozenset()), words)
    active = frozenset(snapshot.states) if snapshot else frozenset()
    lines = list(_Picture(teller, active, 1).whole())
    told = list(values(chart, machine, snapshot))
    return _document(chart.id, caption(title or chart.title, told, [teller], snapshot), lines)


def draw_system(system: System, *, fold: Collection[str] = (), words: Words = PLAIN) -> str:
    """DOT text of a system: its charts side by side, and in colour what they tell each other.

    An overview: see ``View``, also for ``fold``. Raises ``ValueError`` for a state of no chart.
    """
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
            *_Picture(tellers[-1], frozenset(), 2).whole(),
            "  }",
        ]
    told = list(_tellings(system, words))
    return _document(system.id, caption(system.title, told, tellers, None), lines)


def _tellings(system: System, words: Words) -> Iterator[str]:
    """Which chart tells which other one what."""
    for teller in system.charts:
        for taker in system.charts:
            shared = [event for event in told_by(teller) if event in taker.reported]
            if shared:
                names = ", ".join(words.event(taker, event) for event in shared)
                yield f"{teller.title} \N{RIGHTWARDS ARROW} {taker.title}: {names}"


def part(system: System, charts: Collection[str], id: str, title: str) -> System:
    """Some charts of a system, and what they tell each other."""
    kept = tuple(chart for chart in system.charts if chart.id in charts)
    known = {event for chart in kept for event in chart.events}
    outside = {event: None for chart in kept for event in told_by(chart) if event not in known}
    return System(id, title, kept, tuple(outside))

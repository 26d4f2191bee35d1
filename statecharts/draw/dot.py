"""A chart as DOT text: the picture everyone sees, made from the declaration and from nothing else.

* Nested states are clusters; an arrow from or to one ends at its border.
* What is told on an arrow is a node of its own in the middle of the arrow, so it can neither cross
  another text nor be taken for another arrow's.
* Arrows are laid out in the order of declaration: what leads back to an earlier state is handed to
  ``dot`` the other way round, so that ranks follow the chart and not a search of ``dot``'s.
* The text depends on the chart, the snapshot and the parameters only.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import pairwise

from statecharts.declare import Chart, State
from statecharts.machine import Machine, Snapshot

from .caption import caption
from .markup import ACCENT, CURRENT, FONT, INK, PALE, quoted, row, table
from .rows import Row, arrow_lines, arrows, box_lines, bundles, shared

# From the outermost box inwards.
FILLS = ("#f5f7fa", "#e9eef4", "#dde5ee")
LEAF = "#ffffff"


class _Picture:
    """One drawing in the making: the lines of DOT, and which states are current."""

    def __init__(self, chart: Chart, active: frozenset[str]) -> None:
        self.chart = chart
        self.active = active
        self.order = {state.id: index for index, state in enumerate(chart.walk())}
        self.lines: list[str] = []

    def say(self, depth: int, line: str) -> None:
        self.lines.append("  " * depth + line)

    # Which node stands for a state where an arrow has to end at one.

    def first(self, state: State) -> str:
        return f"text_{state.id}" if state.children else state.id

    def last(self, state: State) -> str:
        return self.last(state.children[-1]) if state.children else state.id

    # Boxes.

    def box(self, state: State, width: int) -> str:
        """The text of a state's box: its name, what holds in it, what it answers by itself."""
        facts, answers = box_lines(self.chart, state, width)
        side = "LEFT" if state.children else "CENTER"
        name = f'<FONT POINT-SIZE="12"><B>{escape(state.name)}</B></FONT>'
        rows = [f'<TR><TD ALIGN="{side}">{name}</TD></TR>', *map(row, facts)]
        if facts and answers:
            rows.append("<HR/>")
        return table([*rows, *map(row, answers)], padding=2)

    def state(self, state: State, depth: int, *, region: bool = False) -> None:
        current = state.id in self.active
        colour, pen = (ACCENT, 2.0) if current else (INK, 1.0)
        style = "rounded,filled,dashed" if region else "rounded,filled"
        if not state.children:
            fill = CURRENT if current else LEAF
            self.say(
                depth,
                f"{state.id} [label={self.box(state, 32)}, style={quoted(style)}, "
                f"fillcolor={quoted(fill)}, color={quoted(colour)}, penwidth={pen}]",
            )
            return
        self.say(depth, f"subgraph cluster_{state.id} {{")
        fill = FILLS[min(len(self.chart.path(state.id)), len(FILLS)) - 1]
        self.say(
            depth + 1,
            f"style={quoted(style)}; fillcolor={quoted(fill)}; color={quoted(colour)}; "
            f"penwidth={pen}; margin=8; label={quoted('')}",
        )
        self.say(
            depth + 1, f"text_{state.id} [shape=none, margin=0.08, label={self.box(state, 56)}]"
        )
        if state.parallel:
            self.fork(state, depth + 1)
        else:
            self.start(state.id, state.children[0], depth + 1)
        for child in state.children:
            self.state(child, depth + 1, region=state.parallel)
            self.say(depth + 1, f"text_{state.id} -> {self.first(child)} [style=invis, weight=0]")
        if not state.parallel:
            self.stack(state.children, depth + 1)
        self.labels(state.id, depth + 1)
        self.say(depth, "}")

    def stack(self, states: tuple[State, ...], depth: int) -> None:
        """Keep each box of boxes wholly below the one before it: a page is narrow."""
        boxes = [state for state in states if state.children]
        for upper, lower in pairwise(boxes):
            for leaf in upper.walk():
                if not leaf.children:
                    self.say(depth, f"{leaf.id} -> {self.first(lower)} [style=invis, weight=30]")

    def start(self, owner: str, child: State, depth: int) -> None:
        """The dot from which the initial state is entered."""
        self.say(depth, f"start_{owner} [shape=point, width=0.11, color={quoted(INK)}]")
        head = f", lhead=cluster_{child.id}" if child.children else ""
        if owner:
            self.say(depth, f"text_{owner} -> start_{owner} [style=invis, weight=8]")
        self.say(depth, f"start_{owner} -> {self.first(child)} [weight=8{head}]")

    def fork(self, state: State, depth: int) -> None:
        """The bar from which all regions are entered at once."""
        self.say(
            depth,
            f"fork_{state.id} [shape=box, width=1.6, height=0.05, fixedsize=true, style=filled, "
            f"fillcolor={quoted(INK)}, label={quoted('')}]",
        )
        self.say(depth, f"text_{state.id} -> fork_{state.id} [style=invis, weight=8]")
        for child in state.children:
            head = f" [lhead=cluster_{child.id}]" if child.children else ""
            self.say(depth, f"fork_{state.id} -> {self.first(child)}{head}")

    # Arrows.

    def home(self, source: str, target: str) -> str:
        """The innermost box around both ends, in which the arrow's text stands."""
        depth = shared(self.chart, source, target)
        return self.chart.path(source)[depth - 1].id if depth else ""

    def labels(self, home: str, depth: int) -> None:
        for (source, target), rows in arrows(self.chart).items():
            if self.home(source, target) == home:
                self.say(
                    depth, f"{source}__{target} [shape=plain, label={_told(self.chart, rows)}]"
                )

    def edges(self) -> None:
        for source, target in arrows(self.chart):
            one, other = self.chart.state(source), self.chart.state(target)
            middle = f"{source}__{target}"
            if self.order[source] < self.order[target]:
                self.say(1, self.hop(self.last(one), middle, one, "tail"))
                self.say(1, self.hop(middle, self.first(other), other, "head"))
            else:
                self.say(1, self.hop(self.last(other), middle, other, "tail", back=True))
                self.say(1, self.hop(middle, self.first(one), one, "head", back=True))

        for source, target in bundles(self.chart):
            one, other = self.chart.state(source), self.chart.state(target)
            upper, lower = sorted((one, other), key=lambda state: self.order[state.id])
            looks = [f"style=dashed, color={quoted(PALE)}, penwidth=1.6"]
            if upper is other:
                looks.append("dir=back, arrowtail=normal")
            looks += [f"ltail=cluster_{upper.id}"] if upper.children else []
            looks += [f"lhead=cluster_{lower.id}"] if lower.children else []
            self.say(1, f"{self.last(upper)} -> {self.first(lower)} [{', '.join(looks)}]")

    def hop(self, tail: str, head: str, state: State, end: str, *, back: bool = False) -> str:
        """Half an arrow. ``end``: at which side ``state`` is; ``back``: it points the other way."""
        parts = []
        if state.children:
            parts.append(f"l{end}=cluster_{state.id}")
        if back:
            parts += ["dir=back", "arrowtail=normal"] if end == "tail" else ["arrowhead=none"]
        elif end == "tail":
            parts.append("arrowhead=none")
        return f"{tail} -> {head}" + (f" [{', '.join(parts)}]" if parts else "")

    def whole(self, caption: str) -> str:
        self.say(0, f"digraph {quoted(self.chart.id)} {{")
        self.say(
            1,
            f"graph [compound=true, newrank=true, rankdir=TB, fontname={quoted(FONT)}, "
            f"fontcolor={quoted(INK)}, nodesep=0.1, ranksep=0.17, pad=0.15, labelloc=b, "
            f"labeljust=l, label={caption}]",
        )
        self.say(
            1, f"node [shape=box, fontname={quoted(FONT)}, fontcolor={quoted(INK)}, margin=0.04]"
        )
        self.say(1, f"edge [color={quoted(INK)}, arrowsize=0.7, penwidth=0.9]")
        self.start("", self.chart.states[0], 1)
        for state in self.chart.states:
            self.state(state, 1)
        self.stack(self.chart.states, 1)
        self.labels("", 1)
        self.edges()
        self.say(0, "}")
        return "\n".join(self.lines) + "\n"


def _told(chart: Chart, rows: tuple[Row, ...]) -> str:
    return table([row(line) for line in arrow_lines(chart, rows)], padding=1)


def draw(
    chart: Chart,
    snapshot: Snapshot | None = None,
    parameters: Mapping[str, int] | None = None,
) -> str:
    """DOT text of a chart; the states of ``snapshot`` are highlighted, its values told."""
    machine = Machine(chart, **(parameters or {}))
    active = frozenset(snapshot.states) if snapshot else frozenset()
    return _Picture(chart, active).whole(caption(chart, machine, snapshot))

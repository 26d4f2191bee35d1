"""One chart's part of a drawing, in lines of DOT.

* States with children are clusters; an arrow from or to a cluster stops at its border.
* The text of an arrow is a node of its own in the middle of the arrow, so it cannot cross another
  text, and nobody can take it for the text of another arrow.
* Arrows follow the order of declaration: an arrow back to an earlier state is given to ``dot`` the
  other way round, so the ranks follow the chart and not a search of ``dot``.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from textwrap import wrap

from .markup import ACCENT, CURRENT, FILLS, FOLDED, INK, PAGE, PALE, heading, quoted, row, table
from .rows import Teller
from .view import Box, Look


def _first(box: Box) -> str:
    """The node that an arrow uses when it meets a box from above."""
    return f"text_{box.state.id}" if box.children else box.state.id


def _last(box: Box) -> str:
    return _last(box.children[-1]) if box.children else box.state.id


class Picture:
    """A drawing in the making, and the states to be marked in it."""

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
        """The text of a box: its name, its timer and actions, and what it answers inside."""
        facts, answers = self.teller.facts(box, width), self.teller.answers(box, width)
        # A box with only a name breaks the name, which would else make the box too wide.
        lines = [box.state.name] if facts or answers or box.children else wrap(box.state.name, 15)
        side = "LEFT" if box.children else "CENTER"
        rows = [heading("<BR/>".join(map(escape, lines)), 11, side), *map(row, facts)]
        if facts and answers:
            rows.append("<HR/>")
        return table([*rows, *map(row, answers)], padding=2)

    def fill(self, box: Box) -> str:
        """The colour of a box: darker the deeper it lies; a leaf is white like the page."""
        if box.look is Look.ASIDE:
            return PAGE
        if box.children:
            return FILLS[min(len(self.view.chart.path(box.state.id)), len(FILLS)) - 1]
        if box.state.id in self.active:
            return CURRENT
        return FOLDED if box.state.children else PAGE

    def looks(self, box: Box, *, region: bool) -> str:
        is_current, is_aside = box.state.id in self.active, box.look is Look.ASIDE
        pen = ACCENT if is_current else PALE if is_aside else INK
        style = "rounded,filled,dashed" if region or is_aside else "rounded,filled"
        return (
            f"style={quoted(style)}, fillcolor={quoted(self.fill(box))}, color={quoted(pen)}, "
            f"penwidth={2.0 if is_current else 1.0}"
        )

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
        """The point with the arrow to the initial state."""
        self.say(depth, f"start_{owner} [shape=point, width=0.11, color={quoted(INK)}]")
        head = f", lhead=cluster_{child.state.id}" if child.children else ""
        if owner in self.boxes:
            # Beside the text: a page is narrow in height too.
            self.say(depth, f"{{ rank=same; text_{owner} -> start_{owner} [style=invis] }}")
        self.say(depth, f"start_{owner} -> {_first(child)} [weight=8{head}]")

    def fork(self, box: Box, depth: int) -> None:
        """The bar with an arrow to each region: all are entered at once."""
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
        """The innermost box around source and target: the arrow's text is placed in it."""
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
                self.half_arrow(_last(one), middle, one, "tail")
                self.half_arrow(middle, _first(other), other, "head")
            else:
                self.half_arrow(_last(other), middle, other, "tail", back=True)
                self.half_arrow(middle, _first(one), one, "head", back=True)

    def half_arrow(self, tail: str, head: str, box: Box, end: str, *, back: bool = False) -> None:
        """Half an arrow. ``end``: the side where ``box`` is; ``back``: it points the other way."""
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

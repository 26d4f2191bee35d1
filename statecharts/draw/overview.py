"""A system in one picture: its charts side by side, coarse, and the wires between them.

An overview leaves out on purpose, and says so below: ``folded`` states hide what is in them,
``hidden`` ones are not drawn; an arrow tells the reactions that a wire begins or ends with, if it
has such, else the first ones, and no other effects. A wire is a line between the charts; its ends
have the same words in colour.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import pairwise

from statecharts.declare import Action, Chart, Effect, Increment, On, Set, State
from statecharts.router import System, Wire

from .markup import ACCENT, FONT, INK, LINE, quoted, row, small, table
from .rows import Word, shared, wrapped
from .words import action_words, event_words, typeface

_TOLD = 3


def part(system: System, charts: Iterable[str], id: str, title: str) -> System:
    """Some charts of a system and the wires between them."""
    kept = frozenset(charts)
    return System(
        id,
        title,
        tuple(chart for chart in system.charts if chart.id in kept),
        tuple(wire for wire in system.wires if wire.source in kept and wire.target in kept),
    )


class _Overview:
    def __init__(self, system: System, folded: frozenset[str], hidden: frozenset[str]) -> None:
        self.system = system
        self.folded, self.hidden = folded, hidden
        self.lines: list[str] = []

    def shown(self, chart: Chart, id: str) -> str | None:
        """The box in which a state is seen: itself, the folded one around it, or none."""
        path = [state.id for state in chart.path(id)]
        if self.hidden.intersection(path):
            return None
        return next((each for each in path if each in self.folded), path[-1])

    def entered(self, chart: Chart, id: str) -> str | None:
        """Where an arrow to ``id`` ends: at its initial leaf, as far as that is seen."""
        state = chart.state(id)
        while state.children and state.id not in self.folded:
            state = state.children[0]
        return self.shown(chart, state.id)

    def boxes(self, chart: Chart, states: tuple[State, ...], depth: int) -> None:
        for state in states:
            if state.id in self.hidden:
                continue
            margin = "  " * depth
            if state.children and state.id not in self.folded:
                self.lines.append(
                    f"{margin}subgraph cluster_{state.id} {{ style={quoted('rounded,filled')}; "
                    f'fillcolor="#e9eef4"; label=""; margin=8'
                )
                name = f"<B>{escape(state.name)}</B>"
                self.lines.append(f"{margin}  text_{state.id} [shape=plain, label=<{name}>]")
                for child in state.children:
                    below = self.entered(chart, child.id)
                    if below is not None:
                        self.lines.append(f"{margin}  text_{state.id} -> {below} [style=invis]")
                self.boxes(chart, state.children, depth + 1)
                self.texts(chart, state.id, depth + 1)
                self.lines.append(f"{margin}}}")
            else:
                self.lines.append(
                    f'{margin}{state.id} [style="rounded,filled", fillcolor="#ffffff", '
                    f"label={self.box(chart, state)}]"
                )

    def box(self, chart: Chart, state: State) -> str:
        """A state's name, and what goes over wires without leaving it."""
        _, effects = self.wired(chart)
        inside = [
            on
            for on in chart.transitions
            if self.matters(chart, on)
            and self.shown(chart, on.source) == state.id
            and (on.to is None or self.shown(chart, on.to) == state.id)
        ]
        lines = self.told(chart, inside, essential_only=True)
        for each in state.walk():
            for action in (*each.enter, *each.exit):
                if isinstance(action, Effect) and action in effects:
                    where = [] if each is state else [Word(f"{each.name}:")]
                    lines.append(wrapped([*where, *self.asked((action,), effects)], 24))
        name = f'<TR><TD><FONT POINT-SIZE="12"><B>{escape(state.name)}</B></FONT></TD></TR>'
        return table([name, *map(row, lines)], padding=1)

    def wired(self, chart: Chart) -> tuple[frozenset[str], frozenset[Effect]]:
        """The events and the effects of a chart that have a wire."""
        events = {wire.event for wire in self.system.wires if wire.target == chart.id}
        effects = {wire.effect for wire in self.system.wires if wire.source == chart.id}
        return frozenset(events), frozenset(effects)

    def matters(self, chart: Chart, on: On) -> bool:
        """Whether a reaction moves something: a state, a variable, or the other chart."""
        _, effects = self.wired(chart)
        return on.to is not None or any(
            isinstance(each, Set | Increment) or each in effects for each in on.do
        )

    def told(self, chart: Chart, ons: list[On], *, essential_only: bool = False) -> list[str]:
        """The lines that stand for all of ``ons``."""
        events, effects = self.wired(chart)
        groups: dict[tuple[str, tuple[Action, ...]], dict[str | None, None]] = {}
        for on in ons:
            done = tuple(
                each for each in on.do if isinstance(each, Set | Increment) or each in effects
            )
            groups.setdefault((on.when, done), {})[on.event] = None
        essential = {
            key: group
            for key, group in groups.items()
            if effects.intersection(key[1]) or events.intersection(group)
        }
        lines = []
        for (when, done), group in (essential if essential_only else essential or groups).items():
            words = []
            told = list(group)
            if not essential_only and not effects.intersection(done):
                # On an arrow only what makes the row essential counts.
                told = [event for event in group if event in events] or told
            for event in told[:_TOLD]:
                comma = "," if event != told[-1] else ""
                colour = ACCENT if event in events else ""
                words.append(
                    Word(event_words(chart, event) + comma, typeface(chart, event), colour)
                )
            words += [Word("…")] if len(told) > _TOLD else []
            words += [Word(f"[{when}]")] if when else []
            lines.append(wrapped(words, 20))
            if done:
                lines.append(wrapped(self.asked(done, effects), 24))
        return lines

    def asked(self, actions: tuple[Action, ...], wired: frozenset[Effect]) -> list[Word]:
        words = [Word("/")]
        for action in actions:
            text = action_words(action)
            mark = ";" if action is not actions[-1] else ""
            colour = ACCENT if isinstance(action, Effect) and action in wired else ""
            words.append(Word(text + mark, color=colour))
        return words

    def arrows(self, chart: Chart) -> dict[tuple[str, str], list[On]]:
        """What each arrow between two boxes stands for."""
        pairs: dict[tuple[str, str], list[On]] = {}
        for on in chart.transitions:
            if on.to is None:
                continue
            source, target = self.shown(chart, on.source), self.entered(chart, on.to)
            if source and target and source != target:
                for seen in self.leaves(chart, source):
                    pairs.setdefault((seen, target), []).append(on)
        for (seen, _), ons in pairs.items():
            # What the state itself does comes before what only a state inside it does.
            own = [on for on in ons if on.source == seen]
            ons[:] = own + [on for on in ons if on.source != seen]
        return pairs

    def texts(self, chart: Chart, home: str, depth: int) -> None:
        """The texts of the arrows whose innermost common box is ``home``."""
        for (source, target), ons in self.arrows(chart).items():
            common = shared(chart, source, target)
            if home == (chart.path(source)[common - 1].id if common else ""):
                rows = [row(line) for line in self.told(chart, ons)]
                self.lines.append(
                    "  " * depth
                    + f"{source}__{target} [shape=plain, label={table(rows, padding=1)}]"
                )

    def lead(self, chart: Chart) -> None:
        order = {state.id: index for index, state in enumerate(chart.walk())}
        for source, target in self.arrows(chart):
            middle = f"{source}__{target}"
            if order[source] < order[target]:
                self.lines.append(f"  {source} -> {middle} [arrowhead=none]")
                self.lines.append(f"  {middle} -> {target}")
            else:
                self.lines.append(f"  {target} -> {middle} [dir=back, arrowtail=normal]")
                self.lines.append(f"  {middle} -> {source} [arrowhead=none]")

    def leaves(self, chart: Chart, id: str) -> list[str]:
        state = chart.state(id)
        if not state.children or id in self.folded:
            return [id]
        return [leaf for child in state.children for leaf in self.leaves(chart, child.id)]

    def chart(self, chart: Chart, *, leftmost: bool) -> None:
        self.lines.append(f"  subgraph cluster_chart_{chart.id} {{")
        title = f'<FONT POINT-SIZE="12"><B>{escape(chart.title)}</B></FONT>'
        self.lines.append(
            f"    label=<{title}>; labeljust=l; labelloc=t; style={quoted('rounded,filled')}; "
            f"fillcolor={quoted('#f5f7fa')}; color={quoted(INK)}; margin=10"
        )
        top = self.entered(chart, chart.states[0].id)
        self.lines.append(f"    start_{chart.id} [shape=point, width=0.11]")
        self.lines.append(f"    start_{chart.id} -> {top}")
        self.boxes(chart, chart.states, 2)
        self.texts(chart, "", 2)
        self.ports(chart)
        port = f"{chart.id}_top"
        self.lines.append("  }")
        if self.system.wires:
            # Beside the first state, towards the other chart; the rest of the column follows.
            left, right = (top, port) if leftmost else (port, top)
            self.lines.append(f"  {{ rank=same; {left} -> {right} [style=invis] }}")

    def ports(self, chart: Chart) -> None:
        """Invisible points at which the wires end, one below the other."""
        for row_id in ("top", *range(len(self.system.wires))):
            self.lines.append(f"    {chart.id}_{row_id} [shape=point, style=invis, width=0.01]")
        self.lines.append(f"    {chart.id}_top -> {chart.id}_0 [style=invis, weight=9]")
        self.column(chart.id)

    def column(self, name: str) -> None:
        for one, other in pairwise(range(len(self.system.wires))):
            self.lines.append(f"      {name}_{one} -> {name}_{other} [style=invis, weight=9]")

    def wire(self, index: int, wire: Wire) -> None:
        """A wire in a row of its own between the charts."""
        left, right = sorted((wire.source, wire.target), key=self.place)
        self.lines.append(f"  {{ rank=same; {left}_{index}; wire_{index}; {right}_{index} }}")
        looks = f"style=dashed, color={quoted(ACCENT)}"
        first, last = (
            (", arrowhead=none", "") if left == wire.source else (", dir=back", ", arrowhead=none")
        )
        self.lines.append(
            f"  {left}_{index} -> wire_{index} [{looks}{first}, ltail=cluster_chart_{left}]"
        )
        self.lines.append(
            f"  wire_{index} -> {right}_{index} [{looks}{last}, lhead=cluster_chart_{right}]"
        )

    def place(self, chart: str) -> int:
        return [each.id for each in self.system.charts].index(chart)

    def whole(self, caption: str) -> str:
        self.lines.append(f"digraph {quoted(self.system.id)} {{")
        face = f"fontname={quoted(FONT)}, fontcolor={quoted(INK)}"
        self.lines.append(
            f"  graph [compound=true, newrank=true, {face}, nodesep=0.12, ranksep=0.2, pad=0.15, "
            f"labelloc=b, labeljust=l, label={caption}]"
        )
        self.lines.append(f"  node [shape=box, {face}, fontsize=12, margin=0.08]")
        self.lines.append(f"  edge [color={quoted(INK)}, arrowsize=0.7, penwidth=0.9]")
        first, *others = self.system.charts
        self.chart(first, leftmost=True)
        self.lines.append('  subgraph cluster_wires { style=invis; label=""')
        for index, wire in enumerate(self.system.wires):
            text = f'<FONT COLOR="{ACCENT}">{escape(action_words(wire.effect))}</FONT>'
            self.lines.append(f"    wire_{index} [shape=plain, label=<{small(text)}>]")
        self.column("wire")
        self.lines.append("  }")
        for chart in others:
            self.chart(chart, leftmost=False)
        for chart in self.system.charts:
            self.lead(chart)
        for index, wire in enumerate(self.system.wires):
            self.wire(index, wire)
        return "\n".join([*self.lines, "}"]) + "\n"


def draw_system(
    system: System, folded: frozenset[str] = frozenset(), hidden: frozenset[str] = frozenset()
) -> str:
    """DOT text of a system. ``folded`` and ``hidden`` name states that are not opened or drawn."""
    title = (
        f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="13"><B>{escape(system.title)}</B></FONT></TD></TR>'
    )
    legend = [
        "An overview; &#8230; stands for others, the ways to Closed are left out. The charts' own",
        "pictures have every reaction.",
        "received from the peer, <B>called by the user</B>, <I>reported</I>",
        f'<FONT COLOR="{ACCENT}">dashed</FONT>: what one chart asks is an event of the other',
    ]
    return _Overview(system, folded, hidden).whole(
        table([title, row(LINE.join(legend) + LINE)], padding=1)
    )

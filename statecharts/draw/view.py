"""What a picture shows of a chart: its boxes and arrows.

* ``fold`` names states that are shown as one closed box. A transition out of such a state, from
  anywhere inside, is an arrow out of the box. A transition that stays inside is shown only when it
  matters elsewhere: when it changes a variable or tells another chart of the picture something. In
  an overview all boxes are shown in this way. A picture with closed boxes that is no page leaves
  out what changes nothing, also in its open boxes.
* ``page`` names the states that a picture is about; none means all. A page shows these states and
  every transition into or out of them; of the states beyond it shows only the names.

These two are the only choices: each box and each arrow stands for states and transitions of the
chart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_never

from statecharts.declare import Action, Chart, Increment, On, Set, State, Tell


class Look(Enum):
    """How much of a state is shown: all, only what matters elsewhere, or only its name."""

    WHOLE = auto()
    COARSE = auto()
    ASIDE = auto()


@dataclass(frozen=True, slots=True)
class Box:
    """A state as it is shown. A final one has no transition out; a folded one is a closed box."""

    state: State
    look: Look
    children: tuple[Box, ...]
    is_final: bool
    is_folded: bool

    def walk(self) -> Iterator[Box]:
        """This box and all below it, in document order."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Row:
    """Reactions that differ only in their event; ``to`` is set when no arrow shows it."""

    events: tuple[str | None, ...]
    when: str
    do: tuple[Action, ...]
    to: str | None = None


def _grouped(rows: Iterator[Row]) -> tuple[Row, ...]:
    groups: dict[tuple[str, tuple[Action, ...], str | None], dict[str | None, None]] = {}
    for each in rows:
        groups.setdefault((each.when, each.do, each.to), {}).update(dict.fromkeys(each.events))
    return tuple(Row(tuple(events), *key) for key, events in groups.items())


def _merged(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """The rows without those that say the same twice, because several states lead the same way.

    When one of these states answers an event with more effects, only that row is kept.
    """

    def more(one: Row, other: Row) -> bool:
        return one.when == other.when and set(one.do) > set(other.do)

    kept = []
    for each in rows:
        richer = {event for other in rows if more(other, each) for event in other.events}
        if events := tuple(event for event in each.events if event not in richer):
            kept.append(Row(events, each.when, each.do))
    return tuple(kept)


def _initial(state: State) -> Iterator[State]:
    """A state and the states that are entered with it."""
    yield state
    for child in state.children if state.parallel else state.children[:1]:
        yield from _initial(child)


class View:
    """One chart as a picture shows it."""

    def __init__(
        self,
        chart: Chart,
        fold: frozenset[str],
        page: frozenset[str],
        told: frozenset[str],
        *,
        is_overview: bool = False,
    ) -> None:
        self.chart = chart
        self.told = told
        self.is_overview = is_overview
        self._fold = fold
        self._is_brief = bool(fold) and not page
        self._paths = {
            state.id: [each.id for each in chart.path(state.id)] for state in chart.walk()
        }
        known = page.intersection(self._paths)
        self._central = {
            id for id, path in self._paths.items() if not known or known.intersection(path)
        }
        self._around = {up for id in self._central for up in self._paths[id]}
        self.transitions = tuple(filter(self._is_drawn, chart.transitions))
        kept = set(self._around)
        for on in self.transitions:
            kept.update(self._paths[on.source])
        self.boxes = self._boxes(chart.states, kept)

    def _is_drawn(self, on: On) -> bool:
        return on.source in self._around or on.to in self._central

    def _boxes(self, states: tuple[State, ...], kept: set[str]) -> tuple[Box, ...]:
        return tuple(self._box(state, kept) for state in states if state.id in kept)

    def _box(self, state: State, kept: set[str]) -> Box:
        is_folded = state.id in self._fold
        if state.id not in self._around:
            look = Look.ASIDE
        elif self.is_overview or is_folded:
            look = Look.COARSE
        else:
            look = Look.WHOLE
        children = () if is_folded else self._boxes(state.children, kept)
        ways = {on.source for on in self.chart.transitions if on.to is not None}
        is_final = not state.children and not ways.intersection(self._paths[state.id])
        return Box(state, look, children, is_final, is_folded)

    # Transitions.

    def seen(self, id: str) -> str:
        """The box that stands for a state: its own or the folded one around it."""
        return next((each for each in self._paths[id] if each in self._fold), id)

    def is_inside(self, on: On) -> bool:
        """Whether a transition has no target, or its target is a box around it or another page."""
        if on.to is None or on.to not in self._around:
            return True
        return self.seen(on.to) in self._paths[self.seen(on.source)]

    def _matters(self, action: Action) -> bool:
        match action:
            case Set() | Increment():
                return True
            case Tell(event):
                return event in self.told
            case _:
                return False

    def matter(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        """The actions that matter elsewhere: they change a variable or tell another chart."""
        return tuple(filter(self._matters, actions))

    def rows(self, box: Box) -> tuple[Row, ...]:
        """The rows that are shown inside a box."""
        match box.look:
            case Look.ASIDE:
                return ()
            case Look.WHOLE:
                return _grouped(
                    Row((on.event,), on.when, on.actions, on.to)
                    for on in self.transitions
                    if on.source == box.state.id and self.is_inside(on)
                    if on.actions or on.to is not None or not self._is_brief
                )
            case Look.COARSE:
                return _grouped(
                    Row((on.event,), on.when, self.matter(on.do), self._entered(on))
                    for on in self.transitions
                    if self.seen(on.source) == box.state.id and self.is_inside(on)
                    if self.matter(on.do) or self._entered(on)
                )
            case _:
                assert_never(box.look)

    def _entered(self, on: On) -> str | None:
        """The state that a transition inside such a box enters, if its entry matters elsewhere."""
        if on.to is None:
            return None
        above = [each for each in self.chart.path(on.to) if each.id not in self._paths[on.source]]
        entered = (*above, *_initial(self.chart.state(on.to)))
        return on.to if any(self.matter(each.enter) for each in entered) else None

    def arrows(self) -> dict[tuple[str, str], tuple[Row, ...]]:
        """The rows of each arrow: (source, target) to rows."""
        pairs: dict[tuple[str, str], list[On]] = {}
        for on in self.transitions:
            if on.to is not None and not self.is_inside(on):
                pairs.setdefault((self.seen(on.source), self.seen(on.to)), []).append(on)
        return {
            pair: _merged(_grouped(Row((on.event,), on.when, on.actions) for on in ons))
            for pair, ons in pairs.items()
        }

"""Questions about a chart that several rules ask. They need unique ids and known references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from statecharts.declare import Chart, On, State

# The place, what is wrong, and what to do instead.
Finding = tuple[str, str, str]
Rule = Callable[[Chart], Iterator[Finding]]


def ids(state: State) -> set[str]:
    """The state and all below it."""
    return {each.id for each in state.walk()}


def defaults(state: State) -> list[State]:
    """The states that are entered when ``state`` is the target, ``state`` first."""
    children = state.children if state.parallel else state.children[:1]
    return [state, *(each for child in children for each in defaults(child))]


def entered(chart: Chart, on: On) -> list[State]:
    """The states that ``on`` may enter: its target, the states inside, and parallel regions."""
    if on.to is None:
        return []
    target, source = chart.path(on.to), chart.path(on.source)
    found = list(defaults(target[-1]))
    for above, below in pairwise(target):
        if above not in source:
            found.append(above)
            if above.parallel:
                beside = (child for child in above.children if child is not below)
                found += [each for child in beside for each in defaults(child)]
    return found


def left(chart: Chart, on: On) -> list[State]:
    """The states that ``on`` surely exits: its source, what is around it, and parallel regions."""
    if on.to is None:
        return []
    around = chart.path(on.to)[:-1]
    found = [state for state in chart.path(on.source) if state not in around]
    return [*found, *(each for state in found for each in _regions(state))]


def _regions(state: State) -> list[State]:
    """The states that are active whenever ``state`` is."""
    inside = state.children if state.parallel else ()
    return [each for child in inside for each in (child, *_regions(child))]


def by_source(chart: Chart) -> dict[tuple[str, str | None], list[On]]:
    """The transitions of each state on each event, in the order declared."""
    found: dict[tuple[str, str | None], list[On]] = {}
    for on in chart.transitions:
        found.setdefault((on.source, on.event), []).append(on)
    return found


def unanswered(
    state: State, event: str, declared: dict[tuple[str, str | None], list[On]]
) -> list[State]:
    """The leaves of ``state`` in which ``event`` may find no transition inside ``state``.

    Any guard may be false. A parallel state answers when one of its regions always answers.
    """
    if any(not on.when for on in declared.get((state.id, event), ())):
        return []
    if not state.children:
        return [state]
    below = [unanswered(child, event, declared) for child in state.children]
    if state.parallel and not all(below):
        return []
    return [leaf for leaves_below in below for leaf in leaves_below]

"""States that a chart never leaves again. Whoever runs a chart that goes on for ever asks.

``lint`` does not, because such a state is nothing that anybody understands differently. Only the
declaration is read: a guard that is never true, or an event that never comes, is not seen here. The
search of ``statecharts.explore`` sees that, with ``CanAlwaysReach``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from statecharts.declare import Chart, On, State

from .lookup import Finding, defaults, entered


def _exited(chart: Chart, on: On) -> set[str]:
    """The leaves that ``on`` exits, each if it is active."""
    assert on.to is not None
    around = chart.path(on.to)[:-1]
    path = chart.path(on.source)
    outermost = next(state for state in path if state not in around)
    found = {leaf.id for leaf in outermost.leaves}
    # In a state above the source that is not parallel, only what is below the source is active.
    for above, below in pairwise(path):
        if above.id in {state.id for state in outermost.walk()} and not above.parallel:
            beside = (child for child in above.children if child is not below)
            found -= {leaf.id for child in beside for leaf in child.leaves}
    return found


def _next(chart: Chart) -> dict[str, set[str]]:
    """The leaves that a transition may lead to, from each."""
    found: dict[str, set[str]] = {leaf.id: set() for leaf in chart.leaves}
    for on in chart.transitions:
        if on.to is not None:
            after = {state.id for state in entered(chart, on) if not state.children}
            for leaf in _exited(chart, on):
                found[leaf] |= after
    return found


def _reached(start: str, follows: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for there in follows[waiting.pop()] - seen:
            seen.add(there)
            waiting.append(there)
    return seen


def _initial(chart: Chart) -> set[str]:
    first: State = chart.states[0]
    return {state.id for state in defaults(first) if not state.children}


def _traps(chart: Chart) -> Iterator[tuple[str, ...]]:
    """The leaves, in document order, of each part of the chart that is entered and never left."""
    follows, initial = _next(chart), _initial(chart)
    reached = {leaf: _reached(leaf, follows) for leaf in follows}
    told: set[str] = set()
    for leaf, inside in reached.items():
        part = inside | {leaf}
        if leaf not in told and not part & initial and all(leaf in reached[m] for m in inside):
            told |= part
            yield tuple(each for each in follows if each in part)


def dead_ends(chart: Chart) -> Iterator[Finding]:
    """Each part of a linted chart that is never left, unless ``ends`` names it; and idle ends."""
    named = {leaf.id for id in chart.ends for leaf in chart.state(id).leaves}
    traps = list(_traps(chart))
    for trap in traps:
        if not named.issuperset(trap):
            names, ends = ", ".join(trap), ", ".join(map(repr, trap))
            first = chart.states[0].id
            yield (
                f"state {names}" if len(trap) == 1 else f"states {names}",
                "no transition leaves it"
                if len(trap) == 1
                else f"no transition leads out of them, and {first} never comes again",
                f"lead on from there, or say that it is meant: ends=({ends},)",
            )
    for id in chart.ends:
        if not any(leaf.id in trap for leaf in chart.state(id).leaves for trap in traps):
            yield f"ends, {id}", "it can be left", "take it out of ends"

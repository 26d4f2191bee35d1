"""Every mutant of a chart with a single fault, as a small mistake in writing could make it.

A check is worth as much as the faults it finds. Each mutant differs from the chart in one place.
When properties and obligations accept a mutant that behaves differently, they say too little.
Mutants are ordinary declarations, made with ``dataclasses.replace``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..declare import Action, Chart, On, Set, State, Tell
from ..lint import check
from ..router import told_by


@dataclass(frozen=True, slots=True)
class Mutant:
    """A chart with one fault. ``fault`` describes it; no two mutants of a chart have the same.

    ``transition`` is the number of the transition that is changed or dropped, None for a state.
    """

    fault: str
    chart: Chart
    transition: int | None = None

    def __str__(self) -> str:
        return f"{self.chart.id}: {self.fault}"


def mutants(chart: Chart) -> Iterator[Mutant]:
    """All single-fault mutants, in the order of the declaration. Raises ``ChartError``."""
    check(chart)
    for index, on in enumerate(chart.transitions):
        before, rest = chart.transitions[:index], chart.transitions[index + 1 :]
        yield Mutant(f"drop transition {on}", replace(chart, transitions=before + rest), index)
        for fault, changed in _transition_faults(chart, on):
            transitions = (*before, changed, *rest)
            whole = replace(chart, transitions=transitions)
            yield Mutant(f"{fault} of transition {on}", whole, index)
    for state in chart.walk():
        for fault, altered in _state_faults(chart, state):
            states = tuple(_with(each, altered) for each in chart.states)
            yield Mutant(f"{fault} of state {state.id}", replace(chart, states=states))


def _transition_faults(chart: Chart, on: On) -> Iterator[tuple[str, On]]:
    for fault, actions in _action_faults(chart, on.do):
        yield fault, replace(on, do=actions)
    if on.when:
        yield "negate the guard", replace(on, when=f"not ({on.when})")
        yield "drop the guard", replace(on, when="")
    if on.to is None:
        yield "leave and enter again instead", replace(on, to=on.source)
    else:
        if on.event is not None:
            yield "no target", replace(on, to=None)
        for state in chart.walk():
            if _rest(state) != _rest(chart.state(on.to)):
                yield f"target {state.id} instead", replace(on, to=state.id)


def _rest(state: State) -> tuple[str, ...]:
    """The leaves that entry of ``state`` leads to. Targets with the same leaves are no fault."""
    if state.parallel:
        return tuple(leaf for child in state.children for leaf in _rest(child))
    return _rest(state.children[0]) if state.children else (state.id,)


def _state_faults(chart: Chart, state: State) -> Iterator[tuple[str, State]]:
    for fault, actions in _action_faults(chart, state.enter):
        yield f"{fault} on entry", replace(state, enter=actions)
    for fault, actions in _action_faults(chart, state.exit):
        yield f"{fault} on exit", replace(state, exit=actions)
    if state.timer is not None:
        yield f"drop timer {state.timer.id}", replace(state, timer=None)
        for timer in chart.timers:
            if timer != state.timer:
                yield f"timer {timer.id} instead", replace(state, timer=timer)
    if len(state.children) > 1 and not state.parallel:
        first, second, *others = state.children
        yield f"start in {second.id}", replace(state, children=(second, first, *others))


def _action_faults(
    chart: Chart, actions: tuple[Action, ...]
) -> Iterator[tuple[str, tuple[Action, ...]]]:
    told = told_by(chart)
    for index, action in enumerate(actions):
        before, rest = actions[:index], actions[index + 1 :]
        yield f"drop {action}", before + rest
        if rest:
            yield f"swap {action} and {rest[0]}", (*before, rest[0], action, *rest[1:])
        for other in _mistaken(action, told):
            yield f"{other} instead of {action}", (*before, other, *rest)


def _mistaken(action: Action, told: tuple[str, ...]) -> Iterator[Action]:
    """What could be written instead: another value, or another event that is told."""
    match action:
        case Set(variable, value):
            yield Set(variable, 0 if value else 1)
        case Tell(event) if len(told) > 1:
            yield Tell(told[(told.index(event) + 1) % len(told)])
        case _:
            pass


def _with(state: State, altered: State) -> State:
    """``state``, where the state with the id of ``altered`` is replaced by ``altered``."""
    if state.id == altered.id:
        return altered
    children = tuple(_with(child, altered) for child in state.children)
    return state if children == state.children else replace(state, children=children)

"""Every mutant of a chart with a single fault, as a small mistake in writing could make it.

A check is worth as much as the faults it finds. Each mutant differs from the chart in one place.
When properties and obligations accept a mutant that behaves differently, they say too little.
Mutants are ordinary declarations, made with ``dataclasses.replace``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from ..declare import Action, Chart, On, Set, State, Tell
from ..guards import parse
from ..linting import check
from ..router import System


@dataclass(frozen=True, slots=True)
class Mutant:
    """A chart with one fault. ``fault`` describes it; no two mutants of a chart have the same.

    ``plain`` is the chart without it. ``events`` are those whose steps may differ from the plain
    chart's; None: every step may.
    """

    fault: str
    chart: Chart
    plain: Chart
    events: frozenset[str] | None = None

    def __str__(self) -> str:
        return f"{self.chart.id}: {self.fault}"


def mutants(chart: Chart) -> Iterator[Mutant]:
    """All single-fault mutants, in the order of the declaration. Raises ``ChartError``."""
    check(chart)
    return _mutants(chart, _Faults(_vocabulary(chart), misplaced=True))


def mutants_of_telling(system: System) -> Iterator[Mutant]:
    """Mutants of what the charts of a system tell: an event in place of another that is told.

    The event is any that a chart of the system reports, and none that the teller itself tells:
    those are among the ``mutants`` of the chart. Raises ``ChartError``.
    """
    for chart in system.charts:
        check(chart)
        told = set(_vocabulary(chart))
        others = chain.from_iterable(each.reported for each in system.charts if each is not chart)
        wrong = tuple(Tell(event) for event in others if Tell(event) not in told)
        yield from _mutants(chart, _Faults(wrong, misplaced=False))


@dataclass(frozen=True, slots=True)
class _Faults:
    """``words``: the actions that may stand where another should.

    With ``misplaced`` an action may also be too many, too few, or too early, and everything else in
    the chart may be wrong; without it, the words stand in place of a ``Tell``.
    """

    words: tuple[Action, ...]
    misplaced: bool

    def of_actions(self, actions: tuple[Action, ...]) -> Iterator[tuple[str, tuple[Action, ...]]]:
        for index, action in enumerate(actions):
            before, rest = actions[:index], actions[index + 1 :]
            if self.misplaced:
                yield f"drop {action}", before + rest
                if rest and rest[0] != action:
                    yield f"swap {action} and {rest[0]}", (*before, rest[0], action, *rest[1:])
            if self.misplaced or isinstance(action, Tell):
                for other in self.words:
                    if other != action:
                        yield f"{other} instead of {action}", (*before, other, *rest)
        if self.misplaced:
            for other in self.words:
                yield f"add {other}", (*actions, other)


def _mutants(chart: Chart, faults: _Faults) -> Iterator[Mutant]:
    for index, on in enumerate(chart.transitions):
        before, rest = chart.transitions[:index], chart.transitions[index + 1 :]
        for fault, changed in _of_transition(chart, on, faults):
            events = {each.event for each in (on, *changed)}
            yield Mutant(
                f"{fault} {on}" if not changed else f"{fault} of transition {on}",
                replace(chart, transitions=(*before, *changed, *rest)),
                chart,
                frozenset(each for each in events if each) if None not in events else None,
            )
    for state in chart.walk():
        for fault, altered in _of_state(chart, state, faults):
            states = tuple(_with(each, altered) for each in chart.states)
            yield Mutant(f"{fault} of state {state.id}", replace(chart, states=states), chart)


def _vocabulary(chart: Chart) -> tuple[Action, ...]:
    """Every action of the chart, each once, and every variable set to 0 and to 1."""
    states = (actions for state in chart.walk() for actions in (state.enter, state.exit))
    said = chain.from_iterable((*states, *(on.do for on in chart.transitions)))
    values = (Set(each.name, value) for each in chart.variables for value in (0, 1))
    return tuple(dict.fromkeys((*said, *values)))


def _of_transition(
    chart: Chart, on: On, faults: _Faults
) -> Iterator[tuple[str, tuple[On] | tuple[()]]]:
    for fault, actions in faults.of_actions(on.do):
        yield fault, (replace(on, do=actions),)
    if not faults.misplaced:
        return
    yield "drop transition", ()
    for guard in _guards(on.when):
        yield f"guard [{guard}]" if guard else "drop the guard", (replace(on, when=guard),)
    for timer in chart.timers:
        if timer == on.keep:
            yield f"do not keep {timer.id}", (replace(on, keep=None),)
        elif on.to is not None:
            yield f"keep {timer.id}", (replace(on, keep=timer),)
    for state in chart.walk():
        if state.leaves != chart.state(on.source).leaves:
            yield f"source {state.id} instead", (replace(on, source=state.id),)
    if on.event is not None:
        for event in chart.events:
            if event != on.event:
                yield f"event {event} instead", (replace(on, event=event),)
    if on.to is None:
        yield "leave and enter again instead", (replace(on, to=on.source),)
    else:
        if on.event is not None:
            yield "no target", (replace(on, to=None),)
        for state in chart.walk():
            if _rest(state) != _rest(chart.state(on.to)):
                yield f"target {state.id} instead", (replace(on, to=state.id),)


def _rest(state: State) -> tuple[str, ...]:
    """The leaves that entry of ``state`` leads to. Targets with the same leaves are no fault."""
    if state.parallel:
        return tuple(leaf for child in state.children for leaf in _rest(child))
    return _rest(state.children[0]) if state.children else (state.id,)


# For each comparison, those that differ from it where its boundary is misjudged.
_NEIGHBOURS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.NotEq),
    ast.LtE: (ast.Lt, ast.Eq),
    ast.Gt: (ast.GtE, ast.NotEq),
    ast.GtE: (ast.Gt, ast.Eq),
    ast.Eq: (ast.LtE, ast.GtE),
    ast.NotEq: (ast.Lt, ast.Gt),
}


def _guards(guard: str) -> Iterator[str]:
    """The guard negated, dropped (""), and with one boundary, number or word next to the right one.

    Two of them may say the same of the values that the chart has.
    """
    if guard:
        yield ""
        yield f"not ({guard})"
        yield from (ast.unparse(ast.fix_missing_locations(each)) for each in _near(parse(guard)))


def _near(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for index, value in enumerate(values):
                for near in _near(value):
                    yield ast.BoolOp(op, [*values[:index], near, *values[index + 1 :]])
        case ast.UnaryOp(op=op, operand=operand):
            for near in _near(operand):
                yield ast.UnaryOp(op, near)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            for other in _NEIGHBOURS[type(op)]:
                yield ast.Compare(left, [other()], [right])
            for near in _near(left):
                yield ast.Compare(near, [op], [right])
            for near in _near(right):
                yield ast.Compare(left, [op], [near])
        case ast.Constant(value=int(number)):
            for other_number in (number - 1, number + 1):
                if other_number >= 0:
                    yield ast.Constant(other_number)
        case _:
            pass


def _of_state(chart: Chart, state: State, faults: _Faults) -> Iterator[tuple[str, State]]:
    for fault, actions in faults.of_actions(state.enter):
        yield f"{fault} on entry", replace(state, enter=actions)
    for fault, actions in faults.of_actions(state.exit):
        yield f"{fault} on exit", replace(state, exit=actions)
    if not faults.misplaced:
        return
    for timer in chart.timers:
        if timer == state.timer:
            yield f"drop timer {timer.id}", replace(state, timer=None)
        elif state.timer is not None:
            yield f"timer {timer.id} instead", replace(state, timer=timer)
    if len(state.children) > 1 and not state.parallel:
        first, second, *others = state.children
        yield f"start in {second.id}", replace(state, children=(second, first, *others))


def _with(state: State, altered: State) -> State:
    """``state``, where the state with the id of ``altered`` is replaced by ``altered``."""
    if state.id == altered.id:
        return altered
    children = tuple(_with(child, altered) for child in state.children)
    return state if children == state.children else replace(state, children=children)

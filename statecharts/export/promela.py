"""A chart or a system of charts in Promela, for Spin.

A chart becomes one byte for its active leaf, and one variable for each of its variables. The
transitions are written out for each leaf (exits from the inside out, then the transition's own
actions, then entries). This code shares nothing with python-statemachine, so Spin's result is
independent of it.

One event, with everything that the charts then tell each other, is one indivisible step. So Spin
stores exactly the states that our own search finds, and their numbers can be compared.

Charts with parallel states have more than one active leaf and are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from statecharts.declare import Action, Chart, Effect, Increment, On, Set, Start, State, Stop, Tell
from statecharts.guards import render
from statecharts.linting import Problem, check
from statecharts.machine import Machine
from statecharts.refusals import expect
from statecharts.router import Router, System, SystemSnapshot, told_by

from .source import source

# Gives the Promela statements for an effect that is for the driver.
Outside = Callable[[Effect], str]

_BYTE = 255


class UnsupportedChartError(ValueError):
    """The chart has something that this export cannot write."""

    def __init__(self, chart: Chart, place: str, what: str, remedy: str) -> None:
        super().__init__(str(Problem(chart.file, chart.id, place, what, remedy)))


@dataclass(frozen=True, slots=True)
class Implication:
    """While ``chart`` is in ``state``, ``other`` is in one of ``states``. The invariant is data, so
    that our search and Spin answer the same question."""

    chart: str
    state: str
    other: str
    states: tuple[str, ...]

    def holds(self, snapshot: SystemSnapshot) -> bool:
        """Whether it is true of a snapshot."""
        if self.state not in snapshot[self.chart]:
            return True
        return any(state in snapshot[self.other] for state in self.states)

    def to_promela(self, part: Part) -> str:
        """The same as an expression."""
        charts = {chart.id: chart for chart in part.system.charts}
        where = _any([part.inside(charts[self.other], state) for state in self.states])
        return f"(!{part.inside(charts[self.chart], self.state)} || {where})"


class Part:
    """One system in Promela. ``prefix`` makes its names different from those of another system."""

    def __init__(
        self, system: System, machines: Mapping[str, Machine], outside: Outside, prefix: str = ""
    ) -> None:
        for chart in system.charts:
            for state in chart.walk():
                if state.parallel:
                    raise UnsupportedChartError(
                        chart,
                        f"state {state.id}",
                        "it is parallel, and a chart has one active leaf here",
                        "make each region a chart, joined by a system",
                    )
            for name, highest in machines[chart.id].highest.items():
                if highest > _BYTE:
                    raise UnsupportedChartError(
                        chart,
                        f"variable {name}",
                        f"it goes up to {highest}, and a byte to {_BYTE}",
                        "give it, or the parameter that bounds it, a lower end",
                    )
        self.system, self.machines = system, machines
        self.outside, self.prefix = outside, prefix
        self.events = {event: chart for chart in system.charts for event in chart.events}

    # Names.

    def at(self, chart: str) -> str:
        """The variable that holds the active leaf of a chart."""
        return f"{self.prefix}in_{chart}"

    def leaf(self, chart: str, state: str) -> str:
        """The constant of a leaf."""
        return f"{self.prefix}{chart.upper()}_{state}"

    def event(self, event: str) -> str:
        """The constant of an event."""
        return f"{self.prefix}E_{event}"

    def inside(self, chart: Chart, state: str) -> str:
        """An expression: the chart is in ``state``."""
        leaves = chart.state(state).leaves
        return _any(f"{self.at(chart.id)} == {self.leaf(chart.id, leaf.id)}" for leaf in leaves)

    # Semantics.

    def candidates(self, chart: Chart, leaf: State, event: str | None) -> list[On]:
        """The transitions on ``event`` seen from a leaf, innermost first, in order."""
        found: list[On] = []
        for state in reversed(chart.path(leaf.id)):
            for on in chart.transitions:
                if on.source == state.id and on.event == event:
                    found.append(on)
                    if not on.when:
                        return found
        return found

    def guard(self, chart: Chart, when: str) -> str:
        """A guard; parameters are ``#define``d numbers."""
        prefix = f"{self.at(chart.id)}_v_"
        return render(when, conjunction="&&", disjunction="||", negation="!", prefix=prefix)

    def enabled(self, chart: Chart, leaf: State, event: str | None) -> str:
        """An expression: one of the candidates can be taken. Empty when there is none."""
        found = self.candidates(chart, leaf, event)
        if not found:
            return ""
        here = f"{self.at(chart.id)} == {self.leaf(chart.id, leaf.id)}"
        if not found[-1].when:
            return here
        return f"({here} && {_any(self.guard(chart, on.when) for on in found)})"

    def takes(self, event: str) -> str:
        """An expression: the chart that has ``event`` takes it now."""
        chart = self.events[event]
        return _any(text for leaf in chart.leaves if (text := self.enabled(chart, leaf, event)))

    def perform(self, chart: Chart, leaf: State, on: On) -> list[str]:
        """The statements of one transition taken in a leaf."""
        if on.to is None:
            return self.actions(chart, on.do)
        source, target = chart.path(on.source), chart.path(on.to)
        # The innermost state around both source and target, neither of them, stays active.
        stays = sum(a.id == b.id for a, b in zip(source[:-1], target[:-1], strict=False))
        entered = list(target[stays:])
        while entered[-1].children:
            entered.append(entered[-1].children[0])
        left = reversed(chart.path(leaf.id)[stays:])
        asked: list[Action] = [each for state in left for each in state.exit_actions]
        asked += on.do
        asked += [each for state in entered for each in state.entry_actions]
        # No action is a Stop or a Start but those of timers.
        spared = (Stop(on.keep), Start(on.keep)) if on.keep else ()
        statements = self.actions(chart, tuple(each for each in asked if each not in spared))
        return [*statements, f"{self.at(chart.id)} = {self.leaf(chart.id, entered[-1].id)}"]

    def actions(self, chart: Chart, actions: tuple[Action, ...]) -> list[str]:
        made = []
        for action in actions:
            match action:
                case Set(variable, value):
                    made.append(f"{self.at(chart.id)}_v_{variable} = {value}")
                case Increment(variable):
                    name = f"{self.at(chart.id)}_v_{variable}"
                    highest = self.machines[chart.id].highest[variable]
                    made.append(f"if :: {name} < {highest} -> {name}++ :: else -> skip fi")
                case Tell(event) if event in self.events:
                    made.append(f"{self.prefix}told!{self.event(event)}")
                case effect:
                    if text := self.outside(effect):
                        made.append(text)
        return made

    # Text.

    def declarations(self) -> Iterator[str]:
        """Constants and variables."""
        for number, event in enumerate(self.events, start=1):
            yield f"#define {self.event(event)} {number}"
        yield f"chan {self.prefix}told = [8] of {{ byte }};"
        yield f"byte {self.prefix}now;"
        for chart in self.system.charts:
            for number, leaf in enumerate(chart.leaves):
                yield f"#define {self.leaf(chart.id, leaf.id)} {number}"
            for name, value in self.machines[chart.id].parameters.items():
                yield f"#define {self.at(chart.id)}_v_{name} {value}"
        yield from (f"byte {statement};" for statement in self.beginning())

    def beginning(self) -> Iterator[str]:
        """The statements that put every chart where it begins."""
        for machine in self.machines.values():
            chart, initial = machine.chart.id, machine.initial
            yield f"{self.at(chart)} = {self.leaf(chart, initial.leaves)}"
            for name, value in machine.values(initial).items():
                yield f"{self.at(chart)}_v_{name} = {value}"

    def body(self, chart: Chart, leaf: State, found: list[On]) -> str:
        """What one leaf does: the first candidate whose guard holds."""
        if not found:
            return "assert(false)"
        first, *others = found
        text = "; ".join(self.perform(chart, leaf, first)) or "skip"
        if not first.when:
            return text
        otherwise = self.body(chart, leaf, others)
        return f"if :: {self.guard(chart, first.when)} -> {text} :: else -> {otherwise} fi"

    def answer(self, chart: Chart, event: str | None) -> Iterator[str]:
        """The alternatives of all leaves for one event; leaves that do the same share one."""
        groups: dict[str, list[str]] = {}
        for leaf in chart.leaves:
            if here := self.enabled(chart, leaf, event):
                text = self.body(chart, leaf, self.candidates(chart, leaf, event))
                groups.setdefault(text, []).append(here)
        for text, conditions in groups.items():
            yield f"    :: {_any(conditions)} -> {text}"

    def inlines(self) -> Iterator[str]:
        """``react``: handles the event in ``now``, and all events that charts then tell."""
        for chart in self.system.charts:
            if any(on.event is None for on in chart.transitions):
                yield f"inline {self.at(chart.id)}_settle() {{"
                yield "    do"
                yield from self.answer(chart, None)
                yield "    :: else -> break\n    od\n}"
        yield f"inline {self.prefix}react() {{"
        yield f"    {self.prefix}told!{self.prefix}now;"
        yield f"    do\n    :: nempty({self.prefix}told) -> {self.prefix}told?{self.prefix}now;"
        yield "    if"
        for event, chart in self.events.items():
            settles = any(on.event is None for on in chart.transitions)
            yield f"    :: {self.prefix}now == {self.event(event)} ->"
            yield "    if"
            yield from self.answer(chart, event)
            yield "    :: else -> assert(false)\n    fi" + (
                f";\n    {self.at(chart.id)}_settle()" if settles else ""
            )
        yield "    fi"
        yield f"    :: empty({self.prefix}told) -> break\n    od;"
        yield f"    {self.prefix}now = 0\n}}"


def _any(parts: Iterable[str]) -> str:
    return "(" + " || ".join(parts) + ")"


def offered(system: System) -> tuple[str, ...]:
    """The events that the surroundings may cause: all but those that the charts tell."""
    told = {event for chart in system.charts for event in told_by(chart)}
    return tuple(e for chart in system.charts for e in chart.events if e not in told)


def _nothing(_: Effect) -> str:
    return ""


def to_promela(
    given: Chart | System,
    machines: Mapping[str, Machine] | None = None,
    invariant: Implication | None = None,
) -> str:
    """A chart or a system in surroundings that may cause, at any time, any event that it takes.

    ``machines`` gives machines for charts that run with other than their default parameters; the
    invariant is asserted. Raises ``UnsupportedChartError`` for a chart that this export cannot
    write, and what ``Machine`` and ``Router`` raise.
    """
    expect(given, Chart, System)
    match given:
        case Chart():
            check(given)
            system = System(given.id, given.title, (given,), told_by(given))
        case _:
            system = given
    part = Part(system, Router(system, machines).machines, _nothing)
    declared = ", ".join(dict.fromkeys(map(source, system.charts)))
    lines = [f"/* {system.title}. Declared in {declared}. */"]
    lines += [*part.declarations(), *part.inlines()]
    lines += ["active proctype system() {", "    do", "    :: atomic {", "        if"]
    lines += [
        f"        :: {part.takes(event)} -> now = {part.event(event)}" for event in offered(system)
    ]
    asserted = invariant.to_promela(part) if invariant else "true"
    lines += ["        fi;", f"        react(); assert({asserted})", "    }"]
    return "\n".join([*lines, "    od", "}"]) + "\n"

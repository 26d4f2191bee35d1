"""A chart as a pure, memoised function: ``step(snapshot, event) -> Step``.

python-statemachine decides each (snapshot, event) pair once; afterwards a step is one dictionary
look-up on the snapshot itself. Invariants:

* A machine has one object for each snapshot (same states, same values), so that sets can hold
  millions of snapshots, and each snapshot can hold its own memo.
* A memo is true only under the parameters of its machine: ``step`` refuses a snapshot of another
  machine, and ``adopt`` converts it.
* A step is done as a whole or not at all: when it raises, its effects are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from statemachine.exceptions import TransitionNotAllowed

from .declare import ADOPTED, Chart, Effect, State, Timer
from .native import ChartFaultError, Model, StrictChart, highest_value, linted_class, native_class
from .refusals import expect
from .saving import (
    LAYOUT,
    SavedError,
    digest,
    read_layout,
    read_object,
    read_same,
    read_whole,
    shown,
)


class NotAllowedError(Exception):
    """The event has no transition in this state: a call in the wrong state, or a defect."""

    def __init__(
        self, chart: Chart, event: str, snapshot: Snapshot, allowed: Iterable[str]
    ) -> None:
        self.chart, self.event, self.snapshot = chart, event, snapshot
        self.allowed = tuple(allowed)
        super().__init__(
            f"{chart.id} does not take {event!r} in {snapshot.leaves}; "
            f"it takes {', '.join(self.allowed) or 'nothing'}"
        )


class Step(NamedTuple):
    """What a chart answers: where it is now, what it asks for, which transitions it took."""

    snapshot: Snapshot
    effects: tuple[Effect, ...]
    taken: tuple[int, ...]


class Snapshot:
    """The active states (with their ancestors, in document order) and the values of the variables.

    A machine makes it, and it never changes. Two are equal when states and values are equal, also
    across machines.
    """

    __slots__ = ("_hash", "leaves", "machine", "moves", "states", "values")

    machine: Machine
    states: tuple[str, ...]
    values: tuple[int, ...]
    leaves: str
    # The steps decided so far, by event; None: the event is not allowed here.
    moves: dict[str, Step | None]

    def __init__(
        self, machine: Machine, states: tuple[str, ...], values: tuple[int, ...], leaves: str
    ) -> None:
        self.machine = machine
        self.states = states
        self.values = values
        self.leaves = leaves
        self.moves = {}
        self._hash = hash((states, values))

    def __contains__(self, state: str) -> bool:
        """Whether ``state`` is active. Raises ``KeyError`` when the chart has no such state."""
        if state in self.states:
            return True
        if state not in self.machine.known_states:
            raise KeyError(f"chart {self.machine.chart.id} has no state {state!r}")
        return False

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Snapshot):
            return NotImplemented
        return self.states == other.states and self.values == other.values

    def __repr__(self) -> str:
        values = f", {self.values}" if self.values else ""
        return f"<{self.leaves}{values}>"


def _expect_within(chart: Chart, name: str, value: object, lowest: int, highest: int) -> None:
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{chart.id}: {name}={value!r} is not in {lowest}..{highest}")


def _read_numbers(
    name: str, value: object, bounds: Mapping[str, tuple[int, int]]
) -> dict[str, int]:
    """The whole numbers of an object, in the order of ``bounds``: lowest and highest of each."""
    given = read_object(name, value, bounds)
    return {
        each: read_whole(f"{name}.{each}", given[each], lowest, highest)
        for each, (lowest, highest) in bounds.items()
    }


class Machine:
    """A chart with values for its parameters. Everything that runs it with these values shares it.

    Raises ``ChartError`` for a chart that lint refuses, ``ValueError`` for a parameter outside its
    range and ``TypeError`` for one the chart does not have.
    """

    def __init__(self, chart: Chart, **parameters: int) -> None:
        self._begin(native_class(chart), chart, parameters)

    @classmethod
    def linted(cls, chart: Chart, **parameters: int) -> Machine:
        """The machine of a chart that lint has nothing to say about: it is not asked again.

        For a package whose tests lint its charts. Raises as the class does, without ``ChartError``.
        """
        machine = cls.__new__(cls)
        machine._begin(linted_class(chart), chart, parameters)
        return machine

    def _begin(
        self, native: type[StrictChart], chart: Chart, parameters: Mapping[str, int]
    ) -> None:
        self.chart = chart
        self.parameters = {each.name: each.default for each in chart.parameters}
        for name, value in parameters.items():
            self._bind(name, value)
        self.highest = {each.name: highest_value(each, self.parameters) for each in chart.variables}
        self.events = chart.events
        self._known = frozenset(self.events)
        self.known_states = frozenset(state.id for state in chart.walk())
        self._atomic = frozenset(state.id for state in chart.leaves)
        self._interned: dict[tuple[tuple[str, ...], tuple[int, ...]], Snapshot] = {}
        order = {state.id: index for index, state in enumerate(chart.walk())}
        self._model = Model(order, self.highest, self.parameters)
        self._native = native(model=self._model)
        self.initial = self._read()
        self.initial_effects = self._model.asked()

    def _bind(self, name: str, value: int) -> None:
        for each in self.chart.parameters:
            if each.name == name:
                _expect_within(self.chart, name, value, each.lowest, each.highest)
                self.parameters[name] = value
                return
        known = ", ".join(self.parameters) or "none"
        raise TypeError(f"{self.chart.id} has no parameter {name!r}; it has {known}")

    def snapshot(self, states: Iterable[str], values: Iterable[int] = ()) -> Snapshot:
        """The snapshot with these active states (with their ancestors, in any order) and values.

        Raises ``ValueError`` when the chart cannot be in these states, or a value is outside its
        domain, ``TypeError`` for one text in place of the states. It does not check that the chart
        can ever reach this snapshot.
        """
        if isinstance(states, str):
            raise TypeError(
                f"{self.chart.id}: wanted are several ids, given is the text {states!r}: "
                "name the state and its ancestors in a list"
            )
        wanted, given = frozenset(states), tuple(values)
        ordered = tuple(self._configuration(self.chart.states, wanted, everyone=False))
        if len(ordered) != len(wanted):
            stray = ", ".join(sorted(wanted.difference(ordered)))
            raise ValueError(f"{self.chart.id}: {stray} cannot be active beside {ordered}")
        if len(given) != len(self.highest):
            names = ", ".join(self.highest) or "nothing"
            raise ValueError(f"{self.chart.id}: {given} are not the values of {names}")
        for (name, highest), value in zip(self.highest.items(), given, strict=True):
            _expect_within(self.chart, name, value, 0, highest)
        return self._intern(ordered, given)

    def _configuration(
        self, siblings: tuple[State, ...], wanted: frozenset[str], *, everyone: bool
    ) -> Iterator[str]:
        active = [state for state in siblings if state.id in wanted]
        if len(active) != (len(siblings) if everyone else 1):
            names = ", ".join(state.id for state in siblings)
            number = "all" if everyone else "exactly one"
            given = ", ".join(sorted(wanted)) or "none"
            raise ValueError(f"{self.chart.id}: {number} of {names} must be active; given: {given}")
        for state in active:
            yield state.id
            if state.children:
                yield from self._configuration(state.children, wanted, everyone=state.parallel)

    def adopt(self, other: Snapshot) -> Step:
        """Go on from ``other`` under this machine's parameters; values too high for them are cut.

        A guard may now hold that did not hold before: a transition without an event that has such a
        guard is taken at once, and the step has its effects.

        Raises ``ValueError`` for a snapshot of another chart, ``ChartFaultError`` when the chart
        breaks its own declaration.
        """
        expect(other, Snapshot)
        if other.machine.chart != self.chart:
            raise ValueError(f"{self.chart.id} cannot adopt {other} of {other.machine.chart.id}")
        values = (
            min(value, highest)
            for value, highest in zip(other.values, self.highest.values(), strict=True)
        )
        here = self._intern(other.states, tuple(values))
        if (step := here.moves.get(ADOPTED)) is None:
            step = here.moves[ADOPTED] = self._ask(here, ADOPTED)
            assert step is not None
        return step

    def values(self, snapshot: Snapshot) -> dict[str, int]:
        """The variables of a snapshot by name."""
        expect(snapshot, Snapshot)
        return dict(zip(self.highest, snapshot.values, strict=True))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the chart as it is declared."""
        return digest(self.chart)

    def timers(self, snapshot: Snapshot) -> tuple[Timer, ...]:
        """The timers that run in a snapshot: those of its active states, in document order."""
        expect(snapshot, Snapshot)
        states = (each for each in self.chart.walk() if each.id in snapshot.states)
        return tuple(state.timer for state in states if state.timer)

    def save(self, snapshot: Snapshot) -> dict[str, object]:
        """The snapshot as plain JSON values, for ``restore``, with the digest of the chart.

        Raises ``ValueError`` when the snapshot is of another machine.
        """
        if type(snapshot) is not Snapshot or snapshot.machine is not self:
            raise self._foreign(snapshot)
        return {
            "layout": LAYOUT,
            "chart": self.chart.id,
            "digest": self.digest,
            "parameters": dict(self.parameters),
            "states": list(snapshot.states),
            "values": self.values(snapshot),
        }

    def restore(self, saved: object) -> Snapshot:
        """The snapshot that ``save`` has written, perhaps in another program. Nothing happens.

        It is of this machine when the parameters are the same, else of one with those that were
        saved: then ``adopt`` it. Its ``timers`` run; who restores it knows for how long.

        ``saved`` need not be trusted. Raises ``SavedError``, a ``ValueError``, when it is of
        another chart or layout, or is nothing that ``save`` can write, or when the chart would
        leave the snapshot at once. It does not check that the chart can ever reach it.
        """
        name, chart = self.chart.id, self.chart
        keys = ("chart", "digest", "parameters", "states", "values")
        given = read_layout(name, saved, LAYOUT, keys)
        read_same(f"{name}.chart", given["chart"], name, "it is of another chart")
        read_same(f"{name}.digest", given["digest"], self.digest, "the chart was another one")
        bounds = {each.name: (each.lowest, each.highest) for each in chart.parameters}
        parameters = _read_numbers(f"{name}.parameters", given["parameters"], bounds)
        machine = self if parameters == self.parameters else Machine.linted(chart, **parameters)
        bounds = {variable: (0, highest) for variable, highest in machine.highest.items()}
        values = _read_numbers(f"{name}.values", given["values"], bounds)
        states = given["states"]
        if type(states) is not list:
            raise SavedError(f"{name}.states={shown(states)} is not a list of states")
        for state in states:
            if type(state) is not str or state not in self.known_states:
                among = ", ".join(each.id for each in chart.walk())
                raise SavedError(f"{name}.states has {shown(state)}, which is none of {among}")
        try:
            found = machine.snapshot(states, values.values())
        except ValueError as error:
            raise SavedError(f"{name}.states is no configuration: {error}") from None
        if list(found.states) != states:
            was, wanted = shown(", ".join(states)), ", ".join(found.states)
            raise SavedError(f"{name}.states={was} is not in document order, each once: {wanted}")
        if machine.adopt(found).taken:
            at = f"{name}.states and {name}.values are {found}"
            raise SavedError(f"{at}, where the chart does not stay: it takes a transition at once")
        return found

    def step(self, snapshot: Snapshot, event: str) -> Step:
        """What the chart does on ``event``.

        Raises ``NotAllowedError`` when no transition takes it, ``ValueError`` when the snapshot is
        of another machine, ``ChartFaultError`` when the chart breaks its own declaration.
        """
        if (found := self._move(snapshot, event)) is None:
            raise NotAllowedError(self.chart, event, snapshot, self.enabled(snapshot))
        return found

    def takes(self, snapshot: Snapshot, event: str) -> bool:
        """Whether ``event`` has a transition here."""
        return self._move(snapshot, event) is not None

    def enabled(self, snapshot: Snapshot) -> tuple[str, ...]:
        """The events that have a transition in this snapshot."""
        return tuple(event for event in self.events if self.takes(snapshot, event))

    def reachable(self) -> Iterator[Snapshot]:
        """Every snapshot that some order of events leads to, breadth first."""
        seen = {self.initial}
        queue = [self.initial]
        for snapshot in queue:
            yield snapshot
            for event in self.enabled(snapshot):
                after = self.step(snapshot, event).snapshot
                if after not in seen:
                    seen.add(after)
                    queue.append(after)

    def ask_library(self, snapshot: Snapshot, event: str) -> Step | None:
        """One step decided by python-statemachine itself, without the memo. None: not allowed."""
        if event not in self._known:
            # The library would match it by its prefix: "t6_expired.x" is taken as "t6_expired".
            return None
        return self._ask(snapshot, event)

    def _ask(self, snapshot: Snapshot, event: str) -> Step | None:
        model = self._model
        model.state = snapshot.states if len(snapshot.states) > 1 else snapshot.states[0]
        for name, value in zip(self.highest, snapshot.values, strict=True):
            setattr(model, name, value)
        model.effects = []
        model.taken = []
        try:
            self._native.send(event)
        except TransitionNotAllowed:
            return None
        except ChartFaultError as fault:
            raise ChartFaultError(
                f"{self.chart.id} on {event!r} in {snapshot.leaves}: {fault}"
            ) from None
        return Step(self._read(), model.asked(), tuple(model.taken))

    def _move(self, snapshot: Snapshot, event: str) -> Step | None:
        if type(snapshot) is not Snapshot or snapshot.machine is not self:
            raise self._foreign(snapshot)
        try:
            return snapshot.moves[event]
        except KeyError:
            found = snapshot.moves[event] = self.ask_library(snapshot, event)
            return found

    def _foreign(self, snapshot: Snapshot) -> ValueError:
        expect(snapshot, Snapshot)
        return ValueError(
            f"{self.chart.id}: {snapshot} is of a machine with other parameters: adopt it"
        )

    def _read(self) -> Snapshot:
        model = self._model
        return self._intern(model.active(), tuple(getattr(model, name) for name in self.highest))

    def _intern(self, states: tuple[str, ...], values: tuple[int, ...]) -> Snapshot:
        key = (states, values)
        if (known := self._interned.get(key)) is None:
            leaves = " + ".join(state for state in states if state in self._atomic)
            known = self._interned[key] = Snapshot(self, states, values, leaves)
        return known

"""Leads a program that must behave like a chart along a tour, and says where it differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..declare import Effect
from ..explore.alone import Here, WorldState
from ..explore.graph import Graph
from ..machine import Machine
from ..refusals import expect
from .tours import Tour


@runtime_checkable
class Subject(Protocol):
    """An adapter of the program under test, which runs it one event at a time.

    An event may be a frame that a peer writes, time that passes for a timer, or a call of a user.
    """

    def restart(self) -> None:
        """Bring it back to its beginning."""
        ...

    def take(self, event: str) -> tuple[Effect, ...]:
        """Make the event happen, and return the effects, in order."""
        ...

    def leaves(self) -> dict[str, str]:
        """The active leaf states of each chart, by its id."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """The step of a tour where a subject does something else."""

    step: int
    event: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"step {self.step}, {self.event}: expected {self.expected}, found {self.found}"


def drive(
    graph: Graph[Here[WorldState], Here[WorldState]], tour: Tour, subject: Subject
) -> Difference | None:
    """Restart the subject and lead it along the tour. The first difference, or None."""
    expect(graph, Graph)
    expect(subject, Subject)
    subject.restart()
    for number, stop in enumerate(tour, start=1):
        asked = subject.take(stop.move.event)
        if asked != stop.move.effects:
            return Difference(number, stop.move.event, str(stop.move.effects), str(asked))
        snapshot = graph.states[stop.state].snapshot
        expected = {id: snapshot[id].leaves for id in snapshot.charts}
        if (found := subject.leaves()) != expected:
            return Difference(number, stop.move.event, str(expected), str(found))
    return None


class MachineSubject:
    """A machine as a subject: to try a tour, and as an example of an adapter."""

    def __init__(self, machine: Machine) -> None:
        expect(machine, Machine)
        self._machine = machine
        self._here = machine.initial

    def restart(self) -> None:
        """Go back to the initial snapshot."""
        self._here = self._machine.initial

    def take(self, event: str) -> tuple[Effect, ...]:
        """Make one step, and return its effects."""
        self._here, effects, _ = self._machine.step(self._here, event)
        return effects

    def leaves(self) -> dict[str, str]:
        """The active leaf states of the chart, by its id."""
        return {self._machine.chart.id: self._here.leaves}

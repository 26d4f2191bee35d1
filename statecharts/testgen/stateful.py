"""A hypothesis state machine made from a chart. Tours cover edges; this mixes them at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..machine import Machine
from ..refusals import expect
from .subject import Subject


def state_machine(machine: Machine, make: Callable[[], Subject]) -> type[Any]:
    """A state machine whose rule is an event that the chart takes; it compares every step.

    It is a ``RuleBasedStateMachine``; hypothesis is imported here and nowhere else in the kit.
    ``make`` gives a fresh subject for each run. Run it as hypothesis runs any other: by its
    ``TestCase``, or with ``run_state_machine_as_test``. Raises ``ImportError`` without hypothesis.
    """
    expect(machine, Machine)
    from hypothesis import strategies
    from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

    class Compared(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.subject = make()
            self.subject.restart()
            self.here = machine.initial

        @precondition(lambda self: bool(machine.enabled(self.here)))
        @rule(choice=strategies.integers(min_value=0, max_value=10_000))
        def take(self, choice: int) -> None:
            enabled = machine.enabled(self.here)
            event = enabled[choice % len(enabled)]
            step = machine.step(self.here, event)
            asked = self.subject.take(event)
            assert asked == step.effects, f"{event} in {self.here}: {asked}, not {step.effects}"
            self.here = step.snapshot
            leaves = self.subject.leaves()[machine.chart.id]
            assert leaves == self.here.leaves, f"after {event}: {leaves}, not {self.here.leaves}"

        @precondition(lambda self: not machine.enabled(self.here))
        @rule()
        def start_again(self) -> None:
            """No event is possible any more, and hypothesis needs a step that is."""
            self.subject.restart()
            self.here = machine.initial

    Compared.__qualname__ = f"{machine.chart.id}_state_machine"
    return Compared

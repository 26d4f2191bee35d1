"""A step that could not be played."""

from __future__ import annotations

from collections.abc import Sequence

from hsms_engine.scenario.steps import Step, round_text


class StepError(Exception):
    """A step has failed. ``str`` is all that is known, in several lines.

    ``step`` is the step, ``rounds`` in which round of each ``repeat`` around it. ``problem`` is one
    line without the step, ``details`` are the lines that follow it: what came meanwhile, and what
    was sent. ``__cause__`` is the error behind it, where there is one: an ``HsmsError`` of the
    request or the connection.
    """

    def __init__(
        self,
        step: Step,
        problem: str,
        details: Sequence[str] = (),
        rounds: tuple[int, ...] = (),
    ) -> None:
        super().__init__(step, problem, tuple(details), rounds)
        self.step = step
        self.rounds = rounds
        self.problem = problem
        self.details = tuple(details)

    @property
    def summary(self) -> str:
        """One line: the step, its place in the file, the problem."""
        where = f"{self.step.where}{round_text(self.rounds)}"
        return f"step {self.step.number} ({where}), {self.step}: {self.problem}"

    def __str__(self) -> str:
        return "\n".join((self.summary, *self.details))


class DifferenceError(StepError):
    """What came is not what the step expects.

    ``path`` leads to the first difference, as ``[2][1]``, ``expected`` and ``found`` are the SML of
    both. ``diff`` is the message that came, a line an item, with ``-`` before what was expected and
    ``+`` before what was found in its place. It is the first part of ``details``.
    """

    def __init__(
        self,
        step: Step,
        problem: str,
        details: Sequence[str] = (),
        rounds: tuple[int, ...] = (),
        *,
        path: str,
        expected: str,
        found: str,
        diff: Sequence[str],
    ) -> None:
        super().__init__(step, problem, (*diff, *details), rounds)
        self.path = path
        self.expected = expected
        self.found = found
        self.diff = tuple(diff)

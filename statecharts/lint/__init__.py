"""Refuses a chart outside the supported subset, with file, state and remedy.

Every rule answers something that python-statemachine, XState or a reader would otherwise take in a
different way than its author meant (duplicate ids merge silently, a misspelt event is simply never
taken, a timer that fires into a state which ignores it leaves the chart stuck).

The rules stand in four groups: form and names make the declaration readable, references make it
whole, structure is about how it would run. A group is asked only when the ones before found
nothing, so that a rule may rely on what they have checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from statecharts.declare import Chart
from statecharts.refusals import expect

from . import form, names, references, structure


class Problem(NamedTuple):
    """One thing wrong with a chart: where, what, and what to do instead."""

    file: str
    chart: str
    place: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: chart {self.chart}, {self.place}: {self.what}; {self.remedy}"


class ChartError(Exception):
    """A chart was refused by lint. ``problems`` lists everything found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


def check(chart: Chart) -> None:
    """Raise ``ChartError`` with every problem of ``chart``, if there is one.

    Raises ``TypeError`` for what is not a chart.
    """
    if problems := tuple(lint(chart)):
        raise ChartError(problems)


def lint(chart: Chart) -> Iterator[Problem]:
    """Every problem of ``chart`` that the first group with any finds.

    Raises ``TypeError`` for what is not a chart.
    """
    expect(chart, Chart)
    for group in (form.RULES, names.RULES, references.RULES, structure.RULES):
        found = [finding for rule in group for finding in rule(chart)]
        yield from (Problem(chart.file, chart.id, *finding) for finding in found)
        if found:
            return

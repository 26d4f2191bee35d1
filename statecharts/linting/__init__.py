"""Refuses a chart outside the supported subset, with file, state and remedy.

Every rule prevents a case where python-statemachine, XState or a reader would understand a chart
differently from its author. (Duplicate ids are merged silently; a misspelt event is simply never
taken; when a timer expires in a state that ignores it, the chart is stuck.)

There are four groups of rules: form, names, references, and structure (how the chart would run). A
group is asked only when the groups before it found nothing, so a rule may rely on their checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from statecharts.declare import Chart
from statecharts.refusals import expect

from . import form, names, references, structure, ways_out


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
    """Every problem of ``chart`` that the first group with a problem finds.

    Raises ``TypeError`` for what is not a chart.
    """
    expect(chart, Chart)
    for group in (form.RULES, names.RULES, references.RULES, structure.RULES):
        found = [finding for rule in group for finding in rule(chart)]
        yield from (Problem(chart.file, chart.id, *finding) for finding in found)
        if found:
            return


def dead_ends(chart: Chart) -> Iterator[Problem]:
    """Each part of ``chart`` that is never left again, unless its ``ends`` name it.

    A chart that goes on for ever, as that of a tool, has none. ``lint`` refuses none: a state
    without transitions is how a chart says that it is over. Raises ``TypeError`` for what is not a
    chart, ``ChartError`` for a chart that lint refuses.
    """
    check(chart)
    for finding in ways_out.dead_ends(chart):
        yield Problem(chart.file, chart.id, *finding)

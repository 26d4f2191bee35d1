"""Binds the charts of a system to machines, so that searches share the memo of a machine.

A search takes a ``Bind``: it gives the machine for a chart and its parameters. The default makes
one machine for each and shares it; a mutation run gives its mutant in place of the chart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

from statecharts.declare import Chart
from statecharts.hsms.systems import CHARTS
from statecharts.machine import Machine
from statecharts.router import Router, System, told_by

Parameters = Mapping[str, int]
Bind = Callable[[str, Parameters], Machine]


@cache
def _machine(id: str, parameters: tuple[tuple[str, int], ...]) -> Machine:
    return Machine(next(chart for chart in CHARTS if chart.id == id), **dict(parameters))


def machine(id: str, parameters: Parameters) -> Machine:
    """The one machine of this HSMS chart with these parameters."""
    return _machine(id, tuple(sorted(parameters.items())))


def with_chart(chart: Chart) -> Bind:
    """The usual machines, but ``chart`` in place of the chart with the same id."""

    def bind(id: str, parameters: Parameters) -> Machine:
        return Machine(chart, **parameters) if id == chart.id else machine(id, parameters)

    return bind


def bound(system: System, parameters: Mapping[str, Parameters], bind: Bind = machine) -> Router:
    """A router of the system with the machines that ``bind`` makes.

    Raises ``ChartError`` or ``ValueError`` when a chart in place of another does not fit.
    """
    machines = {chart.id: bind(chart.id, parameters.get(chart.id, {})) for chart in system.charts}
    charts = tuple(each.chart for each in machines.values())
    # A chart by itself has nobody to tell: whatever it tells goes outside.
    outside = system.outside if len(charts) > 1 else told_by(charts[0])
    return Router(replace(system, charts=charts, outside=outside), machines)

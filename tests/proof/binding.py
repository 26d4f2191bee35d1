"""Binds the charts of a system to machines, so that searches share the memo of a machine.

A search takes a ``Bind``: it gives the machine for a chart and its parameters. The default makes
one machine for each and shares it; a mutation run gives its mutant in place of the chart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from statecharts.declare import Chart
from statecharts.machine import Machine
from statecharts.router import Router, System, told_by

Parameters = Mapping[str, int]
Bind = Callable[[Chart, Parameters], Machine]


# By the chart itself, which is long to hash; its machine keeps it.
_MACHINES: dict[tuple[int, tuple[tuple[str, int], ...]], Machine] = {}


def machine(chart: Chart, parameters: Parameters) -> Machine:
    """The one machine of this HSMS chart with these parameters."""
    key = id(chart), tuple(sorted(parameters.items()))
    if key not in _MACHINES:
        _MACHINES[key] = Machine(chart, **parameters)
    return _MACHINES[key]


def with_chart(chart: Chart) -> Bind:
    """The usual machines, but ``chart`` in place of the chart with the same id."""

    def bind(plain: Chart, parameters: Parameters) -> Machine:
        return Machine(chart, **parameters) if plain.id == chart.id else machine(plain, parameters)

    return bind


def bound(system: System, parameters: Mapping[str, Parameters], bind: Bind = machine) -> Router:
    """A router of the system with the machines that ``bind`` makes.

    Raises ``ChartError`` or ``ValueError`` when a chart in place of another does not fit.
    """
    machines = {chart.id: bind(chart, parameters.get(chart.id, {})) for chart in system.charts}
    charts = tuple(each.chart for each in machines.values())
    # A chart by itself has nobody to tell: whatever it tells goes outside.
    outside = system.outside if len(charts) > 1 else told_by(charts[0])
    return Router(replace(system, charts=charts, outside=outside), machines)

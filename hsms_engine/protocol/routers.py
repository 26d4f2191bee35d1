"""One router for all links with the same charts and thresholds: what was decided is shared."""

from __future__ import annotations

from hsms_engine.settings import Settings
from statecharts import Chart, Machine, Router, System
from statecharts.hsms import ACTIVE, BREAKER, LINKTEST, PASSIVE

_routers: dict[tuple[str, int, int, bool], Router] = {}
_machines: dict[tuple[str, int], Machine] = {}


def machine_for(chart: Chart, parameter: str, value: int) -> Machine:
    """The machine of ``chart`` with this value of its parameter, made once for all."""
    if (known := _machines.get((chart.id, value))) is None:
        known = _machines[chart.id, value] = Machine(chart, **{parameter: value})
    return known


def router_for(system: System, settings: Settings, *, single_use: bool) -> Router:
    """The router of ``system`` under the thresholds of ``settings``.

    ``single_use``: an active end makes one connection and no other after it.
    """
    key = (system.id, settings.breaker_threshold, settings.linktest_threshold, single_use)
    if (known := _routers.get(key)) is None:
        bound = {
            ACTIVE.id: ("single_use", int(single_use)),
            BREAKER.id: ("threshold", settings.breaker_threshold),
            LINKTEST.id: ("linktest_threshold", settings.linktest_threshold),
        }
        machines = {
            chart.id: machine_for(chart, *bound[chart.id])
            for chart in system.charts
            if chart.id in bound
        }
        known = _routers[key] = Router(system, machines)
    return known


def connection_of(system: System) -> str:
    """The id of the connection chart of a system."""
    ids = {chart.id for chart in system.charts}
    return ACTIVE.id if ACTIVE.id in ids else PASSIVE.id

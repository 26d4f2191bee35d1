"""One router for all links with the same charts and thresholds, so that they share its memo."""

from __future__ import annotations

from functools import lru_cache

from hsms_engine.settings import Settings
from statecharts import Chart, Machine, Router, System
from statecharts.hsms import (
    ACTIVE,
    ACTIVE_LINK,
    BREAKER,
    CHARTS,
    LINKTEST,
    PASSIVE,
    PASSIVE_LINK,
    SECOND_HOST,
)

# Enough for many thresholds; a program that uses more of them pays with time, not with memory.
_KEPT = 64
_CHARTS = {chart.id: chart for chart in CHARTS}
# The calls of a user.
CALLS = frozenset(event for chart in CHARTS for event in chart.local)
_SYSTEMS = {system.id: system for system in (ACTIVE_LINK, PASSIVE_LINK)}


@lru_cache(maxsize=_KEPT)
def _machine(chart: str, *bound: tuple[str, int]) -> Machine:
    return Machine.linted(_CHARTS[chart], **dict(bound))


def machine_for(chart: Chart, parameter: str, value: int) -> Machine:
    """The machine of ``chart`` with this value of its parameter, made once and shared."""
    return _machine(chart.id, (parameter, value))


@lru_cache(maxsize=_KEPT)
def _router(system: str, bound: tuple[tuple[str, str, int], ...]) -> Router:
    values = {chart: [(parameter, value)] for chart, parameter, value in bound}
    machines = {
        chart.id: _machine(chart.id, *values.get(chart.id, ())) for chart in _SYSTEMS[system].charts
    }
    return Router(_SYSTEMS[system], machines)


def router_for(system: System, settings: Settings, *, single_use: bool) -> Router:
    """The router of ``system`` under the thresholds of ``settings``.

    ``single_use``: an active end makes only one connection.
    """
    return _router(
        system.id,
        (
            (ACTIVE.id, "single_use", int(single_use)),
            (BREAKER.id, "threshold", settings.breaker_threshold),
            (LINKTEST.id, "linktest_threshold", settings.linktest_threshold),
            (SECOND_HOST.id, "probes", int(settings.second_host == "probe")),
        ),
    )


def connection_of(system: System) -> str:
    """The id of the connection chart of a system."""
    ids = {chart.id for chart in system.charts}
    return ACTIVE.id if ACTIVE.id in ids else PASSIVE.id

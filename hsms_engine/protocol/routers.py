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
    OWNED_LINK,
    PASSIVE,
    PASSIVE_LINK,
    SECOND_HOST,
)

# Enough for many thresholds; a program that uses more of them pays with time, not with memory.
_KEPT = 64
# The calls of a user.
CALLS = frozenset(event for chart in CHARTS for event in chart.local)
_SYSTEMS = {system.id: system for system in (ACTIVE_LINK, PASSIVE_LINK, OWNED_LINK)}
# Each chart once. Two have the same id, and a chart is long to hash.
_CHARTS = tuple(
    {id(chart): chart for system in _SYSTEMS.values() for chart in system.charts}.values()
)


@lru_cache(maxsize=_KEPT)
def _machine(chart: int, *bound: tuple[str, int]) -> Machine:
    return Machine.linted(_CHARTS[chart], **dict(bound))


def _number(chart: Chart) -> int:
    """The place of ``chart`` in ``_CHARTS``."""
    return next(number for number, each in enumerate(_CHARTS) if each is chart)


def machine_for(chart: Chart, parameter: str, value: int) -> Machine:
    """The machine of ``chart`` with this value of its parameter, made once and shared."""
    return _machine(_number(chart), (parameter, value))


@lru_cache(maxsize=_KEPT)
def _router(system: str, bound: tuple[tuple[str, str, int], ...]) -> Router:
    values = {chart: [(parameter, value)] for chart, parameter, value in bound}
    machines = {
        chart.id: _machine(_number(chart), *values.get(chart.id, ()))
        for chart in _SYSTEMS[system].charts
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

"""The questions for xstate and Spin about the HSMS charts, and whether they agree with us.

Each function gives the number of equal answers and describes each different one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from statecharts.export.promela import Implication, to_promela
from statecharts.hsms import ACTIVE, CHARTS, OWNED_ACTIVE
from statecharts.machine import Machine
from statecharts.router import Router, System, told_by

from ..binding import with_chart
from ..model import ACTIVE_END, OWNED_END, UNASKED_END, Scenario
from .programs import Agreement
from .spin import Verification, search, search_two_ends, spin
from .two_ends import two_ends
from .xstate import compare, install

ORACLE = Path(__file__).parent

PERMIT_IS_HELD = Implication("breaker", "probing", "connection_active", ("connecting", "selecting"))
CALLS = ("enable_requested", "disable_requested", "close_requested")
SCENARIOS = (
    Scenario(),
    Scenario(active_calls=CALLS, cable=True, failures=True, lost_resets=True),
    Scenario(active_calls=CALLS[:2], data=True, cable=True, lost_resets=True),
)
# A failed attempt is not reported: the breaker waits for its probe for ever.
FAULTY = replace(
    ACTIVE,
    transitions=tuple(
        replace(on, do=()) if on.event == "tcp_failed" else on for on in ACTIVE.transitions
    ),
)


def hsms_machines() -> tuple[Machine, ...]:
    """Every chart; those with a parameter also with other values of it."""
    every = (*CHARTS, OWNED_ACTIVE)
    found = [Machine(chart) for chart in every]
    for chart in every:
        for parameter in chart.parameters:
            values = range(parameter.lowest, min(parameter.highest, 5) + 1)
            others = [value for value in values if value != parameter.default]
            found += [Machine(chart, **{parameter.name: value}) for value in others]
    return tuple(found)


def xstate_agreement(oracle: Path = ORACLE) -> Agreement:
    """Pairs (snapshot, event) of every HSMS chart, each in both forms of the export.

    ``oracle`` is the folder of the script and its packages, which are installed when missing.
    Raises ``OracleError`` without node or the packages.
    """
    install(oracle)
    return compare(hsms_machines(), oracle)


def _differences(name: str, ours: Verification, theirs: Verification) -> tuple[str, ...]:
    return () if ours == theirs else (f"{name}: we find {ours}, Spin finds {theirs}",)


def systems() -> tuple[System, ...]:
    """Each chart by itself, and the systems that can run in arbitrary surroundings.

    That a second host asks is told only where there is a session, so its chart is left out.
    """
    single = tuple(System(chart.id, chart.title, (chart,), told_by(chart)) for chart in CHARTS)
    return (*single, ACTIVE_END, OWNED_END, UNASKED_END)


def fault_verdicts() -> dict[str, tuple[bool, bool]]:
    """The injected fault, without and with: (we say it is violated, Spin says so)."""
    scenario = Scenario(active_calls=CALLS, cable=True, failures=True)
    found = {}
    for name, chart in (("as declared", ACTIVE), ("faulty", FAULTY)):
        bind = with_chart(chart)
        found[name] = (
            search_two_ends(scenario, bind, PERMIT_IS_HELD).violated,
            spin(two_ends(scenario, bind, PERMIT_IS_HELD)).violated,
        )
    return found


def spin_agreement() -> Agreement:
    """States of every chart, of the systems and of two ends with a cable; an injected fault.

    Raises ``OracleError`` without spin or a C compiler.
    """
    agreed = 0
    differences: list[str] = []
    for system in systems():
        ours = search(Router(system))
        if found := _differences(system.id, ours, spin(to_promela(system))):
            differences += found
        else:
            agreed += ours.states
    for scenario in SCENARIOS:
        ours = search_two_ends(scenario)
        if found := _differences(str(scenario), ours, spin(two_ends(scenario))):
            differences += found
        else:
            agreed += ours.states
    if (verdicts := fault_verdicts()) != {"as declared": (False, False), "faulty": (True, True)}:
        differences.append(f"a lost permit: {verdicts}")
    return Agreement(agreed, tuple(differences))

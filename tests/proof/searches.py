"""All searches: each with its model and its claims. ``make prove`` runs this list.

Each chart is searched in the smallest surroundings in which all its transitions can be taken. For
the transitions that no search takes, ``NEVER_TAKEN`` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Generic

from statecharts.declare import Chart
from statecharts.explore.alone import Alone, Here, WorldState
from statecharts.explore.obligations import Obligation
from statecharts.explore.pair import Both
from statecharts.explore.properties import Property
from statecharts.hsms.active import ACTIVE
from statecharts.hsms.breaker import BREAKER
from statecharts.hsms.lease import LEASE
from statecharts.hsms.linktest import LINKTEST
from statecharts.hsms.second_host import SECOND_HOST
from statecharts.hsms.systems import ACTIVE_LINK, OWNED_LINK, PASSIVE_LINK
from statecharts.hsms.transaction import TRANSACTION
from statecharts.hsms.world import World
from statecharts.router import System, told_by

from .binding import Bind, Parameters
from .end_properties import SESSIONS, TWO_ENDS, UNWATCHED
from .model import ACTIVE_END, ACTIVE_SIDE, PASSIVE_END, PASSIVE_SIDE, End, Ends, Scenario, two_ends
from .obligations import (
    BREAKS,
    DIALS,
    DIALS_ONCE,
    LEASES,
    LISTENS,
    OWNS,
    REFUSES,
    TRANSACTS,
)
from .outside import Settings, chart_alone, link_alone
from .owned_properties import LEASE_ALONE, OWNED_SINGLE_USE, OWNING_LINK
from .properties import (
    BREAKER_ALONE,
    DIALLING_LINK,
    LISTENING_LINK,
    SINGLE_USE,
    TRANSACTION_ALONE,
)
from .reasons import TRAFFIC


@dataclass(frozen=True, slots=True)
class AloneSearch(Generic[WorldState]):
    """Charts in arbitrary surroundings, and the claims. ``model`` binds them to machines.

    ``configured`` is the same with a user who changes the parameters at any moment. The properties
    are claimed of it; the obligations are written for the parameters of ``model``.
    """

    name: str
    charts: tuple[Chart, ...]
    model: Callable[[Bind], Alone[WorldState]]
    configured: Callable[[Bind], Alone[WorldState]]
    properties: tuple[Property[Here[WorldState]], ...]
    duties: tuple[Obligation, ...]


@dataclass(frozen=True, slots=True)
class EndsSearch:
    """Two ends in a scenario, and the claims about them."""

    name: str
    charts: tuple[Chart, ...]
    scenario: Scenario
    properties: tuple[Property[Both[End]], ...]

    def model(self, bind: Bind) -> Ends:
        """The model, with the machines that ``bind`` makes."""
        return two_ends(self.scenario, bind)


_TWO: dict[str, Parameters] = {
    BREAKER.id: {"threshold": 2},
    LINKTEST.id: {"linktest_threshold": 2},
}
_REFUSING: dict[str, Parameters] = {**_TWO, SECOND_HOST.id: {"probes": 0}}
_ONCE: dict[str, Parameters] = {**_TWO, ACTIVE.id: {"single_use": 1}}


# What users change on a running link: thresholds, to these and back.
_THRESHOLDS = (1, 2, 3)


def _changed(parameters: Mapping[str, Parameters], system: System) -> Settings:
    """The parameters with all other thresholds that the system has.

    A lease knows nothing of linktests, and with one threshold of theirs its search is a third.
    """
    charts = {chart.id for chart in system.charts}
    breaker = _THRESHOLDS if BREAKER.id in charts else (2,)
    linktest = (2,) if LEASE.id in charts else _THRESHOLDS
    return tuple(
        {**parameters, BREAKER.id: {"threshold": one}, LINKTEST.id: {"linktest_threshold": other}}
        for one, other in product(breaker, linktest)
        if (one, other) != (2, 2)
    )


def _link(
    name: str,
    system: System,
    parameters: Mapping[str, Parameters],
    properties: tuple[Property[Here[World]], ...],
    duties: tuple[Obligation, ...],
    *,
    traffic: bool = True,
) -> AloneSearch[World]:
    return AloneSearch(
        name,
        system.charts,
        lambda bind: link_alone(system, parameters, bind, traffic=traffic),
        lambda bind: link_alone(
            system, parameters, bind, traffic=traffic, others=_changed(parameters, system)
        ),
        (*properties, *TRAFFIC) if traffic else properties,
        duties,
    )


# One end, with a peer, users and a network that may do anything.
LINKS = (
    _link("dialling end", ACTIVE_LINK, _TWO, DIALLING_LINK, DIALS),
    _link("dialling end, once", ACTIVE_LINK, _ONCE, SINGLE_USE, DIALS_ONCE),
    _link("listening end", PASSIVE_LINK, _TWO, LISTENING_LINK, LISTENS),
    _link("listening end, refusing", PASSIVE_LINK, _REFUSING, LISTENING_LINK, REFUSES),
)
# The same without reading and writing: six times smaller, for mutants of the other charts.
LINKS_WITHOUT_TRAFFIC = (
    _link("dialling end", ACTIVE_LINK, _TWO, DIALLING_LINK, DIALS, traffic=False),
    _link("dialling end, once", ACTIVE_LINK, _ONCE, SINGLE_USE, DIALS_ONCE, traffic=False),
    _link("listening end", PASSIVE_LINK, _TWO, LISTENING_LINK, LISTENS, traffic=False),
    _link(
        "listening end, refusing", PASSIVE_LINK, _REFUSING, LISTENING_LINK, REFUSES, traffic=False
    ),
)

# A link that a lease enables and disables, with a store that may answer anything.
_OWNED_ONCE = _link("owned link, once", OWNED_LINK, _ONCE, OWNED_SINGLE_USE, (), traffic=False)
OWNED_LINKS = (_link("owned link", OWNED_LINK, _TWO, OWNING_LINK, OWNS), _OWNED_ONCE)
OWNED_LINKS_WITHOUT_TRAFFIC = (
    _link("owned link", OWNED_LINK, _TWO, OWNING_LINK, OWNS, traffic=False),
    _OWNED_ONCE,
)

# Values of the parameters of each chart. From every snapshot that some of them, changed at any
# moment, lead to, all others are adopted.
SETTINGS: dict[str, tuple[Parameters, ...]] = {
    ACTIVE.id: ({"single_use": 0}, {"single_use": 1}),
    BREAKER.id: tuple({"threshold": each} for each in (2, 1, 3, 5, 10, 100, 1_000)),
    LINKTEST.id: tuple({"linktest_threshold": each} for each in (2, 1, 3, 10, 100)),
    SECOND_HOST.id: ({"probes": 1}, {"probes": 0}),
}


def settings_of(chart: Chart) -> Alone[frozenset[str]]:
    """A chart alone, whose parameters are changed at any moment to all values in ``SETTINGS``."""
    system = System(f"{chart.id}_alone", chart.title, (chart,), told_by(chart))
    first, *others = SETTINGS[chart.id]
    return chart_alone(system, first, others=others)


_BREAKER = System("breaker_alone", "Circuit breaker", (BREAKER,), told_by(BREAKER))
_TRANSACTION = System("transaction_alone", "Data transaction", (TRANSACTION,))
_LEASE = System("lease_alone", "Lease", (LEASE,), told_by(LEASE))

# A chart by itself: a breaker with several callers, and charts that need no connection.
CHARTS_ALONE: tuple[AloneSearch[frozenset[str]], ...] = (
    AloneSearch(
        "breaker",
        (BREAKER,),
        lambda bind: chart_alone(_BREAKER, {"threshold": 2}, bind),
        lambda bind: chart_alone(_BREAKER, {"threshold": 2}, bind, SETTINGS[BREAKER.id][1:]),
        BREAKER_ALONE,
        BREAKS,
    ),
    AloneSearch(
        "transaction",
        (TRANSACTION,),
        lambda bind: chart_alone(_TRANSACTION, {}, bind),
        lambda bind: chart_alone(_TRANSACTION, {}, bind),
        TRANSACTION_ALONE,
        TRANSACTS,
    ),
    AloneSearch(
        "lease",
        (LEASE,),
        lambda bind: chart_alone(_LEASE, {}, bind),
        lambda bind: chart_alone(_LEASE, {}, bind),
        LEASE_ALONE,
        LEASES,
    ),
)

_CALLS = ("enable_requested", "disable_requested", "close_requested")
_SESSION_CALLS = ("select_requested", "deselect_requested")
_BREAKER_CALLS = ("isolate_requested", "release_requested", "reset_requested")
_PEER_CALLS = ("close_requested",)

# Lost resets make a search three times as large. CABLE and SESSION have them, with all calls that
# move the two connections. What the larger two add meets them nowhere else: a call to the breaker
# concerns the next attempt, which is the same however the last connection was lost; and data with
# lost resets is among the scenarios of the oracle.
CABLE = Scenario(cable=True, failures=True, lost_resets=True, configures=(1,))
USERS = Scenario(_CALLS, _PEER_CALLS, cable=True, failures=True, configures=(1,))
DESELECTING = Scenario(
    ("enable_requested", *_SESSION_CALLS), ("deselect_requested",), configures=(1,)
)
SESSION = Scenario(
    (*_CALLS, *_SESSION_CALLS),
    (*_PEER_CALLS, "deselect_requested"),
    cable=True,
    failures=True,
    lost_resets=True,
    configures=(1,),
)
BY_HAND = Scenario(
    (*_CALLS, *_SESSION_CALLS, *_BREAKER_CALLS),
    (*_PEER_CALLS, "deselect_requested"),
    cable=True,
    failures=True,
    threshold=2,
)
DATA = Scenario(("enable_requested", *_SESSION_CALLS), ("deselect_requested",), data=True)
EVERYTHING = Scenario(
    (*_CALLS, *_SESSION_CALLS),
    (*_PEER_CALLS, "deselect_requested"),
    data=True,
    cable=True,
    failures=True,
)


# A third party: an older connection, whose peer has crashed or closed unheard, beside a new one.
_BOTH = (ACTIVE_SIDE, PASSIVE_SIDE)
CRASHES = Scenario(crashes=_BOTH)
LOST = replace(CABLE, crashes=_BOTH, asks=True)
REFUSED = replace(CABLE, crashes=_BOTH, probes=0)
# Without an interval the end that listens probes when somebody asks. The end that dials needs an
# interval when the cable may be cut or the other machine may crash: nobody asks it.
UNASKED = replace(LOST, configures=(), without_interval=(PASSIVE_SIDE,))
SILENT = Scenario(crashes=(ACTIVE_SIDE,), without_interval=_BOTH, asks=True, configures=(1, 2))


def _ends(name: str, scenario: Scenario, properties: tuple[Property[Both[End]], ...]) -> EndsSearch:
    charts = {chart.id: chart for end in (ACTIVE_END, PASSIVE_END) for chart in end.charts}
    return EndsSearch(name, tuple(charts.values()), scenario, properties)


# Two ends, a cable, users and faults; each scenario allows more.
SMALL_ENDS = (
    _ends("two ends, cable cut", CABLE, TWO_ENDS),
    _ends("two ends, users", USERS, TWO_ENDS),
    _ends("two ends, deselecting", DESELECTING, SESSIONS),
    _ends("three parties, crashes", CRASHES, TWO_ENDS),
)
ENDS = (
    *SMALL_ENDS,
    _ends("two ends, data", DATA, SESSIONS),
    _ends("two ends, linktests", replace(CABLE, configures=(1, 2)), TWO_ENDS),
    _ends("three parties, cable cut", LOST, TWO_ENDS),
    _ends("three parties, refusing", REFUSED, TWO_ENDS),
    _ends("listening end unwatched", UNASKED, UNWATCHED),
    _ends("both ends unwatched", SILENT, UNWATCHED),
    _ends("two ends, sessions", SESSION, SESSIONS),
    _ends("two ends, breaker by hand", BY_HAND, SESSIONS),
)

# Transitions that no search takes, and why they are there.
NEVER_TAKEN: dict[tuple[str, str], str] = {
    (ACTIVE.id, "connecting: permit_offered"): (
        "the breaker offers a permit only after it has refused or withdrawn one, and connecting "
        "holds one: kept so that a breaker with other offers cannot stop the chart"
    ),
}

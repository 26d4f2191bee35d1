"""All metrics: their names, labels and meaning, and how each is read. ``docs/metrics.md`` shows it.

Every metric also has the label ``link``. ``LINKS`` are those of links and connections, ``SERVERS``
those of servers, ``BOTH`` those of either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, get_args

from hsms_engine.bounds import recovery
from hsms_engine.metrics.histogram import Histogram
from hsms_engine.metrics.tap import KINDS, Tap
from hsms_engine.protocol.leasing import Ownership, OwnershipState
from hsms_engine.protocol.phases import Phase
from hsms_engine.protocol.statistics import COUNTERS, Statistics
from hsms_engine.server_statistics import ServerStatistics
from hsms_engine.settings import ONE_WAY_DELAY, Settings
from statecharts.hsms import BREAKER

Counts = Statistics | ServerStatistics
S = TypeVar("S", bound=Counts)
S_co = TypeVar("S_co", bound=Counts, covariant=True)
S_contra = TypeVar("S_contra", bound=Counts, contravariant=True)

# What ``CircuitBreaker.state`` calls each leaf of its chart.
BREAKER_STATES = {state.id: state.id.removeprefix("breaker_") for state in BREAKER.leaves}
SENT, RECEIVED = "sent", "received"


@dataclass(frozen=True, slots=True)
class View(Generic[S_co]):
    """What one name is at one moment. ``totals`` are the counts, of those that are over too.

    ``ownership`` is None where no lease decides.
    """

    statistics: S_co
    settings: Settings
    tap: Tap
    totals: Mapping[str, int]
    held_bytes: int
    down_seconds: float
    selected_seconds: float
    is_over: bool
    ownership: Ownership | None


# The values of the labels besides ``link``, and the number.
Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Number(Generic[S_contra]):
    """A gauge or a counter. The name of a counter ends in ``_total``."""

    name: str
    kind: Literal["gauge", "counter"]
    text: str
    read: Callable[[View[S_contra]], Iterable[Sample]]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Distribution(Generic[S_contra]):
    """A histogram, of seconds."""

    name: str
    text: str
    read: Callable[[View[S_contra]], Histogram]


def _gauge(name: str, text: str, read: Callable[[View[S]], float]) -> Number[S]:
    return Number(name, "gauge", text, lambda view: [((), read(view))])


def _total(of: str, text: str, name: str = "") -> Number[Counts]:
    """A count of ``statistics()``."""

    def read(view: View[Counts]) -> Iterable[Sample]:
        return [((), view.totals[of])]

    return Number(f"{name or f'hsms_{of}'}_total", "counter", text, read)


def _states(view: View[Statistics]) -> Iterable[Sample]:
    return [((each,), each == view.statistics.phase) for each in get_args(Phase)]


def _breaker_states(view: View[Statistics]) -> Iterable[Sample]:
    now = view.statistics.breaker_state
    if now is None:
        return []
    return [((name,), leaf == now) for leaf, name in BREAKER_STATES.items()]


def _lease(
    name: str,
    kind: Literal["gauge", "counter"],
    text: str,
    read: Callable[[Ownership, Tap], Iterable[Sample]],
    *labels: str,
) -> Number[Statistics]:
    """Of a link that a lease decides about; any other has none."""

    def read_any(view: View[Statistics]) -> Iterable[Sample]:
        return [] if view.ownership is None else read(view.ownership, view.tap)

    return Number(name, kind, text, read_any, labels)


def _ownership_states(ownership: Ownership, _: Tap) -> Iterable[Sample]:
    return [((each,), each == ownership.state) for each in get_args(OwnershipState)]


def _frames(view: View[S]) -> Iterable[Sample]:
    both = ((SENT, view.tap.sent), (RECEIVED, view.tap.received))
    return [((way, KINDS[kind]), count) for way, frames in both for kind, count in frames.items()]


def _labelled(counts: Mapping[str, int]) -> Iterable[Sample]:
    return [((label,), count) for label, count in counts.items()]


def _queues(view: View[S]) -> Iterable[Sample]:
    return [((SENT,), view.statistics.queued_bytes), ((RECEIVED,), view.held_bytes)]


def _recovery_bound(view: View[Statistics]) -> float:
    return recovery(view.settings, ONE_WAY_DELAY).seconds


# The counts of a server, besides those of its connections, and what each counts.
SERVER_COUNTS = {
    "accepted": "connections that got a place",
    "turned_away": "connections that got none",
    "gone_before": "those of these whose peers had closed before they were accepted",
    "not_allowed": "those of these that `allowed_networks` keeps out",
    "too_frequent": "those of these above `accept_rate` or `accept_rate_per_address`",
    "never_selected": "connections that were over before they were selected",
    "failed_handshakes": "those of these without TLS in order",
    "refused_certificates": "those of these whose certificate may be no session here",
    "gave_way": "those of these that were closed to make place for another",
    "failed_connections": "connections ended by an exception that is not the handler's",
    "failed_handlers": "handlers that raised",
    "cancelled_handlers": "handlers that had outlived their connections and were cancelled",
    "dropped_primaries": "primaries dropped for `server_inbox_bytes`",
}
_OF_STATISTICS = "the count `{}` of `statistics()`"

OfLinks = Number[Statistics] | Distribution[Statistics]
OfServers = Number[ServerStatistics] | Distribution[ServerStatistics]
OfBoth = Number[Counts] | Distribution[Counts]

LINKS: tuple[OfLinks, ...] = (
    Number(
        "hsms_link_state",
        "gauge",
        "1 for the phase that the link is in, 0 for all others",
        _states,
        ("state",),
    ),
    _gauge(
        "hsms_down_seconds",
        "for how long it has not been selected though it should be; 0 while that is not so",
        lambda view: view.down_seconds,
    ),
    _gauge(
        "hsms_retry_seconds",
        "seconds to the next attempt; 0 while one runs, infinite while none will begin",
        lambda view: view.statistics.retry_after,
    ),
    Number(
        "hsms_attempts_total",
        "counter",
        "attempts that have ended, and how",
        lambda view: _labelled(view.tap.outcomes),
        ("outcome",),
    ),
    Distribution(
        "hsms_recovery_seconds",
        "from the end of a session that no call has ended to the next one",
        lambda view: view.tap.recovery,
    ),
    _gauge(
        "hsms_recovery_bound_seconds",
        "`bounds.recovery` of the settings in force: the longest that takes in a whole network",
        _recovery_bound,
    ),
    Number(
        "hsms_breaker_state",
        "gauge",
        "1 for the state that the circuit breaker is in, 0 for all others",
        _breaker_states,
        ("state",),
    ),
    _gauge(
        "hsms_breaker_failures",
        "failed attempts in a row, as the breaker counts them",
        lambda view: view.statistics.breaker_failures,
    ),
    _gauge(
        "hsms_breaker_threshold",
        "at how many it opens",
        lambda view: view.statistics.breaker_threshold,
    ),
    _lease(
        "hsms_lease_state",
        "gauge",
        "1 for where the lease of the tool is, as this process sees it, 0 for all others",
        _ownership_states,
        "state",
    ),
    _lease(
        "hsms_lease_epoch",
        "gauge",
        "the epoch of the latest owner that is known here; it is greater with each owner",
        lambda ownership, _: [((), ownership.lease_epoch)],
    ),
    _lease(
        "hsms_lease_ends_seconds",
        "gauge",
        "seconds until this process leaves the tool, or for a standby until the lease of the owner "
        "is over, unless it is renewed; infinite when nobody is known to have it",
        lambda ownership, _: [((), ownership.ends_in)],
    ),
    _lease(
        "hsms_lease_takeovers_total",
        "counter",
        "how often this process has got the lease; to renew it does not count",
        lambda _, tap: [((), tap.takeovers)],
    ),
    _lease(
        "hsms_lease_drains_total",
        "counter",
        "how often this process has left the tool because of the lease, and why",
        lambda _, tap: _labelled(tap.drains),
        "why",
    ),
)

BOTH: tuple[OfBoth, ...] = (
    Number(
        "hsms_disconnects_total",
        "counter",
        "sessions that have ended, and by what event",
        lambda view: _labelled(view.tap.disconnects),
        ("reason",),
    ),
    Number(
        "hsms_selected_seconds_total",
        "counter",
        "how long sessions have lasted, together, with those that are open",
        lambda view: [((), view.selected_seconds)],
    ),
    Distribution(
        "hsms_round_trip_seconds",
        "from the moment that a request was wholly written to its reply",
        lambda view: view.tap.round_trip,
    ),
    Distribution(
        "hsms_answer_seconds",
        "from a primary that came to the reply of this program",
        lambda view: view.tap.answer,
    ),
    Distribution(
        "hsms_linktest_seconds",
        "from the moment that Linktest.req was wholly written to its response",
        lambda view: view.tap.linktest,
    ),
    Number(
        "hsms_frames_total",
        "counter",
        "frames received or queued to be sent",
        _frames,
        ("direction", "kind"),
    ),
    _gauge(
        "hsms_open_requests",
        "requests without a reply so far",
        lambda view: view.statistics.open_transactions,
    ),
    _gauge(
        "hsms_waiting_primaries",
        "primaries that wait for the program",
        lambda view: view.statistics.waiting_primaries,
    ),
    Number(
        "hsms_queue_bytes",
        "gauge",
        "bytes that wait: `sent` for the peer to take them, `received` for the program",
        _queues,
        ("direction",),
    ),
    _total("times_selected", "how often SELECTED was entered"),
    *(_total(name, _OF_STATISTICS.format(name)) for name in COUNTERS),
)

SERVERS: tuple[OfServers, ...] = (
    _gauge(
        "hsms_server_connections",
        "open connections",
        lambda view: view.statistics.connections,
    ),
    _gauge(
        "hsms_server_selected",
        "those of them that are selected",
        lambda view: view.statistics.selected,
    ),
    _gauge("hsms_server_handlers", "handlers that run", lambda view: view.statistics.handlers),
    _gauge(
        "hsms_server_outliving",
        "those of them whose connections are over",
        lambda view: view.statistics.outliving,
    ),
    _gauge(
        "hsms_server_listening",
        "1 while it listens, 0 when it is closed",
        lambda view: not view.is_over,
    ),
    *(_total(name, text, f"hsms_server_{name}") for name, text in SERVER_COUNTS.items()),
)

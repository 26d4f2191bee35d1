"""What a server has counted, together with its connections, those that are over included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hsms_engine.accepted import Place
from hsms_engine.protocol.statistics import COUNTERS, Statistics


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """All counts of a server, at nearly the same moment.

    Of now: ``connections`` are open, ``selected`` of them have a session, ``handlers`` run,
    ``outliving`` of them after the end of their connections; ``open_transactions``,
    ``waiting_primaries``, ``waiting_bytes`` and ``queued_bytes`` are of all connections together.
    Since the start: ``times_selected``, the counts that ``HsmsServer`` explains, and ``counts``,
    which has the sums of ``Statistics.counts``, each connection that is over included.
    """

    connections: int
    selected: int
    handlers: int
    outliving: int
    open_transactions: int
    waiting_primaries: int
    waiting_bytes: int
    queued_bytes: int
    times_selected: int
    accepted: int
    turned_away: int
    gone_before: int
    not_allowed: int
    too_frequent: int
    never_selected: int
    failed_handshakes: int
    refused_certificates: int
    gave_way: int
    failed_connections: int
    failed_handlers: int
    cancelled_handlers: int
    dropped_primaries: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Tally:
    """The connections that may still count, and the sums of all others.

    It is replaced as a whole, so that no count is missing, or there twice, for another thread.
    """

    live: tuple[Place, ...] = ()
    ended: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    times_selected: int = 0

    def begun(self, place: Place) -> Tally:
        return replace(self, live=(*self.live, place))

    def over(self, place: Place) -> Tally:
        found = place.driver.engine.statistics()
        return Tally(
            tuple(each for each in self.live if each is not place),
            self.counts([found]),
            self.times_selected + found.times_selected,
        )

    def counts(self, found: Sequence[Statistics]) -> dict[str, int]:
        """The counts of all others and of those found, together."""
        return {
            name: self.ended[name] + sum(each.counts[name] for each in found) for name in COUNTERS
        }

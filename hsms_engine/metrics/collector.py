"""``Collector``: what a registry of ``prometheus_client`` asks for all metrics.

A scrape runs in a thread of its own and may come at any moment, in the middle of a shutdown too. It
waits for no event loop. What it shows of one name is of nearly the same moment. No counter falls:
the counts of a link that is over are kept, and its name may be given to the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Protocol, TypeVar, assert_never

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from hsms_engine.driver.driver import Driver
from hsms_engine.metrics.catalogue import (
    BOTH,
    LINKS,
    SERVER_COUNTS,
    SERVERS,
    Distribution,
    Number,
    View,
)
from hsms_engine.metrics.tap import Tap
from hsms_engine.protocol.engine import Engine
from hsms_engine.protocol.leasing import Ownership
from hsms_engine.protocol.statistics import Statistics
from hsms_engine.server import HsmsServer
from hsms_engine.server_statistics import ServerStatistics

Source = Engine | HsmsServer
S = TypeVar("S", bound=Statistics | ServerStatistics)
C = TypeVar("C", Statistics, ServerStatistics)
# More than the longest name of a host has, or the longest path of a socket.
_LONGEST_NAME = 300


class Observable(Protocol):
    """A link, a connection or a server, of any door."""

    @property
    def _source(self) -> Source: ...
    def _observe(self, attach: Callable[[Driver], None]) -> None: ...


class Collector:
    """All metrics of what is added: ``prometheus_client.REGISTRY.register(Collector())``.

    Register one for a program, and add its links and servers to it.
    """

    def __init__(self) -> None:
        # Replaced as a whole, because a scrape reads it.
        self._rows: Mapping[str, _Row] = {}
        self._adding = threading.Lock()
        self._scraping = threading.Lock()

    def add(self, observable: Observable, /, name: str | None = None) -> None:
        """Count this link, connection or server from now on, and show it as ``{link="name"}``.

        Add a server, not its connections, whose names would be without end. Without ``name`` it is
        the setting ``name`` or, if that is empty, the address of the peer or of the listener. When
        what had this name is closed, its counts go on.

        Add what lives in trio in its event loop: elsewhere that raises ``WrongLoopError``. For the
        other doors it may be called in any thread. Raises ``TypeError`` for anything else, and
        ``ValueError`` when the name is no printable text of up to 300 characters, or is that of
        something that is not closed, or of a server where this is none.
        """
        # Not every caller uses a type checker.
        source: object = getattr(observable, "_source", None)
        if not isinstance(source, Source):
            raise TypeError(f"{observable!r} is no link, connection or server")
        called = _expect_name(_name_of(source) if name is None else name)
        with self._adding:
            row = self._rows.get(called)
            if row is not None:
                row.expect_successor(called, source)
            else:
                row = _Row(source)
            observable._observe(row.tap.attach)
            row.follow(source)
            self._rows = {**self._rows, called: row}

    def describe(self) -> Iterable[Metric]:
        """The metrics without numbers: the registry asks whether their names are taken."""
        return [_filled(each, {}) for each in (*LINKS, *BOTH, *SERVERS)]

    def collect(self) -> Iterable[Metric]:
        """All metrics of now. Of two scrapes at once, one waits for the other."""
        links: dict[str, View[Statistics]] = {}
        servers: dict[str, View[ServerStatistics]] = {}
        with self._scraping:
            for name, row in self._rows.items():
                row.show(name, links, servers)
        both: dict[str, View[Statistics | ServerStatistics]] = {**links, **servers}
        return [
            *(_filled(each, links) for each in LINKS),
            *(_filled(each, both) for each in BOTH),
            *(_filled(each, servers) for each in SERVERS),
        ]


class _Row:
    """What one name has counted, over all that have had it."""

    __slots__ = ("_life", "_most_seconds", "tap")

    def __init__(self, source: Source) -> None:
        self.tap = Tap()
        # What has the name, and the counts of those that had it before. Replaced as a whole.
        self._life: tuple[Source, Mapping[str, int]] = source, {}
        # What was shown of the seconds of all sessions: a scrape may have taken the time just
        # before the end of a session was counted, which then is earlier.
        self._most_seconds = 0.0

    def expect_successor(self, name: str, source: Source) -> None:
        """``source`` may have the name of this one. Raises ``ValueError``."""
        present, _ = self._life
        if not _is_over(present):
            raise ValueError(
                f"name={name!r} is that of a {_kind(present)} that is not closed: give another one"
            )
        if type(present) is not type(source):
            raise ValueError(
                f"name={name!r} was that of a {_kind(present)}, and this is a {_kind(source)}: "
                "give another one"
            )

    def follow(self, source: Source) -> None:
        """``source`` has the name from now on."""
        present, before = self._life
        if present is not source:
            self._life = source, _sum(before, _counts(present.statistics()))

    def show(
        self,
        name: str,
        links: dict[str, View[Statistics]],
        servers: dict[str, View[ServerStatistics]],
    ) -> None:
        """Put what it is now where it belongs."""
        source, before = self._life
        match source:
            case Engine():
                links[name] = self._view(
                    source,
                    source.statistics(),
                    before,
                    held_bytes=source.held_bytes,
                    down_seconds=source.down_for,
                    ownership=source.ownership,
                )
            case HsmsServer():
                servers[name] = self._view(
                    source, source.statistics(), before, held_bytes=source.waiting_bytes
                )
            case _:
                assert_never(source)

    def seconds(self) -> float:
        """The seconds of all sessions together."""
        self._most_seconds = max(self._most_seconds, self.tap.selected_seconds())
        return self._most_seconds

    def _view(
        self,
        source: Source,
        statistics: C,
        before: Mapping[str, int],
        *,
        held_bytes: int,
        down_seconds: float = 0.0,
        ownership: Ownership | None = None,
    ) -> View[C]:
        return View(
            statistics=statistics,
            settings=source.settings,
            tap=self.tap,
            totals=_sum(before, _counts(statistics)),
            held_bytes=held_bytes,
            down_seconds=down_seconds,
            selected_seconds=self.seconds(),
            is_over=_is_over(source),
            ownership=ownership,
        )


def _expect_name(name: object) -> str:
    """``name`` as the value of a label. Raises ``ValueError``: not every caller checks types."""
    if not (isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_NAME):
        raise ValueError(f"name={name!r} is no printable text of 1 to {_LONGEST_NAME} characters")
    return name


def _name_of(source: Source) -> str:
    match source:
        case Engine():
            return source.settings.name or source.peer
        case HsmsServer():
            return source.settings.name or source.address
        case _:
            assert_never(source)


def _is_over(source: Source) -> bool:
    match source:
        case Engine():
            return source.is_closed
        case HsmsServer():
            return source._is_over
        case _:
            assert_never(source)


def _kind(source: Source) -> str:
    match source:
        case Engine():
            return "link"
        case HsmsServer():
            return "server"
        case _:
            assert_never(source)


def _counts(statistics: Statistics | ServerStatistics) -> dict[str, int]:
    counts = {**statistics.counts, "times_selected": statistics.times_selected}
    match statistics:
        case Statistics():
            return counts
        case ServerStatistics():
            return {**counts, **{name: getattr(statistics, name) for name in SERVER_COUNTS}}
        case _:
            assert_never(statistics)


def _sum(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {name: before.get(name, 0) + count for name, count in now.items()}


def _filled(metric: Number[S] | Distribution[S], views: Mapping[str, View[S]]) -> Metric:
    match metric:
        case Distribution():
            histograms = HistogramMetricFamily(metric.name, metric.text, labels=("link",))
            for name, view in views.items():
                read = metric.read(view)
                # First, so that what is counted meanwhile is in the buckets, if anywhere.
                total = read.sum
                buckets = [
                    ("+Inf" if most == inf else repr(most), n) for most, n in read.cumulated()
                ]
                histograms.add_metric((name,), buckets, total)
            return histograms
        case Number():
            family = GaugeMetricFamily if metric.kind == "gauge" else CounterMetricFamily
            numbers = family(metric.name, metric.text, labels=("link", *metric.labels))
            for name, view in views.items():
                for labels, number in metric.read(view):
                    numbers.add_metric((name, *labels), float(number))
            return numbers
        case _:
            assert_never(metric)

"""What metrics there are, and how other doors and other threads see them, in real time."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import math
import re
import sys
import threading
from typing import Any, get_args

import pytest

from hsms_engine import (
    Message,
    ServerStatistics,
    Statistics,
    aio,
    blocking,
)
from hsms_engine.events import DrainReason
from hsms_engine.metrics import Collector
from hsms_engine.metrics.catalogue import (
    BOTH,
    BREAKER_STATES,
    LINKS,
    SERVER_COUNTS,
    SERVERS,
    Distribution,
)
from hsms_engine.metrics.collector import _Row
from hsms_engine.metrics.histogram import Histogram
from hsms_engine.metrics.tap import DEFECT, DRAINS, REASONS
from hsms_engine.protocol.statistics import COUNTERS
from statecharts import Tell
from statecharts.hsms import ACTIVE, ACTIVE_LINK, LEASE, PASSIVE
from tests.support.blocking_peer import trio_rests
from tests.support.doors import trio_at_rest
from tests.support.leaks import leak_check
from tests.support.metrics import Shown, fallen, number, numbers, shown
from tests.support.patience import PATIENCE

__all__ = ["leak_check", "trio_at_rest"]

QUIET: dict[str, Any] = {"linktest_interval": None}
S1F1 = Message(1, 1, wait=True)


# The catalogue


def test_the_reasons_are_the_events_that_end_a_session_by_the_charts() -> None:
    found = set()
    for chart in (ACTIVE, PASSIVE):
        inside = {state.id for state in chart.state("selected").walk()}
        found |= {
            on.event
            for on in chart.transitions
            if on.source in inside and on.to not in {None, *inside}
        }
    # What other charts make of their own events is one event of the connection.
    for chart in ACTIVE_LINK.charts:
        found |= {on.event for on in chart.transitions if Tell("communication_failed") in on.do}
    # A lease that is over disables the link. To give it back is a call of `disable`.
    over = {on.event for on in LEASE.transitions if Tell("disable_requested") in on.do}
    found |= over - {"withdraw_requested"}
    assert found == set(REASONS) - {DEFECT}


def test_the_reasons_to_leave_a_tool_are_those_that_are_told() -> None:
    assert tuple(DRAINS) == get_args(DrainReason)


def test_a_histogram_counts_a_value_at_a_bound_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.0, 1.0, 1.5, 2.0, 2.1, math.inf):
        histogram.observe(value)
    assert list(histogram.cumulated()) == [(1.0, 2), (2.0, 4), (math.inf, 6)]


def test_the_catalogue_has_every_number_of_statistics() -> None:
    counts = {*COUNTERS, "times_selected"}
    names = {each.name for each in BOTH}
    assert names >= {f"hsms_{each}_total" for each in counts}
    of_server = {each.name for each in dataclasses.fields(ServerStatistics)}
    known = {
        "open_transactions": "hsms_open_requests",
        "waiting_primaries": "hsms_waiting_primaries",
        "waiting_bytes": "hsms_queue_bytes",
        "queued_bytes": "hsms_queue_bytes",
        "times_selected": "hsms_times_selected_total",
    }
    for name in of_server - {"counts", *SERVER_COUNTS, *known}:
        assert f"hsms_server_{name}" in {each.name for each in SERVERS}
    assert set(known.values()) <= names
    # Those of a link have names of their own; their number says that each was thought of.
    assert len(dataclasses.fields(Statistics)) == 14
    assert set(BREAKER_STATES.values()) == {"closed", "open", "ready", "probing", "isolated"}


def test_names_and_texts_are_as_prometheus_wants_them() -> None:
    every = [*LINKS, *BOTH, *SERVERS]
    assert len({each.name for each in every}) == len(every)
    for each in every:
        assert re.fullmatch(r"hsms_[a-z0-9_]+", each.name)
        is_counter = not isinstance(each, Distribution) and each.kind == "counter"
        assert each.name.endswith("_total") == is_counter
        assert each.text


# Other doors, and threads: in real time


def test_the_blocking_door_is_counted_in_the_trio_thread() -> None:
    collector = Collector()

    def answer(host: blocking.HsmsConnection) -> None:
        for primary in host:
            host.reply(primary, Message(1, 2))

    with blocking.serve_hsms(answer, "127.0.0.1", 0, **QUIET) as server:
        collector.add(server, "b")
        with blocking.open_link("127.0.0.1", server.port, **QUIET) as link:
            collector.add(link, "a")
            link.wait_selected(PATIENCE)
            link.request(S1F1, PATIENCE)
            assert number(collector, "hsms_round_trip_seconds_count") == 1
            assert number(collector, "hsms_link_state", state="selected") == 1
        with blocking.open_hsms("127.0.0.1", server.port, **QUIET) as connection:
            collector.add(connection, "c")
            connection.linktest(PATIENCE)
    trio_rests()
    assert numbers(collector, "hsms_linktest_seconds_count", "link") == {"c": 1}
    assert numbers(collector, "hsms_answer_seconds_count", "link") == {"b": 1}
    assert numbers(collector, "hsms_selected_seconds_total", "link").keys() == {"a", "b", "c"}
    assert numbers(collector, "hsms_server_listening", "link") == {}


def test_the_asyncio_door_is_counted_in_the_trio_thread() -> None:
    collector = Collector()

    async def answer(host: aio.HsmsConnection) -> None:
        async for primary in host:
            await host.reply(primary, Message(1, 2))

    async def main() -> None:
        async with aio.serve_hsms(answer, "127.0.0.1", 0, **QUIET) as server:
            collector.add(server, "b")
            async with aio.open_link("127.0.0.1", server.port, **QUIET) as link:
                collector.add(link, "a")
                await link.wait_selected()
                await link.request(S1F1)
                assert number(collector, "hsms_round_trip_seconds_count") == 1

    asyncio.run(main())
    trio_rests()
    assert numbers(collector, "hsms_answer_seconds_count", "link") == {"b": 1}


def test_no_counter_falls_for_a_thread_that_scrapes_all_the_time() -> None:
    """In the midst of connections that come and go, and of shutdowns."""
    collector, is_over = Collector(), threading.Event()
    falls: list[object] = []
    scrapes = 0

    def scrape() -> None:
        nonlocal scrapes
        before: Shown = {}
        while not is_over.is_set():
            now = shown(collector)
            falls.extend(fallen(before, now))
            before, scrapes = now, scrapes + 1

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        for _ in range(5):
            with blocking.serve_hsms(list, "127.0.0.1", 0, **QUIET) as server:
                collector.add(server, "b")
                for _ in range(4):
                    with blocking.open_link("127.0.0.1", server.port, **QUIET) as link:
                        collector.add(link, "a")
                        link.wait_selected(PATIENCE)
                        link.linktest(PATIENCE)
    finally:
        is_over.set()
        thread.join(PATIENCE)
    assert falls == []
    assert scrapes
    assert number(collector, "hsms_times_selected_total") == 20
    assert numbers(collector, "hsms_times_selected_total", "link") == {"a": 20, "b": 20}


def test_the_seconds_of_sessions_do_not_fall_when_a_scrape_took_the_time_before_their_end() -> None:
    now = 10.0
    row = _Row(object())  # type: ignore[arg-type]  # what has the name is not asked
    row.tap.clock = lambda: now
    row.tap.sessions = 1, -5.0
    shown_first = row.seconds()
    now = 9.0
    assert (shown_first, row.seconds()) == (5.0, 5.0)


# Without prometheus_client


def _without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    again = ("hsms_engine.metrics", "prometheus_client")
    for name in [each for each in sys.modules if each.startswith(again)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "prometheus_client")
    with pytest.raises(
        ModuleNotFoundError,
        match=r"^hsms_engine\.metrics needs prometheus_client, which is not installed: .*pip",
    ):
        importlib.import_module("hsms_engine.metrics")


def test_another_module_that_is_missing_is_named_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "hsms_engine.bounds")
    with pytest.raises(ModuleNotFoundError, match=r"^import of hsms_engine\.bounds halted"):
        importlib.import_module("hsms_engine.metrics")

"""Logging: each step with its values beside the text, and nothing done for it when it is off."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import ConnectionLostError, HsmsConnection
from hsms_engine.protocol.engine import Engine
from tests.support.leaks import leak_check, no_task_left
from tests.support.pair import Switchboard, link_end, passive_end, server_end
from tests.support.virtual import virtual_time

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}
CHARTS = "hsms_engine.charts"
STEP = "tool:5000 active: connection_active select_rsp_accepted: selecting -> communicating"
EXTRAS = {
    "link",
    "epoch",
    "chart",
    "chart_event",
    "from_state",
    "to_state",
    "breaker_failures",
    "breaker_threshold",
}


async def test_each_step_of_a_chart_is_one_record_with_its_values(
    caplog: pytest.LogCaptureFixture,
) -> None:
    board = Switchboard()
    caplog.set_level(logging.DEBUG, CHARTS)
    async with link_end(board, breaker_threshold=7, **QUIET) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        records = [record for record in caplog.records if record.name == CHARTS]
        for record in records:
            assert set(vars(record)) >= EXTRAS
            assert record.levelno == logging.DEBUG
        selected = next(r for r in records if vars(r)["chart_event"] == "select_rsp_accepted")
        values = {name: vars(selected)[name] for name in EXTRAS}
        assert values == {
            "link": "tool:5000 active",
            "epoch": 1,
            "chart": "connection_active",
            "chart_event": "select_rsp_accepted",
            "from_state": "selecting",
            "to_state": "communicating",
            "breaker_failures": 0,
            "breaker_threshold": 7,
        }
        assert selected.getMessage() == STEP
        succeeded = [r for r in records if vars(r)["chart"] == "breaker"]
        assert [vars(r)["chart_event"] for r in succeeded] == [
            "permit_requested",
            "attempt_succeeded",
        ]


async def test_the_breakers_count_and_the_threshold_in_force_are_in_the_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    board = Switchboard()
    board.refuse()
    caplog.set_level(logging.DEBUG, CHARTS)
    async with link_end(board, t5=1, breaker_threshold=50, **QUIET) as link:
        await trio.sleep(2.5)
        link.configure(breaker_threshold=4)
        await trio.sleep(1)
        failed = [r for r in caplog.records if vars(r).get("chart_event") == "attempt_failed"]
        counts = [(vars(r)["breaker_failures"], vars(r)["breaker_threshold"]) for r in failed]
        assert counts == [(1, 50), (2, 50), (3, 50), (4, 4)]


async def test_a_listening_end_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, CHARTS)
    async with passive_end(**QUIET):
        links = {vars(r)["link"] for r in caplog.records if r.name == CHARTS}
        assert links == {"memory peer 1 passive"}


async def test_nothing_is_made_for_the_log_when_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    original = Engine.statistics

    def statistics(self: Engine) -> Any:
        nonlocal made
        made += 1
        return original(self)

    class NeverLogger(logging.Logger):
        def makeRecord(self, *_: Any, **__: Any) -> logging.LogRecord:  # noqa: N802
            raise AssertionError("a record was made")

    monkeypatch.setattr(Engine, "statistics", statistics)
    monkeypatch.setattr(logging.getLogger(CHARTS), "__class__", NeverLogger)
    assert not logging.getLogger(CHARTS).isEnabledFor(logging.DEBUG)
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        await peer.close()
        await wait_all_tasks_blocked()
    assert made == 0


async def test_a_handler_that_its_peer_ended_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_: HsmsConnection) -> None:
        raise ConnectionLostError("lost", "why")

    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with server_end(handler, **QUIET) as (_, listener):
        peer = await listener.raw()
        await peer.select()
        await wait_all_tasks_blocked()
        lines = [r.getMessage() for r in caplog.records if r.name == "hsms_engine.link"]
        assert lines[-2:] == [
            "memory peer 1 passive: its handler ended: lost",
            "memory peer 1 passive: separating: the last frame is queued",
        ]
        caplog.clear()

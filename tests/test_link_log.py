"""The log ``hsms_engine.link``: the life of a link in one line each, and what a person looks at."""

from __future__ import annotations

import contextlib
import io
import logging
import logging.handlers
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    ConnectError,
    HsmsConnection,
    Message,
    ReplyTimeoutError,
    TransactionError,
    open_hsms,
)
from hsms_engine.logs import LINK, quieten, say
from hsms_engine.protocol import Transaction, routers
from hsms_engine.traffic.logs import ALARMING, REFUSED
from statecharts.hsms import ACTIVE_LINK, PASSIVE_LINK
from tests.support.faulty_lease import away
from tests.support.leaks import leak_check, no_task_left
from tests.support.leased import leased, taken
from tests.support.pair import (
    Switchboard,
    active_end,
    echo,
    link_end,
    nothing,
    passive_end,
    server_end,
)
from tests.support.raw_peer import data, linktest_req, reject_req, select_req, select_rsp
from tests.support.virtual import virtual_time
from tests.test_faulting_charts import spoil

__all__ = ["leak_check", "no_task_left", "virtual_time"]

QUIET: dict[str, Any] = {"linktest_interval": None}
# Every text of the log, for ``tests/test_texts.py`` too.
TEXTS = [
    "INFO connecting, attempt 1",
    "INFO selecting: TCP is open (T6 = 5 s)",
    "INFO selected",
    (
        "WARNING S6F11 has session id 3, and ours is 0 (only the first one of a "
        "connection is logged here)"
    ),
    "INFO connection closed: the peer separated; waiting: the next attempt begins in 10.0 s",
    "INFO connecting, attempt 2",
    (
        "INFO not connected, during TCP connect: Connection refused; waiting: the next "
        "attempt begins in 10.0 s"
    ),
    "INFO connecting, attempt 3",
    (
        "INFO not connected, during TCP connect: Connection refused; waiting: the next "
        "attempt begins in 60.0 s"
    ),
    (
        "WARNING breaker open: 2 failures in a row (breaker_threshold = 2): the next "
        "attempt begins in 60.0 s"
    ),
    "INFO waiting for the breaker: the next attempt begins in 50.0 s",
    "INFO breaker half-open: one attempt may begin",
    "INFO breaker half-open: its one attempt begins",
    "INFO connecting, attempt 4",
    "INFO selecting: TCP is open (T6 = 5 s)",
    "INFO selected",
    "INFO breaker closed",
    "INFO separating: the last frame is queued",
    "INFO disabled",
    "INFO breaker isolated: no attempt until it is released",
    "INFO waiting: no attempt begins by itself",
    "INFO closed",
]

NOT_SELECTED = "INFO not selected: TCP is open (T7 = 10 s)"
TURNED_AWAY = (
    "INFO turned away: 1 connections are open, and 0 handlers run on after the end of theirs "
    "(max_connections = 1)"
)
UNREACHABLE = (
    "WARNING unreachable for 20.0 s (unreachable_after): not connected, during TCP connect: "
    "Connection refused"
)
NO_REPLY = "WARNING no reply to S1F1 within T3 = 2 s; the connection stays"
LATE = "late reply to S1F1, whose T3 expired 0.5 s before"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The new lines, with their level and without the name of the link."""
    found: list[str] = []
    for each in caplog.records:
        if each.name == "hsms_engine.link":
            name = vars(each).get("link")
            found.append(f"{each.levelname} {each.getMessage().removeprefix(f'{name}: ')}")
    caplog.clear()
    return found


async def test_the_life_of_a_link_is_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    board = Switchboard()
    async with link_end(board, breaker_threshold=2, **QUIET) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        await peer.send(data(6, 11, 1, session=3), data(6, 11, 2, session=4))
        await wait_all_tasks_blocked()
        board.refuse()
        await peer.send(bytes.fromhex("0000000a ffff 00 00 00 09 00000001"))
        await trio.sleep(35)
        board.refusal = None
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        link.disable()
        await peer.close()
        await wait_all_tasks_blocked()
        link.isolate()
        link.enable()
        await wait_all_tasks_blocked()
    found = lines(caplog)
    assert found == TEXTS


async def test_a_record_has_the_link_and_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with active_end(**QUIET):
        pass
    facts = [(vars(each)["link"], vars(each)["epoch"]) for each in caplog.records]
    assert facts[0] == ("tool:5000 active", 0)
    assert set(facts[1:]) == {("tool:5000 active", 1)}


async def test_every_record_of_a_server_has_the_link_and_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(connection: HsmsConnection) -> None:
        await connection.receive()
        raise KeyError("lot")

    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with server_end(fail, max_connections=1, name="line 3", **QUIET) as (_, listener):
        peer = await listener.raw()
        await peer.select()
        await (await listener.raw()).end()
        await peer.send(data(6, 11, 1))
        await wait_all_tasks_blocked()
        await peer.close()
        await wait_all_tasks_blocked()
        await (await listener.raw()).select()
        await wait_all_tasks_blocked()
    found = {(vars(each)["link"], vars(each)["epoch"]) for each in caplog.records}
    assert found == {
        ("line 3 memory peer 1 passive", 1),
        ("line 3 memory peer 2 passive", 0),
        ("line 3 memory peer 3 passive", 1),
    }
    assert all(each.getMessage().startswith(f"{vars(each)['link']}: ") for each in caplog.records)


async def test_the_name_of_a_link_stands_before_its_peer_and_may_be_changed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "hsms_engine")
    board = Switchboard()
    async with link_end(board, name="etcher-1", **QUIET) as link:
        peer = await board.peer()
        await peer.select_by_answering()
        await peer.ping()
        assert {vars(each)["link"] for each in caplog.records} == {"etcher-1 tool:5000 active"}
        caplog.clear()
        link.configure(name="")
        await peer.ping()
        assert {vars(each)["link"] for each in caplog.records} == {"tool:5000 active"}
        assert link.peer == "tool:5000"


async def test_a_request_that_fails_is_logged_and_its_late_reply_is_called_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with passive_end(t3=2, **QUIET) as (connection, peer):
        for answer in (b"", b"\1\2"):
            with pytest.raises(ReplyTimeoutError):
                await connection.request(Message(1, 1, wait=True))
            late = (await peer.frame()).system
            found = [each for each in lines(caplog) if each.startswith("WARNING")]
            assert found[0].startswith(NO_REPLY)
            assert len(found) == 1
            if not answer:
                caplog.set_level(logging.INFO, "hsms_engine.traffic")
                await trio.sleep(0.5)
                await peer.send(data(1, 2, late))
                await peer.ping()
                texts = [each.getMessage() for each in caplog.records]
                assert any(each.endswith(f", passed over: {LATE}") for each in texts)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            lambda ours: reject_req(ours, 0, 4),
            "WARNING rejected S1F1, reason 4 (entity not selected)",
        ),
        (lambda ours: data(1, 0, ours), "INFO aborted S1F1 with S1F0"),
    ],
    ids=["Reject.req", "SxF0"],
)
async def test_a_request_that_the_peer_ends_is_logged(
    answer: Callable[[int], bytes], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with passive_end(**QUIET) as (connection, peer):
        caplog.set_level(logging.INFO, "hsms_engine.link")

        async def ask() -> None:
            with pytest.raises(TransactionError):
                await connection.request(Message(1, 1, wait=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await peer.send(answer((await peer.frame()).system))
        assert lines(caplog) == [line]


async def test_who_waits_wakes_when_all_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """He may be in another thread: the log of what he does next must not stand before it."""
    told: list[str] = []

    def settled(_: Transaction) -> None:
        told.extend([*lines(caplog), "woken"])

    async with passive_end(**QUIET) as (connection, peer):
        connection.on_message(lambda traffic: told.append(traffic.name))
        caplog.set_level(logging.INFO, "hsms_engine.link")
        for _ in range(2):
            assert connection._request_now(Message(1, 1, wait=True), settled) is not None
        await peer.frame()
        await peer.send(data(1, 2, (await peer.frame()).system))
        await peer.close()
        await wait_all_tasks_blocked()
    closed = "INFO connection lost: the peer closed TCP; closed"
    assert told == ["S1F1", "S1F1", "S1F2", "woken", closed, "woken"]


async def test_a_single_connection_says_why_it_did_not_come_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    board = Switchboard()

    async def refuse() -> None:
        peer = await board.peer()
        await peer.send(select_rsp((await peer.frame()).system, 2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        with pytest.raises(ConnectError):
            await open_hsms("tool", 5000, dial=board.dial, **QUIET).__aenter__()
    assert lines(caplog)[-1] == (
        "INFO not connected, during select: the peer answered Select.req with status 2 (not "
        "ready); closed"
    )


@pytest.mark.parametrize(
    ("answer", "seconds", "line"),
    [
        (b"\0\0\0\1", 0, ("WARNING connection lost: length 1 (b'\\x00\\x00\\x00\\x01') is not in "
         "10..17000000: the peer may not speak HSMS; closed")),
        (b"\0", 6, ("WARNING connection lost: T8 = 5 s passed inside a frame: declared length not "
         "complete, 3 bytes missing, last bytes b'\\x00'; closed")),
        (data(6, 11, 1) + data(6, 11, 1), 2, ("WARNING connection lost: the inbox is full: 1 "
         "primaries of 0 bytes wait and nobody takes them (inbox_size, inbox_bytes); S6F11 did not "
         "fit; closed")),
        (b"", 40, ("WARNING connection lost: 1 linktest(s) in a row unanswered within T6 = 5 s; "
         "last sign of life 35.0 s ago; closed")),
    ],
    ids=["no HSMS", "T8", "overload", "linktest"],
)  # fmt: skip
async def test_a_connection_that_is_lost_by_a_fault_is_a_warning(
    answer: bytes, seconds: float, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with passive_end(inbox_size=1) as (_, peer):
        caplog.set_level(logging.INFO, "hsms_engine.link")
        await peer.send(answer)
        await trio.sleep(seconds)
        await wait_all_tasks_blocked()
        found = lines(caplog)
        assert line in found


async def test_a_listening_end_tells_who_came_who_was_refused_and_who_gave_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with server_end(nothing, max_connections=2, second_host="refuse") as (_, listener):
        first, second = await listener.raw(), await listener.raw()
        await first.select()
        await second.send(select_req(1))
        await wait_all_tasks_blocked()
        assert lines(caplog) == [
            NOT_SELECTED,
            NOT_SELECTED,
            "INFO selected",
            "INFO separating: the last frame is queued",
            "WARNING refused with Select.rsp 3: others have the session",
        ]
        await second.close()
        await wait_all_tasks_blocked()
        await listener.raw()
        await wait_all_tasks_blocked()
        caplog.clear()
        await listener.raw()
        await wait_all_tasks_blocked()
        assert lines(caplog)[0] == "INFO gives way to memory peer 4"


async def test_a_peer_for_which_there_is_no_place_is_turned_away_aloud(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with server_end(nothing, max_connections=1, **QUIET) as (_, listener):
        await (await listener.raw()).select()
        caplog.set_level(logging.INFO, "hsms_engine.link")
        await (await listener.raw()).end()
        assert lines(caplog) == [TURNED_AWAY]


async def test_a_failure_that_was_told_is_not_told_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    board = Switchboard()
    board.refuse()
    async with link_end(board, **QUIET):
        await wait_all_tasks_blocked()
    assert lines(caplog)[-1] == "INFO closed"


async def test_a_foreign_session_id_is_warned_of_once_in_a_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.traffic")
    caplog.set_level(logging.WARNING, "hsms_engine.link")
    async with passive_end(**QUIET) as (_, peer):
        await peer.send(data(6, 11, 1, session=3), data(6, 11, 1, session=3))
        await peer.ping()
    assert len(lines(caplog)) == 1


async def test_what_was_not_written_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with passive_end(**QUIET) as (connection, peer):
        caplog.set_level(logging.INFO, "hsms_engine.link")
        connection._engine.send(Message(6, 11))
        connection._engine.send(Message(6, 11))
        connection._engine.tcp_closed()
        connection._driver.turn()
        await peer.close()
        assert "WARNING 28 bytes accepted for sending were not written" in lines(caplog)


async def test_a_defect_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    board = Switchboard()
    async with link_end(board, **QUIET) as link:
        peer = await board.peer()
        spoil(link._engine, "linktest", "linktest_req_received")
        spoil(link._engine, "connection_active", "select_rsp_accepted")
        await peer.select_by_answering()
        await wait_all_tasks_blocked()
        (line,) = (each for each in lines(caplog) if each.startswith("ERROR"))
        assert "this is a defect of hsms_engine: please report it" in line


async def test_the_events_that_alarm_are_those_of_the_charts() -> None:
    known = {event for each in (ACTIVE_LINK, PASSIVE_LINK) for chart in each.charts
             for event in chart.events}  # fmt: skip
    assert known >= ALARMING | {REFUSED}


async def test_nothing_is_said_below_the_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "hsms_engine")
    async with passive_end(**QUIET) as (_, peer):
        await peer.send(data(6, 11, 1, session=3), b"\0\0\0\0")
        await wait_all_tasks_blocked()
    caplog.set_level(logging.WARNING, "hsms_engine")
    async with passive_end(**QUIET) as (_, peer):
        await peer.send(data(6, 11, 1, session=3), data(6, 11, 1, session=3))
        await peer.ping()
    assert [each.partition(" has ")[0] for each in lines(caplog)] == ["WARNING S6F11"]


# Handlers that fail


class Bad(logging.Handler):
    """What a handler of a user may be: nothing catches what it raises."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError(28, "No space left on device", record.name)


class BadFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        raise UnicodeError(record.name)


async def live(caplog: pytest.LogCaptureFixture) -> None:
    """A bit of everything, with all logs on; it raises when an end is lost."""
    caplog.set_level(logging.DEBUG, "hsms_engine")

    async def handler(connection: HsmsConnection) -> None:
        await echo(connection)
        raise ValueError("a handler")

    async with server_end(handler, max_sessions=2, **QUIET) as (server, listener):
        peer, other = await listener.raw(), await listener.raw()
        await peer.select()
        await other.select()
        await peer.send(data(1, 3, 1, wait=True, body=b"\xff"), data(6, 11, 2, session=9))
        await peer.take(15)
        await peer.ping()
        assert len(server.connections) == 2
        await other.send(b"\0\0\0\0")
        await wait_all_tasks_blocked()
        await peer.ping()
        assert [each.peer for each in server.connections] == ["memory peer 1"]
    async with active_end(**QUIET) as (connection, peer):
        await peer.send(linktest_req(3))
        await connection.send(Message(6, 25))


@contextlib.contextmanager
def attached(handler: logging.Handler, *names: str) -> Any:
    loggers = [logging.getLogger(name) for name in names]
    for each in loggers:
        each.addHandler(handler)
    try:
        yield
    finally:
        for each in loggers:
            each.removeHandler(handler)
        handler.close()


ALL = ("hsms_engine.traffic", "hsms_engine.link", "hsms_engine.charts")


@pytest.mark.parametrize("name", ALL)
async def test_a_handler_that_raises_ends_nothing_and_is_reported_as_logging_does(
    name: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with attached(Bad(), name):
        await live(caplog)
    told = capsys.readouterr().err
    assert "--- Logging error ---" in told
    assert f"OSError: [Errno 28] No space left on device: '{name}'" in told
    assert "Message: '%s" in told


async def test_a_filter_that_raises_ends_nothing(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = BadFilter()
    for name in ALL:
        logging.getLogger(name).addFilter(bad)
    try:
        await live(caplog)
    finally:
        for name in ALL:
            logging.getLogger(name).removeFilter(bad)
    assert "UnicodeError: hsms_engine.traffic" in capsys.readouterr().err


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["none", "closed"])
async def test_without_a_stderr_nothing_is_reported_and_nothing_ends(
    stream: io.StringIO | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    with attached(Bad(), *ALL):
        await live(caplog)


async def test_nothing_is_reported_when_logging_is_told_so(
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with attached(Bad(), *ALL):
        await live(caplog)
    assert capsys.readouterr().err == ""


async def test_a_log_file_whose_directory_is_gone_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "traffic.log"
    watched = logging.handlers.WatchedFileHandler(path, encoding="utf-8")
    with attached(watched, *ALL):
        path.unlink()
        folder.rmdir()
        await live(caplog)
    assert "FileNotFoundError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("chosen", "then"), [(logging.NOTSET, logging.INFO), (logging.DEBUG, logging.DEBUG)]
)
async def test_a_library_is_quietened_unless_somebody_wants_to_hear_it(
    chosen: int, then: int
) -> None:
    logger = logging.getLogger(f"a library of level {chosen}")
    logger.setLevel(chosen)
    quieten(logger)
    assert logger.level == then


async def test_with_all_of_the_program_at_debug_a_handler_that_raises_ends_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is decided yet, so the library that decides would log.
    routers._machine.cache_clear()
    routers._router.cache_clear()
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(sys, "stderr", None)
    with attached(Bad(), ""):
        await live(caplog)


async def test_an_interrupt_in_a_handler_comes_out() -> None:
    class Interrupted(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyboardInterrupt(record.name)

    with attached(Interrupted(), "hsms_engine.link"), pytest.raises(KeyboardInterrupt):
        say(LINK, logging.ERROR, "x")


# A link that a lease decides about

OF_LEASE = ("lease", "standby")
LEASE_TEXTS = [
    "INFO standby: no owner is known",
    "INFO standby: host-b:1 owns the tool, epoch 1",
    "INFO standby: no owner is known",
    "INFO owner of the tool: the lease is granted, epoch 2",
    "WARNING the lease of the tool is doubtful: the store is away; disabled in 6.3 s",
    "INFO owner of the tool: the lease is granted, epoch 2",
    "WARNING the lease of the tool is doubtful: the store is away; disabled in 6.3 s",
    "WARNING draining: the lease of the tool was not renewed by its own deadline",
    "WARNING standby: no owner is known; the store is away",
    (
        "WARNING the lease TOOL-7 (epoch 2) is not given back, and nobody gets it before it is "
        "over: the store is away"
    ),
    "INFO owner of the tool: the lease is granted, epoch 3",
    "WARNING draining: the lease of the tool is lost",
    "INFO standby: host-c:1 owns the tool, epoch 1",
    "INFO standby: no owner is known",
    "INFO owner of the tool: the lease is granted, epoch 2",
    "INFO draining: the lease of the tool is given back",
    "INFO withdrawn: the lease of the tool is not wanted",
    "INFO standby: no owner is known",
    "INFO owner of the tool: the lease is granted, epoch 3",
]


async def test_who_owns_the_tool_is_one_line_each_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hsms_engine.link")
    async with leased() as it:
        async with taken(it.store):
            await it.until("standby")
            # The store is asked again and again, and says the same.
            await trio.sleep(60)
        await it.up()
        it.lease.failure = away()
        await it.until("doubtful")
        it.lease.failure = None
        await it.until("owner")
        it.lease.failure = away()
        await it.until("draining")
        await it.until("standby")
        it.lease.failure = None
        await it.up()
        it.store._entries.clear()
        async with taken(it.store, "host-c:1"):
            await it.until("draining")
            await it.until("standby")
            await trio.sleep(60)
        await it.up()
        it.link.disable()
        await it.until("withdrawn")
        it.link.enable()
        await it.up()
    found = [each for each in lines(caplog) if any(word in each for word in OF_LEASE)]
    assert found == LEASE_TEXTS

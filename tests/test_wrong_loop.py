"""From another thread or event loop only what reads, and ``configure``, works; everything else is
refused before it does anything."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import (
    ClosedError,
    ConnectError,
    HsmsConnection,
    HsmsLink,
    HsmsServer,
    Message,
    ServerHealth,
    Settings,
    SettingsError,
    Statistics,
    Transfers,
    WrongLoopError,
    events,
    open_hsms,
    open_link,
    serve_hsms,
)
from hsms_engine.driver.event_reader import EventReader
from hsms_engine.fleet import fleet_stream, open_fleet, open_fleet_client
from hsms_engine.lease import MemoryStore, RedisStore
from hsms_engine.server_statistics import ServerStatistics
from tests.support.pair import (
    Switchboard,
    active_end,
    first,
    link_end,
    nothing,
    server_end,
)
from tests.support.raw_peer import data
from tests.support.threads import from_thread, under_asyncio, under_trio, without_loop

QUIET: dict[str, Any] = {
    "linktest_interval": None,
    "linger": 0.001,
    "allow_short_timers": True,
}
S1F1, S1F2, S6F11 = Message(1, 1, wait=True), Message(1, 2), Message(6, 11)

# What reads, from any thread, and what is handed over.
READS = {
    "peer", "phase", "is_selected", "settings", "statistics", "address", "port", "connections",
    "handlers", "outliving", "waiting_bytes", "accepted", "turned_away", "never_selected",
    "gave_way", "failed_connections", "failed_handlers", "cancelled_handlers", "dropped_primaries",
    "gone_before", "peer_certificate", "not_allowed", "too_frequent",
    "failed_handshakes", "refused_certificates", "local_address", "remote_address", "health",
    "transfers", "ownership",
}  # fmt: skip
RECORDS = (Statistics, ServerStatistics, ServerHealth, Transfers)
HANDED_OVER = {"configure"}
# Of a server and a reader, what their driver calls.
INNER = {"serve", "entity", "put", "miss", "close"}
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "request": (S1F1,),
    "send": (S6F11,),
    "reply": (S1F1, S1F2),
    "on_message": (print,),
    "on_step": (print,),
    "on_selected": (nothing,),
}
ITERATION = {"__anext__"}
WAYS = pytest.mark.parametrize("run", [under_asyncio, under_trio, without_loop])


def calls_of(kind: type) -> list[str]:
    """All that a user can call or ask, but for what only reads."""
    names = {name for name in vars(kind) | vars(kind.__base__ or object) if name[0] != "_"}
    return sorted((names | ITERATION & set(dir(kind))) - READS - HANDED_OVER - INNER)


CALLS = [
    (kind, name)
    for kind in (HsmsLink, HsmsConnection, HsmsServer, EventReader)
    for name in calls_of(kind)
]


async def refused(thing: object, name: str, run: Callable[..., object]) -> None:
    method, arguments = getattr(thing, name), ARGUMENTS.get(name, ())
    call: Callable[[], object] = lambda: method(*arguments)  # noqa: E731  # it is handed on twice
    if inspect.iscoroutinefunction(method):
        call, makes = (lambda: run(makes)), call
    error = await from_thread(call)
    assert isinstance(error, WrongLoopError), error
    assert isinstance(error, RuntimeError)
    called = "receive" if name == "__anext__" else name
    assert str(error).startswith(f"{thing!r}: {called}() was called ")
    assert "belongs to the trio loop of thread 'MainThread'" in str(error)


def test_there_are_calls_of_each_kind() -> None:
    names = {kind.__name__: set(calls_of(kind)) for kind in (HsmsLink, HsmsServer, EventReader)}
    assert {"request", "disable", "on_selected", "save", "__anext__"} <= names["HsmsLink"]
    assert names["HsmsServer"] == {"aclose", "events", "on_message"}
    assert names["EventReader"] == {"__anext__", "receive"}


@WAYS
@pytest.mark.parametrize(("kind", "name"), CALLS)
async def test_a_call_from_another_thread_is_refused_and_does_nothing(
    kind: type, name: str, run: Callable[..., object]
) -> None:
    board = Switchboard()
    async with (
        link_end(board, **QUIET) as link,
        server_end(**QUIET) as (server, listener),
    ):
        peer = await board.peer()
        await peer.select_by_answering()
        await link.wait_selected()
        other = await listener.raw()
        await other.select()
        (connection,) = server.connections
        reader = link.events()
        await peer.send(data(6, 11, 1, wait=True))
        await peer.ping()
        things: tuple[object, ...] = (link, connection, server, reader)
        recorders = list(link._driver.recorders)
        before: list[Statistics | ServerStatistics] = [link.statistics(), server.statistics()]
        (thing,) = (each for each in things if type(each) is kind)
        await refused(thing, name, run)
        for each in (peer, other):
            await each.ping()
        after: list[Statistics | ServerStatistics] = [link.statistics(), server.statistics()]
        assert link._driver.recorders == recorders
        assert [each.times_selected for each in after] == [1, 1]
        assert after[0].waiting_primaries == 1
        for old, new in zip(before, after, strict=True):
            assert new.counts["messages_sent"] == old.counts["messages_sent"]
            # One linktest each.
            assert new.counts["control_frames_sent"] == old.counts["control_frames_sent"] + 1
        assert (link.phase, connection.phase) == ("selected", "selected")
        # In its own loop all of it still works.
        assert isinstance(await reader.receive(), events.Connecting)


async def test_what_only_reads_works_in_any_thread() -> None:
    async with server_end(**QUIET) as (server, listener), active_end(**QUIET) as (opened, _):
        await (await listener.raw()).select()
        for thing in (server, opened):
            for name in sorted(READS & set(dir(thing))):
                here = getattr(thing, name)
                if callable(here):
                    found = await from_thread(here)
                    assert isinstance(found, RECORDS)
                else:
                    assert await from_thread(partial(getattr, thing, name)) == here
            assert await from_thread(partial(repr, thing)) == repr(thing)


def test_in_guest_mode_a_call_that_waits_is_refused_outside_of_a_task_of_trio() -> None:
    """Then asyncio and trio share a thread. What does not wait needs no task."""
    found: list[object] = []

    async def host() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        opened: asyncio.Future[HsmsConnection] = loop.create_future()
        over = trio.Event()

        async def guest() -> None:
            async with active_end(**QUIET) as (connection, _):
                opened.set_result(connection)
                await over.wait()

        trio.lowlevel.start_guest_run(
            guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda _: done.set(),
        )  # fmt: skip
        connection = await opened
        with pytest.raises(WrongLoopError, match="under asyncio in thread 'MainThread'"):
            await connection.request(S1F1)
        found.append(connection.events())
        found.append(connection.statistics().counts["messages_sent"])
        over.set()
        await done.wait()

    asyncio.run(host())
    assert isinstance(found[0], EventReader)
    assert found[1] == 0


# After the end of trio.run


def test_after_the_run_of_its_loop_a_link_is_closed_and_says_so() -> None:
    kept: list[HsmsLink] = []

    async def main() -> None:
        async with link_end(Switchboard(), **QUIET) as link:
            kept.append(link)

    trio.run(main)
    (link,) = kept
    with pytest.raises(ClosedError):
        link.disable()
    with pytest.raises(ClosedError):
        link.configure(t3=9)
    assert link.phase == "closed"
    assert link.statistics().phase == "closed"

    async def later() -> None:
        with pytest.raises(ClosedError):
            await link.request(S1F1)
        with pytest.raises(ClosedError):
            await link.receive()

    trio.run(later)


# Doors


async def no_dial() -> trio.abc.Stream:
    raise AssertionError("dialled")


async def enter(door: AbstractAsyncContextManager[object]) -> None:
    async with door:
        raise AssertionError("opened")


DOORS: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
    "open_hsms": lambda: enter(open_hsms(dial=no_dial)),
    "open_link": lambda: enter(open_link(dial=no_dial)),
    "serve_hsms": lambda: serve_hsms(nothing, Settings(port=0)),
}


@pytest.fixture
def no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("hsms_engine.server.listen_tcp", refuse)


@pytest.mark.usefixtures("no_socket")
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("run", [under_asyncio, without_loop])
def test_a_door_under_asyncio_or_without_a_loop_opens_nothing_and_names_the_right_door(
    door: str, run: Callable[..., object]
) -> None:
    with pytest.raises(WrongLoopError) as caught:
        run(DOORS[door])
    assert f"asyncio uses hsms_engine.aio.{door}()" in str(caught.value)
    assert f"hsms_engine.blocking.{door}()" in str(caught.value)
    assert ("under asyncio" in str(caught.value)) == (run is under_asyncio)


ONLY_IN_TRIO: dict[str, Callable[[], AbstractAsyncContextManager[object]]] = {
    "open_fleet()": lambda: open_fleet({}, MemoryStore()),
    "open_fleet_client()": lambda: open_fleet_client(MemoryStore()),
    "fleet_stream()": lambda: fleet_stream(MemoryStore(), "T"),
    "async with RedisStore(...)": lambda: RedisStore("redis://127.0.0.1:1"),
}


@pytest.mark.parametrize("door", ONLY_IN_TRIO)
@pytest.mark.parametrize("run", [under_asyncio, without_loop])
def test_a_door_that_has_no_others_names_none(door: str, run: Callable[..., object]) -> None:
    with pytest.raises(WrongLoopError, match="It is for trio only: a trio program") as caught:
        run(lambda: enter(ONLY_IN_TRIO[door]()))
    assert str(caught.value).startswith(f"{door} was called ")
    assert "hsms_engine" not in str(caught.value)


def test_a_second_asyncio_run_is_told_the_same_as_the_first() -> None:
    for _ in range(2):
        with pytest.raises(WrongLoopError, match="under asyncio in thread 'MainThread'"):
            asyncio.run(enter(open_link(dial=no_dial)))


# Settings from another thread


def in_thread_now(call: Callable[[], None]) -> None:
    """Make ``call`` in another thread, while this loop does nothing."""
    worker = threading.Thread(target=call)
    worker.start()
    worker.join()


async def settled(link: HsmsLink, **wanted: float) -> None:
    with trio.fail_after(30):
        while any(getattr(link.settings, name) != value for name, value in wanted.items()):
            await trio.lowlevel.checkpoint()


async def test_settings_from_another_thread_are_in_force_soon_all_of_them() -> None:
    async with link_end(Switchboard(), **QUIET) as link:

        def change() -> None:
            link.configure(t3=11)
            link.configure(t6=6)
            link.configure(link.settings.replace(t7=7), t3=12, t6=6)

        assert await from_thread(change) is None
        await settled(link, t3=12, t6=6, t7=7)


async def test_two_changes_of_two_threads_do_not_undo_each_other() -> None:
    async with link_end(Switchboard(), **QUIET) as link:
        # This loop takes neither before both are given.
        for change in (partial(link.configure, t3=11), partial(link.configure, t6=6)):
            in_thread_now(change)
        link.configure(t7=7)
        # Those handed over and the one of this thread are one after the other.
        assert (link.settings.t3, link.settings.t6, link.settings.t7) == (11, 6, 7)
        await wait_all_tasks_blocked()
        assert (link.settings.t3, link.settings.t6, link.settings.t7) == (11, 6, 7)


async def test_wrong_settings_from_another_thread_are_refused_there_and_change_nothing() -> None:
    async with link_end(Switchboard(), **QUIET) as link:
        before = link.settings
        both_wrong: list[dict[str, Any]] = [{"t3": 0}, {"t3": 9, "nosuch": 1}]
        for wrong in both_wrong:
            assert isinstance(await from_thread(partial(link.configure, **wrong)), SettingsError)
        await wait_all_tasks_blocked()
        assert link.settings is before


async def test_settings_from_another_thread_have_their_effect_on_the_charts() -> None:
    board = Switchboard()
    async with link_end(board, breaker_threshold=3, t5=1, **QUIET) as link:
        reader = link.events()
        board.refuse()
        with pytest.raises(ConnectError, match="refused"):
            await link.connect()
        assert await from_thread(lambda: link.configure(breaker_threshold=1)) is None
        assert (await first(reader, events.BreakerOpened)).threshold == 1


async def test_a_closed_link_refuses_settings_in_any_thread() -> None:
    async with link_end(Switchboard(), **QUIET) as link:
        await link.aclose()
        assert isinstance(await from_thread(lambda: link.configure(t3=9)), ClosedError)


async def test_settings_for_a_link_that_closes_before_they_are_in_force_change_nothing() -> None:
    async with link_end(Switchboard(), **QUIET) as link:
        before = link.settings
        in_thread_now(partial(link.configure, t3=9))
        link.close_soon()
        await wait_all_tasks_blocked()
        assert link.settings is before


def test_settings_handed_over_when_the_run_is_over_change_nothing() -> None:
    """The thread was about to hand them over when the loop ended."""
    kept: list[HsmsLink] = []

    async def main() -> None:
        async with link_end(Switchboard(), **QUIET) as link:
            kept.append(link)

    trio.run(main)
    ran: list[None] = []
    kept[0]._driver.loop.soon(lambda: ran.append(None))
    assert ran == []


# Counts, while the loop is busy


async def test_statistics_can_be_read_in_threads_while_the_link_is_busy_and_reconnects() -> None:
    board = Switchboard()
    stop = threading.Event()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    reads: list[list[int]] = [[], []]

    def read(link: HsmsLink, mine: list[int]) -> None:
        while not stop.is_set() or len(mine) < 200:
            found = link.statistics()
            mine.append(found.counts["frames_received"])
            assert found.phase
            assert found.retry_after >= 0
            receiving = link.transfers().receiving
            assert receiving is None or 0 <= receiving.done < receiving.total

    try:
        settings: dict[str, Any] = {"t5": 0.001, "allow_short_timers": True, "linger": 0.001}
        async with link_end(board, **settings) as link, trio.open_nursery() as nursery:
            for mine in reads:
                nursery.start_soon(from_checked, read, link, mine)
            try:
                for _ in range(30):
                    peer = await board.peer()
                    await peer.select_by_answering()
                    await link.wait_selected()
                    await peer.send(*(data(6, 11, number) for number in range(20)))
                    for _ in range(20):
                        await link.receive()
                    for piece in (12, 5, 1):
                        await peer.send(data(6, 11, 21, body=bytes(piece))[-piece - 14 : -1])
                    await peer.close()
            finally:
                stop.set()
    finally:
        sys.setswitchinterval(before)
    for mine in reads:
        assert len(mine) >= 200
        assert mine == sorted(mine)


async def from_checked(
    read: Callable[[HsmsLink, list[int]], None], link: HsmsLink, mine: list[int]
) -> None:
    error = await from_thread(lambda: read(link, mine))
    assert error is None, error

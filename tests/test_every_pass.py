"""Every coroutine and future of the asyncio door is cancelled after its k-th pass of the loop.

Between two passes the trio thread does all that it can do, so there are few of them; and each pass
is tried with a trio thread that has not begun on what it was asked. After each of these runs no
transaction and no task is left, and the link answers or has ended as documented.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from hsms_engine import LocalProtocolError, Message, aio, events
from hsms_engine.fake.equipment import serve_fake
from hsms_engine.fake.threaded import ThreadedEquipment, run_in_thread
from tests.support.blocking_peer import trio_held, trio_rests
from tests.support.doors import trio_at_rest
from tests.support.leaks import leak_check

__all__ = ["leak_check", "trio_at_rest"]

HERE = "127.0.0.1"
S1F1, S6F11 = Message(1, 1, wait=True), Message(6, 11)
QUIET: dict[str, Any] = {
    "linktest_interval": None,
    "linger": 0.01,
    "t5": 0.01,
    "allow_short_timers": True,
}
FUNCTIONS = [1, 3, 5]

_tried = 0


@dataclass
class Stage:
    """What is open, and what a call is made of."""

    tool: ThreadedEquipment
    m: Any = None
    server: Any = None
    reader: Any = None
    primary: Any = None
    # What a call has given to its caller.
    given: list[Any] = field(default_factory=list)


Call = Callable[[Stage], Awaitable[Any]]


async def a_pass() -> None:
    """One pass of this loop, and what follows from it in the trio thread."""
    await asyncio.sleep(0)
    trio_rests()


@asynccontextmanager
async def stage(kind: str, tool: ThreadedEquipment) -> AsyncIterator[Stage]:
    """One of this kind, with a peer that answers; the handler of a server waits for a reply."""

    async def handler(connection: aio.HsmsConnection) -> None:
        await connection.request(S1F1)

    match kind:
        case "HsmsLink" | "EventReader":
            async with aio.open_link(HERE, tool.port, **QUIET) as link:
                await link.wait_selected()
                yield Stage(tool, link, reader=link.events())
        case "HsmsConnection":
            async with aio.open_hsms(HERE, tool.port, **QUIET) as connection:
                yield Stage(tool, connection)
        case "HsmsServer":
            async with (
                aio.serve_hsms(handler, HERE, 0, **QUIET) as server,
                aio.open_hsms(HERE, server.port, **QUIET) as connection,
            ):
                await connection.receive()
                yield Stage(tool, connection, server)
        case _:
            yield Stage(tool)


async def settled(condition: Callable[[], bool]) -> None:
    while not condition():
        await a_pass()


async def opens(door: Callable[..., Any], port: int) -> None:
    async with door(HERE, port, **QUIET) as opened:
        if isinstance(opened, aio.HsmsLink):
            await opened.wait_selected()
        await opened.request(S1F1)


async def serves(_: Stage) -> None:
    async def nothing(_: aio.HsmsConnection) -> None:
        pass

    async with aio.serve_hsms(nothing, HERE, 0, **QUIET):
        await asyncio.sleep(0)


async def tells(_: Stage) -> None:
    async with aio.serve_health([], 0):
        await asyncio.sleep(0)


async def shows(_: Stage) -> None:
    async with aio.serve_monitor([], port=0):
        await asyncio.sleep(0)


async def takes(stage: Stage, call: Callable[[], Awaitable[Any]]) -> None:
    stage.given.append(await call())


async def registers(link: aio.HsmsLink) -> None:
    async def task(link: aio.HsmsLink) -> None:
        await link.receive()

    registered = link.on_selected(task)
    try:
        await registered
    finally:
        registered.cancel()


def messaging(name: str) -> dict[str, Call]:
    return {
        f"{name}.request": lambda s: s.m.request(S1F1),
        f"{name}.send": lambda s: s.m.send(S6F11),
        f"{name}.reply": lambda s: s.m.reply(s.primary, Message(7, 18)),
        f"{name}.receive": lambda s: takes(s, s.m.receive),
        f"{name}.__anext__": lambda s: takes(s, s.m.__anext__),
        f"{name}.linktest": lambda s: s.m.linktest(),
        f"{name}.deselect": lambda s: s.m.deselect(),
        f"{name}.select": lambda s: s.m.select(),
        f"{name}.aclose": lambda s: s.m.aclose(),
    }


CALLS: dict[str, Call] = {
    **messaging("HsmsLink"),
    **messaging("HsmsConnection"),
    "HsmsLink.wait_selected": lambda s: s.m.wait_selected(),
    "HsmsLink.connect": lambda s: s.m.connect(),
    "HsmsLink.save": lambda s: s.m.save(),
    "HsmsLink.enable": lambda s: s.m.enable(),
    "HsmsLink.disable": lambda s: s.m.disable(),
    "HsmsLink.configure": lambda s: s.m.configure(t3=9),
    "HsmsLink.isolate": lambda s: s.m.isolate(),
    "HsmsLink.release": lambda s: s.m.release(),
    "HsmsLink.reset_breaker": lambda s: s.m.reset_breaker(),
    "HsmsLink.on_selected": lambda s: registers(s.m),
    "HsmsServer.aclose": lambda s: s.server.aclose(),
    "HsmsServer.wait_closed": lambda s: s.server.wait_closed(),
    "HsmsServer.configure": lambda s: s.server.configure(t3=9),
    "EventReader.receive": lambda s: takes(s, s.reader.receive),
    "EventReader.__anext__": lambda s: takes(s, s.reader.__anext__),
    "open_hsms": lambda s: opens(aio.open_hsms, s.tool.port),
    "open_link": lambda s: opens(aio.open_link, s.tool.port),
    "serve_health": tells,
    "serve_monitor": shows,
    "serve_hsms": serves,
}


async def once(name: str, tool: ThreadedEquipment, after: int, way: str) -> bool:
    """Cancel a call after so many passes. Returns whether it lived so long."""
    kind, _, call = name.rpartition(".")
    async with stage(kind, tool) as s:
        asked: Any = None
        closing: Any = None
        match call:
            case "reply":
                asked = asyncio.create_task(asyncio.to_thread(tool.request, Message(7, 17, True)))
                s.primary = await s.m.receive()
            case "receive" | "__anext__" if kind != "EventReader":
                for function in FUNCTIONS:
                    await asyncio.to_thread(tool.send, Message(9, function))
            case "select":
                await s.m.deselect()
            case "enable":
                await s.m.disable()
            case "release":
                await s.m.isolate()
            case "wait_closed":
                closing = asyncio.create_task(s.server.aclose())
        future = asyncio.ensure_future(CALLS[name](s))
        for _ in range(after):
            await a_pass()
        was_cancelled = False
        with trio_held() if way == "the trio thread is busy" else nullcontext():
            was_cancelled = future.cancel()
            await asyncio.sleep(0)
            if way == "twice":
                future.cancel()
        with suppress(asyncio.CancelledError):
            await future
        # It is never swallowed.
        assert future.cancelled() == was_cancelled
        if call in ("aclose", "wait_closed") or s.m is None:
            if closing is not None:
                await closing
            trio_rests()
            # A call that the trio thread has never got does nothing.
            if s.m is not None and after:
                await settled(lambda: s.m.phase == "closed")
            return was_cancelled
        assert s.m.statistics().failed_attempts == 0
        if kind == "HsmsServer":
            assert s.m.is_selected
            return was_cancelled
        await goes_on(s, call)
        match call:
            case "reply":
                # None was sent, so it may be given now; or it was, before the cancellation.
                with suppress(LocalProtocolError):
                    await s.m.reply(s.primary, Message(7, 18))
                assert (await asked).function == 18
            case "receive" | "__anext__" if kind != "EventReader":
                while len(s.given) < len(FUNCTIONS):
                    s.given.append(await s.m.receive())
                assert [each.function for each in s.given] == FUNCTIONS
            case "receive" | "__anext__":
                while not isinstance(s.given[-1] if s.given else None, events.Selected):
                    s.given.append(await s.reader.receive())
                kinds = [type(each) for each in s.given]
                assert kinds == [events.Connecting, events.Selecting, events.Selected]
        return was_cancelled


def owes(counts: dict[str, int]) -> bool:
    """Whether the peer has not answered a control frame."""
    return counts["frames_received"] < counts["control_frames_sent"]


async def goes_on(s: Stage, call: str) -> None:
    """The same connection answers, unless the call has ended it."""
    if call in ("select", "deselect"):
        # All that was sent is answered: there is nothing else to tell.
        await settled(lambda: not owes(s.m.statistics().counts))
    trio_rests()
    assert s.m.statistics().open_transactions == 0
    if s.m.phase == "not selected":
        await s.m.select()
    if call in ("enable", "disable"):
        # Cancelling does not undo what needs no waiting.
        if call == "disable":
            await settled(lambda: s.m.phase == "idle")
            await s.m.enable()
        await s.m.wait_selected()
    else:
        assert s.m.statistics().epoch == 1
    if call in ("isolate", "release"):
        await s.m.reset_breaker()
    assert (await s.m.request(S1F1)).function == 2


WAYS = ("between two passes", "the trio thread is busy", "twice")


@pytest.mark.search
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CALLS)
def test_cancelled_after_every_pass(name: str, way: str) -> None:
    global _tried  # noqa: PLW0603  # it is printed at the end
    with run_in_thread(serve_fake) as tool:
        for after in count():
            # It has one session, and may not know yet that the one before has ended.
            while tool._equipment.connections:
                trio_rests()
            if not asyncio.run(once(name, tool, after, way)):
                break
            _tried += 1
        assert after


def test_every_coroutine_and_future_is_tried() -> None:
    found = {"HsmsLink.on_selected"}
    for name in aio.__all__:
        value = inspect.unwrap(getattr(aio, name))
        if not inspect.isclass(value):
            found.add(name)
            continue
        found |= {
            f"{name}.{each}"
            for each in dir(value)
            if each == "__anext__" or not each.startswith("_")
            if inspect.iscoroutinefunction(getattr(value, each))
            or "Future" in str(getattr(getattr(value, each), "__annotations__", {}))
        }
    assert found == set(CALLS)


@pytest.fixture(scope="module", autouse=True)
def told(request: pytest.FixtureRequest) -> Iterator[None]:
    """How many points were tried is printed at the end."""
    yield
    capture: Any = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\ncancelled at {_tried:,} points in {len(CALLS)} calls of asyncio")

"""Where health is told, and what the doors for threads and for asyncio tell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from hsms_engine import Settings, WrongLoopError, aio, blocking, serve_health
from hsms_engine.health import Answer, ask_health
from hsms_engine.health.place import Path as SocketPath
from hsms_engine.health.place import Port, Where, place_of
from hsms_engine.health.records import link_health
from hsms_engine.protocol.engine import Engine
from statecharts.hsms import ACTIVE_LINK
from tests.support.doors import trio_at_rest
from tests.support.leaks import leak_check
from tests.support.threads import without_loop
from tests.test_health_served import ELSEWHERE, FORMS, HOST, NO_PLACE, NOT_SEEN, Said

__all__ = ["leak_check", "trio_at_rest"]


# Places


class InBytes(os.PathLike[Any]):
    def __fspath__(self) -> bytes:
        return b"health"


@pytest.mark.parametrize(
    ("where", "means"),
    [
        (9000, Port(HOST, 9000)),
        (0, Port(HOST, 0)),
        ("9000", Port(HOST, 9000)),
        ("127.0.0.1:9000", Port(HOST, 9000)),
        ("127.9.9.9:9000", Port("127.9.9.9", 9000)),
        ("localhost:65535", Port("localhost", 65_535)),
        ("[::1]:9000", Port("::1", 9000)),
        ("/run/host/health", SocketPath("/run/host/health")),
        ("./health", SocketPath("./health")),
        ("a/127.0.0.1:9000", SocketPath("a/127.0.0.1:9000")),
        (Path("/run/health"), SocketPath("/run/health")),
        # What is a path needs no / to be known for one.
        (Path("./health"), SocketPath("./health")),
        (Path("9000"), SocketPath("./9000")),
        (InBytes(), SocketPath("./health")),
    ],
)
def test_a_place_is_a_port_of_this_machine_or_a_path(where: Where, means: object) -> None:
    found = place_of(where)
    assert found == means
    assert place_of(str(found)) == found


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("health", NO_PLACE),
        ("a/\nb", NOT_SEEN),
        ("10.1.2.3:5000", ELSEWHERE),
        *((each, "is no place to tell health: " + FORMS)
          for each in ("", ":", "host:", "127.0.0.1", "65536", "-1", "+1", "1.5", "\u0661", "::1")),
        pytest.param("9" * 5_000, FORMS, id="many digits"),
        *((each, "is no place to tell health: it has a char") for each in ("/a\0b", "/a\x1bb")),
        *((each, "is not on this machine: ")
          for each in (":9000", "tool:5000", "0.0.0.0:9000", "[::]:9000", "192.168.0.1:1")),
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused(where: Any, why: str) -> None:
    with pytest.raises(ValueError, match="health") as caught:
        place_of(where)
    assert str(caught.value).endswith(why) or why in str(caught.value)


@pytest.mark.parametrize("where", [-1, 65_536, 1.5, None, [], b"/run/health"], ids=repr)
def test_what_is_no_text_is_no_place_either(where: Any) -> None:
    with pytest.raises(ValueError, match="is no place to tell health: write a port"):
        place_of(where)


def test_without_trio_it_says_which_door_to_use() -> None:
    with pytest.raises(WrongLoopError, match=r"asyncio uses hsms_engine\.aio\.serve_health\(\)"):
        without_loop(lambda: serve_health([], 0))


# The other doors, and other threads


@pytest.fixture
def ready() -> list[Said]:
    return [Said()]


def test_a_program_of_threads_tells_it(ready: list[Said]) -> None:
    with (
        blocking.serve_hsms(list, port=0) as server,
        blocking.open_link(HOST, server.port) as link,
        blocking.serve_health([server, link], 0) as told_there,
    ):
        link.wait_selected(timeout=60)
        assert link.health().is_ready
        assert server.health().is_ready
        answer = trio.run(ask_health, told_there.where)
        assert (answer.is_ready, len(answer.links)) == (True, 2)
        with (
            pytest.raises(OSError, match="Address already in use"),
            blocking.serve_health(ready, told_there.where),
        ):
            raise AssertionError("opened")
    with pytest.raises(OSError, match="nobody tells health"):
        trio.run(ask_health, told_there.where)


async def asyncio_program() -> Answer:
    async def wait(connection: aio.HsmsConnection) -> None:
        async for _ in connection:
            pass

    async with (
        aio.serve_hsms(wait, port=0) as server,
        aio.open_link(HOST, server.port) as link,
        aio.serve_health([server, link], 0) as told_there,
    ):
        await link.wait_selected()
        assert link.health().is_ready
        assert server.health().is_ready
        # The loop is blocked meanwhile.
        return trio.run(ask_health, told_there.where)


def test_a_program_of_asyncio_tells_it_also_while_its_loop_is_blocked() -> None:
    answer = asyncio.run(asyncio_program())
    assert (answer.is_ready, len(answer.links)) == (True, 2)


def test_a_phase_that_changes_while_it_is_asked_is_asked_again() -> None:
    """Another thread may ask while the link goes on."""
    now = 0.0
    changes: list[Callable[[], None]] = []

    def clock() -> float:
        if changes:
            changes.pop()()
        return now

    engine = Engine(
        ACTIVE_LINK, Settings(), clock=clock, random=Random(1), peer=lambda _: "tool:5000"
    )
    engine.enable()
    now = 2.0
    changes.append(lambda: engine.tcp_failed(ConnectionRefusedError(111, "Connection refused")))
    health = link_health(engine)
    assert (health.phase, health.since_seconds) == ("waiting", 2)
    assert health.why.startswith("the link is waiting, not selected; next attempt in ")

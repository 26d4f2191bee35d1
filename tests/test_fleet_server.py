"""A fleet with a real server as its store. Nothing here waits for a time, only for events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from hsms_engine import (
    HsmsConnection,
    LeaseError,
    LeaseSetupError,
    Message,
    OwnerUnknownError,
    Settings,
)
from hsms_engine.driver.tcp import Dial
from hsms_engine.fleet import (
    Fleet,
    Published,
    PublishedEvent,
    fleet_stream,
    open_fleet,
    open_fleet_client,
)
from hsms_engine.lease import RedisStore
from tests.support.leaks import leak_check, no_task_left
from tests.support.network import patience
from tests.support.pair import Handler, MemoryListener, echo, server_end
from tests.support.store_server import StoreServer, store_server

__all__ = ["leak_check", "no_task_left", "patience"]

S1F1, S6F11 = Message(1, 1, wait=True), Message(6, 11)
TOOLS = {
    f"T{number}": Settings(port=5000 + number, linktest_interval=None, t5=1, backoff_jitter=0.0)
    for number in range(1, 5)
}
SHORT = 3.0
# What a process of a fleet needs, one that asks a tool, and one that reads a stream, and no more.
OWNER = ("~{hsms}:*", "~hsms.*")
CALLER = ("~hsms.T1.*", "~hsms.caller-*", "~{hsms}:lease*")
READER = ("~hsms.T1.event",)
RIGHTS = (
    "on", ">secret", "resetchannels", "&{hsms}:*",
    "+eval", "+evalsha", "+info", "+time", "+hget", "+hgetall", "+hmget", "+hset", "+hdel",
    "+publish", "+subscribe", "+unsubscribe", "+xadd", "+xrange", "+xrevrange", "+xdel", "+exists",
    "+pexpire", "+client|setinfo", "+client|setname", "+hello", "+ping",
)  # fmt: skip


@asynccontextmanager
async def tools(
    serve: Handler = echo,
) -> AsyncIterator[Callable[[str], Dial]]:
    """What dials each tool."""
    async with trio.open_nursery() as nursery:
        listeners: dict[str, MemoryListener] = {}

        async def run(
            name: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
        ) -> None:
            async with server_end(serve) as (_, listener):
                listeners[name] = listener
                task_status.started()
                await trio.sleep_forever()

        for name in TOOLS:
            await nursery.start(run, name)
        yield lambda name: listeners[name].dial
        nursery.cancel_scope.cancel()


def store(server: StoreServer) -> RedisStore:
    return RedisStore(server.url, duration=SHORT)


async def until(is_true: Callable[[], bool]) -> None:
    while not is_true():  # noqa: ASYNC110
        # Two processes and a server: no event of ours says it.
        await trio.sleep(0.01)


async def owns(fleet: Fleet, count: int) -> None:
    """Wait until it is selected with so many tools."""
    await until(lambda: sum(link.is_selected for link in fleet.links.values()) == count)


async def test_two_processes_share_tools_and_one_takes_over_and_all_can_be_asked() -> None:
    with store_server() as server:
        async with tools() as dial, open_fleet(TOOLS, store(server), name="a", dial=dial) as first:
            await owns(first, 4)
            async with open_fleet(TOOLS, store(server), name="b", dial=dial) as second:
                await until(
                    lambda: bool(second.links) and len(first.links) + len(second.links) == 4
                )
                await owns(second, len(second.links))
                async with open_fleet_client(store(server)) as client:
                    for tool in TOOLS:
                        assert (await client.request(tool, S1F1)).name == "S1F2"
                [mine, *_], [others, *_] = [*first.links], [*second.links]
                assert (await first.request(others, S1F1)).name == "S1F2"
                assert (await second.request(mine, S1F1)).name == "S1F2"
            await owns(first, 4)


async def test_what_is_published_is_read_across_owners_without_a_gap() -> None:
    async def say(connection: HsmsConnection) -> None:
        await connection.send(S6F11)
        await trio.sleep_forever()

    with store_server() as server:
        async with tools(say) as dial:
            for name in "ab":
                async with open_fleet(TOOLS, store(server), name=name, dial=dial) as fleet:
                    await owns(fleet, 4)
                    async with fleet_stream(store(server), "T3") as stream:
                        async for read in stream:
                            assert isinstance(read, Published)
                            assert read.number == 1
                            if read.owner == fleet.status()["owner"]:
                                break
            async with fleet_stream(store(server), "T3", "event") as stream:
                first = await anext(stream)
                assert isinstance(first, PublishedEvent)
                assert first.event == "Owning"
            async with open_fleet_client(store(server)) as client:
                with pytest.raises(OwnerUnknownError) as raised:
                    await client.request("T3", S1F1)
            assert raised.value.last_owner.startswith("b:")


async def test_the_user_of_a_process_needs_no_more_than_this() -> None:
    with store_server() as server:
        for user, keys in (("owner", OWNER), ("caller", CALLER), ("reader", READER)):
            await server.do("ACL", "SETUSER", user, *RIGHTS, *keys)

        def store_of(user: str) -> RedisStore:
            return RedisStore(server.url.replace("//", f"//{user}:secret@"), duration=SHORT)

        async with tools() as dial:
            async with open_fleet(TOOLS, store_of("owner"), dial=dial) as fleet:
                await owns(fleet, 4)
                async with open_fleet_client(store_of("caller")) as client:
                    assert (await client.request("T1", S1F1)).name == "S1F2"
            async with fleet_stream(store_of("reader"), "T1", "event") as stream:
                assert isinstance(await anext(stream), PublishedEvent)
            async with open_fleet_client(store_of("caller")) as client:
                with pytest.raises(OwnerUnknownError, match="the last one was "):
                    await client.request("T1", S1F1)
        denied = await server.do("ACL", "LOG")
        assert denied == b"*0\r\n"


async def test_who_may_not_is_told() -> None:
    with store_server() as server:
        await server.do("ACL", "SETUSER", "other", "on", ">secret", "~*", "&*", "+@connection")
        url = server.url.replace("//", "//other:secret@")
        async with open_fleet_client(RedisStore(url, duration=SHORT)) as client:
            with pytest.raises(LeaseSetupError, match=r"does not permit .*what is needed"):
                await client.request("T1", S1F1)
        async with fleet_stream(RedisStore(url, duration=SHORT), "T1") as stream:
            with pytest.raises(LeaseSetupError, match=r"does not permit .*what is needed"):
                await anext(stream)


async def test_a_fleet_begins_without_its_store_and_owns_when_that_is_there() -> None:
    with store_server() as server:
        port = server.port
        server.kill()
        there = RedisStore(f"redis://127.0.0.1:{port}", duration=SHORT)
        async with tools() as dial, open_fleet(TOOLS, there, dial=dial) as fleet:
            await until(lambda: "is not reached" in str(fleet.status()["store"]))
            async with open_fleet_client(
                RedisStore(f"redis://127.0.0.1:{port}", duration=SHORT)
            ) as client:
                with pytest.raises(LeaseError):
                    await client.request("T1", S1F1)
            server.start("--port", str(port))
            await owns(fleet, 4)

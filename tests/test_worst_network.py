"""The network in memory of the worst runs is a listener and a stream like any other."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hsms_engine import HsmsServer, open_hsms, serve_hsms
from hsms_engine.wire import Frame
from hsms_engine.worst.network import Network, Plug, Post
from tests.support.pair import echo
from tests.support.virtual import virtual_time

__all__ = ["virtual_time"]


def silent(_source: str, _target: str, _frame: Frame) -> None:
    """Nobody writes down what is sent."""


async def connected(network: Network) -> tuple[Plug, trio.abc.Stream]:
    post = Post(network, "there")
    ours = await post.dial("here")
    theirs, _ = await post.accept()
    return ours, theirs


async def test_a_server_listens_on_it_and_a_host_dials_it(nursery: trio.Nursery) -> None:
    network = Network(nursery, 0.5, silent)
    post = Post(network, "tool")

    async def serve(task_status: trio.TaskStatus[HsmsServer]) -> None:
        await serve_hsms(echo, listener=post, task_status=task_status)

    server: HsmsServer = await nursery.start(serve)
    assert (server.address, server.port) == ("tool", 0)
    async with open_hsms(dial=lambda: post.dial("host")) as connection:
        assert trio.current_time() == 2
        await connection.linktest()
        assert trio.current_time() == 3
    await server.aclose()
    with pytest.raises(ConnectionRefusedError):
        await post.dial("host")


async def test_bytes_arrive_in_order_after_the_delay_and_then_the_end(
    nursery: trio.Nursery,
) -> None:
    here, there = await connected(Network(nursery, 2.0, silent))
    begun = trio.current_time()
    await here.wait_send_all_might_not_block()
    await here.send_all(b"ab")
    await trio.sleep(1)
    await here.send_all(b"c")
    await here.send_eof()
    assert await there.receive_some(1) == b"a"
    assert trio.current_time() == begun + 2
    assert await there.receive_some() == b"b"
    assert await there.receive_some() == b"c"
    assert trio.current_time() == begun + 3
    assert await there.receive_some() == b""


async def test_a_full_system_takes_nothing(nursery: trio.Nursery) -> None:
    here, _ = await connected(Network(nursery, 0.0, silent))
    here.is_full = True
    assert here.send_nowait(b"a") == 0
    with trio.move_on_after(1_000) as patience:
        await here.send_all(b"a")
    assert patience.cancelled_caught


async def test_what_comes_to_a_closed_end_is_answered_by_a_reset(nursery: trio.Nursery) -> None:
    here, there = await connected(Network(nursery, 1.0, silent))
    await there.aclose()
    here.send_nowait(b"a")
    assert here.unacknowledged() == 1
    await trio.sleep(1.5)
    assert await here.receive_some() == b""
    await trio.sleep(1)
    with pytest.raises(trio.BrokenResourceError):
        await here.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        here.send_nowait(b"b")


async def test_on_a_cut_cable_nothing_arrives(nursery: trio.Nursery) -> None:
    network = Network(nursery, 1.0, silent)
    here, there = await connected(network)
    here.send_nowait(b"a")
    network.is_cut = True
    with trio.move_on_after(1_000) as patience:
        await there.receive_some()
    assert patience.cancelled_caught
    await wait_all_tasks_blocked()
    assert here.unacknowledged() == 1

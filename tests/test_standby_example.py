"""Two processes of the example, one tool, and a real store: each has the tool in its turn.

No time is waited for. What a lease would have to be over for is taken away behind the back of the
processes.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from hsms_engine.lease import RedisStore
from tests.support.store_server import StoreServer, store_server
from tests.test_cookbook import EXAMPLES, Reader, equipment_here, started

NAME = "etcher-1"


async def no_longer_quiet(server: StoreServer) -> None:
    """A store that is new gives no lease for the length of one. Here that is over."""
    store = RedisStore(server.url)
    lease = store.lease(NAME)
    async with lease.connected():
        await lease.acquire()
    await server.do("HSET", store.key("leases"), "quiet", 0)


async def end_lease(server: StoreServer) -> None:
    """The lease in force is over, and those who watch it look again."""
    store = RedisStore(server.url)
    await server.do("HSET", store.key("lease", NAME), "until", 0)
    await server.do("PUBLISH", store.key("news", NAME), "")


def epoch_of(line: str) -> int:
    return int(line.partition("lease_epoch=")[2].rstrip(")"))


@asynccontextmanager
async def host(server: StoreServer, folder: Path) -> AsyncIterator[tuple[trio.Process, Reader]]:
    words = (EXAMPLES / "standby.py", "links.toml", NAME, server.url)
    async with started(*words, folder=folder) as process:
        yield process, Reader(process)


async def until(lines: Reader, begin: str) -> str:
    """The next line that begins so."""
    while not (line := await lines.next()).startswith(begin):
        pass
    return line


@pytest.mark.skipif(sys.platform == "win32", reason="no signals of POSIX there")
async def test_one_has_the_tool_and_the_other_takes_over(tmp_path: Path) -> None:
    with store_server() as server:
        async with equipment_here() as tool:
            (tmp_path / "links.toml").write_text(
                f"[link.{NAME}]\nport = {tool.port}\nt5 = 0.01\nallow_short_timers = true\n",
                encoding="utf-8",
            )
            await no_longer_quiet(server)
            async with host(server, tmp_path) as (first, its_lines):
                epochs = [epoch_of(await until(its_lines, "the lease: Owning"))]
                await until(its_lines, "the tool says")
                async with host(server, tmp_path) as (second, lines):
                    while f":{first.pid}:" not in await until(lines, "standing by:"):
                        pass
                    # It leaves in good order.
                    first.send_signal(signal.SIGTERM)
                    assert await first.wait() == 0
                    epochs.append(epoch_of(await until(lines, "the lease: Owning")))
                    await until(lines, "the tool says")
                    async with host(server, tmp_path) as (_, others_lines):
                        while f":{second.pid}:" not in await until(others_lines, "standing by:"):
                            pass
                        # It dies, and its lease is over.
                        second.kill()
                        await second.wait()
                        await end_lease(server)
                        epochs.append(epoch_of(await until(others_lines, "the lease: Owning")))
                        await until(others_lines, "the tool says")
                        await tool.until(lambda: len(tool.connections) == 1)
    assert epochs == sorted(set(epochs))
    assert len(epochs) == 3

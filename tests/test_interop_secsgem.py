"""secsgem 0.3 and this engine connect, select, exchange and separate, 50 times in each direction.

secsgem runs in another process over real TCP. Two of its races are its own and are told apart by
what it sent: it answers Select.req before its own state has changed and then rejects data as not
selected, and it may see itself selected never, never notice the end, or hang in closing. Those are
counted and tried again in a new process, a bounded number of times; anything else fails the test.
"""

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from hsms_engine import (
    HsmsConnection,
    Message,
    RejectedError,
    Settings,
    open_link,
    serve_hsms,
)
from hsms_engine.wire import RejectReason
from tests.support.patience import PATIENCE

ROUNDS = 50
FAULTS_OF_SECSGEM = 10
HUNG = "hung"
PEER = Path(__file__).parent / "support" / "secsgem_peer.py"
EVERY_BYTE = bytes(range(256))
# B[256] as SECS-II: format code 10 octal with two length bytes.
S2F25_BODY = b"\x22\x01\x00" + EVERY_BYTE
# <L[2] <A "OURS"> <A "1">>
S1F2_BODY = b"\x01\x02\x41\x04OURS\x41\x011"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Secsgem:
    """The other process."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._buffer = b""

    async def _line(self) -> str:
        while b"\n" not in self._buffer:
            data = await self._stdout.receive_some()
            assert data, "secsgem's process ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    async def begin(self, port: int) -> None:
        await self._stdin.send_all(b"%d\n" % port)
        assert await self._line() == "ready"

    async def outcome(self) -> str:
        """What came of it; secsgem may also hang, in a thread that it waits for."""
        with trio.move_on_after(PATIENCE):
            return await self._line()
        return HUNG


@asynccontextmanager
async def secsgem(mode: str) -> AsyncIterator[Secsgem]:
    process = await trio.lowlevel.open_process(
        [sys.executable, str(PEER), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Secsgem(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def dial_secsgem(port: int) -> str:
    """One connection to a listening secsgem: ``"done"``, or which fault of secsgem it met."""
    # secsgem listens a moment after it says so: refused attempts before that are no news.
    link_settings = Settings(port=port, t5=0.02, breaker_threshold=1_000, allow_short_timers=True)
    async with open_link(link_settings) as link:
        await link.wait_selected()
        try:
            reply = await link.request(Message(1, 1, wait=True))
            echo = await link.request(Message(2, 25, wait=True, body=S2F25_BODY))
        except RejectedError as error:
            if error.reason != RejectReason.ENTITY_NOT_SELECTED:
                raise
            # Only secsgem's own Select.rsp 0 made us selected.
            return "rejected data after its own Select.rsp 0"
        assert reply.name == "S1F2"
        assert (echo.name, echo.body) == ("S2F26", S2F25_BODY)
        assert link.statistics().times_selected == 1
    return "done"


async def test_we_dial_secsgem_fifty_times() -> None:
    met: Counter[str] = Counter()
    while met["done"] < ROUNDS:
        async with secsgem("passive") as peer:
            outcome = "done"
            while outcome == "done" and met["done"] < ROUNDS:
                port = free_port()
                await peer.begin(port)
                ours = await dial_secsgem(port)
                theirs = await peer.outcome()
                outcome = ours if ours != "done" else theirs
                met[outcome] += 1
        assert met.total() - met["done"] <= FAULTS_OF_SECSGEM, met
    print(f"secsgem listening: {dict(met)}")


async def answer(connection: HsmsConnection) -> None:
    async for primary in connection:
        body = primary.body if primary.stream == 2 else S1F2_BODY
        await connection.reply(primary, Message(primary.stream, primary.function + 1, body=body))


async def test_secsgem_dials_us_fifty_times(nursery: trio.Nursery) -> None:
    met: Counter[str] = Counter()
    server = await nursery.start(serve_hsms, answer, Settings(port=0))
    while met["done"] < ROUNDS:
        async with secsgem("active") as peer:
            outcome = "done"
            while outcome == "done" and met["done"] < ROUNDS:
                await peer.begin(server.port)
                outcome = await peer.outcome()
                met[outcome] += 1
        assert met.total() - met["done"] <= FAULTS_OF_SECSGEM, met
    print(f"secsgem dialling: {dict(met)}")
    assert server.accepted >= ROUNDS
    await server.aclose()


@pytest.mark.parametrize("body", [S2F25_BODY, S1F2_BODY])
def test_the_bodies_used_here_are_what_secsgem_reads(body: bytes) -> None:
    from secsgem.secs.variables import Dynamic

    decoded = Dynamic([])
    assert decoded.decode(body) == len(body)

"""``python -m benchmarks.lease_window``: how long it is from a look at a lease to the send.

A process that is stopped in between, for longer than its lease, sends when it goes on. One link
over loopback, S1F1 and its reply, one after the other: the time from the reading of the lease's
clock to the call that hands the bytes on.
"""

from __future__ import annotations

import time

import trio

from hsms_engine import Message, open_link
from hsms_engine.driver.tcp import DirectStream
from hsms_engine.fake import serve_fake
from hsms_engine.lease import MemoryStore, keeper
from hsms_engine.lease.clock import LeaseClock

_SENDS = 20_000
_looked_at = 0
_windows: list[int] = []


class _Clock(LeaseClock):
    """Notes when it was read, in ns."""

    __slots__ = ()

    def __call__(self) -> float:
        global _looked_at  # noqa: PLW0603  # what is measured lies between two objects
        now = super().__call__()
        _looked_at = time.perf_counter_ns()
        return now


class _Stream(DirectStream):
    """Notes how long ago that was when bytes are handed on."""

    def send_nowait(self, data: bytes | memoryview) -> int:
        _windows.append(time.perf_counter_ns() - _looked_at)
        return super().send_nowait(data)


async def _main() -> None:
    async with trio.open_nursery() as nursery:
        fake = await nursery.start(serve_fake)

        async def dial() -> _Stream:
            return _Stream(await trio.open_tcp_stream("127.0.0.1", fake.port))

        lease = MemoryStore().lease("tool")
        async with open_link("127.0.0.1", fake.port, dial=dial, lease=lease) as link:
            await link.wait_selected()
            _windows.clear()
            for _ in range(_SENDS):
                await link.request(Message(1, 1, wait=True))
        nursery.cancel_scope.cancel()
    found = sorted(_windows)
    for name, at in (("median", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1)):
        print(f"{name}: {found[min(int(len(found) * at), len(found) - 1)] / 1_000:.1f} µs")


if __name__ == "__main__":
    keeper.LeaseClock = _Clock  # type: ignore[attr-defined]  # the one that each link makes
    trio.run(_main)

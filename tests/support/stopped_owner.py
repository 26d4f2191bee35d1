"""A process that has the lease of a tool, stops itself amid its sending, and goes on too late.

    python -m tests.support.stopped_owner PORT FILE [sends]

FILE says for how many seconds the machine has slept. Its lines: how many bytes the kernel has taken
before the stop; why no more can be sent, where it tries to; and how many were dropped.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import trio

from hsms_engine import LinkDownError, Message, events, open_link
from hsms_engine.lease import MemoryStore, keeper
from hsms_engine.lease.clock import LeaseClock

# So long that nothing of it happens by itself.
LENGTH = 600
REPORT = Message(6, 11, body=bytes(100_000))


async def main(port: int, *, sends: bool) -> None:
    lease = MemoryStore(LENGTH).lease("TOOL-7")
    async with open_link("127.0.0.1", port, lease=lease, linktest_interval=None) as link:
        await link.wait_selected()
        while not link.statistics().queued_bytes:
            await link.send(REPORT)
        print(link.statistics().counts["bytes_sent"], flush=True)
        if sys.platform != "win32":
            os.kill(os.getpid(), signal.SIGSTOP)
        if sends:
            # In the same step, before any other task has run.
            try:
                await link.send(REPORT)
            except LinkDownError as error:
                print(error, flush=True)
        async for event in link.events():
            if isinstance(event, events.Unsent):
                print(link.statistics().counts["bytes_unsent"], flush=True)
                return


if __name__ == "__main__":
    _, port, file, *sends = sys.argv
    asleep = partial(Path(file).read_text, encoding="utf-8")
    late = partial(LeaseClock, slept=lambda: float(asleep()))
    vars(keeper)["LeaseClock"] = late
    trio.run(partial(main, int(port), sends=bool(sends)))

"""``python -m tests.put_back.together``: many links of one program that start at the same moment.

They must not all ask at once, or a server that comes back is asked by thousands; and those that
have failed together must not all dial again together. Exit code 1 when they do.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import trio
from trio.testing import MockClock

from hsms_engine import open_link
from hsms_engine.driver.tcp import listen_tcp

LINKS = 300
# So many may do the same at the same moment.
MOST = LINKS // 2


async def open_all(stack: AsyncExitStack, **options: Any) -> None:
    """All links, each with a chance of its own."""
    for number in range(LINKS):
        await stack.enter_async_context(
            open_link(random=Random(number), linktest_interval=None, **options)
        )


async def ask_at_once() -> int:
    """How many have connected, over loopback, before the first one has an answer or gives up."""
    came = 0

    async def accept() -> None:
        nonlocal came
        async with AsyncExitStack() as open_ones:
            while True:
                stream, _ = await listener.accept()
                await open_ones.enter_async_context(stream)
                came += 1

    listener = await listen_tcp("127.0.0.1", 0)
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        nursery.start_soon(accept)
        await open_all(stack, host="127.0.0.1", port=listener.port, t6=10)
        # A dial holds its slot for a second when there is no answer.
        await trio.sleep(0.5)
        found = came
        nursery.cancel_scope.cancel()
    listener.close()
    return found


async def dial_again_at_once() -> int:
    """How many that were refused at the same moment dial again at the same moment, at most."""
    dialled: Counter[float] = Counter()

    async def refuse() -> trio.abc.Stream:
        dialled[trio.current_time()] += 1
        raise ConnectionRefusedError("refused")

    async with AsyncExitStack() as stack:
        await open_all(stack, dial=refuse)
        await trio.sleep(15)
    del dialled[min(dialled)]
    return max(dialled.values())


def main() -> int:
    """Run both, and print what came."""
    measures: list[tuple[str, Callable[[], Coroutine[Any, Any, int]], MockClock | None]] = [
        ("ask at once", ask_at_once, None),
        ("dial again at once", dial_again_at_once, MockClock(autojump_threshold=0)),
    ]
    found = 0
    for what, measure, clock in measures:
        count = trio.run(measure, clock=clock)
        found += count > MOST
        print(f"{'FAILED: ' * (count > MOST)}{count} of {LINKS} links {what}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

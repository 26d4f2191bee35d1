"""Calls that are awaited one after the other, whatever runs them, trio or asyncio."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

Trip = Callable[[], Awaitable[object]]


async def several(trip: Trip, count: int, taken: list[float]) -> None:
    """So many trips. ``taken`` gets the seconds of each."""
    for _ in range(count):
        began = time.perf_counter()
        await trip()
        taken.append(time.perf_counter() - began)


async def without_end(trip: Trip) -> None:
    """Until it is cancelled."""
    while True:
        await trip()

"""Round trips of a subject whose calls block: a thread for each that is in flight."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from benchmarks.side_by_side.meter import Meter
from benchmarks.side_by_side.work import Trips, shares, warm_up


def trips(
    work: Trips,
    meter: Meter,
    trip: Callable[[], object],
    slow: Callable[[], object] | None = None,
) -> dict[str, float]:
    taken: list[float] = []
    is_over = threading.Event()

    def several(count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            trip()
            taken.append(time.perf_counter() - began)

    def slowly() -> None:
        while slow is not None and not is_over.is_set():
            slow()

    def together(count: int) -> None:
        if work.in_flight == 1:
            several(count)
            return
        threads = [
            threading.Thread(target=several, args=(each,)) for each in shares(count, work.in_flight)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    together(warm_up(work))
    taken.clear()
    beside = threading.Thread(target=slowly, daemon=True)
    if work.beside_slow:
        beside.start()
    meter.begin()
    together(work.count)
    figures = meter.end(work.count, taken)
    is_over.set()
    if len(taken) < work.count:
        raise RuntimeError(f"{work.count - len(taken)} round trips failed")
    return figures

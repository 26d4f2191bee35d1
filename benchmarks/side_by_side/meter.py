"""Time, CPU and memory of both ends. It needs Linux."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


def cpu_of(process: int) -> float:
    """Seconds of CPU that a process has taken. Linux numbers the clock of each process so."""
    return time.clock_gettime((~process << 3) | 2)


def memory_of(process: int, row: str = "VmRSS") -> int:
    """Its resident memory in bytes, now or at its peak (``VmHWM``)."""
    for line in Path(f"/proc/{process}/status").read_text("ascii", "replace").splitlines():
        name, _, value = line.partition(":")
        if name == row:
            return int(value.split()[0]) * 1024
    raise ProcessLookupError(f"process {process} has no {row}: it has ended")


@dataclass(slots=True)
class Meter:
    """Made before the connection; ``begin`` is called after what warms up."""

    peer: int
    own: int = field(default_factory=os.getpid)
    began: float = 0.0
    cpu_began: float = 0.0
    # Of this end and of the peer, before anything is sent.
    memory: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.memory = memory_of(self.own), memory_of(self.peer)

    def begin(self) -> None:
        self.cpu_began = self.cpu()
        self.began = time.perf_counter()

    def cpu(self) -> float:
        return time.process_time() + cpu_of(self.peer)

    def end(self, count: int, trips: Sequence[float] = ()) -> dict[str, float]:
        """Trips a second; seconds a trip, and of CPU for each; the peak of memory, in bytes more
        than before."""
        taken = time.perf_counter() - self.began
        cpu = self.cpu() - self.cpu_began
        asking, answering = self.memory
        figures = {
            "rate": count / taken,
            "cpu": cpu / count,
            "peak_asking": memory_of(self.own, "VmHWM") - asking,
            "peak_answering": memory_of(self.peer, "VmHWM") - answering,
        }
        if trips:
            ordered = sorted(trips)
            figures["median"] = ordered[len(ordered) // 2]
            figures["p99"] = ordered[int(len(ordered) * 0.99)]
        return figures

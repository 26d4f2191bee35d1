"""What a way does to the packets on it: pure, with time and randomness given."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import count
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One direction of a way. Times in seconds, chances in per cent, sizes in bytes."""

    latency: float = 0.0
    jitter: float = 0.0
    """Up to so much is added to the latency of each packet; the order stays."""
    rate: float | None = None
    """Bytes a second."""
    queue: int = 65_536
    """With a rate: what would make more than so many bytes wait is dropped."""
    loss: float = 0.0
    reorder: float = 0.0
    """Such a packet is held back for ``HELD_BACK``, and those behind it overtake it."""
    duplicate: float = 0.0


HELD_BACK = 0.02


class Direction:
    """The packets under way in one direction."""

    def __init__(self, random: Random, way: Way | None = None) -> None:
        self.way = way or Way()
        self._random = random
        # (when, which came first, packet)
        self._packets: list[tuple[float, int, bytes]] = []
        self._number = count()
        # When the packet before this one has left, and when it has arrived.
        self._left = self._arrived = 0.0
        self.lost = 0

    def take(self, now: float, packet: bytes) -> None:
        """A packet begins its way, or is lost."""
        way = self.way
        if self._happens(way.loss):
            self.lost += 1
            return
        for _ in range(2 if self._happens(way.duplicate) else 1):
            leaves = now
            if way.rate is not None:
                begins = max(now, self._left)
                if (begins - now) * way.rate + len(packet) > way.queue:
                    self.lost += 1
                    return
                leaves = self._left = begins + len(packet) / way.rate
            arrives = leaves + way.latency + way.jitter * self._random.random()
            if self._happens(way.reorder):
                arrives += HELD_BACK
            else:
                arrives = self._arrived = max(arrives, self._arrived)
            heapq.heappush(self._packets, (arrives, next(self._number), packet))

    def _happens(self, chance: float) -> bool:
        # Without a chance no number is drawn: the same seed makes the same of the other faults.
        return bool(chance) and self._random.random() * 100 < chance

    def due(self) -> float | None:
        """When the next packet arrives, or None."""
        return self._packets[0][0] if self._packets else None

    def arrived(self, now: float) -> list[bytes]:
        """The packets that have arrived by ``now``, in order."""
        packets = []
        while self._packets and self._packets[0][0] <= now:
            packets.append(heapq.heappop(self._packets)[2])
        return packets

"""Which process has which tool: each reckons it alone, and all find the same.

Each pair of a tool and a process has a score, a hash of both names (rendezvous hashing). Without
limits a tool goes to the process with its highest score, so a process that comes takes only what is
then its own, and the tools of one that goes spread over all others. A process with a limit keeps
those of its tools that have the highest scores, and the others go to their next.

Invariants:

* The result depends on nothing but the names and the limits: on no order, and on no past.
* No process has more than its limit, and no tool is without one while one has room.
* No tool would rather be elsewhere: each process before its own in its order is full of tools that
  have higher scores there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b
from heapq import heappop, heappush

__all__ = ["shares"]


def shares(tools: Collection[str], limits: Mapping[str, int | None]) -> dict[str, str | None]:
    """The process of each tool; None for those for which no process has room.

    ``limits`` has the most tools of each process, by its name; None: as many as there are.
    """
    offers = {tool: iter(_ranked(tool, limits)) for tool in tools}
    given: dict[str, str | None] = dict.fromkeys(tools)
    held: dict[str, list[tuple[int, str]]] = {member: [] for member in limits}
    waiting = list(tools)
    while waiting:
        tool = waiting.pop()
        given[tool] = None
        for score, member in offers[tool]:
            has, limit = held[member], limits[member]
            given[tool] = member
            heappush(has, (score, tool))
            if limit is None or len(has) <= limit:
                break
            _, worst = heappop(has)
            if worst != tool:
                waiting.append(worst)
                break
            given[tool] = None
    return given


def _ranked(tool: str, members: Collection[str]) -> list[tuple[int, str]]:
    return sorted(_scored(tool, members), reverse=True)


def _scored(tool: str, members: Collection[str]) -> Iterator[tuple[int, str]]:
    name = tool.encode()
    for member in members:
        # No name has a null character.
        hashed = blake2b(b"%b\0%b" % (name, member.encode()), digest_size=8).digest()
        yield int.from_bytes(hashed, "big"), member

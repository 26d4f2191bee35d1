"""Strongly connected components and walks inside them: what makes liveness sound on cycles."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Successors = Callable[[int], Iterable[int]]


def components(roots: Iterable[int], successors: Successors) -> Iterator[list[int]]:
    """The strongly connected components reachable from ``roots`` (Tarjan, without recursion)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    # A state whose component is complete keeps its number and gets this low link, which is free.
    done = -1
    for root in roots:
        if root in number:
            continue
        number[root] = low[root] = len(number)
        stack.append(root)
        work = [(root, iter(successors(root)))]
        while work:
            here, rest = work[-1]
            for there in rest:
                if there not in number:
                    number[there] = low[there] = len(number)
                    stack.append(there)
                    work.append((there, iter(successors(there))))
                    break
                if low[there] != done and number[there] < low[here]:
                    low[here] = number[there]
            else:
                work.pop()
                if work and low[here] < low[work[-1][0]]:
                    low[work[-1][0]] = low[here]
                if low[here] == number[here]:
                    found: list[int] = []
                    while not found or found[-1] != here:
                        found.append(stack.pop())
                        low[found[-1]] = done
                    yield found


def closed_walk(
    start: int, within: Mapping[int, Sequence[int]], stops: Iterable[tuple[int, ...]]
) -> list[int]:
    """A walk inside one component from ``start`` past every stop and back, at least one step long.

    A stop is a state to visit, or an edge (two states) to take.
    """
    walk = [start]
    for stop in stops:
        walk += _path(walk[-1], stop[0], within)
        walk += stop[1:]
    if len(walk) == 1:
        walk.append(within[start][0])
    return walk + _path(walk[-1], start, within)


def _path(start: int, end: int, within: Mapping[int, Sequence[int]]) -> list[int]:
    """The states of a shortest way inside a component, without ``start``."""
    parents = {start: start}
    queue = deque([start])
    while end not in parents:
        here = queue.popleft()
        for there in within[here]:
            if there not in parents:
                parents[there] = here
                queue.append(there)
    back = []
    while end != start:
        back.append(end)
        end = parents[end]
    return back[::-1]

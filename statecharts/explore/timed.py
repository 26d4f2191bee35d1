"""Two ends with clocks, and how long something takes at the most.

Time is counted in ticks. An end says which of its moves may not wait any longer (a timer that is
due, a frame that has been on its way for as long as it may be); while there is one, no tick passes.
So a timer never fires late, and the order of what happens at one moment is explored.

``Longest`` measures runs in the graph of such a model: it gives the longest of all runs. A run that
avoids its goal for ever has no longest time, and then its loop is shown.

Whole ticks are enough, because all bounds are closed (a timer fires *at* its time, a frame takes
*at most* so long): then each run in real time has a run in whole ticks with the same steps, and the
longest one is among these (Henzinger, Manna, Pnueli 1992, "What good are digital clocks?"). So a
bound is exact, and with all durations twice as long it is twice as long.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol

from ..declare import Start, Stop, Timer
from .cycles import closed_walk, components
from .graph import Graph, Trace
from .moves import Kind, Model, Move, Moves, State, View
from .pair import (
    HALF,
    HALF_MASK,
    LEFT_KEY,
    RIGHT_KEY,
    SHARED,
    SHARED_MASK,
    End,
    Mail,
    Pair,
    Row,
    Rules,
    Table,
)

TICK = Move("time", "tick", Kind.TIME)


class TimedRules(Rules[End, Mail], Protocol[End, Mail]):
    """One end with clocks, which are a part of its state."""

    def is_due(self, end: End, shared: int, move: Move) -> bool:
        """Whether this move, which it offers, cannot wait for a tick."""
        ...

    def later(self, end: End, shared: int) -> End:
        """The end after one tick in which nothing has happened."""
        ...


class _Wait(NamedTuple):
    """Whether an end can wait, and how it changes in a tick.

    ``due``: moves that cannot wait, if the other end has room for what they send.
    """

    is_due: bool
    due: tuple[dict[int, int | None], ...]
    change: int


class _TimedTable(Table[End, Mail]):
    """With each row: whether the end can wait."""

    def __init__(self, rules: TimedRules[End, Mail], shift: int) -> None:
        super().__init__(rules, shift)
        self.timed = rules
        self.waits: dict[int, _Wait] = {}

    def fill(self, key: int, moves: Moves, other: Table[End, Mail]) -> Row:
        row = super().fill(key, moves, other)
        here, shared = self.end(key), key & SHARED_MASK

        def must(number: int) -> bool:
            return self.timed.is_due(here, shared, moves.all[number])

        is_due = any(must(number) for number, _ in row[0])
        change = 0 if is_due else self.change(key, self.timed.later(here, shared))
        posts = tuple(post for number, _, post in row[1] if must(number))
        self.waits[key] = _Wait(is_due, posts, change)
        return row


class TimedPair(Pair[End, Mail]):
    """The model of two ends with clocks: besides their moves, time passes while both can wait.

    ``later``: the values they share that a tick changes, and to what.
    """

    def __init__(
        self,
        left: TimedRules[End, Mail],
        right: TimedRules[End, Mail],
        weather: Mapping[int, tuple[tuple[Move, int], ...]],
        later: Mapping[int, int],
    ) -> None:
        super().__init__(left, right, weather)
        self._later = {value: after - value for value, after in later.items()}
        self._left = self._timed_left = _TimedTable(left, SHARED + HALF)
        self._right = self._timed_right = _TimedTable(right, SHARED)
        self._tick = self._numbers.number(TICK)

    def actions(self, state: int) -> list[tuple[int, int]]:
        out = super().actions(state)
        left = self._timed_left.waits[state & LEFT_KEY]
        right = self._timed_right.waits[state & RIGHT_KEY]
        if left.is_due or right.is_due:
            return out
        other = state & (HALF_MASK << SHARED)
        if any(post[other] is not None for post in left.due):
            return out
        other = state & (HALF_MASK << (SHARED + HALF))
        if any(post[other] is not None for post in right.due):
            return out
        change = left.change + right.change + self._later.get(state & SHARED_MASK, 0)
        out.append((self._tick, state + change))
        return out


@dataclass(frozen=True, slots=True)
class LongestRun:
    """The longest run to a goal: ``ticks`` long, or None when a run never comes to it.

    ``before``: a shortest way from the initial state to the one where the run begins. ``trace``:
    the run itself; when it never comes to the goal, it ends in a loop, or where nothing can happen.
    """

    ticks: int | None
    before: Trace
    trace: Trace

    def __str__(self) -> str:
        ticks = "for ever" if self.ticks is None else f"{self.ticks} ticks"
        return f"{ticks}\n{self.trace}"


class Longest(Generic[State, View]):
    """How long runs take in a graph when no move of the kinds ``without`` happens any more.

    A loop in which no time passes is a run that goes on for ever, too; with ``at_once`` it is not:
    then any number of things may happen at one moment, as with a peer that does anything.
    """

    def __init__(
        self, graph: Graph[State, View], without: frozenset[Kind], *, at_once: bool = False
    ) -> None:
        self.graph = graph
        self._at_once = at_once
        moves = graph.model.moves
        self._kept = bytearray(move.kind not in without for move in moves)
        self._tick = moves.index(TICK)

    def edges(self, state: int) -> list[tuple[int, int]]:
        """(move number, target) of the moves that may still happen, by number."""
        kept = self._kept
        return [each for each in self.graph.edges(state) if kept[each[0]]]

    def where(self, holds: Callable[[View], bool]) -> bytearray:
        """For each state, by number, whether ``holds``."""
        view = self.graph.model.view
        return bytearray(holds(view(state)) for state in self.graph.states)

    def staying(self, inside: bytearray) -> bytearray:
        """The states of ``inside`` that no run leaves."""
        found = bytearray(inside)
        starts, sources = self.graph.sources()
        leaving = [
            number
            for number, here in enumerate(inside)
            if here and not all(inside[target] for _, target in self.edges(number))
        ]
        while leaving:
            left = leaving.pop()
            if not found[left]:
                continue
            found[left] = False
            leaving += [
                source
                for source in set(sources[starts[left] : starts[left + 1]])
                if found[source] and any(target == left for _, target in self.edges(source))
            ]
        return found

    def run(self, begins: bytearray, goal: bytearray) -> LongestRun:
        """The longest run from a state of ``begins`` to its first state of ``goal``."""
        graph, tick = self.graph, self._tick
        longest = array("q", bytes(8 * len(graph.states)))
        follows = array("q", bytes(8 * len(graph.states)))

        def onward(state: int) -> Iterable[int]:
            return () if goal[state] else (target for _, target in self.edges(state))

        roots = [number for number, here in enumerate(begins) if here and not goal[number]]
        for part in components(roots, onward):
            if goal[part[0]]:
                continue
            inside = set(part)
            ways = [(here, *edge) for here in part for edge in self.edges(here)]
            out = [
                (longest[target] + (move == tick), here, target)
                for here, move, target in ways
                if target not in inside
            ]
            loops = [move for _, move, target in ways if target in inside]
            if not out or tick in loops or (loops and not self._at_once):
                return self._never(roots, part, goal)
            ticks, last, follows[last] = max(out)
            for here, there in self._towards(last, inside):
                follows[here] = there
            for here in part:
                longest[here] = ticks
        start = max(roots, key=lambda each: longest[each], default=0)
        way = [start]
        while roots and not goal[way[-1]]:
            way.append(follows[way[-1]])
        return LongestRun(longest[start], graph.trace(start), graph.along(way, self._by_time))

    def _towards(self, last: int, inside: set[int]) -> Iterator[tuple[int, int]]:
        """For each other state inside: the next one on a way to ``last``."""
        into: dict[int, list[int]] = {}
        for here in inside:
            for _, target in self.edges(here):
                into.setdefault(target, []).append(here)
        known, queue = {last}, [last]
        for there in queue:
            for here in into.get(there, ()):
                if here in inside and here not in known:
                    known.add(here)
                    queue.append(here)
                    yield here, there

    def _by_time(self, state: int) -> list[tuple[int, int]]:
        """The moves that may still happen, ticks first: they are what makes a run long."""
        return sorted(self.edges(state), key=lambda each: each[0] != self._tick)

    def _never(self, roots: list[int], part: list[int], goal: bytearray) -> LongestRun:
        """A run from one of ``roots`` into a part of the graph that it need not leave."""
        inside = set(part)
        parents = dict.fromkeys(roots, -1)
        entry = self._nearest(inside, parents, goal)
        way = [entry]
        while (parent := parents[way[-1]]) >= 0:
            way.append(parent)
        way.reverse()
        within = {
            each: [target for _, target in self.edges(each) if target in inside] for each in part
        }
        loop = None
        if within[entry]:
            loop = len(way) - 1
            ticking = [
                (each, target)
                for each in part
                for move, target in self.edges(each)
                if move == self._tick and target in inside
            ]
            way += closed_walk(entry, within, ticking[:1])[1:]
        trace = self.graph.along(way, self._by_time, loop)
        return LongestRun(None, self.graph.trace(way[0]), trace)

    def _nearest(self, inside: Container[int], parents: dict[int, int], goal: bytearray) -> int:
        """The state of ``inside`` that is nearest to the roots in ``parents``, which grow."""
        queue = deque(parents)
        while (here := queue.popleft()) not in inside:
            for _, target in () if goal[here] else self.edges(here):
                if target not in parents:
                    parents[target] = here
                    queue.append(target)
        return here


class Clocked(NamedTuple, Generic[State]):
    """A state of a model, and the ages of the timers that have a duration, by id."""

    state: State
    ages: tuple[tuple[str, int], ...]


class WithClocks(Generic[State, View]):
    """A model with clocks for some of its timers, which its moves start and stop.

    A timer with a duration, in ticks, fires exactly when it is due. All else may happen at any
    time, also other timers. None with a duration may run in an initial state.
    """

    def __init__(self, model: Model[State, View], durations: Mapping[Timer, int]) -> None:
        self.model = model
        self.durations = {timer.id: ticks for timer, ticks in durations.items()}
        self._fires = {timer.expired: timer.id for timer in durations}
        self._numbers = Moves()
        self._tick = self._numbers.number(TICK)

    @property
    def moves(self) -> list[Move]:
        return self._numbers.all

    @property
    def initial(self) -> tuple[Clocked[State], ...]:
        return tuple(Clocked(state, ()) for state in self.model.initial)

    def actions(self, state: Clocked[State]) -> Iterator[tuple[int, Clocked[State]]]:
        here, ages = state
        running = dict(ages)
        for number, after in self.model.actions(here):
            move = self.model.moves[number]
            timer = self._fires.get(move.event)
            if timer is None or running[timer] == self.durations[timer]:
                yield self._numbers.number(move), Clocked(after, self._started(running, move))
        if all(age < self.durations[timer] for timer, age in ages):
            yield self._tick, Clocked(here, tuple((timer, age + 1) for timer, age in ages))

    def _started(self, running: dict[str, int], move: Move) -> tuple[tuple[str, int], ...]:
        ages = dict(running)
        for effect in move.effects:
            match effect:
                case Start(timer) if timer.id in self.durations:
                    ages[timer.id] = 0
                case Stop(timer) if timer.id in self.durations:
                    del ages[timer.id]
                case _:
                    pass
        return tuple(sorted(ages.items()))

    def view(self, state: Clocked[State]) -> View:
        return self.model.view(state.state)

    def describe(self, state: Clocked[State]) -> dict[str, str]:
        ages = ", ".join(f"{timer} {age}" for timer, age in state.ages)
        return {**self.model.describe(state.state), "clocks": ages or "none"}

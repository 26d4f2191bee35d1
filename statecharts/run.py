"""Runs a chart, or charts that are joined, with trio: timers come true, and effects are done.

``async with open_chart(machine, act) as running`` begins in the initial states. ``send`` makes an
event happen. Invariants:

* A step is made, then its effects are done in order, then the events that these effects gave are
  taken, first in, first out. No other event comes between: neither one that is sent nor a timer.
* A timer runs from its ``Start`` to its ``Stop``, on trio's clock. The one that is due first
  expires first; of two that are due at the same time, the one that was started first.
* Who wakes late reads first: a timer that has run out gives the other tasks some turns, and what
  they send then is taken before its end.
* What ends it, ends it for good: an exception of an effect comes out of the ``async with`` block as
  it is, and whoever sends to it gets ``ChartEndedError``.

This is the only module of the kit that needs trio.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, Generic, NamedTuple, TypeVar, assert_never, overload

import trio

from .declare import ADOPTED, Chart, Effect, Start, Stop, Timer
from .machine import Machine, NotAllowedError, Snapshot, Step
from .native import ChartFaultError
from .nursery import is_cancellation, open_bare_nursery
from .refusals import expect, short
from .router import FUSE, Router, SystemSnapshot, SystemStep

Where = TypeVar("Where", bound=Snapshot | SystemSnapshot)
Made = TypeVar("Made", bound=Step | SystemStep)

# What an effect gives: the event that follows from it, several of them in order, or none.
Follows = str | tuple[str, ...] | list[str] | None
# What does the effects. What it gives may be awaited.
Act = Callable[[Effect], Follows | Awaitable[Follows]]
# The seconds of timers by their ids, or a function. Asked whenever a timer starts.
Seconds = Mapping[str, float] | Callable[[Timer], float]

# An event, and the effect that gave it.
_Given = tuple[Effect, str]

# An end of a timer waits for so many turns of the other tasks. What a peer has sent needs some
# until it is read, understood, and sent to the chart.
_TURNS = 10


class ChartEndedError(Exception):
    """The chart does not run any more: its block is over. ``__cause__`` is what has ended it."""


class _Run(NamedTuple):
    """A timer that runs: since when, and until when, on trio's clock."""

    began: float
    ends: float


@dataclass(eq=False, slots=True)
class _Waiter(Generic[Where]):
    """Somebody who waits for one of some states."""

    states: tuple[str, ...]
    found: Where | None = None
    woken: trio.Event = field(default_factory=trio.Event)

    def look(self, here: Where) -> None:
        """Whether it waits for where the chart is now."""
        # Each is asked, so that an unknown one is always refused.
        active = [state for state in self.states if state in here]
        if active and self.found is None:
            self.found = here
            self.woken.set()


class RunningChart(Generic[Where, Made]):
    """A chart, or charts that are joined, while they run. ``open_chart`` makes it."""

    def __init__(
        self,
        nursery: trio.Nursery,
        # The overloads of ``open_chart`` say which snapshots and steps are those of the model.
        model: Any,
        act: Act,
        seconds: Seconds | None,
        watch: Callable[[str, Where, Made], object] | None,
    ) -> None:
        self._nursery = nursery
        self._model = model
        self._act, self._seconds = act, seconds
        self._watch = watch
        self._here: Where = self._model.initial
        self._timers: dict[Timer, _Run] = {}
        self._alarm = trio.CancelScope()
        self._waiters: set[_Waiter[Where]] = set()
        # While a step and what follows from it are not done.
        self._is_busy = False
        self._is_over = False
        self._failure: BaseException | None = None

    @property
    def snapshot(self) -> Where:
        """Where it is now."""
        return self._here

    def takes(self, event: str) -> bool:
        """Whether ``event`` has a transition now. ``KeyError`` for an event of no chart."""
        return bool(self._model.takes(self._here, event))

    def send(self, event: str) -> Made:
        """Make ``event`` happen, and all that follows from it. Returns the step of ``event``.

        Raises ``NotAllowedError`` when it has no transition now, and ``KeyError`` when no chart of
        a router declares it; then nothing has happened. Raises ``ChartEndedError`` when the chart
        does not run any more, or when this ended it, and ``RuntimeError`` when an effect calls it:
        an effect gives the event that follows from it.
        """
        if self._is_over:
            raise self._ended() from self._failure
        if self._is_busy:
            raise RuntimeError(
                f"{self._name}: an effect sends {event!r} while it is done: let act give it, "
                f"and it is taken next"
            )
        step: Made = self._model.step(self._here, event)
        try:
            self._take(event, step)
        except BaseException as error:
            self._end(error)
            self._nursery.start_soon(_raise, error)
            raise self._ended() from error
        return step

    def retime(self, timer: Timer, seconds: float) -> None:
        """Let a timer that runs take so many seconds in all: the time that has passed is kept.

        When these have passed, it expires next. Its next start takes what ``seconds`` of
        ``open_chart`` says. Raises ``ValueError`` when it does not run, or for seconds outside the
        timer's range.
        """
        if timer not in self._timers:
            raise ValueError(f"{self._name}: {timer.id} does not run in {self._here}")
        began = self._timers[timer].began
        self._timers[timer] = _Run(began, began + self._checked(timer, seconds))
        self._alarm.deadline = self._first_end()

    async def until(self, state: str, *others: str) -> Where:
        """Wait until one of these states is active, or was, if only between two events.

        Returns the snapshot in which it was. Raises ``KeyError`` for a state that no chart has,
        ``ChartEndedError`` when the chart ends first.
        """
        await trio.lowlevel.checkpoint()
        waiter = _Waiter[Where]((state, *others))
        waiter.look(self._here)
        if waiter.found is None and self._is_over:
            raise self._ended() from self._failure
        self._waiters.add(waiter)
        try:
            while waiter.found is None:
                await waiter.woken.wait()
                if waiter.found is None:
                    raise self._ended() from self._failure
        finally:
            self._waiters.discard(waiter)
        return waiter.found

    # Inside

    @property
    def _name(self) -> str:
        return _name(self._model)

    def begin(self, at: Where | None) -> None:
        """Do what the initial states ask for, or go on from ``at``."""
        coming: deque[_Given] = deque()
        if at is None:
            with self._busy():
                self._do(self._model.initial_effects, coming)
                self._follow(coming)
            return
        step: Made = self._model.adopt(at)
        self._here = at
        with self._busy():
            for timer in _running_in(at):
                self._start(timer)
            # The transitions that it has taken, if any.
            if step[2]:
                self._make(ADOPTED, step, coming)
            self._here = self._snapshot_of(step)
            self._follow(coming)

    def end(self) -> None:
        """Its block is over."""
        self._end(None)

    # A property, because ``BaseExceptionGroup.split`` takes a function and no method.
    @property
    def told(self) -> Callable[[BaseException], bool]:
        """Whether an error is what a task got that has sent to this chart when it had failed."""
        failure = self._failure

        def is_told(error: BaseException) -> bool:
            match error:
                case ChartEndedError(__cause__=cause):
                    return cause is not None and cause is failure
                case _:
                    return False

        return is_told

    async def run_timers(self) -> None:
        """Take the end of each timer that runs out, for ever."""
        while True:
            with trio.CancelScope(deadline=self._first_end()) as self._alarm:
                await trio.sleep_forever()
            for _ in range(_TURNS):
                await trio.lowlevel.checkpoint()
            # One at a time: what follows from it may stop the others.
            timer = min(self._timers, key=lambda each: self._timers[each].ends, default=None)
            if timer is not None and self._timers[timer].ends <= trio.current_time():
                try:
                    self._take(timer.expired, self._model.step(self._here, timer.expired))
                except BaseException as error:
                    self._end(error)
                    raise

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False

    def _take(self, event: str, step: Made) -> None:
        """A step that is made on ``event``: its effects, and what follows from them."""
        coming: deque[_Given] = deque()
        with self._busy():
            self._make(event, step, coming)
            self._follow(coming)

    def _make(self, event: str, step: Made, coming: deque[_Given]) -> None:
        before, self._here = self._here, self._snapshot_of(step)
        for waiter in self._waiters:
            waiter.look(self._here)
        if self._watch is not None:
            self._watch(event, before, step)
        self._do(step.effects, coming)

    def _snapshot_of(self, step: Any) -> Where:
        found: Where = step.snapshot
        return found

    def _do(self, effects: Iterable[Effect], coming: deque[_Given]) -> None:
        for effect in effects:
            match effect:
                case Start(timer):
                    self._start(timer)
                case Stop(timer):
                    # Also when it has run out: its transition exits the state.
                    del self._timers[timer]
                case _:
                    given = self._act(effect)
                    if isawaitable(given):
                        self._nursery.start_soon(self._await, effect, given)
                    else:
                        coming.extend(self._events(effect, given))

    def _follow(self, coming: deque[_Given]) -> None:
        """Take the events that effects have given, until there is none."""
        path: list[str] = []
        while coming:
            effect, event = coming.popleft()
            if len(path) >= FUSE:
                raise ChartFaultError(
                    f"{self._name}: {FUSE} events follow from one: the effects answer each other "
                    f"for ever: ... -> {' -> '.join(path[-4:])}: let one of them give none"
                )
            path.append(f"{effect} -> {event}")
            try:
                step: Made = self._model.step(self._here, event)
            except (NotAllowedError, KeyError) as error:
                # A KeyError writes its text as it would be written in code.
                raise ChartFaultError(
                    f"{self._name}: {effect} gave {event!r}: {error.args[0]}; an effect gives what "
                    f"the chart takes: where it may come late, write an On that stays (to=None)"
                ) from error
            self._make(event, step, coming)

    async def _await(self, effect: Effect, given: Awaitable[Follows]) -> None:
        try:
            events = self._events(effect, await given)
            with self._busy():
                self._follow(deque(events))
        except BaseException as error:
            self._end(error)
            raise

    def _events(self, effect: Effect, given: Follows) -> list[_Given]:
        match given:
            case None:
                return []
            case str():
                return [(effect, given)]
            case tuple() | list() if all(isinstance(each, str) for each in given):
                return [(effect, event) for event in given]
            case _:
                raise TypeError(
                    f"{self._name}: {effect} gave {short(given)}: wanted is the event that "
                    f"follows, a tuple of events, None, or what can be awaited for one of these"
                )

    def _start(self, timer: Timer) -> None:
        now = trio.current_time()
        self._timers[timer] = _Run(now, now + self._checked(timer, self._seconds_of(timer)))
        self._alarm.deadline = self._first_end()

    def _seconds_of(self, timer: Timer) -> float:
        match self._seconds:
            case None:
                return timer.seconds
            case Mapping() as table:
                found: float = table.get(timer.id, timer.seconds)
                return found
            case ask:
                return ask(timer)

    def _checked(self, timer: Timer, seconds: float) -> float:
        return _checked(self._name, timer, seconds)

    def _first_end(self) -> float:
        return min((each.ends for each in self._timers.values()), default=math.inf)

    def _end(self, failure: BaseException | None) -> None:
        if not self._is_over:
            self._is_over = True
            if failure is not None and not is_cancellation(failure):
                self._failure = failure
            self._nursery.cancel_scope.cancel()
            for waiter in self._waiters:
                waiter.woken.set()

    def _ended(self) -> ChartEndedError:
        why = "" if self._failure is None else f", by {self._failure!r}"
        return ChartEndedError(f"{self._name} has ended{why}")


def _name(model: Machine | Router) -> str:
    match model:
        case Machine(chart=chart):
            return chart.id
        case Router(system=system):
            return system.id
        case _:
            assert_never(model)


def charts_of(model: Machine | Router) -> tuple[Chart, ...]:
    """The chart of a machine, or those that a router joins."""
    match model:
        case Machine(chart=chart):
            return (chart,)
        case Router(system=system):
            return system.charts
        case _:
            assert_never(model)


def _running_in(here: Snapshot | SystemSnapshot) -> Iterator[Timer]:
    """The timers of the states that are active."""
    match here:
        case Snapshot(machine=machine):
            yield from machine.timers(here)
        case SystemSnapshot(parts=parts):
            for part in parts:
                yield from part.machine.timers(part)
        case _:
            assert_never(here)


def _checked(name: str, timer: Timer, seconds: object) -> float:
    match seconds:
        case bool():
            pass
        case int() | float() as number if timer.lowest <= number <= timer.highest:
            return number
        case _:
            pass
    raise ValueError(
        f"{name}: {timer.id}={short(seconds)} is not a number of seconds in "
        f"{timer.lowest:g}..{timer.highest:g}"
    )


def check_seconds(model: Machine | Router, seconds: Seconds | None) -> None:
    """Raise ``ValueError`` for seconds of no timer, or outside a timer's range.

    What a function would say is not known before it is asked.
    """
    match seconds:
        case Mapping() as table:
            pass
        case _:
            return
    timers = {timer.id: timer for chart in charts_of(model) for timer in chart.timers}
    for id, each in table.items():
        if id not in timers:
            known = ", ".join(timers) or "none"
            raise ValueError(f"{_name(model)} has no timer {short(id)}; its timers: {known}")
        _checked(_name(model), timers[id], each)


async def _raise(error: BaseException) -> None:
    raise error


@overload
def open_chart(
    model: Machine,
    act: Act,
    *,
    seconds: Seconds | None = None,
    at: Snapshot | None = None,
    watch: Callable[[str, Snapshot, Step], object] | None = None,
) -> AbstractAsyncContextManager[RunningChart[Snapshot, Step]]: ...
@overload
def open_chart(
    model: Router,
    act: Act,
    *,
    seconds: Seconds | None = None,
    at: SystemSnapshot | None = None,
    watch: Callable[[str, SystemSnapshot, SystemStep], object] | None = None,
) -> AbstractAsyncContextManager[RunningChart[SystemSnapshot, SystemStep]]: ...
def open_chart(
    model: Machine | Router,
    act: Act,
    *,
    seconds: Seconds | None = None,
    at: Any = None,
    watch: Callable[[str, Any, Any], object] | None = None,
) -> AbstractAsyncContextManager[RunningChart[Any, Any]]:
    """Run a chart, or charts that are joined, as long as the ``async with`` block.

    ``act(effect)`` does each effect but those of timers. It gives the event that follows, several
    of them (a tuple or a list), or None; or what can be awaited for one of these, which then runs
    beside the chart and is cancelled at the end of the block. What several effects await runs at
    the same time: when one must be after the other, let the first one give an event.

    ``seconds`` says how long timers take: a table by their ids (of those that are not in it, the
    timer says it), or a function of the timer. It is asked at each start, so the table may change.

    ``at`` is a snapshot to go on from, perhaps one that ``restore`` gave: its timers run anew, and
    what the parameters of ``model`` change, happens first. Without it, the chart begins in its
    initial states.

    ``watch(event, before, step)`` sees each step, before the effects of it are done.

    The block raises an exception of ``act``, ``seconds`` or ``watch`` as it is, ``ChartFaultError``
    for an event of an effect that the chart does not take, and for effects that answer each other
    for ever, and ``ValueError`` for seconds outside a timer's range, or of no timer. When several
    things fail at once, they are in a group.
    """
    expect(model, Machine, Router)
    check_seconds(model, seconds)
    return _open(model, act, seconds, at, watch)


@asynccontextmanager
async def _open(
    model: Machine | Router,
    act: Act,
    seconds: Seconds | None,
    at: Any,
    watch: Callable[[str, Any, Any], object] | None,
) -> AsyncIterator[RunningChart[Any, Any]]:
    async with open_bare_nursery() as nursery:
        running = RunningChart[Any, Any](nursery, model, act, seconds, watch)
        try:
            running.begin(at)
            nursery.start_soon(running.run_timers)
            yield running
        except ChartEndedError as error:
            # What has ended it comes out of the nursery instead.
            if not running.told(error):
                raise
        except BaseExceptionGroup as group:
            # The block has tasks that send.
            told, rest = group.split(running.told)
            if told is None:
                raise
            if rest is not None:
                raise rest from None
        finally:
            running.end()

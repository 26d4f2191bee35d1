"""Obligations: on this event, in these states, exactly these effects and that next state.

A property says what must never happen; an obligation says what must happen. Without obligations, a
chart that does not answer at all passes every other check. They are written from the standard, as
a table, and compared with every reachable snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..declare import Effect, Start, Stop
from ..machine import NotAllowedError
from ..native import ChartFaultError
from ..refusals import expect
from ..router import Router, SystemSnapshot


@dataclass(frozen=True, slots=True)
class Obligation:
    """One clause. It applies in a snapshot where all of ``where`` and none of ``but`` hold.

    There, each of ``events`` must give exactly the effects ``asks``, in this order, and lead to a
    snapshot where all of ``goes`` hold. A chart that ``goes`` does not mention must not change.
    Exactly the timers ``starts`` are started (also when they ran before) and run afterwards; no
    other running timer is started again. Stopped timers are not compared: timers belong to states.

    A condition is the id of an active state, or ``variable=value``; in ``goes``, ``*chart`` means
    that this clause does not say what becomes of the chart.
    """

    clause: str
    events: tuple[str, ...]
    where: tuple[str, ...]
    asks: tuple[Effect, ...] = ()
    goes: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Breach:
    """An obligation that a system does not fulfil, where, and what it does instead."""

    obligation: Obligation
    event: str
    snapshot: SystemSnapshot
    what: str

    def __str__(self) -> str:
        return f"{self.obligation.clause}: {self.event} in {self.snapshot} {self.what}"


class Examiner:
    """Compares a system with a table of obligations."""

    def __init__(self, router: Router) -> None:
        expect(router, Router)
        self.router = router
        self._charts = {
            name: chart.id
            for chart in router.system.charts
            for name in (*(s.id for s in chart.walk()), *(v.name for v in chart.variables))
        }
        self._timers = {timer.id: c.id for c in router.system.charts for timer in c.timers}

    def breaches(
        self, snapshots: Iterable[SystemSnapshot], table: Iterable[Obligation]
    ) -> Iterator[Breach]:
        """Every breach in these snapshots; a clause that never applies is a breach too."""
        known = list(dict.fromkeys(snapshots))
        for duty in table:
            applies = [each for each in known if self.applies(duty, each)]
            if not applies:
                yield Breach(duty, "", known[0], "never applies: it claims nothing")
            for snapshot in applies:
                for event in duty.events:
                    if what := self.differs(duty, snapshot, event):
                        yield Breach(duty, event, snapshot, what)

    def applies(self, duty: Obligation, snapshot: SystemSnapshot) -> bool:
        """Whether the clause applies in this snapshot."""
        return all(self._holds(snapshot, each) for each in duty.where) and not any(
            self._holds(snapshot, each) for each in duty.but
        )

    def _holds(self, snapshot: SystemSnapshot, condition: str) -> bool:
        name, _, value = condition.partition("=")
        if not value:
            return condition in snapshot
        chart = self._charts[name]
        return self.router.machines[chart].values(snapshot[chart])[name] == int(value)

    def differs(self, duty: Obligation, snapshot: SystemSnapshot, event: str) -> str | None:
        """What the system does instead; None when it fulfils the obligation."""
        try:
            after, effects, _ = self.router.step(snapshot, event)
        except NotAllowedError:
            return "is not taken"
        except ChartFaultError as fault:
            return str(fault)
        asked = tuple(each for each in effects if not isinstance(each, Start | Stop))
        if asked != duty.asks:
            return f"asks for {_words(asked)}, not {_words(duty.asks)}"
        unclaimed = {each.removeprefix("*") for each in duty.goes if each.startswith("*")}
        begun = {each for each in _started(effects) if self._timers[each] not in unclaimed}
        if begun != set(duty.starts):
            return f"starts {_names(begun) or 'no timer'}, not {_names(duty.starts) or 'any'}"
        goals = [each for each in duty.goes if not each.startswith("*")]
        if not all(self._holds(after, goal) for goal in goals):
            return f"leads to {after}, not to {' and '.join(goals)}"
        free = unclaimed | {self._charts[goal.partition("=")[0]] for goal in goals}
        changed = {id for id in after.charts if after[id] != snapshot[id]} - free
        return f"changes {' and '.join(sorted(changed))}" if changed else None


def _started(effects: tuple[Effect, ...]) -> set[str]:
    ran: set[str] = set()
    started: set[str] = set()
    for effect in effects:
        match effect:
            case Start(timer):
                started.add(timer.id)
            case Stop(timer) if timer.id not in started:
                ran.add(timer.id)
            case Stop(timer) if timer.id not in ran:
                started.discard(timer.id)
            case _:
                pass
    return started


def _names(ids: Iterable[str]) -> str:
    return " and ".join(sorted(ids))


def _words(effects: tuple[Effect, ...]) -> str:
    return ", ".join(str(effect) for effect in effects) or "nothing"

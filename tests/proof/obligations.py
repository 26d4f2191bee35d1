"""The obligations of an HSMS end, made from ``statecharts/hsms/rules.txt``.

That text is written from the standard and not derived from the charts. ``DIALS`` is for the end
that dials, ``DIALS_ONCE`` for one that dials only once, ``LISTENS`` for the end that listens,
``REFUSES`` for one that does not probe when a second host asks for its session,
``OWNS`` for one that a lease enables and disables, ``TRANSACTS`` for one data transaction,
``BREAKS`` and ``LEASES`` for the breaker and the lease by themselves. The breaker and the linktest
have a threshold of 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from statecharts.declare import Chart, Effect, Tell
from statecharts.explore.obligations import Obligation
from statecharts.hsms import (
    ACTIVE_LINK,
    BREAKER,
    LEASE,
    OWNED_ACTIVE,
    OWNED_LINK,
    PASSIVE_LINK,
    SECOND_HOST,
    TRANSACTION,
)
from statecharts.hsms.rules import CLAUSES, Clause, Condition
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    AskStore,
    CloseGate,
    CloseTcp,
    ContestSession,
    Count,
    Counter,
    FinishTcp,
    OpenGate,
    OpenTcp,
    Outgoing,
    ReleaseLease,
    ResetTcp,
    Send,
    SettleTransaction,
    StopAsking,
    StoreCall,
)

from .names import EVENTS, STATES, VARIABLES, known

_ANSWERS: dict[str, Effect] = {
    **{frame.value: Send(frame) for frame in Outgoing},
    **{f"count {counter.value}": Count(counter) for counter in Counter},
    "open TCP": OpenTcp(),
    "abandon TCP": AbandonTcp(),
    "finish TCP": FinishTcp(),
    "close TCP": CloseTcp(),
    "reset TCP": ResetTcp(),
    "contest session": ContestSession(),
    "open gate": OpenGate(),
    "close gate": CloseGate(),
    "settle request": SettleTransaction(),
    **{f"{call.value} lease": AskStore(call) for call in StoreCall},
    "stop asking": StopAsking(),
    "release lease": ReleaseLease(),
}
# The states in which an attempt has the breaker's permit.
_PERMITTED = {"connecting", "selecting"}
_BREAKER = {state.id for state in BREAKER.walk()}
# An end that dials once makes no second attempt, and its breaker counts no second failure: where it
# would wait for the next attempt, it is closed.
_SECOND_ATTEMPT = {"waiting", "breaker_open", "ready", "probing", "failures=1"}
_AT_REST = ("between_frames", "drained")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads clauses for one end: its charts, the rows for it, and the meaning of "lost" here."""

    charts: tuple[Chart, ...]
    ends: tuple[str, ...]
    lost: tuple[str, ...] = ("lost",)
    after_loss: tuple[str, ...] = ()
    once: bool = False

    def table(self) -> tuple[Obligation, ...]:
        return tuple(duty for row in CLAUSES if row.ends in self.ends for duty in self._of(row))

    def _of(self, row: Clause) -> Iterator[Obligation]:
        """The obligations of one row. Raises ``KeyError`` for a name that no chart has."""
        known(row.events, EVENTS)
        events = {event for chart in self.charts for event in chart.events}
        names = {state.id for chart in self.charts for state in chart.walk()}
        names |= {variable.name for chart in self.charts for variable in chart.variables}
        for place in row.places:
            # A state that this end does not have is for another end.
            if self.once and _SECOND_ATTEMPT.intersection(place.where):
                continue
            known(place.but, STATES)
            if names >= known((each.partition("=")[0] for each in place.where), STATES | VARIABLES):
                yield Obligation(
                    row.id,
                    tuple(event for event in row.events if event in events),
                    place.where,
                    tuple(_effect(each) for each in row.answer),
                    tuple(self._goes(row, place)),
                    tuple(each for each in place.but if each in names),
                    tuple(self._starts(row)),
                )

    def _starts(self, row: Clause) -> Iterator[str]:
        closes = self.once and "waiting" in row.then
        yield from (timer for timer in row.starts if not (closes and timer == "t5"))
        yield from ("linktest_interval",) if "fresh" in row.then else ()
        yield from self.after_loss if "lost" in row.then else ()

    def _goes(self, row: Clause, place: Condition) -> Iterator[str]:
        target = ""
        words = {"lost": self.lost, "fresh": ("quiet", "misses=0")}
        words |= {"waiting": self.lost} if self.once else {}
        for word in row.then:
            for goal in words.get(word, (word,)):
                yield goal
                target = goal if self._inside(goal) else target
        if target:
            around = self._inside(target)
            inside = {each for state in place.where for each in self._inside(state)}
            if "selected" in inside - around:
                yield "unwatched"
                yield from ("unasked",) if SECOND_HOST in self.charts else ()
            if "connected" in inside - around:
                yield from _AT_REST
            settles = _PERMITTED & set(place.where) and target not in _PERMITTED
            if settles and not _BREAKER & set(row.then):
                yield "*breaker"

    def _inside(self, state: str) -> set[str]:
        """The states of the connection around ``state``, itself included; none for others."""
        connection = self.charts[0]
        known = {each.id for each in connection.walk()}
        return {each.id for each in connection.path(state)} if state in known else set()


def _effect(answer: str) -> Effect:
    if answer.startswith("tell "):
        return Tell(answer.removeprefix("tell "))
    return _ANSWERS[answer]


_ACTIVE, _PASSIVE = ACTIVE_LINK.charts, PASSIVE_LINK.charts
DIALS = Reader(_ACTIVE, ("both", "dials", "redials"), ("waiting",), ("t5",)).table()
DIALS_ONCE = Reader(_ACTIVE, ("both", "dials", "redials"), ("closed",), once=True).table()
LISTENS = Reader(_PASSIVE, ("both", "listens", "probes"), ("closed",)).table()
REFUSES = Reader(_PASSIVE, ("both", "listens", "refuses"), ("closed",)).table()
BREAKS = Reader((BREAKER,), ("breaker",)).table()
TRANSACTS = Reader((TRANSACTION,), ("request",)).table()
LEASES = Reader((LEASE,), ("lease",)).table()
# The connection first.
_OWNED = (OWNED_ACTIVE, *(chart for chart in OWNED_LINK.charts if chart is not OWNED_ACTIVE))
OWNS = Reader(_OWNED, ("owned",)).table()

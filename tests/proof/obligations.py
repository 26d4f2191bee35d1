"""The obligations of an HSMS end, made from ``statecharts/hsms/rules.txt``.

That text is written from the standard and not derived from the charts. ``DIALS`` is for the end
that dials, ``DIALS_ONCE`` for one that dials only once, ``LISTENS`` for the end that listens,
``TRANSACTS`` for one data transaction, ``BREAKS`` for the breaker by itself. The breaker and the
linktest have a threshold of 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from statecharts.declare import Chart, Effect, Tell
from statecharts.explore.obligations import Obligation
from statecharts.hsms import ACTIVE_LINK, BREAKER, PASSIVE_LINK, TRANSACTION
from statecharts.hsms.rules import CLAUSES, Clause, Condition
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    CloseGate,
    CloseTcp,
    Count,
    Counter,
    FinishTcp,
    OpenGate,
    OpenTcp,
    Outgoing,
    ResetTcp,
    Send,
    SettleTransaction,
)

_ANSWERS: dict[str, Effect] = {
    **{frame.value: Send(frame) for frame in Outgoing},
    **{f"count {counter.value}": Count(counter) for counter in Counter},
    "open TCP": OpenTcp(),
    "abandon TCP": AbandonTcp(),
    "finish TCP": FinishTcp(),
    "close TCP": CloseTcp(),
    "reset TCP": ResetTcp(),
    "open gate": OpenGate(),
    "close gate": CloseGate(),
    "settle request": SettleTransaction(),
}
# The states in which an attempt has the breaker's permit.
_PERMITTED = {"connecting", "selecting"}
_BREAKER = {state.id for state in BREAKER.walk()}
_AT_REST = ("between_frames", "drained")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads clauses for one end: its charts, the rows for it, and the meaning of "lost" here."""

    charts: tuple[Chart, ...]
    ends: tuple[str, ...]
    lost: tuple[str, ...] = ("lost",)
    after_loss: tuple[str, ...] = ()

    def table(self) -> tuple[Obligation, ...]:
        return tuple(duty for row in CLAUSES if row.ends in self.ends for duty in self._of(row))

    def _of(self, row: Clause) -> Iterator[Obligation]:
        events = {event for chart in self.charts for event in chart.events}
        names = {state.id for chart in self.charts for state in chart.walk()}
        names |= {variable.name for chart in self.charts for variable in chart.variables}
        for place in row.places:
            # A state that this end does not have is for another end.
            if names.issuperset(each.partition("=")[0] for each in place.where):
                yield Obligation(
                    row.id,
                    tuple(event for event in row.events if event in events),
                    place.where,
                    tuple(_effect(each) for each in row.answer),
                    tuple(self._goes(row, place)),
                    tuple(each for each in place.but if each in names),
                    (*row.starts, *self._implied(row)),
                )

    def _implied(self, row: Clause) -> tuple[str, ...]:
        fresh = ("linktest_interval",) if "fresh" in row.then else ()
        return (*fresh, *(self.after_loss if "lost" in row.then else ()))

    def _goes(self, row: Clause, place: Condition) -> Iterator[str]:
        target = ""
        for word in row.then:
            for goal in {"lost": self.lost, "fresh": ("quiet", "misses=0")}.get(word, (word,)):
                yield goal
                target = goal if self._inside(goal) else target
        if target:
            around = self._inside(target)
            inside = {each for state in place.where for each in self._inside(state)}
            if "selected" in inside - around:
                yield "unwatched"
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
DIALS = _Reader(_ACTIVE, ("both", "dials", "redials"), ("waiting",), ("t5",)).table()
DIALS_ONCE = _Reader(_ACTIVE, ("both", "dials"), ("closed",)).table()
LISTENS = _Reader(_PASSIVE, ("both", "listens"), ("closed",)).table()
BREAKS = _Reader((BREAKER,), ("breaker",)).table()
TRANSACTS = _Reader((TRANSACTION,), ("request",)).table()

"""Typical runs of two ends as sequence diagrams, made by running the charts.

A run is a list of events, each with the end that it happens to. The event ``ARRIVES`` delivers the
oldest frame of the other end. Frames, states and the consequences come from the charts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from statecharts.draw import Message, fenced, sequence
from statecharts.machine import Machine, Snapshot
from statecharts.router import Router, SystemStep

from .breaker import BREAKER
from .systems import ACTIVE_LINK, PASSIVE_LINK
from .vocabulary import Outgoing, Send
from .words import WORDS

ARRIVES = "arrives"
_HOST, _EQUIPMENT = "host", "equipment"
# The event that a frame is for the end at which it arrives.
_EVENTS = {
    Outgoing.SELECT_REQ: "select_req_received",
    Outgoing.SELECT_RSP_ESTABLISHED: "select_rsp_accepted",
    Outgoing.DESELECT_REQ: "deselect_req_received",
    Outgoing.DESELECT_RSP_ENDED: "deselect_rsp_ended",
    Outgoing.LINKTEST_REQ: "linktest_req_received",
    Outgoing.LINKTEST_RSP: "linktest_rsp_received",
    Outgoing.SEPARATE_REQ: "separate_req_received",
}


@dataclass(frozen=True, slots=True)
class Run:
    """The events of a run, in order, each with its end. ``title`` says what the run shows."""

    title: str
    steps: tuple[tuple[str, str], ...]


_SELECTED = (
    (_HOST, "enable_requested"),
    (_EQUIPMENT, "tcp_accepted"),
    (_HOST, "tcp_opened"),
    (_EQUIPMENT, ARRIVES),
    (_HOST, ARRIVES),
)

RUNS = (
    Run(
        "A link comes up, is tested while quiet, and is closed",
        (
            *_SELECTED,
            (_HOST, "linktest_interval_expired"),
            (_EQUIPMENT, ARRIVES),
            (_HOST, ARRIVES),
            (_HOST, "close_requested"),
            (_EQUIPMENT, ARRIVES),
            (_HOST, "tcp_closed"),
        ),
    ),
    Run(
        "The peer takes TCP and does not answer Select.req: the breaker opens, then lets one try",
        (
            *_SELECTED[:3],
            (_HOST, "t6_expired"),
            (_EQUIPMENT, "tcp_closed"),
            (_HOST, "t5_expired"),
            (_HOST, "open_time_expired"),
        ),
    ),
    Run(
        "Both ends deselect at once: each answers the other, and nobody waits for ever",
        (
            *_SELECTED,
            (_HOST, "deselect_requested"),
            (_EQUIPMENT, "deselect_requested"),
            (_EQUIPMENT, ARRIVES),
            (_HOST, ARRIVES),
            (_EQUIPMENT, ARRIVES),
            (_HOST, ARRIVES),
        ),
    ),
)


def messages(run: Run) -> Iterator[Message]:
    """The steps of a run, as ``sequence`` draws them. The breaker's threshold is 1."""
    routers = {
        _HOST: Router(ACTIVE_LINK, {BREAKER.id: Machine(BREAKER, threshold=1)}),
        _EQUIPMENT: Router(PASSIVE_LINK),
    }
    now = {end: router.initial for end, router in routers.items()}
    sent: dict[str, deque[Outgoing]] = {end: deque() for end in routers}
    for end, what in run.steps:
        source, label, event = end, "", what
        if what == ARRIVES:
            source = _EQUIPMENT if end == _HOST else _HOST
            frame = sent[source].popleft()
            label, event = frame.value, _EVENTS[frame]
        step = routers[end].step(now[end], event)
        chart = routers[end].system.chart(routers[end].owner[event])
        yield Message(source, end, label or WORDS.event(chart, event), _changes(routers[end], step))
        now[end] = step.snapshot
        sent[end].extend(each.frame for each in step.effects if isinstance(each, Send))


def _changes(router: Router, step: SystemStep) -> str:
    """The states that were entered, chart by chart, in the order in which the charts moved."""
    before: dict[str, Snapshot] = {}
    for hop in step.hops:
        before.setdefault(hop.chart, hop.before)
    lines = []
    for id, snapshot in before.items():
        chart = router.system.chart(id)
        new = set(step.snapshot[id].states) - set(snapshot.states)
        if names := ", ".join(state.name for state in chart.walk() if state.id in new):
            lines.append(f"{chart.title.partition(',')[0]}: {names}")
    return "\n".join(lines)


def _drawn(run: Run) -> str:
    return fenced(sequence(messages(run), actors=(_HOST, _EQUIPMENT)))


def page() -> str:
    """The page of all runs, in Markdown."""
    head = "# Typical runs\n\nMade by running the charts: `make diagrams`.\n"
    return "\n".join([head, *(f"## {run.title}\n\n{_drawn(run)}" for run in RUNS)])

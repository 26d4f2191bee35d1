"""Typical runs of two ends as sequence diagrams, made by running the charts.

A run is a list of events, each with the end that it happens to. The event ``ARRIVES`` delivers the
oldest frame of the other end. Frames, states and the consequences come from the charts. Where
processes share a tool, a store answers them, and each of them dials the same equipment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from statecharts.draw import Message, fenced, sequence
from statecharts.machine import Machine, Snapshot
from statecharts.router import Router, System, SystemStep

from .breaker import BREAKER
from .systems import ACTIVE_LINK, OWNED_LINK, PASSIVE_LINK
from .vocabulary import AskStore, Outgoing, ReleaseLease, Send
from .words import WORDS

ARRIVES = "arrives"
_HOST, _EQUIPMENT = "host", "equipment"
# Two processes that may have the equipment, and the store that decides which of them has it.
_ONE, _OTHER, _STORE = "process A", "process B", "store"
_SYSTEMS = {
    _HOST: ACTIVE_LINK,
    _EQUIPMENT: PASSIVE_LINK,
    _ONE: OWNED_LINK,
    _OTHER: OWNED_LINK,
}
_ANSWERS = ("lease_granted", "lease_refused", "lease_freed")
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
    """The events of a run, in order, each with its end. ``title`` says what the run shows.

    A step without an end says what happens that no chart hears of.
    """

    title: str
    steps: tuple[tuple[str, str], ...]
    actors: tuple[str, ...] = (_HOST, _EQUIPMENT)


_SELECTED = (
    (_HOST, "enable_requested"),
    (_EQUIPMENT, "tcp_accepted"),
    (_HOST, "tcp_opened"),
    (_EQUIPMENT, ARRIVES),
    (_HOST, ARRIVES),
)


def _takes(process: str) -> tuple[tuple[str, str], ...]:
    """The process gets the lease, and its link is selected."""
    return (
        (process, "lease_granted"),
        (_EQUIPMENT, "tcp_accepted"),
        (process, "tcp_opened"),
        (_EQUIPMENT, ARRIVES),
        (process, ARRIVES),
    )


_OWNED = (
    (_ONE, "contend_requested"),
    *_takes(_ONE),
    (_OTHER, "contend_requested"),
    (_OTHER, "lease_refused"),
)
_SHARED = (_STORE, _ONE, _OTHER, _EQUIPMENT)

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
    Run(
        "The process that owns the equipment dies, and another one takes over",
        (
            *_OWNED,
            (_ONE, "renewal_expired"),
            (_ONE, "lease_granted"),
            ("", "process A dies; nobody renews its lease"),
            (_EQUIPMENT, "tcp_closed"),
            (_OTHER, "lease_freed"),
            *_takes(_OTHER),
        ),
        _SHARED,
    ),
    Run(
        "The store is away: the owner goes on in doubt, and leaves by its own deadline",
        (
            (_ONE, "contend_requested"),
            *_takes(_ONE),
            ("", "the store does not answer any more"),
            (_ONE, "renewal_expired"),
            (_ONE, "store_timeout_expired"),
            (_ONE, "renewal_retry_expired"),
            (_ONE, "own_deadline_expired"),
            (_EQUIPMENT, ARRIVES),
            (_ONE, "tcp_closed"),
            (_ONE, "lease_poll_expired"),
            (_ONE, "store_timeout_expired"),
        ),
        (_STORE, _ONE, _EQUIPMENT),
    ),
    Run(
        "A process withdraws, and another one takes over at once",
        (
            *_OWNED,
            (_ONE, "withdraw_requested"),
            (_EQUIPMENT, ARRIVES),
            (_ONE, "tcp_closed"),
            (_OTHER, "lease_freed"),
            *_takes(_OTHER),
        ),
        _SHARED,
    ),
)


def messages(run: Run) -> Iterator[Message]:
    """The steps of a run, as ``sequence`` draws them. The breaker's threshold is 1."""
    routers = {end: _router(_SYSTEMS[end]) for end in run.actors if end in _SYSTEMS}
    now = {end: router.initial for end, router in routers.items()}
    sent: dict[str, deque[Outgoing]] = {end: deque() for end in routers}
    host = _HOST
    for end, what in run.steps:
        if not end:
            yield Message("", "", what)
            continue
        source, label, event = end, "", what
        if what == ARRIVES:
            source = host if end == _EQUIPMENT else _EQUIPMENT
            frame = sent[source].popleft()
            label, event = frame.value, _EVENTS[frame]
        elif what in _ANSWERS:
            source = _STORE
        elif what == "tcp_accepted":
            # Another connection: charts of its own.
            now[end] = routers[end].initial
        elif what == "tcp_opened":
            host = end
        step = routers[end].step(now[end], event)
        chart = routers[end].system.chart(routers[end].owner[event])
        yield Message(source, end, label or WORDS.event(chart, event), _changes(routers[end], step))
        now[end] = step.snapshot
        for each in step.effects:
            match each:
                case Send(frame):
                    sent[end].append(frame)
                case AskStore() | ReleaseLease():
                    yield Message(end, _STORE, WORDS.effects[each])
                case _:
                    pass


def _router(system: System) -> Router:
    dials = BREAKER in system.charts
    return Router(system, {BREAKER.id: Machine(BREAKER, threshold=1)} if dials else {})


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
    return fenced(sequence(messages(run), actors=run.actors))


def page() -> str:
    """The page of all runs, in Markdown."""
    head = "# Typical runs\n\nMade by running the charts: `make diagrams`.\n"
    return "\n".join([head, *(f"## {run.title}\n\n{_drawn(run)}" for run in RUNS)])

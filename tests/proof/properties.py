"""The claims about one HSMS end whose peer may do anything, and about charts that run alone.

The claims are written from E37's rules, with names of states and effects, and not from the
transitions: a wrong chart disagrees with them. Every search also claims, without a name here: no
effect is asked for that the ``World`` cannot do (send without an open TCP connection, dial over an
open one, start a running timer), and every event that can happen is taken.
"""

from __future__ import annotations

from collections.abc import Callable

from statecharts.declare import Effect
from statecharts.explore.alone import Here
from statecharts.explore.moves import Move
from statecharts.explore.properties import (
    WHATEVER,
    Always,
    Between,
    CanAlwaysReach,
    EveryStep,
    LeadsTo,
    Property,
    Sometimes,
    Stays,
)
from statecharts.hsms.rules import SECTIONS, Runs
from statecharts.hsms.systems import ACTIVE_LINK, PASSIVE_LINK
from statecharts.hsms.vocabulary import CloseTcp, OpenGate, OpenTcp, Outgoing, ResetTcp, Send
from statecharts.hsms.world import Tcp, World
from statecharts.router import System

from .assumptions import TIME_PASSES
from .names import STATES, any_of, events, known
from .reasons import (
    BREAKER_REASONS,
    DIALLER_REASONS,
    LISTENER_REASONS,
    SINGLE_USE_REASONS,
    TRANSACTION_REASONS,
)

Link = Here[World]

# The states in which each timer runs, from the rules and not from the charts, which must agree.
RUNS_IN = {
    row.timer: row.states for section in SECTIONS for row in section.rows if isinstance(row, Runs)
}

_ATTEMPT = ("connecting", "selecting")


def _asks(*effects: Effect) -> Callable[[Move], bool]:
    return lambda move: not set(effects).isdisjoint(move.effects)


def _timers_are_right(system: System) -> Callable[[Link], bool]:
    mine = {timer.id for chart in system.charts for timer in chart.timers}
    runs_in = {timer: known(states, STATES) for timer, states in RUNS_IN.items() if timer in mine}
    return lambda here: (
        here.world.timers
        == {each for each, states in runs_in.items() if not states.isdisjoint(here.snapshot.states)}
    )


def _tcp_is_right(opening: tuple[str, ...]) -> Callable[[Link], bool]:
    def holds(here: Link) -> bool:
        if "connected" in here.snapshot:
            return here.world.tcp is Tcp.OPEN
        return here.world.tcp is (Tcp.OPENING if any_of(here.snapshot, *opening) else Tcp.CLOSED)

    return holds


def _gate_opened_before_answer(before: Link, move: Move, _after: Link) -> bool:
    answer = move.effects.index(Send(Outgoing.SELECT_RSP_ESTABLISHED))
    return before.world.gate or OpenGate() in move.effects[:answer]


def _attempt_is_settled(before: Link, move: Move, after: Link) -> bool:
    if not any_of(before.snapshot, *_ATTEMPT) or any_of(after.snapshot, *_ATTEMPT):
        return True
    was, now = before.snapshot["breaker"], after.snapshot["breaker"]
    if move.event in ("isolate_requested", "reset_requested"):
        return not any_of(after.snapshot, "selected")
    if "selected" in after.snapshot:
        return "breaker_closed" in now and now.values == (0,)
    if move.event in _GIVES_UP:
        return "ready" in now if "probing" in was else now == was
    opened = "breaker_open" in now
    return opened if "probing" in was else opened or now.values[0] == was.values[0] + 1


# A user or a lease gives up the attempt.
_GIVES_UP = events(
    "disable_requested",
    "close_requested",
    "withdraw_requested",
    "own_deadline_expired",
    "lease_refused",
    "lease_freed",
)


def _nobody_forgotten(here: Link) -> bool:
    """A blocked connection waits for a breaker that will offer it a permit."""
    return "blocked" not in here.snapshot or any_of(here.snapshot, "breaker_open", "isolated")


def _permit_is_held(here: Link) -> bool:
    if any_of(here.snapshot, *_ATTEMPT):
        return any_of(here.snapshot, "breaker_closed", "probing")
    return "probing" not in here.snapshot


def _resets_what_it_closed(_before: Link, move: Move, _after: Link) -> bool:
    """``World`` knows that TCP is closed, but not that this step has closed it."""
    closed = move.effects[: move.effects.index(ResetTcp())]
    return CloseTcp() in closed and move.event != "tcp_closed"


_REJECTS = events(
    "unknown_reject_received", "select_rejected", "deselect_rejected", "linktest_rejected"
)


def link_claims(
    system: System, opening: tuple[str, ...], closing: tuple[str, ...]
) -> tuple[Property[Link], ...]:
    """The claims about either end.

    ``opening``: the states in which TCP is being opened; ``closing``: the states in which the last
    frame is sent of a connection that no other follows.
    """
    return (
        Always(
            "timers",
            "every timer runs exactly in the states that E37 gives it",
            _timers_are_right(system),
        ),
        Always(
            "sockets",
            "TCP is open, opening or closed as the state says, so there is one socket",
            _tcp_is_right(opening),
        ),
        Always(
            "gate",
            "data messages pass exactly while SELECTED",
            lambda here: here.world.gate == ("selected" in here.snapshot),
        ),
        Always(
            "watch",
            "linktests run exactly while SELECTED, and no step stops in a failed linktest",
            lambda here: (
                ("watching" in here.snapshot) == ("selected" in here.snapshot)
                and "silent" not in here.snapshot
            ),
        ),
        Always(
            "traffic",
            "frames are half read or half written only on an open connection",
            lambda here: (
                "connected" in here.snapshot
                or not any_of(here.snapshot, "receiving", "broken_off", "backlogged", "stalled")
            ),
        ),
        EveryStep(
            "selected before answered",
            "the end is in SELECTED before Select.rsp 0 is sent",
            _gate_opened_before_answer,
            _asks(Send(Outgoing.SELECT_RSP_ESTABLISHED)),
        ),
        EveryStep(
            "separate",
            "Separate.req is sent only in SELECTED, and a graceful close follows",
            lambda before, _, after: before.world.gate and "leaving" in after.snapshot,
            _asks(Send(Outgoing.SEPARATE_REQ)),
        ),
        EveryStep(
            "resets",
            "a reset is for the connection that the same step has closed, and not for one that the "
            "peer has closed",
            _resets_what_it_closed,
            _asks(ResetTcp()),
        ),
        EveryStep(
            "rejects end",
            "a Reject.req is never answered",
            lambda _before, move, _after: not any(isinstance(each, Send) for each in move.effects),
            lambda move: move.event in _REJECTS,
        ),
        EveryStep(
            "close",
            "after a call to close, the end is Closed or closing",
            lambda _before, _, after: any_of(after.snapshot, "closed", "closing"),
            lambda move: move.event == "close_requested",
        ),
        LeadsTo(
            "leaving stops",
            "a graceful close is completed although the peer says nothing",
            lambda here: "leaving" in here.snapshot,
            lambda here: here.world.tcp is Tcp.CLOSED,
            TIME_PASSES,
        ),
        LeadsTo(
            "silence is noticed",
            "a connection whose peer has fallen silent is closed",
            lambda here: "connected" in here.snapshot,
            lambda here: "connected" not in here.snapshot,
            TIME_PASSES,
        ),
        Stays(
            "closed is final",
            "no event leads out of Closed",
            lambda here: "closed" in here.snapshot,
            WHATEVER,
        ),
        CanAlwaysReach(
            "way back",
            "until Closed there is always a way to SELECTED",
            lambda here: "selected" in here.snapshot,
            lambda here: not any_of(here.snapshot, "closed", *closing),
        ),
    )


LISTENING_LINK: tuple[Property[Link], ...] = (
    *link_claims(PASSIVE_LINK, (), ("closing", "refusing")),
    EveryStep(
        "one probe in T6",
        "a second host that asks for the session causes at most one probe in each T6",
        lambda before, move, after: (
            Send(Outgoing.LINKTEST_REQ) not in move.effects
            or "t6_second_host" in after.world.timers - before.world.timers
        ),
        lambda move: move.event == "session_wanted",
    ),
    *LISTENER_REASONS,
)
_T5_IS_OVER = events("t5_expired")
T5_RUNS: Property[Link] = Between(
    "T5",
    "between two dials T5 runs out",
    lambda move: OpenTcp() in move.effects,
    lambda move: OpenTcp() in move.effects,
    lambda move: move.event in _T5_IS_OVER,
)
ATTEMPTS: tuple[Property[Link], ...] = (
    EveryStep(
        "permit",
        "a dial begins only when the breaker is closed or has given its one probe away",
        lambda _before, _, after: any_of(after.snapshot, "breaker_closed", "probing"),
        _asks(OpenTcp()),
    ),
    Always(
        "one probe",
        "an attempt runs only with a permit, and a probe's permit always has its attempt",
        _permit_is_held,
    ),
    Always(
        "nobody forgotten",
        "a blocked connection will be told when the breaker allows an attempt",
        _nobody_forgotten,
    ),
    Always(
        "asking is instant",
        "the breaker answers in the same step",
        lambda here: "asking" not in here.snapshot,
    ),
    EveryStep(
        "attempts are settled",
        "a failed attempt counts once, one that reaches SELECTED clears the count, and one that "
        "its user abandons counts as neither and gives its permit back",
        _attempt_is_settled,
        lambda _: True,
    ),
)

_DIALS = (*link_claims(ACTIVE_LINK, ("connecting",), ("closing",)), *ATTEMPTS)

# More claims about an end that dials again and again, and about one that dials only once: its
# breaker lets no probe through, because there is no second attempt.
DIALLING_LINK: tuple[Property[Link], ...] = (
    *_DIALS,
    *DIALLER_REASONS,
    T5_RUNS,
    LeadsTo(
        "dials",
        "an end that is enabled and not isolated dials, with nobody asking",
        lambda here: (
            here.world.tcp is Tcp.CLOSED
            and not any_of(here.snapshot, "idle", "resting", "closed", "isolated")
        ),
        lambda here: here.world.tcp is not Tcp.CLOSED,
        TIME_PASSES,
    ),
    LeadsTo(
        "open ends",
        "an open breaker is not open for ever, with nobody asking",
        lambda here: "breaker_open" in here.snapshot,
        lambda here: "breaker_open" not in here.snapshot,
        TIME_PASSES,
    ),
    Sometimes("half-open", "a probe is let through", lambda here: "probing" in here.snapshot),
)
SINGLE_USE: tuple[Property[Link], ...] = (
    *_DIALS,
    *SINGLE_USE_REASONS,
    Always(
        "once",
        "an end for one connection never waits to retry",
        lambda here: "waiting" not in here.snapshot,
    ),
)


BREAKER_ALONE: tuple[Property[Here[frozenset[str]]], ...] = (
    *BREAKER_REASONS,
    LeadsTo(
        "open ends",
        "an open breaker is not open for ever, with nobody asking",
        lambda here: "breaker_open" in here.snapshot,
        lambda here: "breaker_open" not in here.snapshot,
        TIME_PASSES,
    ),
    CanAlwaysReach(
        "way back",
        "whatever has happened, the breaker can be closed again",
        lambda here: "breaker_closed" in here.snapshot,
    ),
    Always(
        "open time",
        "the open time runs exactly while the breaker is open",
        lambda here: (here.world == {"open_time"}) == ("breaker_open" in here.snapshot),
    ),
)

TRANSACTION_ALONE: tuple[Property[Here[frozenset[str]]], ...] = (
    *TRANSACTION_REASONS,
    Always(
        "T3",
        "T3 runs exactly while the primary is written and the transaction is not settled",
        lambda here: (here.world == {"t3"}) == ("open" in here.snapshot),
    ),
    Stays(
        "settled once",
        "a settled transaction is not settled again",
        lambda here: "pending" not in here.snapshot,
        WHATEVER,
    ),
    CanAlwaysReach(
        "can settle", "every transaction can settle", lambda here: "pending" not in here.snapshot
    ),
)

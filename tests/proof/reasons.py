"""The claims about single steps of one HSMS end: nothing happens without its reason.

Each claim says in one sentence what a user may count on: what answers a frame, what begins and ends
a connection and a session, what is waited for, what is counted. It holds in every state, and names
as few of them as it can. The obligations say more, clause by clause.
"""

from __future__ import annotations

from collections.abc import Callable

from statecharts.declare import ADOPTED, Effect, Start, Stop, Tell
from statecharts.explore.alone import Here, WorldState
from statecharts.explore.moves import Move
from statecharts.explore.properties import EveryStep, Possible, Property
from statecharts.hsms.active import ACTIVE
from statecharts.hsms.passive import PASSIVE
from statecharts.hsms.receiver import RECEIVER
from statecharts.hsms.transmitter import TRANSMITTER
from statecharts.hsms.vocabulary import (
    ContestSession,
    Count,
    Counter,
    FinishTcp,
    OpenTcp,
    Outgoing,
    ResetTcp,
    Send,
    SettleTransaction,
)
from statecharts.hsms.world import Tcp, World
from statecharts.router import SystemSnapshot

from .names import any_of, events

LinkState = Here[World]
ChartState = Here[frozenset[str]]

_FRAMES = events(*ACTIVE.received, *PASSIVE.received)
_REJECTED = events("select_rejected", "deselect_rejected", "linktest_rejected")
_SELECT_ANSWERED = events(
    "select_rsp_accepted", "select_rsp_already_active", "select_rsp_refused", "select_rejected"
)
_DESELECT_ANSWERED = events("deselect_rsp_ended", "deselect_rsp_busy", "deselect_rejected")
_LINKTEST_ANSWERED = events("linktest_rsp_received", "linktest_rejected")

_NOT_OPEN, _UNKNOWN = Send(Outgoing.REJECT_NOT_OPEN), Count(Counter.REJECT_UNKNOWN)
_STYPE, _PTYPE = Send(Outgoing.REJECT_STYPE), Send(Outgoing.REJECT_PTYPE)
_ANSWERS: dict[str, tuple[Effect, ...]] = {
    "linktest_req_received": (Send(Outgoing.LINKTEST_RSP),),
    "unexpected_rsp_received": (_NOT_OPEN,),
    "unsupported_stype_received": (_STYPE,),
    "unsupported_ptype_received": (_PTYPE,),
    "control_with_body_received": (_STYPE,),
    "unknown_reject_received": (_UNKNOWN,),
}
_WHILE_SELECTED: dict[str, tuple[Effect, ...]] = _ANSWERS | {
    "select_req_received": (Send(Outgoing.SELECT_RSP_ALREADY_ACTIVE),),
    "competing_select_req_received": (Send(Outgoing.SELECT_RSP_ALREADY_ACTIVE),),
    "deselect_req_received": (Send(Outgoing.DESELECT_RSP_ENDED),),
    "separate_req_received": (),
}
_WHILE_NOT_SELECTED: dict[str, tuple[Effect, ...]] = _ANSWERS | {
    "select_req_received": (Send(Outgoing.SELECT_RSP_ESTABLISHED),),
    "competing_select_req_received": (Send(Outgoing.SELECT_RSP_EXHAUSTED), ContestSession()),
    "deselect_req_received": (Send(Outgoing.DESELECT_RSP_NOT_ESTABLISHED),),
    "separate_req_received": (Count(Counter.SEPARATE_IGNORED),),
    "data_received": (Send(Outgoing.REJECT_NOT_SELECTED),),
}
# What a report, a timer or a call always says; the others depend on where it comes.
_SAYS: dict[str, tuple[Effect, ...]] = {
    "tcp_opened": (Send(Outgoing.SELECT_REQ),),
    "select_requested": (Send(Outgoing.SELECT_REQ),),
    "deselect_requested": (Send(Outgoing.DESELECT_REQ),),
    "linktest_interval_expired": (Send(Outgoing.LINKTEST_REQ),),
    "stale_result_reported": (Count(Counter.STALE_RESULT),),
}
_SEPARATE, _PROBE = Send(Outgoing.SEPARATE_REQ), Send(Outgoing.LINKTEST_REQ)
_MISSED = Count(Counter.LINKTESTS_UNANSWERED)

# We cannot go on: the connection is over, and closed with a reset.
_GIVES_UP = events(
    "communication_failed",
    "t6_expired",
    "t7_expired",
    "t8_expired",
    "frame_deadline_expired",
    "write_timeout_expired",
    "write_deadline_expired",
    "t6_linktest_expired",
)
_ENDS = _GIVES_UP - events("t6_linktest_expired") | events("tcp_closed", "linger_expired")


def _parameter(here: Here[WorldState], chart: str, name: str) -> int:
    return here.snapshot[chart].machine.parameters[name]


def _misses(here: LinkState) -> int:
    return here.snapshot["linktest"].values[0]


def _selecting(here: SystemSnapshot) -> bool:
    """A Select.req of ours is unanswered."""
    return any_of(here, "selecting", "reselecting", "select_unanswered")


def _deselecting(here: SystemSnapshot) -> bool:
    """A Deselect.req of ours is unanswered."""
    return any_of(here, "deselecting", "deselect_unanswered")


def _awaited(here: SystemSnapshot, event: str) -> bool | None:
    """Whether this answer to a request of ours is waited for; None when it is no such answer."""
    if event in _SELECT_ANSWERED:
        return _selecting(here)
    if event in _DESELECT_ANSWERED:
        return _deselecting(here)
    return "probing_link" in here if event in _LINKTEST_ANSWERED else None


def _answer(here: SystemSnapshot, event: str) -> tuple[Effect, ...]:
    """What answers a frame."""
    if "leaving" in here:
        return (Count(Counter.DROPPED_WHILE_LEAVING),)
    if (awaited := _awaited(here, event)) is not None:
        return () if awaited else (_UNKNOWN if event in _REJECTED else _NOT_OPEN,)
    return (_WHILE_SELECTED if "selected" in here else _WHILE_NOT_SELECTED)[event]


def _says(before: LinkState, move: Move) -> tuple[Effect, ...]:
    """What is sent and counted on an event."""
    here, event = before.snapshot, move.event
    if event in _FRAMES:
        return _answer(here, event)
    match event:
        case "disable_requested" | "close_requested":
            return (_SEPARATE,) if "selected" in here else ()
        case "linktest_requested":
            return (_PROBE,) if "quiet" in here else ()
        case "session_wanted":
            asks = "unasked" in here and _parameter(before, "second_host", "probes")
            return (_PROBE,) if asks and "quiet" in here else ()
        case "t6_linktest_expired":
            return (_MISSED,) if "probe_unanswered" in here else ()
        case _:
            return _SAYS.get(event, ())


def _says_what_it_should(before: LinkState, move: Move, _after: LinkState) -> bool:
    said = tuple(e for e in move.effects if isinstance(e, Send | Count | ContestSession))
    return said == _says(before, move)


def _is_over(before: LinkState, move: Move) -> bool:
    """Whether the step ends the connection."""
    here, event = before.snapshot, move.event
    if "connected" not in here:
        return False
    match event:
        case "separate_req_received":
            return "selected" in here
        case "t6_linktest_expired":
            last = _misses(before) + 1 >= _parameter(before, "linktest", "linktest_threshold")
            return last and "probe_unanswered" in here
        case "select_rsp_already_active":
            return any_of(here, "selecting", "reselecting")
        case "select_rsp_refused" | "select_rejected":
            return _selecting(here)
        case "disable_requested" | "close_requested":
            return "not_selected" in here
        case "isolate_requested":
            return any_of(here, "selecting")
        case "reset_requested":
            return any_of(here, "selecting") and "probing" in here
        case _:
            return event in _ENDS


def _is_selected(before: LinkState, move: Move) -> bool:
    """Whether there is a session after the step."""
    here, event = before.snapshot, move.event
    if "selected" not in here:
        asked = event == "select_rsp_accepted" and _selecting(here)
        return "not_selected" in here and (event == "select_req_received" or asked)
    ended = event == "deselect_rsp_ended" and _deselecting(here)
    return not ended and not _is_over(before, move) and event not in _UNSELECTS


_UNSELECTS = events("deselect_req_received", "disable_requested", "close_requested")


def _is_leaving(before: LinkState, move: Move) -> bool:
    """Whether the last frame of a connection is queued or sent after the step."""
    here, event = before.snapshot, move.event
    if "leaving" in here:
        return not _is_over(before, move)
    if "selected" in here:
        return event in ("disable_requested", "close_requested")
    return "not_selected" in here and event == "competing_select_req_received"


def _is_connected(before: LinkState, move: Move) -> bool:
    opened = move.event in ("tcp_opened", "tcp_accepted")
    return opened or ("connected" in before.snapshot and not _is_over(before, move))


def _waits_rightly(before: LinkState, move: Move, after: LinkState) -> bool:
    """Each request of ours waits from its sending to its answer, or to the end that it has."""
    here, there, event = before.snapshot, after.snapshot, move.event
    goes_on = any_of(there, "selected", "not_selected")
    begins = "selected" in there and "selected" not in here
    still = goes_on and event not in _DESELECT_ANSWERED and not begins
    return (
        _selecting(there)
        == (
            Send(Outgoing.SELECT_REQ) in move.effects
            or (goes_on and _selecting(here) and event not in _SELECT_ANSWERED)
        )
        and _deselecting(there)
        == (Send(Outgoing.DESELECT_REQ) in move.effects or (still and _deselecting(here)))
        and ("probing_link" in there)
        == (
            _PROBE in move.effects
            or (
                "probing_link" in here
                and "selected" in there
                and event not in _LINKTEST_ANSWERED
                and event != "t6_linktest_expired"
            )
        )
    )


def _counts_misses(before: LinkState, move: Move, after: LinkState) -> bool:
    here, there, event = before.snapshot, after.snapshot, move.event
    heard = event == "traffic_seen" or (_awaited(here, event) and event in _LINKTEST_ANSWERED)
    excused = event == "traffic_seen" or ("probe_excused" in here and _PROBE not in move.effects)
    if ("probe_excused" in there) != ("probing_link" in there and excused):
        return False
    if "selected" not in there:
        return True
    was = 0 if heard or "selected" not in here else _misses(before)
    return _misses(after) == was + (_MISSED in move.effects)


# When a timer that runs, and goes on to run, is started again. The interval may be: an answer is a
# byte that came, and from that byte it runs in any case.
_AGAIN: dict[str, frozenset[str]] = {
    "write_timeout": events("write_caught_up"),
    "write_deadline": events("write_caught_up"),
    "t6_linktest": events("linktest_interval_expired"),
}


def _times_rightly(before: LinkState, move: Move, after: LinkState) -> bool:
    begun = {each.timer.id for each in move.effects if isinstance(each, Start)}
    running = (before.world.timers & after.world.timers) - {"linktest_interval"}
    again = {timer for timer in running if move.event in _AGAIN.get(timer, frozenset())}
    return begun & running == again - {each for each in again if f"{each}_expired" == move.event}


def _bytes_by_themselves(before: LinkState, move: Move, after: LinkState) -> bool:
    """Receiver and transmitter do what bytes make them do, until the connection is over."""
    return "connected" not in after.snapshot or all(
        before.snapshot[chart.id] == after.snapshot[chart.id] or move.event in chart.events
        for chart in (RECEIVER, TRANSMITTER)
    )


def _a_step(move: Move) -> bool:
    """Other settings are adopted in a step of their own, and are no reason for any of these."""
    return move.event != ADOPTED


def _each(
    name: str,
    says: str,
    holds: Callable[[Here[WorldState], Move, Here[WorldState]], bool],
) -> EveryStep[Here[WorldState]]:
    return EveryStep(name, says, holds, _a_step)


def _callable(event: str, given: Callable[[LinkState], bool]) -> Possible[LinkState]:
    (name,) = events(event)
    return Possible(f"call {name.removesuffix('_requested')}", "this can be called", name, given)


REASONS: tuple[Property[LinkState], ...] = (
    _callable("close_requested", lambda here: not any_of(here.snapshot, "closed", "closing")),
    _callable("deselect_requested", lambda here: any_of(here.snapshot, "communicating")),
    _callable("linktest_requested", lambda here: any_of(here.snapshot, "quiet", "probing_link")),
    _each(
        "answers",
        "each frame of the peer is answered or counted exactly once, by what belongs to it, and "
        "nothing else is sent but a request of ours, when it is asked for or due",
        _says_what_it_should,
    ),
    _each(
        "connection",
        "a connection lasts until TCP, a timer, the peer or a user ends it, and no longer",
        lambda before, move, after: ("connected" in after.snapshot) == _is_connected(before, move),
    ),
    _each(
        "session",
        "a session begins with an accepted Select, and ends for a reason: Deselect, Separate, a "
        "loss, T6, the linktest, or a user",
        lambda before, move, after: ("selected" in after.snapshot) == _is_selected(before, move),
    ),
    _each(
        "goodbye",
        "a connection is left with a last frame when its user ends the session, or when it gets "
        "none, and what is written is followed by a half close",
        lambda before, move, after: (
            ("leaving" in after.snapshot) == _is_leaving(before, move)
            and move.effects.count(FinishTcp())
            == ("leaving" in before.snapshot and move.event == "flushed")
        ),
    ),
    _each(
        "given up",
        "a connection on which we cannot go on is reset, and no other",
        lambda before, move, _: (
            move.effects.count(ResetTcp()) == (_is_over(before, move) and move.event in _GIVES_UP)
        ),
    ),
    _each(
        "unanswered",
        "a request of ours waits until it is answered, or until nothing is waited for",
        _waits_rightly,
    ),
    _each(
        "misses",
        "a miss is a probe without any byte in T6; a sign of life clears the count, and nothing "
        "else does",
        _counts_misses,
    ),
    _each(
        "started again",
        "a timer that runs is started again only by what it waits for",
        _times_rightly,
    ),
    _each(
        "bytes",
        "reading and writing go on until the connection is over",
        _bytes_by_themselves,
    ),
)

# What bytes do to receiver and transmitter, and where they can do it.
_BYTES = {
    "frame_began": ("between_frames", "receiving"),
    "frame_completed": ("receiving", "between_frames"),
    "write_blocked": ("drained", "writing"),
    "write_caught_up": ("writing", "writing"),
    "write_drained": ("writing", "drained"),
}


def _byte(event: str, here: str, there: str) -> tuple[Property[LinkState], ...]:
    (name,) = events(event)
    return (
        Possible(
            f"{name} in {here}",
            "bytes come and go while there is a connection",
            name,
            lambda link: any_of(link.snapshot, "connected") and any_of(link.snapshot, here),
        ),
        EveryStep(
            name,
            "bytes lead where they should",
            lambda _before, _move, after: any_of(after.snapshot, there),
            lambda move: move.event == name,
        ),
    )


# For searches in which bytes are read and written.
TRAFFIC: tuple[Property[LinkState], ...] = tuple(
    claim for event, (here, there) in _BYTES.items() for claim in _byte(event, here, there)
)


# The end that listens: one connection.


def _asked_rightly(before: LinkState, move: Move, after: LinkState) -> bool:
    here, there, event = before.snapshot, after.snapshot, move.event
    asks = event == "session_wanted" and _parameter(before, "second_host", "probes") == 1
    still = "asked" in here and event != "t6_second_host_expired"
    return ("asked" in there) == ("selected" in there and (asks or still))


LISTENER_REASONS: tuple[Property[LinkState], ...] = (
    *REASONS,
    _each(
        "closed",
        "an accepted connection is closed when it is over or closed by its user, and not before",
        lambda before, move, after: (
            any_of(after.snapshot, "closed", "closing")
            == (
                any_of(before.snapshot, "closed", "closing")
                or _is_over(before, move)
                or move.event == "close_requested"
            )
        ),
    ),
    _each(
        "second host",
        "a second host that asks for the session has it probed, once in each T6",
        _asked_rightly,
    ),
)


# The end that dials, and dials again.


_DISABLED = ("idle", "resting", "disabling")


def _is_enabled(here: LinkState) -> bool:
    return not any_of(here.snapshot, *_DISABLED, "closing", "closed")


def _does_as_told(before: LinkState, move: Move, after: LinkState) -> bool:
    match move.event:
        case "enable_requested":
            return _is_enabled(after)
        case "disable_requested" | "close_requested":
            return not _is_enabled(after)
        case _:
            return _is_enabled(after) == _is_enabled(before)


def _is_closed(here: LinkState) -> bool:
    return any_of(here.snapshot, "closing", "closed")


def _ends_an_attempt(before: LinkState, after: LinkState) -> bool:
    return before.world.tcp is not Tcp.CLOSED and after.world.tcp is Tcp.CLOSED


def _breaker_moves(before: LinkState, move: Move, after: LinkState) -> bool:
    """Steps that settle an attempt have a claim of their own."""
    was, now = before.snapshot["breaker"], after.snapshot["breaker"]
    match move.event:
        case "isolate_requested":
            return "isolated" in now
        case "release_requested" | "reset_requested":
            return "breaker_closed" in now and now.values == (0,)
        case "open_time_expired":
            return "half_open" in now and now.values == was.values
        case _ if any_of(before.snapshot, "connecting", "selecting"):
            return True
        case _ if OpenTcp() in move.effects and "ready" in was:
            return "probing" in now and now.values == was.values
        case _:
            return now == was


def _is_used_up(before: LinkState, move: Move, after: LinkState) -> bool:
    """The one attempt, or the one connection, is over, and the end is still wanted, or again."""
    again = move.event == "enable_requested" and any_of(before.snapshot, "resting")
    return again or (_is_enabled(before) and _ends_an_attempt(before, after))


_DIALS: tuple[Property[LinkState], ...] = (
    *REASONS,
    _callable("enable_requested", lambda here: any_of(here.snapshot, *_DISABLED)),
    _callable("disable_requested", _is_enabled),
    _callable("select_requested", lambda here: any_of(here.snapshot, "unselected")),
    _callable("release_requested", lambda here: any_of(here.snapshot, "isolated")),
    _callable("isolate_requested", lambda _: True),
    _callable("reset_requested", lambda _: True),
)

DIALLER_REASONS: tuple[Property[LinkState], ...] = (
    *_DIALS,
    _each(
        "enabled",
        "an end is enabled or disabled by its user, and by nothing else",
        _does_as_told,
    ),
    _each(
        "closed",
        "an end is closed only when somebody closed it",
        lambda before, move, after: (
            _is_closed(after) == (_is_closed(before) or move.event == "close_requested")
        ),
    ),
    _each(
        "T5 follows",
        "after each attempt and each connection T5 runs, until it is over or the end is closed",
        lambda before, move, after: (
            any_of(after.snapshot, "waiting", "resting")
            == (
                not any_of(after.snapshot, "closed")
                and move.event != "t5_expired"
                and (
                    _ends_an_attempt(before, after) or any_of(before.snapshot, "waiting", "resting")
                )
            )
        ),
    ),
    _each(
        "breaker moves",
        "the breaker changes by its timer, by hand, and by attempts",
        _breaker_moves,
    ),
)
SINGLE_USE_REASONS: tuple[Property[LinkState], ...] = (
    *_DIALS,
    _each(
        "closed",
        "an end for one connection is closed when somebody closed it, or when its attempt or its "
        "connection is over and nobody has disabled it",
        lambda before, move, after: (
            _is_closed(after)
            == (
                _is_closed(before)
                or move.event == "close_requested"
                or (_is_used_up(before, move, after) and move.event != "disable_requested")
            )
        ),
    ),
)


# A breaker and a transaction by themselves.

_RESULTS = events("attempt_succeeded", "attempt_failed", "attempt_cancelled")
_CALLS = ("isolate_requested", "reset_requested")
_BY_HAND = events("release_requested", "reset_requested")
_GRANTED, _REFUSED = Tell("permit_granted"), Tell("permit_refused")
_OFFERED, _WITHDRAWN = Tell("permit_offered"), Tell("permit_withdrawn")


def _grants(here: ChartState) -> bool:
    """An attempt that asked now would get a permit."""
    return any_of(here.snapshot, "breaker_closed", "ready")


def _awaits_result(here: ChartState) -> bool:
    return any_of(here.snapshot, "breaker_closed", "probing")


def _opens(before: ChartState, move: Move) -> bool:
    last = before.snapshot["breaker"].values[0] + 1 >= _parameter(before, "breaker", "threshold")
    return move.event == "attempt_failed" and (
        "probing" in before.snapshot or ("breaker_closed" in before.snapshot and last)
    )


def _tells(before: ChartState, move: Move, after: ChartState) -> bool:
    """What the breaker says, to an attempt that asks or waits or runs."""
    here, event = before.snapshot, move.event
    stale = event in _RESULTS and not _awaits_result(before)
    told: list[Effect] = []
    if event == "permit_requested":
        told.append(_GRANTED if _grants(before) else _REFUSED)
    if stale or event == "stale_result_reported":
        told.append(Count(Counter.STALE_RESULT))
    half_open = "half_open" in here and event in ("isolate_requested", "reset_requested")
    closed = "breaker_closed" in here and event == "isolate_requested"
    if half_open or closed or ("breaker_closed" in here and _opens(before, move)):
        told.append(_WITHDRAWN)
    frees = _grants(after) and not _grants(before)
    if frees or (event == "reset_requested" and "half_open" in here):
        told.append(_OFFERED)
    return [each for each in move.effects if not isinstance(each, Start | Stop)] == told


def _is_where_it_should(before: ChartState, move: Move, after: ChartState) -> bool:
    here, there, event = before.snapshot, after.snapshot, move.event
    ends = _opens(before, move) or event in ("isolate_requested", *_BY_HAND)
    settled = event in _RESULTS and "probing" in here
    return (
        ("breaker_open" in there)
        == (
            _opens(before, move)
            or ("breaker_open" in here and not ends and event != "open_time_expired")
        )
        and ("isolated" in there)
        == (event == "isolate_requested" or ("isolated" in here and not ends))
        and ("probing" in there)
        == (
            (event == "permit_requested" and "ready" in here)
            or ("probing" in here and not ends and not settled)
        )
        and ("ready" in there)
        == (
            (event == "open_time_expired")
            or (event == "attempt_cancelled" and "probing" in here)
            or ("ready" in here and not ends and event != "permit_requested")
        )
    )


def _counts_failures(before: ChartState, move: Move, after: ChartState) -> bool:
    was, now = before.snapshot["breaker"].values[0], after.snapshot["breaker"].values[0]
    awaited = _awaits_result(before)
    if move.event in _BY_HAND or (awaited and move.event == "attempt_succeeded"):
        return now == 0
    failed = move.event == "attempt_failed" and "breaker_closed" in before.snapshot
    return now == was + failed


def _heard(event: str, *states: str) -> Possible[ChartState]:
    (name,) = events(event)
    says = "this is heard, whenever it comes"
    return Possible(f"hears {name}", says, name, lambda here: any_of(here.snapshot, *states))


_EVERYWHERE = ("breaker_closed", "breaker_open", "half_open", "isolated")
_HEARD = ("permit_requested", *_RESULTS, "stale_result_reported")

BREAKER_REASONS: tuple[Property[ChartState], ...] = (
    *(_heard(event, *_EVERYWHERE) for event in (*sorted(_HEARD), *_CALLS)),
    _heard("release_requested", "isolated"),
    _each(
        "told",
        "each attempt that asks gets one answer, one that was refused is offered a permit as soon "
        "as there is one, one whose permit is taken back is told, and a late result is counted",
        _tells,
    ),
    _each(
        "states",
        "the breaker opens with the last failure, is half-open after its time, lets one probe "
        "through, and is isolated and closed by hand",
        _is_where_it_should,
    ),
    _each(
        "failures",
        "a failure counts one, and only a success or a hand clears the count",
        _counts_failures,
    ),
)

_OUTCOMES = {
    "reply_received": "replied",
    "reject_received": "rejected",
    "abort_received": "aborted",
    "error_report_received": "faulted",
    "connection_ended": "lost",
    "request_cancelled": "cancelled",
    "t3_expired": "timed_out",
}


def _settles(before: ChartState, move: Move, after: ChartState) -> bool:
    """One event, one outcome, told once."""
    outcome = _OUTCOMES.get(move.event)
    told = move.effects.count(SettleTransaction())
    if outcome is None:
        return told == 0 and "open" in after.snapshot
    return told == 1 and outcome in after.snapshot and "pending" in before.snapshot


TRANSACTION_REASONS: tuple[Property[ChartState], ...] = (
    *(_heard(event, "pending") for event in _OUTCOMES if event != "t3_expired"),
    _each("outcome", "each outcome has its own cause and is told exactly once", _settles),
)

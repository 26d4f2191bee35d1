"""The claims about a link that a lease enables and disables, and about the lease by itself.

The peer, the network, the users and the store may do anything: an answer may be any of those that
the call can have, and may never come.
"""

from __future__ import annotations

from statecharts.declare import Start
from statecharts.explore.alone import Here
from statecharts.explore.moves import Kind, Move
from statecharts.explore.properties import (
    WHATEVER,
    Always,
    Assumption,
    Between,
    CanAlwaysReach,
    EveryStep,
    LeadsTo,
    Possible,
    Property,
    Sometimes,
    Stays,
)
from statecharts.hsms.systems import OWNED_LINK
from statecharts.hsms.timers import LEASE_END, OWN_DEADLINE
from statecharts.hsms.vocabulary import (
    AskStore,
    Count,
    OpenTcp,
    ReleaseLease,
    ResetTcp,
    Send,
    StoreCall,
)
from statecharts.hsms.world import Tcp

from .assumptions import TIME_PASSES
from .names import any_of, events
from .properties import ATTEMPTS, T5_RUNS, Link, link_claims

Lease = Here[frozenset[str]]

# Nothing helps: neither peer nor network nor store says anything. The user may call.
_BY_HAND = Assumption(
    "by hand",
    "the peer, the network and the store say nothing; users call, and timers fire",
    never=frozenset({Kind.PEER, Kind.FAULT, Kind.REPORT}),
)
# What the store is asked, by the states of the lease; in every other state it is asked nothing.
_ASKED = {
    "standby": StoreCall.WATCH,
    "acquiring": StoreCall.ACQUIRE,
    "renewing": StoreCall.RENEW,
    "asking_again": StoreCall.RENEW,
}
_GOES_ON = events(
    "renewal_expired",
    "renewal_retry_expired",
    "store_timeout_expired",
    "store_failed",
    "lease_poll_expired",
)
_SWITCHES = events("contend_requested", "withdraw_requested")
_LETS_GO = events("withdraw_requested", "own_deadline_expired")
_LOST = events("lease_refused", "lease_freed")


def _asked(here: Link) -> StoreCall | None:
    return next((call for state, call in _ASKED.items() if any_of(here.snapshot, state)), None)


def _owns(here: Link) -> bool:
    return any_of(here.snapshot, "owning", "draining")


def _wants(here: Link | Lease) -> bool:
    return here.snapshot["lease"].values == (1,)


def _rests(here: Link) -> bool:
    return any_of(here.snapshot, "idle", "resting")


def _is_enabled_as_owned(here: Link) -> bool:
    """A link that its user closes goes on to its end, also when the lease does not."""
    if any_of(here.snapshot, "owning"):
        return not _rests(here) and not any_of(here.snapshot, "disabling", "closed")
    if any_of(here.snapshot, "draining"):
        return any_of(here.snapshot, "disabling", "closing")
    return any_of(here.snapshot, "closed") if any_of(here.snapshot, "ended") else _rests(here)


def _wanted_as_the_state_says(here: Link | Lease) -> bool:
    if any_of(here.snapshot, "draining", "cut", "ended"):
        return True
    return _wants(here) != any_of(here.snapshot, "withdrawn")


def _is_given_back(before: Link, move: Move, after: Link) -> bool:
    """Whoever has had the lease, or may have been granted it, gives it back when it is over.

    An answer that refuses it, or that does not come, gives nothing to give back.
    """
    had = _owns(before) or (any_of(before.snapshot, "acquiring") and not _wants(after))
    closed = any_of(before.snapshot, "acquiring") and any_of(after.snapshot, "ended")
    over = not _owns(after) and not any_of(after.snapshot, "acquiring")
    return move.effects.count(ReleaseLease()) == int(over and (had or closed))


def _calls_do_as_they_say(before: Link, move: Move, after: Link) -> bool:
    """Who wants the lease asks for it; who does not want it has nothing to do with it any more.

    There is no call that changes nothing.
    """
    if _wants(before) == _wants(after):
        return False
    if any_of(before.snapshot, "yielding"):
        return _link_is_as_before(before, move, after)
    asks = any_of(after.snapshot, "acquiring") if any_of(before.snapshot, "withdrawn") else True
    if move.event == "contend_requested":
        return _wants(after) and asks
    return not _wants(after) and not any_of(after.snapshot, "standby", "acquiring", "owning")


def _link_is_as_before(before: Link, move: Move, after: Link) -> bool:
    others = (id for id in before.snapshot.charts if id != "lease")
    same = all(before.snapshot[id] == after.snapshot[id] for id in others)
    return same and not any(isinstance(each, Send | Count) for each in move.effects)


def _answered_rightly(before: Link, move: Move, after: Link) -> bool:
    here, there = before.snapshot, after.snapshot
    if move.event == "lease_granted":
        counts = Start(OWN_DEADLINE) in move.effects
        return counts and any_of(there, "settled", "ended")
    if any_of(here, "acquiring"):
        return any_of(there, "standby")
    if any_of(here, "standby"):
        return any_of(there, "acquiring" if move.event == "lease_freed" else "standby")
    return not any_of(there, "owning") if move.event in _LOST else any_of(there, "pausing")


def _waits_rightly(before: Link, move: Move, after: Link) -> bool:
    """What the timers of a lease lead to."""
    there = after.snapshot
    match move.event:
        case "lease_poll_expired":
            return any_of(there, "acquiring")
        case "renewal_expired":
            return any_of(there, "renewing")
        case "renewal_retry_expired":
            return any_of(there, "asking_again")
        case _:
            acquires = any_of(before.snapshot, "acquiring")
            return any_of(there, "standby" if acquires else "pausing")


def _in_doubt(here: Link) -> bool:
    return any_of(here.snapshot, "selected") and any_of(here.snapshot, "doubtful")


def _may_withdraw(here: Link | Lease) -> bool:
    return _wants(here) and not any_of(here.snapshot, "ended")


def _may_contend(here: Link | Lease) -> bool:
    return not _wants(here) and not any_of(here.snapshot, "ended")


_CAN_WITHDRAW = (
    "can withdraw",
    "who wants the lease can withdraw at any time",
    "withdraw_requested",
    _may_withdraw,
)
_CAN_CONTEND = (
    "can contend",
    "who does not want the lease can contend at any time",
    "contend_requested",
    _may_contend,
)

_OWNING: tuple[Property[Link], ...] = (
    *link_claims(OWNED_LINK, ("connecting",), ("closing",)),
    *ATTEMPTS,
    Always(
        "enabled as owned",
        "the link is enabled exactly while this process owns it, separates while the lease drains, "
        "and is at rest or closed in every other state",
        _is_enabled_as_owned,
    ),
    Always(
        "TCP with the lease",
        "TCP is open or opening only while the lease is in force",
        lambda here: here.world.tcp is Tcp.CLOSED or _owns(here),
    ),
    EveryStep(
        "dials with the lease",
        "a dial begins only while this process owns the tool",
        lambda _before, _, after: any_of(after.snapshot, "owning"),
        lambda move: OpenTcp() in move.effects,
    ),
    Between(
        "dials with a new grant",
        "when a lease has been given back, nothing dials before another one is granted",
        lambda move: ReleaseLease() in move.effects,
        lambda move: OpenTcp() in move.effects,
        lambda move: move.event == "lease_granted",
    ),
    EveryStep(
        "granted",
        "whoever gets the lease has the link enabled in the same step, and it stays enabled",
        lambda _before, _, after: (
            any_of(after.snapshot, "ended")
            or (any_of(after.snapshot, "owning") and not _rests(after))
        ),
        lambda move: move.event == "lease_granted",
    ),
    EveryStep(
        "last words",
        "nothing but Separate.req, and that first, is sent by a link whose lease drains",
        lambda before, move, _: (
            not any_of(before.snapshot, "draining")
            or not any(isinstance(each, Send) for each in move.effects)
        ),
        lambda _: True,
    ),
    Always(
        "cut is instant",
        "no step stops in a lease that is cut off",
        lambda here: not any_of(here.snapshot, "cut"),
    ),
    EveryStep(
        "cut",
        "at the end of the lease the link is reset and at rest, or has ended",
        lambda _before, move, after: (
            ResetTcp() in move.effects
            and after.world.tcp is Tcp.CLOSED
            and (_rests(after) or any_of(after.snapshot, "ended"))
        ),
        lambda move: move.event == LEASE_END.expired,
    ),
    EveryStep(
        "let go",
        "after its own deadline, and when its user withdraws, a process does not own the tool",
        lambda _before, _, after: not any_of(after.snapshot, "owning"),
        lambda move: move.event in _LETS_GO,
    ),
    Always(
        "one question",
        "the store is asked one thing at a time, and what the state says",
        lambda here: here.world.asking is _asked(here),
    ),
    EveryStep(
        "asked once",
        "the store is asked when a state begins that waits for it, and not again",
        lambda before, _, after: before.snapshot["lease"] != after.snapshot["lease"],
        lambda move: any(isinstance(each, AskStore) for each in move.effects),
    ),
    EveryStep(
        "given back",
        "a lease that is over is given back exactly once, when TCP is closed",
        _is_given_back,
        lambda _: True,
    ),
    EveryStep(
        "answers",
        "a grant is in force at once, and its time begins; a lease that another process has, or "
        "has had, is let go; where nothing answers, an owner is in doubt",
        _answered_rightly,
        lambda move: move.event in _LOST | events("lease_granted", "store_failed"),
    ),
    EveryStep(
        "lease timers",
        "who stands by asks again, an owner renews, and renews again when nothing answers",
        _waits_rightly,
        lambda move: move.event in _GOES_ON - events("store_failed"),
    ),
    EveryStep(
        "renewals are quiet",
        "asking, and an answer that does not come, change nothing about the link",
        _link_is_as_before,
        lambda move: move.event in _GOES_ON,
    ),
    EveryStep(
        "closing already",
        "a link that its user closes is closed as any other when its lease is over",
        lambda before, move, after: (
            not any_of(before.snapshot, "closing") or _link_is_as_before(before, move, after)
        ),
        lambda move: move.event in _LETS_GO | _LOST,
    ),
    EveryStep(
        "deadlines",
        "only a grant counts the time of a lease anew",
        lambda _before, move, _after: move.event == "lease_granted",
        lambda move: Start(OWN_DEADLINE) in move.effects,
    ),
    EveryStep(
        "one end",
        "the end of a lease is waited for from when the link separates, whatever users call then",
        lambda before, _move, _after: any_of(before.snapshot, "owning"),
        lambda move: Start(LEASE_END) in move.effects,
    ),
    EveryStep(
        "calls",
        "who contends asks for the lease, and who withdraws leaves it",
        _calls_do_as_they_say,
        lambda move: move.event in _SWITCHES,
    ),
    Always(
        "wanted",
        "whether the lease is wanted is as the state says",
        _wanted_as_the_state_says,
    ),
    EveryStep(
        "only users want",
        "what happens to a lease does not change whether it is wanted",
        lambda before, move, after: _wants(before) == _wants(after) or move.event in _SWITCHES,
        lambda _: True,
    ),
    Possible(*_CAN_WITHDRAW),
    Possible(*_CAN_CONTEND),
    Always(
        "ended",
        "the lease ends with the link",
        lambda here: any_of(here.snapshot, "ended") == any_of(here.snapshot, "closed"),
    ),
    CanAlwaysReach(
        "way out",
        "a user can withdraw from everywhere, whatever peer, network and store do not say",
        lambda here: any_of(here.snapshot, "withdrawn"),
        lambda here: not any_of(here.snapshot, "ended", "closing"),
        _BY_HAND,
    ),
    CanAlwaysReach(
        "end",
        "a user can close from everywhere, whatever peer, network and store do not say",
        lambda here: any_of(here.snapshot, "ended"),
        under=_BY_HAND,
    ),
    LeadsTo(
        "own deadline",
        "an owner that the store does not answer lets the lease go",
        lambda here: any_of(here.snapshot, "owning"),
        lambda here: not any_of(here.snapshot, "owning"),
        TIME_PASSES,
    ),
    LeadsTo(
        "rest",
        "a lease that drains is given back, although nobody says anything",
        lambda here: any_of(here.snapshot, "draining"),
        lambda here: not any_of(here.snapshot, "draining"),
        TIME_PASSES,
    ),
    LeadsTo(
        "asks again",
        "who stands by asks again, although nobody tells that the lease is free",
        lambda here: any_of(here.snapshot, "standby"),
        lambda here: any_of(here.snapshot, "acquiring"),
        TIME_PASSES,
    ),
    Sometimes("doubt", "a link is selected in doubt", _in_doubt),
)


OWNING_LINK: tuple[Property[Link], ...] = (
    *_OWNING,
    T5_RUNS,
    EveryStep(
        "ends by its user",
        "a link ends only when its user closes it, whatever becomes of its lease",
        lambda before, move, after: (
            any_of(before.snapshot, "closing", "closed")
            or not any_of(after.snapshot, "closed")
            or move.event == "close_requested"
        ),
        lambda _: True,
    ),
)
OWNED_SINGLE_USE: tuple[Property[Link], ...] = (
    *_OWNING,
    Always(
        "once",
        "an end for one connection never waits to retry",
        lambda here: not any_of(here.snapshot, "waiting"),
    ),
)

LEASE_ALONE: tuple[Property[Lease], ...] = (
    Possible(*_CAN_WITHDRAW),
    Possible(*_CAN_CONTEND),
    EveryStep(
        "answers are awaited",
        "an answer of the store is taken only where it is waited for",
        lambda before, _move, _after: any_of(before.snapshot, *_ASKED),
        lambda move: move.event in _LOST | events("lease_granted", "store_failed"),
    ),
    Always(
        "wanted",
        "whether the lease is wanted is as the state says",
        _wanted_as_the_state_says,
    ),
    Stays(
        "ended is final",
        "no event leads out of Ended",
        lambda here: any_of(here.snapshot, "ended"),
        WHATEVER,
    ),
    CanAlwaysReach(
        "way back",
        "until it has ended, the lease can be granted again",
        lambda here: any_of(here.snapshot, "owner"),
        lambda here: not any_of(here.snapshot, "ended"),
    ),
)

"""The claims about two HSMS ends and the cable between them."""

from __future__ import annotations

from statecharts.explore.pair import Both
from statecharts.explore.properties import (
    Always,
    CanAlwaysReach,
    EveryStep,
    LeadsTo,
    Property,
    Sometimes,
    Stays,
)
from statecharts.hsms.vocabulary import Outgoing, Send

from .assumptions import QUIET, SETTLED
from .model import HEALTHY, End, Marker
from .names import any_of

View = Both[End]


def _selected(end: End) -> bool:
    return "selected" in end.snapshot


def _both_selected(ends: View) -> bool:
    return _selected(ends.left) and _selected(ends.right)


def _one_selected(ends: View) -> bool:
    """One end has a session without the other. A ghost always has it alone."""
    alone = ends.right.ghost is not None and "selected" in ends.right.ghost.snapshot
    return alone or _selected(ends.left) != _selected(ends.right)


def _wants_to_be_selected(ends: View) -> bool:
    """The dialling end is enabled and not isolated, the other one listens."""
    return not (
        any_of(ends.left.snapshot, "idle", "resting", "disabling", "closing", "closed", "isolated")
        or any_of(ends.right.snapshot, "closing", "closed")
    )


def _at_peace(ends: View) -> bool:
    """Both selected, and no frame in a queue that would change it."""
    return ends.shared == HEALTHY and all(
        "communicating" in end.snapshot and _PEACEFUL.issuperset(end.inbox)
        for end in (ends.left, ends.right)
    )


_PEACEFUL = frozenset(
    {
        Marker.DATA,
        Marker.OLD_LINKTEST_REQ,
        Marker.OLD_LINKTEST_RSP,
        Outgoing.LINKTEST_REQ,
        Outgoing.LINKTEST_RSP,
        Outgoing.REJECT_NOT_OPEN,
        Outgoing.REJECT_NOT_SELECTED,
    }
)

TWO_ENDS: tuple[Property[View], ...] = (
    Sometimes("selected", "both ends are SELECTED", _both_selected),
    LeadsTo(
        "agreement",
        "when only one end is SELECTED, this does not last for ever, even on a cut cable",
        _one_selected,
        lambda ends: not _one_selected(ends),
        QUIET,
    ),
    LeadsTo(
        "recovery",
        "once the network is whole, both ends become SELECTED without help",
        _wants_to_be_selected,
        _both_selected,
        SETTLED,
    ),
    Stays(
        "peace",
        "both ends stay SELECTED, linktests included, however often a second host asks",
        _at_peace,
        SETTLED,
    ),
    CanAlwaysReach(
        "way back",
        "whatever users and faults have done, both ends can be SELECTED again",
        _both_selected,
        lambda ends: (
            not any(any_of(end.snapshot, "closed", "closing") for end in (ends.left, ends.right))
        ),
    ),
    Always(
        "bounded",
        "no queue grows without bound",
        lambda ends: max(len(ends.left.inbox), len(ends.right.inbox)) <= LONGEST_INBOX,
    ),
)
# More than in any search, and far less than a queue reaches that grows in every round.
LONGEST_INBOX = 16

# An end without an interval between linktests keeps a dead session until somebody asks for it.
UNWATCHED: tuple[Property[View], ...] = tuple(
    claim for claim in TWO_ENDS if claim.name != "agreement"
)

# With users that deselect there are frames to reject.
SESSIONS: tuple[Property[View], ...] = (
    *TWO_ENDS,
    EveryStep(
        "rejects end",
        "a Reject.req is never answered",
        lambda _before, move, _after: not any(isinstance(each, Send) for each in move.effects),
        lambda move: move.carries.startswith("Reject.req"),
    ),
)

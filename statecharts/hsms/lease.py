"""The lease: which of several processes may have the link of a tool, as one of them sees it.

A store gives the lease of a tool to one process at a time, for a limited time. This chart enables
the link when the lease is granted, and disables it when the lease cannot be renewed in time.

* The link is enabled exactly in ``owning``. ``yielding`` is the way from there to a link at rest:
  in ``draining`` it separates, and when the lease has no more time it is ``cut``, where no step
  stops. The lease is given back only when the link is at rest.
* The own deadline and the end of the lease run from the moment at which the store was asked for
  the grant that is in force, on the owner's own clock. So they are over before the store may give
  the lease to another one, whatever happens to the answers.
* The store is asked one thing at a time. Each state that waits for an answer asks on entry, and
  stops asking on exit. A watch answers only when there is something to tell.
* ``wanted``: whether the user wants this process to have the tool. It decides what follows when
  the link has come to rest; in every other state it is as the state says.

Diagram: ``diagrams/lease.svg``.
"""

from __future__ import annotations

from statecharts.declare import Chart, Set, State, Tell, Variable

from .timers import (
    LEASE_END,
    LEASE_POLL,
    OWN_DEADLINE,
    RENEWAL,
    RENEWAL_RETRY,
    STORE_TIMEOUT,
)
from .vocabulary import AskStore, ReleaseLease, StopAsking, StoreCall, rule

_ENABLE, _DISABLE = Tell("enable_requested"), Tell("disable_requested")
# The link cannot go on: what is left of it is cut.
_CUT = Tell("communication_failed")
_RELEASE = ReleaseLease()
_WANTED, _UNWANTED = Set("wanted", 1), Set("wanted", 0)
# What a call to the store comes to when it brings no answer.
_UNANSWERED = ("store_failed", STORE_TIMEOUT.expired)


def _asking(id: str, label: str, call: StoreCall) -> State:
    """A state that waits for the store's answer."""
    return State(id, label, timer=STORE_TIMEOUT, enter=(AskStore(call),), exit=(StopAsking(),))


LEASE = Chart(
    id="lease",
    title="Lease of a tool",
    variables=(Variable("wanted", highest=1),),
    local=("contend_requested", "withdraw_requested"),
    reported=(
        "lease_granted",
        "lease_refused",
        "lease_freed",
        "store_failed",
        "link_rested",
        "link_ended",
    ),
    states=(
        State("withdrawn", "Withdrawn"),
        State(
            "standby",
            "Standby",
            timer=LEASE_POLL,
            enter=(AskStore(StoreCall.WATCH),),
            exit=(StopAsking(),),
        ),
        _asking("acquiring", "Acquiring", StoreCall.ACQUIRE),
        State(
            "owning",
            "Owning",
            timer=OWN_DEADLINE,
            children=(
                State(
                    "owner",
                    "Owner",
                    children=(
                        State("settled", "Lease in force", timer=RENEWAL),
                        _asking("renewing", "Renewing", StoreCall.RENEW),
                    ),
                ),
                State(
                    "doubtful",
                    "Doubtful",
                    children=(
                        State("pausing", "Renewal unanswered", timer=RENEWAL_RETRY),
                        _asking("asking_again", "Renewing again", StoreCall.RENEW),
                    ),
                ),
            ),
        ),
        State(
            "yielding",
            "Yielding",
            children=(State("draining", "Draining", timer=LEASE_END), State("cut", "Cut off")),
        ),
        State("ended", "Ended"),
    ),
    transitions=(
        # No lease, and none wanted.
        rule("lease/contends", "contend_requested", "withdrawn", "acquiring", _WANTED),
        rule("lease/rested-already", "link_rested", "withdrawn"),
        rule("lease/ended-idle", "link_ended", "withdrawn", "ended"),
        # Another process has the lease, or the store does not answer.
        rule("lease/asks-again", LEASE_POLL.expired, "standby", "acquiring"),
        rule("lease/freed", "lease_freed", "standby", "acquiring"),
        rule("lease/unwatched", "store_failed", "standby"),
        rule("lease/withdraws", "withdraw_requested", "standby", "withdrawn", _UNWANTED),
        rule("lease/rested-already", "link_rested", "standby"),
        rule("lease/ended-watching", "link_ended", "standby", "ended"),
        # The store is asked for the lease. It may be granted although no answer comes.
        rule(
            "lease/granted lease/dials lease/early", "lease_granted", "acquiring", "owning", _ENABLE
        ),
        rule("lease/refused", "lease_refused", "acquiring", "standby"),
        *(rule("lease/unanswered", event, "acquiring", "standby") for event in _UNANSWERED),
        rule(
            "lease/withdraws-asking",
            "withdraw_requested",
            "acquiring",
            "withdrawn",
            _UNWANTED,
            _RELEASE,
        ),
        rule("lease/rested-already", "link_rested", "acquiring"),
        rule("lease/ended-asking", "link_ended", "acquiring", "ended", _RELEASE),
        # The lease is in force.
        rule("lease/renews", RENEWAL.expired, "settled", "renewing"),
        rule("lease/renewed", "lease_granted", "renewing", "owning"),
        *(rule("lease/doubted", event, "renewing", "pausing") for event in _UNANSWERED),
        rule("lease/renews-again", RENEWAL_RETRY.expired, "pausing", "asking_again"),
        rule("lease/renewed", "lease_granted", "asking_again", "owning"),
        *(rule("lease/still-doubted", event, "asking_again", "pausing") for event in _UNANSWERED),
        # Another process has it, or has had it meanwhile.
        *(
            rule("lease/lost", event, state, "draining", _DISABLE)
            for event in ("lease_refused", "lease_freed")
            for state in ("renewing", "asking_again")
        ),
        rule(
            "lease/over lease/over-asking lease/separates",
            OWN_DEADLINE.expired,
            "owning",
            "draining",
            _DISABLE,
        ),
        rule(
            "lease/yields lease/yields-asking",
            "withdraw_requested",
            "owning",
            "draining",
            _UNWANTED,
            _DISABLE,
        ),
        rule(
            "lease/ended lease/ended-asking lease/closed", "link_ended", "owning", "ended", _RELEASE
        ),
        # The link is on its way to rest, and gets no more time than the lease has.
        rule("lease/cut lease/cuts", LEASE_END.expired, "draining", "cut", _CUT),
        rule(
            "lease/released lease/given-back lease/cuts",
            "link_rested",
            "yielding",
            "standby",
            _RELEASE,
            when="wanted == 1",
        ),
        rule(
            "lease/withdrawn", "link_rested", "yielding", "withdrawn", _RELEASE, when="wanted == 0"
        ),
        rule("lease/ended lease/closed", "link_ended", "yielding", "ended", _RELEASE),
        rule(
            "lease/wanted-again",
            "contend_requested",
            "yielding",
            None,
            _WANTED,
            when="wanted == 0",
        ),
        rule(
            "lease/unwanted", "withdraw_requested", "yielding", None, _UNWANTED, when="wanted == 1"
        ),
    ),
    ends=("ended",),
)

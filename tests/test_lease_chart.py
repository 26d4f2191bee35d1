"""The lease chart, and the link that it enables, at each moment in which somebody interferes."""

from __future__ import annotations

from functools import cache

import pytest
import trio

from statecharts import Chart, Effect, Machine, NotAllowedError, Router, Start, Stop
from statecharts.explore import Checker, Graph, Outcome
from statecharts.explore.alone import May
from statecharts.explore.mutants import mutants
from statecharts.hsms import ACTIVE, BREAKER, LEASE, OWNED_ACTIVE, OWNED_LINK
from statecharts.hsms.timers import LEASE_END, OWN_DEADLINE, T5
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    AskStore,
    CloseTcp,
    FinishTcp,
    OpenTcp,
    Outgoing,
    ReleaseLease,
    ResetTcp,
    Send,
    StopAsking,
    StoreCall,
)
from statecharts.hsms.world import World, after_all
from tests.proof.binding import machine, with_chart
from tests.proof.outside import HsmsOutside
from tests.proof.owned_properties import LEASE_ALONE, OWNED_SINGLE_USE, OWNING_LINK
from tests.proof.searches import NEVER_TAKEN, OWNED_LINKS, OWNED_LINKS_WITHOUT_TRAFFIC
from tests.support.counterexample import replay
from tests.support.patience import PATIENCE

WATCH, ACQUIRE, RENEW = (AskStore(call) for call in StoreCall)
STOP, RELEASE = StopAsking(), ReleaseLease()
SEPARATE = Send(Outgoing.SEPARATE_REQ)


QUICK = OWNED_LINKS_WITHOUT_TRAFFIC[0]


class Owned:
    """A link with a lease, and its world: an effect that cannot be done fails the test."""

    def __init__(self) -> None:
        self._router = Router(OWNED_LINK, {BREAKER.id: Machine(BREAKER, threshold=1)})
        self.here = self._router.initial
        self.world = after_all(World(), "", self._router.initial_effects)

    def __call__(self, *events: str) -> tuple[Effect, ...]:
        """What the last of these events asks for, without timers."""
        effects: tuple[Effect, ...] = ()
        for event in events:
            self.here, effects, _ = self._router.step(self.here, event)
            self.world = after_all(self.world, event, effects)
        return tuple(each for each in effects if not isinstance(each, Start | Stop))

    def takes(self, event: str) -> bool:
        return self._router.takes(self.here, event)

    @property
    def at(self) -> tuple[str, str]:
        """Where the lease is, and where the connection."""
        return self.here["lease"].leaves, self.here["connection_active"].leaves


# How a link comes to each moment.
OWNER = ("contend_requested", "lease_granted")
CONNECTED = (*OWNER, "tcp_opened")
SELECTED = (*CONNECTED, "select_rsp_accepted")
DOUBTFUL = ("renewal_expired", "store_timeout_expired")
RESTING = (*OWNER, "tcp_failed", "withdraw_requested")
BLOCKED = (*OWNER, "tcp_failed", "t5_expired")
STANDBY = ("contend_requested", "lease_refused")


@pytest.mark.parametrize(
    ("way", "event", "asked", "at"),
    [
        # The lease comes.
        ((), "contend_requested", (ACQUIRE,), ("acquiring", "idle")),
        (OWNER[:1], "lease_granted", (STOP, OpenTcp()), ("settled", "connecting")),
        (OWNER[:1], "lease_refused", (STOP, WATCH), ("standby", "idle")),
        (OWNER[:1], "store_failed", (STOP, WATCH), ("standby", "idle")),
        (STANDBY, "store_failed", (), ("standby", "idle")),
        (STANDBY, "lease_freed", (STOP, ACQUIRE), ("acquiring", "idle")),
        (STANDBY, "lease_poll_expired", (STOP, ACQUIRE), ("acquiring", "idle")),
        # It comes back before T5 is over, or after it.
        ((*RESTING, "contend_requested"), "lease_granted", (STOP,), ("settled", "waiting")),
        (RESTING, "t5_expired", (), ("withdrawn", "idle")),
        ((*RESTING, "contend_requested"), "t5_expired", (), ("acquiring", "idle")),
        ((*RESTING, *STANDBY), "t5_expired", (), ("standby", "idle")),
        # It is renewed, or not.
        (SELECTED, "renewal_expired", (RENEW,), ("renewing", "communicating")),
        ((*SELECTED, "renewal_expired"), "lease_granted", (STOP,), ("settled", "communicating")),
        ((*SELECTED, *DOUBTFUL), "renewal_retry_expired", (RENEW,),
         ("asking_again", "communicating")),
        ((*SELECTED, *DOUBTFUL, "renewal_retry_expired"), "lease_granted", (STOP,),
         ("settled", "communicating")),
        # It is lost while nothing is open, and while something is.
        ((*BLOCKED, "renewal_expired"), "lease_refused", (STOP, RELEASE, WATCH),
         ("standby", "idle")),
        ((*OWNER, "renewal_expired"), "lease_refused", (STOP, AbandonTcp(), RELEASE, WATCH),
         ("standby", "resting")),
        ((*OWNER, "renewal_expired"), "lease_freed", (STOP, AbandonTcp(), RELEASE, WATCH),
         ("standby", "resting")),
        (CONNECTED, "own_deadline_expired", (CloseTcp(), RELEASE, WATCH), ("standby", "resting")),
        # Withdrawn while nothing is open.
        (BLOCKED, "withdraw_requested", (RELEASE,), ("withdrawn", "idle")),
        (OWNER[:1], "withdraw_requested", (STOP, RELEASE), ("withdrawn", "idle")),
        (STANDBY, "withdraw_requested", (STOP,), ("withdrawn", "idle")),
        # Closed at each moment.
        ((), "close_requested", (), ("ended", "closed")),
        (STANDBY, "close_requested", (STOP,), ("ended", "closed")),
        (OWNER[:1], "close_requested", (STOP, RELEASE), ("ended", "closed")),
        (OWNER, "close_requested", (AbandonTcp(), RELEASE), ("ended", "closed")),
        (BLOCKED, "close_requested", (RELEASE,), ("ended", "closed")),
        ((*BLOCKED, "renewal_expired"), "close_requested", (STOP, RELEASE), ("ended", "closed")),
        ((*BLOCKED, "isolate_requested"), "close_requested", (RELEASE,), ("ended", "closed")),
        (RESTING, "close_requested", (), ("ended", "closed")),
    ],
)  # fmt: skip
def test_each_moment_has_its_answer(
    way: tuple[str, ...], event: str, asked: tuple[Effect, ...], at: tuple[str, str]
) -> None:
    link = Owned()
    link(*way)

    assert link(event) == asked
    assert link.at == at


ENDS = {
    "over": ("own_deadline_expired",),
    "over in doubt": (*DOUBTFUL, "own_deadline_expired"),
    "over while it is renewed": ("renewal_expired", "own_deadline_expired"),
    "lost": ("renewal_expired", "lease_refused"),
    "lost and free": ("renewal_expired", "lease_freed"),
    "lost in doubt": (*DOUBTFUL, "renewal_retry_expired", "lease_refused"),
}


@pytest.mark.parametrize("why", ENDS)
def test_a_selected_link_separates_and_then_the_lease_is_given_back(why: str) -> None:
    link = Owned()
    asked = link(*SELECTED, *ENDS[why])

    assert SEPARATE in asked
    assert RELEASE not in asked
    assert link.at == ("draining", "disabling")
    assert link("flushed") == (FinishTcp(),)
    back = link("tcp_closed")
    assert [each for each in back if each in (CloseTcp(), RELEASE, WATCH)] == [
        CloseTcp(),
        RELEASE,
        WATCH,
    ]
    assert link.at == ("standby", "resting")


@pytest.mark.parametrize("why", ENDS)
def test_what_is_still_open_at_the_end_of_the_lease_is_cut(why: str) -> None:
    link = Owned()
    link(*SELECTED, *ENDS[why])

    asked = link("lease_end_expired")
    order = [each for each in asked if each in (CloseTcp(), ResetTcp(), RELEASE, WATCH)]
    assert order == [CloseTcp(), ResetTcp(), RELEASE, WATCH]
    assert link.at == ("standby", "resting")
    assert link.world.timers == {"t5", "lease_poll"}


def test_a_link_that_its_user_closes_keeps_its_lease_until_it_is_closed() -> None:
    link = Owned()
    assert SEPARATE in link(*SELECTED, "close_requested")
    assert link.at == ("settled", "closing")
    assert link("renewal_expired") == (RENEW,)
    assert link("lease_granted") == (STOP,)
    assert link("own_deadline_expired") == ()
    assert link.at == ("draining", "closing")
    assert RELEASE in link("linger_expired")
    assert link.at == ("ended", "closed")


def test_a_link_that_its_user_closes_is_cut_at_the_end_of_its_lease() -> None:
    link = Owned()
    link(*SELECTED, "close_requested", "own_deadline_expired")

    assert [each for each in link("lease_end_expired") if each in (ResetTcp(), RELEASE)] == [
        ResetTcp(),
        RELEASE,
    ]
    assert link.at == ("ended", "closed")


def test_a_user_may_close_what_drains() -> None:
    link = Owned()
    link(*SELECTED, "own_deadline_expired", "close_requested")

    assert link.at == ("draining", "closing")
    link("tcp_closed")
    assert link.at == ("ended", "closed")


@pytest.mark.parametrize(
    ("calls", "follows"),
    [
        (("withdraw_requested",), "withdrawn"),
        (("withdraw_requested", "contend_requested"), "standby"),
        (("withdraw_requested", "contend_requested", "withdraw_requested"), "withdrawn"),
        (("own_deadline_expired", "withdraw_requested"), "withdrawn"),
        (("own_deadline_expired", "withdraw_requested", "contend_requested"), "standby"),
    ],
)
@pytest.mark.parametrize("rests", ["tcp_closed", "linger_expired", "lease_end_expired"])
def test_the_latest_call_decides_what_follows_when_the_link_has_come_to_rest(
    calls: tuple[str, ...], follows: str, rests: str
) -> None:
    link = Owned()
    link(*SELECTED, *calls)

    assert RELEASE in link(rests)
    assert link.at == (follows, "resting")


@pytest.mark.parametrize(
    ("way", "event"),
    [
        ((), "withdraw_requested"),
        (OWNER[:1], "contend_requested"),
        (OWNER, "contend_requested"),
        (STANDBY, "contend_requested"),
        ((*SELECTED, "withdraw_requested"), "withdraw_requested"),
        ((*SELECTED, "own_deadline_expired"), "contend_requested"),
        ((*OWNER, "close_requested"), "contend_requested"),
        ((*OWNER, "close_requested"), "withdraw_requested"),
        # An answer that comes too late.
        (STANDBY, "lease_granted"),
        (OWNER, "lease_granted"),
        (OWNER, "store_failed"),
        ((*SELECTED, "own_deadline_expired"), "lease_granted"),
        ((*OWNER, "close_requested"), "lease_granted"),
    ],
)
def test_what_changes_nothing_is_not_taken(way: tuple[str, ...], event: str) -> None:
    link = Owned()
    link(*way)

    assert not link.takes(event)
    with pytest.raises(NotAllowedError, match="lease does not take"):
        link(event)


def test_a_renewal_restarts_the_own_deadline_and_nothing_else_does() -> None:
    router = Router(OWNED_LINK)
    here = router.initial
    counted = []
    way = (*SELECTED, *DOUBTFUL, "renewal_retry_expired", "store_failed", "renewal_retry_expired",
           "lease_granted", "own_deadline_expired")  # fmt: skip
    for event in way:
        here, effects, _ = router.step(here, event)
        counted += [event for each in effects if each == Start(OWN_DEADLINE)]
        counted += [event for each in effects if each == Start(LEASE_END)]

    assert counted == ["lease_granted", "lease_granted", "own_deadline_expired"]


def test_t5_runs_on_whoever_has_the_lease_meanwhile() -> None:
    router = Router(OWNED_LINK)
    here = router.initial
    started = 0
    for event in (*RESTING, *STANDBY, "lease_freed", "lease_granted"):
        here, effects, _ = router.step(here, event)
        started += effects.count(Start(T5))

    assert started == 1
    assert "waiting" in here


def test_a_breaker_that_is_isolated_keeps_the_tool_from_everybody_while_the_lease_is_renewed() -> (
    None
):
    link = Owned()
    link(*OWNER, "isolate_requested", "t5_expired")

    assert link.at == ("settled", "blocked")
    assert link("renewal_expired") == (RENEW,)
    assert link("lease_granted") == (STOP,)
    assert link("release_requested") == (OpenTcp(),)


def test_the_connection_of_an_owned_link_differs_only_in_what_concerns_its_lease() -> None:
    """What it does in every state that both have is the same, but for what it tells the lease."""
    plain, owned = Machine(ACTIVE), Machine(OWNED_ACTIVE)
    told = {"link_rested", "link_ended"}
    differ = set()
    for here in plain.reachable():
        if "restarting" in here:
            continue
        same = owned.snapshot(here.states, here.values)
        for event in plain.events:
            if not plain.takes(here, event):
                if owned.takes(same, event):
                    differ.add((here.leaves, event))
                continue
            if not owned.takes(same, event):
                differ.add((here.leaves, event))
                continue
            one, two = plain.step(here, event), owned.step(same, event)
            asked = tuple(each for each in two.effects if getattr(each, "event", "") not in told)
            if one.snapshot != two.snapshot or one.effects != asked:
                differ.add((here.leaves, event))

    assert differ == {("disabling", "enable_requested"), ("closing", "disable_requested")}


def test_every_transition_of_an_owned_link_is_taken_but_one_that_is_never_needed() -> None:
    taken: set[tuple[str, str]] = set()
    for search in OWNED_LINKS:
        model = search.model(machine)
        charts = {chart.id: chart for chart in model.router.system.charts}
        taken |= {(id, str(charts[id].transitions[on])) for id, on in Graph(model).taken()}
    idle = {
        (chart.id, str(on))
        for chart in (LEASE, OWNED_ACTIVE)
        for on in chart.transitions
        if (chart.id, str(on)) not in taken
    }

    assert idle == set(NEVER_TAKEN)


@pytest.mark.parametrize(
    ("asking", "answers"),
    [
        (None, set()),
        (StoreCall.WATCH, {"lease_freed", "store_failed"}),
        (StoreCall.ACQUIRE, {"lease_granted", "lease_refused", "store_failed"}),
        (StoreCall.RENEW, {"lease_granted", "lease_refused", "lease_freed", "store_failed"}),
    ],
)
def test_in_the_search_a_store_answers_what_it_is_asked_and_each_answer_must_be_taken(
    asking: StoreCall | None, answers: set[str]
) -> None:
    outside = HsmsOutside(OWNED_LINK)
    every = ("lease_granted", "lease_refused", "lease_freed", "store_failed")
    world = World(asking=asking)

    assert {each for each in every if outside.may(world, each) is May.ALWAYS} == answers
    assert {each for each in every if outside.may(world, each) is May.NEVER} == {*every} - answers


async def test_a_counterexample_of_an_owned_link_is_replayed_on_the_driver() -> None:
    graph = Graph(QUICK.model(machine))
    in_doubt = next(
        number
        for number, here in enumerate(graph.states)
        if "deselecting" in here.snapshot and "asking_again" in here.snapshot
    )
    trace = graph.trace(in_doubt)
    steps = [(move.actor, move.event, [*map(str, move.effects)]) for move in trace.moves]

    with trio.fail_after(PATIENCE):
        await replay("owned_link", steps, {"breaker": {"threshold": 2}})


@cache
def faults(chart: Chart) -> dict[str, Chart]:
    return {each.fault: each.chart for each in mutants(chart)}


@pytest.mark.parametrize(
    ("claim", "chart", "fault", "of"),
    [
        ("enabled as owned", LEASE, "target cut instead", "standby: link_ended -> ended"),
        ("TCP with the lease", LEASE, "target cut instead", "renewing: store_failed -> pausing"),
        ("cut is instant", LEASE, "target cut instead", "withdrawn: link_ended -> ended"),
        ("asked once", LEASE, "leave and enter again instead", "standby: store_failed"),
        ("asked once", LEASE, "leave and enter again instead", "acquiring: link_rested"),
        ("given back", LEASE, "add ReleaseLease()", "withdrawn: link_rested"),
        ("given back", LEASE, "drop ReleaseLease()", "yielding: link_ended -> ended"),
        ("given back", LEASE, "drop ReleaseLease()", "acquiring: withdraw_requested -> withdrawn"),
        ("given back", LEASE, "add ReleaseLease()", "standby: withdraw_requested -> withdrawn"),
        ("answers", LEASE, "no target", "standby: lease_freed -> acquiring"),
        ("answers", LEASE, "target renewing instead", "acquiring: lease_granted -> owning"),
        ("answers", LEASE, "keep own_deadline", "renewing: lease_granted -> owning"),
        ("lease timers", LEASE, "target settled instead",
         "renewing: store_timeout_expired -> pausing"),
        ("closing already", OWNED_ACTIVE, "add Count(reject_unknown)",
         "closing: disable_requested"),
        ("one end", LEASE, "leave and enter again instead",
         "yielding: contend_requested [wanted == 0]"),
        ("calls", LEASE, "target standby instead", "withdrawn: contend_requested -> acquiring"),
        ("calls", LEASE, "drop wanted := 0", "owning: withdraw_requested -> draining"),
        ("wanted", LEASE, "drop wanted := 1", "withdrawn: contend_requested -> acquiring"),
        ("only users want", LEASE, "add wanted := 1", "withdrawn: link_ended -> ended"),
        ("can withdraw", LEASE, "drop", "standby: withdraw_requested -> withdrawn"),
        ("can contend", LEASE, "drop", "yielding: contend_requested [wanted == 0]"),
        ("ended", LEASE, "target cut instead", "withdrawn: link_ended -> ended"),
        ("way out", LEASE, "target cut instead", "withdrawn: link_ended -> ended"),
        ("end", LEASE, "target cut instead", "withdrawn: link_ended -> ended"),
        ("asks again", LEASE, "target withdrawn instead",
         "standby: lease_poll_expired -> acquiring"),
    ],
)  # fmt: skip
def test_each_fault_fails_the_claim_about_it(claim: str, chart: Chart, fault: str, of: str) -> None:
    found = faults(chart)
    joined = f"{fault} transition {of}" if fault == "drop" else f"{fault} of transition {of}"
    (about,) = (each for each in QUICK.properties if each.name == claim)
    graph = Graph(QUICK.model(with_chart(found[joined])))

    assert Checker(graph).check((about,))[0].outcome is Outcome.FAILED


def test_the_claims_have_names_of_their_own() -> None:
    for claims in (OWNING_LINK, OWNED_SINGLE_USE):
        names = [claim.name for claim in claims]
        assert len(names) == len(set(names))
    alone = [claim.name for claim in LEASE_ALONE]
    assert len(alone) == len(set(alone))

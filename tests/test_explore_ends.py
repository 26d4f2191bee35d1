"""Two ends and a cable: how many states there are, and what is false without an assumption."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from statecharts.explore import (
    Assumption,
    Both,
    BrokenModelError,
    Checker,
    EveryStep,
    Graph,
    Kind,
    LeadsTo,
    Outcome,
)
from statecharts.explore.report import messages
from statecharts.hsms import ACTIVE, ACTIVE_LINK, BREAKER, CHARTS
from statecharts.hsms.vocabulary import Outgoing
from tests.proof.assumptions import SETTLED
from tests.proof.binding import machine, with_chart
from tests.proof.end_properties import TWO_ENDS
from tests.proof.model import (
    CLOSE,
    CONNECT,
    CUT,
    DATA,
    HEALTHY,
    End,
    Item,
    Marker,
    Scenario,
    two_ends,
)
from tests.proof.outside import link_alone
from tests.proof.searches import (
    CHARTS_ALONE,
    ENDS,
    LINKS,
    LINKS_WITHOUT_TRAFFIC,
    NEVER_TAKEN,
    OWNED_LINKS,
    OWNED_LINKS_WITHOUT_TRAFFIC,
    SESSION,
    SMALL_ENDS,
)
from tests.support.counterexample import pytest_file, replay
from tests.support.mutate import without
from tests.support.patience import PATIENCE

RECOVERY = next(each for each in TWO_ENDS if each.name == "recovery")


FOUND = {
    **{link.name: Graph(link.configured(machine)).statistics() for link in (*LINKS, *OWNED_LINKS)},
    **{single.name: Graph(single.configured(machine)).statistics() for single in CHARTS_ALONE},
    **{ends.name: Graph(ends.model(machine), 20_000).statistics() for ends in SMALL_ENDS},
}


@pytest.mark.parametrize(
    ("name", "states", "transitions", "diameter", "out_degree", "deadlocks"),
    [
        ("dialling end", 4_599, 159_810, 21, 47, 0),
        ("dialling end, once", 3_334, 132_437, 16, 47, 0),
        ("listening end", 540, 15_614, 14, 35, 0),
        ("listening end, refusing", 404, 11_306, 14, 34, 0),
        ("owned link", 4_656, 149_073, 23, 47, 0),
        ("owned link, once", 892, 27_275, 16, 40, 0),
        ("breaker", 2_333, 31_485, 1003, 14, 0),
        ("transaction", 9, 14, 2, 7, 7),
        ("lease", 13, 54, 5, 8, 2),
        ("two ends, cable cut", 2_660, 16_956, 21, 30, 0),
        ("two ends, users", 8_654, 72_098, 20, 20, 0),
        ("two ends, deselecting", 17_474, 108_271, 29, 12, 0),
        ("three parties, crashes", 18_818, 155_349, 30, 16, 0),
    ],
)
def test_a_search_has_exactly_this_many_states(
    name: str, states: int, transitions: int, diameter: int, out_degree: int, deadlocks: int
) -> None:
    found = FOUND[name]

    assert (found.states, found.transitions) == (states, transitions)
    assert (found.diameter, found.out_degree, found.deadlocks) == (diameter, out_degree, deadlocks)


def test_the_charts_stop_only_where_everything_is_closed() -> None:
    (listening,) = (each for each in LINKS if each.name == "listening end")
    graph = Graph(listening.model(machine))
    ends = [
        here.snapshot
        for number, here in enumerate(graph.states)
        if all(target == number for _, target in graph.edges(number))
    ]

    assert ends
    assert all("closed" in snapshot for snapshot in ends)


def test_without_bytes_a_link_is_a_part_of_itself() -> None:
    pairs = (*zip(LINKS_WITHOUT_TRAFFIC, LINKS, strict=True), _OWNED)
    for part, whole in pairs:
        assert set(Graph(part.model(machine)).states) < set(Graph(whole.model(machine)).states)


_OWNED = (OWNED_LINKS_WITHOUT_TRAFFIC[0], OWNED_LINKS[0])


def test_every_transition_is_taken_in_some_search_or_the_file_says_why_not() -> None:
    taken: set[tuple[str, int]] = set()
    for link in LINKS:
        taken |= Graph(link.configured(machine)).taken()
    for single in CHARTS_ALONE:
        taken |= Graph(single.configured(machine)).taken()
    idle = {
        (chart.id, str(on))
        for chart in CHARTS
        for number, on in enumerate(chart.transitions)
        if (chart.id, number) not in taken
    }

    assert idle == set(NEVER_TAKEN)


def test_recovery_is_false_where_timers_may_beat_frames() -> None:
    hasty = Assumption(
        "hasty", "as settled, timers as fast as they like", SETTLED.never, False, SETTLED.fair
    )
    assert isinstance(RECOVERY, LeadsTo)
    claim = LeadsTo("recovery", RECOVERY.says, RECOVERY.given, RECOVERY.goal, hasty)
    graph = Graph(SMALL_ENDS[0].model(machine))

    (verdict,) = Checker(graph).check([claim])

    assert verdict.outcome is Outcome.FAILED
    assert verdict.trace is not None
    assert verdict.trace.loop is not None
    loop = verdict.trace.moves[verdict.trace.loop :]
    assert {Kind.TIMER, Kind.DELIVERY} <= {move.kind for move in loop}
    assert messages(verdict.trace)


def test_nothing_is_read_behind_the_end_of_a_connection() -> None:
    graph = Graph(two_ends(Scenario(failures=True, data=True)))
    for state in graph.states:
        both = graph.model.view(state)
        assert CLOSE not in both.left.inbox[:-1]
        if "connected" not in both.left.snapshot:
            assert both.left.inbox == ()


def test_data_is_delivered_only_while_selected() -> None:
    graph = Graph(two_ends(Scenario(("enable_requested",), ("deselect_requested",), data=True)))
    claim: EveryStep[Both[End]] = EveryStep(
        "delivered",
        "data is delivered only through an open gate",
        lambda before, move, _: (
            (before.left if move.actor == "active" else before.right).world.gate
        ),
        lambda move: move.event == "data",
    )

    assert Checker(graph).check([claim])[0].outcome is Outcome.HELD
    assert any(DATA in graph.model.view(state).left.inbox for state in graph.states)


def test_an_answer_to_an_older_linktest_is_marked_old() -> None:
    graph = Graph(SMALL_ENDS[2].model(machine))
    waiting = [graph.model.view(state) for state in graph.states]

    assert any(Marker.OLD_LINKTEST_RSP in ends.right.inbox for ends in waiting)
    assert any(Marker.OLD_LINKTEST_REQ in ends.left.inbox for ends in waiting)


def test_a_graceful_close_is_half_a_close_first() -> None:
    graph = Graph(SMALL_ENDS[1].model(machine))
    inboxes = [graph.model.view(state).right.inbox for state in graph.states]

    assert any(inbox[-1:] == (Marker.FINISH,) for inbox in inboxes)
    assert not any(Marker.FINISH in inbox[:-1] for inbox in inboxes if CLOSE in inbox[-1:])


@pytest.fixture(scope="module")
def cut_cable() -> Graph[int, Both[End]]:
    """Two ends whose resets may destroy frames, and may be lost."""
    return Graph(SMALL_ENDS[0].model(machine))


UNREAD = (Outgoing.SELECT_REQ,)


@pytest.mark.parametrize("left", [UNREAD, ()], ids=["left", "destroyed"])
@pytest.mark.parametrize("cut", [HEALTHY, CUT], ids=["healthy", "cut"])
@pytest.mark.parametrize("last", [CLOSE, Marker.GONE], ids=["told", "lost"])
def test_a_reset_leaves_what_is_unread_or_destroys_it_and_is_lost_only_on_a_cut_cable(
    cut_cable: Graph[int, Both[End]], left: tuple[Item, ...], cut: int, last: Marker
) -> None:
    found = {
        cut_cable.model.view(after).right.inbox
        for number, state in enumerate(cut_cable.states)
        for before in [cut_cable.model.view(state)]
        if before.shared == cut and before.right.inbox == (CONNECT, *UNREAD)
        for move, target in cut_cable.edges(number)
        if (cut_cable.model.moves[move].actor, cut_cable.model.moves[move].event)
        == ("active", "t6_expired")
        for after in [cut_cable.states[target]]
    }

    assert ((CONNECT, *left, last) in found) == (last is CLOSE or cut == CUT)


def test_an_end_learns_of_a_lost_reset_when_it_sends(cut_cable: Graph[int, Both[End]]) -> None:
    gone, learned = (Marker.GONE,), set()
    for number, state in enumerate(cut_cable.states):
        before = cut_cable.model.view(state)
        if before.right.inbox != gone:
            continue
        for move, target in cut_cable.edges(number):
            made = cut_cable.model.moves[move]
            after = cut_cable.model.view(cut_cable.states[target])
            if made.actor == "passive":
                assert made.kind is not Kind.DELIVERY
                # Nothing that it sends arrives.
                assert after.left == before.left
                learned |= {made.event} if after.right.inbox == (CLOSE,) else set()

    assert learned == {"linktest_interval_expired"}


def test_a_listener_outlives_its_connections_until_its_user_closes() -> None:
    without_users = Graph(SMALL_ENDS[0].model(machine))
    with_users = Graph(SMALL_ENDS[1].model(machine))
    listeners = [with_users.model.view(state).right.snapshot for state in with_users.states]

    assert not any(
        "closed" in without_users.model.view(s).right.snapshot for s in without_users.states
    )
    assert any("closed" in snapshot for snapshot in listeners)
    # What a connection has counted is not counted in the next one.
    assert all(
        snapshot["linktest"].values == (0,) for snapshot in listeners if "listening" in snapshot
    )


async def test_a_missing_transition_ends_the_search_with_a_trace_that_becomes_a_test() -> None:
    broken = without(BREAKER, "breaker_open: permit_requested")
    scenario = Scenario()

    with pytest.raises(BrokenModelError, match="does not take 'permit_requested'") as caught:
        Graph(two_ends(scenario, with_chart(broken)))

    trace = caught.value.trace
    assert [move.event for move in trace.moves] == ["enable_requested", "connect_timeout_expired"]
    assert caught.value.error.move.event == "t5_expired"
    text = pytest_file("refused", "A refusal.", "two_ends", trace, scenario.parameters)
    scope: dict[str, Callable[[], Awaitable[None]]] = {}
    exec(compile(text, "test_refused.py", "exec"), scope)
    with trio.fail_after(PATIENCE):
        # The driver's own charts are whole.
        await scope["test_refused"]()


async def test_a_replay_follows_what_the_charts_do() -> None:
    dialled = ["Start(connect timeout)", "OpenTcp()"]
    selecting = ["Stop(connect timeout)", "Send(Select.req)", "Start(T7)", "Start(T6)"]
    steps = [("active", "enable_requested", dialled), ("active", "tcp_opened", selecting)]
    with trio.fail_after(PATIENCE):
        await replay("two_ends", steps, {"breaker": {"threshold": 1}})


async def test_a_replay_notices_what_is_asked_for_otherwise() -> None:
    steps: list[tuple[str, str, list[str]]] = [
        ("cable", "cut", []),
        ("active", "enable_requested", []),
    ]
    with (
        trio.fail_after(PATIENCE),
        pytest.raises(AssertionError, match="step 2, active enable_requested: asks for"),
    ):
        await replay("two_ends", steps, {})


def test_a_link_alone_stops_at_what_its_world_cannot_do() -> None:
    broken = without(ACTIVE, "connecting: connect_timeout_expired -> waiting", "AbandonTcp()")

    with pytest.raises(BrokenModelError, match="OpenTcp"):
        Graph(link_alone(ACTIVE_LINK, {}, with_chart(broken)))


def test_the_largest_scenarios_contain_the_smaller_ones() -> None:
    assert ENDS[: len(SMALL_ENDS)] == SMALL_ENDS
    assert ENDS[-2].scenario is SESSION

"""Every clause of the rules is kept, and none is forgotten."""

import pytest

from statecharts import Chart, On, State, System
from statecharts.explore import Graph
from statecharts.explore.alone import WorldState
from statecharts.explore.obligations import Examiner, Obligation
from statecharts.hsms import ACTIVE, LEASE, PASSIVE
from statecharts.hsms.vocabulary import Outgoing, Send
from statecharts.hsms.world import World
from statecharts.router import Router
from tests.proof.binding import machine, with_chart
from tests.proof.searches import CHARTS_ALONE, LINKS, OWNED_LINKS, AloneSearch
from tests.support.mutate import without


@pytest.mark.parametrize("search", [*LINKS, *OWNED_LINKS], ids=lambda search: search.name)
def test_a_link_keeps_every_clause(search: AloneSearch[World]) -> None:
    model = search.model(machine)
    snapshots = (here.snapshot for here in Graph(model).states)

    assert [str(each) for each in Examiner(model.router).breaches(snapshots, search.duties)] == []


@pytest.mark.parametrize("search", CHARTS_ALONE, ids=lambda search: search.name)
def test_a_chart_keeps_every_clause(search: AloneSearch[frozenset[str]]) -> None:
    model = search.model(machine)
    snapshots = (here.snapshot for here in Graph(model).states)

    assert [str(each) for each in Examiner(model.router).breaches(snapshots, search.duties)] == []


@pytest.mark.parametrize(
    ("search", "chart"),
    [(LINKS[0], ACTIVE), (LINKS[2], PASSIVE), (CHARTS_ALONE[2], LEASE)],
)
def test_whatever_can_happen_in_a_link_has_a_clause(
    search: AloneSearch[WorldState], chart: Chart
) -> None:
    model = search.model(machine)
    graph, examiner = Graph(model), Examiner(model.router)
    silent = {
        (here.snapshot[chart.id].leaves, event)
        for number, here in enumerate(graph.states)
        for event in (model.moves[move].event for move, _ in graph.edges(number))
        if event in chart.events
        and not any(
            event in duty.events and examiner.applies(duty, here.snapshot) for duty in search.duties
        )
    }

    assert silent == set()


LAMP = Chart(
    id="lamp",
    title="Lamp",
    local=("press", "turn", "look"),
    states=(State("dark"), State("lit")),
    transitions=(
        On("press", "dark", to="lit"),
        On("press", "lit", to="dark"),
        On("turn", "lit"),
        On("look", "dark"),
        On("look", "lit"),
    ),
)


@pytest.mark.parametrize(
    ("duty", "told"),
    [
        (Obligation("x", ("press",), ("dark",), (), ("lit",)), ""),
        (Obligation("x", ("press",), ("dark",), (), ("dark",)), "leads to"),
        (Obligation("x", ("press",), ("dark",)), "changes lamp"),
        (Obligation("x", ("turn",), ("dark",)), "is not taken"),
        (Obligation("x", ("look",), ("dark",), starts=("t6",)), "starts no timer"),
        (Obligation("x", ("look",), ("dark",), (), ("*lamp",)), ""),
        (Obligation("x", ("look",), ("dark",), but=("dark",)), "never applies"),
    ],
)
def test_a_breach_says_what_is_done_instead(duty: Obligation, told: str) -> None:
    router = Router(System("lamps", "Lamps", (LAMP,), ()))
    breaches = list(Examiner(router).breaches([router.initial], [duty]))

    assert [told in str(each) for each in breaches] == ([True] if told else [])


def test_a_missing_answer_is_a_breach() -> None:
    deaf = without(PASSIVE, "not_selected: linktest_req_received", "Send(Linktest.rsp)")
    model = LINKS[2].model(with_chart(deaf))
    snapshots = (here.snapshot for here in Graph(model).states)
    breaches = list(Examiner(model.router).breaches(snapshots, LINKS[2].duties))

    assert {each.obligation.clause for each in breaches} == {"linktest-req/any"}
    assert "asks for nothing, not Send(Linktest.rsp)" in str(breaches[0])


def test_another_answer_is_a_breach() -> None:
    model = LINKS[2].model(machine)
    snapshots = (here.snapshot for here in Graph(model).states)
    duty = Obligation(
        "x", ("linktest_req_received",), ("unselected",), (Send(Outgoing.REJECT_STYPE),)
    )

    for breach in Examiner(model.router).breaches(snapshots, [duty]):
        assert breach.what == "asks for Send(Linktest.rsp), not Send(Reject.req 1)"
        break
    else:
        pytest.fail("nothing was noticed")

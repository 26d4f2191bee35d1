"""What is claimed of HSMS links holds, and each claim notices a chart that breaks it."""

from dataclasses import replace
from functools import cache

import pytest

from statecharts import Chart, Machine
from statecharts.explore import Checker, Graph, Outcome
from statecharts.explore.alone import WorldState
from statecharts.explore.mutants import mutants
from statecharts.hsms import (
    ACTIVE,
    BREAKER,
    CHARTS,
    LINKTEST,
    PASSIVE,
    SECOND_HOST,
    TRANSACTION,
    TRANSMITTER,
)
from statecharts.hsms.rules import CLAUSES, Clause, Condition
from statecharts.hsms.systems import ACTIVE_LINK
from statecharts.hsms.world import World
from tests.proof import obligations
from tests.proof.binding import machine, with_chart
from tests.proof.names import any_of, events
from tests.proof.obligations import Reader
from tests.proof.searches import (
    CHARTS_ALONE,
    LINKS,
    LINKS_WITHOUT_TRAFFIC,
    OWNED_LINKS,
    SMALL_ENDS,
    AloneSearch,
    EndsSearch,
)
from tests.support.mutate import without


@pytest.mark.parametrize("search", [*LINKS, *OWNED_LINKS], ids=lambda search: search.name)
def test_all_that_is_claimed_of_a_link_holds(search: AloneSearch[World]) -> None:
    verdicts = Checker(Graph(search.model(machine))).check(search.properties)

    assert [str(each) for each in verdicts if each.outcome is not Outcome.HELD] == []


@pytest.mark.parametrize("search", CHARTS_ALONE, ids=lambda search: search.name)
def test_all_that_is_claimed_of_a_chart_holds(search: AloneSearch[frozenset[str]]) -> None:
    verdicts = Checker(Graph(search.model(machine))).check(search.properties)

    assert [str(each) for each in verdicts if each.outcome is not Outcome.HELD] == []


@pytest.mark.parametrize("search", SMALL_ENDS, ids=lambda search: search.name)
def test_all_that_is_claimed_of_two_ends_holds(search: EndsSearch) -> None:
    verdicts = Checker(Graph(search.model(machine))).check(search.properties)

    assert [str(each) for each in verdicts if each.outcome is not Outcome.HELD] == []


@pytest.mark.parametrize("threshold", range(1, 6))
def test_exactly_as_many_failures_in_a_row_as_the_threshold_open_the_breaker(
    threshold: int,
) -> None:
    """Counted here, not by the chart: over every way through it, with the count kept beside it."""
    breaker = Machine(BREAKER, threshold=threshold)
    seen = {(breaker.initial, 0)}
    queue = list(seen)
    for here, failures in queue:
        assert ("breaker_closed" in here) <= (failures < threshold)
        for event in breaker.enabled(here):
            after = breaker.step(here, event).snapshot
            row = failures
            if "breaker_closed" in here and event == "attempt_failed":
                row += 1
                assert ("breaker_open" in after) == (row == threshold)
            elif (
                event == "attempt_succeeded"
                or "breaker_closed" not in here
                or event == "reset_requested"
            ):
                row = 0
            row = row if "breaker_closed" in after else 0
            if (after, row) not in seen:
                seen.add((after, row))
                queue.append((after, row))
    assert max(row for _, row in seen) == threshold - 1


@pytest.mark.parametrize("threshold", range(1, 4))
def test_exactly_as_many_silent_probes_as_the_threshold_end_a_link(threshold: int) -> None:
    linktest = Machine(LINKTEST, linktest_threshold=threshold)
    here = linktest.step(linktest.initial, "watch_began").snapshot
    for _ in range(threshold - 1):
        here = linktest.step(here, "linktest_interval_expired").snapshot
        here, effects, _ = linktest.step(here, "t6_linktest_expired")
        assert "quiet" in here
        assert "Tell(linktest_failed)" not in map(str, effects)
    here = linktest.step(here, "linktest_interval_expired").snapshot
    assert "Tell(linktest_failed)" in map(str, linktest.step(here, "t6_linktest_expired").effects)


def failing(search: AloneSearch[WorldState], chart: Chart) -> set[str]:
    """The names of the claims that fail when `chart` stands in the search."""
    graph = Graph(search.model(with_chart(chart)))
    return {
        verdict.name
        for verdict in Checker(graph).check(search.properties)
        if verdict.outcome is not Outcome.HELD
    }


@pytest.mark.parametrize(
    ("claim", "chart", "transition", "effect"),
    [
        (
            "attempts are settled",
            ACTIVE,
            "connecting: tcp_failed -> waiting",
            "Tell(attempt_failed)",
        ),
        ("one probe", ACTIVE, "selecting: disable_requested -> resting", "Tell(attempt_cancelled)"),
        (
            "nobody forgotten",
            BREAKER,
            "breaker_open: open_time_expired -> ready",
            "Tell(permit_offered)",
        ),
    ],
)
def test_an_effect_that_is_missing_fails_the_claim_about_it(
    claim: str, chart: Chart, transition: str, effect: str
) -> None:
    assert claim in failing(LINKS[0], without(chart, transition, effect))


def test_a_way_out_of_closed_is_noticed() -> None:
    transitions = tuple(
        replace(on, to="idle") if (on.source, on.event) == ("closed", "permit_offered") else on
        for on in ACTIVE.transitions
    )

    assert "closed is final" in failing(LINKS[0], replace(ACTIVE, transitions=transitions))


QUICK, QUICK_ONCE, QUICK_LISTENER, _ = LINKS_WITHOUT_TRAFFIC
BREAKER_ITSELF, TRANSACTION_ITSELF = CHARTS_ALONE[:2]


@cache
def mutants_by_fault(id: str) -> dict[str, Chart]:
    (chart,) = (each for each in CHARTS if each.id == id)
    return {each.fault: each.chart for each in mutants(chart)}


@pytest.mark.parametrize(
    ("claim", "search", "chart", "fault", "of"),
    [
        ("answers", QUICK, ACTIVE, "drop Send(Linktest.rsp)", "selected: linktest_req_received"),
        ("answers", QUICK, ACTIVE, "add Send(Linktest.rsp)", "selected: linktest_req_received"),
        ("answers", QUICK, ACTIVE, "drop Send(Select.req)", "connecting: tcp_opened -> selecting"),
        (
            "connection",
            QUICK,
            ACTIVE,
            "target unselected instead",
            "selected: separate_req_received -> waiting",
        ),
        ("session", QUICK, ACTIVE, "no target", "selected: deselect_req_received -> unselected"),
        ("goodbye", QUICK, ACTIVE, "drop FinishTcp()", "leaving: flushed"),
        ("given up", QUICK, ACTIVE, "drop ResetTcp()", "selecting: t6_expired -> waiting"),
        ("given up", QUICK, ACTIVE, "add ResetTcp()", "selecting: t6_expired -> waiting"),
        (
            "unanswered",
            QUICK,
            ACTIVE,
            "no target",
            "deselecting: deselect_rsp_busy -> communicating",
        ),
        (
            "misses",
            QUICK,
            LINKTEST,
            "drop misses += 1",
            "probe_unanswered: t6_linktest_expired -> quiet",
        ),
        ("misses", QUICK, LINKTEST, "drop misses := 0", "watching: traffic_seen"),
        (
            "started again",
            LINKS[0],
            TRANSMITTER,
            "no target",
            "backlogged: write_caught_up -> backlogged",
        ),
        (
            "started again",
            QUICK,
            ACTIVE,
            "do not keep t6",
            "reselecting: select_req_received -> select_unanswered",
        ),
        ("bytes", LINKS[0], ACTIVE, "add Tell(receiving_ended)", "not_selected: select_rejected"),
        (
            "call close",
            QUICK,
            ACTIVE,
            "event tcp_closed instead",
            "disconnected: close_requested -> closed",
        ),
        (
            "enabled",
            QUICK,
            ACTIVE,
            "target resting instead",
            "selected: separate_req_received -> waiting",
        ),
        ("closed", QUICK, ACTIVE, "target closed instead", "selecting: t6_expired -> waiting"),
        (
            "closed",
            QUICK_ONCE,
            ACTIVE,
            "target idle instead",
            "resting: enable_requested -> waiting",
        ),
        (
            "closed",
            QUICK_LISTENER,
            PASSIVE,
            "target listening instead",
            "not_selected: t7_expired -> closed",
        ),
        ("T5 follows", QUICK, ACTIVE, "target asking instead", "selecting: tcp_closed -> waiting"),
        ("T5", QUICK, ACTIVE, "target asking instead", "selecting: tcp_closed -> waiting"),
        ("dials", QUICK, ACTIVE, "target blocked instead", "selecting: tcp_closed -> waiting"),
        (
            "breaker moves",
            QUICK,
            BREAKER,
            "target breaker_closed instead",
            "breaker_open: isolate_requested -> isolated",
        ),
        (
            "second host",
            QUICK_LISTENER,
            SECOND_HOST,
            "no target",
            "asked: session_ended -> unasked",
        ),
        (
            "told",
            BREAKER_ITSELF,
            BREAKER,
            "drop Tell(permit_offered)",
            "breaker_open: open_time_expired -> ready",
        ),
        (
            "states",
            BREAKER_ITSELF,
            BREAKER,
            "target breaker_open instead",
            "breaker_closed: isolate_requested -> isolated",
        ),
        (
            "failures",
            BREAKER_ITSELF,
            BREAKER,
            "drop failures := 0",
            "breaker_closed: attempt_succeeded",
        ),
        ("outcome", TRANSACTION_ITSELF, TRANSACTION, "drop SettleTransaction() on exit", "pending"),
    ],
)
def test_each_reason_that_is_missing_fails_the_claim_about_it(
    claim: str, search: AloneSearch[WorldState], chart: Chart, fault: str, of: str
) -> None:
    found = mutants_by_fault(chart.id)
    broken = found.get(f"{fault} of transition {of}") or found[f"{fault} of state {of}"]
    # Many other claims may fail too.
    claims = tuple(each for each in search.properties if each.name == claim)

    assert failing(replace(search, properties=claims), broken) == {claim}


def test_a_claim_about_a_name_that_no_chart_has_is_an_error() -> None:
    idle = LINKS[0].model(machine).router.initial

    assert any_of(idle, "listening", "idle")
    assert not any_of(idle, "listening", "closed")
    with pytest.raises(KeyError, match="no chart has conecting"):
        any_of(idle, "idle", "conecting")
    with pytest.raises(KeyError, match="no chart has t6_elapsed"):
        events("t5_expired", "t6_elapsed")


@pytest.mark.parametrize(
    "row",
    [
        replace(CLAUSES[0], places=(Condition(("conecting",)),)),
        replace(CLAUSES[0], places=(Condition(("connecting",), ("sellecting",)),)),
        replace(CLAUSES[0], places=(Condition(("connecting", "fails=1")),)),
        replace(CLAUSES[0], events=("tcp_oponed",)),
    ],
    ids=["where", "but", "variable", "event"],
)
def test_a_rule_about_a_name_that_no_chart_has_is_an_error(
    monkeypatch: pytest.MonkeyPatch, row: Clause
) -> None:
    monkeypatch.setattr(obligations, "CLAUSES", (row,))
    with pytest.raises(KeyError, match="no chart has"):
        Reader(ACTIVE_LINK.charts, (row.ends,)).table()

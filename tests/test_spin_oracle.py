"""Spin searches what we search and finds as many states, as many transitions, the same faults."""

import pytest

from statecharts import Chart, Router, System
from statecharts.export.promela import to_promela
from tests.proof.oracles import agreement
from tests.proof.oracles import spin as asking_spin
from tests.proof.oracles.agreement import spin_agreement, systems
from tests.proof.oracles.programs import OracleError
from tests.proof.oracles.spin import Verification, search, spin
from tests.support.odd_charts import COUNTING, KEEPING, NESTED, TIMED
from tests.support.tools import needs


@pytest.fixture(autouse=True)
def _spin() -> None:
    needs("spin")


@pytest.mark.search
def test_spin_finds_the_same_states_and_transitions_and_the_same_fault() -> None:
    found = spin_agreement()
    assert found.differences == ()
    assert found.agreed > sum(search(Router(system)).states for system in systems())


@pytest.mark.parametrize(
    "chart", [NESTED, COUNTING, TIMED, KEEPING], ids=lambda chart: str(chart.id)
)
def test_spin_agrees_on_charts_made_to_be_hard(chart: Chart) -> None:
    system = System(chart.id, chart.title, (chart,))
    assert spin(to_promela(system)) == search(Router(system))


def test_what_spin_refuses_is_an_error_and_not_a_verdict() -> None:
    with pytest.raises(OracleError, match="spin -a"):
        spin("this is not Promela")


def test_a_search_that_was_cut_short_is_an_error_and_not_a_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking_spin, "run", lambda *_, **__: "error: max search depth too small")
    with pytest.raises(OracleError, match="did not search the whole"):
        spin("")


def test_every_difference_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "spin", lambda _: Verification(1, 1, violated=False))
    found = agreement.spin_agreement()
    assert found.agreed == 0
    assert len(found.differences) == len(systems()) + len(agreement.SCENARIOS) + 1
    assert "Spin finds Verification(states=1" in found.differences[0]
    assert "a lost permit" in found.differences[-1]

"""What `make prove` says last, and with which status it ends."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from tests.proof.__main__ import (
    ALL_VECTORS,
    PARTS,
    SAMPLE,
    VECTORS,
    Job,
    Row,
    Score,
    _mutants_row,
    jobs,
    prove,
    prove_leases,
    prove_mutants,
    prove_oracle,
    prove_scale,
    prove_time,
    verdict,
)
from tests.proof.lease_searches import SEARCHES as LEASE_SEARCHES
from tests.proof.oracles.programs import Agreement, OracleError


def absent() -> Agreement:
    raise OracleError("spin is not installed\nno such file")


def agreeing() -> Agreement:
    return Agreement(7, ())


@pytest.mark.parametrize(
    ("ask", "ci", "words", "status"),
    [
        (agreeing, "true", "all of it holds", 0),
        (absent, "", "all that was asked holds; not asked: Spin (spin is not installed)", 2),
        (absent, "true", "1 faults; not asked: Spin (spin is not installed)", 1),
    ],
)
def test_an_oracle_that_was_not_asked_is_named_last_and_is_no_success(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Agreement], ci: str, words: str, status: int
) -> None:
    monkeypatch.setenv("CI", ci)

    assert verdict([Row("tours"), prove_oracle("Spin", ask, "states")]) == (words, status)


def test_a_fault_is_no_success() -> None:
    assert verdict([Row("tours", faults=("an edge",)), Row("driver")]) == ("1 faults", 1)


def score(killed: int, unaided: int, *alive: str) -> Score:
    return Score(killed, unaided, 1, alive, 0.5)


def test_both_scores_are_told_and_each_mutant_that_lives() -> None:
    row = _mutants_row([score(50, 45), score(49, 46, "breaker: a slip")])

    assert row.name == "mutants (102)"
    assert row.held == "99 of 100 killed, 91.0 % without obligations; 2 equivalent"
    assert row.faults == ("breaker: a slip",)


def test_properties_that_say_too_little_alone_are_a_fault() -> None:
    assert _mutants_row([score(100, 89)]).faults == ("less than 90 % without obligations",)


def row_of(words: Sequence[str]) -> Row:
    return Row(" ".join(words))


def test_rows_are_made_of_all_parts_and_printed_in_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    light = Job(tuple(partial(str.upper, word) for word in ("one", "two")), row_of, weight=0)
    heavy = Job((partial(str.upper, "three"),), row_of, weight=5)

    assert prove((light, heavy)) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in said[1:3]] == ["ONE TWO", "THREE"]
    assert said[3].startswith("all of it holds, ")


def test_the_whole_proof_tries_every_mutant_and_more_settings_and_adds_the_largest_search() -> None:
    usual, whole = (
        {(part.func, *part.args) for job in jobs(whole=each, seed=4) for part in job.parts}
        for each in (False, True)
    )

    parts = range(PARTS)
    assert usual - whole == {
        *((prove_mutants, SAMPLE, 4, part) for part in parts),
        *((prove_time, VECTORS, 4, part) for part in parts),
    }
    assert whole - usual == {
        *((prove_mutants, None, 4, part) for part in parts),
        *((prove_time, ALL_VECTORS, 4, part) for part in parts),
        (prove_scale,),
        *((prove_leases, number) for number, each in enumerate(LEASE_SEARCHES) if each.large),
    }

"""A snapshot comes back from JSON as it was, and nothing else comes back as a snapshot."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statecharts import Chart, Machine, SavedError, Snapshot, Tell
from statecharts.explore import Graph, alone
from statecharts.explore.mutants import mutants
from statecharts.hsms import BREAKER, CHARTS, LINKTEST
from statecharts.saving import digest

BOUND = [
    *((chart, {}) for chart in CHARTS),
    *((BREAKER, {"threshold": threshold}) for threshold in (1, 2, 100)),
    *((LINKTEST, {"linktest_threshold": threshold}) for threshold in (2, 100)),
]


def through_json(machine: Machine, snapshot: Snapshot) -> Any:
    return json.loads(json.dumps(machine.save(snapshot), allow_nan=False))


@pytest.mark.parametrize(("chart", "parameters"), BOUND)
def test_every_snapshot_that_can_be_reached_comes_back_as_it_was(
    chart: Chart, parameters: dict[str, int]
) -> None:
    machine, another = Machine(chart, **parameters), Machine(chart, **parameters)
    for snapshot in machine.reachable():
        saved = through_json(machine, snapshot)

        assert machine.restore(saved) is snapshot
        assert another.restore(saved) == snapshot


@pytest.mark.parametrize(("chart", "parameters"), BOUND)
def test_the_timers_of_a_snapshot_are_those_that_its_effects_have_started(
    chart: Chart, parameters: dict[str, int]
) -> None:
    machine = Machine(chart, **parameters)
    for here in Graph(alone(machine)).states:
        snapshot = here.snapshot[chart.id]

        assert {timer.id for timer in machine.timers(snapshot)} == here.world


def test_under_other_parameters_it_comes_back_as_it_was_and_is_then_adopted() -> None:
    was, now = Machine(BREAKER, threshold=5), Machine(BREAKER, threshold=2)
    snapshot = was.snapshot(["breaker_closed"], [3])

    restored = now.restore(was.save(snapshot))

    assert restored == snapshot
    assert restored.machine.parameters == {"threshold": 5}
    assert now.adopt(restored).snapshot == now.snapshot(["breaker_open"], [2])
    assert Tell("permit_withdrawn") in now.adopt(restored).effects


def test_a_snapshot_of_another_machine_is_not_saved() -> None:
    with pytest.raises(ValueError, match=r"^breaker: .* of a machine with other parameters"):
        Machine(BREAKER).save(Machine(BREAKER, threshold=2).initial)
    with pytest.raises(TypeError, match=r"^wanted is Snapshot, given is str"):
        Machine(BREAKER).save("ready")  # type: ignore[arg-type]  # as from a caller without types


# The digest


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.id)
def test_a_chart_with_any_single_fault_has_another_digest(chart: Chart) -> None:
    others = [mutant.chart for mutant in islice(mutants(chart), 0, None, 7)]

    assert chart not in others
    assert digest(chart) not in {digest(other) for other in others}


def test_the_digest_is_of_the_chart_and_not_of_its_place_or_program() -> None:
    moved = replace(BREAKER, file="/elsewhere.py")
    program = (
        "from statecharts.hsms import BREAKER; from statecharts.saving import digest; "
        "print(digest(BREAKER))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert told == {digest(BREAKER)} == {digest(moved)}
    assert len({digest(chart) for chart in CHARTS}) == len(CHARTS)


# What is read need not be trusted

MACHINE = Machine(BREAKER, threshold=5)
GOOD = MACHINE.save(MACHINE.snapshot(["half_open", "ready"], [3]))
WITH_A_NUMBER: dict[Any, object] = {7: 1, **GOOD}
KEYS = "layout, chart, digest, parameters, states, values"


def changed(*path: str, to: object) -> Callable[[], object]:
    def change() -> object:
        saved: Any = copy.deepcopy(GOOD)
        inner = saved
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to
        return saved

    return change


def lacking(*path: str) -> Callable[[], object]:
    def lack() -> object:
        saved: Any = copy.deepcopy(GOOD)
        inner = saved
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        return saved

    return lack


def deep(depth: int) -> object:
    found: object = 0
    for _ in range(depth):
        found = [found]
    return found


UNFIT = "breaker.states is no configuration: breaker: exactly one of"
REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: None, f"breaker is None, not an object with {KEYS}"),
    (list, f"breaker is a list, not an object with {KEYS}"),
    (lambda: "x" * 100, f"breaker is '{'x' * 76}..., not an object with {KEYS}"),
    (lambda: {"chart": "breaker"}, f"breaker has no layout; its keys are {KEYS}"),
    (lacking("states"), f"breaker has no states; its keys are {KEYS}"),
    (changed("more", to=1), f"breaker has the unknown key 'more'; its keys are {KEYS}"),
    (lambda: WITH_A_NUMBER, f"breaker has the unknown key 7; its keys are {KEYS}"),
    (changed("layout", to=2), "breaker.layout=2 is not 1: another version has saved it"),
    (lambda: {"layout": 2}, "breaker.layout=2 is not 1: another version has saved it"),
    (changed("layout", to=True), "breaker.layout=True is not 1: another version has saved it"),
    (changed("layout", to=1.0), "breaker.layout=1.0 is not 1: another version has saved it"),
    (
        changed("chart", to="linktest"),
        "breaker.chart='linktest' is not 'breaker': it is of another chart",
    ),
    (
        changed("digest", to="0"),
        f"breaker.digest='0' is not '{digest(BREAKER)}': the chart was another one",
    ),
    (
        changed("parameters", to=5),
        "breaker.parameters is 5, not an object with threshold",
    ),
    (lacking("parameters", "threshold"), "breaker.parameters has no threshold; its keys are "),
    (
        changed("parameters", "threshold", to=0),
        "breaker.parameters.threshold=0 is not a whole number in 1..1000",
    ),
    (
        changed("parameters", "threshold", to=10**5000),
        "breaker.parameters.threshold=a number of 16610 bits is not a whole number in 1..1000",
    ),
    (
        changed("values", "failures", to=6),
        "breaker.values.failures=6 is not a whole number in 0..5",
    ),
    (
        changed("values", "failures", to=-1),
        "breaker.values.failures=-1 is not a whole number in 0..5",
    ),
    (
        changed("values", "failures", to=True),
        "breaker.values.failures=True is not a whole number in 0..5",
    ),
    (
        changed("values", "failures", to=float("nan")),
        "breaker.values.failures=nan is not a whole number in 0..5",
    ),
    (
        changed("values", "failures", to=deep(100_000)),
        "breaker.values.failures=a list is not a whole number in 0..5",
    ),
    (
        changed("values", "failures", to=(1,)),
        "breaker.values.failures=a Python tuple is not a whole number in 0..5",
    ),
    (changed("states", to={}), "breaker.states=an object is not a list of states"),
    (changed("states", to="ready"), "breaker.states='ready' is not a list of states"),
    (
        changed("states", to=[["ready"]]),
        "breaker.states has a list, which is none of breaker_closed, ",
    ),
    (
        changed("states", to=["half_open", "raedy"]),
        "breaker.states has 'raedy', which is none of breaker_closed, ",
    ),
    (
        changed("states", to=[]),
        f"{UNFIT} breaker_closed, breaker_open, ",
    ),
    (
        changed("states", to=["half_open"]),
        f"{UNFIT} ready, probing must be active; given: half_open",
    ),
    (
        changed("states", to=["ready"]),
        f"{UNFIT} breaker_closed, breaker_open, ",
    ),
    (
        changed("states", to=["isolated", "breaker_open"]),
        f"{UNFIT} breaker_closed, breaker_open, half_open, isolated must be active; given: ",
    ),
    (
        changed("states", to=["ready", "half_open"]),
        "breaker.states='ready, half_open' is not in document order, each once: half_open, ready",
    ),
    (
        changed("states", to=["half_open", "ready", "ready"]),
        "breaker.states='half_open, ready, ready' is not in document order, each once: half_open",
    ),
    (
        lambda: {**GOOD, "states": ["breaker_closed"], "values": {"failures": 5}},
        "breaker.states and breaker.values are <breaker_closed, (5,)>, where the chart does not ",
    ),
]


@pytest.mark.parametrize(("make", "text"), REFUSED)
def test_what_is_refused_is_named_with_its_value_and_with_what_is_allowed(
    make: Callable[[], object], text: str
) -> None:
    with pytest.raises(SavedError) as caught:
        MACHINE.restore(make())

    assert str(caught.value).startswith(text)
    assert len(str(caught.value)) < 300


def test_a_chart_without_parameters_says_so() -> None:
    chart = next(each for each in CHARTS if not each.parameters)
    machine = Machine(chart)
    saved = machine.save(machine.initial)
    with pytest.raises(SavedError, match=r"parameters has the unknown key 'x'; its keys are none$"):
        machine.restore({**saved, "parameters": {"x": 1}})
    with pytest.raises(SavedError, match=r"parameters is None, not an object with \{\}$"):
        machine.restore({**saved, "parameters": None})


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
STATES = st.lists(st.sampled_from([state.id for state in BREAKER.walk()]), max_size=4)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "layout": st.just(1) | JSON,
            "parameters": st.fixed_dictionaries({"threshold": st.integers(-1, 7)}) | JSON,
            "states": STATES | JSON,
            "values": st.fixed_dictionaries({"failures": st.integers(-1, 7)}) | JSON,
        },
    )
)
def test_anything_is_refused_or_is_a_snapshot_that_saves_as_the_same(
    changes: dict[str, Any],
) -> None:
    saved = {**GOOD, **changes}
    try:
        restored = MACHINE.restore(saved)
    except SavedError:
        return
    assert restored.machine.save(restored) == saved


def test_every_configuration_of_the_chart_is_accepted_and_no_other() -> None:
    ids = [state.id for state in BREAKER.walk()]
    accepted = set()
    for chosen in product((False, True), repeat=len(ids)):
        states = [id for id, wanted in zip(ids, chosen, strict=True) if wanted]
        try:
            accepted.add(MACHINE.restore({**GOOD, "states": states}).leaves)
        except SavedError:
            continue

    assert accepted == {state.id for state in BREAKER.leaves}

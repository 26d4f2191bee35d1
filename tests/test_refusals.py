"""Whoever gives the kit something it has no use for is told so in a sentence, and what to do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from statecharts import (
    Chart,
    ChartError,
    Effect,
    Increment,
    Machine,
    On,
    Parameter,
    Router,
    Set,
    State,
    System,
    Timer,
    Variable,
    check,
    lint,
    native_class,
)
from statecharts.declare import Start
from statecharts.explore import Alone, Checker, Graph, TimersOnly, alone
from statecharts.explore.mutants import mutants
from statecharts.explore.obligations import Examiner
from statecharts.explore.report import messages
from statecharts.export import machine_config, to_json, to_promela
from statecharts.refusals import Part
from statecharts.testgen import MachineSubject, conforms, coverage, drive, state_machine, tours


@dataclass(frozen=True, slots=True)
class Ring(Effect):
    times: int


BELL = Timer("bell", "bell", "it rings", seconds=2, lowest=1, highest=3)
DOOR = Chart(
    id="door",
    title="Door",
    parameters=(Parameter("most", default=2, lowest=1, highest=3),),
    variables=(Variable("rung", "most"),),
    received=("bell_rung",),
    local=("opened",),
    reported=("closed",),
    total_in=("shut",),
    gated=(("bell_rung", "open"),),
    states=(
        State("shut", children=(State("quiet"), State("loud", timer=BELL, enter=(Ring(1),)))),
        State("open", exit=(Set("rung", 0),)),
    ),
    transitions=(
        On("bell_rung", "quiet", to="loud", when="rung < most", do=(Increment("rung"),)),
        On("bell_rung", "shut"),
        On("bell_expired", "loud", to="quiet"),
        On("opened", "shut", to="open"),
        On("closed", "open", to="shut"),
    ),
)


# What a part holds.


def parts(part: Part) -> Iterator[Part]:
    """A part and all parts in it."""
    yield part
    for each in fields(part):
        value = getattr(part, each.name)
        for inside in value if isinstance(value, tuple) else (value,):
            if isinstance(inside, Part):
                yield from parts(inside)


def exchanged(part: Any, old: Part, new: Part) -> Any:
    """``part`` with every ``old`` in it become ``new``."""
    if part is old:
        return new
    if isinstance(part, tuple):
        return tuple(exchanged(each, old, new) for each in part)
    if isinstance(part, Part):
        here = {each.name: getattr(part, each.name) for each in fields(part)}
        return replace(part, **{name: exchanged(here[name], old, new) for name in here})
    return part


FIELDS = [(part, each.name) for part in parts(DOOR) for each in fields(part)]


class Nothing:
    """Nobody's value."""

    __hash__ = None  # type: ignore[assignment]  # It cannot be looked up in a set, as a list.


@pytest.mark.parametrize("value", [Nothing(), Nothing, b"x", (Nothing(),), [], print])
@pytest.mark.parametrize(
    ("part", "field"), FIELDS, ids=[f"{type(part).__name__}.{field}" for part, field in FIELDS]
)
def test_a_field_that_holds_something_else_is_found_before_anything_reads_it(
    part: Part, field: str, value: object
) -> None:
    check(DOOR)
    wrong: Chart = exchanged(DOOR, part, replace(part, **{field: value}))
    problems = list(lint(wrong))
    assert problems
    assert all(field in problem.what and "is not" in problem.what for problem in problems)
    assert all(problem.file == wrong.file and problem.remedy for problem in problems)
    with pytest.raises(ChartError):
        Machine(wrong)


# Words.


@pytest.mark.parametrize(
    ("part", "given", "word", "remedy"),
    [
        (State, ("one",), "final", "use a state without transitions"),
        (State, ("one",), "history", "a variable for what is to be remembered"),
        (State, ("one",), "initial", "what stands first is initial"),
        (State, ("one",), "on", "transitions stand in the chart"),
        (State, ("one",), "entry", "enter=(effect, ...)"),
        (On, ("go", "one"), "target", "where it leads is to="),
        (On, ("go", "one"), "cond", 'when="failures >= threshold"'),
        (On, ("go", "one"), "delay", "time belongs to a state"),
        (Chart, ("toy", "Toy", (), ()), "events", "received, local or reported"),
        (Variable, ("n", 3), "initial", "a variable starts at 0"),
        (State, ("one",), "colour", "it has id, label, children, timer, enter, exit, parallel"),
    ],
)
def test_a_word_that_a_part_lacks_is_refused_where_it_is_written(
    part: Callable[..., Part], given: tuple[object, ...], word: str, remedy: str
) -> None:
    line = test_a_word_that_a_part_lacks_is_refused_where_it_is_written.__code__.co_firstlineno
    with pytest.raises(TypeError) as refusal:
        part(*given, **{word: 1})
    file, written, *_ = str(refusal.value).split(":")
    assert (file, line < int(written) < line + 30) == (__file__, True)
    assert f"{', '.join(map(repr, given))}, {word}=1) has no {word!r}; " in str(refusal.value)
    assert remedy in str(refusal.value)


def test_what_is_written_is_cut_where_it_would_fill_the_message() -> None:
    lengthy: Any = {"label": "x" * 200, "final": True}
    with pytest.raises(TypeError, match=r"State\('one', label='x{40,70}\.\.\.\) has no 'final'"):
        State("one", **lengthy)


def test_a_part_can_still_be_copied_with_a_change() -> None:
    assert replace(BELL, seconds=3) == Timer("bell", "bell", "it rings", 3, 1, 3)


# Kinds.

MACHINE = Machine(DOOR)
SYSTEM = System("house", "House", (DOOR,), ())
ROUTER = Router(SYSTEM)
MODEL = alone(MACHINE)
GRAPH = Graph(MODEL)
(TOUR, *_) = tours(GRAPH)
Function = Callable[[Any], object]

# A function, what it wants, and something else that it is likely to be given.
KINDS: dict[str, tuple[Function, str, object]] = {
    "lint": (lambda given: list(lint(given)), "Chart", SYSTEM),
    "check": (check, "Chart", State("one")),
    "Machine": (Machine, "Chart", MACHINE),
    "native_class": (native_class, "Chart", Chart),
    "Machine.linted": (Machine.linted, "Chart", Chart),
    "to_json": (to_json, "Chart", MACHINE),
    "machine_config": (machine_config, "Chart", SYSTEM),
    "to_promela": (to_promela, "Chart or System", ROUTER),
    "mutants": (lambda given: list(mutants(given)), "Chart", MACHINE),
    "alone": (alone, "Machine", DOOR),
    "Alone of what": (lambda given: Alone(given, TimersOnly()), "Router", SYSTEM),
    "Alone in what": (lambda given: Alone(ROUTER, given), "Outside", MACHINE),
    "Graph": (Graph, "Model", MACHINE),
    "Checker": (Checker, "Graph", MODEL),
    "Examiner": (Examiner, "Router", SYSTEM),
    "messages": (messages, "Trace", GRAPH),
    "tours": (tours, "Graph", MODEL),
    "coverage": (lambda given: coverage(given, ()), "Graph", MACHINE),
    "drive through": (lambda given: drive(given, TOUR, MachineSubject(MACHINE)), "Graph", MODEL),
    "drive whom": (lambda given: drive(GRAPH, TOUR, given), "Subject", MACHINE),
    "state_machine": (
        lambda given: state_machine(given, lambda: MachineSubject(MACHINE)),
        "Machine",
        DOOR,
    ),
    "MachineSubject": (MachineSubject, "Machine", DOOR),
    "conforms": (lambda given: conforms((), given), "Mapping", MACHINE),
    "step": (lambda given: MACHINE.step(given, "opened"), "Snapshot", "shut"),
    "takes": (lambda given: MACHINE.takes(given, "opened"), "Snapshot", ROUTER.initial),
    "adopt": (MACHINE.adopt, "Snapshot", ROUTER.initial),
    "adopt the whole": (ROUTER.adopt, "SystemSnapshot", MACHINE.initial),
    "values": (MACHINE.values, "Snapshot", ("shut", "quiet")),
}


@pytest.mark.parametrize(("function", "wanted", "given"), KINDS.values(), ids=KINDS.keys())
def test_one_kind_of_object_for_another_is_refused_with_how_to_make_the_other(
    function: Function, wanted: str, given: object
) -> None:
    what = "the class Chart" if given is Chart else type(given).__name__
    with pytest.raises(TypeError) as refusal:
        function(given)
    assert str(refusal.value).startswith(f"wanted is {wanted}, given is {what}; ")
    assert len(str(refusal.value).partition("; ")[2]) > 20


def test_a_run_without_mistakes_is_told_nothing() -> None:
    assert drive(GRAPH, TOUR, MachineSubject(MACHINE)) is None
    assert conforms((), {"door": MACHINE}) is None
    assert Start(BELL) in MACHINE.step(MACHINE.initial, "bell_rung").effects

"""A machine is a pure function: memo, library and an interpreter of our own agree everywhere.

The interpreter below is SCXML's algorithm written down from the declaration alone, without the
library and without the classes generated for it. All three are compared on every (snapshot, event)
of the charts of HSMS, and on small random charts: nested, parallel, with guards, variables, timers
and eventless transitions.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from statecharts import (
    Action,
    Chart,
    ChartFaultError,
    Effect,
    Increment,
    Machine,
    NotAllowedError,
    On,
    Parameter,
    Set,
    Start,
    State,
    Step,
    Stop,
    Timer,
    Variable,
    lint,
)
from statecharts.declare import Chart as DeclaredChart
from statecharts.guards import names, render
from statecharts.hsms import BREAKER, CHARTS, LINKTEST, RECEIVER


@dataclass(frozen=True, slots=True)
class Say(Effect):
    """Something visible."""

    word: str


# The interpreter of our own.

Decision = tuple[tuple[str, ...], tuple[int, ...], tuple[Effect, ...], tuple[int, ...]]


class Interpreter:
    """SCXML's algorithm over a declaration."""

    def __init__(self, chart: Chart, parameters: dict[str, int]) -> None:
        self.chart = chart
        self.parameters = parameters
        self.order = [state.id for state in chart.walk()]
        self.paths = {id: [state.id for state in chart.path(id)] for id in self.order}
        self.states = {state.id: state for state in chart.walk()}

    def begin(self) -> Decision:
        self.active: set[str] = set()
        self.values = {each.name: 0 for each in self.chart.variables}
        self.effects: list[Effect] = []
        self.taken: list[int] = []
        self._enter(self._with_defaults(self.chart.states[0].id))
        return self._settle()

    def decide(self, states: Iterable[str], values: Iterable[int], event: str) -> Decision | None:
        self.active = set(states)
        self.values = dict(zip(self.values, values, strict=True))
        self.effects, self.taken = [], []
        if not (first := self._select(event)):
            return None
        self._microstep(first)
        return self._settle()

    def _settle(self) -> Decision:
        while following := self._select(None):
            self._microstep(following)
        return (
            tuple(id for id in self.order if id in self.active),
            tuple(self.values.values()),
            tuple(self.effects),
            tuple(self.taken),
        )

    def _select(self, event: str | None) -> list[int]:
        enabled: list[int] = []
        for leaf in self.order:
            if leaf in self.active and not self.states[leaf].children:
                chosen = self._first(leaf, event)
                if chosen is not None and chosen not in enabled:
                    enabled.append(chosen)
        chosen_ones: list[int] = []
        for one in enabled:
            rivals = [two for two in chosen_ones if self._leaves(one) & self._leaves(two)]
            source = self.chart.transitions[one].source
            above = [
                two
                for two in rivals
                if self.chart.transitions[two].source != source
                and self.chart.transitions[two].source in self.paths[source]
            ]
            if len(above) == len(rivals):
                chosen_ones = [two for two in chosen_ones if two not in above] + [one]
        return chosen_ones

    def _first(self, leaf: str, event: str | None) -> int | None:
        for state in reversed(self.paths[leaf]):
            for index, on in enumerate(self.chart.transitions):
                if on.source == state and on.event == event and self._holds(on.when):
                    return index
        return None

    def _holds(self, guard: str) -> bool:
        # A guard is a Python expression as well, and means the same.
        return not guard or bool(eval(guard, self.values | self.parameters))

    def _domain(self, on: On) -> str | None:
        """The innermost compound state strictly around both ends; None is the whole chart."""
        assert on.to
        for around in reversed(self.paths[on.source][:-1]):
            if not self.states[around].parallel and around in self.paths[on.to][:-1]:
                return around
        return None

    def _leaves(self, index: int) -> set[str]:
        on = self.chart.transitions[index]
        if on.to is None:
            return set()
        domain = self._domain(on)
        return {id for id in self.active if domain is None or domain in self.paths[id][:-1]}

    def _microstep(self, indices: list[int]) -> None:
        left = set().union(*(self._leaves(index) for index in indices))
        for id in reversed(self.order):
            if id in left:
                self._do(self.states[id].exit_actions)
                self.active.remove(id)
        entered: set[str] = set()
        for index in indices:
            on = self.chart.transitions[index]
            self.taken.append(index)
            self._do(on.do)
            if on.to:
                path = self.paths[on.to]
                domain = self._domain(on)
                below = path[path.index(domain) + 1 :] if domain else path
                entered |= self._with_defaults(on.to) | set(below)
                for around in below[:-1]:
                    if self.states[around].parallel:
                        for region in self.states[around].children:
                            if region.id not in path:
                                entered |= self._with_defaults(region.id)
        self._enter(entered)

    def _enter(self, ids: set[str]) -> None:
        for id in self.order:
            if id in ids:
                self.active.add(id)
                self._do(self.states[id].entry_actions)

    def _with_defaults(self, id: str) -> set[str]:
        state = self.states[id]
        children = state.children if state.parallel else state.children[:1]
        return {id}.union(*(self._with_defaults(child.id) for child in children))

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Set(variable, value):
                    self.values[variable] = value
                case Increment(variable):
                    self.values[variable] += 1
                case _:
                    self.effects.append(action)


def decision(step: Step | None) -> Decision | None:
    if step is None:
        return None
    return step.snapshot.states, step.snapshot.values, step.effects, step.taken


def compare(machine: Machine) -> int:
    """Memo, library and interpreter over the whole reachable space. The number of pairs."""
    interpreter = Interpreter(machine.chart, machine.parameters)
    begun = interpreter.begin()
    assert begun[:3] == (
        machine.initial.states,
        machine.initial.values,
        machine.initial_effects,
    )
    snapshots = list(machine.reachable())
    pairs = [(snapshot, name) for snapshot in snapshots for name in machine.events]
    # In another order than that in which the memo was filled.
    random.Random(7).shuffle(pairs)
    for snapshot, name in pairs:
        before = (snapshot.states, snapshot.values, hash(snapshot), repr(snapshot))
        asked = machine.ask_library(snapshot, name)
        assert asked == snapshot.moves[name], (snapshot, name)
        assert decision(asked) == interpreter.decide(snapshot.states, snapshot.values, name), (
            snapshot,
            name,
        )
        if asked is None:
            with pytest.raises(NotAllowedError):
                machine.step(snapshot, name)
        else:
            assert machine.step(snapshot, name) is machine.step(snapshot, name)
            assert asked.snapshot is machine.snapshot(
                reversed(asked.snapshot.states), asked.snapshot.values
            )
        assert before == (snapshot.states, snapshot.values, hash(snapshot), repr(snapshot))
    return len(pairs)


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.id)
def test_memo_library_and_interpreter_agree_on_every_chart_of_hsms(chart: Chart) -> None:
    assert compare(Machine(chart)) >= 12


@pytest.mark.parametrize("threshold", [1, 2, 3])
def test_they_agree_under_other_parameters(threshold: int) -> None:
    compare(Machine(BREAKER, threshold=threshold))
    compare(Machine(LINKTEST, linktest_threshold=threshold))


# Random charts.

VARIABLES = (Variable("n", 3), Variable("m", "most"))
MOST = Parameter("most", 2, 1, 3)
GUARDS = ("", "", "", "n > 1", "n == m", "not (n < 2 or m != 1)", "m >= most and n <= 2")


@st.composite
def trees(draw: st.DrawFn, number: list[int], depth: int) -> State:
    number[0] += 1
    id = f"s{number[0]}"
    timer = None
    if draw(st.integers(0, 3)) == 0:
        timer = Timer(f"t{number[0]}", id, "a while", 1, 0.5, 2)
    count = draw(st.sampled_from((0, 0, 1, 2, 3))) if depth else 0
    children = tuple(draw(trees(number, depth - 1)) for _ in range(count))
    return State(
        id,
        children=children,
        parallel=count > 1 and draw(st.booleans()),
        timer=timer,
        enter=(Say(f"+{id}"),),
        exit=(Say(f"-{id}"),),
    )


def frame(states: tuple[State, ...]) -> list[On]:
    """What makes every state reachable and lets every timer leave."""
    found = [On("count", "home", do=(Increment("n"),), when="n < 3")]
    for top in states[1:]:
        found.append(On(f"go_{top.id}", "home", to=top.id))
        found.append(On("home_again", top.id, to="home", do=(Say("home"),)))
        for state in top.walk():
            if state.timer:
                found.append(On(state.timer.expired, state.id, to="home"))
            if not state.parallel:
                found += [
                    On(f"to_{child.id}", state.children[0].id, to=child.id)
                    for child in state.children[1:]
                ]
    return found


def declared(states: tuple[State, ...], transitions: list[On]) -> Chart:
    timers = {state.timer.expired for top in states for state in top.walk() if state.timer}
    reported = dict.fromkeys(
        on.event for on in transitions if on.event is not None and on.event not in timers
    )
    return DeclaredChart(
        "toy",
        "Toy",
        states,
        tuple(transitions),
        reported=tuple(reported),
        variables=VARIABLES,
        parameters=(MOST,),
    )


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    """Small well-formed charts: what lint refuses in a random one is taken out of it."""
    number = [0]
    tops = draw(st.integers(1, 2))
    states = (State("home"), *(draw(trees(number, 3)) for _ in range(tops)))
    ids = [state.id for top in states for state in top.walk()]
    some = st.builds(
        On,
        event=st.sampled_from((None, "e1", "e2", "e3")),
        source=st.sampled_from(ids),
        to=st.sampled_from((None, *ids)),
        when=st.sampled_from(GUARDS),
        do=st.lists(
            st.sampled_from((Say("a"), Say("b"), Set("n", 0), Set("n", 2), Set("m", 1))), max_size=2
        ).map(tuple),
    )
    must = [*frame(states), On("mark", "home", do=(Set("m", 1),))]
    extra = draw(st.lists(some, max_size=12))
    for _ in range(4):
        chart = declared(states, [*must, *extra])
        problems = list(lint(chart))
        if not problems:
            return chart
        refused = {problem.place for problem in problems}
        circles = any("without an event" in problem.what for problem in problems)
        extra = [
            on
            for on in extra
            if f"transition {on}" not in refused and not (circles and on.event is None)
        ]
    assume(False)
    raise AssertionError


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(chart=charts())
def test_memo_library_and_interpreter_agree_on_random_charts(chart: Chart) -> None:
    event(f"parallel: {any(state.parallel for state in chart.walk())}")
    event(f"eventless: {any(on.event is None for on in chart.transitions)}")
    compare(Machine(chart))


# The order of what is asked.

T = Timer("t", "T", "a while", 1, 0.5, 2)


def test_effects_come_from_inside_out_then_between_then_from_outside_in() -> None:
    states = (
        State(
            "outer",
            timer=T,
            exit=(Say("-outer"),),
            children=(State("inner", exit=(Say("-inner"), Say("--inner"))),),
        ),
        State(
            "other",
            enter=(Say("+other"), Set("n", 2)),
            children=(State("within", enter=(Say("+within"),)), State("last", enter=(Say("!"),))),
        ),
    )
    chart = Chart(
        "toy",
        "Toy",
        states,
        (
            On("go", "inner", to="other", do=(Say("between"),)),
            On("t_expired", "outer", to="outer"),
            On(None, "within", to="last", when="n == 2", do=(Say("at once"),)),
            On("back", "other", to="outer"),
        ),
        reported=("go", "back"),
        variables=(Variable("n", 2),),
    )
    machine = Machine(chart)
    assert machine.initial_effects == (Start(T),)
    step = machine.step(machine.initial, "go")
    assert [str(effect) for effect in step.effects] == [
        "Say(-inner)",
        "Say(--inner)",
        "Stop(T)",
        "Say(-outer)",
        "Say(between)",
        "Say(+other)",
        "Say(+within)",
        "Say(at once)",
        "Say(!)",
    ]
    assert step.taken == (0, 2)
    assert machine.values(step.snapshot) == {"n": 2}
    again = machine.step(machine.initial, "t_expired")
    assert again.snapshot is machine.initial
    assert again.effects[-1] == Start(T)
    assert Stop(T) in again.effects


# Refusals.


def test_refusal_names_chart_event_state_and_what_is_allowed() -> None:
    machine = Machine(BREAKER)
    with pytest.raises(NotAllowedError) as refusal:
        machine.step(machine.initial, "release_requested")
    error = refusal.value
    assert (error.chart, error.event, error.snapshot) == (
        BREAKER,
        "release_requested",
        machine.initial,
    )
    assert error.allowed == machine.enabled(machine.initial)
    assert str(error) == (
        "breaker does not take 'release_requested' in breaker_closed; it takes isolate_requested, "
        "reset_requested, permit_requested, attempt_succeeded, attempt_failed, attempt_cancelled, "
        "stale_result_reported, reconfigured"
    )


def test_refusal_says_when_nothing_is_allowed() -> None:
    machine = Machine(
        Chart(
            "toy",
            "Toy",
            (State("one"), State("two")),
            (On("go", "one", to="two"),),
            reported=("go",),
        )
    )
    end = machine.step(machine.initial, "go").snapshot
    with pytest.raises(NotAllowedError, match="toy does not take 'go' in two; it takes nothing"):
        machine.step(end, "go")
    with pytest.raises(NotAllowedError, match="toy does not take 'gone' in one; it takes go"):
        machine.step(machine.initial, "gone")
    assert not machine.takes(end, "go")


def test_fault_names_chart_event_and_state() -> None:
    chart = Chart(
        "toy",
        "Toy",
        (State("one"),),
        (On("go", "one", do=(Increment("n"),)),),
        reported=("go",),
        variables=(Variable("n", 1),),
    )
    machine = Machine(chart)
    after = machine.step(machine.initial, "go").snapshot
    with pytest.raises(ChartFaultError, match=r"toy on 'go' in one: n would become 2.*0\.\.1"):
        machine.step(after, "go")


# Parameters and snapshots.


@pytest.mark.parametrize("threshold", [0, 1_001, -1, "5", 2.5, True, None])
def test_parameter_outside_its_range_is_refused(threshold: Any) -> None:
    with pytest.raises(ValueError, match=rf"breaker: threshold={threshold!r} is not in 1\.\.1000"):
        Machine(BREAKER, threshold=threshold)


def test_unknown_parameter_is_refused() -> None:
    with pytest.raises(TypeError, match="breaker has no parameter 'treshold'; it has threshold"):
        Machine(BREAKER, treshold=3)
    with pytest.raises(TypeError, match="receiver has no parameter 'threshold'; it has none"):
        Machine(RECEIVER, threshold=3)


def test_snapshots_are_one_object_each_and_equal_by_value() -> None:
    one, two = Machine(BREAKER), Machine(BREAKER)
    assert one.initial == two.initial
    assert one.initial is not two.initial
    assert hash(one.initial) == hash(two.initial)
    assert one.snapshot(["breaker_closed"], [0]) is one.initial
    assert one.initial != one.snapshot(["breaker_closed"], [1])
    assert one.initial != "breaker_closed"
    assert "breaker_closed" in one.initial
    assert "isolated" not in one.initial
    assert repr(one.initial) == "<breaker_closed, (0,)>"
    assert repr(one.snapshot(["ready", "half_open"], [5])) == "<ready, (5,)>"


@pytest.mark.parametrize(
    ("states", "values", "message"),
    [
        ([], [0], "exactly one of breaker_closed, breaker_open, half_open, isolated"),
        (["half_open"], [0], "exactly one of ready, probing must be active"),
        (["isolated", "breaker_open"], [0], "exactly one of breaker_closed, breaker_open"),
        (["isolated", "ready"], [0], r"ready cannot be active beside \('isolated',\)"),
        (["isolated", "nowhere"], [0], "nowhere cannot be active"),
        (["isolated"], [6], r"breaker: failures=6 is not in 0\.\.5"),
        (["isolated"], [-1], r"breaker: failures=-1 is not in 0\.\.5"),
        (["isolated"], ["1"], r"breaker: failures='1' is not in 0\.\.5"),
        (["isolated"], [1.0], r"breaker: failures=1\.0 is not in 0\.\.5"),
        (["isolated"], [], r"breaker: \(\) are not the values of failures"),
        (["isolated"], [1, 2], r"breaker: \(1, 2\) are not the values of failures"),
    ],
)
def test_impossible_snapshot_is_refused(states: list[str], values: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Machine(BREAKER).snapshot(states, values)


def test_a_text_in_place_of_the_states_of_a_snapshot_is_refused() -> None:
    with pytest.raises(TypeError, match="the text 'isolated': name the state and its"):
        Machine(BREAKER).snapshot("isolated", [0])


def test_every_region_of_a_snapshot_is_active() -> None:
    regions = tuple(State(id, children=(State(f"{id}1"),)) for id in ("left", "right"))
    both = State("both", parallel=True, children=regions)
    chart = Chart("toy", "Toy", (both,), (On("go", "both", to="both"),), reported=("go",))
    machine = Machine(chart)
    assert repr(machine.initial) == "<left1 + right1>"
    with pytest.raises(ValueError, match="all of left, right must be active"):
        machine.snapshot(["both", "left", "left1"])


def test_snapshot_of_another_machine_is_refused_until_adopted() -> None:
    wide, narrow = Machine(BREAKER, threshold=5), Machine(BREAKER, threshold=2)
    three = wide.snapshot(["breaker_closed"], [3])
    for ask in (narrow.step, narrow.takes):
        with pytest.raises(ValueError, match="adopt"):
            ask(three, "attempt_failed")
    adopted = narrow.adopt(three)
    assert adopted is narrow.snapshot(["breaker_closed"], [2])
    assert narrow.step(adopted, "reconfigured").snapshot.states == ("breaker_open",)
    assert wide.adopt(adopted) is wide.snapshot(["breaker_closed"], [2])
    with pytest.raises(ValueError, match=r"breaker cannot adopt .* of linktest"):
        wide.adopt(Machine(LINKTEST).initial)


def test_nothing_that_one_machine_decided_is_believed_by_another() -> None:
    one, three = Machine(BREAKER, threshold=1), Machine(BREAKER, threshold=3)
    assert one.step(one.initial, "attempt_failed").snapshot.states == ("breaker_open",)
    after = three.step(three.adopt(one.initial), "attempt_failed").snapshot
    assert after == three.snapshot(["breaker_closed"], [1])


# Guards and names.


@pytest.mark.parametrize(
    ("guard", "holds"),
    [
        ("n == 2", True),
        ("n <= 2", True),
        ("n >= 2", True),
        ("n < 2", False),
        ("n > 2", False),
        ("n != 2", False),
        ("n < m", True),
        ("n <= 1", False),
        ("n > 1", True),
        ("n >= 3", False),
        ("n > 1 and m > 9", False),
        ("n > 9 or m == 3", True),
        ("not n > 1", False),
        ("not (n > 9 or m > 9)", True),
    ],
)
def test_guards_mean_the_same_here_and_in_the_library(guard: str, holds: bool) -> None:
    chart = Chart(
        "toy",
        "Toy",
        (State("one"), State("two")),
        (On("set", "one", do=(Set("n", 2), Set("m", 3))), On("go", "one", to="two", when=guard)),
        reported=("set", "go"),
        variables=(Variable("n", 3), Variable("m", 3)),
    )
    machine = Machine(chart)
    assert eval(guard, {"n": 2, "m": 3}) is holds
    assert machine.takes(machine.step(machine.initial, "set").snapshot, "go") is holds
    python = render(guard, conjunction="and", disjunction="or", negation="not ", prefix="")
    assert bool(eval(python, {"n": 2, "m": 3})) is holds
    assert names(guard) <= {"n", "m"}
    javascript = render(guard, conjunction="&&", disjunction="||", negation="!", prefix="c.")
    assert "c.n" in javascript


def test_chart_says_its_parts() -> None:
    state = BREAKER.state("half_open")
    assert [each.id for each in state.leaves] == ["ready", "probing"]
    assert [each.id for each in BREAKER.leaves][:2] == ["breaker_closed", "breaker_open"]
    assert state.name == "Half-open"
    assert State("not_named").name == "Not named"
    assert [each.id for each in BREAKER.path("ready")] == ["half_open", "ready"]
    for ask in (BREAKER.state, BREAKER.path):
        with pytest.raises(KeyError, match="chart breaker has no state 'nowhere'"):
            ask("nowhere")
    assert str(On("go", "one", to="two", when="n > 1")) == "one: go [n > 1] -> two"
    assert str(On(None, "one")) == "one: (at once)"
    assert (str(Set("n", 1)), str(Increment("n"))) == ("n := 1", "n += 1")
    assert (str(T), T.expired, str(Start(T))) == ("T", "t_expired", "Start(T)")

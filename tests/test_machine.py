"""A machine is a pure function: memo, library and an interpreter of our own agree everywhere.

The interpreter below is SCXML's algorithm written down from the declaration alone, without the
library and without the classes generated for it. All three are compared on every (snapshot, event)
of the charts of HSMS, and on small random charts: nested, parallel, with guards, variables, timers
and eventless transitions.
"""

import random
from collections.abc import Container, Iterable
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

import statecharts
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
    Snapshot,
    Start,
    State,
    Step,
    Stop,
    Timer,
    Variable,
    lint,
    native,
)
from statecharts.declare import ADOPTED
from statecharts.declare import Chart as DeclaredChart
from statecharts.guards import names, render
from statecharts.hsms import ACTIVE, BREAKER, CHARTS, LINKTEST, RECEIVER
from tests.support.odd_charts import COUNTING, KEEPING, KEEPING_BOTH, ODD, Say

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
        self.highest = {
            each.name: parameters.get(str(each.highest), each.highest) for each in chart.variables
        }

    def begin(self) -> Decision:
        self.active: set[str] = set()
        self.values = {each.name: 0 for each in self.chart.variables}
        self.effects: list[Effect] = []
        self.taken: list[int] = []
        self._enter(self._with_defaults(self.chart.states[0].id))
        return self._settle()

    def decide(self, states: Iterable[str], values: Iterable[int], event: str) -> Decision | None:
        self._resume(states, values)
        if not (first := self._select(event)):
            return None
        self._microstep(first)
        return self._settle()

    def adopt(self, states: Iterable[str], values: Iterable[int]) -> Decision:
        self._resume(states, values)
        for name, highest in self.highest.items():
            self.values[name] = min(self.values[name], int(highest))
        return self._settle()

    def _resume(self, states: Iterable[str], values: Iterable[int]) -> None:
        self.active = set(states)
        self.values = dict(zip(self.highest, values, strict=True))
        self.effects, self.taken = [], []

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
        kept = {self.chart.transitions[index].keep for index in indices}
        for id in reversed(self.order):
            if id in left:
                if self.states[id].timer in kept:
                    self._do(self.states[id].exit)
                else:
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
        self._enter(entered, kept)

    def _enter(self, ids: set[str], kept: Container[Timer | None] = ()) -> None:
        for id in self.order:
            if id in ids:
                self.active.add(id)
                if self.states[id].timer in kept:
                    self._do(self.states[id].enter)
                else:
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
                    self.values[variable] = min(
                        self.values[variable] + 1, int(self.highest[variable])
                    )
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
    assert compare(Machine(chart)) >= 6


@pytest.mark.parametrize("chart", ODD, ids=lambda chart: str(chart.id))
def test_they_agree_on_charts_made_to_be_hard(chart: Chart) -> None:
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
        shared = draw(st.sampled_from(("t1", f"t{number[0]}")))
        timer = Timer(shared, "T", "a while", 1, 0.5, 2)
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
    timers = {state.timer for top in states for state in top.walk()}
    some = st.builds(
        On,
        event=st.sampled_from((None, "e1", "e2", "e3")),
        source=st.sampled_from(ids),
        to=st.sampled_from((None, *ids)),
        when=st.sampled_from(GUARDS),
        do=st.lists(
            st.sampled_from((Say("a"), Say("b"), Set("n", 0), Set("n", 2), Set("m", 1))), max_size=2
        ).map(tuple),
        keep=st.one_of(st.none(), st.sampled_from(sorted(timers, key=str))),
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
    event(f"kept: {any(on.keep is not None for on in chart.transitions)}")
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


# A timer that runs on.


def asked(step: Step) -> str:
    return " ".join(each.word if isinstance(each, Say) else str(each) for each in step.effects)


def at(machine: Machine, *states: str, times: int = 0) -> Snapshot:
    return machine.snapshot(states, [times] * len(machine.highest))


def test_a_kept_timer_is_neither_stopped_nor_started_and_all_else_is_in_order() -> None:
    machine = Machine(KEEPING)
    first = at(machine, "asking", "first")
    assert asked(machine.step(first, "go")) == (
        "-first Stop(dwell) -asking go +busy Start(dwell) +early"
    )
    assert asked(machine.step(first, "again")) == "-first again +first"
    late = at(machine, "busy", "late")
    assert asked(machine.step(late, "back")) == "-late -busy back Start(dwell) +asking +first"


def test_only_the_timer_that_is_named_runs_on() -> None:
    machine = Machine(KEEPING)
    early = at(machine, "busy", "early")
    assert (
        asked(machine.step(early, "back")) == "-early Stop(wait) -busy back early +asking +second"
    )
    assert asked(machine.step(early, "anew")) == (
        "Stop(dwell) -early -busy +busy Start(dwell) +early"
    )


def test_a_timer_kept_on_the_way_may_be_stopped_or_kept_again_in_the_same_step() -> None:
    machine = Machine(KEEPING)
    passed = "-late -busy by +passing"
    stays = machine.step(at(machine, "busy", "late"), "by")
    again = machine.step(at(machine, "busy", "late", times=1), "by")
    stops = machine.step(at(machine, "busy", "late", times=2), "by")
    assert asked(stays) == passed
    assert asked(again) == f"{passed} -passing once more Start(dwell) +asking +first"
    assert asked(stops) == f"{passed} Stop(wait) -passing too often +resting"
    around = machine.step(at(machine, "busy", "late"), "around")
    assert asked(around) == (
        "-late -busy around +leaving Stop(wait) -leaving +outside -outside back "
        "Start(dwell) +asking Start(wait) +first"
    )


def test_regions_keep_each_its_own_timer() -> None:
    machine = Machine(KEEPING_BOTH)
    begun = machine.initial
    both = machine.step(begun, "both")
    assert asked(both) == "-r_one -l_one left right +l_two +r_two"
    stop = machine.step(both.snapshot, "stop")
    assert asked(stop) == "Stop(wait) -r_two -right Stop(blink) -l_two -left -running stop +stopped"
    assert asked(machine.step(stop.snapshot, "start")) == (
        "-stopped start +running +left Start(blink) +l_one +right Start(wait) +r_two"
    )


@pytest.mark.parametrize("chart", [*CHARTS, *ODD], ids=lambda chart: str(chart.id))
def test_exactly_the_timers_of_the_active_states_run(chart: Chart) -> None:
    machine = Machine(chart)
    running = {machine.initial: ran(set(), machine.initial_effects)}
    queue = [machine.initial]
    for snapshot in queue:
        wanted = {state.timer for state in chart.walk() if state.id in snapshot.states}
        assert running[snapshot] == wanted - {None}
        for name in machine.enabled(snapshot):
            step = machine.step(snapshot, name)
            expired = {timer for timer in chart.timers if timer.expired == name}
            # The end of a timer is asked for although it has run out.
            after = ran(running[snapshot] | expired, step.effects)
            assert running.setdefault(step.snapshot, after) == after
            if step.snapshot not in queue:
                queue.append(step.snapshot)


def ran(running: set[Timer], effects: Iterable[Effect]) -> set[Timer]:
    """The timers that run afterwards; none is stopped that rests or started that runs."""
    running = set(running)
    for effect in effects:
        match effect:
            case Start(timer):
                assert timer not in running
                running.add(timer)
            case Stop(timer):
                running.remove(timer)
            case _:
                assert "Keep" not in str(effect)
    return running


def test_a_step_that_fails_keeps_no_timer_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(KEEPING_BOTH)
    with monkeypatch.context() as short:
        short.setattr(native, "FUSE", 1)
        with pytest.raises(ChartFaultError):
            machine.step(machine.initial, "both")
    again = machine.step(at(machine, "running", "left", "l_two", "right", "r_two"), "blink_expired")
    assert asked(again) == "Stop(blink) -l_two Start(blink) +l_one"


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
        "stale_result_reported"
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


def test_fault_names_chart_event_and_state(monkeypatch: pytest.MonkeyPatch) -> None:
    chart = Chart(
        "toy",
        "Toy",
        (State("one"), State("two")),
        (On("go", "one", to="two"),),
        reported=("go",),
    )
    machine = Machine(chart)
    monkeypatch.setattr(native, "FUSE", 0)
    with pytest.raises(ChartFaultError, match="toy on 'go' in one: 0 transitions in one step"):
        machine.step(machine.initial, "go")


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
    adopted = narrow.adopt(three).snapshot
    assert adopted is narrow.snapshot(["breaker_open"], [2])
    assert wide.adopt(adopted) == (wide.snapshot(["breaker_open"], [2]), (), ())
    with pytest.raises(ValueError, match=r"breaker cannot adopt .* of linktest"):
        wide.adopt(Machine(LINKTEST).initial)


def test_nothing_that_one_machine_decided_is_believed_by_another() -> None:
    one, three = Machine(BREAKER, threshold=1), Machine(BREAKER, threshold=3)
    assert one.step(one.initial, "attempt_failed").snapshot.states == ("breaker_open",)
    after = three.step(three.adopt(one.initial).snapshot, "attempt_failed").snapshot
    assert after == three.snapshot(["breaker_closed"], [1])


def odd_parameters(chart: Chart) -> list[dict[str, int]]:
    """Some values for the parameters of a chart: the ends of each, and what is between."""
    values = [
        sorted(
            {each.lowest, 2, 3, min(each.highest, 10)} & set(range(each.lowest, each.highest + 1))
        )
        for each in chart.parameters
    ]
    names = [each.name for each in chart.parameters]
    return [dict(zip(names, chosen, strict=True)) for chosen in product(*values)]


@pytest.mark.parametrize("chart", [*CHARTS, *ODD], ids=lambda chart: str(chart.id))
def test_whatever_is_adopted_can_go_on_with_every_event_of_its_state(chart: Chart) -> None:
    machines = [Machine(chart, **given) for given in odd_parameters(chart)]
    for before, after in product(machines, repeat=2):
        interpreter = Interpreter(chart, after.parameters)
        for snapshot in before.reachable():
            step = after.adopt(snapshot)
            assert decision(step) == interpreter.adopt(snapshot.states, snapshot.values)
            # What is adopted is settled, and fits the new domains.
            assert after.adopt(step.snapshot) == (step.snapshot, (), ())
            assert after.snapshot(step.snapshot.states, step.snapshot.values) is step.snapshot
            if not step.taken:
                assert step.effects == ()
                assert step.snapshot.states == snapshot.states
            # No event ends in a fault, and none that its state takes without a guard is refused.
            taken = set(after.enabled(step.snapshot))
            free = {
                on.event
                for on in chart.transitions
                if on.event is not None and not on.when and on.source in step.snapshot.states
            }
            assert free <= taken


def test_a_threshold_lowered_to_what_is_counted_takes_its_transition_at_once() -> None:
    wide, narrow = Machine(COUNTING, limit=5), Machine(COUNTING, limit=2)
    counted = wide.snapshot(["low", "some"], [3, 1])
    step = narrow.adopt(counted)
    assert step.snapshot is narrow.snapshot(["full", "settling"], [2, 1])
    assert asked(step) == "-some -low full at once +full +settling"
    assert step.taken == (1,)
    # And goes on from there as far as it can.
    counted = wide.snapshot(["low", "some"], [3, 0])
    assert asked(narrow.adopt(counted)).endswith("-settling settled +settled")


def test_a_parameter_that_a_guard_reads_counts_from_the_moment_it_is_adopted() -> None:
    again, once = Machine(ACTIVE, single_use=0), Machine(ACTIVE, single_use=1)
    for machine in (again, once):
        assert machine.adopt(again.initial).snapshot.states == again.initial.states
    waiting = next(each for each in again.reachable() if "waiting" in each)
    step = once.adopt(waiting)
    assert step.snapshot.states == ("closed",)
    assert "Stop(T5)" in asked(step)
    assert again.adopt(waiting) == (waiting, (), ())


def test_no_event_of_a_chart_is_the_one_of_other_parameters() -> None:
    machine = Machine(BREAKER)
    assert ADOPTED not in machine.events
    assert not machine.takes(machine.initial, ADOPTED)


@pytest.mark.parametrize("chart", [*CHARTS, *ODD], ids=lambda chart: str(chart.id))
def test_what_is_counted_stays_at_its_highest(chart: Chart) -> None:
    counting = [on for on in chart.transitions if any(type(each) is Increment for each in on.do)]
    machine = Machine(chart)
    for on in counting:
        (name,) = (each.variable for each in on.do if isinstance(each, Increment))
        full = tuple(machine.highest.values())
        for snapshot in machine.reachable():
            if on.source in snapshot.states and on.event is not None:
                overflowing = machine.snapshot(snapshot.states, full)
                after = machine.ask_library(overflowing, on.event)
                assert (
                    after is None or machine.values(after.snapshot)[name] <= machine.highest[name]
                )


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


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.id)
def test_a_machine_of_a_linted_chart_is_the_machine_of_the_chart(chart: Chart) -> None:
    known, machine = Machine.linted(chart), Machine(chart)
    assert list(lint(chart)) == []
    assert known.initial == machine.initial
    assert known.initial_effects == machine.initial_effects
    assert set(known.reachable()) == set(machine.reachable())


def test_a_machine_of_a_linted_chart_refuses_parameters_as_any_other() -> None:
    assert Machine.linted(BREAKER, threshold=7).parameters == {"threshold": 7}
    with pytest.raises(ValueError, match="threshold=0 is not in"):
        Machine.linted(BREAKER, threshold=0)


def test_the_package_has_no_other_names_than_its_own() -> None:
    with pytest.raises(AttributeError, match=r"^module 'statecharts' has no attribute 'machines'$"):
        statecharts.machines  # type: ignore[attr-defined]  # noqa: B018  # that is the point

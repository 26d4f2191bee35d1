"""What python-statemachine really does, trap by trap, and that charts of the kit do not suffer.

Each trap has a chart in the library's own form that falls into it: an upgrade that changes one of
these is noticed here before it changes a proof. Beside it stands why the kit is safe: the class it
generates behaves otherwise, or its lint refuses the chart, or its form has no word for it.
"""

import asyncio
import random
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from statemachine import State as NativeState
from statemachine import StateChart
from statemachine.engines import sync
from statemachine.exceptions import InvalidDefinition, InvalidStateValue, TransitionNotAllowed
from statemachine.factory import StateMachineMetaclass
from statemachine.orderedset import OrderedSet
from statemachine.state import HistoryState
from statemachine.transition import Transition

from statecharts import (
    Chart,
    ChartFaultError,
    Effect,
    Increment,
    Machine,
    On,
    State,
    Variable,
    lint,
    native,
    native_class,
)
from statecharts.hsms import CHARTS
from statecharts.native import Model, StrictChart


@dataclass(frozen=True, slots=True)
class Say(Effect):
    """Something visible."""

    word: str


def loud(id: str, *children: State, parallel: bool = False) -> State:
    """A state that says when it is entered and left."""
    return State(
        id, children=children, parallel=parallel, enter=(Say(f"+{id}"),), exit=(Say(f"-{id}"),)
    )


def words(effects: Iterable[object]) -> str:
    return " ".join(effect.word for effect in effects if isinstance(effect, Say))


def chart(states: Iterable[State], transitions: Iterable[On], **more: Any) -> Chart:
    transitions = tuple(transitions)
    events = tuple(dict.fromkeys(on.event for on in transitions if on.event))
    return Chart("toy", "Toy", tuple(states), transitions, reported=events, **more)


REGIONS = chart(
    [
        loud(
            "both",
            loud("left", loud("l1"), loud("l2")),
            loud("right", loud("r1"), loud("r2")),
            parallel=True,
        ),
        loud("left_out"),
        loud("right_out"),
    ],
    [
        On("move", "l1", to="l2", do=(Say("left"),)),
        On("move", "l2", to="l1", do=(Say("left"),)),
        On("move", "r1", to="r2", do=(Say("right"),)),
        On("move", "r2", to="r1", do=(Say("right"),)),
        # Both regions want out, to different places: only one can have it.
        On("out", "l1", to="left_out"),
        On("out", "r1", to="right_out"),
        On("back", "left_out", to="both"),
        On("back", "right_out", to="both"),
    ],
)


class Plain(StateChart[Any]):
    """The library with its defaults, but for the checks that refuse charts as small as these."""

    validate_disconnected_states = False
    validate_trap_states = False


class Unsorted:
    """A model as the library's own: it keeps the states in the order they come in."""

    def __init__(self) -> None:
        self.state: Any = None


def recorder(said: list[str]) -> Callable[[str], Callable[[], None]]:
    return lambda word: lambda: said.append(word)


def native_regions(said: list[str]) -> StateChart[Any]:
    """The same chart as ``REGIONS``, written for the library."""
    say = recorder(said)

    class Regions(Plain):
        class both(NativeState.Parallel):  # noqa: N801
            class left(NativeState.Compound):  # noqa: N801
                l1 = NativeState(enter=say("+l1"), exit=say("-l1"))
                l2 = NativeState(enter=say("+l2"), exit=say("-l2"))
                move = l1.to(l2, on=say("left")) | l2.to(l1, on=say("left"))

            class right(NativeState.Compound):  # noqa: N801
                r1 = NativeState(enter=say("+r1"), exit=say("-r1"))
                r2 = NativeState(enter=say("+r2"), exit=say("-r2"))
                move = r1.to(r2, on=say("right")) | r2.to(r1, on=say("right"))

        left_out = NativeState()
        right_out = NativeState()
        back = left_out.to(both) | right_out.to(both)
        out = both.left.l1.to(left_out) | both.right.r1.to(right_out)

    return Regions(model=Unsorted())


# 1. The order of selection.


def test_library_selects_in_the_order_in_which_states_were_added() -> None:
    said: list[str] = []
    regions = native_regions(said)
    for order, first, out in (
        (["both", "left", "l1", "right", "r1"], "left", "left_out"),
        (["both", "right", "r1", "left", "l1"], "right", "right_out"),
    ):
        regions.model.state = OrderedSet(order)
        said.clear()
        regions.send("move")
        assert next(word for word in said if word in ("left", "right")) == first
        regions.model.state = OrderedSet(order)
        regions.send("out")
        assert regions.model.state == out


def test_kit_selects_alike_however_the_configuration_was_ordered() -> None:
    chance = random.Random(37)
    machine = Machine(REGIONS)
    running = machine._native
    snapshot = machine.initial
    for _ in range(3_000):
        event = chance.choice(machine.enabled(snapshot))
        expected = machine.step(snapshot, event)
        shuffled = list(snapshot.states)
        chance.shuffle(shuffled)
        machine._model.state = shuffled if len(shuffled) > 1 else shuffled[0]
        machine._model.effects, machine._model.taken = [], []
        running.send(event)
        assert machine._model.active() == expected.snapshot.states
        assert tuple(machine._model.effects) == expected.effects
        snapshot = expected.snapshot


# 2. Document order.


def test_library_numbers_nested_states_wrongly() -> None:
    regions = type(native_regions([]))
    numbers = {id: state.document_order for id, state in regions.states_map.items()}
    preorder = sorted(numbers, key=lambda id: list(numbers).index(id))
    assert sorted(numbers.values()) != list(range(1, len(numbers) + 1))
    assert numbers["right"] <= numbers["l1"], preorder


def test_kit_enters_and_leaves_regions_in_document_order() -> None:
    made = native_class(REGIONS)
    assert [made.states_map[state.id].document_order for state in REGIONS.walk()] == [*range(1, 10)]
    machine = Machine(REGIONS)
    assert words(machine.initial_effects) == "+both +left +l1 +right +r1"
    left = machine.step(machine.initial, "out")
    assert words(left.effects) == "-r1 -right -l1 -left -both +left_out"


def test_the_library_looks_for_no_callback_by_its_name() -> None:
    made = native_class(REGIONS)
    for state in made.states_map.values():
        # Those into the initial states are the library's own.
        ours = (each for each in state.transitions if not each.initial)
        for specs in (state._specs, *(each._specs for each in ours)):
            assert not specs.conventional_specs


# 3. Time.


class Slept(Exception):  # noqa: N818
    """Somebody slept."""


def refuse_to_sleep(_seconds: float) -> None:
    raise Slept


def test_library_sleeps_the_thread_for_a_delayed_event(monkeypatch: pytest.MonkeyPatch) -> None:
    class Delayed(Plain):
        idle = NativeState(initial=True)
        done = NativeState()
        go = idle.to(done)

    monkeypatch.setattr(sync, "sleep", refuse_to_sleep)
    with pytest.raises(Slept):
        Delayed().send("go", delay=60_000)


def test_library_invokes_in_a_thread() -> None:
    where: list[int] = []

    class Invoking(Plain):
        idle = NativeState(initial=True)
        busy = NativeState(invoke=lambda: where.append(threading.get_ident()))
        go = idle.to(busy)
        end = busy.to(idle)

    invoking = Invoking()
    invoking.send("go")
    invoking._engine._invoke_manager.cancel_all()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(5)
    assert where
    assert where[0] != threading.get_ident()


def test_kit_never_sleeps_and_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_to_start(_thread: threading.Thread) -> None:
        raise Slept

    monkeypatch.setattr(sync, "sleep", refuse_to_sleep)
    monkeypatch.setattr(threading.Thread, "start", refuse_to_start)
    for each in CHARTS:
        assert list(Machine(each).reachable())


# 4. Coroutines.


def test_library_starts_a_loop_of_its_own_for_a_coroutine() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    class Coroutines(Plain):
        idle = NativeState(initial=True)
        done = NativeState()
        go = idle.to(done)

        async def on_enter_done(self) -> None:
            loops.append(asyncio.get_running_loop())

    coroutines = Coroutines()
    coroutines.send("go")
    assert len(loops) == 1
    loops[0].close()


def test_kit_refuses_whatever_can_be_called() -> None:
    async def act() -> None:
        raise AssertionError

    action: Any = act
    toy = chart([State("one"), State("two", enter=(action,))], [On("go", "one", to="two")])
    assert "is not an effect object" in str(next(lint(toy)))


# 5. Flags and internal transitions.


def test_library_ignores_unknown_events_by_default() -> None:
    class Default(Plain):
        idle = NativeState(initial=True)
        done = NativeState()
        go = idle.to(done)

    default = Default()
    default.send("went")
    assert default.model.state == "idle"


def test_library_makes_an_event_of_an_exception_by_default() -> None:
    class Default(Plain):
        idle = NativeState(initial=True)
        done = NativeState()
        go = idle.to(done)
        failed = NativeState()
        error_execution = done.to(failed)

        def on_enter_done(self) -> None:
            raise RuntimeError("lost")

    default = Default()
    default.send("go")
    assert default.model.state == "failed"


def test_library_takes_the_exception_of_a_guard_for_false_by_default() -> None:
    class Default(Plain):
        idle = NativeState(initial=True)
        done = NativeState()
        go = idle.to(done, cond="broken")

        def broken(self) -> bool:
            raise RuntimeError("lost")

    default = Default()
    default.send("go")
    assert default.model.state == "idle"


def internal_chart(entries: bool, said: list[str]) -> StateChart[Any]:
    say = recorder(said)

    class Internal(Plain):
        enable_self_transition_entries = entries

        class outer(NativeState.Compound):  # noqa: N801
            a = NativeState(initial=True)
            b = NativeState(enter=say("+b"), exit=say("-b"))
            step = a.to(b)
            again = b.to(b, internal=True)

        restart = outer.to(outer.a, internal=True)

    return Internal()


def test_library_loses_its_leaf_in_an_internal_transition_of_a_compound_state() -> None:
    internal = internal_chart(entries=False, said=[])
    internal.send("step")
    internal.send("restart")
    assert internal.model.state == "outer"


def test_library_enters_again_without_leaving_in_an_internal_self_transition() -> None:
    said: list[str] = []
    internal = internal_chart(entries=True, said=said)
    internal.send("step")
    said.clear()
    internal.send("again")
    assert said == ["+b"]


def test_kit_sets_every_flag_of_the_library_itself() -> None:
    flags = {
        name
        for owner in (StateChart, type(StateChart))
        for name, value in vars(owner).items()
        if isinstance(value, bool) and not name.startswith("_")
    }
    assert flags <= set(vars(StrictChart))
    assert not StrictChart.allow_event_without_transition
    assert not StrictChart.catch_errors_as_events
    assert not StrictChart.atomic_configuration_update
    assert StrictChart.enable_self_transition_entries


def test_kit_neither_leaves_nor_enters_without_a_target() -> None:
    toy = chart(
        [loud("outer", loud("inner"))],
        [
            On("stay", "inner", do=(Say("stayed"),)),
            On("around", "outer", do=(Say("stayed around"),)),
            On("again", "inner", to="inner", do=(Say("between"),)),
            On("anew", "inner", to="outer", do=(Say("between"),)),
        ],
    )
    machine = Machine(toy)
    said = {event: words(machine.step(machine.initial, event).effects) for event in machine.events}
    assert said == {
        "stay": "stayed",
        "around": "stayed around",
        "again": "-inner between +inner",
        "anew": "-inner -outer between +outer +inner",
    }
    assert {machine.step(machine.initial, event).snapshot for event in machine.events} == {
        machine.initial
    }


# 6. Ids, inheritance, history, final states.


def test_library_merges_children_with_the_same_id() -> None:
    class Twice(Plain):
        class one(NativeState.Compound):  # noqa: N801
            same = NativeState(initial=True)

        class two(NativeState.Compound):  # noqa: N801
            same = NativeState(initial=True)

        go = one.to(two)

    twice = Twice()
    twice.send("go")
    assert len(Twice.states_map) == 3
    assert Twice.states_map["same"].parent is Twice.states_map["two"]


def test_library_changes_the_base_when_a_chart_is_inherited() -> None:
    class Base(Plain):
        idle = NativeState(initial=True)
        done = NativeState()
        go = idle.to(done)

    class Derived(Base):
        more = NativeState()
        extend = Base.done.to(more)

    assert Derived.name == "Derived"
    base = Base()
    base.send("go")
    with pytest.raises(InvalidStateValue):
        base.send("extend")


def test_library_has_no_state_left_after_a_history_without_a_default() -> None:
    class Remembering(Plain):
        outside = NativeState(initial=True)

        class inside(NativeState.Compound):  # noqa: N801
            a = NativeState(initial=True)
            back = HistoryState()

        enter_ = outside.to(inside.back)

    remembering = Remembering()
    remembering.send("enter_")
    assert not [state for state in remembering.configuration if state.is_atomic]


def test_library_never_runs_again_after_a_final_state() -> None:
    class Ending(Plain):
        allow_event_without_transition = False
        idle = NativeState(initial=True)
        ended = NativeState(final=True)
        end = idle.to(ended)

    ending = Ending()
    ending.send("end")
    ending.model.state = "idle"
    with pytest.raises(TransitionNotAllowed):
        ending.send("end")


def test_kit_steps_out_of_every_snapshot_again_and_again() -> None:
    """A chart's last state is a state like others: one instance serves every snapshot."""
    machine = Machine(chart([State("one"), State("end")], [On("go", "one", to="end")]))
    for _ in range(3):
        after = machine.ask_library(machine.initial, "go")
        assert after is not None
        assert machine.ask_library(after.snapshot, "go") is None


# 7. Leaving a region.


def test_library_leaves_every_region_on_a_transition_between_two() -> None:
    class Crossing(Plain):
        class both(NativeState.Parallel):  # noqa: N801
            class left(NativeState.Compound):  # noqa: N801
                l1 = NativeState(initial=True)

            class right(NativeState.Compound):  # noqa: N801
                r1 = NativeState(initial=True)
                r2 = NativeState()
                third = r1.to(r2)

            cross = left.to(right)

    crossing = Crossing()
    crossing.send("third")
    assert "r2" in crossing.model.state
    crossing.send("cross")
    assert "r2" not in crossing.model.state


# 8. Eventless cycles.


class Enough(Exception):  # noqa: N818
    """Ends what would not end by itself."""


def test_library_takes_eventless_transitions_for_ever() -> None:
    taken = [0]

    def count() -> None:
        taken[0] += 1
        if taken[0] > 5_000:
            raise Enough

    class Cycle(Plain):
        catch_errors_as_events = False
        idle = NativeState(initial=True)
        ping = NativeState()
        pong = NativeState()
        go = idle.to(ping)
        ping.to(pong, on=count)
        pong.to(ping)

    with pytest.raises(Enough):
        Cycle().send("go")


def test_kit_has_a_fuse_for_a_cycle_that_lint_did_not_find() -> None:
    toy = chart(
        [State("idle"), State("ping"), State("pong")],
        [On("go", "idle", to="ping"), On(None, "ping", to="pong"), On(None, "pong", to="ping")],
    )
    assert "without an event" in str(next(lint(toy)))
    unchecked = Machine.linted(toy)
    with pytest.raises(ChartFaultError, match=r"toy on 'go' in idle: 1000 .* eventless cycle"):
        unchecked.step(unchecked.initial, "go")
    assert len(unchecked._model.taken) == native.FUSE == 1_000
    with pytest.raises(ChartFaultError, match="eventless cycle"):
        Machine.linted(chart([State("ping")], [On(None, "ping", to="ping")]))


# 9. Order within a step.


def test_library_and_kit_exit_then_act_then_enter() -> None:
    toy = chart([loud("one"), loud("two")], [On("go", "one", to="two", do=(Say("between"),))])
    machine = Machine(toy)
    assert words(machine.step(machine.initial, "go").effects) == "-one between +two"


# 10. Names.


def test_library_never_calls_a_misspelt_convention_method() -> None:
    class Misspelt(Plain):
        idle = NativeState(initial=True)
        done = NativeState()
        go = idle.to(done)

        def on_entr_done(self) -> None:
            raise AssertionError

    misspelt = Misspelt()
    misspelt.send("go")
    assert misspelt.model.state == "done"


def test_library_refuses_a_misspelt_named_action() -> None:
    class Misspelt(Plain):
        idle = NativeState(initial=True)
        done = NativeState()
        go = idle.to(done, on="nobody")

    with pytest.raises(InvalidDefinition, match="nobody"):
        Misspelt()


def test_library_breaks_on_an_event_named_like_one_of_its_attributes() -> None:
    class Clashing(Plain):
        idle = NativeState(initial=True)
        done = NativeState()
        idle.to(done, event="configuration")

    with pytest.raises(AttributeError):
        Clashing().send("configuration")


@pytest.mark.parametrize("id", ["enter", "final", "transitions", "to"])
def test_library_breaks_on_a_child_named_like_an_attribute_of_a_state(id: str) -> None:
    child = NativeState(initial=True)
    child._set_id(id)
    with pytest.raises((AttributeError, TypeError)):
        StateMachineMetaclass("C", (StateChart,), {"outer": NativeState(states=[child])})()
    toy = chart([State("outer", children=(State(id),))], [On("go", "outer", to="outer")])
    assert f"state {id}: the library uses this name itself" in str(next(lint(toy)))


def test_lint_knows_every_attribute_of_a_running_machine() -> None:
    running = Machine(REGIONS)
    own = {state.id for state in REGIONS.walk()}
    attributes = {*vars(running._native), *dir(running._native), *vars(running._model)}
    attributes |= set(dir(running._model))
    for name in attributes - own - set(REGIONS.events):
        toy = chart(
            [State("one")], [On("go", "one", do=(Increment(name),))], variables=(Variable(name, 1),)
        )
        assert f"variable {name}" in str(next(lint(toy)))


def test_library_drops_event_data_with_a_reserved_name() -> None:
    seen: list[object] = []

    class Reading(Plain):
        idle = NativeState(initial=True)
        done = NativeState()
        go = idle.to(done)

        def on_go(self, source: object, payload: object = None) -> None:
            seen.extend((source, payload))

    Reading().send("go", source="a peer", payload="data")
    assert seen[0] != "a peer"
    assert seen[1] == "data"


def test_library_matches_events_by_their_prefix_and_the_kit_does_not() -> None:
    class Prefix(Plain):
        idle = NativeState(initial=True)
        done = NativeState()
        t6_expired = idle.to(done)

    prefix = Prefix()
    prefix.send("t6_expired.never")
    assert prefix.model.state == "done"
    machine = Machine(chart([State("one"), State("two")], [On("go", "one", to="two")]))
    for event in ("go.", "go.on", "go on", "*", "__initial__", ""):
        assert not machine.takes(machine.initial, event)


class Numbers(Unsorted):
    """A model with two numbers for guards."""

    def __init__(self, n: int = 0, m: int = 0) -> None:
        super().__init__()
        self.n, self.m = n, m


def guarded(guard: str, n: int = 0, m: int = 0) -> bool:
    class Guarded(Plain):
        allow_event_without_transition = True
        idle = NativeState(initial=True)
        done = NativeState()
        go = idle.to(done, cond=guard)

    running = Guarded(model=Numbers(n, m))
    running.send("go")
    return bool(running.model.state == "done")


def test_library_reads_operators_of_its_own_in_guards() -> None:
    assert guarded("n > 0 v m > 0", n=1)
    assert guarded("n > 0 ^ m > 0", n=1, m=1)
    assert guarded("!n")
    assert guarded("In('idle')")
    assert guarded("n") is False
    assert guarded("n", n=2)


@pytest.mark.parametrize("guard", ["n + 1 > 0", "n = 1", "n in (1, 2)", "(lambda: 1)()"])
def test_library_reads_no_arithmetic_and_no_assignment_in_guards(guard: str) -> None:
    with pytest.raises(InvalidDefinition):
        guarded(guard)


@pytest.mark.parametrize(
    "guard", ["n > 0 v n > 1", "n > 0 ^ n > 1", "!n", "In('one')", "n", "n + 1 > 0", "0 < n < 2"]
)
def test_kit_refuses_guards_outside_comparisons(guard: str) -> None:
    toy = chart(
        [State("one")],
        [On("go", "one", when=guard, do=(Increment("n"),))],
        variables=(Variable("n", 9),),
    )
    assert f"guard {guard!r}" in str(next(lint(toy)))


# 11. Exceptions.


def test_library_rolls_states_back_but_not_what_was_done() -> None:
    said: list[str] = []

    class Failing(Plain):
        catch_errors_as_events = False
        idle = NativeState(initial=True, exit=recorder(said)("-idle"))
        done = NativeState()
        go = idle.to(done)

        def on_enter_done(self) -> None:
            raise RuntimeError("lost")

    failing = Failing()
    with pytest.raises(RuntimeError):
        failing.send("go")
    assert failing.model.state == "idle"
    assert said == ["-idle"]


def test_kit_discards_a_step_that_fails_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = chart(
        [loud("one"), loud("two"), loud("three")],
        [
            On("go", "one", to="two", do=(Increment("n"),)),
            On(None, "two", to="three"),
            On("stay", "one", do=(Say("stayed"),)),
        ],
        variables=(Variable("n", 1),),
    )
    machine = Machine(toy)
    monkeypatch.setattr(native, "FUSE", 1)
    for _ in range(2):
        with pytest.raises(ChartFaultError, match="toy on 'go' in one: 1 transitions in one step"):
            machine.step(machine.initial, "go")
        after = machine.step(machine.initial, "stay")
        assert words(after.effects) == "stayed"
        assert after.snapshot is machine.initial


# 12 and 13. Pictures and files.


def test_library_draws_with_pydot_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from statemachine.contrib.diagram import DotGraphMachine

    monkeypatch.setitem(sys.modules, "pydot", None)
    draw: Any = DotGraphMachine
    with pytest.raises(ImportError):
        draw(native_class(REGIONS))()


def test_library_reads_files_and_writes_none() -> None:
    from statemachine import io

    assert [name for name in dir(io) if name.startswith(("load", "create"))]
    assert not [
        name for name in dir(io) if name.startswith(("write", "dump", "save", "export", "to_"))
    ]


# What holds, and the kit builds on.


def test_library_restores_without_running_anything_but_starts_with_entries() -> None:
    said: list[str] = []

    class Restored(Plain):
        idle = NativeState(initial=True)
        done = NativeState(enter=recorder(said)("+done"))
        go = idle.to(done)
        back = done.to(idle)

    restored = Restored()
    restored.model.state = "done"
    assert [state.id for state in restored.configuration] == ["done"]
    assert said == []
    Restored(start_value="done")
    assert said == ["+done"]


def test_library_gives_back_the_action_objects_it_was_given() -> None:
    made = native_class(REGIONS)
    state = made.states_map["l1"]
    entry = [spec.func.__self__ for spec in state.enter if not spec.is_convention]
    assert [hook.actions for hook in entry] == [(Say("+l1"),)]
    on: Transition = next(each for each in state.transitions if each.event == "move")
    assert [spec.func.__self__.actions for spec in on.on if not spec.is_convention] == [
        (Say("left"),)
    ]


def test_model_is_nowhere_before_it_begins() -> None:
    assert Model({}, {}, {}).active() == ()


def test_library_takes_an_eventless_transition_before_the_event_of_a_restored_state() -> None:
    """Why ``Machine.adopt`` says what the next step does."""
    said: list[str] = []
    say = recorder(said)

    class Restored(Plain):
        idle = NativeState(initial=True)
        left = NativeState()
        done = NativeState()
        wait = idle.to(idle, internal=True, on=say("waited"))
        idle.to(left, cond="n > 0", on=say("left"))
        go = left.to(done, on=say("done"))

    restored = Restored(model=Numbers())
    restored.model.n = 1
    restored.send("go")
    assert said == ["left", "done"]

"""Every rule of lint: one smallest chart that breaks it, and a message that says where and what.

A case is a chart, the place and the words the message must have, and a word of its remedy. That
lint is quiet where it should be is told by the charts at the end.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from statecharts import (
    Chart,
    ChartError,
    Effect,
    Increment,
    Machine,
    On,
    Parameter,
    Set,
    Start,
    State,
    Stop,
    Timer,
    Variable,
    check,
    lint,
)
from statecharts.declare import ADOPTED, Keep
from statecharts.hsms import CHARTS


@dataclass(frozen=True, slots=True)
class Act(Effect):
    """Something to ask for."""

    what: Any = None


class Unframed(Effect):
    """Not a dataclass of its own."""


class Bare(Effect):
    """It has no fields."""

    __slots__ = ()


class Below(Unframed):
    """It adds nothing to a class that is no dataclass."""

    __slots__ = ()


@dataclass(frozen=True, eq=False)
class Unequal(Effect):
    """Two of them are never the same."""


@dataclass(frozen=True)
class Callable(Effect):
    """An effect that could act."""

    def __call__(self) -> None:
        raise AssertionError


T = Timer("t", "T", "a while", 5, 1, 10)


async def later() -> None:
    raise AssertionError


def timer(id: str = "t", seconds: Any = 5, lowest: float = 1, highest: float = 10) -> Timer:
    return Timer(id, id.upper(), "a while", seconds, lowest, highest)


def chart(
    states: Iterable[State | str], transitions: Iterable[On], *, more: str = "", **rest: Any
) -> Chart:
    """A chart whose events are reported, ``more`` names further ones."""
    made = tuple(State(each) if isinstance(each, str) else each for each in states)
    transitions = tuple(transitions)
    declared = {*rest.get("received", ()), *rest.get("local", ())}
    used = [on.event for on in transitions if on.event and not on.event.endswith("_expired")]
    events = dict.fromkeys((*(each for each in used if each not in declared), *more.split()))
    rest.setdefault("reported", tuple(events))
    return Chart("toy", "Toy", made, transitions, **rest)


GO = On("go", "one", to="two")
BACK = On("back", "two", to="one")
LATE = On("t_expired", "one", to="two")
OVER = On("t_expired", "two", to="one")
N = (Variable("n", 3),)
COUNT = On("count", "one", do=(Increment("n"),))


def regions(*transitions: On) -> Chart:
    return chart(
        [
            State(
                "both",
                parallel=True,
                children=(
                    State("left", children=(State("l1"), State("l2"))),
                    State("right", children=(State("r1"), State("r2"))),
                ),
            ),
            "out",
        ],
        [
            On("end", "both", to="out"),
            On("next", "l1", to="l2"),
            On("next", "r1", to="r2"),
            *transitions,
        ],
    )


def acting(*actions: Any) -> Chart:
    return chart(["one", State("two", enter=actions)], [GO])


def guarded(when: str) -> Chart:
    return chart(["one", "two"], [On("go", "one", to="two", when=when), COUNT], variables=N)


def expiring(*transitions: On, children: tuple[State, ...] = ()) -> Chart:
    return chart([State("one", timer=T, children=children), "two"], [*transitions, BACK])


class Case(NamedTuple):
    """A chart, and what lint has to say of it."""

    chart: Chart
    place: str
    what: str
    remedy: str


def wrong(value: object) -> Any:
    """A value past the type checker."""
    return value


CASES = {
    # Form: what a type checker refuses as well.
    "events are one word": Case(
        Chart("toy", "Toy", (State("one"),), (On("go", "one"),), reported=wrong("go")),
        "the chart",
        "reported='go' is not a tuple",
        "comma",
    ),
    "transitions are a list": Case(
        Chart("toy", "Toy", (State("one"), State("two")), wrong([GO]), reported=("go",)),
        "the chart",
        "transitions=",
        "comma",
    ),
    "an entry effect without a tuple": Case(
        chart([State("one", enter=wrong(Act()))], [On("go", "one")]),
        "state one",
        "enter=Act(what=None) is not a tuple",
        "comma",
    ),
    "a nested state's exit without a tuple": Case(
        chart([State("one", children=(State("in", exit=wrong(Act())),))], [On("go", "one")]),
        "state in",
        "exit=Act(what=None) is not a tuple",
        "comma",
    ),
    "a gate without its pair": Case(
        chart(["one"], [On("go", "one")], gated=("go", "one")),
        "the chart",
        "'go' in gated is not (text, text)",
        "write (text, text)",
    ),
    "a gate of one": Case(
        chart(["one"], [On("go", "one")], gated=(("go",),)),
        "the chart",
        "('go',) in gated is not (text, text)",
        "write (text, text)",
    ),
    "two timers in one state": Case(
        chart([State("one", timer=wrong((T, T)))], [On("go", "one")]),
        "state one",
        "is not a Timer or None",
        "a state has one timer",
    ),
    "a number of seconds for a timer": Case(
        chart([State("one", timer=wrong(5))], [On("go", "one")]),
        "state one",
        "timer=5 is not a Timer or None",
        "write Timer(id, label, meaning, seconds, lowest, highest)",
    ),
    "a timer for an effect": Case(
        acting(T),
        "state two",
        "in enter is not an effect object or a Set",
        "give the state the timer",
    ),
    "text for a state": Case(
        Chart("toy", "Toy", (wrong("one"),), (On("go", "one"),), reported=("go",)),
        "the chart",
        "'one' in states is not a State",
        "write State('one')",
    ),
    "a state for its id": Case(
        chart([State("one")], [On("go", "one", to=wrong(State("one")))]),
        "transition one: go",
        "is not text or None",
        "write its name, 'one'",
    ),
    "two sources": Case(
        chart(["one", "two"], [On("go", wrong(("one", "two")))]),
        "transition ('one', 'two'): go",
        "source=('one', 'two') is not text",
        "name one: for the next write another On",
    ),
    "children for a label": Case(
        chart([State("one", wrong((State("in"),)))], [On("go", "one")]),
        "state one",
        "is not text",
        "children=(State(...), ...)",
    ),
    "no label": Case(
        chart([State("one", label=wrong(None))], [On("go", "one")]),
        "state one",
        "label=None is not text",
        "text in quotes",
    ),
    "a callable for a guard": Case(
        chart(["one"], [On("go", "one", when=wrong(print))]),
        "transition one: go",
        "when=<built-in function print> is not text",
        "a guard as text",
    ),
    "a number for a flag": Case(
        chart([State("one", parallel=wrong(1))], [On("go", "one")]),
        "state one",
        "parallel=1 is not True or False",
        "write True or False",
    ),
    "text for seconds": Case(
        # Two states have it, and it is told once.
        chart([State("one", timer=timer(seconds="5")), State("two", timer=timer(seconds="5"))], []),
        "timer t",
        "seconds='5' is not a number",
        "write a number",
    ),
    "True for seconds": Case(
        chart([State("one", timer=timer(seconds=True))], [On("go", "one")]),
        "timer t",
        "seconds=True is not a number",
        "write a number",
    ),
    "a variable that is not text": Case(
        chart(["one"], [On("go", "one", do=(Increment(wrong(Variable("n", 3))),))], variables=N),
        "transition one: go",
        "Increment.variable=Variable(name='n', highest=3) is not text",
        "write its name, 'n'",
    ),
    "a name of a variable that is not text": Case(
        chart(["one"], [COUNT], variables=(Variable(wrong(5), 3),)),
        "variable 5",
        "name=5 is not text",
        "text in quotes",
    ),
    "a class for a transition": Case(
        Chart("toy", "Toy", (State("one"),), (wrong(On),), reported=("go",)),
        "the chart",
        "<class 'statecharts.declare.On'> in transitions is not an On",
        "write On(...): objects, no classes",
    ),
    "a value that would fill the message": Case(
        chart([State("one", label=wrong(["x" * 90]))], [On("go", "one")]),
        "state one",
        "xxx... is not text",
        "name one",
    ),
    "an effect on a transition without a tuple": Case(
        chart(["one"], [On("go", "one", do=wrong(Act()))]),
        "transition one: go",
        "do=Act(what=None) is not a tuple",
        "comma",
    ),
    # Ids and names.
    "no states": Case(chart([], []), "the chart", "no states", "at least one"),
    "a state twice": Case(
        chart(["one", "two", State("more", children=(State("two"),))], [GO]),
        "state two",
        "used twice",
        "unique",
    ),
    "one region": Case(
        chart([State("one", parallel=True, children=(State("two"),))], [On("go", "one", to="one")]),
        "state one",
        "needs two regions",
        "add one",
    ),
    "a chart with a space": Case(
        dataclasses.replace(chart(["one"], [On("go", "one")]), id="my chart"),
        "chart my chart",
        "not a lower-case identifier",
        "underscores",
    ),
    "an event with a space": Case(
        chart(["one"], [On("go on", "one")]),
        "event go on",
        "not a lower-case identifier",
        "underscores",
    ),
    "an event with a dot": Case(
        chart(["one"], [On("go.on", "one")]), "event go.on", "identifier", "underscores"
    ),
    "an event in capitals": Case(
        chart(["one"], [On("Go", "one")]), "event Go", "identifier", "underscores"
    ),
    "an event in other letters": Case(
        chart(["one"], [On("größer", "one")]), "event größer", "identifier", "underscores"
    ),
    "a keyword": Case(
        chart(["one"], [On("while", "one")]), "event while", "identifier", "underscores"
    ),
    "an underscore before": Case(
        chart(["_one"], [On("go", "_one")]), "state _one", "identifier", "underscores"
    ),
    "an event the library has": Case(
        chart(["one"], [On("send", "one")]), "event send", "library uses this name", "another"
    ),
    "the event of other parameters": Case(
        chart(["one"], [On(ADOPTED, "one")]),
        "event parameters_changed",
        "library uses this name",
        "another",
    ),
    "a variable the library injects": Case(
        chart(
            ["one"],
            [On("go", "one", do=(Increment("source"),))],
            variables=(Variable("source", 2),),
        ),
        "variable source",
        "library uses this name",
        "another",
    ),
    "a variable of the model": Case(
        chart(
            ["one"], [On("go", "one", do=(Increment("taken"),))], variables=(Variable("taken", 2),)
        ),
        "variable taken",
        "library uses this name",
        "another",
    ),
    "a variable that is an operator": Case(
        chart(["one"], [On("go", "one", do=(Increment("v"),))], variables=(Variable("v", 2),)),
        "variable v",
        "library uses this name",
        "another",
    ),
    "a child the library's states have": Case(
        chart([State("one", children=(State("enter"),))], [On("go", "one")]),
        "state enter",
        "library uses this name",
        "another",
    ),
    "an event like a convention": Case(
        chart(["one"], [On("on_enter_one", "one")]),
        "event on_enter_one",
        "calls methods of such names",
        "another",
    ),
    "an event twice": Case(
        chart(["one"], [On("go", "one")], reported=("go", "go")),
        "event go",
        "declared twice",
        "once",
    ),
    "an event from two sides": Case(
        chart(["one"], [On("go", "one")], reported=("go",), local=("go",)),
        "event go",
        "declared twice",
        "once",
    ),
    "an expiry declared by hand": Case(
        chart([State("one", timer=T), "two"], [On("t_expired", "one", to="two")], more="t_expired"),
        "event t_expired",
        "declared twice",
        "needs no declaration",
    ),
    "a variable twice": Case(
        chart(["one"], [COUNT], variables=(*N, *N)), "variable n", "declared twice", "once"
    ),
    "a state like an event": Case(
        chart(["go"], [On("go", "go")]), "event go", "a state has the same name", "rename"
    ),
    "a variable like an event": Case(
        chart(
            ["one"],
            [On("go", "one", do=(Increment("go"),))],
            variables=(Variable("go", 2),),
        ),
        "variable go",
        "an event has the same name",
        "rename",
    ),
    "a variable like a state": Case(
        chart(["one", "n"], [COUNT, On("go", "one", to="n")], variables=N),
        "variable n",
        "a state has the same name",
        "rename",
    ),
    "the end of no timer": Case(
        chart(["one"], [On("lease_expired", "one")], more="lease_expired"),
        "event lease_expired",
        "no timer has this end",
        "give a state the timer",
    ),
    "any event": Case(
        chart(["one"], [On("go", "one"), On("*", "one")], reported=("go",)),
        "transition one: *",
        "'*' is not the name of one event",
        "no wildcards",
    ),
    "an event after a while": Case(
        chart(["one"], [On("go", "one"), On("after 5 s", "one")], reported=("go",)),
        "transition one: after 5 s",
        "'after 5 s' is not the name of one event",
        "no delays",
    ),
    # Timers as such.
    "two timers with one id": Case(
        chart(
            [State("one", timer=T), State("two", timer=timer(seconds=6))],
            [On("t_expired", "one", to="two"), On("t_expired", "two", to="one")],
        ),
        "timer t",
        "two timers have this id",
        "of its own",
    ),
    "a timer with a space": Case(
        chart([State("one", timer=timer("t 7")), "two"], [On("t 7_expired", "one", to="two")]),
        "event t 7_expired",
        "identifier",
        "underscores",
    ),
    "a default outside its range": Case(
        chart([State("one", timer=timer(seconds=11)), "two"], [On("t_expired", "one", to="two")]),
        "timer t",
        "11 s is not in 1..10 s",
        "range",
    ),
    "a timer of no time": Case(
        chart([State("one", timer=timer(lowest=0)), "two"], [On("t_expired", "one", to="two")]),
        "timer t",
        "5 s is not in 0..10 s above 0",
        "range",
    ),
    "a timer without an end": Case(
        chart(
            [State("one", timer=timer(highest=float("inf"))), "two"],
            [On("t_expired", "one", to="two")],
        ),
        "timer t",
        "1..inf",
        "range",
    ),
    # References.
    "an unknown target": Case(
        chart(["one"], [On("go", "one", to="tow")]),
        "transition one: go -> tow",
        "no state 'tow'",
        "spelling",
    ),
    "an unknown source": Case(
        chart(["one"], [On("go", "oen")]), "transition oen: go", "no state 'oen'", "spelling"
    ),
    "an undeclared event": Case(
        chart(["one"], [On("go", "one"), On("og", "one")], reported=("go",)),
        "transition one: og",
        "'og' is not declared",
        "reported",
    ),
    "an expiry nobody owns": Case(
        chart(["one", "two"], [GO, On("t_expired", "one", to="two")]),
        "transition one: t_expired -> two",
        "not declared",
        "timer",
    ),
    "an event nobody takes": Case(
        chart(["one", "two"], [GO], more="never"), "event never", "no transition", "remove"
    ),
    "at once to nowhere": Case(
        chart(["one", "two"], [GO, On(None, "one", when="n > 1"), COUNT], variables=N),
        "transition one: (at once) [n > 1]",
        "never ends",
        "target",
    ),
    "an unknown total state": Case(
        chart(["one"], [On("came", "one")], received=("came",), total_in=("oen",)),
        "total_in and gated",
        "no state 'oen'",
        "spelling",
    ),
    "an unknown gate": Case(
        chart(
            ["one"],
            [On("came", "one")],
            received=("came",),
            total_in=("one",),
            gated=(("came", "oen"),),
        ),
        "total_in and gated",
        "no state 'oen'",
        "spelling",
    ),
    "an unknown gated event": Case(
        chart(
            ["one"],
            [On("came", "one")],
            received=("came",),
            total_in=("one",),
            gated=(("cmae", "one"),),
        ),
        "gated",
        "'cmae' is not a received event",
        "spelling",
    ),
    "received events without a promise": Case(
        chart(["one"], [On("came", "one")], received=("came",)),
        "total_in",
        "names no state",
        "a peer may send anything",
    ),
    # Domains.
    "an unknown bound": Case(
        chart(["one"], [COUNT], variables=(Variable("n", "most"),)),
        "variable n",
        "no parameter 'most'",
        "declare",
    ),
    "a variable with one value": Case(
        chart(["one"], [COUNT], variables=(Variable("n", 0),)),
        "variable n",
        "0..0 is no domain",
        "above 0",
    ),
    "a boolean variable": Case(
        chart(["one"], [COUNT], variables=(Variable("n", True),)),
        "variable n",
        "highest=True is not a whole number or text",
        "write a whole number",
    ),
    "a default outside": Case(
        chart(
            ["one"],
            [COUNT],
            variables=(Variable("n", "most"),),
            parameters=(Parameter("most", 9, 1, 5),),
        ),
        "parameter most",
        "9 is not in 1..5",
        "range",
    ),
    "a negative parameter": Case(
        chart(
            ["one"],
            [COUNT],
            variables=(Variable("n", "most"),),
            parameters=(Parameter("most", 1, -1, 5),),
        ),
        "parameter most",
        "1 is not in -1..5 from 0 on",
        "range",
    ),
    "a boolean parameter": Case(
        chart(
            ["one"],
            [COUNT],
            variables=(Variable("n", "most"),),
            parameters=(Parameter("most", True, 1, 5),),
        ),
        "parameter most",
        "default=True is not a whole number",
        "write a whole number",
    ),
    "a variable nothing changes": Case(
        chart(["one", "two"], [On("go", "one", to="two", when="n < 1")], variables=N),
        "variable n",
        "no action changes it",
        "parameter",
    ),
    "a parameter nothing reads": Case(
        chart(["one", "two"], [GO], parameters=(Parameter("most", 1, 1, 5),)),
        "parameter most",
        "nothing reads it",
        "remove",
    ),
    # Actions.
    "a timer started by hand": Case(acting(Start(T)), "state two", "Start(T) by hand", "timer"),
    "a timer stopped by hand": Case(acting(Stop(T)), "state two", "Stop(T) by hand", "timer"),
    "setting an unknown variable": Case(acting(Set("m", 1)), "state two", "variable 'm'", "domain"),
    "counting an unknown variable": Case(
        acting(Increment("m")), "state two", "variable 'm'", "domain"
    ),
    "a value too high": Case(
        chart(["one"], [On("go", "one", do=(Set("n", 4),))], variables=N),
        "transition one: go",
        "n := 4 may leave 0..3",
        "0..3",
    ),
    "a value too low": Case(
        chart(["one"], [On("go", "one", do=(Set("n", -1),))], variables=N),
        "transition one: go",
        "n := -1 may leave 0..3",
        "0..3",
    ),
    "a boolean value": Case(
        chart(["one"], [On("go", "one", do=(Set("n", True),))], variables=N),
        "transition one: go",
        "Set.value=True is not a whole number",
        "write a whole number",
    ),
    "a value above the least bound": Case(
        chart(
            ["one"],
            [On("go", "one", do=(Set("n", 2),))],
            variables=(Variable("n", "most"),),
            parameters=(Parameter("most", 5, 1, 9),),
        ),
        "transition one: go",
        "n := 2 may leave 0..most",
        "0..1",
    ),
    "an effect that is no dataclass": Case(
        acting(Unframed()), "state two", "Unframed is not a frozen dataclass", "make it one"
    ),
    "an effect below one that is no dataclass": Case(
        acting(Below()), "state two", "Below is not a frozen dataclass", "make it one"
    ),
    "an effect compared by identity": Case(
        acting(Unequal()), "state two", "Unequal is not a frozen dataclass", "compared by value"
    ),
    "an effect of no kind": Case(
        acting(Effect()), "state two", "Effect() asks for nothing", "subclass Effect"
    ),
    "an effect that can be called": Case(
        acting(Callable()), "state two", "something to call", "never acts"
    ),
    "an effect that carries a callable": Case(
        acting(Act(print)), "state two", "something to call", "never acts"
    ),
    "an effect that can change": Case(
        acting(Act([1])), "state two", "has a field that can change", "tuples"
    ),
    "a callable for an effect": Case(acting(print), "state two", "not an effect object", "asks"),
    "a coroutine for an effect": Case(
        acting(later), "state two", "not an effect object", "no coroutines"
    ),
    "a class for an effect": Case(
        acting(Act), "state two", "not an effect object", "write Act(...)"
    ),
    # Guards.
    "an assignment": Case(
        guarded("n = 1"), "transition one: go [n = 1] -> two", "not an expression", "compare"
    ),
    "a chain": Case(guarded("0 < n < 2"), "go [0 < n < 2]", "is not one comparison", "compare"),
    "a bare variable": Case(guarded("n"), "go [n]", "'n' is not one comparison", "compare"),
    "a boolean": Case(guarded("True"), "go [True]", "'True' is not one comparison", "compare"),
    "compared with a boolean": Case(
        guarded("n == True"), "go [n == True]", "'True' is not a name or a whole", "compare"
    ),
    "a comparison compared": Case(
        guarded("n == (n > 1)"), "transition one", "'n > 1' is not a name or a whole", "compare"
    ),
    "arithmetic": Case(guarded("n + 1 > 2"), "go [n + 1 > 2]", "'n + 1' is not a name", "compare"),
    "a fraction": Case(guarded("n > 1.5"), "go [n > 1.5]", "'1.5' is not a name", "compare"),
    "a word": Case(guarded("n == 'x'"), "transition one", "is not a name or a whole", "compare"),
    "a call": Case(guarded("In('one')"), "transition one", "is not one comparison", "compare"),
    "membership": Case(guarded("n in (1, 2)"), "transition one", "not one comparison", "compare"),
    "the library's or": Case(guarded("n > 1 v n < 1"), "transition one", "words", "compare"),
    "the library's operand": Case(guarded("v > 1"), "transition one", "'v' is an op", "compare"),
    "the library's and": Case(guarded("n > 1 ^ n < 3"), "transition one", "guard", "compare"),
    "the library's not": Case(guarded("!n"), "transition one", "written as words", "compare"),
    "a blank guard": Case(guarded(" "), "transition one", "not an expression", "compare"),
    "an unknown name": Case(guarded("m > 1"), "transition one", "its guard reads m", "declare"),
    "a guard of numbers": Case(guarded("1 < 2"), "go [1 < 2]", "reads nothing", "remove"),
    # Timers in states.
    "an expiry into nothing": Case(
        chart(
            [State("one", timer=T, children=(State("in1"), State("in2"))), "two"],
            [On("t_expired", "in1", to="two"), On("next", "in1", to="in2")],
        ),
        "state in2",
        "t_expired may find no transition",
        "stuck",
    ),
    "an expiry that a guard may refuse": Case(
        chart(
            [State("one", timer=T), "two"],
            [On("t_expired", "one", to="two", when="n > 1"), COUNT],
            variables=N,
        ),
        "state one",
        "t_expired may find no transition",
        "without a guard",
    ),
    "an expiry that stays": Case(
        expiring(On("t_expired", "one"), GO),
        "transition one: t_expired",
        "does not leave one",
        "start the timer again",
    ),
    "an expiry that stays inside": Case(
        expiring(
            On("t_expired", "in1", to="in2"),
            On("t_expired", "in2", to="two"),
            children=(State("in1"), State("in2")),
        ),
        "transition in1: t_expired -> in2",
        "does not leave one",
        "again",
    ),
    "an expiry elsewhere": Case(
        expiring(On("t_expired", "one", to="two"), On("t_expired", "two")),
        "transition two: t_expired",
        "does not run there",
        "move",
    ),
    "a timer that would run twice": Case(
        chart(
            [State("one", timer=T, children=(State("inner", timer=T),)), "two"],
            [On("t_expired", "one", to="two"), BACK],
        ),
        "state inner",
        "timer t runs in one at the same time",
        "two timers",
    ),
    "a timer of two regions": Case(
        chart(
            [
                State(
                    "both",
                    parallel=True,
                    children=(
                        State("left", children=(State("l1", timer=T),)),
                        State("right", children=(State("r1", timer=T),)),
                    ),
                ),
                "two",
            ],
            [On("t_expired", "l1", to="two"), On("t_expired", "r1", to="two")],
        ),
        "state r1",
        "timer t runs in l1 at the same time",
        "two timers",
    ),
    # Kept timers.
    "a kept timer that nobody had": Case(
        chart(["one", State("two", timer=T)], [On("go", "one", to="two", keep=T), OVER]),
        "transition one: go -> two",
        "it keeps t, and no state that is surely left has this timer",
        "begin and end in states that have it",
    ),
    "a kept timer that nobody will have": Case(
        chart([State("one", timer=T), "two"], [On("go", "one", to="two", keep=T), BACK, LATE]),
        "transition one: go -> two",
        "it keeps t, and no state that is surely entered has this timer",
        "begin and end in states that have it",
    ),
    "a kept timer that only some state inside has": Case(
        chart(
            [State("one", children=(State("in1"), State("in2", timer=T))), State("two", timer=T)],
            [
                On("next", "in1", to="in2"),
                On("t_expired", "in2", to="one"),
                On("go", "one", to="two", keep=T),
                OVER,
            ],
        ),
        "transition one: go -> two",
        "no state that is surely left has this timer",
        "begin and end",
    ),
    "a kept timer of a state that stays": Case(
        chart(
            [State("one", timer=T, children=(State("in1"), State("in2"))), "two"],
            [On("go", "in1", to="in2", keep=T), LATE, BACK],
        ),
        "transition in1: go -> in2",
        "no state that is surely left has this timer",
        "begin and end",
    ),
    "a timer that is kept where no state is left": Case(
        chart([State("one", timer=T), "two"], [On("go", "one", keep=T), LATE, BACK]),
        "transition one: go",
        "no state that is surely left has this timer",
        "begin and end",
    ),
    "another timer is kept": Case(
        chart(
            [State("one", timer=T), State("two", timer=timer("u"))],
            [On("go", "one", to="two", keep=timer("u")), LATE, On("u_expired", "two", to="one")],
        ),
        "transition one: go -> two",
        "it keeps u, and no state that is surely left has this timer",
        "begin and end",
    ),
    "a timer that has expired is kept": Case(
        chart(
            [State("one", timer=T), State("two", timer=T)],
            [On("t_expired", "one", to="two", keep=T), OVER],
        ),
        "transition one: t_expired -> two",
        "a timer that has expired cannot be kept",
        "start it again",
    ),
    "a timer is kept by hand": Case(
        acting(Keep(T)), "state two", "Keep(T) by hand", "give the transition keep=..."
    ),
    "a timer to keep is named": Case(
        chart(["one", "two"], [On("go", "one", to="two", keep=wrong("t"))]),
        "transition one: go -> two",
        "keep='t' is not a Timer or None",
        "write a Timer or None",
    ),
    # What a transition leaves.
    "into a state of its own": Case(
        chart([State("one", children=(State("in1"), State("in2")))], [On("go", "one", to="in2")]),
        "transition one: go -> in2",
        "leave one (SCXML) or stay inside (XState)",
        "inside",
    ),
    "from region to region": Case(
        regions(On("go", "l1", to="r2")),
        "transition l1: go -> r2",
        "every region of both (SCXML) or only one",
        "strictly inside",
    ),
    "a region as the source": Case(
        regions(On("go", "left", to="left")), "transition left: go -> left", "region", "strictly"
    ),
    "a region as the target": Case(
        regions(On("go", "l2", to="left")), "transition l2: go -> left", "region", "strictly"
    ),
    "a parallel state as the source": Case(
        regions(On("go", "both", to="l2")), "transition both: go -> l2", "leave both", "inside"
    ),
    # Shadows.
    "after one without a guard": Case(
        chart(["one", "two"], [GO, On("go", "one", to="two", when="n > 1"), COUNT], variables=N),
        "transition one: go [n > 1] -> two",
        "another one always wins",
        "remove",
    ),
    "the same guard again": Case(
        chart(
            ["one", "two"],
            [On("go", "one", to="two", when="n > 1"), On("go", "one", when="n > 1"), COUNT],
            variables=N,
        ),
        "transition one: go [n > 1]",
        "another one always wins",
        "remove",
    ),
    "outside what every leaf takes": Case(
        chart(
            [State("one", children=(State("in1"), State("in2"))), "two"],
            [GO, On("go", "in1", to="in2"), On("go", "in2"), On("end", "one", to="two")],
        ),
        "transition one: go -> two",
        "another one always wins",
        "remove",
    ),
    # Cycles.
    "at once in a circle": Case(
        chart(
            ["one", "two", "three"],
            [GO, On(None, "two", to="three"), On(None, "three", to="two", when="n > 1"), COUNT],
            variables=N,
        ),
        "state two",
        "come back to itself without an event",
        "cycle",
    ),
    "at once to itself": Case(
        chart(["one", "two"], [GO, On(None, "two", to="two", when="n > 1"), COUNT], variables=N),
        "state two",
        "come back to itself without an event",
        "cycle",
    ),
    "at once by the other region": Case(
        chart(
            [
                State(
                    "both",
                    parallel=True,
                    children=(
                        State("left", children=(State("l1"), State("l2"))),
                        State("right", children=(State("r1"),)),
                    ),
                ),
                "out",
            ],
            [
                On(None, "out", to="l2"),
                On(None, "r1", to="out", when="n > 1"),
                On("next", "l1", to="l2", do=(Increment("n"),)),
            ],
            variables=N,
        ),
        "state out",
        "come back to itself without an event",
        "cycle",
    ),
    # Reach and totality.
    "a state nobody enters": Case(
        chart(["one", "two", "three"], [GO, On("go", "three", to="two")]),
        "state three",
        "no transition ever enters it",
        "lead there",
    ),
    "a peer's message in a leaf that does not answer": Case(
        chart(
            [State("up", children=(State("one"), State("two")))],
            [GO, On("came", "one")],
            received=("came",),
            total_in=("up",),
        ),
        "state two",
        "came may find no transition",
        "answer it",
    ),
    "a peer's message behind a guard": Case(
        chart(
            ["one"],
            [On("came", "one", when="n > 1"), COUNT],
            received=("came",),
            total_in=("one",),
            variables=N,
        ),
        "state one",
        "came may find no transition",
        "answer it",
    ),
    "a peer's message in one leaf of each region": Case(
        dataclasses.replace(
            regions(On("came", "l1"), On("came", "r1")),
            received=("came",),
            total_in=("both",),
            reported=("end", "next"),
        ),
        "state l2",
        "came may find no transition",
        "answer it",
    ),
    "gated and taken": Case(
        chart(
            ["one", "two"],
            [GO, On("came", "two"), On("came", "one")],
            received=("came",),
            total_in=("one",),
            gated=(("came", "two"),),
        ),
        "state two",
        "came is gated and taken",
        "choose one",
    ),
    "gated and taken above": Case(
        chart(
            [State("up", children=(State("one"), State("two")))],
            [GO, On("came", "up")],
            received=("came",),
            total_in=("up",),
            gated=(("came", "two"),),
        ),
        "state up",
        "came is gated and taken",
        "choose one",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_refuses_and_says_where_what_and_what_instead(case: Case) -> None:
    problems = list(lint(case.chart))
    fitting = [
        problem
        for problem in problems
        if case.place in problem.place
        and case.what in problem.what
        and case.remedy in problem.remedy
    ]
    assert len(fitting) == 1, problems
    found = fitting[0]
    assert str(found) == (
        f"{__file__}: chart {case.chart.id}, {found.place}: {found.what}; {found.remedy}"
    )
    with pytest.raises(ChartError) as refusal:
        Machine(case.chart)
    assert refusal.value.problems == tuple(problems)
    assert str(refusal.value) == "\n".join(str(problem) for problem in problems)


GOOD = {
    "a deep entry into a parallel state": regions(On("back", "out", to="r2")),
    "a parallel state from inside it": regions(On("anew", "l1", to="both")),
    "a whole state from inside it": chart(
        [State("one", children=(State("in1"), State("in2")))],
        [On("next", "in1", to="in2"), On("anew", "in2", to="one")],
    ),
    "a region that answers for both": dataclasses.replace(
        regions(On("came", "l1"), On("came", "l2")),
        received=("came",),
        total_in=("both",),
        reported=("end", "next"),
    ),
    "an answer above the promise": chart(
        [State("up", children=(State("one"), State("two")))],
        [GO, On("came", "up")],
        received=("came",),
        total_in=("one",),
    ),
    "a gate": chart(
        ["one", "two"],
        [GO, On("came", "one")],
        received=("came",),
        total_in=("one", "two"),
        gated=(("came", "two"),),
    ),
    "a timer shared by states that exclude each other": chart(
        [State("one", timer=T), State("two", timer=T)],
        [On("t_expired", "one", to="two"), On("t_expired", "two", to="two")],
    ),
    "a timer that runs on": chart(
        [State("one", timer=T), State("two", timer=T)],
        [On("go", "one", to="two", keep=T), On("anew", "two", to="two", keep=T), LATE, OVER],
    ),
    "a timer that runs on in and out of a state inside": chart(
        [State("one", children=(State("in1", timer=T), State("in2"))), State("two", timer=T)],
        [
            On("next", "in1", to="in2"),
            On("go", "in1", to="two", keep=T),
            On("back", "two", to="one", keep=T),
            On("t_expired", "in1", to="two"),
            OVER,
        ],
    ),
    "a timer that runs on in and out of a region": chart(
        [
            State(
                "both",
                parallel=True,
                children=(
                    State("left", children=(State("l1"), State("l2"))),
                    State("right", timer=T, children=(State("r1"),)),
                ),
            ),
            State("two", timer=T),
        ],
        [
            On("go", "l1", to="two", keep=T),
            On("back", "two", to="l2", keep=T),
            On("t_expired", "right", to="two"),
            On("t_expired", "two", to="both"),
        ],
    ),
    "a timer whose end one region takes": chart(
        [
            State(
                "both",
                timer=T,
                parallel=True,
                children=(
                    State("left", children=(State("l1"),)),
                    State("right", children=(State("r1"),)),
                ),
            ),
            "out",
        ],
        [On("t_expired", "l1", to="out"), On("back", "out", to="both")],
    ),
    "guards one after the other": chart(
        ["one", "two"],
        [
            On("go", "one", when="n > 2"),
            On("go", "one", to="two", when="not n > 2 and n != 1"),
            GO,
            On("count", "one", when="n < 3", do=(Increment("n"),)),
        ],
        variables=N,
    ),
    "at once in each region": chart(
        [
            State(
                "both",
                parallel=True,
                children=(
                    State("left", children=(State("l1"), State("l2"))),
                    State("right", children=(State("r1"), State("r2"))),
                ),
            )
        ],
        [
            On(None, "l1", to="l2", when="n > 1"),
            On(None, "r1", to="r2", when="n > 1"),
            On("count", "l1", do=(Increment("n"),)),
        ],
        variables=N,
    ),
    "an effect without fields": acting(Bare()),
    "bounds by parameters": chart(
        ["one"],
        [On("count", "one", do=(Set("n", 1),), when="n < most")],
        variables=(Variable("n", "most"),),
        parameters=(Parameter("most", 5, 1, 9),),
    ),
}


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD.keys())
def test_says_nothing_of_a_sound_chart(good: Chart) -> None:
    check(good)
    assert list(Machine(good).reachable())


@pytest.mark.parametrize("each", CHARTS, ids=lambda each: each.id)
def test_charts_of_hsms_are_clean(each: Chart) -> None:
    assert list(lint(each)) == []


def test_the_file_is_the_one_that_declares_the_chart() -> None:
    assert {each.file.rpartition("/")[2] for each in CHARTS} == {
        "active.py",
        "passive.py",
        "breaker.py",
        "linktest.py",
        "second_host.py",
        "receiver.py",
        "transmitter.py",
        "transaction.py",
        "lease.py",
    }

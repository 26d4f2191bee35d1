"""Difficult charts, for tests of drawing and export: they use more of the kit than HSMS does."""

from dataclasses import dataclass

from statecharts import Chart, Effect, Increment, On, Parameter, Set, State, Timer, Variable


@dataclass(frozen=True, slots=True)
class Say(Effect):
    """An effect that differs from every other by its word."""

    word: str


def say(*words: str) -> tuple[Say, ...]:
    return tuple(Say(word) for word in words)


def loud(id: str, *children: State, timer: Timer | None = None, parallel: bool = False) -> State:
    """A state with an effect on entry and on exit."""
    return State(
        id,
        enter=say(f"+{id}"),
        exit=say(f"-{id}"),
        children=children,
        timer=timer,
        parallel=parallel,
    )


NESTED = Chart(
    id="nested",
    title="Three levels, every direction",
    reported=("up", "down", "across", "again", "again_above", "stay", "deep", "out", "back"),
    states=(
        loud("one", loud("two", loud("three"), loud("four")), loud("five", loud("six"))),
        loud("seven"),
    ),
    transitions=(
        On("up", "three", to="two", do=say("up")),
        On("up", "four", to="one", do=say("far up")),
        On("down", "three", to="four", do=say("down")),
        On("down", "six", to="four", do=say("down across")),
        On("across", "two", to="six", do=say("across")),
        On("across", "five", to="two", do=say("across back")),
        On("across", "three", to="four", do=say("sideways")),
        On("again", "three", to="three", do=say("again")),
        On("again", "two", to="two", do=say("again two")),
        On("again_above", "one", to="one", do=say("again one")),
        On("stay", "one", do=say("stay")),
        On("stay", "four", do=say("stay four")),
        On("deep", "seven", to="four"),
        On("out", "one", to="seven"),
        On("back", "seven", to="one"),
    ),
)

BLINK = Timer("blink", "blink", "half a period", 0.5, 0.1, 2)
DWELL = Timer("dwell", "dwell", "all of it", 20, 1, 60)

PARALLEL = Chart(
    id="parallel",
    title="Two regions at once",
    reported=("start", "both", "left_only", "right_leaves", "clash", "stop", "again"),
    states=(
        loud("stopped"),
        loud(
            "running",
            loud("left", loud("l_one"), loud("l_two", loud("l_deep"), timer=BLINK)),
            loud("right", loud("r_one"), loud("r_two")),
            parallel=True,
            timer=DWELL,
        ),
    ),
    transitions=(
        On("start", "stopped", to="running", do=say("start")),
        On("both", "l_one", to="l_two", do=say("left goes")),
        On("both", "l_two", to="l_one", do=say("left returns")),
        On("both", "r_one", to="r_two", do=say("right goes")),
        On("both", "r_two", to="r_one", do=say("right returns")),
        On("left_only", "l_deep", to="l_deep", do=say("deep again")),
        On("left_only", "left", do=say("left stays")),
        On("right_leaves", "r_two", to="stopped", do=say("right leaves")),
        On("clash", "l_one", to="l_two", do=say("left wins?")),
        On("clash", "r_one", to="stopped", do=say("right wins?")),
        On("clash", "r_two", do=say("right stays")),
        On("stop", "running", to="stopped", do=say("stop")),
        On("again", "running", to="running", do=say("again")),
        On(BLINK.expired, "l_two", to="l_one", do=say("blink")),
        On(DWELL.expired, "running", to="stopped", do=say("over")),
    ),
)

COUNTING = Chart(
    id="counting",
    title="Guards and what happens at once",
    parameters=(Parameter("limit", default=2, lowest=1, highest=5),),
    variables=(Variable("count", highest="limit"), Variable("mode", highest=2)),
    local=("add_one", "clear"),
    reported=("look", "turn"),
    states=(
        loud("low", loud("fresh"), loud("some")),
        loud("full", loud("settling"), loud("settled")),
    ),
    transitions=(
        On("add_one", "low", do=(Increment("count"), Say("added"))),
        On(None, "low", to="full", when="count >= limit", do=say("full at once")),
        On(None, "fresh", to="some", when="count > 0 and not (count >= limit)"),
        On(None, "settling", to="settled", when="mode != 1", do=say("settled")),
        On("clear", "full", to="low", do=(Set("count", 0), Say("cleared"))),
        On("look", "low", when="count == 0 or mode == 2", do=say("nothing, or two")),
        On("look", "low", when="count < limit and mode <= 1", do=say("room")),
        On("look", "settling", when="mode == 1", to="settled"),
        On("turn", "low", when="mode == 0", do=(Set("mode", 1),)),
        On("turn", "low", when="mode == 1", do=(Set("mode", 2),)),
        On("turn", "low", do=(Set("mode", 0),)),
    ),
)

SLOW = Timer("slow", "slow", "the outer one", 9, 1, 60)

TIMED = Chart(
    id="timed",
    title="A timer answered at several depths",
    variables=(Variable("tries", highest=2),),
    reported=("go", "inward", "leave"),
    states=(
        State("idle"),
        State(
            "waiting",
            timer=SLOW,
            enter=say("in"),
            exit=say("out"),
            children=(
                State("outer"),
                State("inner", children=(State("innermost", enter=say("deep")),)),
            ),
        ),
    ),
    transitions=(
        On("go", "idle", to="waiting", do=(Set("tries", 0),)),
        On("inward", "outer", to="innermost"),
        On("leave", "waiting", to="idle"),
        On(SLOW.expired, "innermost", to="waiting", when="tries < 2", do=(Increment("tries"),)),
        On(SLOW.expired, "inner", to="idle", do=say("gave up inside")),
        On(SLOW.expired, "waiting", to="idle", do=say("gave up")),
    ),
)

WAIT = Timer("wait", "wait", "it runs on where a transition says so", 3, 1, 60)

KEEPING = Chart(
    id="keeping",
    title="A timer that runs on",
    variables=(Variable("times", highest=2),),
    reported=("begin", "go", "again", "inward", "back", "by", "around", "count", "clear", "anew"),
    states=(
        loud("resting"),
        loud("asking", loud("first", timer=WAIT), loud("second"), timer=DWELL),
        loud("busy", loud("early", timer=DWELL), loud("late"), timer=WAIT),
        loud("passing", timer=WAIT),
        loud("leaving", timer=WAIT),
        loud("outside"),
    ),
    transitions=(
        On("begin", "resting", to="asking"),
        # One timer runs on, and the other starts again.
        On("go", "first", to="busy", do=say("go"), keep=WAIT),
        On("go", "second", to="busy", do=say("go late")),
        On("again", "first", to="first", do=say("again"), keep=WAIT),
        On("inward", "early", to="late"),
        On("inward", "first", to="second"),
        On("back", "late", to="asking", do=say("back"), keep=WAIT),
        On("back", "early", to="second", do=say("back early"), keep=DWELL),
        On("anew", "busy", to="busy", keep=WAIT),
        On("by", "busy", to="passing", do=say("by"), keep=WAIT),
        # Kept and then stopped, or kept twice, in one step.
        On(None, "passing", to="resting", when="times == 2", do=say("too often")),
        On(None, "passing", to="first", when="times == 1", do=say("once more"), keep=WAIT),
        # Kept, stopped and started in one step.
        On("around", "busy", to="leaving", do=say("around"), keep=WAIT),
        On(None, "leaving", to="outside"),
        On(None, "outside", to="first", do=say("back")),
        On(WAIT.expired, "leaving", to="resting"),
        On("count", "busy", do=(Increment("times"),)),
        On("clear", "resting", do=(Set("times", 0),)),
        On(DWELL.expired, "asking", to="resting"),
        On(DWELL.expired, "early", to="late"),
        On(WAIT.expired, "first", to="resting"),
        On(WAIT.expired, "busy", to="resting", do=say("late")),
        On(WAIT.expired, "passing", to="passing"),
    ),
)

KEEPING_BOTH = Chart(
    id="keeping_both",
    title="Timers of regions that run on",
    reported=("both", "back", "stop", "start"),
    states=(
        loud(
            "running",
            loud("left", loud("l_one", timer=BLINK), loud("l_two", timer=BLINK)),
            loud("right", loud("r_one", timer=WAIT), loud("r_two", timer=WAIT), timer=DWELL),
            parallel=True,
        ),
        loud("stopped", timer=DWELL),
    ),
    transitions=(
        On("both", "l_one", to="l_two", do=say("left"), keep=BLINK),
        On("both", "r_one", to="r_two", do=say("right"), keep=WAIT),
        On("back", "l_two", to="l_one", keep=BLINK),
        On("back", "r_two", to="r_one"),
        On("stop", "l_two", to="stopped", do=say("stop"), keep=DWELL),
        On("start", "stopped", to="r_two", do=say("start"), keep=DWELL),
        On(BLINK.expired, "l_one", to="l_one"),
        On(BLINK.expired, "l_two", to="l_one"),
        On(WAIT.expired, "r_one", to="r_two"),
        On(WAIT.expired, "r_two", to="r_one"),
        On(DWELL.expired, "right", to="stopped"),
        On(DWELL.expired, "stopped", to="running"),
    ),
)

ODD = (NESTED, PARALLEL, COUNTING, TIMED, KEEPING, KEEPING_BOTH)

"""The pictures say what the charts say: all that is declared, where it belongs, and no more."""

import re
from html import unescape

import pytest

from statecharts import Chart, Machine, On, Start, State, Stop, System, Tell
from statecharts.draw import Words, draw, draw_system, part, svg
from statecharts.draw.markup import ACCENT, CURRENT, FILLS, FOLDED, INK, PAGE, PALE
from statecharts.draw.rows import EVERYTHING
from statecharts.draw.words import PLAIN, plain, timer_words
from statecharts.hsms import ACTIVE, ACTIVE_LINK, BREAKER, CHARTS, LINKTEST, PASSIVE, TRANSACTION
from tests.support.odd_charts import COUNTING, KEEPING, NESTED, ODD, PARALLEL
from tests.support.tools import needs

EVERY = pytest.mark.parametrize("chart", [*CHARTS, *ODD], ids=lambda chart: str(chart.id))
# How each note of a legend begins.
NOTES = (
    "received from",
    "called by",
    "reported by",
    "told by one",
    "at once:",
    "timer:",
    "runs on:",
    "no arrow:",
    "→:",
    "double border:",
    "broken border:",
    "an overview:",
    "an inner state wins",
    "at a closed box",
    "everything received:",
    "is active",
)
ARROWS = Chart(
    id="arrows",
    title="Arrows",
    local=("go",),
    states=(State("here"), State("there")),
    transitions=(On("go", "here", to="there"), On("go", "there", to="here")),
)
FOLDS = [
    pytest.param(chart, state.id, id=f"{chart.id}-{state.id}")
    for chart in (*CHARTS, *ODD)
    for state in chart.walk()
    if state.children
]


def in_words(markup: str) -> str:
    text = unescape(re.sub(r"<[^>]*>", "", re.sub(r"<BR[^>]*>|</TR>", " ", markup)))
    return re.sub(r"\s+", " ", text)


def markup(dot: str) -> dict[str, str]:
    """The label of each node that has words; of a state with states inside it is ``text_``."""
    found = dict(re.findall(r"^\s*(\w+) \[.*?label=<(.*?</TABLE>)>", dot, re.MULTILINE))
    del found["graph"]
    return found


def labels(dot: str) -> dict[str, str]:
    """The words people see on each node, in one line."""
    return {name: in_words(text) for name, text in markup(dot).items()}


def box(chart: Chart, state: str, fold: str = "") -> str:
    return f"text_{state}" if chart.state(state).children and state != fold else state


def path(chart: Chart, state: str) -> list[str]:
    return [each.id for each in chart.path(state)]


def seen(chart: Chart, state: str, fold: str) -> str:
    """The box in which a state is seen when one is folded."""
    return fold if fold in path(chart, state) else state


def place(chart: Chart, on: On) -> str:
    """The node whose text tells a transition of a chart of which nothing is folded."""
    if on.to is None or on.to in path(chart, on.source):
        return box(chart, on.source)
    return f"{on.source}__{on.to}"


def ends(dot: str) -> set[tuple[str, str]]:
    """(from, to) of every arrow, by its two halves: the boxes at whose borders they end."""
    halves: dict[str, dict[str, str]] = {}
    for tail, head, looks in re.findall(r"^\s*(\w+) -> (\w+)(?: \[(.*)\])?$", dot, re.MULTILINE):
        middle = head if "__" in head else tail
        if "__" not in middle or "style=invis" in looks:
            continue
        node = tail if middle == head else head
        side = "ltail" if middle == head else "lhead"
        border = re.search(rf"{side}=cluster_(\w+)", looks)
        points_away = ("dir=back" in looks) == (middle == head) and "arrowhead=none" not in looks
        halves.setdefault(middle, {})["to" if points_away else "from"] = (
            border[1] if border else node
        )
    return {(each["from"], each["to"]) for each in halves.values()}


@EVERY
def test_every_transition_is_told_where_it_belongs_with_its_guard_and_its_effects(
    chart: Chart,
) -> None:
    told = labels(draw(chart))
    for on in chart.transitions:
        text = told[place(chart, on)]
        assert PLAIN.event(chart, on.event) in text or (
            EVERYTHING in text and on.event in chart.received
        ), on
        assert f"[{plain(on.when)}]" in text or not on.when, on
        done = "; ".join(PLAIN.action(action) for action in on.actions)
        assert f"/ {done}" in text or not done, on
        if on.to is not None and "__" not in place(chart, on):
            assert f"→ {chart.state(on.to).name}" in text, on


@EVERY
def test_every_state_tells_its_name_its_timer_and_what_entering_and_leaving_asks(
    chart: Chart,
) -> None:
    told = labels(draw(chart))
    for state in chart.walk():
        text = told[box(chart, state.id)]
        assert state.name in text
        if state.timer:
            assert f"timer {timer_words(state.timer)}" in text
        for word, actions in (("entry", state.enter), ("exit", state.exit)):
            if actions:
                assert f"{word} / {'; '.join(map(PLAIN.action, actions))}" in text
        assert not any(isinstance(each, Start | Stop) for each in state.enter + state.exit)


@EVERY
def test_nothing_is_told_that_the_chart_does_not_say(chart: Chart) -> None:
    boxes = {box(chart, state.id) for state in chart.walk()}
    assert set(labels(draw(chart))) == boxes | {place(chart, on) for on in chart.transitions}


@EVERY
def test_every_arrow_begins_and_ends_where_the_charts_does(chart: Chart) -> None:
    assert ends(draw(chart)) == {
        (on.source, on.to) for on in chart.transitions if "__" in place(chart, on)
    }


@pytest.mark.parametrize(("chart", "fold"), FOLDS)
def test_a_folded_state_is_one_box_at_which_all_arrows_of_its_inside_end(
    chart: Chart, fold: str
) -> None:
    dot = draw(chart, fold=(fold,))
    crossing: dict[tuple[str, str], set[str]] = {}
    for on in chart.transitions:
        source, target = seen(chart, on.source, fold), seen(chart, on.to or on.source, fold)
        if target not in path(chart, source):
            crossing.setdefault((source, target), set()).add(PLAIN.event(chart, on.event))
    assert ends(dot) == set(crossing)
    told = labels(dot)
    for (source, target), events in crossing.items():
        for event in events:
            assert event in told[f"{source}__{target}"]
    hidden = {each.id for child in chart.state(fold).children for each in child.walk()}
    assert not hidden.intersection(name.removeprefix("text_") for name in told)


def test_a_folded_state_tells_where_the_timers_inside_run() -> None:
    told = labels(draw(ACTIVE, fold=("not_selected", "selected")))
    assert "timer T7 = 10 s" in told["not_selected"]
    assert "T6 = 5 s in Selecting, Reselecting, Deselect unanswered" in told["not_selected"]
    assert "T6 = 5 s in Select unanswered, Deselecting" in told["selected"]


def test_what_changes_nothing_is_left_out_of_an_overview_only() -> None:
    assert "/ nothing" in in_words(draw(ACTIVE))
    assert "/ nothing" in in_words(draw(ACTIVE, page=("disconnected",), fold=("connected",)))
    assert "/ nothing" not in in_words(draw(ACTIVE, fold=("connected", "disconnected")))


def test_an_arrow_of_a_folded_state_does_not_tell_an_event_twice() -> None:
    told = labels(draw(ACTIVE, fold=("not_selected", "disconnected")))
    text = told["not_selected__disconnected"]
    assert text.count("tcp closed") == 1
    assert text.index("tcp closed") < text.index("/ tell attempt failed")


def test_a_page_is_about_its_states_and_names_where_the_others_lead_in() -> None:
    dot = draw(ACTIVE, page=("not_selected",), fold=("selected",))
    told = labels(dot)
    states = {name for name in told if "__" not in name}
    assert states == {
        "text_connected",
        "text_not_selected",
        "selecting",
        "unselected",
        "reselecting",
        "deselect_unanswered",
        "connecting",
        "selected",
    }
    assert told["connecting"].strip() == "Connecting"
    assert re.search(r"connecting \[.*dashed", dot)
    # What leads away from the page is told where it begins.
    assert "close → Closed" in told["text_not_selected"]
    assert {to for _, to in ends(dot)} == {
        "selecting",
        "unselected",
        "reselecting",
        "deselect_unanswered",
    }
    # The first state of CONNECTED is on the page, the first one of the chart is not.
    assert "start_connected" in dot
    assert "start_of_" not in dot


def test_a_box_that_is_only_named_does_not_say_where_it_begins() -> None:
    dot = draw(PASSIVE, page=("not_selected",))
    assert re.search(r"listening \[.*dashed", dot)
    assert "start_disconnected" not in dot
    assert "start_of_" not in dot


def test_a_page_without_the_first_state_of_a_box_does_not_say_where_it_begins() -> None:
    dot = draw(ACTIVE, page=("leaving",))
    assert "start_leaving" in dot
    assert "start_connected" not in dot


@EVERY
def test_a_state_is_drawn_inside_its_parent_and_nowhere_else(chart: Chart) -> None:
    around: list[str] = []
    inside: dict[str, list[str]] = {}
    for line in draw(chart).splitlines():
        if opened := re.match(r"\s*subgraph cluster_(\w+) \{", line):
            around.append(opened[1])
        elif re.match(r"\s*\}", line):
            around = around[:-1]
        elif node := re.match(r"\s*(?:text_)?(\w+) \[.*label=<", line):
            inside[node[1]] = list(around)
    for state in chart.walk():
        assert inside[state.id] == path(chart, state.id)[: None if state.children else -1]


def test_a_timer_is_told_with_its_value_and_its_end_with_its_name() -> None:
    told = labels(draw(ACTIVE))
    assert "after T5" in told["waiting__asking"]
    assert "timer T7 = 10 s" in told["text_not_selected"]


def test_exactly_the_active_states_are_marked() -> None:
    machine = Machine(ACTIVE)
    dot = draw(ACTIVE, machine.snapshot(("connected", "not_selected", "selecting")))
    marked = re.findall(rf'^\s*(\w+) \[label.* color="{ACCENT}"', dot, re.MULTILINE)
    assert marked == ["selecting"]
    assert re.search(rf'selecting \[label.*fillcolor="{CURRENT}"', dot)
    clusters = re.findall(rf'cluster_(\w+) \{{\n[^\n]* color="{ACCENT}"', dot)
    assert clusters == ["connected", "not_selected"]
    assert f'color="{ACCENT}"' not in draw(ACTIVE)
    assert "marked: selecting is active" in in_words(dot)


def test_parameters_and_values_in_force_are_told() -> None:
    machine = Machine(BREAKER, threshold=3)
    after = machine.step(machine.initial, "attempt_failed").snapshot
    dot = draw(BREAKER, after, {"threshold": 3})
    assert "failures = 1 (0..threshold)" in dot
    assert "threshold = 3 (1..1000)" in dot
    assert "failures (0..threshold)" in draw(BREAKER)


def test_regions_hang_on_one_bar_and_are_dashed() -> None:
    dot = draw(PARALLEL)
    assert dot.count("fork_running [shape=box") == 1
    assert "fork_running -> text_left [lhead=cluster_left]" in dot
    assert "fork_running -> text_right [lhead=cluster_right]" in dot
    assert dot.count('style="rounded,filled,dashed"') == 2
    assert "start_running [" not in dot


def test_a_region_without_states_inside_hangs_on_the_bar_too() -> None:
    chart = Chart(
        id="flat",
        title="Flat regions",
        reported=("left",),
        states=(State("both", parallel=True, children=(State("one"), State("other"))),),
        transitions=(On("left", "one"),),
    )
    assert "fork_both -> one\n" in draw(chart)


@pytest.mark.parametrize(
    ("chart", "final"),
    [
        (
            TRANSACTION,
            {"replied", "timed_out", "rejected", "aborted", "faulted", "lost", "cancelled"},
        ),
        (ACTIVE, {"closed"}),
        (PASSIVE, {"closed"}),
        # SELECTED ends, and with it the silence.
        (LINKTEST, set()),
        (BREAKER, set()),
        (NESTED, set()),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_exactly_a_state_without_a_way_out_looks_final(chart: Chart, final: set[str]) -> None:
    dot = draw(chart)
    assert set(re.findall(r"^\s*(\w+) \[.*peripheries=2", dot, re.MULTILINE)) == final
    assert ("double border" in dot) == bool(final)


@pytest.mark.parametrize(
    ("dot", "told"),
    [
        (draw(ARROWS), {"called by"}),
        (draw(COUNTING), {"called by", "reported by", "at once:", "no arrow:"}),
        (
            draw(KEEPING, fold=("asking",)),
            {
                *("reported by", "at once:", "timer:", "runs on:", "no arrow:", "→:"),
                *("an overview:", "at a closed box"),
            },
        ),
        (draw(NESTED), {"reported by", "no arrow:", "→:", "an inner state wins"}),
        (
            draw(TRANSACTION),
            {"received from", "called by", "reported by", "timer:", "double border:"},
        ),
        (
            draw(ACTIVE, fold=("connected",)),
            {
                *("received from", "called by", "reported by", "at once:", "timer:"),
                *("double border:", "an overview:", "at a closed box"),
            },
        ),
        (
            draw(ACTIVE, page=("leaving",), fold=("selected",)),
            {
                *("received from", "called by", "reported by", "timer:", "no arrow:", "→:"),
                *("broken border:", "everything received:", "at a closed box"),
            },
        ),
        (
            draw(BREAKER, Machine(BREAKER).initial),
            {"called by", "reported by", "at once:", "timer:", "no arrow:", "is active"},
        ),
        (
            draw_system(part(ACTIVE_LINK, ("receiver", "transmitter"), "two", "Two")),
            {"reported by", "timer:", "an overview:"},
        ),
    ],
)
def test_the_legend_explains_what_the_picture_has_and_nothing_else(
    dot: str, told: set[str]
) -> None:
    graph = next(line for line in dot.splitlines() if line.startswith("  graph [label"))
    text = in_words(graph)
    assert {each for each in NOTES if each in text} == told


def test_words_are_said_instead_of_ids_also_for_events_that_come_together() -> None:
    words = Words(
        events={"up": "uphill", "back": "home"},
        together={"sideways or again": frozenset({"across", "again"})},
    )
    chart = Chart(
        id="worded",
        title="Words",
        reported=("up", "across", "again"),
        states=(State("one"), State("two")),
        transitions=(
            *(On(event, "one", to="two") for event in ("across", "up", "again")),
            On("again", "two", to="one", do=(Tell("back"),)),
        ),
    )
    dot = draw(chart, words=words)
    assert labels(dot)["one__two"].strip() == "sideways or again, uphill"
    assert labels(dot)["two__one"].strip() == "again / tell home"
    assert "sideways or again: across or again" in in_words(dot)


def test_a_system_tells_in_colour_what_its_charts_tell_each_other() -> None:
    system = part(ACTIVE_LINK, ("connection_active", "breaker"), "two", "Two")
    dot = draw_system(system, fold=("disconnected", "half_open"))
    told = markup(dot)
    asked = f'<FONT COLOR="{ACCENT}">/ permit requested</FONT>'
    assert "Asking the breaker:" in in_words(told["disconnected"])
    assert asked in told["disconnected"]
    assert f'<I><FONT COLOR="{ACCENT}">permit requested</FONT></I>' in told["half_open"]
    # What is told to a chart that is not in the picture is no matter.
    assert "watch ended" not in in_words(dot)
    assert "connection, the end that dials → Circuit breaker: permit requested" in in_words(dot)
    assert "told by one chart" in dot
    assert "told by one chart" not in draw_system(part(ACTIVE_LINK, ("breaker",), "one", "One"))


def test_a_coarse_box_tells_what_makes_it_speak() -> None:
    system = part(ACTIVE_LINK, ("connection_active", "breaker"), "two", "Two")
    told = labels(draw_system(system, fold=("disconnected",)))
    assert "enable, permit offered, after T5 → Asking the breaker" in told["disconnected"]
    whole = labels(draw_system(system))
    assert "entry / permit requested" in whole["asking"]
    assert whole["idle"].strip() == "Idle"


def test_entering_regions_matters_when_one_of_them_speaks() -> None:
    ear = Chart(id="ear", title="Ear", reported=("said",), states=(State("quiet"),), transitions=())
    mouth = Chart(
        id="mouth",
        title="Mouth",
        local=("open",),
        states=(
            State(
                "face",
                children=(
                    State("shut"),
                    State(
                        "moving",
                        parallel=True,
                        children=(State("lips"), State("tongue", enter=(Tell("said"),))),
                    ),
                ),
            ),
        ),
        transitions=(On("open", "shut", to="moving"),),
    )
    told = labels(draw_system(System("head", "Head", (mouth, ear)), fold=("face",)))
    assert "open → Moving" in told["face"]


def test_a_part_of_a_system_is_told_nothing_by_the_rest() -> None:
    system = part(ACTIVE_LINK, ("breaker",), "one", "One")
    assert [chart.id for chart in system.charts] == ["breaker"]
    assert system.outside == (
        "permit_granted",
        "permit_withdrawn",
        "permit_refused",
        "permit_offered",
    )


def test_a_misspelt_state_is_not_left_out_silently() -> None:
    with pytest.raises(ValueError, match="connection_active: no state 'seletced' to draw"):
        draw(ACTIVE, fold=("seletced",))
    with pytest.raises(ValueError, match="connection_active: no state 'seletced' to draw"):
        draw(ACTIVE, page=("seletced",))
    with pytest.raises(ValueError, match=r"connection_active, breaker, .*no state 'seletced'"):
        draw_system(ACTIVE_LINK, fold=("seletced",))


def test_each_line_of_a_picture_is_one_text_with_its_spaces() -> None:
    needs("dot")
    picture = svg(draw(LINKTEST))
    lines = [in_words(text) for text in re.findall(r"<text[^>]*>(.*?)</text>", picture)]
    assert "timer T6 = 5 s" in lines
    assert "linktest, probe wanted / nothing" in lines
    assert "\N{NO-BREAK SPACE}" not in picture


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("text", [INK, PALE, ACCENT])
@pytest.mark.parametrize("fill", [PAGE, FOLDED, CURRENT, *FILLS])
def test_every_text_stands_out_from_every_fill(text: str, fill: str) -> None:
    # WCAG 2, level AA.
    assert (luminance(fill) + 0.05) / (luminance(text) + 0.05) >= 4.5


def test_every_picture_brings_its_own_background() -> None:
    for dot in (draw(BREAKER), draw_system(ACTIVE_LINK)):
        assert f'bgcolor="{PAGE}"' in dot

"""The pictures say what the charts say: all that is declared, where it belongs, and no more."""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from statecharts import Chart, Machine, On, Start, State, Stop
from statecharts.draw import draw, draw_system, part
from statecharts.draw.__main__ import lifecycle, main, stale
from statecharts.draw.markup import ACCENT
from statecharts.draw.rows import EVERYTHING, arrows, is_far, returns
from statecharts.draw.words import action_words, event_words, timer_words
from statecharts.hsms import ACTIVE, ACTIVE_LINK, BREAKER, CHARTS
from tests.support.odd_charts import COUNTING, NESTED, ODD, PARALLEL
from tests.support.tools import needs

ROOT = Path(__file__).parent.parent
EVERY = pytest.mark.parametrize("chart", [*CHARTS, *ODD], ids=lambda chart: str(chart.id))


def labels(dot: str) -> dict[str, str]:
    """Node or, for a state with children, ``text_`` node: the words people see, in one line."""
    found = {}
    for name, markup in re.findall(r"^\s*(\w+) \[.*?label=<(.*?</TABLE>)>", dot, re.MULTILINE):
        text = re.sub(r"<BR[^>]*>|</TR>", " ", markup)
        found[name] = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", "", text)))
    del found["graph"]
    return found


def box(chart: Chart, state: str) -> str:
    return f"text_{state}" if chart.state(state).children else state


def place(chart: Chart, on: On) -> str:
    """The node whose text tells a transition."""
    if on.to is None or returns(chart, on) or is_far(chart, on):
        return box(chart, on.source)
    return f"{on.source}__{on.to}"


@EVERY
def test_every_transition_is_told_where_it_belongs_with_its_guard_and_its_effects(
    chart: Chart,
) -> None:
    told = labels(draw(chart))
    for on in chart.transitions:
        text = told[place(chart, on)]
        assert event_words(chart, on.event) in text or (
            EVERYTHING in text and on.event in chart.received
        ), on
        assert f"[{on.when}]" in text or not on.when, on
        done = "; ".join(action_words(action) for action in on.do)
        assert f"/ {done}" in text or not done, on
        if on.to is not None and place(chart, on) == box(chart, on.source):
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
                assert f"{word} / {'; '.join(map(action_words, actions))}" in text
        assert not any(isinstance(each, Start | Stop) for each in state.enter + state.exit)


@EVERY
def test_nothing_is_told_that_the_chart_does_not_say(chart: Chart) -> None:
    told = labels(draw(chart))
    boxes = {box(chart, state.id) for state in chart.walk()}
    assert set(told) == boxes | {f"{source}__{target}" for source, target in arrows(chart)}


@EVERY
def test_a_state_is_drawn_inside_its_parent_and_nowhere_else(chart: Chart) -> None:
    around: list[str] = []
    seen: dict[str, list[str]] = {}
    for line in draw(chart).splitlines():
        if opened := re.match(r"\s*subgraph cluster_(\w+) \{", line):
            around.append(opened[1])
        elif re.match(r"\s*\}", line):
            around = around[:-1]
        elif node := re.match(
            r"\s*(?:text_)?(\w+) \[style|\s*text_(\w+) \[shape|\s*(\w+) \[label", line
        ):
            seen[next(name for name in node.groups() if name)] = list(around)
    for state in chart.walk():
        path = [each.id for each in chart.path(state.id)]
        assert seen[state.id] == (path if state.children else path[:-1])


def test_a_timer_is_told_with_its_value_and_a_message_in_the_words_of_the_standard() -> None:
    told = labels(draw(ACTIVE))
    assert "after T5 = 10 s" in told["waiting__asking"]
    assert "timer T7 = 10 s" in told["text_not_selected"]
    assert "Linktest.req / Send(Linktest.rsp)" in told["text_selected"]
    assert "CONNECTED" in told["text_connected"]
    # No effect of the chart spells a message "Unexpected": it stays a word.
    assert "unexpected rsp" in told["text_selected"]


def test_exactly_the_active_states_are_marked() -> None:
    machine = Machine(ACTIVE)
    dot = draw(ACTIVE, machine.snapshot(("connected", "not_selected", "selecting")))
    marked = {
        line.split()[0]
        for line in dot.splitlines()
        if f'color="{ACCENT}"' in line and "[label" in line
    }
    assert marked == {"selecting"}
    clusters = re.findall(rf'cluster_(\w+) \{{\n[^\n]*color="{ACCENT}"', dot)
    assert clusters == ["connected", "not_selected"]
    assert f'color="{ACCENT}"' not in draw(ACTIVE)


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


def test_a_chart_of_arrows_only_needs_no_word_about_staying() -> None:
    chart = Chart(
        id="arrows",
        title="Arrows",
        local=("go",),
        states=(State("here"), State("there")),
        transitions=(On("go", "here", to="there"), On("go", "there", to="here")),
    )
    assert "stays in the state" not in draw(chart)
    assert "reported by" not in draw(chart)
    assert "stays in the state" in draw(NESTED)


def test_an_arrow_ends_at_the_border_of_a_state_with_states_inside() -> None:
    dot = draw(NESTED)
    assert "two__six [shape=plain" in dot
    assert "four -> two__six [ltail=cluster_two, arrowhead=none]" in dot
    assert "six -> one__seven [ltail=cluster_one, arrowhead=none]" in dot
    assert "seven__one -> seven [arrowhead=none]" in dot
    assert "six -> seven__one [ltail=cluster_one, dir=back, arrowtail=normal]" in dot


def test_the_legend_explains_what_the_picture_has_and_nothing_else() -> None:
    assert "called by the user" in draw(COUNTING)
    assert "timer:" not in draw(COUNTING)
    assert "everything received: all 19 events" in draw(ACTIVE)
    assert "called by the user" not in draw(NESTED)


def test_the_overview_shows_the_lifecycle_and_every_wire_between_its_charts() -> None:
    dot = lifecycle()
    words = unescape(re.sub(r"<[^>]*>", " ", dot))
    for name in ("NOT CONNECTED", "Connecting", "NOT SELECTED", "SELECTED"):
        assert name in words
    for name in ("Closed", "Open", "Half-open", "Isolated"):
        assert name in words
    system = part(ACTIVE_LINK, ("connection_active", "breaker"), "two", "Two")
    assert len(system.wires) >= 7
    for index, wire in enumerate(system.wires):
        ends = [wire.source, wire.target]
        assert f"{ends[0]}_{index}" in dot
        assert f"{ends[1]}_{index}" in dot
        assert action_words(wire.effect) in words
    assert "Leaving" not in words
    # A folded state has no box; what its entry asks for is told, with its name.
    assert "asking [" not in dot
    assert re.search(r"Asking the breaker: /\s+AskBreaker", words)


def test_the_overview_opens_every_state_unless_told_otherwise() -> None:
    words = draw_system(part(ACTIVE_LINK, ("connection_active", "breaker"), "two", "Two"))
    assert "Asking the breaker" in words
    assert "Leaving" in words


def test_one_chart_by_itself_has_an_overview_without_wires() -> None:
    dot = draw_system(part(ACTIVE_LINK, ("breaker",), "one", "One"))
    assert "wire_" not in dot.replace("cluster_wires", "")


def test_the_committed_files_are_what_the_charts_say_now() -> None:
    assert stale(ROOT / "diagrams") == []


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_same_charts_give_the_same_text_whatever_the_hash_seed(seed: str) -> None:
    command = [sys.executable, "-m", "statecharts.draw", "diagrams", "--check"]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    told = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    assert (told.returncode, told.stderr) == (0, "")


def test_the_command_writes_everything_and_its_check_names_what_differs(tmp_path: Path) -> None:
    needs("dot")
    main([str(tmp_path)])
    main([str(tmp_path), "--check"])
    assert (tmp_path / "lifecycle.svg").read_text().rstrip().endswith("</svg>")
    assert len(list(tmp_path.iterdir())) == 3 * len(CHARTS) + 2
    (tmp_path / "breaker.dot").write_text("another")
    (tmp_path / "linktest.xstate.json").unlink()
    (tmp_path / "receiver.svg").unlink()
    with pytest.raises(SystemExit, match=r"breaker\.dot, linktest\.xstate\.json, receiver\.svg"):
        main([str(tmp_path), "--check"])

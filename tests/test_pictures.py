"""The pictures of the HSMS charts: every rule is on one of them, in words for people."""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from statecharts import Chart, Effect, Tell
from statecharts.draw.markup import ACCENT
from statecharts.hsms import ACTIVE, CHARTS, PASSIVE
from statecharts.hsms.pictures import PAGES, lifecycle, main, stale, texts
from statecharts.hsms.runs import RUNS, messages
from statecharts.hsms.words import WORDS
from tests.support.tools import needs

ROOT = Path(__file__).parent.parent
DOTS = {name: text for name, text in texts().items() if name.endswith(".dot")}


def in_words(markup: str) -> str:
    text = unescape(re.sub(r"<[^>]*>", "", re.sub(r"<BR[^>]*>|</TR>", " ", markup)))
    return re.sub(r"\s+", " ", text)


def labels(dot: str) -> dict[str, str]:
    found = re.findall(r"^\s*(\w+) \[.*?label=<(.*?</TABLE>)>", dot, re.MULTILINE)
    return {name: in_words(text) for name, text in found if name != "graph"}


def timer_ends(chart: Chart) -> set[str]:
    return {timer.expired for timer in chart.timers}


def effects(chart: Chart) -> set[Effect]:
    asked = [(*state.enter, *state.exit) for state in chart.walk()]
    return {
        action
        for actions in (*asked, *(on.do for on in chart.transitions))
        for action in actions
        if isinstance(action, Effect)
    }


def test_every_event_and_every_effect_has_its_words_and_nothing_else_has() -> None:
    events = {event for chart in CHARTS for event in set(chart.events) - timer_ends(chart)}
    assert set(WORDS.events) == events
    assert set(WORDS.effects) == {
        effect for chart in CHARTS for effect in effects(chart) if not isinstance(effect, Tell)
    }


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: str(chart.id))
def test_no_two_events_of_a_chart_have_the_same_words(chart: Chart) -> None:
    words = [WORDS.event(chart, event) for event in chart.events]
    assert len(set(words)) == len(words)


def test_no_picture_says_an_id() -> None:
    ids = {event for chart in CHARTS for event in chart.events}
    ids |= {type(effect).__name__ for chart in CHARTS for effect in effects(chart)}
    for name, dot in DOTS.items():
        for label in labels(dot).values():
            assert not ids.intersection(re.findall(r"\w+", label)), name


@pytest.mark.parametrize("chart", [ACTIVE, PASSIVE], ids=lambda chart: str(chart.id))
def test_every_rule_of_a_connection_is_told_in_full_on_one_of_its_pages(chart: Chart) -> None:
    pages = [labels(DOTS[f"{name}.dot"]) for name, page in PAGES.items() if page[0] is chart]
    # The overview opens what has no page.
    pages.append(labels(DOTS[f"{chart.id}.dot"]))
    for on in chart.transitions:
        words = [WORDS.event(chart, on.event), *map(WORDS.action, on.do)]
        if on.event in chart.received and on.source == "leaving":
            words[0] = "everything received"
        target = chart.state(on.to).name if on.to else ""
        places = {
            f"text_{on.source}": f"→ {target}" if on.to else "",
            on.source: f"→ {target}" if on.to else "",
            f"{on.source}__{on.to}": "",
        }
        assert any(
            all(word in told.get(node, "") for word in (*words, arrow))
            for told in pages
            for node, arrow in places.items()
        ), on


def test_the_lifecycle_shows_where_the_timers_run_and_each_way_out_of_selected() -> None:
    told = labels(lifecycle())
    assert "T5 = 10 s in Separation" in told["disconnected"]
    assert "timer T7 = 10 s" in told["not_selected"]
    assert "T6 = 5 s in Selecting" in told["not_selected"]
    assert "T6 = 5 s in Select unanswered, Deselecting" in told["selected"]
    assert "disable, close / send Separate.req" in told["selected__leaving"]
    assert "enable" in told["disconnected"]
    assert re.search(r"closed \[.*peripheries=2", lifecycle())
    assert f'COLOR="{ACCENT}">/ permit requested<' in lifecycle()


def test_a_timer_of_the_pictures_is_one_of_the_charts() -> None:
    labels_of = {timer.label for chart in CHARTS for timer in chart.timers}
    for dot in DOTS.values():
        for text in labels(dot).values():
            for label in re.findall(r"timer ([\w ]+) =", text):
                assert label in labels_of


def test_the_committed_files_are_what_the_charts_say_now() -> None:
    assert stale(ROOT / "diagrams") == []


def test_nothing_else_is_in_the_folder_of_the_pictures() -> None:
    made = set(texts()) | {name.replace(".dot", ".svg") for name in DOTS}
    assert {path.name for path in (ROOT / "diagrams").iterdir()} == made


@pytest.mark.parametrize("name", sorted(name.replace(".dot", ".svg") for name in DOTS))
def test_a_committed_picture_says_what_its_text_does_with_all_spaces(name: str) -> None:
    picture = (ROOT / "diagrams" / name).read_text(encoding="utf-8")
    lines = [in_words(text) for text in re.findall(r"<text[^>]*>(.*?)</text>", picture)]
    said = " ".join(lines).split()
    dot = DOTS[name.replace(".svg", ".dot")]
    titles = [in_words(text) for text in re.findall(r"  graph \[.*?label=<(.*)>\]", dot)]
    asked = [*titles, *labels(dot).values()]
    assert sorted(said) == sorted(word for text in asked for word in text.split())


def test_the_runs_end_as_their_titles_say() -> None:
    closed, opened, deselected, taken, away, given = (list(messages(run)) for run in RUNS)
    frames = [step.label for step in closed if step.source != step.target]
    assert frames == [
        "Select.req",
        "Select.rsp 0",
        "Linktest.req",
        "Linktest.rsp",
        "Separate.req",
    ]
    assert [step.note for step in closed[-2:]] == [
        "HSMS connection: Closed\nLinktest: Off",
        "HSMS connection: Closed",
    ]
    notes = [step.note for step in opened]
    assert "Circuit breaker: Open" in notes[3]
    assert notes[5] == "HSMS connection: Blocked by the breaker"
    assert notes[6] == "Circuit breaker: Half-open, Probing\nHSMS connection: Connecting"
    assert [step.note for step in deselected[-2:]] == ["HSMS connection: Unselected"] * 2
    for run in (taken, given):
        assert run[-1].target == "process B"
        assert run[-1].note == "HSMS connection: SELECTED, Communicating\nLinktest: Watching, Quiet"
    (dead,) = (number for number, step in enumerate(taken) if not step.source)
    assert {step.target for step in taken[dead:]} == {"", "equipment", "process B", "store"}
    said = [step.label for step in away if step.target == "store"]
    assert said[-3] == "ask the store to tell who has the lease"
    assert said.index("give the lease back") == said.index(said[-3]) - 1
    back = [step.label for step in given].index("give the lease back")
    assert given[back - 1].note.endswith("Disabled, T5 not over\nLease of a tool: Withdrawn")


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_same_charts_give_the_same_text_whatever_the_hash_seed(seed: str) -> None:
    command = [sys.executable, "-m", "statecharts.hsms.pictures", "diagrams", "--check"]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    told = subprocess.run(
        command, capture_output=True, encoding="utf-8", check=False, cwd=ROOT, env=environment
    )
    assert (told.returncode, told.stderr) == (0, "")


def test_the_command_writes_everything_and_its_check_names_what_differs(tmp_path: Path) -> None:
    needs("dot")
    main([str(tmp_path)])
    main([str(tmp_path), "--check"])
    assert (tmp_path / "lifecycle.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")
    (tmp_path / "breaker.dot").write_text("another", encoding="utf-8")
    (tmp_path / "linktest.xstate.json").unlink()
    (tmp_path / "receiver.svg").unlink()
    with pytest.raises(SystemExit, match=r"breaker\.dot, linktest\.xstate\.json, receiver\.svg"):
        main([str(tmp_path), "--check"])

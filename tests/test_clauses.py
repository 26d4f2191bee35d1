"""The rules, the charts, the proof and the tests name the same clauses, and none is left out."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from statecharts.explore import Graph
from statecharts.explore.alone import WorldState
from statecharts.explore.obligations import Examiner
from statecharts.hsms import ACTIVE, CHARTS, PASSIVE, rules
from statecharts.hsms.rules import CLAUSES, SECTIONS, Clause, Elsewhere, RulesError, Runs, parse
from tests.proof.binding import machine
from tests.proof.searches import CHARTS_ALONE, LINKS, OWNED_LINKS, AloneSearch

ROOT = Path(__file__).parent.parent
IDS = {clause.id for clause in CLAUSES}
ELSEWHERE = [row for section in SECTIONS for row in section.rows if isinstance(row, Elsewhere)]
STATES = {state.id for chart in CHARTS for state in chart.walk()}
VARIABLES = {variable.name for chart in CHARTS for variable in chart.variables}
EVENTS = {event for chart in CHARTS for event in chart.events}
TIMERS = {timer.id for chart in CHARTS for timer in chart.timers}
ENDS = {"both", "dials", "redials", "listens", "probes", "refuses", "owned"}
ENDS |= {"breaker", "request", "lease"}

Named = tuple[str, int, str]


def _fulfilled(search: AloneSearch[WorldState]) -> Iterator[tuple[str, str, list[Named]]]:
    """(clause, what was done, the clauses that the transitions taken name) of every step owed."""
    model = search.model(machine)
    examiner = Examiner(model.router)
    charts = {chart.id: chart for chart in model.router.system.charts}
    for snapshot in dict.fromkeys(here.snapshot for here in Graph(model).states):
        for duty in search.duties:
            if examiner.applies(duty, snapshot):
                for event in duty.events:
                    hops = model.router.step(snapshot, event).hops
                    named = [
                        (hop.chart, number, clause)
                        for hop in hops
                        for number in hop.taken
                        for clause in charts[hop.chart].transitions[number].clauses
                    ]
                    yield duty.clause, f"{event} in {snapshot}", named


def test_every_row_is_fulfilled_by_a_transition_that_names_it_and_by_no_other() -> None:
    steps = [step for search in (*LINKS, *OWNED_LINKS) for step in _fulfilled(search)]
    steps += [step for search in CHARTS_ALONE for step in _fulfilled(search)]
    unnamed = {
        (clause, what) for clause, what, named in steps if clause not in {each[2] for each in named}
    }
    due = {(*each,) for clause, _, named in steps for each in named if each[2] == clause}
    claimed = {
        (chart.id, number, clause)
        for chart in CHARTS
        for number, on in enumerate(chart.transitions)
        for clause in on.clauses
    }

    assert unnamed == set()
    assert claimed - due == set()
    assert {clause for _, _, clause in due} == IDS


def test_every_transition_names_a_clause() -> None:
    assert [str(on) for chart in CHARTS for on in chart.transitions if not on.clauses] == []


def test_no_clause_stands_twice() -> None:
    ids = Counter([*(clause.id for clause in CLAUSES), *(row.id for row in ELSEWHERE)])

    assert [id for id, times in ids.items() if times > 1] == []


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.id)
def test_every_name_in_a_row_exists(clause: Clause) -> None:
    conditions = [each for place in clause.places for each in (*place.where, *place.but)]
    named = {each.partition("=")[0] for each in (*conditions, *clause.then)}

    assert clause.ends in ENDS
    assert set(clause.events) <= EVENTS
    assert named <= STATES | VARIABLES | {"lost", "fresh"}
    assert set(clause.starts) <= TIMERS
    assert clause.rule


def test_the_table_of_timers_has_each_timer_once_and_states_that_exist() -> None:
    table = [row for section in SECTIONS for row in section.rows if isinstance(row, Runs)]

    assert sorted(row.timer for row in table) == sorted(TIMERS)
    assert {state for row in table for state in row.states} <= STATES


@pytest.mark.parametrize("row", ELSEWHERE, ids=lambda row: row.id)
def test_a_rule_that_no_chart_keeps_names_the_file_that_does(row: Elsewhere) -> None:
    assert (ROOT / row.where).is_file()
    assert row.rule


def shown_by_hand() -> set[str]:
    """The clauses that some test names with ``pytest.mark.clause``."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="clause"), args=arguments):
                    found |= {str(ast.literal_eval(each)) for each in arguments}
    return found


def test_what_a_peer_may_send_and_what_no_chart_keeps_is_shown_by_hand() -> None:
    """The proof and the tours walk every row; these are shown apart from the table too."""
    frames = {*ACTIVE.received, *PASSIVE.received}
    owed = {clause.id for clause in CLAUSES if frames & set(clause.events)}
    owed = {id for id in owed if not id.startswith("attempt/")} | {row.id for row in ELSEWHERE}

    assert owed - shown_by_hand() == set()
    assert shown_by_hand() <= IDS | {row.id for row in ELSEWHERE}


def test_a_line_that_does_not_fit_its_table_is_refused_by_number() -> None:
    with pytest.raises(RulesError, match="line 3: 3 cells do not fit"):
        parse("# One\nclause | where\na | b | c\n")


def test_the_text_is_read_as_it_stands() -> None:
    text = (
        "Above.\n\n# Words\nword | stands for\nNS | not_selected\n"
        "# Rows\nProse of\ntwo lines.\n\n"
        "clause | ends | event | in | answer | then | starts\n"
        "a/b | both | x y | NS but c, d e=1 | one two, three | f g=0 | t7\n"
        "    Words of\n    the rule.\n"
    )
    _, words, rows = parse(text)
    (clause,) = rows.rows

    assert [section.title for section in parse(text)] == ["", "Words", "Rows"]
    assert words.rows == (rules.Word("NS", "not_selected"),)
    assert rows.prose == "Prose of\ntwo lines."
    assert clause == Clause(
        "a/b",
        "both",
        ("x", "y"),
        (rules.Condition(("not_selected",), ("c",)), rules.Condition(("d", "e=1"))),
        ("one two", "three"),
        ("f", "g=0"),
        ("t7",),
        "Words of the rule.",
        ("both", "x y", "NS but c, d e=1", "one two, three", "f g=0", "t7"),
    )

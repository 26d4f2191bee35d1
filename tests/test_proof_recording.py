"""A counterexample as a recording: it goes where the trace goes, with frames that fit together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hsms_engine.recording import (
    EndRecord,
    ErrorRecord,
    EventRecord,
    FrameRecord,
    GoneRecord,
    HeadRecord,
    LinkRecord,
    Record,
    SettingsRecord,
    StepRecord,
    states_of,
)
from hsms_engine.wire import Decoder, SType
from statecharts.explore import Assumption, Checker, Graph, LeadsTo, Trace
from statecharts.explore.pair import Both
from statecharts.hsms import ACTIVE, BREAKER
from statecharts.hsms.vocabulary import ResetTcp
from statecharts.router import SystemSnapshot
from tests.proof import __main__ as program
from tests.proof.assumptions import SETTLED
from tests.proof.binding import machine, with_chart
from tests.proof.end_properties import TWO_ENDS
from tests.proof.model import End, Ends, Link, Scenario, two_ends
from tests.proof.recording import FAULT, Found, records, states_along, write
from tests.proof.searches import (
    CHARTS_ALONE,
    DESELECTING,
    LINKS,
    LINKS_WITHOUT_TRAFFIC,
    LOST,
    OWNED_LINKS,
    REFUSED,
    SESSION,
    SMALL_ENDS,
    UNASKED,
)
from tests.support.mutate import without
from tests.support.recordings_read import follow, read_whole
from tests.support.told import NOTE, WALL

SCENARIOS: dict[str, Scenario] = {
    **{each.name: each.scenario for each in SMALL_ENDS},
    "data": Scenario(
        ("enable_requested", "select_requested", "deselect_requested"),
        ("deselect_requested",),
        data=True,
    ),
    "lost": LOST,
    "refused": REFUSED,
    "unasked": UNASKED,
    "session": replace(SESSION, lost_resets=False),
}


def leaves(snapshot: SystemSnapshot) -> dict[str, str]:
    return {chart: state.leaves for chart, state in states_of(snapshot.parts).items()}


def some(graph: Graph[Any, Any]) -> list[int]:
    """States all over a search, the last one that was found included."""
    count = len(graph.states)
    wanted = 20 if graph.statistics().diameter > 100 else 150
    return [*range(0, count, max(1, count // wanted)), count - 1]


def recorded(trace: Trace, model: Any, folder: Path) -> list[Record]:
    return read_whole(write(Found("a search", "a claim", "It is so.", trace), model, folder))


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_ends_are_where_the_trace_ends(name: str, tmp_path: Path) -> None:
    graph, model = _first(SCENARIOS[name])
    for number in some(graph):
        found = recorded(graph.trace(number), model, tmp_path)
        states = follow(found)
        here = model.view(graph.states[number])
        ends: list[End | Link] = [here.left, here.right]
        if here.right.ghost is not None:
            ends.append(here.right.ghost)
        open_now = {each.link for each in found if isinstance(each, ErrorRecord)}
        assert sorted(map(str, (states[link] for link in open_now))) == sorted(
            str(leaves(each.snapshot)) for each in ends
        )
        timers = _timers(found)
        assert sorted(sorted(timers[link]) for link in open_now) == sorted(
            sorted(each.world.timers) for each in ends
        )
        _fits(found)


class Small:
    """The model of two ends, of which no more states are searched than a test has time for."""

    def __init__(self, model: Ends) -> None:
        self.moves, self.initial = model.moves, model.initial
        self.view, self.describe = model.view, model.describe
        self._actions = model.actions
        self._asked = 0

    def actions(self, state: int) -> list[tuple[int, int]]:
        self._asked += 1
        return self._actions(state) if self._asked <= 6_000 else []


def _first(scenario: Scenario) -> tuple[Graph[int, Both[End]], Ends]:
    """The states that are found first, and the whole model."""
    model = two_ends(scenario)
    return Graph(Small(model)), model


def _timers(found: list[Record]) -> Mapping[int, Mapping[str, float]]:
    timers: dict[int, Mapping[str, float]] = {}
    for each in found:
        match each:
            case LinkRecord() | StepRecord():
                timers[each.link] = each.timers
            case _:
                pass
    return timers


def _fits(found: list[Record]) -> None:
    """What an end receives was sent before, in this order; an answer is to what it has received."""
    decoder, on_the_way = Decoder(), list[bytes]()
    latest: dict[int, int] = {}
    received: set[tuple[int, int]] = set()
    for each in found:
        match each:
            case FrameRecord(sent=sent, data=data, length=length, link=link):
                (frame,) = decoder.feed(len(data).to_bytes(4) + data)
                assert length == len(data) + 4
                if not sent:
                    place = on_the_way.index(data)
                    assert place > latest.get(link, -1)
                    latest[link] = place
                    received.add((link, frame.system_bytes))
                    continue
                on_the_way.append(data)
                if frame.stype in _RESPONSES:
                    assert (link, frame.system_bytes) in received
            case _:
                pass


@pytest.mark.parametrize(
    "search", [*LINKS, *OWNED_LINKS, *CHARTS_ALONE], ids=lambda search: search.name
)
def test_charts_alone_are_where_the_trace_ends(search: Any, tmp_path: Path) -> None:
    graph = Graph(search.configured(machine))
    for number in some(graph):
        trace = graph.trace(number)
        found = recorded(trace, graph.model, tmp_path)
        (states,) = follow(found).values()
        assert states == leaves(graph.states[number].snapshot)
        steps = [each for each in found if isinstance(each, StepRecord)]
        assert [each.event for each in steps] == [move.event for move in trace.moves]
        assert [each.at for each in steps] == [*map(float, range(1, len(steps) + 1))]
        assert [each.effects for each in steps] == [
            tuple(map(str, move.effects)) for move in trace.moves
        ]
        _answers(found)


def _answers(found: list[Record]) -> None:
    """A response that is expected is to a request that was sent, if one was."""
    asked: set[tuple[int, bytes]] = set()
    for each, following in pairwise(found):
        match each:
            case FrameRecord(sent=True, data=data):
                asked.add((data[5], data[6:]))
            case FrameRecord(data=data) if data[5] in _RESPONSES:
                assert isinstance(following, StepRecord)
                kinds = {kind for kind, _ in asked}
                is_expected = following.event != "unexpected_rsp_received"
                if data[5] - 1 in kinds:
                    assert is_expected == ((data[5] - 1, data[6:]) in asked)
            case _:
                pass


_RESPONSES = (SType.SELECT_RSP, SType.DESELECT_RSP, SType.LINKTEST_RSP)


def test_the_settings_are_those_of_the_search_and_of_its_users(tmp_path: Path) -> None:
    graph, model = _first(UNASKED)
    active, passive = [
        each for each in recorded(graph.trace(0), model, tmp_path) if isinstance(each, LinkRecord)
    ]
    assert "linktest_interval" not in active.settings
    assert passive.settings["linktest_interval"] is None

    graph, model = _first(SMALL_ENDS[0].scenario)
    traces = map(graph.trace, range(len(graph.states)))
    lowered = next(
        trace for trace in traces if any(move.carries == "threshold 1" for move in trace.moves)
    )
    (changed,) = [
        each for each in recorded(lowered, model, tmp_path) if isinstance(each, SettingsRecord)
    ]
    assert changed.changed["breaker_threshold"] == 1


def test_every_message_of_an_arbitrary_peer_is_a_frame(tmp_path: Path) -> None:
    graph = Graph(LINKS[0].model(machine))
    frames: dict[str, FrameRecord] = {}
    for number in range(0, len(graph.states), 3):
        for move, target in graph.edges(number):
            made = graph.model.moves[move]
            if made.event in frames or made.event not in ACTIVE.received:
                continue
            trace = graph.trace(number).then(made, graph.model.describe(graph.states[target]))
            last = [each for each in recorded(trace, graph.model, tmp_path) if _is_of(each, trace)]
            frames[made.event] = next(each for each in last if isinstance(each, FrameRecord))
    assert frames.keys() == set(ACTIVE.received)
    assert not any(each.sent for each in frames.values())
    assert frames["deselect_rsp_busy"].data.hex(" ", 2)[:14] == "ffff 0002 0004"


def _is_of(record: Record, trace: Trace) -> bool:
    return record.at == len(trace.moves)


def test_a_dead_loop_is_told_with_its_settings_and_its_claim(tmp_path: Path) -> None:
    hasty = Assumption(
        "hasty", "as settled, timers as fast as they like", SETTLED.never, False, SETTLED.fair
    )
    recovery = next(each for each in TWO_ENDS if each.name == "recovery")
    assert isinstance(recovery, LeadsTo)
    claim = LeadsTo("recovery", recovery.says, recovery.given, recovery.goal, hasty)
    model = SMALL_ENDS[0].model(machine)
    graph = Graph(model)
    (verdict,) = Checker(graph).check([claim])
    assert verdict.trace is not None
    assert verdict.trace.loop is not None

    found = Found("two ends, cable", "recovery", "It is back.", verdict.trace)
    path = write(found, model, tmp_path)
    assert path == tmp_path / "two-ends-cable-recovery.jsonl"
    head, active, passive, *rest = read_whole(path)
    assert isinstance(head, HeadRecord)
    assert (head.at, head.wall, head.recording) == (0.0, WALL, "two ends, cable: recovery")
    assert isinstance(active, LinkRecord)
    assert isinstance(passive, LinkRecord)
    assert [(each.name, each.peer, each.role) for each in (active, passive)] == [
        ("active", "passive", "active"),
        ("passive", "active", "passive"),
    ]
    assert active.settings["breaker_threshold"] == 2
    assert passive.settings["second_host"] == "probe"
    notes = [(each.at, each.fields["what"]) for each in rest if isinstance(each, EventRecord)]
    assert all(each.event == NOTE for each in rest if isinstance(each, EventRecord))
    assert "one second" in str(notes[0])
    assert (float(verdict.trace.loop), "from here for ever") in notes
    *_, fault, end = rest
    assert isinstance(fault, ErrorRecord)
    assert (fault.error, fault.text) == (FAULT, "recovery: It is back.")
    assert isinstance(end, EndRecord)
    assert end.why == f"{FAULT}: two ends, cable: recovery: It is back."
    before = path.read_bytes()
    assert write(found, model, tmp_path).read_bytes() == before


def test_what_users_and_the_cable_do_is_told() -> None:
    graph, model = _first(LOST)
    wanted = {"cable: cut", "cable: healed", "active: crashed", "passive: crashed"}
    told: set[object] = set()
    kinds: set[type[Record]] = set()
    for number in range(len(graph.states)):
        if wanted <= told and {GoneRecord, SettingsRecord} <= kinds:
            return
        found = records(Found("a", "b", "c", graph.trace(number)), model)
        told |= {each.fields["what"] for each in found if isinstance(each, EventRecord)}
        kinds |= {type(each) for each in found}
    pytest.fail(f"only {told} and {kinds}")


def test_a_trace_goes_through_states_that_follow_each_other() -> None:
    graph, model = _first(LOST)
    for number in some(graph):
        assert states_along(graph.trace(number), model)[-1] == graph.states[number]


def test_a_search_that_fails_says_where_its_counterexample_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    transition = next(str(on) for on in ACTIVE.transitions if ResetTcp() in on.do)
    broken = without(ACTIVE, transition, "ResetTcp()")
    monkeypatch.setattr(program, "machine", with_chart(broken))
    monkeypatch.setattr(program, "LINKS", LINKS_WITHOUT_TRAFFIC)
    row = program.prove_alone(0, tmp_path)

    assert row.faults
    lines = "\n".join(row.faults).splitlines()
    lines = "\n".join(row.faults).splitlines()
    files = {Path(line[12:]) for line in lines if line.startswith("  recorded: ")}
    assert files == set(tmp_path.iterdir())
    assert files
    for each in files:
        follow(read_whole(each))


@pytest.mark.parametrize("prove", [program.prove_alone, program.prove_ends])
def test_a_move_that_cannot_be_made_is_a_counterexample_too(
    prove: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = without(BREAKER, "breaker_open: permit_requested")
    monkeypatch.setattr(program, "machine", with_chart(broken))
    (fault,) = prove(0, tmp_path).faults
    (kept,) = tmp_path.iterdir()

    assert "does not take 'permit_requested'" in fault
    assert fault.endswith(f"\n  recorded: {kept}")
    *_, end = read_whole(kept)
    assert isinstance(end, EndRecord)
    assert "does not take 'permit_requested'" in end.why
    assert "recorded" not in prove(0, None).faults[0]


def test_a_timer_of_the_model_is_due_at_no_time() -> None:
    model = SMALL_ENDS[0].model(machine)
    graph = Graph(model)
    found = records(Found("a", "b", "c", graph.trace(len(graph.states) - 1)), model)
    due = {due for timers in _timers(found).values() for due in timers.values()}
    assert due == {math.inf}


def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        program.main(["--record", str(tmp_path / "file")])
    assert caught.value.code == 2
    assert "--record: " in capsys.readouterr().err


def test_a_clause_that_is_broken_is_recorded_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    silent = next(on for on in ACTIVE.transitions if on.event == "linktest_req_received" and on.do)
    broken = without(ACTIVE, str(silent), "Send(Linktest.rsp)")
    monkeypatch.setattr(program, "machine", with_chart(broken))
    monkeypatch.setattr(program, "LINKS", LINKS_WITHOUT_TRAFFIC)
    row = program.prove_alone(0, tmp_path)

    told = [each for each in row.faults if " asks for " in each]
    kept = [each for each in told if "\n  recorded: " in each]
    assert len(told) > len(kept) > 0
    for each in kept:
        what, _, path = each.partition("\n  recorded: ")
        *_, step, error, end = read_whole(Path(path))
        assert isinstance(step, StepRecord)
        assert step.event == "linktest_req_received"
        assert isinstance(error, ErrorRecord)
        assert error.text.endswith(what)
        assert isinstance(end, EndRecord)


def test_of_two_messages_of_one_kind_the_older_one_comes_first(tmp_path: Path) -> None:
    graph, model = _first(DESELECTING)
    tried = 0
    for number in range(len(graph.states)):
        for move, older in graph.edges(number):
            first = model.moves[move]
            if not first.carries.endswith("(old)"):
                continue
            trace = graph.trace(number).then(first, model.describe(graph.states[older]))
            for other, newer in graph.edges(older):
                second = model.moves[other]
                if (second.actor, f"{second.carries} (old)") == (first.actor, first.carries):
                    whole = trace.then(second, model.describe(graph.states[newer]))
                    _fits(recorded(whole, model, tmp_path))
                    tried += 1
    assert tried

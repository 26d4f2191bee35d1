"""What is written for xstate and for Spin, where the form of it matters by itself."""

import json
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from statecharts import (
    Chart,
    ChartError,
    Effect,
    Increment,
    Machine,
    On,
    Router,
    State,
    System,
    Variable,
)
from statecharts.export import machine_config, to_json, to_promela
from statecharts.export.promela import Implication, Part, UnsupportedChartError
from statecharts.export.xstate import Timers, action_object
from statecharts.hsms import ACTIVE, ACTIVE_LINK, BREAKER, CHARTS, LINKTEST, RECEIVER
from statecharts.router import told_by
from tests.support.odd_charts import COUNTING, KEEPING, NESTED, ODD, PARALLEL, TIMED


def alone(chart: Chart) -> System:
    return System(chart.id, chart.title, (chart,))


def test_a_state_that_is_entered_again_says_so_and_no_other_does() -> None:
    states = machine_config(NESTED)["states"]["one"]["states"]["two"]["states"]
    (again,) = states["three"]["on"]["again"]
    (up,) = states["three"]["on"]["up"]
    assert again == {
        "target": "#three",
        "reenter": True,
        "actions": [{"type": "Say", "params": {"word": "again"}}],
    }
    assert "reenter" not in up


def test_timers_are_events_or_delays_of_the_state_that_owns_them() -> None:
    events = machine_config(RECEIVER)["states"]["in_frame"]
    assert events["entry"] == [{"type": "Start", "params": {"timer": "frame_deadline"}}]
    assert "after" not in events
    delays = machine_config(RECEIVER, "after")["states"]["in_frame"]
    assert list(delays["after"]) == ["60000"]
    assert "entry" not in delays
    assert "frame_deadline_expired" not in delays["on"]


def test_an_inner_answer_to_a_timer_stands_at_its_owner_innermost_first() -> None:
    after = machine_config(TIMED, "after")["states"]["waiting"]["after"]["9000"]
    assert [each.get("guard") for each in after] == [
        "in innermost and (tries < 2)",
        "in inner",
        None,
    ]
    assert after[0]["reenter"] is True


def test_a_timer_that_runs_on_is_an_event_in_both_forms_and_the_transition_keeps_it() -> None:
    forms: tuple[Timers, ...] = ("events", "after")
    for form in forms:
        watching = machine_config(LINKTEST, form)["states"]["watching"]["states"]
        quiet, probing = watching["quiet"], watching["probing_link"]["states"]
        assert quiet["entry"] == [{"type": "Start", "params": {"timer": "linktest_interval"}}]
        assert quiet["exit"] == [{"type": "Stop", "params": {"timer": "linktest_interval"}}]
        assert "linktest_interval_expired" in quiet["on"]
        assert "after" not in quiet
        assert "linktest_interval_expired" in probing["probe_excused"]["on"]
    # The other timer of this chart is still a delay.
    watching = machine_config(LINKTEST, "after")["states"]["watching"]["states"]
    after = watching["probing_link"]["after"]["5000"]
    (over,) = (each for each in after if each["guard"] == "in probe_excused")
    assert over["actions"] == [{"type": "Keep", "params": {"timer": "linktest_interval"}}]


def test_promela_neither_stops_nor_starts_a_timer_that_runs_on() -> None:
    part = Part(alone(KEEPING), {KEEPING.id: Machine(KEEPING)}, str)
    for on in KEEPING.transitions:
        for leaf in KEEPING.state(on.source).leaves:
            said = part.perform(KEEPING, leaf, on)
            if on.keep:
                assert {f"Stop({on.keep})", f"Start({on.keep})"}.isdisjoint(said)
            assert not any("Keep" in each for each in said)
    (go,) = (on for on in KEEPING.transitions if on.event == "go" and on.source == "first")
    assert part.perform(KEEPING, KEEPING.state("first"), go)[:4] == [
        "Say(-first)",
        "Stop(dwell)",
        "Say(-asking)",
        "Say(go)",
    ]


def test_a_count_stays_at_its_highest_in_both_languages() -> None:
    adding = action_object(COUNTING, Increment("count"))
    assert adding == {"type": "increment", "params": {"variable": "count", "highest": "limit"}}
    assert action_object(KEEPING, Increment("times"))["params"]["highest"] == 2
    assert "if :: in_keeping_v_times < 2 -> in_keeping_v_times++" in to_promela(KEEPING)


def test_variables_and_parameters_are_the_context() -> None:
    assert machine_config(BREAKER)["context"] == {"failures": 0, "threshold": 5}
    assert machine_config(BREAKER, parameters={"threshold": 2})["context"]["threshold"] == 2
    assert "context" not in machine_config(RECEIVER)


@pytest.mark.parametrize("chart", [*CHARTS, *ODD], ids=lambda chart: str(chart.id))
def test_the_text_is_the_configuration_in_lines_that_can_be_read(chart: Chart) -> None:
    text = to_json(chart)
    assert json.loads(text) == machine_config(chart, "after")
    assert max(len(line) for line in text.splitlines()) <= 100


class Colour(Enum):
    RED = 1


@dataclass(frozen=True, slots=True)
class Paint(Effect):
    colour: Colour
    coats: int
    parts: tuple[str, ...]


def test_what_an_effect_carries_is_told_in_plain_values() -> None:
    assert action_object(RECEIVER, Paint(Colour.RED, 2, ("door",))) == {
        "type": "Paint",
        "params": {"colour": 1, "coats": 2, "parts": "('door',)"},
    }


def test_a_text_that_is_too_long_for_a_line_stays_whole() -> None:
    title = "a title " * 20
    assert f'"description": "{title}"' in to_json(replace(RECEIVER, title=title))


def test_promela_refuses_what_it_cannot_say() -> None:
    said = r"odd_charts\.py: chart parallel, state running: it is parallel.*; make each region a"
    with pytest.raises(UnsupportedChartError, match=said):
        to_promela(PARALLEL)
    wide = replace(COUNTING, variables=(Variable("count", 256), Variable("mode", 2)))
    said = r"chart counting, variable count: it goes up to 256, and a byte to 255; .* lower end"
    with pytest.raises(UnsupportedChartError, match=said):
        to_promela(wide)


def test_a_chart_is_written_for_spin_as_the_system_of_it_alone() -> None:
    assert to_promela(BREAKER) == to_promela(
        System("breaker", BREAKER.title, (BREAKER,), told_by(BREAKER))
    )


def test_an_export_names_the_file_that_declares_the_chart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = Chart(
        id="bare",
        title="Bare",
        reported=("tick",),
        states=(State("only"),),
        transitions=(On("tick", "only"),),
    )
    assert machine_config(mine)["meta"]["source"].endswith("test_export.py")
    assert "/* Bare. Declared in " in to_promela(mine)
    assert machine_config(BREAKER)["meta"] == {"source": "statecharts/hsms/breaker.py"}
    assert to_promela(BREAKER).startswith(
        "/* Circuit breaker. Declared in statecharts/hsms/breaker.py. */"
    )
    # Also where a folder above is searched for modules.
    monkeypatch.syspath_prepend(str(Path(BREAKER.file).parents[3]))
    assert machine_config(BREAKER)["meta"] == {"source": "statecharts/hsms/breaker.py"}
    elsewhere = replace(mine, file="/no/such/folder/on_the_path/charts.py")
    assert machine_config(elsewhere)["meta"] == {"source": "charts.py"}


def test_an_export_refuses_what_a_machine_refuses() -> None:
    unsound = replace(BREAKER, transitions=BREAKER.transitions[:1])
    half: Any = ["closed", "open"]
    for export in (to_json, to_promela, machine_config):
        with pytest.raises(ChartError, match=r"breaker\.py: chart breaker, event "):
            export(unsound)
        with pytest.raises(ChartError, match=r"breaker\.py: chart breaker, the chart: states=\["):
            export(replace(BREAKER, states=half))
    with pytest.raises(TypeError, match="breaker has no parameter 'treshold'"):
        machine_config(BREAKER, parameters={"treshold": 2})


def test_an_invariant_is_the_same_in_both_languages() -> None:
    machines = {"breaker": Machine(BREAKER), "connection_active": Machine(ACTIVE)}
    permit = Implication("breaker", "probing", "connection_active", ("connecting", "selecting"))
    others = tuple(event for event in told_by(ACTIVE) if event not in BREAKER.events)
    system = replace(ACTIVE_LINK, charts=(ACTIVE, BREAKER), outside=others)
    router = Router(system, machines)
    breaker, connection = machines["breaker"], machines["connection_active"]
    probing = breaker.snapshot(("half_open", "probing"), (5,))
    idle = connection.initial
    connecting = connection.snapshot(("connecting",))
    assert permit.holds(router.initial)
    assert not permit.holds(router.snapshot((idle, probing)))
    assert permit.holds(router.snapshot((connecting, probing)))
    assert (
        "(!(in_breaker == BREAKER_probing) || "
        "((in_connection_active == CONNECTION_ACTIVE_connecting) || "
        "(in_connection_active == CONNECTION_ACTIVE_selecting)))"
    ) in to_promela(system, machines, permit)

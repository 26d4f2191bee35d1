"""The tool that comes with the engine: what it has, and that hosts read what it answers."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
import secsgem.secs.functions as their_functions

from hsms_engine.fake.file import default_tool
from hsms_engine.fake.model import LiveModel, Replies
from hsms_engine.fake.model.reading import read_model
from hsms_engine.message import Message
from hsms_engine.messages import S2F42, check, read
from hsms_engine.secs2 import U1, U4, A
from hsms_engine.toml_file import parse
from tests.support.staged import Recorded, shown
from tests.support.tool_model import NOON, one_line

TEXT = (files("hsms_engine") / "fake" / "default.toml").read_text("utf-8")
DOCUMENT = parse(TEXT, "default.toml").table
MODEL = read_model(DOCUMENT, DOCUMENT.table("tool"))


@pytest.fixture
def live() -> LiveModel:
    return LiveModel(MODEL, lambda: NOON)


def answer(live: LiveModel, sml: str) -> Message:
    reply = Replies(live).to(Message.parse(f"{sml} ."))
    assert isinstance(reply, Message)
    return reply


def test_it_is_small_but_has_some_of_everything() -> None:
    kinds = {kind: len(each) for kind, each in MODEL.kinds.items()}
    assert kinds == {"status": 10, "data": 3, "constant": 6}
    assert (len(MODEL.reports), len(MODEL.events), len(MODEL.alarms)) == (4, 8, 4)
    assert len(MODEL.programs) == 3
    assert [*MODEL.commands] == ["PP-SELECT", "START", "STOP", "PAUSE", "RESUME", "ABORT"]


def test_whatever_has_an_id_that_is_a_number_has_a_name_too() -> None:
    names = [each.name for each in MODEL.variables.values()]
    names += [each.name for each in MODEL.events.values()]
    assert "" not in names
    assert len(set(names)) == len(names)


ASKED = [
    "S1F1 W", "S1F3 W <L>", "S1F3 W <L <U4 1> <U4 1001>>", "S1F11 W <L>", "S1F13 W <L>",
    "S1F15 W", "S1F17 W", "S1F21 W <L>", "S1F23 W <L>", "S2F13 W <L>",
    "S2F15 W <L <L <U4 2001> <U2 20>>>", "S2F17 W", "S2F25 W <B 1 2 3>", "S2F29 W <L>",
    'S2F23 W <L <U4 1> <A "000001"> <U4 10> <U4 1> <L <U4 1001>>>',
    'S2F31 W <A "2030010203040506">', "S2F33 W <L <U4 1> <L>>",
    "S2F33 W <L <U4 1> <L <L <U4 1000> <L <U4 1001> <U4 2001>>>>>",
    "S2F35 W <L <U4 1> <L <L <U4 106> <L <U4 1>>>>>", "S2F37 W <L <BOOLEAN T> <L>>",
    'S2F41 W <L <A "PP-SELECT"> <L <L <A "PPID"> <A "RECIPE-1">>>>',
    'S2F41 W <L <A "PP-SELECT"> <L <L <A "PPID"> <A "RECIPE-9">>>>',
    'S2F41 W <L <A "START"> <L>>', 'S2F41 W <L <A "JUMP"> <L>>',
    'S2F49 W <L <U4 1> <A ""> <A "STOP"> <L>>',
    "S5F3 W <L <B 0x80> <U4 5001>>", "S5F5 W <U4 5001>", "S5F7 W", "S6F15 W <U4 103>",
    "S6F19 W <U4 4>", "S6F23 W <U1 0>", 'S7F1 W <L <A "R"> <U4 9>>', 'S7F3 W <L <A "R"> <A "x">>',
    'S7F5 W <A "RECIPE-1">', 'S7F17 W <L <A "CLEAN">>', "S7F19 W", 'S10F3 W <L <B 0> <A "hi">>',
]  # fmt: skip

# S2F32, the acknowledge of a clock that is set.
UNKNOWN_TO_THEM = {"SecsS02F32"}


@pytest.mark.parametrize("request_", ASKED)
def test_a_host_of_another_library_reads_each_answer(live: LiveModel, request_: str) -> None:
    request = Message.parse(f"{request_} .")
    assert check(request) == []
    reply = answer(live, request_)
    assert reply.function == request.function + 1
    assert check(reply) == []
    name = f"SecsS{reply.stream:02}F{reply.function:02}"
    if name in UNKNOWN_TO_THEM:
        assert not hasattr(their_functions, name)
        return
    theirs: Any = getattr(their_functions, name)()
    theirs.decode(reply.body)
    assert theirs.encode() == reply.body


@pytest.mark.parametrize("event", [*MODEL.events])
def test_a_host_of_another_library_reads_each_event(live: LiveModel, event: int) -> None:
    sent = live.report(event)
    assert sent is not None
    assert check(sent) == []
    theirs = their_functions.SecsS06F11()
    theirs.decode(sent.body)
    assert theirs.CEID.get() == event
    reports = {each.RPTID.get(): [one.get() for one in each.V] for each in theirs.RPT}
    assert [*reports] == [*MODEL.links[event]]
    assert all(len(values) == len(MODEL.reported[each]) for each, values in reports.items())


@pytest.mark.parametrize("alarm", [*MODEL.alarms])
def test_a_host_of_another_library_reads_each_alarm(live: LiveModel, alarm: int) -> None:
    sent = live.alarm(alarm, True)
    assert sent is not None
    theirs = their_functions.SecsS05F01()
    theirs.decode(sent.body)
    assert theirs.ALID.get() == alarm
    assert theirs.ALCD.get() & 0x80


def test_a_host_starts_up_and_a_recipe_is_selected(live: LiveModel) -> None:
    for request, reply in (
        ("S1F13 W <L>", 'S1F14 <L [2] <B 0x00> <L [2] <A "hsms-engine"> <A "1.0">>>'),
        ("S1F17 W", "S1F18 <B 0x02>"),
        ('S2F31 W <A "2030010203040506">', "S2F32 <B 0x00>"),
        ("S2F33 W <L <U4 1> <L>>", "S2F34 <B 0x00>"),
        ("S2F33 W <L <U4 1> <L <L <U4 1> <L <U4 1005> <U4 1004>>>>>", "S2F34 <B 0x00>"),
        ("S2F35 W <L <U4 1> <L <L <U4 102> <L <U4 1>>>>>", "S2F36 <B 0x00>"),
        ("S2F37 W <L <BOOLEAN T> <L <U4 102>>>", "S2F38 <B 0x00>"),
        ('S2F41 W <L <A "PP-SELECT"> <L <L <A "PPID"> <A "RECIPE-2">>>>',
         "S2F42 <L [2] <B 0x00> <L [0]>>"),
        ("S1F3 W <L <U4 1004>>", 'S1F4 <L [1] <A "RECIPE-2">>'),
        ('S2F41 W <L <A "START"> <L>>', "S2F42 <L [2] <B 0x04> <L [0]>>"),
    ):  # fmt: skip
        assert one_line(answer(live, request)) == reply
    sent = live.report("LotStarted")
    assert sent is not None
    assert sent.reports == [(1, [0, "RECIPE-2"])]


def test_no_recipe_that_is_not_there_is_selected(live: LiveModel) -> None:
    reply = answer(live, 'S2F41 W <L <A "PP-SELECT"> <L <L <A "PPID"> <A "RECIPE-9">>>>')
    assert one_line(reply) == 'S2F42 <L [2] <B 0x03> <L [1] <L [2] <A "PPID"> <B 0x02>>>>'
    assert live.value("PPExecName") == A("")


# What its rules do


class Stage(Recorded):
    """The tool with its rules, and a host that has started it up."""

    def __init__(self) -> None:
        (plan,) = default_tool().tools
        super().__init__(plan.rules.rules, model=plan.model)

    def command(self, name: str, *parameters: str) -> int:
        """The HCACK of a command; what follows from it is in ``events``."""
        text = f'S2F41 W <L <A "{name}"> <L {" ".join(parameters)}>> .'
        reply = self.receive(text)
        if reply in ("passed on", "not mine"):
            answered = Replies(self.model).to(Message.parse(text))
            assert isinstance(answered, Message)
            reply = shown(answered)
        found = read(Message.parse(reply))
        assert isinstance(found, S2F42)
        return found.hcack

    def events(self, after: float = 0.0) -> list[str]:
        """The names of the events that have been sent since the last call, at a later time."""
        done = self.at(self.now + after)
        ids = [each.removeprefix("event ") for each in done if each.startswith("event ")]
        return [MODEL.events[int(each)].name for each in ids]

    @property
    def state(self) -> int:
        state = self.model.value("ProcessState")
        assert isinstance(state, U1)
        return state.value


RECIPE = '<L <A "PPID"> <A "RECIPE-1">>'


def test_a_lot_runs_with_three_events() -> None:
    tool = Stage()
    assert tool.command("START") == 2
    assert tool.command("PP-SELECT", RECIPE) == 0
    assert tool.events() == ["RecipeSelected"]
    assert tool.command("START", '<L <A "LOTID"> <A "L-1">>') == 4
    assert tool.model.value("LotId") == A("L-1")
    assert tool.events() == ["LotStarted"]
    assert tool.command("START") == tool.command("PP-SELECT", RECIPE) == 2
    assert tool.events(0.3) == ["WaferMeasured"]
    assert tool.model.value("WaferCount") == U4(1)
    assert tool.events(0.3) == ["LotFinished"]
    # The next lot selects a recipe again, and the same one will do.
    assert tool.command("START") == 2
    assert tool.command("PP-SELECT", RECIPE) == 0
    assert tool.events() == ["RecipeSelected"]
    assert tool.command("START") == 4
    assert tool.model.value("WaferCount") == U4(0)
    assert tool.events(0.3) == ["LotStarted", "WaferMeasured"]
    assert tool.events(0.3) == ["LotFinished"]
    assert tool.told == []


def test_what_no_command_may_have_starts_nothing() -> None:
    tool = Stage()
    tool.command("PP-SELECT", RECIPE)
    tool.events()
    for parameter in ('<L <A "COLOUR"> <U1 1>>', '<L <A "LOTID"> <U4 7>>'):
        assert tool.command("START", parameter) == 3
        assert tool.command("STOP", parameter) == 3
    assert tool.command("PP-SELECT") == 3
    assert tool.events(10) == []
    assert tool.state == 1


def test_a_lot_is_paused_and_goes_on() -> None:
    tool = Stage()
    assert tool.command("PAUSE") == tool.command("RESUME") == 2
    tool.command("PP-SELECT", RECIPE)
    tool.command("START")
    assert tool.events() == ["RecipeSelected", "LotStarted"]
    assert tool.command("RESUME") == 2
    assert tool.command("PAUSE") == 0
    assert tool.events(60) == ["ProcessStateChanged"]
    assert tool.command("PAUSE") == tool.command("START") == 2
    assert tool.command("RESUME") == 0
    assert tool.events() == ["ProcessStateChanged"]
    assert tool.command("PAUSE") == 0
    assert tool.events(60) == ["ProcessStateChanged"]
    assert tool.command("RESUME") == 0
    assert tool.events(0.3) == ["ProcessStateChanged", "LotFinished"]
    assert tool.state == 0


@pytest.mark.parametrize("name", ["STOP", "ABORT"])
@pytest.mark.parametrize("is_paused", [False, True])
def test_a_lot_is_ended_before_its_end(name: str, is_paused: bool) -> None:
    tool = Stage()
    assert tool.command(name) == 2
    tool.command("PP-SELECT", RECIPE)
    assert tool.command(name) == 2
    tool.command("START")
    if is_paused:
        tool.command("PAUSE")
    tool.events()
    assert tool.command(name) == 0
    assert tool.events(60) == ["ProcessStateChanged"]
    assert tool.state == 0
    assert tool.command("START") == 2


def test_the_control_state_is_told_when_it_changes() -> None:
    tool = Stage()
    tool.model.go(online=False)
    tool.model.go(online=True)
    assert tool.events() == ["ControlStateChanged"] * 2

"""A model as declared: what it refuses, how it takes values and ids, how a tool lives on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.fake.model import (
    Alarm,
    Command,
    Event,
    FormatError,
    Id,
    LiveModel,
    Model,
    ModelError,
    Parameter,
    Program,
    RangeError,
    Replies,
    Report,
    Variable,
    VariableChanged,
    parse_id,
)
from hsms_engine.fake.model.ids import id_of
from hsms_engine.fake.model.overlay import Overlay
from hsms_engine.message import Message
from hsms_engine.messages import (
    S1F3,
    S1F12,
    S2F13,
    S2F15,
    S2F16,
    S5F1,
    S6F11,
    S6F15,
    S6F19,
    S7F5,
)
from hsms_engine.secs2 import BOOLEAN, F4, F8, I2, U1, U2, U4, A, B, Item, L
from tests.support.tool_model import MODEL, NOON, Tool


@pytest.fixture
def tool() -> Tool:
    return Tool()


# Ids


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("1001", 1001), ("0x3E9", 1001), ("0X3e9", 1001), ("0001", 1), ("-5", -5),
        ("LotStarted", "LotStarted"), ("1.5", "1.5"), ("", ""), ("0x", "0x"), ("٣", "٣"),
        ("9" * 30, "9" * 30), ("1_000", "1_000"), (" 1", " 1"),
    ],
)  # fmt: skip
def test_an_id_is_a_number_or_a_text_that_is_none(text: str, id_: Id) -> None:
    assert parse_id(text) == id_


def test_of_a_host_digits_are_a_number_and_nothing_else_is() -> None:
    assert id_of("1001") == id_of(1001) == 1001
    assert id_of("0x3E9") == "0x3E9"


# Values


@pytest.mark.parametrize(
    ("variable", "value", "item"),
    [
        (1001, U4(9), U4(9)),
        (1001, 9, U4(9)),
        (1002, "on", A("on")),
        (1101, 1, F4(1)),
        (1101, 2.5, F4(2.5)),
        (2002, False, BOOLEAN(False)),
        (2004, [4, 5, 6], U4(4, 5, 6)),
        (2004, U4(), U4()),
        ("RECIPE", A(b"\xff"), A(b"\xff")),
        # By name, and by an id as text.
        ("WaferCount", 3, U4(3)),
        ("1001", 3, U4(3)),
        ("0x3E9", 3, U4(3)),
    ],
)
def test_a_value_is_an_item_of_the_format_or_plain_python(
    tool: Tool, variable: Id, value: Any, item: Item
) -> None:
    tool.live.set(variable, value)
    assert tool.live.value(variable) == item


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        (1001, U1(9), r"variable 1001 \(WaferCount\) is U4, not U1"),
        (1001, U4(26), "26 is not at most 25"),
        (1001, U4(1, 2), "is one number, not 2"),
        (1001, U4(), "is one number, not 0"),
        (1001, True, "is U4, not bool True"),
        (1001, -1, "-1 is not in 0..4294967295"),
        (1001, 1.5, "is U4, not float 1.5"),
        (1001, "9", "is U4, not str '9'"),
        (1001, L(), "is U4, not L"),
        (2001, -11, r"constant 2001 \(Offset\): -11 is not at least -10"),
        (2001, 2**40, "is not in -32768..32767"),
        (1002, 5, "is A, not int 5"),
        (1002, "größe", "not ASCII"),
        (2002, 1, "is BOOLEAN, not int 1"),
        (2004, U4(1).raw, "is U4, not bytes"),
        (1003, "x", "has source 'clock': it cannot be set"),
    ],
)
def test_a_value_that_does_not_fit_changes_nothing(
    tool: Tool, variable: Id, value: Any, why: str
) -> None:
    before = tool.live.value(variable)
    with pytest.raises(ValueError, match=why):
        tool.live.set(variable, value)
    assert tool.live.value(variable) == before
    assert tool.told == []


def test_lists_and_bytes_are_values_too() -> None:
    flat = Variable(1, L(U4(1)))
    assert flat.fit(L("x")) == L("x")
    assert flat.fit(["x", L()]) == L("x", L())
    with pytest.raises(FormatError, match="variable 1 is L, not int 5"):
        flat.fit(5)
    assert Variable(1, B(1)).fit(b"xy") == B(b"xy")
    assert Variable(1, B(1)).fit(7) == B(7)


def test_not_a_number_is_in_no_range_and_allowed_without_one() -> None:
    nan = float("nan")
    assert Variable(1, F8(1.0)).fit(nan) == F8(nan)
    for variable in (Variable(1, F8(1.0), lowest=0), Variable(1, F8(1.0), highest=5)):
        with pytest.raises(RangeError, match="nan is not at"):
            variable.fit(nan)


def test_each_number_of_an_array_is_in_the_range() -> None:
    slots = Variable(1, U2(1, 2), highest=5)
    assert slots.fit([5, 5, 5]) == U2(5, 5, 5)
    with pytest.raises(RangeError, match="6 is not at most 5"):
        slots.fit([5, 6])


@given(st.integers(-(2**15), 2**15 - 1))
def test_an_integer_of_a_host_is_taken_by_its_value(value: int) -> None:
    offset = Variable(1, I2(0))
    assert offset.fit_item(I2(value)) == I2(value)
    if value >= 0:
        assert offset.fit_item(U2(value)) == I2(value)
        assert Variable(1, F8(0)).fit_item(U2(value)) == F8(value)


def test_a_value_is_no_deeper_than_the_messages_that_carry_it_allow() -> None:
    constant = Variable(2, L(), kind="constant")
    model = Model(
        variables={1: Variable(1, deep(60)), 2: constant},
        reports={1: Report(1, (1, 2))},
        events={1: Event(1, reports=(1,))},
        programs={b"x": Program(b"x", deep(60))},
    )
    live = LiveModel(model, lambda: NOON)
    replies = Replies(live)
    assert replies.to(S2F15({2: deep(60)})) == S2F16(0)
    for request in (S1F3(), S2F13(), S6F15(1), S6F19(1), S7F5("x")):
        assert isinstance(replies.to(request), Message)
    assert live.report(1) is not None
    for beyond in (61, 62):
        assert replies.to(S2F15({2: deep(beyond)})) == S2F16(3)
        with pytest.raises(RangeError, match="constant 2: lists are nested more than 60 deep"):
            live.set(2, deep(beyond))
    assert live.value(2) == deep(60)


def test_who_sets_the_same_value_changes_nothing(tool: Tool) -> None:
    tool.live.set(1001, 7)
    assert tool.told == []
    tool.live.set(1001, 8)
    tool.live.set(1001, 7)
    assert tool.told == [VariableChanged(1001)] * 2


def test_a_number_is_added_to_what_is_a_number(tool: Tool) -> None:
    tool.live.add("WaferCount", 2)
    tool.live.add(1101, -0.25)
    assert tool.live.value(1001) == U4(9)
    assert tool.live.value(1101) == F4(0.25)
    for variable, number, why in (
        (1001, 17, "26 is not at most 25"),
        (1001, 0.5, "not float 9.5"),
        (1002, 1, "is not one number"),
        (2002, 1, "is not one number"),
        (2004, 1, "is not one number"),
    ):
        with pytest.raises(ValueError, match=why):
            tool.live.add(variable, number)


def test_a_tool_without_anybody_to_tell_lives_too() -> None:
    live = LiveModel(MODEL, Tool().live._clock)
    live.set(1001, 8)
    replies = Replies(live)
    replies.to(Message.parse('S2F23 W <L <U4 1> <A "000001"> <U4 1> <U4 1> <L <U4 1001>>> .'))
    replies.to(Message.parse('S2F23 W <L <U4 1> <A "000001"> <U4 0> <U4 1> <L>> .'))
    assert live.traces == {}


# Names


def test_what_is_not_there_is_named_with_what_is(tool: Tool) -> None:
    for ask, why in (
        (lambda: tool.live.value("WaferCout"), "no variable WaferCout; did you mean 'WaferCount'?"),
        (lambda: tool.live.value(9), "no variable 9; there are WaferCount, "),
        (lambda: tool.live.report("Started"), "no event Started; did you mean 'LotStarted'?"),
        (lambda: tool.live.alarm(1, True), "no alarm 1; there are 5001, 5002"),
        (lambda: tool.live.alarm("hot", True), "no alarm hot; there are 5001, 5002"),
    ):
        with pytest.raises(LookupError) as caught:
            ask()
        assert str(caught.value).startswith(why)


def test_a_name_of_two_is_none_and_an_id_wins_over_a_name() -> None:
    model = Model(
        variables={
            1: Variable(1, U4(1), "Same"),
            2: Variable(2, U4(2), "Same"),
            "Other": Variable("Other", U4(3)),
            4: Variable(4, U4(4), "Other"),
        }
    )
    with pytest.raises(LookupError, match="the name 'Same' is that of variables 1, 2: use an id"):
        model.vid("Same")
    assert model.vid("Other") == "Other"


# Ids as they are written


def test_ids_are_written_in_the_format_of_the_model() -> None:
    for name, item, alarm in ((U2, U2(1001), U2(5001)), (A, A("1001"), U4(5001))):
        tool = Tool(replace(MODEL, ids=name))
        names = tool.replies.to(Message.parse('S1F11 W <L <A "1001"> <A "0x3E9">> .'))
        assert isinstance(names, S1F12)
        assert isinstance(names.item, L)
        assert names.item[0] == L(item, "WaferCount", "pcs")
        # What is no id of the tool's is written as the host has written it.
        assert names.item[1] == L("0x3E9", "", "")
        sent = tool.live.alarm(5001, True)
        assert isinstance(sent, S5F1)
        assert sent.item is not None
        assert sent.item[1] == alarm  # type: ignore[index]  # a list


def test_text_beyond_ascii_is_written_in_the_encoding_of_the_model() -> None:
    model = Model(
        "größe",
        variables={1: Variable(1, A("ü", encoding="latin-1"), "Länge", "µm")},
        events={"ä": Event("ä", "Öffnen")},
        alarms={1: Alarm(1, "heiß")},
        text_encoding="latin-1",
    )
    tool = Tool(model)
    tool.live.set("Länge", "ö")
    assert tool.live.value(1) == A(b"\xf6")
    sent = tool.live.report("Öffnen")
    assert isinstance(sent, S6F11)
    assert sent.ceid == "ä"
    for name in ("S1F1 W", "S1F11 W <L>", "S1F23 W <L>", "S5F5 W <U4>", "S5F7 W", "S1F13 W <L>"):
        reply = tool.replies.to(Message.parse(f"{name} ."))
        assert isinstance(reply, Message)
        assert reply.text_encoding == "latin-1"


# Declarations that are wrong


def deep(depth: int) -> L:
    """So many lists, each in another."""
    item = L()
    for _ in range(depth - 1):
        item = L(item)
    return item


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"mdln": "x" * 21}, "[tool] model: 21 bytes of text, and at most 20 are allowed"),
    ({"softrev": "ü"}, "[tool] software: A character 'ü'"),
    ({"variables": {1: Variable(1, U4(1), "ü")}}, "[variable.1] name: A character 'ü'"),
    ({"variables": {1: Variable(1, U4(1), "", "µ")}}, "[variable.1] units: A character 'µ'"),
    ({"variables": {1: Variable(1, U4(9), highest=5)}},
     "[variable.1] value: variable 1: 9 is not at most 5"),
    ({"variables": {1: Variable(1, U4(9), lowest=0.5)}},
     "[variable.1] lowest: variable 1 is U4, not float 0.5"),
    ({"variables": {1: Variable(1, U4(9), highest=2**32)}},
     "[variable.1] highest: variable 1: U4 value 4294967296"),
    ({"variables": {1: Variable(1, U4(9), kind="constant", lowest=9, highest=5)}},
     "[constant.1] lowest: 9 is above highest, 5"),
    ({"variables": {1: Variable(1, A("x"), highest=5)}},
     "[variable.1] highest: A has no order: only numbers have"),
    ({"variables": {1: Variable(1, BOOLEAN(True), lowest=0)}},
     "[variable.1] lowest: BOOLEAN has no order: only numbers have"),
    ({"variables": {1: Variable(1, A("x"), kind="constant", source="clock")}},
     "[constant.1] source: a constant is set by the host: a source is that of a [variable]"),
    ({"variables": {-1: Variable(-1, U4(1))}},
     "[variable.-1] U4 value -1 is not in 0..4294967295; ids are written as U4: [tool] ids has"),
    ({"ids": U1, "events": {256: Event(256)}}, "[event.256] U1 value 256 is not in 0..255"),
    ({"variables": {"ü": Variable("ü", U4(1))}}, "[variable.ü] A character 'ü'"),
    ({"reports": {1: Report(1)}}, "[report.1] variables: no variable: a report has at least one"),
    ({"reports": {1: Report(1, (5,))}}, "[report.1] variables: no variable 5; there is none"),
    ({"events": {1: Event(1, "ü")}}, "[event.1] name: A character 'ü'"),
    ({"events": {1: Event(1, "", (5,))}}, "[event.1] reports: no report 5; there is none"),
    ({"variables": {1: Variable(1, U4(1))}, "reports": {5: Report(5, (1,))},
      "events": {1: Event(1, "", (5, 5))}}, "[event.1] reports: report 5 is linked twice"),
    ({"alarms": {1: Alarm(1, category=0)}}, "[alarm.1] category: 0 is not in 1..127"),
    ({"alarms": {1: Alarm(1, category=128)}}, "[alarm.1] category: 128 is not in 1..127"),
    ({"alarms": {1: Alarm(1, "x" * 121)}}, "[alarm.1] text: 121 bytes of text, and at most 120"),
    ({"alarms": {1: Alarm(1, set_event=5)}}, "[alarm.1] set_event: no event 5; there is none"),
    ({"alarms": {1: Alarm(1, clear_event=5)}}, "[alarm.1] clear_event: no event 5; there is none"),
    ({"alarms": {-1: Alarm(-1)}}, "[alarm.-1] U4 value -1 is not in 0..4294967295"),
    ({"ids": A, "alarms": {-1: Alarm(-1)}}, ("[alarm.-1] U4 value -1 is not in 0..4294967295; ids "
     "are written as U4")),
    ({"alarms": {"hot": Alarm("hot")}},  # type: ignore[arg-type]  # the wrong type is the test
     "[alarm.hot] 'hot' is no number, and SEMI E5 has numbers for alarms"),
    ({"programs": {b"": Program(b"", A("x"))}}, "[program.] a name of 1 to 120 bytes is allowed"),
    ({"programs": {b"x": Program(b"x", deep(61))}},
     "[program.x] body: lists are nested more than 60 deep"),
    ({"variables": {1: Variable(1, deep(61))}},
     "[variable.1] value: variable 1: lists are nested more than 60 deep"),
    ({"programs": {b"x" * 121: Program(b"x" * 121, A("x"))}}, "is allowed, not of 121"),
    ({"variables": {1: Variable(2, U4(1))}}, "[variable.1] what stands under it is 2"),
    ({"variables": {1: Variable(1, U4(1))}, "reports": {1: Report(2, (1,))}},
     "[report.1] what stands under it is 2"),
    ({"events": {1: Event(2)}}, "[event.1] what stands under it is 2"),
    ({"alarms": {1: Alarm(2)}}, "[alarm.1] what stands under it is 2"),
    ({"programs": {b"x": Program(b"y", A())}}, "[program.x] what stands under it is b'y'"),
    ({"commands": {"X": Command("Y")}}, "[command.X] what stands under it is 'Y'"),
    ({"commands": {"X": Command("X", answer=256)}}, "[command.X] answer: 256 is not in 0..255"),
    ({"commands": {"X": Command("X", (Parameter("P"), Parameter("P")))}},
     "[command.X] parameters: parameter 'P' is there twice"),
    ({"commands": {"X": Command("X", (Parameter("P", 5),))}},
     "[command.X] parameters: no variable 5; there is none"),
    ({"commands": {"X": Command("X", (Parameter("ü"),))}},
     "[command.X] parameters: A character 'ü'"),
    ({"variables": {1: Variable(1, A("x"), source="clock")},
      "commands": {"X": Command("X", (Parameter("P", 1),))}},
     "[command.X] parameters: variable 1 has a source: nobody sets it"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "why"), WRONG, ids=[why[:50] for _, why in WRONG])
def test_a_model_that_is_not_good_says_why(declared: dict[str, Any], why: str) -> None:
    with pytest.raises(ModelError) as caught:
        Model(**declared)
    assert len(caught.value.problems) == 1
    assert why in str(caught.value)


def test_all_that_is_wrong_with_a_model_is_told() -> None:
    with pytest.raises(ModelError, match=r"\[alarm.1\] category: .*; \[command.X\] answer: "):
        Model(alarms={1: Alarm(1, category=0)}, commands={"X": Command("X", answer=-1)})


def test_a_model_of_nothing_is_good_and_what_is_in_it_cannot_be_changed() -> None:
    model = Model()
    with pytest.raises(TypeError):
        model.variables[1] = Variable(1, U4(1))  # type: ignore[index]  # that is the test
    assert Tool(model).ask("S1F3 W <L>") == "S1F4 <L [0]>"
    assert Tool(model).ask("S1F1 W") == 'S1F2 <L [2] <A "hsms-engine"> <A "1.0">>'


# Another model


def test_what_has_changed_is_kept_in_another_model(tool: Tool) -> None:
    live = tool.live
    live.set(1001, 9)
    live.alarm(5002, True)
    tool.ask("S2F37 W <L <BOOLEAN F> <L <U4 101>>>")
    tool.ask("S5F3 W <L <B 0> <U4 5001>>")
    tool.ask("S2F33 W <L <U4 1> <L <L <U4 9> <L <U4 1002>>>>>")
    tool.ask("S2F35 W <L <U4 1> <L <L <U4 102> <L <U4 9>>>>>")
    tool.ask('S7F3 W <L <A "R-2"> <A "new">>')
    tool.ask('S7F17 W <L <A "R-1">>')
    variables = {**MODEL.variables, 1001: replace(MODEL.variables[1001], highest=50)}
    variables[7] = Variable(7, U4(7))
    assert live.adopt(replace(MODEL, mdln="NEW", variables=variables)) == []
    assert live.value(1001) == U4(9)
    assert live.value(7) == U4(7)
    assert live.is_set(5002)
    assert not live.is_alarm_enabled(5001)
    assert live.report(101) is None
    assert live.reports[9] == (1002,)
    assert live.links[102] == (9,)
    assert [*live.programs] == [b"R-2"]
    assert tool.ask("S1F1 W").startswith('S1F2 <L [2] <A "NEW">')
    live.set(1001, 50)


def test_what_another_model_does_not_allow_is_told(tool: Tool) -> None:
    live = tool.live
    live.set(1001, 9)
    live.set(1002, "on")
    live.set("RECIPE", "R-" + "1" * 70)
    live.alarm(5002, True)
    tool.ask("S2F37 W <L <BOOLEAN F> <L>>")
    tool.ask("S5F3 W <L <B 0> <U4>>")
    tool.ask("S2F33 W <L <U4 1> <L <L <U4 9> <L <U4 2001>>> <L <U4 8> <L <U4 1001>>>>>")
    tool.ask('S2F35 W <L <U4 1> <L <L <U4 102> <L <U4 9>>> <L <A "DOOR"> <L <U4 8>>>>>')
    new = Model(
        variables={
            1001: Variable(1001, U2(1)),
            1002: Variable(1002, A("0" * 16), "Clock", source="clock"),
        },
        events={102: Event(102)},
        alarms={5001: Alarm(5001)},
    )
    assert live.adopt(new) == [
        ("value <U4 9> of 1001", "in the new model variable 1001 is U2, not U4"),
        ('value <A "on"> of 1002', "variable 1002 (Clock) has source 'clock' now"),
        (f'value <A "R-{"1" * 51}... of RECIPE', "the new model has no such variable"),
        ("report 9", "the new model has not all of its variables, or cannot write its id"),
        ("links of event 102", "the new model has no such event or report"),
        ("links of event DOOR", "the new model has no such event or report"),
        ("event 101", "the new model does not have it"),
        ("event DOOR", "the new model does not have it"),
        ("alarm 5002", "the new model does not have it"),
    ]
    assert live.value(1001) == U2(1)
    assert live.links[102] == ()
    assert not live.is_set(5002)
    assert live.report(102) is None
    assert tool.ask('S1F3 W <L <U4 1001> <A "RECIPE">>') == "S1F4 <L [2] <U2 1> <L [0]>>"


def test_a_report_whose_id_another_model_cannot_write_is_not_kept() -> None:
    variables: dict[Id, Variable] = {1: Variable(1, U4(1))}
    events: dict[Id, Event] = {2: Event(2)}
    tool = Tool(Model(variables=variables, events=events))
    assert tool.ask("S2F33 W <L <U4 1> <L <L <U4 1000> <L <U4 1>>>>>") == "S2F34 <B 0x00>"
    assert tool.ask("S2F35 W <L <U4 1> <L <L <U4 2> <L <U4 1000>>>>>") == "S2F36 <B 0x00>"
    assert tool.live.adopt(Model(ids=U2, variables=variables, events=events)) == []
    lost = tool.live.adopt(Model(ids=U1, variables=variables, events=events))
    assert [what for what, _ in lost] == ["report 1000", "links of event 2"]
    assert tool.ask("S6F15 W <U1 2>") == "S6F16 <L [3] <U4 1> <U1 2> <L [0]>>"


def test_a_report_that_a_host_has_deleted_is_linked_in_no_later_model(tool: Tool) -> None:
    tool.ask("S2F33 W <L <U4 1> <L <L <U4 2> <L>>>>")
    events = {**MODEL.events, 7: Event(7, "", (1, 2))}
    assert tool.live.adopt(replace(MODEL, events=events)) == []
    assert tool.live.links[7] == (1,)
    assert tool.live.links[101] == (1,)
    assert tool.live.report(7) is not None


def test_a_program_that_was_deleted_is_nothing_to_a_model_without_it(tool: Tool) -> None:
    tool.ask("S7F17 W <L>")
    assert tool.live.adopt(Model(programs={b"R-3": Program(b"R-3", A("x"))})) == []
    assert [*tool.live.programs] == [b"R-3"]
    assert tool.live.adopt(MODEL) == []
    assert [*tool.live.programs] == [b"R-1"]


def test_who_goes_where_he_is_changes_nothing(tool: Tool) -> None:
    tool.live.go(online=True)
    assert tool.told == []
    tool.live.go(online=False)
    assert tool.told == [VariableChanged(1004)]


def test_a_trace_reads_nothing_where_a_variable_is_gone(tool: Tool) -> None:
    tool.ask('S2F23 W <L <U4 1> <A "000001"> <U4 9> <U4 1> <L <U4 1001> <U4 1002>>>')
    (trace,) = tool.live.traces.values()
    tool.live.adopt(Model(variables={1002: Variable(1002, A("x"))}))
    assert tool.live.sample(trace) == [L(), A("x")]


# Sharing


def test_tools_of_one_model_do_not_see_each_other() -> None:
    one, other = Tool(), Tool()
    one.live.set(1001, 9)
    one.live.alarm(5001, True)
    one.ask("S2F33 W <L <U4 1> <L>>")
    one.ask("S7F17 W <L>")
    assert other.live.value(1001) == U4(7)
    assert not other.live.is_set(5001)
    assert dict(other.live.reports) == dict(MODEL.reported)
    assert dict(other.live.programs) == dict(MODEL.bodies)


@given(
    st.dictionaries(st.integers(0, 5), st.integers(0, 9)),
    st.lists(st.tuples(st.integers(0, 7), st.none() | st.integers(0, 9)), max_size=12),
)
def test_a_changed_mapping_is_as_a_copy_that_was_changed(
    base: dict[int, int], changes: list[tuple[int, int | None]]
) -> None:
    overlay, plain = Overlay(base), base.copy()
    before = base.copy()
    for key, value in changes:
        if value is None:
            overlay.delete(key)
            plain.pop(key, None)
        else:
            overlay.put(key, value)
            plain[key] = value
    assert dict(overlay) == plain
    assert len(overlay) == len(plain)
    assert base == before
    for key in range(8):
        assert overlay.get(key) == plain.get(key)
    copied = overlay.copy()
    copied.clear()
    assert dict(copied) == {}
    copied.put(1, 1)
    assert dict(copied) == {1: 1}
    assert dict(overlay) == plain

"""What a tool answers to each message of its model, with the codes that say what was wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from hsms_engine.fake.model import (
    Id,
    IllegalData,
    Model,
    TraceBegun,
    TraceOver,
    Variable,
    VariableChanged,
    bounds,
)
from hsms_engine.message import Message
from hsms_engine.messages import S1F3, S2F15, S2F23, S2F29, S2F30, S2F33, S2F35, S7F3, check, find
from hsms_engine.secs2 import F8, U1, U4, A, B, C, Item, J, L
from tests.support.tool_model import MODEL, NOON, Tool, one_line


@pytest.fixture
def tool() -> Tool:
    return Tool()


ANSWERS = [
    # Stream 1
    ("S1F1 W", 'S1F2 <L [2] <A "ETCHER"> <A "7.1">>'),
    ("S1F13 W <L>", 'S1F14 <L [2] <B 0x00> <L [2] <A "ETCHER"> <A "7.1">>>'),
    ('S1F13 W <L <A "H"> <A "1">>', 'S1F14 <L [2] <B 0x00> <L [2] <A "ETCHER"> <A "7.1">>>'),
    ("S1F3 W <L <U4 1001>>", "S1F4 <L [1] <U4 7>>"),
    ("S1F3 W <L <U2 1001> <I8 1001> <A \"1001\"> <U1 9> <A \"zz\">>",
     "S1F4 <L [5] <U4 7> <U4 7> <U4 7> <L [0]> <L [0]>>"),
    # Data variables and constants are no status variables.
    ("S1F3 W <L <U4 1101> <U4 2001>>", "S1F4 <L [2] <L [0]> <L [0]>>"),
    ("S1F3 W <L>",
     ('S1F4 <L [6] <U4 7> <A "idle"> <A "2026030412000025"> <U1 5> <L [0]> '
     '<L [2] <U4 101> <A "DOOR">>>')),
    ("S1F11 W <L <U4 1001> <U1 9>>",
     'S1F12 <L [2] <L [3] <U4 1001> <A "WaferCount"> <A "pcs">> <L [3] <U1 9> <A> <A>>>'),
    ("S1F21 W <L>",
     ('S1F22 <L [2] <L [3] <U4 1101> <A "Thickness"> <A "nm">> '
     '<L [3] <A "RECIPE"> <A "Recipe"> <A>>>')),
    ("S1F23 W <L <U1 101> <A \"DOOR\"> <I4 -3>>",
     ('S1F24 <L [3] <L [3] <U4 101> <A "LotStarted"> <L [2] <U4 1001> <A "RECIPE">>> '
     '<L [3] <A "DOOR"> <A "DoorOpened"> <L [0]>> <L [3] <I4 -3> <A> <L [0]>>>')),
    ("S1F17 W", "S1F18 <B 0x02>"),
    # Stream 2
    ("S2F13 W <L <U4 2001> <U4 1001>>", "S2F14 <L [2] <I2 -5> <L [0]>>"),
    ("S2F13 W <L>", 'S2F14 <L [4] <I2 -5> <BOOLEAN T> <A "x"> <U4 1 2>>'),
    ("S2F17 W", 'S2F18 <A "2026030412000025">'),
    ("S2F25 W <B 1 2>", "S2F26 <B 0x01 0x02>"),
    ("S2F29 W <L <U4 2001> <U4 2003> <U4 7>>",
     ('S2F30 <L [3] <L [6] <U4 2001> <A "Offset"> <I2 -10> <I2 10> <I2 -5> <A "um">> '
     '<L [6] <U4 2003> <A "Title"> <A> <A> <A "x"> <A>> '
     '<L [6] <U4 7> <A> <A> <A> <A> <A>>>')),
    # Stream 5
    ("S5F5 W <U4>",
     'S5F6 <L [2] <L [3] <B 0x02> <U4 5001> <A "too hot">> <L [3] <B 0x07> <U4 5002> <A>>>'),
    ("S5F5 W <U2 5002 60000>",
     'S5F6 <L [2] <L [3] <B 0x07> <U4 5002> <A>> <L [3] <B> <U2 60000> <A>>>'),
    ("S5F5 W <L <U4 5002> <U2 9>>",
     'S5F6 <L [2] <L [3] <B 0x07> <U4 5002> <A>> <L [3] <B> <U2 9> <A>>>'),
    ("S5F7 W", 'S5F8 <L [1] <L [3] <B 0x02> <U4 5001> <A "too hot">>>'),
    # Stream 6
    ("S6F15 W <U1 101>",
     ('S6F16 <L [3] <U4 1> <U4 101> <L [2] <L [2] <U4 1> <L [2] <U4 7> <A>>> '
     '<L [2] <U4 2> <L [1] <U4 7>>>>>')),
    # A disabled event has its report too, an unknown one none.
    ("S6F15 W <U4 102>", "S6F16 <L [3] <U4 1> <U4 102> <L [0]>>"),
    ("S6F15 W <U1 9>", "S6F16 <L [3] <U4 1> <U1 9> <L [0]>>"),
    ("S6F19 W <U4 1>", 'S6F20 <L [2] <U4 7> <A>>'),
    ("S6F19 W <U4 9>", "S6F20 <L [0]>"),
    ("S6F23 W <U1 0>", "S6F24 <B 0x02>"),
    # Stream 7
    ('S7F1 W <L <A "NEW"> <U4 100>>', "S7F2 <B 0x00>"),
    ('S7F1 W <L <A> <U4 100>>', "S7F2 <B 0x03>"),
    ('S7F1 W <L <A "NEW"> <U4 99000000>>', "S7F2 <B 0x02>"),
    ('S7F5 W <A "R-1">', 'S7F6 <L [2] <A "R-1"> <A "etch">>'),
    ("S7F5 W <B 0x52 0x2D 0x31>", 'S7F6 <L [2] <B 0x52 0x2D 0x31> <A "etch">>'),
    ('S7F5 W <A "R-2">', "S7F6 <L [0]>"),
    ("S7F19 W", 'S7F20 <L [1] <A "R-1">>'),
    # Stream 10
    ('S10F3 W <L <B 0> <A "hello">>', "S10F4 <B 0x00>"),
    ('S10F3 W <L <B 1> <A "hello">>', "S10F4 <B 0x02>"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "reply"), ANSWERS, ids=[each for each, _ in ANSWERS])
def test_what_is_asked_is_answered(tool: Tool, request_: str, reply: str) -> None:
    assert tool.ask(request_) == reply


@pytest.mark.parametrize("request_", [each for each, _ in ANSWERS])
def test_each_answer_is_as_the_catalogue_has_it(tool: Tool, request_: str) -> None:
    assert check(Message.parse(f"{tool.ask(request_)} .")) == []


def test_a_primary_that_no_model_knows_and_a_secondary_are_none(tool: Tool) -> None:
    for name in ("S3F1 W", "S1F99 W", "S1F2 <L>", "S1F4 <L>", "S6F12 <B 0>", "S1F0"):
        assert tool.replies.to(Message.parse(f"{name} .")) is None


# Wrong bodies


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ("S1F3 W", "got only a header"),
        ("S1F3 W <U4 1001>", "expected L, got U4"),
        ("S1F3 W <L <U4 1 2>>", "expected 1 value, got 2"),
        ("S1F3 W <L <F4 1.0>>", "got F4"),
        ("S1F13 W", "got only a header"),
        ("S2F15 W <L <L <U4 1>>>", "expected 2 items, got 1"),
        ("S2F33 W <L [0]>", "expected 2 items, got 0"),
        ("S2F37 W <L <A \"T\"> <L>>", "got A"),
        ("S2F41 W <L <A \"GO\">>", "expected 2 items, got 1"),
        ("S5F3 W <L <B 0x80>>", "expected 2 items, got 1"),
        # The id of an alarm is a number.
        ("S5F3 W <L <B 0x80> <A \"5001\">>", "got A"),
        ("S7F3 W <A \"R\">", "expected L, got A"),
        ("S10F3 W <L <B 0 0> <A \"x\">>", "expected 1 byte, got 2"),
    ],
)  # fmt: skip
def test_a_body_of_another_layout_is_illegal_data(tool: Tool, request_: str, why: str) -> None:
    answer = tool.replies.to(Message.parse(f"{request_} ."))
    assert isinstance(answer, IllegalData)
    assert why in answer.why
    assert not answer.is_told


@pytest.mark.parametrize("name", ["S1F3", "S2F33", "S7F5"])
def test_a_body_that_is_no_secs_is_told_by_its_connection(tool: Tool, name: str) -> None:
    stream, function = find(name).numbers  # type: ignore[union-attr]  # it is there
    answer = tool.replies.to(Message.received(stream, function, True, b"\x01", 0, 1))
    assert answer == IllegalData(
        f"{name}: the body is no SECS-II: at byte 0: read 1 byte, expected an item header of 2 to "
        "4 bytes",
        is_told=True,
    )
    # Several items can be read: a connection sees nothing wrong with them.
    answer = tool.replies.to(Message.received(stream, function, True, b"\x01\0" * 2, 0, 1))
    assert isinstance(answer, IllegalData)
    assert answer.why.startswith(f"{name}: at byte 2: read item 2 of 2")
    assert not answer.is_told


def test_a_body_where_none_should_be_is_passed_over(tool: Tool) -> None:
    assert tool.ask("S1F1 W <L>") == tool.ask("S1F1 W")


# Off-line


def test_off_line_two_messages_are_answered_and_all_others_aborted(tool: Tool) -> None:
    assert tool.ask("S1F15 W") == "S1F16 <B 0x00>"
    assert not tool.live.is_online
    assert tool.told == [VariableChanged(1004)]
    for name in ("S1F1 W", "S1F15 W", "S1F3 W <L>", "S2F41 W <L>", "S3F1 W", "S2F17"):
        assert tool.ask(name) == f"{name[:2]}F0"
    assert tool.ask("S1F13 W <L>").startswith("S1F14")
    assert tool.live.value("Control") == U1(3)
    assert tool.live.report(101) is None
    assert tool.live.alarm(5001, True) is None
    assert tool.live.is_set(5001)
    assert tool.ask("S1F17 W") == "S1F18 <B 0x00>"
    assert tool.live.value("Control") == U1(5)
    assert tool.ask("S1F17 W") == "S1F18 <B 0x02>"
    assert tool.live.report(101) is not None


# Status


@pytest.mark.parametrize("body", [b"\x01\x01\x49\x03\x00\x01\xe9", b"\x01\x01\x49\x02\x00\x01"])
def test_status_of_text_that_cannot_be_read_is_illegal_data_or_unknown(
    tool: Tool, body: bytes
) -> None:
    answer = tool.replies.to(Message(1, 3, True, body=body))
    assert isinstance(answer, IllegalData) or answer == Message(1, 4, item=L(L()))


def test_a_kept_answer_is_made_anew_when_a_value_changes(tool: Tool) -> None:
    request = S1F3(1001, 1002)
    first = tool.replies.to(request)
    assert tool.replies.to(request) is first
    tool.live.set(1001, 8)
    assert tool.ask("S1F3 W <L <U4 1001> <U4 1002>>") == 'S1F4 <L [2] <U4 8> <A "idle">>'


def test_the_clock_in_a_kept_answer_goes_on(tool: Tool) -> None:
    assert tool.ask("S1F3 W <L <U4 1003>>") == 'S1F4 <L [1] <A "2026030412000025">>'
    tool.now += timedelta(seconds=1)
    assert tool.ask("S1F3 W <L <U4 1003>>") == 'S1F4 <L [1] <A "2026030412000125">>'


def test_a_kept_answer_is_that_of_the_model_in_force(tool: Tool) -> None:
    request = "S1F3 W <L <U4 1001> <U4 9>>"
    assert tool.ask(request) == "S1F4 <L [2] <U4 7> <L [0]>>"
    tool.live.adopt(Model(variables={9: Variable(9, U4(1))}))
    assert tool.ask(request) == "S1F4 <L [2] <L [0]> <U4 1>>"


def test_no_more_answers_are_kept_than_a_host_needs(tool: Tool) -> None:
    for number in range(100):
        assert tool.ask(f"S1F3 W <L <U4 {number}>>") == "S1F4 <L [1] <L [0]>>"
    large = S1F3(*[1001] * 5000)
    assert tool.replies.to(large) is not tool.replies.to(large)
    assert len(tool.replies._asked) == 8


def test_a_kept_request_of_an_alarm_list_sees_alarms_and_events(tool: Tool) -> None:
    assert tool.ask("S1F3 W <L <U4 1005> <U4 1006>>").endswith(
        '<L [0]> <L [2] <U4 101> <A "DOOR">>>'
    )
    tool.live.alarm(5002, True)
    tool.ask("S2F37 W <L <BOOLEAN F> <L <U4 101>>>")
    assert tool.ask("S1F3 W <L <U4 1005> <U4 1006>>") == (
        'S1F4 <L [2] <L [1] <U4 5002>> <L [1] <A "DOOR">>>'
    )
    assert tool.told == [VariableChanged(1005), VariableChanged(1006)]


@pytest.mark.parametrize("name", ["S1F3", "S1F11", "S1F21", "S1F23", "S2F13", "S2F29"])
def test_more_ids_than_are_answered_at_once_are_refused(tool: Tool, name: str) -> None:
    stream, function = find(name).numbers  # type: ignore[union-attr]  # it is there
    reply = tool.replies.to(Message(stream, function, True, L(*[U4(1001)] * (bounds.ASKED + 1))))
    assert reply == Message(stream, 0)


def test_more_alarms_than_are_answered_at_once_are_refused(tool: Tool) -> None:
    reply = tool.replies.to(Message(5, 5, True, U4([1] * (bounds.ASKED + 1))))
    assert reply == Message(5, 0)


# Constants


@pytest.mark.parametrize(
    ("constants", "code", "offset"),
    [
        ("<L <U4 2001> <I2 9>>", 0, 9),
        ("<L <A \"2001\"> <U1 9>>", 0, 9),
        ("<L <U4 2001> <I2 11>>", 3, -5),
        ("<L <U4 2001> <U4 70000>>", 3, -5),
        ("<L <U4 2001> <I2 1 2>>", 3, -5),
        ("<L <U4 2001> <I2>>", 3, -5),
        ("<L <U4 2001> <A \"9\">>", 3, -5),
        ("<L <U4 2001> <F4 1.0>>", 3, -5),
        ("<L <U4 2001> <L <I2 1>>>", 3, -5),
        ("<L <U4 2001> <I2 1>> <L <U4 2001> <I2 2>>", 0, 2),
        # Nothing is changed when one is wrong.
        ("<L <U4 2001> <I2 1>> <L <U4 9> <I2 2>>", 1, -5),
        ("<L <U4 2001> <I2 1>> <L <U4 2002> <U1 1>>", 3, -5),
        # A status variable is no constant.
        ("<L <U4 1001> <U4 2>>", 1, -5),
        ("", 0, -5),
    ],
)  # fmt: skip
def test_new_constants_are_all_taken_or_none(
    tool: Tool, constants: str, code: int, offset: int
) -> None:
    assert tool.ask(f"S2F15 W <L {constants}>") == f"S2F16 <B 0x{code:02}>"
    assert tool.live.value(2001).to_python() == offset
    assert tool.told == ([VariableChanged(2001)] if offset != -5 else [])


def test_a_host_sets_no_value_that_is_long(tool: Tool) -> None:
    def eac(size: int) -> int:
        return answered(tool, S2F15({2003: "x" * size}))[0]

    assert eac(bounds.VALUE - 3) == 0
    assert eac(bounds.VALUE - 2) == 3
    assert len(tool.live.value(2003)) == bounds.VALUE - 3
    # One that is long from the beginning may be set again.
    long = replace(MODEL.variables[2003], value=A("x" * 9000))
    tool = Tool(
        replace(MODEL, variables={2003: long}, reports={}, events={}, alarms={}, commands={})
    )
    assert eac(9000) == 0
    assert eac(9001) == 3


@pytest.mark.parametrize("value", [L("a", L()), C("x"), J("x"), B(1, 2), F8(), A("x")])
def test_what_a_constant_may_be_has_a_description_of_the_catalogue(value: Item) -> None:
    tool = Tool(Model(variables={1: Variable(1, value, kind="constant")}))
    reply = tool.replies.to(S2F29())
    assert isinstance(reply, Message)
    shown = A() if isinstance(value, L | C | J) else value
    assert reply == S2F30((U4(1), "", A(), A(), shown, ""))
    assert not [*S2F30.differences(reply)]


def test_constants_of_other_formats_are_set_too(tool: Tool) -> None:
    sent = '<L <U4 2002> <BOOLEAN F>> <L <U4 2003> <A "y">> <L <U4 2004> <U4 1 2 3>>'
    assert tool.ask(f"S2F15 W <L {sent}>") == "S2F16 <B 0x00>"
    assert tool.ask("S2F13 W <L>") == 'S2F14 <L [4] <I2 -5> <BOOLEAN F> <A "y"> <U4 1 2 3>>'


# Clock


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        ("2030010203040506", "2030010203040606"),
        ("300102030405", "2030010203040600"),
        ("2030-01-02T03:04:05", "2030010203040600"),
        ("2030-01-02T03:04:05.5+02:00", "2030010203040650"),
    ],
)
def test_the_clock_goes_on_from_where_it_is_set(tool: Tool, time: str, shown: str) -> None:
    assert tool.ask(f'S2F31 W <A "{time}">') == "S2F32 <B 0x00>"
    tool.now += timedelta(seconds=1)
    assert tool.ask("S2F17 W") == f'S2F18 <A "{shown}">'


def test_a_clock_that_knows_its_zone_is_as_good(tool: Tool) -> None:
    tool.now = NOON.replace(tzinfo=UTC)
    assert tool.live.time() == "2026030412000025"
    assert tool.ask('S2F31 W <A "2030-01-02T03:04:05+09:00">') == "S2F32 <B 0x00>"
    assert tool.live.time() == "2030010203040500"


@pytest.mark.parametrize(
    "time",
    [
        "", "20300102030405", "2030130203040506", "2030010203040560x", "203002300304050a",
        "301332030405", "2030-01-02", "2030-01-02T25:00:00", "2030-01-02T03:04:05 tomorrow",
        "0001010203040506", "9999123123595999", "2030022900000000",
    ],
)  # fmt: skip
def test_what_is_no_time_does_not_set_the_clock(tool: Tool, time: str) -> None:
    assert tool.ask(f'S2F31 W <A "{time}">') == "S2F32 <B 0x01>"
    assert tool.live.time() == "2026030412000025"


# Traces


def trace(
    trid: object = "<U4 1>",
    dsper: str = "000001",
    totsmp: str = "<U4 10>",
    repgsz: str = "<U4 2>",
    svids: str = "<U4 1001> <U4 1002>",
) -> str:
    return f'S2F23 W <L {trid} <A "{dsper}"> {totsmp} {repgsz} <L {svids}>>'


def test_a_trace_is_sampled_and_sent_in_groups(tool: Tool) -> None:
    assert tool.ask(trace(dsper="00000150")) == "S2F24 <B 0x00>"
    (begun,) = tool.told
    assert isinstance(begun, TraceBegun)
    found = begun.trace
    assert (found.period, found.total, found.group) == (1.5, 10, 2)
    assert tool.live.traces == {1: found}
    values = tool.live.sample(found) + tool.live.sample(found)
    message = tool.live.traced(found, 2, values)
    assert one_line(message) == (
        'S6F1 W <L [4] <U4 1> <U4 2> <A "2026030412000025"> '
        '<L [4] <U4 7> <A "idle"> <U4 7> <A "idle">>>'
    )
    assert check(message) == []
    assert tool.live.traces
    tool.live.traced(found, 10, values)
    assert not tool.live.traces
    tool.live.traced(found, 10, values)


@pytest.mark.parametrize("trid", ["<U1 1>", '<A "1">'])
def test_a_trace_ends_when_no_sample_is_wanted(tool: Tool, trid: str) -> None:
    tool.ask(trace())
    ending = f'S2F23 W <L {trid} <A> <A "0"> <U4 0> <L>>'
    assert tool.ask(ending) == "S2F24 <B 0x00>"
    assert tool.live.traces == {}
    assert tool.told[1:] == [TraceOver(1)]
    # There is none any more, and nothing to tell.
    assert tool.ask(ending) == "S2F24 <B 0x00>"
    assert len(tool.told) == 2


def test_a_trace_takes_the_place_of_that_of_the_same_id(tool: Tool) -> None:
    tool.ask(trace())
    (first,) = tool.live.traces.values()
    tool.ask(trace(trid="<U1 1>", totsmp="<U4 5>"))
    (second,) = tool.live.traces.values()
    assert first is not second
    # The last sample of the first one ends nothing.
    tool.live.traced(first, first.total, [])
    assert tool.live.traces == {1: second}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (trace(dsper="000000"), 3),
        (trace(dsper="00000000"), 3),
        (trace(dsper="1"), 3),
        (trace(dsper="006000"), 3),
        (trace(dsper="00:00:01"), 3),
        (trace(dsper="000000x1"), 3),
        (trace(svids="<U4 9>"), 4),
        (trace(svids="<U4 2001>"), 4),
        (trace(svids=""), 4),
        (trace(repgsz="<U4 0>"), 5),
        (trace(repgsz="<U4 11>"), 5),
        (trace(repgsz="<I4 -1>"), 5),
        (trace(repgsz='<A "two">'), 5),
        (trace(totsmp="<I4 -1>"), 5),
        (trace(totsmp='<A "many">'), 5),
        (trace(totsmp="<U4 100000>", repgsz="<U4 100000>"), 5),
    ],
)
def test_a_trace_that_cannot_be_says_why(tool: Tool, request_: str, code: int) -> None:
    assert tool.ask(request_) == f"S2F24 <B 0x0{code}>"
    assert tool.told == []


def test_traces_are_bounded_in_number_and_size(tool: Tool) -> None:
    long = S2F23(1, "000001", 10, 1, [1001] * (bounds.TRACED + 1))
    assert tool.replies.to(long) == Message.parse("S2F24 <B 1> .")
    for number in range(bounds.TRACES):
        assert tool.ask(trace(trid=f"<U4 {number}>")) == "S2F24 <B 0x00>"
    assert tool.ask(trace(trid="<U4 1000>")) == "S2F24 <B 0x02>"
    assert tool.ask(trace(trid="<U4 1>")) == "S2F24 <B 0x00>"


def test_traces_read_no_more_in_a_second_than_a_tool_can(tool: Tool) -> None:
    def begun(trid: int, dsper: str) -> int:
        # A thousand values every hundredth second are as many as are read.
        return answered(tool, S2F23(trid, dsper, 10, 1, [1001] * bounds.TRACED))[0]

    assert begun(1, "00000001") == 0
    assert begun(2, "000001") == 3
    assert begun(1, "00000001") == 0
    assert begun(1, "00000002") == 0
    assert begun(2, "00000002") == 0
    assert begun(3, "000001") == 3


# Reports and links


def reports(tool: Tool) -> dict[Id, tuple[Id, ...]]:
    return dict(tool.live.reports)


def links(tool: Tool) -> dict[Id, tuple[Id, ...]]:
    return {ceid: linked for ceid, linked in tool.live.links.items() if linked}


BEFORE: dict[Id, tuple[Id, ...]] = {1: (1001, "RECIPE"), 2: (1001,)}
LINKED: dict[Id, tuple[Id, ...]] = {101: (1, 2)}


@pytest.mark.parametrize(
    ("groups", "code", "after", "linked"),
    [
        ("", 0, {}, {}),
        ("<L <U4 9> <L <A \"1001\"> <U1 2>>>", 4, BEFORE, LINKED),
        ("<L <U4 9> <L <A \"1001\"> <U4 2001>>>", 0, {**BEFORE, 9: (1001, 2001)}, LINKED),
        ("<L <U1 1> <L <U4 1001>>>", 3, BEFORE, LINKED),
        ("<L <U4 9> <L <U4 1001>>> <L <U2 9> <L <U4 1002>>>", 3, BEFORE, LINKED),
        # Nothing is changed when one is wrong.
        ("<L <U4 9> <L <U4 1001>>> <L <U4 8> <L <U4 5>>>", 4, BEFORE, LINKED),
        ("<L <U4 1> <L>> <L <U4 8> <L <U4 5>>>", 4, BEFORE, LINKED),
        # Ids that the tool could not write in S6F11.
        ("<L <I1 -1> <L <U4 1001>>>", 2, BEFORE, LINKED),
        ("<L <U4 9> <L <U4 1001>>> <L <U8 4294967296> <L <U4 1001>>>", 2, BEFORE, LINKED),
        ("<L <A 0xE9> <L <U4 1001>>>", 2, BEFORE, LINKED),
        ("<L <J \"\uff83\"> <L <U4 1001>>>", 2, BEFORE, LINKED),
        # A report that is deleted is linked to no event any more, also when it is defined again.
        ("<L <U4 1> <L>>", 0, {2: (1001,)}, {101: (2,)}),
        ("<L <U4 1> <L>> <L <U4 1> <L <U4 1002>>>", 0, {1: (1002,), 2: (1001,)}, {101: (2,)}),
        ("<L <U4 77> <L>>", 0, BEFORE, LINKED),
        ("<L <A \"MINE\"> <L <U4 1001>>>", 0, {**BEFORE, "MINE": (1001,)}, LINKED),
    ],
)  # fmt: skip
def test_reports_are_all_defined_or_none(
    tool: Tool,
    groups: str,
    code: int,
    after: dict[Id, tuple[Id, ...]],
    linked: dict[Id, tuple[Id, ...]],
) -> None:
    assert tool.ask(f"S2F33 W <L <U4 1> <L {groups}>>") == f"S2F34 <B 0x0{code}>"
    assert reports(tool) == after
    assert links(tool) == linked


def test_a_report_that_a_host_has_defined_can_be_deleted_by_it(tool: Tool) -> None:
    tool.ask("S2F33 W <L <U4 1> <L <L <U4 9> <L <U4 1002>>>>>")
    tool.ask("S2F35 W <L <U4 1> <L <L <U4 102> <L <U4 9>>>>>")
    tool.ask("S2F37 W <L <BOOLEAN T> <L <U4 102>>>")
    report = tool.live.report("LotFinished")
    assert report is not None
    assert report.reports == [(9, ["idle"])]
    tool.ask("S2F33 W <L <U4 1> <L <L <U4 9> <L>>>>")
    report = tool.live.report(102)
    assert report is not None
    assert report.reports == []


@pytest.mark.parametrize(
    ("groups", "code", "linked"),
    [
        ("<L <U4 102> <L <U4 2> <U4 1>>>", 0, {**LINKED, 102: (2, 1)}),
        ("<L <U4 102> <L <U4 2> <U4 2>>>", 0, {**LINKED, 102: (2,)}),
        ("<L <A \"DOOR\"> <L <A \"2\">>>", 0, {**LINKED, "DOOR": (2,)}),
        ("<L <U4 101> <L>>", 0, {}),
        ("<L <U4 101> <L>> <L <U4 101> <L <U4 2>>>", 0, {101: (2,)}),
        ("", 0, LINKED),
        ("<L <U4 101> <L <U4 2>>>", 3, LINKED),
        ("<L <U4 102> <L <U4 2>>> <L <U4 102> <L <U4 1>>>", 3, LINKED),
        ("<L <U4 9> <L <U4 2>>>", 4, LINKED),
        ("<L <U4 102> <L <U4 9>>>", 5, LINKED),
        ("<L <U4 101> <L>> <L <U4 9> <L>>", 4, LINKED),
    ],
)  # fmt: skip
def test_reports_are_all_linked_or_none(
    tool: Tool, groups: str, code: int, linked: dict[Id, tuple[Id, ...]]
) -> None:
    assert tool.ask(f"S2F35 W <L <U4 1> <L {groups}>>") == f"S2F36 <B 0x0{code}>"
    assert links(tool) == linked


def answered(tool: Tool, message: Message) -> bytes:
    reply = tool.replies.to(message)
    assert isinstance(reply, Message)
    assert reply.item is not None
    return bytes(reply.item.to_python())


def define(tool: Tool, rptids: Iterable[int], size: int) -> int:
    return answered(tool, S2F33(1, {rptid: [1001] * size for rptid in rptids}))[0]


def test_what_a_host_may_define_and_link_is_bounded(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = bounds.SENT_AT_ONCE
    monkeypatch.setattr("hsms_engine.fake.model.stream2.IN_REPORTS", 6 * most + 3)
    assert define(tool, [10], most + 1) == 1
    assert define(tool, range(10, 15), most) == 0
    assert define(tool, range(20, 22), most) == 1
    assert define(tool, [20], most) == 0
    assert answered(tool, S2F35(1, {102: [10, 11]}))[0] == 1
    assert answered(tool, S2F35(1, {102: [10]}))[0] == 0
    assert answered(tool, S2F33(1, []))[0] == 0
    assert define(tool, range(bounds.REPORTS + 1), 1) == 1
    assert define(tool, range(bounds.REPORTS), 1) == 0


def test_links_are_bounded_over_all_events(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsms_engine.fake.model.stream2.IN_REPORTS", 5)
    both = "S2F35 W <L <U4 1> <L <L <U4 102> <L <U4 1> <U4 2>>>>>"
    assert tool.ask(both) == "S2F36 <B 0x01>"
    assert links(tool) == LINKED
    monkeypatch.setattr("hsms_engine.fake.model.stream2.IN_REPORTS", 6)
    assert tool.ask(both) == "S2F36 <B 0x00>"


# Events


def test_events_are_enabled_and_disabled_all_or_those_named(tool: Tool) -> None:
    assert tool.live.report("LotStarted") is not None
    assert tool.live.report("LotFinished") is None
    assert tool.ask("S2F37 W <L <BOOLEAN T> <L>>") == "S2F38 <B 0x00>"
    assert tool.live.report("LotFinished") is not None
    assert tool.ask('S2F37 W <L <BOOLEAN F> <L <A "101"> <A "DOOR">>>') == "S2F38 <B 0x00>"
    assert tool.live.report(101) is None
    assert tool.live.report("DOOR") is None
    assert tool.ask("S2F37 W <L <BOOLEAN F> <L <U4 102> <U4 9>>>") == "S2F38 <B 0x01>"
    assert tool.live.report("LotFinished") is not None


def test_an_event_carries_its_reports_and_a_number(tool: Tool) -> None:
    first, second = tool.live.report(101), tool.live.report("DoorOpened")
    assert first is not None
    assert second is not None
    assert (first.dataid, first.ceid, first.reports) == (1, 101, [(1, [7, ""]), (2, [7])])
    assert (second.dataid, second.ceid, second.reports) == (2, "DOOR", [])
    assert first.wait
    assert check(first) == check(second) == []


def test_numbers_of_data_begin_again_when_there_are_no_more(tool: Tool) -> None:
    tool.live._dataid = 2**32 - 2
    assert [tool.live.next_dataid().to_python() for _ in range(3)] == [2**32 - 1, 1, 2]


# Alarms


def test_an_alarm_is_sent_as_long_as_it_is_enabled(tool: Tool) -> None:
    sent = tool.live.alarm(5001, True)
    assert sent is not None
    assert (sent.alcd, sent.alid, sent.altx) == (0x82, 5001, "too hot")
    assert check(sent) == []
    assert tool.live.is_set(5001)
    # Who asks for it again gets it again; nothing has changed.
    assert tool.live.alarm("5001", True) == sent
    assert tool.told == [VariableChanged(1005)]
    assert tool.live.alarm(5002, True) is None
    assert tool.live.is_set(5002)
    assert tool.ask("S5F5 W <U4>").startswith("S5F6 <L [2] <L [3] <B 0x82>")
    cleared = tool.live.alarm(5001, False)
    assert cleared is not None
    assert cleared.alcd == 2


@pytest.mark.parametrize(
    ("request_", "code", "enabled"),
    [
        ("<L <B 0x80> <U4 5002>>", 0, [5001, 5002]),
        ("<L <B 0xFF> <I8 5002>>", 0, [5001, 5002]),
        ("<L <B 0x00> <U2 5001>>", 0, []),
        ("<L <B 0x80> <U4>>", 0, [5001, 5002]),
        ("<L <B 0x00> <U4>>", 0, []),
        ("<L <B 0x80> <U4 9>>", 1, [5001]),
    ],
)  # fmt: skip
def test_alarms_are_enabled_and_disabled(
    tool: Tool, request_: str, code: int, enabled: list[int]
) -> None:
    assert tool.ask(f"S5F3 W {request_}") == f"S5F4 <B 0x0{code}>"
    assert [each for each in MODEL.alarms if tool.live.is_alarm_enabled(each)] == enabled


# Commands


START = 'S2F41 W <L <A "START"> <L {}>>'
PPID = '<L <A "PPID"> <A "R-1">>'


@pytest.mark.parametrize(
    ("parameters", "reply"),
    [
        (PPID, "<B 0x04> <L [0]>"),
        (PPID + "<L <A \"COUNT\"> <U1 9>>", "<B 0x04> <L [0]>"),
        (PPID + "<L <A \"NOTE\"> <F8 1.0>>", "<B 0x04> <L [0]>"),
        (PPID + "<L <A \"COLOUR\"> <U1 9>>", '<B 0x03> <L [1] <L [2] <A "COLOUR"> <B 0x01>>>'),
        (PPID + "<L <U2 7> <U1 9>>", "<B 0x03> <L [1] <L [2] <U2 7> <B 0x01>>>"),
        (PPID + "<L <A \"COUNT\"> <U1 99>>", '<B 0x03> <L [1] <L [2] <A "COUNT"> <B 0x02>>>'),
        (PPID + "<L <A \"COUNT\"> <A \"9\">>", '<B 0x03> <L [1] <L [2] <A "COUNT"> <B 0x03>>>'),
        ("<L <A \"PPID\"> <A \"R-2\">>", '<B 0x03> <L [1] <L [2] <A "PPID"> <B 0x02>>>'),
        ("<L <A \"PPID\"> <U4 1>>", '<B 0x03> <L [1] <L [2] <A "PPID"> <B 0x03>>>'),
        ("", '<B 0x03> <L [1] <L [2] <A "PPID"> <B 0x02>>>'),
    ],
)  # fmt: skip
def test_the_parameters_of_a_command_are_all_looked_at(
    tool: Tool, parameters: str, reply: str
) -> None:
    assert tool.ask(START.format(parameters)) == f"S2F42 <L [2] {reply}>"
    is_done = "0x04" in reply
    assert tool.live.value("Recipe") == A("R-1" if is_done else "")
    assert tool.live.value(1001) == U4(9 if is_done and "COUNT" in parameters else 7)


def test_the_enhanced_command_answers_alike_in_its_own_format(tool: Tool) -> None:
    start = 'S2F49 W <L <U4 1> <A> <A "START"> <L {}>>'
    assert tool.ask(start.format(PPID)) == "S2F50 <L [2] <B 0x04> <L [0]>>"
    assert tool.ask(start.format('<L <A "X"> <U4 1>>')) == (
        'S2F50 <L [2] <B 0x03> <L [2] <L [2] <A "X"> <U1 1>> <L [2] <A "PPID"> <U1 2>>>>'
    )


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ('<A "JUMP"> <L>', "<B 0x01> <L [0]>"),
        ("<U1 7> <L>", "<B 0x01> <L [0]>"),
        ('<A "STOP"> <L>', "<B 0x02> <L [0]>"),
        ('<A "STOP"> <L <L <A "X"> <U1 1>>>', '<B 0x03> <L [1] <L [2] <A "X"> <B 0x01>>>'),
        # One without a list of parameters takes any.
        ('<A "GO"> <L <L <A "X"> <U1 1>>>', "<B 0x00> <L [0]>"),
    ],
)
def test_a_command_is_answered_as_it_is_declared(tool: Tool, request_: str, reply: str) -> None:
    assert tool.ask(f"S2F41 W <L {request_}>") == f"S2F42 <L [2] {reply}>"


def test_a_command_that_is_not_done_sets_nothing() -> None:
    start = replace(MODEL.commands["START"], answer=2)
    tool = Tool(replace(MODEL, commands={"START": start}))
    assert tool.ask(START.format(PPID)) == "S2F42 <L [2] <B 0x02> <L [0]>>"
    assert tool.live.value("Recipe") == A("")


# Process programs


def test_a_program_is_taken_given_replaced_and_deleted(tool: Tool) -> None:
    assert tool.ask('S7F3 W <L <A "R-2"> <B 1 2>>') == "S7F4 <B 0x00>"
    assert tool.ask('S7F3 W <L <A "R-1"> <A "longer">>') == "S7F4 <B 0x00>"
    assert tool.ask("S7F19 W") == 'S7F20 <L [2] <A "R-1"> <A "R-2">>'
    assert tool.ask('S7F5 W <A "R-1">') == 'S7F6 <L [2] <A "R-1"> <A "longer">>'
    assert tool.ask('S7F17 W <L <A "R-1"> <A "NONE">>') == "S7F18 <B 0x04>"
    assert tool.ask('S7F17 W <L <A "R-1">>') == "S7F18 <B 0x00>"
    assert tool.ask("S7F19 W") == 'S7F20 <L [1] <A "R-2">>'
    assert tool.ask("S7F17 W <L>") == "S7F18 <B 0x00>"
    assert tool.ask("S7F19 W") == "S7F20 <L [0]>"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ('<L <A> <A "x">>', 4),
        (f'<L <A "{"x" * 121}"> <A "x">>', 4),
        ('<L <A "R"> <L <A "x">>>', 5),
    ],
)
def test_a_program_that_cannot_be_kept_says_why(tool: Tool, request_: str, code: int) -> None:
    assert tool.ask(f"S7F3 W {request_}") == f"S7F4 <B 0x0{code}>"
    assert [*tool.live.programs] == [b"R-1"]


def test_programs_are_bounded_in_number_and_bytes(tool: Tool) -> None:
    large = A("x" * (bounds.PROGRAM_BYTES // 3))
    codes = [answered(tool, S7F3(f"P{number}", large))[0] for number in range(4)]
    assert codes == [0, 0, 3, 3]
    # One in the place of a large one is taken.
    assert answered(tool, S7F3("P1", "small"))[0] == 0
    tool = Tool()
    codes = [answered(tool, S7F3(f"P{n}", "x"))[0] for n in range(bounds.PROGRAMS)]
    assert codes == [0] * (bounds.PROGRAMS - 1) + [3]

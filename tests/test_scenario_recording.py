"""A log becomes a scenario: who is played, what answers what, and what a comment says of values."""

from __future__ import annotations

import pytest
from hypothesis import given

from hsms_engine import Message, read_log
from hsms_engine.log_reader import LogDirection, LoggedMessage
from hsms_engine.scenario import parse_scenario
from hsms_engine.scenario.recording import Line, RecordingError, scenario_of
from hsms_engine.scenario.steps import Expect, Role, Send
from hsms_engine.secs2 import U4, A, B, Item, L
from hsms_engine.sml import fill
from tests.support.items import items

LOG = """\
10:00:00.000 SEND S1F13 W SystemBytes=00000001
<L [0]>.
10:00:00.010 RECV S1F14 SystemBytes=00000001
<L [2] <B 0x00> <L [2] <A "ETCHER"> <A "7.1">>>.
10:00:01.000 SEND S2F41 W SystemBytes=00000002
<L [2] <A "START"> <L [0]>>.
10:00:01.001 RECV S6F11 W SystemBytes=00000100
<L [3] <U4 1> <U4 101> <L [1] <L [2] <U4 1> <L [1] <A "20261127100001">>>>>.
10:00:01.002 SEND S6F12 SystemBytes=00000100
<B 0x00>.
10:00:01.003 RECV S2F42 SystemBytes=00000002
<L [2] <B 0x04> <L [0]>>.
10:00:05.000 RECV S6F11 W SystemBytes=00000101
<L [3] <U4 2> <U4 102> <L [0]>>.
10:00:05.001 SEND S6F12 SystemBytes=00000101
<B 0x00>.
10:00:06.000 RECV S1F2 SystemBytes=00000077
<L [0]>.
10:00:07.000 SEND S1F1 W SystemBytes=00000003
"""

HOST = """\
# Each value stands as it was. Where another run may have another one, as in times,
# counters and ids, put _ in its place, or a name, as <U4 $id>, to use it later.
[scenario]
name = "tool"
role = "host"

# tool.log:17: S1F2 answers nothing in this log

# 10:00:00 tool.log:1
[[step]]
send = 'S1F13 W <L [0]>'
expect = 'S1F14 <L [2] <B 0x00> <L [2] <A "ETCHER"> <A "7.1">>>'

# 10:00:01 tool.log:5
[[step]]
send = 'S2F41 W <L [2] <A "START"> <L [0]>>'
expect = 'S2F42 <L [2] <B 0x04> <L [0]>>'

# 10:00:01.001000 tool.log:7
# S6F11: looks like a time: [3][1][2][1]
# S6F11: grows: [1], [2]
[[step]]
expect = '''
S6F11 W
<L [3]
  <U4 1>
  <U4 101>
  <L [1]
    <L [2]
      <U4 1>
      <L [1]
        <A "20261127100001">
      >
    >
  >
>'''
reply = 'S6F12 <B 0x00>'

# 10:00:05 tool.log:13
# S6F11: grows: [1], [2]
[[step]]
expect = 'S6F11 W <L [3] <U4 2> <U4 102> <L [0]>>'
reply = 'S6F12 <B 0x00>'

# 10:00:07 tool.log:19
[[step]]
send = 'S1F1 W'
# The log has no reply to it.
"""


def lines_of(log: str) -> list[Line]:
    return [
        Line(entry, f"tool.log:{entry.line}")
        for entry in read_log(log.splitlines())
        if isinstance(entry, LoggedMessage)
    ]


def made(lines: list[Line], role: Role = "host", log_of: Role | None = None) -> str:
    return "".join(f"{line}\n" for line in scenario_of(lines, role, "tool", log_of))


def steps(text: str) -> list[str]:
    """What a scenario does; each one that is made can be read."""
    return [str(step) for step in parse_scenario(text).steps]


def line(message: Message, direction: LogDirection | None = None, number: int = 1) -> Line:
    return Line(LoggedMessage(None, direction, message, number), f"x.log:{number}")


def received(
    stream: int,
    function: int,
    system: int | None = None,
    *,
    wait: bool = False,
    item: object = None,
) -> Message:
    body = Message(1, 1, item=item).body  # type: ignore[arg-type]  # as a test gives it
    if system is None:
        return Message(stream, function, wait, body=body)
    return Message.received(stream, function, wait, body, 0, system)


def test_a_log_of_the_host_as_a_host() -> None:
    text = made(lines_of(LOG))
    assert text == HOST
    assert steps(text) == [
        "send S1F13, expect S1F14",
        "send S2F41, expect S2F42",
        "expect S6F11, reply S6F12",
        "expect S6F11, reply S6F12",
        "send S1F1",
    ]


def test_the_same_log_as_the_equipment() -> None:
    text = made(lines_of(LOG), "equipment")
    assert 'role = "equipment"' in text
    assert steps(text) == [
        "expect S1F13, reply S1F14",
        "expect S2F41, reply S2F42",
        "send S6F11, expect S6F12",
        "send S6F11, expect S6F12",
        "expect S1F1",
    ]
    assert steps(made(lines_of(LOG), "host", "equipment")) == steps(text)


@pytest.mark.parametrize(
    ("lines", "log_of"),
    [
        ([line(Message(6, 11), "sent")], "equipment"),
        ([line(Message(6, 11), "received")], "host"),
        ([line(Message(2, 41), "sent")], "host"),
        ([line(Message(2, 41), "received")], "equipment"),
        ([line(Message(2, 42), "received")], "host"),
        ([line(Message(6, 12), "sent")], "host"),
        (
            [
                line(Message(6, 12), "sent"),
                line(Message(6, 11), "sent"),
                line(Message(2, 41), "sent"),
            ],
            "host",
        ),
    ],
)
def test_whose_log_it_is_follows_from_who_sends_what(lines: list[Line], log_of: Role) -> None:
    assert made(lines, "host") == made(lines, "host", log_of)
    assert made(lines, "equipment") == made(lines, "equipment", log_of)


def test_the_names_of_the_sides_need_no_guess() -> None:
    lines = [line(Message(1, 13), "H->E"), line(Message(1, 13), "E->H")]
    assert steps(made(lines, "host")) == ["send S1F13", "expect S1F13"]
    assert steps(made(lines, "equipment")) == ["expect S1F13", "send S1F13"]


def test_without_a_direction_the_message_says_who_sends_it() -> None:
    lines = [line(Message(2, 41)), line(Message(6, 11))]
    assert steps(made(lines, "host")) == ["send S2F41", "expect S6F11"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "there is no message"),
        ([line(Message(1, 13))], "x.log:1: the log does not say who has sent this S1F13"),
        ([line(Message(64, 1))], "x.log:1: the log does not say who has sent this S64F1"),
        ([line(Message(1, 13), "sent")], "x.log:1: the log says 'sent', .* --log-of host or"),
        (
            [line(Message(2, 41), "sent"), line(Message(6, 11), "sent")],
            "nothing in it says whose log it is",
        ),
    ],
)
def test_of_some_logs_no_scenario_can_be_made(lines: list[Line], why: str) -> None:
    with pytest.raises(RecordingError, match=why):
        made(lines)


@pytest.mark.parametrize("has_system_bytes", [False, True])
def test_replies_find_their_primaries(has_system_bytes: bool) -> None:
    def system(number: int) -> int | None:
        return number if has_system_bytes else None

    lines = [
        line(received(1, 3, system(1), wait=True, item=A("a")), "H->E"),
        line(received(1, 3, system(2), wait=True, item=A("b")), "H->E"),
        line(received(2, 17, system(3), wait=True), "H->E"),
        # An event has the system bytes of a request of the other side.
        line(received(6, 11, system(1), wait=True), "E->H"),
        line(received(2, 0, system(3)), "E->H"),
        line(received(1, 4, system(1), item=A("A")), "E->H"),
        line(received(1, 4, system(2), item=A("B")), "E->H"),
        line(received(6, 12, system(1)), "H->E"),
        line(received(1, 4, system(1), item=A("C")), "E->H"),
        line(received(1, 6, system(2)), "E->H"),
    ]
    text = made(lines)
    assert steps(text) == [
        "send S1F3, expect S1F4",
        "send S1F3, expect S1F4",
        "send S2F17, expect S2F0",
        "expect S6F11, reply S6F12",
    ]
    assert "send = 'S1F3 W <A \"a\">'\nexpect = 'S1F4 <A \"A\">'" in text
    assert text.count("answers nothing in this log") == 2


def test_a_secondary_with_the_system_bytes_of_another_request_answers_nothing() -> None:
    lines = [
        line(received(1, 3, 1, wait=True), "H->E"),
        line(received(1, 6, 1), "E->H"),
    ]
    assert "S1F6 answers nothing" in made(lines)


def test_a_report_of_stream_9_ends_the_request_that_it_names() -> None:
    header = B(bytes((0, 0, 0x81, 3, 0, 0, 0, 0, 0, 7)))
    lines = [
        line(received(1, 3, 7, wait=True), "H->E"),
        line(received(9, 5, 8, item=header), "E->H"),
        line(received(9, 5, 9, item=header), "E->H"),
        line(received(9, 7, 9, item=L()), "E->H"),
    ]
    assert steps(made(lines)) == ["send S1F3, expect S9F5", "expect S9F5", "expect S9F7"]


def test_a_body_that_is_no_secs_ii_is_left_out() -> None:
    broken = Message(6, 11, body=b"\xff")
    several = Message(6, 11, body=Message(1, 1, item=A("x")).body * 2)
    text = made([line(broken, "E->H"), line(several, "E->H")])
    assert text.count("# The body is no SECS-II: ") == 2
    assert steps(text) == ["expect S6F11", "expect S6F11"]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("it's", "'''\nS10F1\n<A \"it's\">'''"),
        ("'''", '"S10F1\\n<A \\"\'\'\'\\">"'),
    ],
)
def test_quotes_in_a_text(text: str, form: str) -> None:
    written = made([line(Message(10, 1, item=A(text)), "E->H")])
    assert f"expect = {form}\n" in written
    assert steps(written) == ["expect S10F1"]


def test_the_encoding_of_texts_stands_in_the_scenario() -> None:
    message = Message(10, 1, item=A("\u6279".encode("gbk")), text_encoding="gbk")
    text = made([line(message, "E->H")])
    assert '[settings]\ntext_encoding = "gbk"\n' in text
    assert "\u6279" in text
    scenario = parse_scenario(text)
    assert scenario.settings.text_encoding == "gbk"
    [step] = scenario.steps
    assert isinstance(step, Expect)
    assert step.pattern.match(message) == {}


def test_only_numbers_that_always_grow_are_named() -> None:
    lines = [
        line(Message(6, 3, item=L(U4(number), U4(5), A("x"), U4(1, number))), "E->H", number)
        for number in (1, 2, 5)
    ]
    text = made(lines)
    assert text.count("# S6F3: grows: [1]\n") == 3
    assert "looks like" not in text


def test_an_item_that_is_the_whole_body_has_a_name_too() -> None:
    text = made(
        [
            line(Message(2, 17, True), "H->E"),
            line(Message(2, 18, item=A("2026112710000000")), "E->H"),
        ]
    )
    assert "# S2F18: looks like a time: its item" in text


@given(items)
def test_what_was_recorded_is_what_is_expected_and_sent(item: Item) -> None:
    """Whatever an item is, its step can be read, and means this item."""
    message = Message(6, 11, True, item)
    [expected] = parse_scenario(made([line(message, "E->H")])).steps
    [sent] = parse_scenario(made([line(message, "H->E")])).steps
    assert isinstance(expected, Expect)
    assert expected.pattern.match(message) == {}
    assert isinstance(sent, Send)
    assert sent.message.node is not None
    assert fill(sent.message.node, None) == item

"""Reading a scenario: what a good file is, and for each bad one the place and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsms_engine.scenario import parse_scenario, read_scenario
from hsms_engine.scenario.steps import WITHIN, Expect, Repeat, Send, walk
from hsms_engine.secs2 import A
from hsms_engine.toml_file import TomlError

# Nine repeats in each other.
DEEP = (
    "[[step]]\nrepeat = 1\nsteps = [" + "{repeat = 1, steps = [" * 8 + "{wait = 1}" + "]}" * 8 + "]"
)
# A file, and for each problem the beginning of what is told of it.
BAD: list[tuple[str, list[str]]] = [
    (
        "",
        ["1:1: there is no step: write [[step]], and below it send = 'S1F1 W'"],
    ),
    (
        "[scenario]\nname = 'x'\n",
        ["1:1: there is no step: write [[step]], and below it send = 'S1F1 W'"],
    ),
    (
        "[scenario]\nrole = 'tool'\n[[step]]\nwait = 1",
        ["2:8: unknown role 'tool'; there are host, equipment"],
    ),
    (
        "[scenario]\nwithin = 0\n[[step]]\nwait = 1",
        ["2:10: within = 0 is not a number in 0.001..86400"],
    ),
    (
        "[scenario]\nwithn = 3\n[[step]]\nwait = 1",
        ["2:1: unknown key 'withn' in [scenario]; did you mean 'within'?"],
    ),
    (
        "[scenaro]\n[[step]]\nwait = 1",
        ["1:2: unknown key 'scenaro'; did you mean 'scenario'?"],
    ),
    (
        "scenario = 3\n[[step]]\nwait = 1",
        ["1:12: 'scenario' is no table: write [scenario]"],
    ),
    (
        "step = 3",
        ["1:8: 'step' is no array of tables: write [[step]]"],
    ),
    (
        "step = [3]",
        ["1:9: 3 is no table: 'step' is an array of tables, each in { }"],
    ),
    (
        "[step]\nwait = 1",
        ["1:2: 'step' is no array of tables: write [[step]]"],
    ),
    ("[link.a]", ["1:2: this is a file of links: give it with --config FILE"]),
    (
        "[tool]\n[event.1]\n[[rule]]",
        ["1:2: this is the file of a tool: write hsms-engine fake FILE"],
    ),
    (
        "[[step]]\nwait = 1\n[event.1]",
        ["3:2: unknown key 'event'; there are settings, scenario, values, step"],
    ),
    (
        "[[step]]\n",
        ["1:3: step 1 does nothing: it has none of send, expect, wait, save, repeat"],
    ),
    (
        "[[step]]\nname = 'x'",
        ["1:3: step 1 does nothing: it has none of send, expect, wait, save, repeat"],
    ),
    (
        "[[step]]\nwait = 0",
        ["2:8: wait = 0 is not a number in 0.001..86400"],
    ),
    (
        "[[step]]\nwait = true",
        ["2:8: wait = true is not a number in 0.001..86400"],
    ),
    (
        "[[step]]\nwait = nan",
        ["2:8: wait = nan is not a number in 0.001..86400"],
    ),
    (
        "[[step]]\nwait = '1'",
        ["2:8: wait = '1' is text, not a number in 0.001..86400"],
    ),
    (
        "[[step]]\nwait = -1",
        ["2:8: wait = -1 is not a number in 0.001..86400"],
    ),
    (
        "[[step]]\nwait = 1\nsend = 'S1F1 W'",
        [
            (
                "2:1: step 1 has send and wait: make it several steps (only send "
                "and expect go together, for the reply)"
            )
        ],
    ),
    (
        "[[step]]\nwait = 1\nwithin = 1",
        ["3:1: unknown key 'within' in [[step]]; did you mean 'wait'?"],
    ),
    (
        "[[step]]\nwiat = 1",
        ["2:1: unknown key 'wiat' in [[step]]; did you mean 'wait'?"],
    ),
    (
        "[[step]]\nsend = 3",
        ["2:8: send = 3 is not a text: write it in quotes"],
    ),
    (
        "[[step]]\nsend = ''",
        ["2:8: expected a message like S1F13, found the end of the text"],
    ),
    (
        "[[step]]\nsend = 'S1F1 W <L [2] <A \"x\">>'",
        ["2:19: the count is [2], but 1 follow"],
    ),
    (
        "[[step]]\nsend = '''\nS1F1 W\n<L\n  <Q 1>\n>'''",
        ["5:4: expected an item type (L, A, U4, ...), found Q"],
    ),
    (
        "[[step]]\nsend = 'S1F2'",
        [
            (
                "2:8: S1F2 is a secondary: send a primary (odd function); a reply "
                "is the reply of an expect"
            )
        ],
    ),
    (
        "[[step]]\nsend = 'S1F1'\nexpect = 'S1F2'",
        ["3:10: S1F1 has no W, so no reply comes to it"],
    ),
    (
        "[[step]]\nsend = 'S1F1'\nwithin = 1",
        ["3:10: nothing is waited for: the message has no W"],
    ),
    (
        "[[step]]\nsend = 'S1F1 W'\nwithin = 0",
        ["3:10: within = 0 is not a number in 0.001..86400"],
    ),
    (
        "[[step]]\nsend = 'S1F1 W'\nexpect = 'S1F4'",
        [
            (
                "3:10: S1F4 is no reply to S1F1: that is S1F2, or S1F0, which "
                "aborts it, or one of S9F1 to S9F11 that reports it"
            )
        ],
    ),
    (
        "[[step]]\nsend = 'S1F1 W'\nexpect = 'S6F11'",
        [
            (
                "3:10: S6F11 is no reply to S1F1: that is S1F2, or S1F0, which "
                "aborts it, or one of S9F1 to S9F11 that reports it; a primary is "
                "expected in a step of its own"
            )
        ],
    ),
    (
        "[[step]]\nsend = 'S1F1 W'\nexpect = 'S9F13'",
        [
            (
                "3:10: S9F13 is no reply to S1F1: that is S1F2, or S1F0, which "
                "aborts it, or one of S9F1 to S9F11 that reports it; a primary is "
                "expected in a step of its own"
            )
        ],
    ),
    (
        "[[step]]\nsend = 'S1F1 W'\nreply = 'S1F2'",
        [
            (
                "3:1: unknown key 'reply' in [[step]]; there are name, send, "
                "expect, wait, save, repeat, within"
            )
        ],
    ),
    (
        "[[step]]\nsend = 'S1F3 W <L [1] $x>'",
        ["2:23: nothing is bound to $x here; no name is bound before this step"],
    ),
    (
        "[[step]]\nsend = 'S1F3 W $'",
        [
            (
                "2:8: $ is the item of a request, and there is none: give what you "
                "need a name in expect, as in <A $lot>"
            )
        ],
    ),
    (
        "[[step]]\nsend = 'S1F3 W <L [1] ${1001}>'",
        ["2:23: ${1001} is a variable of a tool, and a scenario has none"],
    ),
    (
        "[[step]]\nexpect = 'S6F12'",
        ["2:10: S6F12 is a secondary: expect it in the step that sends its primary"],
    ),
    (
        "[[step]]\nexpect = 'S1F0'",
        ["2:10: S1F0 is a secondary: expect it in the step that sends its primary"],
    ),
    (
        "[[step]]\nexpect = 'S6F11 <L [2] _>'",
        ["2:20: the count is [2], but 1 follow"],
    ),
    (
        "[[step]]\nexpect = 'S6F11 <L [2] <U4 $x> <A $x>>'",
        ["2:10: this never matches: $x stands for two items, and no item is both"],
    ),
    (
        "[[step]]\nexpect = 'S6F11'\nreply = 'S6F14'",
        ["3:9: S6F14 is no reply to S6F11: that is S6F12, or S6F0, which aborts it"],
    ),
    (
        "[[step]]\nexpect = 'S6F11'\nreply = 'S6F12 $other'",
        ["3:16: nothing is bound to $other here; no name is bound before this step"],
    ),
    (
        "[[step]]\nexpect = 'S6F11'\nwithin = 0",
        ["3:10: within = 0 is not a number in 0.001..86400"],
    ),
    (
        "[[step]]\nexpect = 'S6F11'\nwithin = 1e9",
        ["3:10: within = 1000000000.0 is not a number in 0.001..86400"],
    ),
    (
        "[[step]]\nsave = 3",
        ["2:8: 'step.save' is no table: write {...}"],
    ),
    (
        "[[step]]\nsave = {}",
        ["2:8: nothing is saved: write save = {lot = '$reports.1.2'}"],
    ),
    (
        "[[step]]\nsave = {x = '$y'}",
        ["2:13: nothing is bound to $y here; no name is bound before this step"],
    ),
    (
        "[[step]]\nsave = {'a b' = '<A \"x\">'}",
        ["2:9: 'a b' is no name: a letter or _, then letters, digits and _"],
    ),
    (
        "[[step]]\nsave = {x = '$1'}",
        [
            (
                "2:13: $ is the item of a request, and there is none: give what "
                "you need a name in expect, as in <A $lot>"
            )
        ],
    ),
    (
        "[values]\nx = '<A \"x\">'\n[[step]]\nsave = {x = '<A \"y\">'}",
        ["4:9: 'x' is one of [values], which stay as they are"],
    ),
    (
        "[values]\nx = '$y'\n[[step]]\nwait = 1",
        ["2:5: a value of the scenario is plain SML, and refers to nothing"],
    ),
    (
        "[values]\n'1x' = '<A \"x\">'\n[[step]]\nwait = 1",
        ["2:1: '1x' is no name: a letter or _, then letters, digits and _"],
    ),
    (
        "[values]\nx = 3\n[[step]]\nsend = 'S1F1 W $x'",
        ["2:5: x = 3 is not a text: write it in quotes"],
    ),
    (
        "[values]\nlot = '<A \"x\">'\n[[step]]\nsend = 'S1F1 W $lto'",
        ["4:16: nothing is bound to $lto here; did you mean '$lot'?"],
    ),
    (
        "[[step]]\nrepeat = 0\nsteps = [{wait = 1}]",
        ["2:10: repeat = 0 is not a whole number in 1..1000000"],
    ),
    (
        "[[step]]\nrepeat = 1.5\nsteps = [{wait = 1}]",
        ["2:10: repeat = 1.5 is not a whole number in 1..1000000"],
    ),
    (
        "[[step]]\nrepeat = 2",
        ["2:10: it has no steps: write steps = [{send = 'S1F1 W'}]"],
    ),
    (
        "[[step]]\nrepeat = 2\nsteps = []",
        ["2:10: it has no steps: write steps = [{send = 'S1F1 W'}]"],
    ),
    (
        "[[step]]\nrepeat = 2\nsteps = [{wait = 0}, {send = 'S1F1 W $x'}, {}]",
        [
            "3:18: wait = 0 is not a number in 0.001..86400",
            "3:44: step 1.3 does nothing: it has none of send, expect, wait, save, repeat",
        ],
    ),
    (
        "[[step]]\nsteps = [{wait = 1}]",
        [
            (
                "2:1: unknown key 'steps' in [[step]]; there are name, send, "
                "expect, wait, save, repeat"
            )
        ],
    ),
    (
        "[[step]]\nrepeat = 2\nsteps = [{repeat = 2, steps = [{wait = 1, x = 2}]}]",
        [("3:43: unknown key 'x' in 'steps'; there are name, send, expect, wait, save, repeat")],
    ),
    (
        DEEP,
        ["3:174: more than 8 repeats are in each other"],
    ),
    (
        (
            "[[step]]\nexpect = 'S6F11 <L [3] _ <U4 1> $r'\n[[step]]\n"
            "send = 'S1F1 W $r'\n[[step]]\nsend = 'S1F2'"
        ),
        [
            "2:17: this item is never closed",
            (
                "6:8: S1F2 is a secondary: send a primary (odd function); a reply "
                "is the reply of an expect"
            ),
        ],
    ),
    (
        "[[step]\nwait = 1",
        ["1:7: not valid TOML: Expected ']]' at the end of an array declaration"],
    ),
]


@pytest.mark.parametrize(("text", "problems"), BAD)
def test_a_bad_file_is_told_with_its_places(text: str, problems: list[str]) -> None:
    with pytest.raises(TomlError) as caught:
        parse_scenario(text, "s.toml")
    told = [str(each) for each in caught.value.problems]
    assert len(told) == len(problems)
    for one, begins in zip(told, problems, strict=True):
        assert one.startswith(f"s.toml:{begins}"), one


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TomlError, match=r"^cannot read .*none\.toml: No such file"):
        read_scenario(tmp_path / "none.toml")


def test_what_is_left_out_has_a_default() -> None:
    scenario = parse_scenario("[[step]]\nexpect = 'S6F11'", "a/start-up.toml")
    assert (scenario.name, scenario.role) == ("start-up", "host")
    assert scenario.peer_within is None
    assert not scenario.settings.is_equipment
    [step] = scenario.steps
    assert isinstance(step, Expect)
    assert (step.within, step.reply, step.is_answered) == (WITHIN, None, True)
    assert step.where == "a/start-up.toml:1"


def test_what_is_written_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "lot.toml"
    file.write_text(
        """
[scenario]
name = "a lot"
role = "equipment"
within = 3
peer_within = 1.5

[settings]
t3 = 5
session_id = 7

[values]
lot = '<A "LOT-1">'

[[step]]
name = "wait for the host"
expect = 'S2F41 W'
reply = 'S2F42 <L [2] <B 0> <L [0]>>'

[[step]]
repeat = 3
steps = [{send = 'S6F11 W <L [3] <U4 1> <U4 101> <L [1] $lot>>', within = 2}, {wait = 1}]
""",
        encoding="utf-8",
    )
    scenario = read_scenario(file)
    assert (scenario.name, scenario.role, scenario.peer_within) == ("a lot", "equipment", 1.5)
    assert (scenario.settings.t3, scenario.settings.session_id) == (5, 7)
    assert scenario.settings.is_equipment
    assert scenario.values == {"lot": A("LOT-1")}
    assert [f"{step.number} {step.name}: {step}" for step in walk(scenario.steps)] == [
        "1 wait for the host: expect S2F41, reply S2F42",
        "2 None: repeat 3 times",
        "2.1 None: send S6F11",
        "2.2 None: wait 1 s",
    ]
    expect, repeat = scenario.steps
    assert isinstance(expect, Expect)
    assert expect.within == 3
    assert isinstance(repeat, Repeat)
    send, _ = repeat.steps
    assert isinstance(send, Send)
    assert (send.within, send.expect) == (2, None)


def test_steps_are_told_by_what_they_do() -> None:
    scenario = parse_scenario(
        """
step = [
  {send = 'S1F1 W', expect = 'S1F2 $about'},
  {save = {a = '$about', b = '$about.1'}},
  {expect = 'S6F11', reply = "none"},
  {expect = 'S6F11'},
]
"""
    )
    assert [str(step) for step in scenario.steps] == [
        "send S1F1, expect S1F2",
        "save a, b",
        "expect S6F11, no reply",
        "expect S6F11",
    ]


def test_text_is_in_the_encoding_of_the_settings() -> None:
    text = "[settings]\ntext_encoding = 'gbk'\n[values]\nlot = '<A \"\u6279\">'\n[[step]]\nwait = 1"
    assert parse_scenario(text).values == {"lot": A("\u6279".encode("gbk"))}
    with pytest.raises(TomlError, match=r"^<scenario>:2:"):
        parse_scenario(text.removeprefix("[settings]\ntext_encoding = 'gbk'\n"))

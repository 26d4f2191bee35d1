"""Rules of a tool file: what is read, and what is said of that which cannot be meant."""

from __future__ import annotations

import pytest

from hsms_engine.fake.behaviours import KNOWN
from hsms_engine.fake.model import Event, Model
from hsms_engine.fake.rules import checks
from hsms_engine.fake.rules.reading import read_rules
from hsms_engine.fake.rules.reading_steps import DEEPEST
from hsms_engine.fake.rules.rule import Rule
from hsms_engine.fake.rules.steps import AddValue, SetValue
from hsms_engine.secs2 import BOOLEAN, F4, U4, A
from hsms_engine.toml_file import Problem, TomlError, parse
from tests.support.staged import MODEL, Recorded

ON = "on = 'S2F41 W <L [2] <A \"START\"> <L $params>>'\n"


def read(text: str) -> tuple[Rule, ...]:
    return read_rules(parse(text, "tool.toml").table, MODEL)


def problems(text: str) -> list[str]:
    with pytest.raises(TomlError) as caught:
        read(text)
    return str(caught.value).replace("tool.toml:", "").split("\n")


def then(steps: str) -> list[str]:
    """The problems of the steps of a rule; the places count from the first character of these."""
    found = problems(f"[[rule]]\n{ON}reply = 'none'\nthen = [\n{steps}\n]")
    return [f"{int(line) - 4}:{rest}" for line, _, rest in (each.partition(":") for each in found)]


# A repeat in a repeat, with a choice that does not always wait.
REPEATED = (
    "{repeat = 101, steps = [{repeat = 100, steps = [{heal = true}]}, "
    "{choose = [[{heal = true}], [{wait = 1}]]}]}"
)
PAGE = """
[[rule]]
name = "start"
on = 'S2F41 W <L [2] <A "START"> <L $params>>'
when = 'not ${IsOpen} and (count <= 2 or ${1001} == 25 or $params.1.2 > 3)'
times = 3
reply = 'S2F42 <L [2] <B 4> <L [0]>> .'
then = [
    {wait = 2.0},
    {wait = [1, 3]},
    {set = {1001 = '<U4 7>', Recipe = '$params.1.1', IsOpen = true, 1005 = 2}},
    {add = {Wafers = -1, Pressure = 0.5}},
    {event = "Started"}, {event = 102},
    {alarm = 5001}, {clear = "5001"},
    {send = 'S10F1 W <L [2] <B 0> <A "hello">>'},
    {fault = "delay-replies=0.5"}, {heal = true}, {separate = true},
    {repeat = 3, steps = [{event = 101}, {choose = [[{wait = 1}], [{heal = true}]]}]},
    {stop = "start"}, {stop = "rule 4"},
]

[[rule]]
on = 'S2F41 W'
reply = ["S2F42 <L [2] <B 1> <L [0]>>", "S2F0", "none"]

[[rule]]
every = 5
then = [{set = {1001 = '${Limit}'}}]

[[rule]]
after = [0.5, 1.5]
then = [{send = 'S6F11 W <L [3] <U4 0> ${1001} <L [0]>>'}]

[[rule]]
event = 101
then = [{wait = 1}, {event = 101}]

[[rule]]
changed = "Wafers"
when = '${Wafers} < 25'
then = [{add = {1001 = 1}}]
"""


def test_a_file_of_rules_is_read() -> None:
    assert [str(each) for each in read(PAGE)] == [
        (
            'start: on S2F41 W <L [2] <A "START"> <L $params>>; '
            "when not ${IsOpen} and (count <= 2 or ${1001} == 25 or $params.1.2 > 3); "
            "at most 3 times; reply S2F42 <L [2] <B 0x04> <L [0]>>; then wait 2 s, wait 1 to 3 s, "
            "set 1001 to <U4 7>, set 1002 to $params.1.1, set 1003 to <BOOLEAN T>, "
            "set 1005 to <F4 2.0>, add -1 to 1001, add 0.5 to 1005, event 101, event 102, "
            'alarm 5001, clear 5001, send S10F1 W <L [2] <B 0x00> <A "hello">>, '
            "fault delay-replies=0.5, heal, separate, "
            "3 times (event 101, one of (wait 1 s), (heal)), stop 'start', stop 'rule 4'"
        ),
        "rule 2: on S2F41 W; reply S2F42 <L [2] <B 0x01> <L [0]>> or S2F0 or none",
        "rule 3: every 5 s; then set 1001 to ${Limit}",
        "rule 4: after 0.5 to 1.5 s; then send S6F11 W <L <U4 0> ${1001} <L [0]>>",
        "rule 5: event 101; then wait 1 s, event 101",
        "rule 6: changed 1001; when ${Wafers} < 25; then add 1 to 1001",
    ]


def test_values_take_the_format_of_their_variable() -> None:
    steps = read(PAGE)[0].steps
    values = {step.vid: step.node for step in steps if isinstance(step, SetValue)}
    assert (values[1001], values[1003], values[1005]) == (U4(7), BOOLEAN(True), F4(2))
    amounts = [step.amount for step in steps if isinstance(step, AddValue)]
    assert [(each, type(each)) for each in amounts] == [(-1, int), (0.5, float)]


def test_what_is_read_works() -> None:
    stage = Recorded(read(PAGE))
    text = 'S2F41 W <L [2] <A "START"> <L [1] <L [2] <A "SLOTS"> <U1 7>>>> .'
    assert stage.receive(text) == "S2F42 <L [2] <B 0x04> <L [0]> > ."
    stage.at(2.0)
    stage.at(5.0)
    assert stage.model.value("Recipe") == A("SLOTS")
    assert stage.told == []


def test_a_file_that_is_read_twice_has_equal_rules() -> None:
    assert read(PAGE) == read(PAGE)
    assert read(PAGE)[1:] == read(PAGE.replace("count <= 2", "count <= 3"))[1:]
    assert read(PAGE)[0] != read(PAGE.replace("count <= 2", "count <= 3"))[0]


def test_a_file_without_rules_has_none() -> None:
    assert read("") == ()


def test_a_behaviour_that_needs_no_argument_is_read_without() -> None:
    for name, known in KNOWN.items():
        if known.read is None and name != "answer-everything":
            [rule] = read(f"[[rule]]\nevery = 1\nthen = [{{fault = '{name}'}}]")
            assert str(rule).endswith(f"fault {name}")


# What is wrong with a rule


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("reply = 'S1F2'", "1:3: this rule waits for nothing: give it on = '(a pattern)', event ="),
        (
            "event = 101\non = 'S1F1'\nthen = [{heal = true}]",
            "2:1: this rule waits for on already: make another rule for event; a step is in then",
        ),
        (
            "event = 101\nevery = 5\nthen = [{heal = true}]",
            "2:1: this rule waits for every already: make another rule for event; a step is in",
        ),
        (
            "changed = 1001\nevery = 5\nthen = [{heal = true}]",
            "3:1: this rule waits for changed already: make another rule for every",
        ),
        (
            ON + "reply = 'S2F42'\nset = {1001 = 5}",
            "4:1: 'set' is a step: write then = [{set = ...}]",
        ),
        ("on = 5\nreply = 'S1F2'", "2:6: on = 5 is not a text: write it in quotes"),
        ("on = ''\nreply = 'S1F2'", "2:6: "),
        ("on = 'S1F1 W <A'\nreply = 'S1F2'", "2:"),
        ("on = 'S1F1 W\n <A 5 x>'\nreply = 'S1F2'", "2:13: not valid TOML: "),
        ("on = '''S1F1 W\n <Q>'''\nreply = 'S1F2'", "3:"),
        ("on = 'S1F2 <A>'\nthen = [{heal = true}]", "2:6: S1F2 is no primary, which is what a rul"),
        ("on = 'S1F0'\nthen = [{heal = true}]", "2:6: S1F0 is no primary"),
        (
            "on = 'S1F1 <L <U4 $x> <A $x>>'\nthen = [{heal = true}]",
            "2:6: no message matches this: ",
        ),
        (ON + "reply = 'S2F44'", "3:9: S2F44 is no reply to S2F41: that is S2F42 or S2F0"),
        (ON + "reply = 'S1F42'", "3:9: S1F42 is no reply to S2F41: that is S2F42 or S2F0"),
        (ON + "reply = ['none', 'S2F41']", "3:18: S2F41 is no reply to S2F41: that is S2F42 or"),
        ("on = 'S2F255 W'\nreply = 'S2F255'", "3:9: S2F255 is no reply to S2F255: that is S2F0"),
        (ON + "reply = 'S2F42 W'", "3:16: S2F42 has an even function: no W"),
        (ON + "reply = []", "3:9: no reply is 'none'; without reply, who comes next answers"),
        (ON + "reply = 5", "3:9: reply = 5 is not a text: write it in quotes"),
        (ON + "reply = ['none', 5]", "3:18: reply = 5 is not a text: write it in quotes"),
        (ON + "reply = ' None'", "3:9: no reply is 'none'"),
        (ON + "reply = 'S2F42 <B'", "3:"),
        (ON + "reply = 'S2F42 <L $params $nothing>'", "3:27: nothing is bound to $nothing; there "),
        (ON + "reply = 'S2F42 $param'", "3:16: nothing is bound to $param; did you mean 'params'?"),
        (ON + "reply = 'S2F42 ${1001} ${12}'", "3:"),
        (ON + "reply = 'S2F42 <L $params $par>'", "3:27: nothing is bound to $par; did you mean"),
        (ON + "reply = 'S2F42 <L ${1001} ${12}>'", "3:27: no variable 12; did you mean '1002'?"),
        (
            ON + "reply = 'S2F42 $Wafers'",
            "3:16: nothing is bound to $Wafers; the variable is ${Waf",
        ),
        (
            ON + "reply = 'S2F42'\nwhen = '$Wafers == 5'",
            "4:8: nothing is bound to $Wafers; the var",
        ),
        (ON + "reply = 'S2F42 ${Waferz}'", "3:16: no variable Waferz; did you mean 'Wafers'?"),
        (
            "on = 'S2F41 <A $x>'\nreply = 'S2F42'",
            "2:6: only a primary with W gets a reply: write S2F41 W, or leave out reply",
        ),
        (
            "event = 101\nreply = 'S2F42'",
            "3:1: only a rule with 'on' has a message to reply to: send is a step",
        ),
        (ON, "1:3: this rule does nothing: give it reply or then"),
        (ON + "then = []", "1:3: this rule does nothing: give it reply or then"),
        (ON + "reply = 'S2F42'\nname = 7", "4:8: name = 7 is not a text: write it in quotes"),
        (ON + "reply = 'S2F42'\nname = ''", "4:8: a name is of printable characters, and"),
        (
            ON + f"reply = 'S2F42'\nname = '{'x' * 61}'",
            "4:69: name has 61 characters; it may have ",
        ),
        (ON + "reply = 'S2F42'\nname = \"a\\nb\"", "4:8: a name is of printable characters, and"),
        (
            ON + "reply = 'S2F42'\nwehn = 'count == 1'",
            "4:1: unknown key 'wehn' in [[rule]]; did you",
        ),
        (ON + "reply = 'S2F42'\nthem = []", "4:1: unknown key 'them' in [[rule]]; did you mean"),
        (
            ON + "reply = 'S2F42'\ntimes = 0",
            "4:9: times = 0 is not a whole number in 1..1000000000",
        ),
        (ON + "reply = 'S2F42'\nwhen = 5", "4:8: when = 5 is not a text: write it in quotes"),
        (ON + "reply = 'S2F42'\nwhen = 'count = 5'", "4:15: two values are compared with =="),
        (ON + "reply = 'S2F42'\nwhen = '''count == 3\nand $x == 5'''", "5:5: nothing is bound to"),
        (
            ON + "reply = 'S2F42'\nwhen = '${Slots} == 5'",
            "4:8: variable 1004 (Slots) is a list: a c",
        ),
        (
            ON + "reply = 'S2F42'\nwhen = '${Recipe} == 5'",
            "4:19: ${Recipe} is a text, and 5 is a n",
        ),
        (ON + "reply = 'S2F42'\nwhen = '${Map} == 5'", ""),
        (ON + "reply = 'S2F42'\nwhen = '${9} == 5'", "4:8: no variable 9; there are Wafers, Recip"),
        (
            "every = 1\nwhen = '$x == 5'\nthen = [{heal = true}]",
            "3:8: nothing is bound to $x: a pat",
        ),
        ("event = 7\nthen = [{heal = true}]", "2:9: no event 7; there are Started, Ended"),
        (
            "event = true\nthen = [{heal = true}]",
            "2:9: event is an id, which is a number or a text",
        ),
        ("event = 1.5\nthen = [{heal = true}]", "2:9: event is an id, which is a number or a text"),
        ("changed = 'X'\nthen = [{heal = true}]", "2:11: no variable X; there are Wafers"),
        (
            "changed = 'Clock'\nthen = [{heal = true}]",
            "2:11: a clock changes all the time: use every",
        ),
        ("every = 0\nthen = [{heal = true}]", "2:9: every = 0 is not a number in 0.001..86400"),
        (
            "every = '5 s'\nthen = [{heal = true}]",
            "2:9: every = '5 s' is text, not a number in 0.0",
        ),
        ("after = nan\nthen = [{heal = true}]", "2:9: after = nan is not a number in 0.001..86400"),
        (
            "after = true\nthen = [{heal = true}]",
            "2:9: after = true is not a number in 0.001..86400",
        ),
        (
            "after = [1]\nthen = [{heal = true}]",
            "2:9: seconds are a number or two, the shortest and",
        ),
        ("after = [3, 1]\nthen = [{heal = true}]", "2:9: the shortest is first: after = [1, 3]"),
        ("after = [1, 'x']\nthen = [{heal = true}]", "2:13: after = 'x' is text, not a number in"),
        (
            "every = 1\nthen = {heal = true}",
            "3:8: 'then' is no array of tables: write [{...}, {...}]",
        ),
        (
            "every = 1\nthen = ['heal']",
            "3:9: 'heal' is no table: 'then' is an array of tables, each",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_its_place(rule: str, expected: str) -> None:
    if not expected:
        read(f"[[rule]]\n{rule}")
        return
    [problem] = problems(f"[[rule]]\n{rule}")
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("{}", "1:1: this step does nothing; there are wait, set, add, event, alarm, clear, send"),
        ("{wiat = 2}", "1:2: unknown step 'wiat'; did you mean 'wait'?"),
        ("{steps = []}", "1:2: how often? write {repeat = 3, steps = [{...}]}"),
        (
            "{wait = 2, event = 101}",
            "1:12: a step does one thing: write {wait = ...}, {event = ...}",
        ),
        ("{wait = 2, then = []}", "1:12: unknown key 'then' in 'then'"),
        ("{wait = -1}", "1:9: wait = -1 is not a number in 0.001..86400"),
        ("{wait = '2'}", "1:9: wait = '2' is text, not a number in 0.001..86400"),
        ("{event = 104}", "1:10: no event 104; did you mean '103'?"),
        ("{event = 'Startet'}", "1:10: no event Startet; did you mean 'Started'?"),
        ("{alarm = 7}", "1:10: no alarm 7; there are 5001, 5002"),
        ("{clear = true}", "1:10: clear is an id, which is a number or a text"),
        ("{set = 5}", "1:8: 'rule.then.set' is no table: write {...}"),
        ("{set = {}}", "1:8: which variable? write {set = {1001 = ...}}"),
        ("{set = {9 = 1}}", "1:9: no variable 9; there are Wafers"),
        ("{set = {Clock = '<A>'}}", "1:9: variable 1007 (Clock) has source 'clock': nobody else"),
        ("{set = {1001 = []}}", "1:16: a value is a text with an item as SML, a number, true or"),
        ("{set = {1001 = 26}}", "1:16: variable 1001 (Wafers): 26 is not"),
        ("{set = {1001 = -1}}", "1:16: variable 1001 (Wafers): "),
        ("{set = {1001 = true}}", "1:16: variable 1001 (Wafers) is U4, not bool True"),
        ("{set = {1001 = 1.5}}", "1:16: variable 1001 (Wafers) is U4, not float 1.5"),
        (
            "{set = {1001 = '<U2 1>'}}",
            "1:16: variable 1001 (Wafers) is U4, not U2; a plain number takes its format: write 1",
        ),
        ("{set = {1001 = '<U4 1> <U4 2>'}}", "1:24: "),
        ("{set = {1001 = '<U4 x>'}}", "1:21: "),
        ("{set = {1001 = '7'}}", "1:16: a value as text is an item in SML: write '<U4 7>'"),
        ("{set = {1001 = 'U4 7'}}", "1:16: a value as text is an item in SML: write '<U4 7>'"),
        ("{set = {1001 = '-'}}", "1:16: a value as text is an item in SML: write '<U4>'"),
        ("{set = {1001 = ''}}", "1:16: a value as text is an item in SML: write '<U4>'"),
        (
            "{set = {1002 = 'LOT-7'}}",
            "1:16: a value as text is an item in SML: write '<A \"LOT-7\">'",
        ),
        ("{set = {1004 = '<L $x>'}}", "1:20: nothing is bound to $x; there are params"),
        ("{set = {1004 = '<L ${x}>'}}", "1:20: no variable x; there are Wafers"),
        ("{add = {1001 = '1'}}", "1:16: 1001 = '1' is text, not a number in "),
        ("{add = {1001 = 0}}", "1:16: to add 0 changes nothing"),
        ("{add = {1001 = 0.5}}", "1:16: variable 1001 (Wafers) is U4: add a whole number"),
        ("{add = {1002 = 1}}", "1:16: variable 1002 (Recipe) is not one number: nothing can be"),
        ("{add = {1003 = 1}}", "1:16: variable 1003 (IsOpen) is not one number"),
        ("{add = {1006 = 1}}", "1:16: variable 1006 (Map) is not one number"),
        ("{send = 'S10F2'}", "1:9: S10F2 is a reply, which is what reply is for: a step sends"),
        ("{send = 'S10F0'}", "1:9: S10F0 is a reply"),
        ("{send = 'hello'}", "1:"),
        ("{send = 'S1F1 $x'}", "1:15: nothing is bound to $x; there are params"),
        ("{fault = 'cut-mid-fram'}", "1:10: unknown behaviour 'cut-mid-fram'; did you mean 'cut-m"),
        ("{fault = 'delay-replies=x'}", "1:10: delay-replies=x is not a number of seconds in"),
        ("{fault = 'answer-everything'}", "1:10: this ends misbehaviour, as {heal = true} does"),
        ("{heal = false}", "1:9: write {heal = true}, or leave the step out"),
        ("{separate = 1}", "1:13: separate = 1 is not true or false"),
        ("{repeat = 0, steps = [{heal = true}]}", "1:11: repeat = 0 is not a whole number in 1.."),
        ("{repeat = 3}", "1:1: what is to be repeated? write {repeat = 3, steps = [{...}]}"),
        ("{repeat = 3, steps = []}", "1:1: what is to be repeated? write"),
        ("{repeat = 10001, steps = [{heal = true}]}", "1:11: these are 10001 steps without a wait"),
        (
            REPEATED,
            "1:11: these are 10201 steps without a wait between them, and 10000 are allowed: put a",
        ),
        ("{choose = []}", "1:11: there is no choice: write [[{...}], [{...}]]"),
        ("{choose = [[{heal = true}]]}", "1:11: there is no choice: write [[{...}], [{...}]]"),
        ("{choose = [{heal = true}, [{heal = true}]]}", "1:12: each choice is an array of steps"),
        ("{choose = [[{heal = true}], [{heel = true}]]}", "1:31: unknown step 'heel'; did you mea"),
        ("{stop = 'other'}", "1:9: no rule has the name 'other'; there are rule 1"),
    ],
)
def test_a_step_that_cannot_be_meant_is_refused_with_its_place(steps: str, expected: str) -> None:
    [problem] = then(steps)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ("{set = {1001 = '<U2 99>'}}", "1:16: variable 1001 (Wafers) is U4, not U2"),
        ("{set = {1001 = '<U2 1 2>'}}", "1:16: variable 1001 (Wafers) is U4, not U2"),
        ("{set = {1001 = '<A \"1\">'}}", "1:16: variable 1001 (Wafers) is U4, not A"),
    ],
)
def test_a_plain_number_is_no_advice_where_it_does_not_fit(steps: str, problem: str) -> None:
    assert then(steps) == [problem]


def test_what_is_no_table_hides_no_other_step_and_no_other_rule() -> None:
    found = then("'wait 2', {wiat = 2}, 7, {event = 7}")
    assert [each.partition(": ")[0] for each in found] == ["1:1", "1:12", "1:23", "1:35"]
    found = problems("rule = [5, {every = 0}, {after = 0}]")
    assert [each.partition(": ")[0] for each in found] == ["1:9", "1:21", "1:34"]


def test_steps_are_nested_so_deep_and_no_deeper() -> None:
    def nested(depth: int) -> str:
        inner = "{heal = true}"
        for _ in range(depth - 1):
            inner = f"{{repeat = 2, steps = [{inner}]}}"
        return f"[[rule]]\nevery = 1\nthen = [{inner}]"

    read(nested(DEEPEST))
    [problem] = problems(nested(DEEPEST + 1))
    assert problem.endswith(": steps are nested more than 8 deep")
    [problem] = problems(nested(100))
    assert problem.endswith(": steps are nested more than 8 deep")


def test_a_positional_reference_needs_a_message() -> None:
    text = "[[rule]]\nevery = 1\nthen = [{set = {1004 = '<L ${1001} $1.2>'}}]"
    assert problems(text) == ["3:36: only a rule with 'on' has a message to refer to"]


def test_all_problems_of_all_rules_are_told() -> None:
    text = f"""
[[rule]]
{ON}when = 'count = 1'
reply = 'S1F2'
times = -1
then = [{{wiat = 1}}, {{event = 7}}, {{choose = [[{{x = 1}}], [{{y = 1}}]]}}]
other = 5

[[rule]]
on = 'S1F1 <'
reply = 'S1F4 $x'
then = [{{set = {{1001 = '$y'}}}}]

[[rule]]
name = "rule 1"
every = 'x'
when = '$x == 1 and'
"""
    assert [each.partition(": ")[0] for each in problems(text)] == [
        "4:15",
        "5:9",
        "6:9",
        "7:10",
        "7:30",
        "7:47",
        "7:58",
        "8:1",
        "11:13",
        "16:8",
        "17:9",
        "18:20",
    ]


def test_a_name_is_that_of_one_rule() -> None:
    rule = "[[rule]]\nevery = 1\nthen = [{heal = true}]\n"
    text = f'{rule}name = "a"\n{rule}{rule}name = "a"\n{rule}name = "rule 2"\n'
    why = "is the name of the rule number"
    assert problems(text) == [
        f"11:8: 'a' {why} 1 too: give it another",
        f"15:8: 'rule 2' {why} 2 too: give it another",
    ]
    assert problems(f'{rule}name = "rule 2"\n{rule}') == [
        f"5:3: 'rule 2' {why} 1 too: give it another"
    ]


def test_what_is_not_as_e5_has_it_is_in_doubt() -> None:
    doubts: list[Problem] = []
    text = """[[rule]]
on = 'S2F41 W <L [2] <A "START"> <A $x>>'
reply = ["S2F42 <B 4>", "S2F42 <L [2] <B 4> <L [0]>>", "S2F0", "none", "S2F42 $x"]
then = [{send = "S6F11 <L [3] <U4 0> <U4 1> <L [0]>>"}, {send = "S65F1 W"}, {send = "S1F1 W <A>"}]
"""
    assert len(read_rules(parse(text + PAGE, "tool.toml").table, MODEL, doubt=doubts.append)) == 7
    assert [str(each).removeprefix("tool.toml:") for each in doubts] == [
        "2:6: S2F41[2]: E5 has L, the pattern <A $x>",
        "3:10: S2F42 .item: expected L, got B",
        "4:85: S1F1 .item: expected only a header, got A",
    ]


@pytest.mark.parametrize(
    ("text", "doubted"),
    [
        ('<A "Lot $params">', "$params"),
        ('<L <A "$params.1"> $params <A "${Wafers} and ${1002}">>', "$params ${Wafers} ${1002}"),
        ("<A '$params'>", "$params"),
        ('<A "$ 5, $, $7, $nothing, ${nothing}, ${}">', ""),
        ("$params", ""),
        ('<L $params <A "x"> ${Wafers} <A "y">>', ""),
    ],
)
@pytest.mark.parametrize("where", ["reply", "send", "set"])
def test_a_reference_in_quotes_is_in_doubt(text: str, doubted: str, where: str) -> None:
    doubts: list[Problem] = []
    lines = {
        "reply": 'reply = """S2F42 {}"""',
        "send": 'then = [{{send = """S65F1 {}"""}}]',
        "set": 'then = [{{set = {{Recipe = """{}"""}}}}]',
    }
    rule = f"[[rule]]\n{ON}" + lines[where].format(text)
    read_rules(parse(rule, "tool.toml").table, MODEL, doubt=doubts.append)
    doubts = [each for each in doubts if "in quotes" in each.problem]
    names = [each.problem.partition(" ")[0] for each in doubts]
    assert names == [each for each in doubted.split() if each[0] == "$"]
    lines_of_rule = rule.split("\n")
    assert all(
        lines_of_rule[each.line - 1][each.column - 1 :].startswith(name)
        for each, name in zip(doubts, names, strict=True)
    )


# Without a model


def test_without_a_model_all_is_told_that_needs_none() -> None:
    text = f"""
[[rule]]
{ON}when = '${{9}} == 1 and $x == 5'
then = [{{set = {{8 = 5, 9 = '<U4>', 10 = '<A'}}}}, {{event = 7}}, {{alarm = 7}}]

[[rule]]
changed = 7
then = [{{add = {{9 = 1, 10 = '1'}}}}, {{send = 'S1F1 ${{9}}'}}, {{wait = 0}}, {{stop = 'x'}}]
"""
    with pytest.raises(TomlError) as caught:
        read_rules(parse(text, "tool.toml").table, None)
    assert [str(each).partition(": ")[2] for each in caught.value.problems] == [
        "nothing is bound to $x; there are params",
        "this item is never closed",
        "10 = '1' is text, not a number in -1.84467e+19..1.84467e+19",
        "wait = 0 is not a number in 0.001..86400",
        "no rule has the name 'x'; there are rule 1, rule 2",
    ]


def test_without_a_model_there_are_no_rules() -> None:
    assert read_rules(parse(PAGE, "tool.toml").table, None) == ()
    text = "[[rule]]\nevent = 'x'\nthen = [{set = {9 = '<A \"\u6e29\">'}}]"
    assert read_rules(parse(text, "tool.toml").table, None, "gbk") == ()


# What is wrong with rules together


def unreached(*patterns: str) -> list[str]:
    rules = [f"[[rule]]\non = '{each}'\nthen = [{{heal = true}}]\n" for each in patterns]
    text = "".join(rules)
    try:
        read(text)
    except TomlError as error:
        return [f"{each.line // 3 + 1}: {each.problem.split(':')[0]}" for each in error.problems]
    return []


def test_a_rule_that_is_never_reached_is_told() -> None:
    why = "this rule is never reached"
    start = 'S2F41 W <L [2] <A "START"> _>'
    assert unreached("S2F41 W", start) == [f"2: {why}"]
    assert unreached(start, "S2F41 W", start, "S2F41 W", "S2F41") == [f"3: {why}", f"4: {why}"]
    assert unreached("S2F41 <L [2] _ _>", start) == [f"2: {why}"]
    assert unreached("S1F1", "S1F3", start, start.replace("START", "STOP"), "S2F41") == []


def test_a_rule_with_the_pattern_and_condition_of_one_before_it_is_never_reached() -> None:
    rule = "[[rule]]\non = 'S1F3 $x'\nwhen = '%s'\nthen = [{heal = true}]\n"
    [problem] = problems(rule % "$x == 5" + "name = 'five'\n" + rule % "$x == 5")
    assert problem == (
        "7:6: this rule is never reached: 'five' before it has the same pattern and when: give one "
        "of them another when, or the other one times"
    )
    for first, second in (
        (rule % "$x == 5", rule % "$x == 6"),
        (rule % "$x == 5" + "times = 3\n", rule % "$x == 5"),
        (rule % "$x == 5 or count > 3", rule % "$x == 5 or count > 3"),
        (rule % "$x == 5", rule.replace("S1F3", "S1F3 W") % "$x == 5"),
    ):
        read(first + second)


def test_the_rule_that_takes_all_is_named_with_the_remedy() -> None:
    rule = "[[rule]]\non = 'S1F1'\nthen = [{heal = true}]\n"
    [problem] = problems(f"{rule}name = 'all'\n{rule}")
    assert problem == (
        "6:6: this rule is never reached: 'all' before it takes each message that this one matches:"
        " put this one first, or give the other one a when or times"
    )
    for remedy in ("when = 'count == 1'", "times = 1"):
        assert len(read(f"{rule}{remedy}\n{rule}")) == 2


def endless(*rules: str) -> list[str]:
    text = "".join(f"[[rule]]\n{each}\n" for each in rules)
    try:
        read(text)
    except TomlError as error:
        return [f"{each.line}: {each.problem}" for each in error.problems]
    return []


STARTS_ITSELF = "this rule starts itself again"
REMEDY = ", and no time passes: put a {wait = (seconds)} first, or give it a when or times"


@pytest.mark.parametrize(
    "steps",
    [
        "{set = {1001 = 1}}, {set = {1001 = 2}}",
        "{set = {1001 = 1}}, {choose = [[{heal = true}], [{set = {1001 = 2}}]]}",
        "{set = {1001 = 1}}, {wait = 1}, {repeat = 2, steps = [{set = {1001 = 2}}]}",
        "{set = {1001 = 1}}, {wait = 1}, {add = {1001 = 1}}",
        "{set = {1001 = '${1001}'}}",
        "{add = {Wafers = 1}}",
        "{heal = true}, {add = {1001 = 1}}, {wait = 1}",
        "{repeat = 2, steps = [{add = {1001 = 1}}]}",
        "{repeat = 2, steps = [{add = {1001 = 1}}, {wait = 1}]}",
        "{choose = [[{add = {1001 = 1}}], [{add = {1001 = 2}}, {wait = 1}]]}",
        "{choose = [[{wait = 1}], [{heal = true}]]}, {add = {1001 = 1}}",
    ],
)
def test_a_rule_that_starts_itself_is_told(steps: str) -> None:
    assert endless(f"changed = 1001\nthen = [{steps}]") == [f"3: {STARTS_ITSELF}{REMEDY}"]


@pytest.mark.parametrize(
    "rule",
    [
        "changed = 1001\nthen = [{set = {1005 = 1}}]",
        "changed = 1001\nthen = [{wait = 1}, {set = {1001 = 1}}]",
        "changed = 1001\nthen = [{set = {1001 = 1}}, {set = {1001 = '<U4 1>'}}]",
        "changed = 1001\ntimes = 5\nthen = [{set = {1001 = 1}}]",
        "changed = 1001\nwhen = '${1001} < 5'\nthen = [{add = {1001 = 1}}]",
        "changed = 1001\nthen = [{choose = [[{add = {1001 = 1}}], [{heal = true}]]}]",
        "changed = 1001\nthen = [{repeat = 2, steps = [{wait = 1}]}, {add = {1001 = 1}}]",
        "changed = 1001\nname = 'a'\nthen = [{stop = 'a'}, {add = {1001 = 1}}]",
        "event = 102\nthen = [{alarm = 5001}]",
        "event = 103\nthen = [{clear = 5001}, {alarm = 5002}]",
        "on = 'S1F1'\nthen = [{send = 'S1F1 W'}]",
    ],
)
def test_a_rule_that_may_end_is_no_problem(rule: str) -> None:
    assert endless(rule) == []


def test_rules_that_start_each_other_are_told_once() -> None:
    assert endless(
        "event = 'Ended'\nthen = [{set = {1005 = 1}}, {event = 101}]",
        "changed = 1001\nname = 'b'\nthen = [{alarm = 5001}]",
        "event = 103\nthen = [{event = 'Ended'}]",
        "event = 101\nthen = [{heal = true}, {add = {1001 = 1}}]",
        "event = 103\nthen = [{event = 103}]",
    ) == [
        f"3: {STARTS_ITSELF} by way of 'rule 4', 'b', 'rule 3'{REMEDY}",
        f"16: {STARTS_ITSELF}{REMEDY}",
    ]


def test_a_long_circle_is_told_in_short() -> None:
    rules = [
        "event = 101\nthen = [{event = 102}]",
        "event = 102\nthen = [{event = 103}]",
        "event = 103\nthen = [{add = {1001 = 1}}]",
        "changed = 1001\nthen = [{set = {1005 = '${1001}'}}]",
        "changed = 1005\nthen = [{event = 101}]",
    ]
    assert endless(*rules) == [
        f"3: {STARTS_ITSELF} by way of 'rule 2', 'rule 3', 'rule 4' and 1 more{REMEDY}"
    ]


def test_a_rule_that_starts_itself_in_two_ways_is_told_once() -> None:
    assert endless(
        "event = 101\nthen = [{event = 102}, {event = 103}]",
        "event = 102\nthen = [{event = 101}]",
        "event = 103\nthen = [{event = 101}]",
    ) == [f"3: {STARTS_ITSELF} by way of 'rule 2'{REMEDY}"]


def test_a_circle_has_only_the_rules_that_are_in_it() -> None:
    assert endless(
        "event = 101\nthen = [{event = 102}]",
        "event = 102\nthen = [{heal = true}]",
        "event = 101\nthen = [{event = 101}]",
    ) == [f"9: {STARTS_ITSELF}{REMEDY}"]


def test_many_ways_are_gone_once() -> None:
    model = Model(events={each: Event(each) for each in range(100)})
    rules = [
        f"[[rule]]\nevent = {each}\nthen = [{{event = {each + 1}}}]\n"
        for each in range(99)
        for _ in "ab"
    ]
    assert len(read_rules(parse("".join(rules), "tool.toml").table, model)) == 198


def test_so_many_patterns_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = ['S2F41 W <A "x">', 'S2F41 W <A "y">', 'S2F41 W <A "y">', 'S2F41 W <A "x">']
    assert [each[0] for each in unreached(*rules)] == ["3", "4"]
    monkeypatch.setattr(checks, "_MOST_COMPARED", 3)
    assert [each[0] for each in unreached(*rules)] == ["3"]


def test_many_rules_may_start_many() -> None:
    same = "[[rule]]\nevent = 101\nthen = [{event = 102}]\n"
    other = "[[rule]]\nevent = 102\nthen = [{event = 103}]\n"
    assert len(read(same * 500 + other * 500)) == 1000

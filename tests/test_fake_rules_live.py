"""Rules at work: which one holds, what it answers, and what is done when."""

from __future__ import annotations

import gc

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from hsms_engine import Message
from hsms_engine.fake.model import Model, Variable
from hsms_engine.fake.model.bounds import VALUE
from hsms_engine.fake.rules import live
from hsms_engine.fake.rules.book import RuleBook
from hsms_engine.fake.rules.conditions import Condition, Kind, parse_condition
from hsms_engine.fake.rules.live import MOST_RUNS, LiveRules, Run
from hsms_engine.fake.rules.reading import read_rules
from hsms_engine.fake.rules.rule import (
    After,
    Every,
    OnChange,
    OnEvent,
    OnMessage,
    Rule,
    Trigger,
)
from hsms_engine.fake.rules.steps import (
    MOST_STEPS,
    AddValue,
    BeginFault,
    Choose,
    Heal,
    Repeat,
    SendEvent,
    SendMessage,
    Separate,
    SetAlarm,
    SetValue,
    Span,
    Step,
    StopRule,
    Wait,
    always_waits,
    at_once,
)
from hsms_engine.secs2 import U1, U2, U4, A, L
from hsms_engine.sml import (
    Node,
    Template,
    parse_item,
    parse_item_template,
    parse_pattern,
    parse_template,
)
from hsms_engine.toml_file import parse
from tests.support.staged import MODEL, Recorded

START = 'S2F41 W <L [2] <A "START"> <L $params>>'
STARTED = 'S2F41 W <L [2] <A "START"> <L [1] <L [2] <A "SLOTS"> <U1 7>>>> .'
ASKED = parse_item('<L [2] <A "START"> <L [1] <L [2] <A "SLOTS"> <U1 7>>>>')
EVENT = SendEvent(101)


class AnyName:
    """Whatever a condition refers to is there."""

    def variable(self, text: str) -> tuple[int | str, Kind | None]:
        return text, None

    def name(self, name: str) -> None:
        pass


def when(text: str) -> Condition:
    return parse_condition(text, AnyName())


def on(text: str = "S1F1") -> OnMessage:
    return OnMessage(parse_pattern(text))


def wait(seconds: float, most: float | None = None) -> Wait:
    return Wait(Span(seconds, seconds if most is None else most))


def every(seconds: float) -> Every:
    return Every(Span(seconds, seconds))


def after(seconds: float) -> After:
    return After(Span(seconds, seconds))


def replies(*texts: str | None) -> tuple[Template | None, ...]:
    return tuple([None if text is None else parse_template(text) for text in texts])


def node(text: str) -> Node:
    return parse_item_template(text)


def rule(
    name: str,
    trigger: Trigger,
    *steps: Step,
    condition: str | None = None,
    times: int | None = None,
    reply: tuple[Template | None, ...] = (),
) -> Rule:
    asked = None if condition is None else when(condition)
    return Rule(name, trigger, asked, times, reply, steps)


# Which rule takes a message


def test_the_first_rule_that_matches_and_holds_takes_a_message() -> None:
    stage = Recorded(
        [
            rule("other", on('S2F41 W <L [2] <A "STOP"> _>'), reply=replies("S2F42 <B 1>")),
            rule("closed", on(START), condition="${IsOpen}", reply=replies("S2F42 <B 2>")),
            rule("open", on(START), reply=replies("S2F42 <L [2] <B 4> $params>")),
            rule("last", on(START), reply=replies("S2F42 <B 3>")),
        ]
    )
    expected = 'S2F42 <L [2] <B 0x04> <L [1] <L [2] <A "SLOTS"> <U1 7> > > > .'
    assert stage.receive(STARTED) == expected
    assert stage.receive("S1F1 W .") == "not mine"
    assert stage.receive('S2F41 W <L [2] <A "PAUSE"> <L [0]>> .') == "not mine"
    stage.model.set(1003, True)
    assert stage.receive(STARTED) == "S2F42 <B 0x02> ."
    assert stage.told == []


def test_a_rule_without_a_reply_passes_a_message_on_and_does_its_steps() -> None:
    stage = Recorded([rule("a", on(), EVENT), rule("b", on(), SendEvent(102))])
    assert stage.receive("S1F1 W .") == "passed on"
    assert stage.take() == ["event 101"]


def test_no_reply_at_all_is_a_reply_too() -> None:
    stage = Recorded([rule("a", on(), reply=(None,))])
    assert stage.receive("S1F1 W .") == "none"


def test_the_third_time_is_counted_from_1_over_what_has_matched() -> None:
    stage = Recorded(
        [
            rule("a", on('S1F1 <A "x">'), condition="count == 3", reply=replies("S1F2 <U1 3>")),
            rule("b", on(), reply=replies("S1F2")),
        ]
    )
    texts = ['S1F1 W <A "x"> .', "S1F1 W .", *['S1F1 W <A "x"> .'] * 3]
    assert [stage.receive(text) for text in texts] == [
        "S1F2 .",
        "S1F2 .",
        "S1F2 .",
        "S1F2 <U1 3> .",
        "S1F2 .",
    ]


def test_a_rule_holds_at_most_so_often_and_then_the_next_one_is_asked() -> None:
    stage = Recorded(
        [
            rule("a", on(), times=2, condition="not (count == 1)", reply=replies("S1F2 <U1 1>")),
            rule("b", on(), reply=replies("S1F2")),
        ]
    )
    got = [stage.receive("S1F1 W .") for _ in range(5)]
    assert got == ["S1F2 .", "S1F2 <U1 1> .", "S1F2 <U1 1> .", "S1F2 .", "S1F2 ."]


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("${Recipe} == 5", "${Recipe} == 5: 'ETCH' is a text, and 5 is a number: these are never"),
        ("${Nothing} == 5", "no variable Nothing"),
        ("$x == 5", "x"),
    ],
)
def test_an_unclear_condition_does_not_hold_and_is_told(condition: str, why: str) -> None:
    stage = Recorded([rule("a", on(), condition=condition, reply=replies("S1F2"))])
    assert stage.receive("S1F1 W .") == "not mine"
    [(event, details)] = stage.told
    assert (event, details["rule"]) == ("condition unclear", "a")
    assert str(details["why"]).startswith(why)


def test_a_reply_refers_to_the_request_its_names_and_the_model() -> None:
    reply = replies("S2F42 <L [4] $1 $params.1.2 ${1002} ${Limit}>")
    stage = Recorded([rule("a", on(START), reply=reply)])
    assert stage.receive(STARTED) == 'S2F42 <L [4] <A "START"> <U1 7> <A "ETCH"> <U4 5> > .'


def test_a_reply_that_cannot_be_made_aborts_the_transaction_and_is_told() -> None:
    stage = Recorded([rule("a", on(START), EVENT, reply=replies("S2F42 $params.2"))])
    assert stage.receive(STARTED) == "S2F0 ."
    why = "$params has no $params.2"
    assert stage.told == [("reply failed", {"rule": "a", "why": why})]
    assert stage.take() == ["event 101"]


def test_a_reply_of_what_cannot_be_read_aborts() -> None:
    unreadable = Message(1, 1, wait=True, body=b"\x01")
    stage = Recorded([rule("a", on(), reply=replies("S1F2 $")), rule("b", on("S1F3 W"))])
    outcome = stage.rules.answer(unreadable)
    assert outcome is not None
    assert outcome.reply == Message(1, 0)
    ((told, details),) = stage.told
    assert (told, details["rule"]) == ("reply failed", "a")
    assert str(details["why"]).startswith("at byte 0: read 1 byte, expected an item header")


def test_text_is_in_the_encoding_of_the_tool() -> None:
    warm = "\u6e29"
    model = Model(variables={1: Variable(1, A(warm, encoding="gbk"))}, text_encoding="gbk")
    reply = (parse_template(f'S1F2 <L ${{1}} <A "{warm}">>', "gbk"),)
    rules = [rule("a", on(), condition=f"${{1}} == '{warm}'", reply=reply)]
    stage = Recorded(rules, model=model)
    assert stage.receive("S1F1 W .") == f'S1F2 <L [2] <A "{warm}"> <A "{warm}"> > .'


def test_a_body_that_nobody_asks_for_is_not_decoded() -> None:
    asked: list[str] = []

    class Received(Message):
        def _found_unreadable(self) -> None:
            asked.append(self.name)

    step = SendMessage(parse_template("S1F3 ${1001}"))
    stage = Recorded([rule("a", on(), step, reply=replies("S1F2 ${1001}"))])
    outcome = stage.rules.answer(Received(1, 1, wait=True, body=b"\x01"))
    assert outcome is not None
    stage.rules.start(outcome.run)
    assert stage.take() == ["send S1F3 <U4 0> ."]
    assert asked == []


def test_there_is_no_chance_where_there_is_no_choice() -> None:
    stage = Recorded([rule("a", on(), wait(1), EVENT, reply=replies("S1F2"))])
    before = stage.random.getstate()
    stage.receive("S1F1 W .")
    assert stage.at(1.0) == ["event 101"]
    assert stage.random.getstate() == before


# Steps


def test_each_step_does_what_it_says() -> None:
    steps = (
        EVENT,
        SetAlarm(5001, True),
        SetAlarm(5001, False),
        SetValue(1001, node("$params.1.2")),
        AddValue(1001, 2),
        AddValue("Pressure", -0.5),
        SetValue(1002, node('<A "x">')),
        SetValue(1004, node("<L ${1001} $ ${Recipe}>")),
        SendMessage(parse_template("S10F1 W <L [2] <B 0> $params.1.1>")),
        SendMessage(parse_template("S9F13")),
        BeginFault("delay-replies=0.5"),
        Heal(),
        Separate(),
    )
    stage = Recorded([rule("a", on(START), *steps)])
    stage.receive(STARTED)
    assert stage.take() == [
        "event 101",
        "alarm 5001",
        "clear 5001",
        "1001 changed",
        "1001 changed",
        "1005 changed",
        "1002 changed",
        "1004 changed",
        'send S10F1 W <L [2] <B 0x00> <A "SLOTS"> > .',
        "send S9F13 .",
        "fault delay-replies=0.5",
        "heal",
        "separate",
    ]
    assert stage.model.value(1001) == U4(9)
    assert stage.model.value(1004) == L(U4(9), ASKED, A("x"))
    assert stage.told == []


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (AddValue(1001, 26), "variable 1001 (Wafers): 26 is not"),
        (AddValue(1001, 0.5), "variable 1001 (Wafers) is U4, not float 0.5"),
        (AddValue(1002, 1), "variable 1002 (Recipe) is not one number: nothing can be added"),
        (SetValue(1001, U2(26)), "variable 1001 (Wafers): 26 is not"),
        (SetValue(1001, node("$name")), "nothing is bound to $name"),
        (SetValue(1001, node("${9}")), "no variable 9; there are Wafers, Recipe"),
        (SetValue(1002, U1(1)), "variable 1002 (Recipe) is A, not U1"),
        # A file that was read since then has it no more.
        (SetValue(9, U1(1)), "no variable 9; there are Wafers, Recipe"),
        (SendMessage(parse_template("S1F1 $2")), "the request has no $2"),
    ],
)
def test_a_step_that_cannot_be_done_is_told_and_the_next_one_is_done(step: Step, why: str) -> None:
    stage = Recorded([rule("a", on(), step, EVENT)])
    stage.receive("S1F1 W .")
    assert stage.take() == ["event 101"]
    [(event, details)] = stage.told
    assert (event, details["rule"], details["step"]) == ("step failed", "a", str(step))
    assert str(details["why"]).startswith(why)


def test_a_value_of_the_file_is_as_long_as_it_is_and_one_of_others_is_not_long() -> None:
    text = f"<A '{'x' * VALUE}'>"
    stage = Recorded(
        [rule("a", on("S1F1 $x"), SetValue(1002, node(text)), SetValue(1004, node("<L $x>")))]
    )
    stage.receive(f"S1F1 W {text} .")
    assert stage.model.value(1002) == A("x" * VALUE)
    [(_, details)] = stage.told
    assert str(details["why"]) == (
        "variable 1004 (Slots): a value that is sent or put together has at most 4096 bytes, not "
        "4101"
    )


def test_waits_end_in_time_and_each_run_has_its_own() -> None:
    stage = Recorded([rule("a", on(), EVENT, wait(2), SendEvent(102), wait(3), SendEvent(103))])
    stage.receive("S1F1 W .")
    assert stage.take() == ["event 101"]
    assert stage.at(1.0) == []
    stage.receive("S1F1 W .")
    assert stage.take() == ["event 101"]
    assert stage.at(2.0) == ["event 102"]
    assert stage.at(3.0) == ["event 102"]
    assert stage.at(10.0) == ["event 103", "event 103"]
    assert stage.at(99.0) == []


def test_what_is_due_at_one_time_is_done_in_the_order_in_which_it_began_to_wait() -> None:
    rules = [
        rule(str(n), on(f"S1F{n}"), wait(8 - n), SendMessage(parse_template(f"S7F{n}")))
        for n in (1, 3, 5)
    ]
    stage = Recorded(rules)
    for n, now in ((5, 4.0), (3, 2.0), (1, 0.0)):
        stage.now = now
        stage.receive(f"S1F{n} W .")
    assert stage.at(7.0) == ["send S7F5 .", "send S7F3 .", "send S7F1 ."]


def test_steps_are_repeated_and_chosen_by_the_seed() -> None:
    steps = Repeat(20, (Choose(((EVENT,), (SendEvent(102), wait(1, 3)), (SendEvent(103),))),))

    def run(seed: int) -> list[str]:
        stage = Recorded([rule("a", on(), steps)], seed=seed)
        stage.receive("S1F1 W .")
        return [f"{now}: {done}" for now in range(60) for done in stage.at(float(now))]

    assert len(run(1)) == 20
    assert run(1) == run(1)
    assert run(1) != run(2)
    assert {each.split(": ")[1] for each in run(1)} == {"event 101", "event 102", "event 103"}


def test_replies_are_chosen_by_the_seed() -> None:
    def run(seed: int) -> list[str]:
        choice = replies("S1F2 <U1 1>", "S1F2 <U1 2>", None)
        stage = Recorded([rule("a", on(), reply=choice)], seed=seed)
        return [stage.receive("S1F1 W .") for _ in range(20)]

    assert run(3) == run(3)
    assert {*run(3)} == {"S1F2 <U1 1> .", "S1F2 <U1 2> .", "none"}


def test_the_runs_of_a_rule_can_be_stopped_also_by_themselves() -> None:
    stage = Recorded(
        [
            rule("slow", on("S1F1"), EVENT, wait(5), SendEvent(102)),
            rule("stop", on("S1F3"), StopRule("slow"), StopRule("idle")),
            rule("self", on("S1F5"), EVENT, StopRule("self"), SendEvent(102)),
        ]
    )
    for text in ("S1F1 W .", "S1F1 W .", "S1F3 W ."):
        stage.receive(text)
    assert stage.at(9.0) == ["event 101", "event 101"]
    stage.receive("S1F5 W .")
    assert stage.at(20.0) == ["event 101"]
    stage.receive("S1F1 W .")
    assert stage.at(30.0) == ["event 101", "event 102"]


def test_what_is_left_when_a_run_is_stopped_ends_in_time() -> None:
    stage = Recorded(
        [
            rule("1", on("S1F1"), wait(1), EVENT),
            rule("5", on("S1F3"), wait(5), SendEvent(102)),
            rule("2", on("S1F5"), wait(2), SendEvent(103)),
            rule("stop", on("S1F7"), StopRule("1")),
        ]
    )
    for function in (1, 3, 5, 7):
        stage.receive(f"S1F{function} W .")
    assert stage.at(2.0) == ["event 103"]
    assert stage.at(5.0) == ["event 102"]


def test_a_run_that_has_been_stopped_is_kept_by_nobody() -> None:
    stage = Recorded(
        [rule("slow", on("S1F1"), wait(99), EVENT), rule("stop", on("S1F3"), StopRule("slow"))]
    )
    for _ in range(50):
        stage.receive("S1F1 W .")
        stage.receive("S1F3 W .")
    gc.collect()
    runs = [each for each in gc.get_objects() if isinstance(each, Run)]
    assert [each for each in runs if each.rule in stage.rules.book.rules] == []


def test_a_run_that_waits_for_what_it_has_caused_can_be_stopped() -> None:
    stage = Recorded(
        [
            rule("a", on(), EVENT, SendEvent(102)),
            rule("b", OnEvent(101), SendEvent(103), StopRule("a"), StopRule("c")),
            rule("c", OnEvent(101), Heal()),
        ]
    )
    stage.receive("S1F1 W .")
    assert stage.take() == ["event 101", "event 103"]


# What steps cause


def test_what_a_step_causes_is_done_before_the_next_step() -> None:
    stage = Recorded(
        [
            rule("a", on(), EVENT, AddValue(1001, 1), Heal()),
            rule("b", OnEvent(101), SendEvent(102)),
            rule("c", OnEvent(102), SendEvent(103), wait(1), Separate()),
            rule("d", OnChange(1001), SetAlarm(5002, True)),
            rule("e", OnEvent(101), SetAlarm(5001, True)),
        ]
    )
    stage.receive("S1F1 W .")
    assert stage.take() == [
        "event 101",
        "event 102",
        "event 103",
        "alarm 5001",
        "1001 changed",
        "alarm 5002",
        "heal",
    ]
    assert stage.at(1.0) == ["separate"]


def test_all_rules_for_one_cause_are_asked_before_the_first_one_acts() -> None:
    stage = Recorded(
        [
            rule("a", OnEvent(101), AddValue(1001, 1), condition="${1001} == 0"),
            rule("b", OnEvent(101), Heal(), condition="${1001} == 0"),
        ]
    )
    stage.event(101)
    stage.event(101)
    assert stage.take() == ["event 101", "1001 changed", "heal", "event 101"]


def test_rules_that_start_each_other_without_an_end_are_refused_and_told() -> None:
    stage = Recorded(
        [rule("a", OnEvent(101), SendEvent(102)), rule("b", OnEvent(102), SendEvent(101))]
    )
    stage.event(101)
    assert len(stage.take()) == 2 * MOST_RUNS + 1
    why = f"{MOST_RUNS} runs of this rule have not ended"
    assert stage.told == [("steps refused", {"rule": "a", "why": why})]
    stage.event(103)
    assert stage.take() == ["event 103"]


def test_steps_that_take_no_time_are_bounded_and_told() -> None:
    steps = (Repeat(MOST_STEPS, (EVENT, AddValue(1005, 1))), Heal())
    stage = Recorded([rule("a", on(), *steps), rule("b", OnEvent(101), Heal(), times=1)])
    stage.receive("S1F1 W .")
    assert len(stage.take()) == MOST_STEPS
    why = f"{MOST_STEPS} steps have been done without a wait"
    assert stage.told == [("steps refused", {"rule": "a", "why": why})]
    stage.receive("S1F1 W .")
    assert len(stage.take()) == MOST_STEPS


def test_a_run_that_is_refused_more_steps_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_RUNS", 1)
    stage = Recorded([rule("a", on(), Repeat(MOST_STEPS + 1, (EVENT,)))])
    for _ in range(2):
        stage.receive("S1F1 W .")
        assert len(stage.take()) == MOST_STEPS


def test_the_runs_of_a_rule_are_bounded_and_what_is_refused_is_told() -> None:
    stage = Recorded([rule("a", on(), wait(1), EVENT, reply=replies("S1F2"))])
    for _ in range(MOST_RUNS + 1):
        assert stage.receive("S1F1 W .") == "S1F2 ."
    assert len(stage.told) == 1
    assert stage.at(1.0) == ["event 101"] * MOST_RUNS
    stage.receive("S1F1 W .")
    assert len(stage.told) == 1


def test_an_exception_of_the_stage_comes_out_and_the_rules_can_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise OSError("broken")

    stage = Recorded([rule("a", on(), Heal(), EVENT)])
    with monkeypatch.context() as patch:
        patch.setattr(stage, "heal", broken)
        with pytest.raises(OSError, match="broken"):
            stage.receive("S1F1 W .")
    stage.receive("S1F1 W .")
    assert stage.take() == ["heal", "event 101"]


# Timers


def test_a_timer_runs_while_a_host_is_selected() -> None:
    stage = Recorded(
        [rule("a", every(5), EVENT), rule("b", after(7), SendEvent(102)), rule("c", on(), Heal())]
    )
    assert stage.at(50.0) == []
    stage.rules.selected()
    stage.now = 52.0
    stage.rules.selected()
    assert stage.at(54.0) == []
    assert stage.at(55.0) == ["event 101"]
    assert stage.at(61.0) == ["event 102", "event 101"]
    assert stage.at(65.0) == ["event 101"]
    stage.rules.lost()
    assert stage.at(99.0) == []
    stage.rules.selected()
    assert [stage.at(each) for each in (104.0, 106.0)] == [["event 101"], ["event 102"]]


def test_times_that_were_missed_are_left_out() -> None:
    stage = Recorded([rule("a", every(5), EVENT)])
    stage.rules.selected()
    assert stage.at(23.0) == ["event 101"]
    assert stage.at(27.5) == []
    assert stage.at(28.0) == ["event 101"]


def test_a_timer_has_conditions_and_counts_and_may_be_by_chance() -> None:
    def run(seed: int) -> list[int]:
        timer = Every(Span(1.0, 3.0))
        stage = Recorded([rule("a", timer, EVENT, condition="count > 2", times=3)], seed=seed)
        stage.rules.selected()
        return [tenth for tenth in range(200) if stage.at(tenth / 10)]

    assert len(run(1)) == 3
    assert run(1) == run(1)
    assert run(1) != run(2)


# Another file


def test_a_timer_that_goes_on_knows_the_variables_of_the_new_file() -> None:
    text = "[[rule]]\nevery = 1\nwhen = '${Wafers} == 7'\nthen = [{event = 101}]"
    other = Model(variables={9: Variable(9, U4(7), "Wafers")}, events=MODEL.events)
    stage = Recorded(read_rules(parse(text, "t").table, MODEL))
    stage.rules.selected()
    assert stage.at(1.0) == []
    stage.model.adopt(other)
    stage.rules.adopt(RuleBook(read_rules(parse(text, "t").table, other)))
    assert stage.at(1.5) == []
    assert stage.at(2.0) == ["event 101"]
    assert stage.told == []


def test_rules_that_have_not_changed_go_on_with_their_counts_and_timers() -> None:
    same = rule("same", on(), times=1, reply=replies("S1F2 <U1 1>"))
    slow = rule("slow", on(), wait(9), EVENT, reply=replies("S1F2 <U1 2>"))
    timer = rule("timer", every(4), Heal())
    stage = Recorded([same, slow, timer, rule("gone", after(3), Separate())])
    stage.rules.selected()
    assert [stage.receive("S1F1 W .") for _ in range(2)] == ["S1F2 <U1 1> .", "S1F2 <U1 2> ."]
    stage.now = 2.0
    new = RuleBook(
        [
            rule("same", on(), times=1, reply=replies("S1F2 <U1 1>")),
            rule("slow", on(), times=1, reply=replies("S1F2 <U1 3>")),
            timer,
            rule("new", every(7), SendEvent(102)),
        ]
    )
    stage.rules.adopt(new)
    assert stage.rules.book is new
    assert [stage.receive("S1F1 W .") for _ in range(2)] == ["S1F2 <U1 3> .", "not mine"]
    assert stage.at(3.0) == []
    assert stage.at(4.0) == ["heal"]
    # The steps that had begun.
    assert stage.at(9.0) == ["heal", "event 101", "event 102"]
    stage.rules.adopt(RuleBook())
    assert stage.at(99.0) == []


def test_a_rule_that_has_changed_begins_anew() -> None:
    stage = Recorded([rule("a", on(), times=1, reply=replies("S1F2"))])
    stage.receive("S1F1 W .")
    stage.rules.adopt(RuleBook([rule("a", on(), times=1, reply=replies("S1F2"))]))
    assert stage.receive("S1F1 W .") == "not mine"
    stage.rules.adopt(RuleBook([rule("a", on(), times=2, reply=replies("S1F2"))]))
    assert [stage.receive("S1F1 W .") for _ in range(3)] == ["S1F2 .", "S1F2 .", "not mine"]


# With trio


async def test_one_task_does_what_is_due(autojump_clock: MockClock) -> None:
    del autojump_clock
    stage = Recorded()
    steps = (EVENT, wait(2), SendEvent(102), wait(0.5), SendEvent(103))
    book = RuleBook([rule("a", on(), *steps), rule("b", every(100), Heal())])
    stage.rules = rules = LiveRules(book, stage)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rules.run)
        rules.selected()
        await wait_all_tasks_blocked()
        # The task sleeps until the timer: it has to wake for what comes earlier.
        stage.receive("S1F1 W .")
        await trio.sleep(2.1)
        assert stage.take() == ["event 101", "event 102"]
        await trio.sleep_until(began + 2.6)
        assert stage.take() == ["event 103"]
        await trio.sleep_until(began + 100.1)
        assert stage.take() == ["heal"]
        nursery.cancel_scope.cancel()


async def test_what_was_due_before_the_task_began_is_done(autojump_clock: MockClock) -> None:
    del autojump_clock
    stage = Recorded()
    stage.rules = rules = LiveRules(RuleBook([rule("a", on(), wait(1), EVENT)]), stage)
    stage.receive("S1F1 W .")
    await trio.sleep(5)
    assert stage.take() == []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rules.run)
        await wait_all_tasks_blocked()
        assert stage.take() == ["event 101"]
        nursery.cancel_scope.cancel()


# Any rules


LEAVES: st.SearchStrategy[Step] = st.one_of(
    st.sampled_from([101, 102, 103]).map(SendEvent),
    st.integers(-2, 2).map(lambda amount: AddValue(1001, amount)),
    st.integers(1, 3).map(lambda seconds: wait(seconds, seconds + 0.5)),
    st.sampled_from("abc").map(StopRule),
    st.just(Heal()),
)
STEPS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Repeat, st.integers(1, 4), st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(
            Choose,
            st.lists(
                st.lists(inner, min_size=1, max_size=2).map(tuple), min_size=2, max_size=3
            ).map(tuple),
        ),
    ),
    max_leaves=8,
)
TRIGGERS: st.SearchStrategy[Trigger] = st.one_of(
    st.sampled_from([101, 102, 103]).map(OnEvent), st.just(OnChange(1001)), st.just(every(1.5))
)
RULES = st.tuples(
    st.tuples(st.just(on()), *[TRIGGERS] * 2),
    st.tuples(*[st.lists(STEPS, min_size=1, max_size=4)] * 3),
).map(
    lambda made: [
        rule(name, trigger, *steps) for name, trigger, steps in zip("abc", *made, strict=True)
    ]
)


@given(RULES, st.integers(0, 3))
def test_any_rules_come_to_rest_and_do_the_same_again(rules: list[Rule], seed: int) -> None:
    def run() -> list[str]:
        stage = Recorded(rules, seed=seed)
        stage.rules.selected()
        stage.receive("S1F1 W .")
        done = [stage.take()]
        for second in range(1, 4):
            done.append(stage.at(float(second)))
            stage.receive("S1F1 W .")
            done.append(stage.take())
        return [what for each in done for what in each] + [str(told) for told in stage.told]

    with pytest.MonkeyPatch.context() as patch:
        # Rules that start each other are soon refused.
        patch.setattr(live, "MOST_STEPS", 100)
        assert run() == run()


# In words


def test_a_rule_is_shown_in_one_line() -> None:
    steps = (
        Wait(Span(1, 3)),
        Repeat(2, (EVENT, wait(2))),
        Choose(((SetAlarm(1, True),), (SetAlarm(1, False),))),
        SetValue(1001, U4(1)),
        AddValue(1001, 1),
        SendMessage(parse_template("S10F1 W")),
        BeginFault("cut-mid-frame"),
        Heal(),
        Separate(),
        StopRule("b"),
    )
    first = rule(
        "a", on("S1F1 W"), *steps, condition="count > 1", times=3, reply=replies("S1F2", None)
    )
    assert str(first) == (
        "a: on S1F1 W; when count > 1; at most 3 times; reply S1F2 or none; then wait 1 to 3 s, "
        "2 times (event 101, wait 2 s), one of (alarm 1), (clear 1), set 1001 to <U4 1>, add 1 to "
        "1001, send S10F1 W, fault cut-mid-frame, heal, separate, stop 'b'"
    )
    assert str(rule("b", on(), reply=replies("S1F2"))) == "b: on S1F1; reply S1F2"
    triggers = (every(5), after(0.5), OnEvent(101), OnChange("x"))
    assert [str(rule("b", each, Heal())) for each in triggers] == [
        "b: every 5 s; then heal",
        "b: after 0.5 s; then heal",
        "b: event 101; then heal",
        "b: changed x; then heal",
    ]


def test_how_many_steps_there_are_at_once() -> None:
    chosen = Choose(((EVENT, EVENT), (wait(1),)))
    assert at_once((EVENT, wait(1), Repeat(5, (EVENT, Repeat(3, (EVENT,)))))) == 21
    assert at_once((Repeat(1000, (EVENT, wait(1))),)) == 1
    assert at_once((Repeat(1000, (chosen,)),)) == 2000
    assert always_waits((Repeat(2, (Choose(((wait(1),), (EVENT, wait(2)))),)),))
    assert not always_waits((EVENT, Repeat(2, (EVENT,)), chosen))

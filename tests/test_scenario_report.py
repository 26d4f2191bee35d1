"""What became of each step as JUnit's XML."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hsms_engine import Message
from hsms_engine.scenario import (
    Began,
    DifferenceError,
    Passed,
    StepError,
    Unexpected,
    parse_scenario,
)
from hsms_engine.scenario.report import Report
from hsms_engine.scenario.steps import walk

SCENARIO = parse_scenario(
    """
[scenario]
name = "a \\u0001 & lot"
[[step]]
name = "first"
wait = 1
[[step]]
repeat = 2
steps = [{wait = 2}, {expect = 'S6F11'}]
[[step]]
wait = 3
"""
)
FIRST, REPEAT, SECOND, THIRD, LAST = walk(SCENARIO.steps)


def suite(report: Report) -> ET.Element:
    root = ET.fromstring(report.junit())
    assert root.tag == "testsuites"
    [found] = root
    return found


def cases(report: Report) -> list[tuple[str, str, str]]:
    """The name, the time, and what is said of each case."""
    return [
        (
            case.get("name", ""),
            case.get("time", ""),
            "; ".join(f"{each.tag}: {each.get('message')}" for each in case),
        )
        for case in suite(report)
    ]


def played() -> Report:
    report = Report(SCENARIO)
    report.selected_after = 0.5
    report.tell(Began(FIRST, ()))
    report.tell(Passed(FIRST, (), 1.0))
    report.tell(Began(REPEAT, ()))
    for number in (1, 2):
        report.tell(Began(SECOND, (number,)))
        report.tell(Passed(SECOND, (number,), 2.0))
        report.tell(Began(THIRD, (number,)))
        if number == 1:
            report.tell(Passed(THIRD, (number,), 0.25))
    return report


def test_a_step_that_fails_has_its_details() -> None:
    report = played()
    assert report.step is THIRD
    report.error = StepError(THIRD, "no S6F11 came", ["messages:", "  none\x00"])
    assert cases(report) == [
        ("select", "0.500", ""),
        ("1 first", "1.000", ""),
        ("2 repeat 2 times", "0.000", "skipped: not played to its end"),
        ("2.1 wait 2 s", "4.000", ""),
        ("2.2 expect S6F11", "0.250", "failure: no S6F11 came"),
        ("3 wait 3 s", "0.000", "skipped: not played"),
    ]
    found = suite(report)
    assert found.attrib == {
        "name": "a \N{REPLACEMENT CHARACTER} & lot",
        "tests": "6",
        "failures": "1",
        "errors": "0",
        "skipped": "2",
        "time": "1.500",
    }
    [failure] = found.iter("failure")
    assert failure.text == "messages:\n  none\N{REPLACEMENT CHARACTER}"


def test_what_is_stopped_is_an_error_of_its_step() -> None:
    report = played()
    report.problem = "it was stopped"
    assert [what for _, _, what in cases(report) if what] == [
        "skipped: not played to its end",
        "error: it was stopped",
        "skipped: not played",
    ]


def test_without_a_connection_no_step_is_played() -> None:
    report = Report(SCENARIO)
    assert report.step is None
    report.problem = "connection refused"
    assert [what for _, _, what in cases(report)] == [
        "error: connection refused",
        *["skipped: not played"] * 5,
    ]
    report.problem = None
    assert cases(report)[0][2] == "error: not selected"


def test_all_that_passed_has_nothing_to_say() -> None:
    report = played()
    report.tell(Passed(THIRD, (2,), 0.25))
    report.tell(Passed(REPEAT, (), 4.5))
    report.tell(Began(LAST, ()))
    report.tell(Unexpected(Message(6, 3), None))
    report.tell(Passed(LAST, (), 3.0))
    assert [what for _, _, what in cases(report) if what] == []
    assert suite(report).get("time") == "9.000"


def test_an_error_is_told_whole() -> None:
    error = DifferenceError(
        FIRST, "it differs", ["more"], path="[1]", expected="1", found="2", diff=["- 1", "+ 2"]
    )
    assert str(error) == "step 1 (<scenario>:4), wait 1 s: it differs\n- 1\n+ 2\nmore"


def test_what_ends_it_between_two_steps_is_an_error_too() -> None:
    report = Report(SCENARIO)
    report.selected_after = 0.25
    report.tell(Began(FIRST, ()))
    report.tell(Passed(FIRST, (), 1.0))
    report.problem = "it was stopped"
    assert cases(report)[-1] == ("end", "0.000", "error: it was stopped")
    assert (suite(report).get("errors"), suite(report).get("tests")) == ("1", "7")

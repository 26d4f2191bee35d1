"""A model is read from a file; whatever is wrong with the file is told, where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsms_engine.fake.model import (
    Alarm,
    Command,
    Event,
    Model,
    Parameter,
    Program,
    Report,
    Variable,
)
from hsms_engine.fake.model.reading import read_model
from hsms_engine.secs2 import I2, U2, U4, A, B, L
from hsms_engine.toml_file import TomlError, load, parse

WHOLE = """
[tool]
model = "ETCHER"
software = "7.1"
ids = "U2"
control = "offline"
[variable.1001]
name = "WaferCount"
units = "pcs"
value = '<U4 0>'
lowest = 0
highest = 25
[variable.0x3EA]
kind = "data"
value = '<L [1] <A "x">>'
[variable.1003]
source = "clock"
[constant.2001]
name = "Offset"
value = '<I2 -5>'
lowest = -10
[report.1]
variables = [1001, "Offset", "0x3EA"]
[report.ALL]
variables = ["1001"]
[event.101]
name = "LotStarted"
reports = [1, "ALL"]
[event.102]
enabled = false
[alarm.5001]
text = "too hot"
category = 2
enabled = false
set_event = "LotStarted"
clear_event = 102
[alarm.5002]
[program."R-1"]
body = '<A "etch">'
[program.R-2]
file = "recipe.bin"
[command.GO]
[command.STOP]
parameters = []
answer = 2
[command.START]
parameters = ["COUNT", "7"]
[command.SELECT]
parameters = {PPID = {program = true, required = true, variable = "WaferCount"}, X = {}}
"""


def read(text: str, encoding: str | None = None, name: str = "tool.toml") -> Model:
    document = parse(text, name).table
    return read_model(document, document.table("tool"), encoding)


def test_each_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "recipe.bin").write_bytes(b"\x01\x02")
    (tmp_path / "tool.toml").write_text(WHOLE, encoding="utf-8")
    document = load(tmp_path / "tool.toml").table
    assert read_model(document, document.table("tool")) == Model(
        "ETCHER",
        "7.1",
        U2,
        False,
        {
            1001: Variable(1001, U4(0), "WaferCount", "pcs", "status", 0, 25),
            1002: Variable(1002, L("x"), kind="data"),
            1003: Variable(1003, A("0" * 16), source="clock"),
            2001: Variable(2001, I2(-5), "Offset", kind="constant", lowest=-10),
        },
        {1: Report(1, (1001, 2001, 1002)), "ALL": Report("ALL", (1001,))},
        {101: Event(101, "LotStarted", (1, "ALL")), 102: Event(102, enabled=False)},
        {5001: Alarm(5001, "too hot", 2, False, 101, 102), 5002: Alarm(5002)},
        {b"R-1": Program(b"R-1", A("etch")), b"R-2": Program(b"R-2", B(1, 2))},
        {
            "GO": Command("GO"),
            "STOP": Command("STOP", (), 2),
            "START": Command("START", (Parameter("COUNT"), Parameter(7))),
            "SELECT": Command("SELECT", (Parameter("PPID", 1001, True, True), Parameter("X"))),
        },
    )
    document.finish()


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (
            "variable.1 = {name = 1, units = 2, kind = 'x', value = '<U', lowest='', highest=''}",
            ["1:22", "1:33", "1:43", "1:58", "1:69", "1:81"],
        ),
        # What is no table hides nothing of the others, nor that it is there.
        (
            (
                "event.1 = 2\nevent.2 = {name = 1}\nconstant.3 = []\nvariable.4 = []\n"
                "report.5 = {variables = [3, 4, 6]}\nalarm.7 = {set_event = 1, clear_event = 'x'}\n"
                "program.P = 1\nprogram.Q = {body = 1}"
            ),
            ["1:11", "2:19", "3:14", "4:14", "5:32", "6:41", "7:13", "8:21"],
        ),
        ("[constant.1]\nname = 1\nlowest = nan", ["1:11", "2:8", "3:10"]),
        (
            "[variable.1]\nsource = 'clock'\nname = 1\nvalue = '<A>'\nlowest = 1\nx = 1",
            ["3:8", "4:9", "5:10", "6:1"],
        ),
        ("[variable.1]\nsource = 'sun'\nname = 1\nvalue = '<A>'", ["2:10", "3:8"]),
        ("[event.1]\nname = 1\nenabled = 2\nreports = ['x', 'y']", ["2:8", "3:11", "4:12", "4:17"]),
        (
            "[alarm.1]\ntext = 1\ncategory = 0\nenabled = 1\nset_event = 7\nclear_event = []",
            ["2:8", "3:12", "4:11", "5:13", "6:15"],
        ),
        (
            "[command.1]\nanswer = -1\nparameters = {A = {program = 1, variable = 'x'}, B = 1}",
            ["2:10", "3:30", "3:44", "3:54"],
        ),
    ],
)
def test_all_that_is_wrong_with_a_table_is_told(text: str, places: list[str]) -> None:
    with pytest.raises(TomlError) as caught:
        read(text)
    assert [f"{each.line}:{each.column}" for each in caught.value.problems] == places


def test_every_table_may_be_left_out() -> None:
    assert read("") == Model()
    assert read("[tool]\n") == Model()
    assert read("[[rule]]\n[settings]\n") == Model()


def test_text_is_in_the_encoding_of_the_link() -> None:
    text = """
        [variable.1]
        name = "Größe"
        value = '<A "ü">'
        [program."Ä"]
        body = '<A "ö">'
    """
    model = read(text, "latin-1")
    assert model.variables[1].value == A(b"\xfc")
    assert model.programs == {b"\xc4": Program(b"\xc4", A(b"\xf6"))}
    with pytest.raises(TomlError) as caught:
        read(text)
    problems = [(each.line, each.column) for each in caught.value.problems]
    assert problems == [(4, 21), (5, 18)]


def test_a_large_bound_is_exact() -> None:
    model = read("[variable.1]\nvalue = '<U8 1>'\nhighest = 18446744073709551615")
    assert model.variables[1].highest == 2**64 - 1


WRONG = [
    ("[tool]\nmodel = 5", "2:9: model = 5 is not a text"),
    ("[tool]\nmodel = 'xxxxxxxxxxxxxxxxxxxxx'", "2:30: model has 21 characters; it may have 20"),
    ("[tool]\nsoftware = 'ü'", "2:12: A character 'ü'"),
    ("[tool]\nids = 'U3'", "2:7: unknown ids 'U3'; there are I1, I2, I4, I8, U1"),
    ("[tool]\nids = 'u4'", "2:7: unknown ids 'u4'"),
    ("[tool]\ncontrol = 'remote'", "2:11: unknown control 'remote'; "),
    ("variable = 5", "1:12: 'variable' is no table: write [variable.NAME]"),
    ("[variable]\n1001 = 5", "2:8: 'variable.1001' is no table: write [variable.1001]"),
    ("[variable.1]", "1:11: 'value' is missing in [variable.1]"),
    ("[variable.1]\nvalue = 7", "2:9: value is an item in SML, in quotes, such as '<U4 7>'"),
    ("[variable.1]\nvalue = '<U4 x>'", "2:14: "),
    ("[variable.1]\nvalue = 'U4 7'", "2:9: value is an item in SML: write '<U4 7>'"),
    ("[variable.1]\nvalue = 'u4 7'", "2:9: value is an item in SML: write '<U4 7>'"),
    ("[variable.1]\nvalue = 'A idle'", "2:9: value is an item in SML: write '<A \"idle\">'"),
    ("[variable.1]\nvalue = 'A \"idle\"'", "2:9: value is an item in SML: write '<A \"idle\">'"),
    ("[variable.1]\nvalue = 'L'", "2:9: value is an item in SML: write '<L>'"),
    ("[variable.1]\nvalue = '25'", "2:9: value is an item in SML: write '<U4 25>'"),
    ("[variable.1]\nvalue = '-5'", "2:9: value is an item in SML: write '<I4 -5>'"),
    ("[variable.1]\nvalue = '-1.5'", "2:9: value is an item in SML: write '<F4 -1.5>'"),
    ("[variable.1]\nvalue = 'a lot'", "2:9: value is an item in SML: write '<A \"a lot\">'"),
    ("[variable.1]\nvalue = ' \"idle\"'", "2:9: value is an item in SML: write '<A \"idle\">'"),
    ("[constant.1]\nvalue = ''", "2:9: value is an item in SML: write '<A \"\">'"),
    ("[program.X]\nbody = 'step 1'", "2:8: body is an item in SML: write '<A \"step 1\">'"),
    (("[variable.1]\nvalue = '25'\nname = 'T'\n[report.7]\nvariables = ['T']\n[event.1]\n"
      "reports = [7]"),
     "2:9: value is an item in SML: write '<U4 25>'"),
    ("[variable.1]\nvalue = '''\n<L\n  <U9 1>>'''", "4:4: "),
    ("[variable.1]\nvalue = '<U4 1> <U4 2>'", "2:17: "),
    ("[variable.1]\nvalue = '<U4 7>'\nhighest = 5", "2:9: variable 1: 7 is not at most 5"),
    ("[variable.1]\nvalue = '<U4 7>'\nhighest = '5'", "3:11: highest = '5' is text, not a number"),
    ("[variable.1]\nvalue = '<U4 7>'\nhighest = true", "3:11: highest = true is not a number"),
    ("[variable.1]\nvalue = '<F4 7>'\nlowest = nan", "3:10: lowest = nan is not a number"),
    ("[variable.1]\nvalue = '<F4 7>'\nlowest = -inf", "3:10: lowest = -inf is not a number"),
    ("[variable.1]\nvalue = '<U4 7>'\nlowest = -1", "3:10: variable 1: U4 value -1"),
    ("[variable.1]\nvalue = '<A \"x\">'\nlowest = 1", "3:10: A has no order: only numbers have"),
    ("[variable.1]\nvalue = '<U4 7>'\nkind = 'constant'", "3:8: unknown kind 'constant'; "),
    ("[variable.1]\nsource = 'clok'", "2:10: unknown source 'clok'; did you mean 'clock'?"),
    ("[variable.1]\nsource = 'clock'\nvalue = '<A>'",
     "3:9: the value comes from source 'clock': take value out"),
    ("[variable.1]\nsource = 'clock'\nhighest = 1",
     "3:11: the value comes from source 'clock': take highest out"),
    ("[constant.1]\nvalue = '<U4 1>'\nsource = 'clock'",
     "3:1: unknown key 'source' in [constant.1]"),
    ("[variable.1]\nvalue = '<U4 1>'\nunit = 'pcs'",
     "3:1: unknown key 'unit' in [variable.1]; did you mean 'units'?"),
    ("[variable.1001]\nvalue = '<U4 1>'\n[variable.0x3E9]\nvalue = '<U4 1>'",
     "3:11: id 1001 is there twice: [variable.1001] has it too"),
    ("[variable.1]\nvalue = '<U4 1>'\n[constant.01]\nvalue = '<U4 1>'",
     "3:11: id 1 is there twice: [variable.1] has it too"),
    ("[variable.'']\nvalue = '<U4 1>'", "1:11: an id without a character"),
    ("[variable.-1]\nvalue = '<U4 1>'", "1:11: U4 value -1 is not in 0..4294967295; ids are"),
    ("[event.'ü']", "1:8: A character 'ü'"),
    ("[report.1]\nvariables = []", "2:13: no variable: a report has at least one"),
    ("[report.1]", "1:9: no variable: a report has at least one"),
    ("[report.1]\nvariables = 1", "2:13: variables = 1 is not an array"),
    ("[report.1]\nvariables = [true]", "2:14: true is no variable: write its id or its name"),
    ("[report.1]\nvariables = [1.5]", "2:14: 1.5 is no variable: write its id or its name"),
    ("[report.1]\nvariables = [1]", "2:14: no variable 1; there is none"),
    ("[variable.1]\nvalue = '<U4 1>'\nname = 'Clock'\n[report.1]\nvariables = ['Clok']",
     "5:14: no variable 'Clok'; did you mean 'Clock'?"),
    (("[variable.1]\nvalue = '<U4 1>'\nname = 'X'\n[constant.2]\nvalue = '<U4 1>'\nname = 'X'\n"
     "[report.1]\nvariables = ['X']"),
     "8:14: the name 'X' is that of variables 1, 2: write an id"),
    ("[event.1]\nreports = [5]", "2:12: no report 5; there is none"),
    ("[event.1]\nenabled = 1", "2:11: enabled = 1 is not true or false"),
    ("[alarm.hot]", "1:8: 'hot' is no number, and SEMI E5 has numbers for alarms: [alarm.5001]"),
    ("[alarm.1]\ncategory = 0", "2:12: category = 0 is not a whole number in 1..127"),
    ("[alarm.1]\nset_event = 'Hot'", "2:13: no event 'Hot'; there is none"),
    ("[alarm.1]\nname = 'Hot'", "2:1: unknown key 'name' in [alarm.1]"),
    (f"[alarm.1]\ntext = '{'x' * 121}'", "2:8: 121 bytes of text, and at most 120 are allowed"),
    ("[program.X]", "1:10: write body = '<A \"...\">' or file = \"NAME\""),
    ("[program.X]\nbody = '<A>'\nfile = 'x'", "3:8: body or file, not both"),
    ("[program.X]\nfile = 'not-there'", "2:8: cannot read not-there: No such file"),
    ("[program.X]\nfile = 'a\\u0000b'".replace("'a", '"a').replace("b'", 'b"'),
     "2:8: cannot read a\0b: embedded null byte"),
    ('[program.X]\nfile = "no\\there"',
     "2:8: cannot read no\there: No such file or directory; in double"),
    ("[program.'']\nbody = '<A>'", "1:10: a name of 1 to 120 bytes is allowed, not of 0"),
    ("[command.X]\nanswer = 256", "2:10: answer = 256 is not a whole number in 0..255"),
    ("[command.X]\nparameters = [5]", "2:15: parameters = 5 is not a text"),
    ("[command.X]\nparameters = 'P'",
     "2:14: parameters = 'P' is not an array of names: write parameters = ['P']"),
    ("[command.X]\nparameters = 5",
     "2:14: parameters = 5 is not an array of names: write parameters = [\"LOT\"]"),
    ("[command.X]\nparameters = ['P', 'P']", "2:14: parameter 'P' is there twice"),
    ("[command.X]\nparameters = {P = {variable = 5}}", "2:31: no variable 5; there is none"),
    ("[command.X]\nparameters = {P = {prog = true}}", "2:20: unknown key 'prog'"),
    ("[command.X]\nparameters = {P = true}", "2:19: "),
]  # fmt: skip


@pytest.mark.parametrize(("text", "why"), WRONG, ids=[text for text, _ in WRONG])
def test_what_is_wrong_is_told_where_it_is(text: str, why: str) -> None:
    with pytest.raises(TomlError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"tool.toml:{why}")


def test_all_that_is_wrong_is_told_and_not_what_follows_from_it() -> None:
    text = """
        [variable.1]
        vaule = '<U4 1>'
        [variable.2]
        value = '<U4 9>'
        highest = 5
        [report.1]
        variables = [1, 7, "nine", 2]
        [event.1]
        enabled = 1
        [alarm.1]
        set_event = 1
        [alarm.2]
        set_event = 2
        [program.A]
        boddy = 1
    """
    with pytest.raises(TomlError) as caught:
        read(text)
    assert [(each.line, each.problem.partition(";")[0]) for each in caught.value.problems] == [
        (2, "'value' is missing in [variable.1]"),
        (3, "unknown key 'vaule' in [variable.1]"),
        (5, "variable 2: 9 is not at most 5"),
        (8, "no variable 7"),
        (8, "no variable 'nine'"),
        (10, "enabled = 1 is not true or false"),
        (14, "no event 2"),
        (15, 'write body = \'<A "...">\' or file = "NAME"'),
        (16, "unknown key 'boddy' in [program.A]"),
    ]


def test_a_file_longer_than_an_item_is_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsms_engine.fake.model.reading.MAX_LENGTH", 4)
    (tmp_path / "recipe.bin").write_bytes(b"1234")
    name, text = str(tmp_path / "tool.toml"), "[program.X]\nfile = 'recipe.bin'"
    assert read(text, name=name).programs[b"X"].body == B(b"1234")
    (tmp_path / "recipe.bin").write_bytes(b"12345")
    with pytest.raises(TomlError, match=r":2:8: .*recipe\.bin: longer than an item, 4 bytes"):
        read(text, name=name)

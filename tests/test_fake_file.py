"""The file of a simulated tool, or of several: what is read of it, and that all that is wrong with
it, and with the files that it names, is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsms_engine import Settings
from hsms_engine.fake.file import ToolFile, default_tool, read_tool_file
from hsms_engine.secs2 import item_of
from hsms_engine.toml_file import TomlError

START = """\
[event.101]
name = "LotStarted"

[[rule]]
on = 'S2F41 W <L [2] <A "START"> _>'
reply = 'S2F42 <L [2] <B 4> <L [0]>> .'
then = [{wait = 2.0}, {event = 101}]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(content: str, name: str = "f.toml") -> str:
    Path(name).write_text(content, encoding="utf-8")
    return name


def read(content: str) -> ToolFile:
    return read_tool_file(written(content))


def told(content: str) -> list[str]:
    """What is wrong with a file: a text for each problem."""
    written(content)
    with pytest.raises(TomlError) as raised:
        read_tool_file("f.toml")
    return [*map(str, raised.value.problems)]


# One tool


def test_a_file_of_an_event_and_a_rule_is_a_tool() -> None:
    file = read(START)
    assert (file.path, file.files, file.settings) == ("f.toml", ("f.toml",), Settings())
    assert file.summary() == "1 event, 1 rule"
    [tool] = file.tools
    assert tool.model.events[101].name == "LotStarted"
    assert [each.name for each in tool.rules.rules] == ["rule 1"]
    assert (tool.name, tool.session_id, tool.port) == ("", None, None)
    assert (tool.seed, tool.unknown, tool.model.mdln) == (0, "report", "hsms-engine")


def test_what_is_in_the_table_of_the_tool_and_in_its_settings_holds() -> None:
    Path("bodies").mkdir()
    Path("bodies/p").write_bytes(b"x")
    file = read(
        '[tool]\nmodel = "ETCHER"\nsoftware = "7"\nids = "A"\ncontrol = "offline"\nseed = 5\n'
        'unknown = "echo"\n[settings]\nport = 7000\nt3 = 9\ntext_encoding = "latin-1"\n'
        "[variable.1]\nvalue = '<A \"ä\">'\n[program.p]\nfile = 'bodies/p'\n"
        "[[rule]]\non = 'S10F1 W <L _ <A \"ä\">>'\nreply = 'S10F2 <B 0>'\n"
    )
    [tool] = file.tools
    assert (tool.model.mdln, tool.model.softrev, tool.model.is_online) == ("ETCHER", "7", False)
    assert (tool.seed, tool.unknown) == (5, "echo")
    assert file.settings == Settings(port=7000, t3=9, text_encoding="latin-1")
    assert tool.model.text_encoding == "latin-1"
    assert file.files == ("f.toml", str(Path("bodies/p")))
    assert file.summary() == "1 variable, 1 program, 1 rule"


def test_the_shipped_tool_is_good_without_a_doubt() -> None:
    file = default_tool()
    assert (file.path, file.files, file.settings) == ("default.toml", (), Settings())
    assert "events" in file.summary()
    [tool] = file.tools
    shipped = Path(__file__).parent.parent / "hsms_engine/fake/default.toml"
    again = read_tool_file(shipped)
    assert again.doubts == ()
    assert again.tools[0].model == tool.model
    assert [*map(str, again.tools[0].rules.rules)] == [*map(str, tool.rules.rules)]


@pytest.mark.parametrize("content", ["[tool]\nmodel = 'X'\n", "[settings]\n", "[tool]\n[settings]"])
def test_a_tool_without_a_table_of_a_model_has_the_model_that_is_shipped(content: str) -> None:
    file = read(content + "\n[[rule]]\nevent = 'LotStarted'\nthen = [{wait = 1}]\n")
    shipped = default_tool().tools[0].model
    [tool] = file.tools
    assert tool.model.variables == shipped.variables
    assert tool.model.mdln == ("X" if "X" in content else shipped.mdln)
    # Its rules are its own.
    assert len(tool.rules.rules) == 1


def test_an_empty_model_is_one_that_has_a_table() -> None:
    file = read("[variable]")
    assert (file.tools[0].model.variables, file.summary()) == ({}, "nothing but its name")


@pytest.mark.parametrize(
    ("content", "doubts"),
    [
        ("[event.1]\nname = 'A'\n[event.2]\nname = 'B'\n[event.A2]", []),
        (
            "[event.1]\nname = 'A'\n[event.2]\nname = 'A'\n[event.3]\nname = 'A'",
            [
                "4:8: 'A' is the name of event 1 too: only its id leads to it",
                "6:8: 'A' is the name of event 1 too: only its id leads to it",
            ],
        ),
        (
            "[variable.1]\nname = 'A'\nvalue = '<A>'\n[constant.2]\nname = 'A'\nvalue = '<A>'",
            ["5:8: 'A' is the name of variable 1 too: only its id leads to it"],
        ),
        (
            "[variable.1]\nname = '0x2'\nvalue = '<A>'\n[constant.2]\nname = '2'\nvalue = '<A>'",
            ["2:8: '0x2' is the id of another variable: this name leads to that one"],
        ),
        (
            "[event.A]\nname = 'B'\n[event.B]\nname = 'A'",
            [
                "2:8: 'B' is the id of another event: this name leads to that one",
                "4:8: 'A' is the id of another event: this name leads to that one",
            ],
        ),
        (
            "[event.1_001]\n[event.'+7']\n[event.0b11]\n[event.' 7 ']\n[event.'\uff17']\n"
            "[event.7.0]\n[event.face]\n[program.1_0]\nbody = '<A>'".replace("7.0", "'7.0'"),
            [
                "1:8: '1_001' is an id of text: as a number, write [event.1001]",
                "2:8: '+7' is an id of text: as a number, write [event.7]",
                "3:8: '0b11' is an id of text: as a number, write [event.3]",
                "4:8: ' 7 ' is an id of text: as a number, write [event.7]",
                "5:8: '\uff17' is an id of text: as a number, write [event.7]",
            ],
        ),
        (
            f"[report.{'9' * 21}]\nvariables = [1]\n[variable.1]\nvalue = '<A>'",
            [f"1:9: '{'9' * 21}' is an id of text: a number has at most 20 digits"],
        ),
    ],
)
def test_an_id_or_a_name_that_hardly_leads_where_it_is_meant_to_is_a_doubt(
    content: str, doubts: list[str]
) -> None:
    text = f"{content}\n[settings]\ntext_encoding = 'utf-8'\n"
    assert [str(each).removeprefix("f.toml:") for each in read(text).doubts] == doubts


def test_what_is_hardly_meant_is_a_doubt() -> None:
    file = read("[[rule]]\non = 'S1F1 W <A \"x\">'\nreply = 'none'")
    [doubt] = file.doubts
    assert str(doubt).startswith("f.toml:2:")


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", ["f.toml:1:1: nothing is in this file: a tool has [event.ID], [variable.ID],"]),
        ("# x\n", ["f.toml:1:1: nothing is in this file"]),
        (
            "[link.a]\nhost = 'x'",
            ["f.toml:1:2: this is a file of links: give it with --config FILE"],
        ),
        ("[defaults]", ["f.toml:1:2: this is a file of links"]),
        ("[[step]]", ["f.toml:1:3: this is a scenario: write hsms-engine run FILE HOST PORT"]),
        ("[varable.1]", ["f.toml:1:2: unknown key 'varable'; did you mean 'variable'?"]),
        ("[rules.1]", ["f.toml:1:2: unknown key 'rules'; did you mean 'rule'?"]),
        ("[tol]\n[evnt]", ["f.toml:1:2: unknown key 'tol'", "f.toml:2:2: unknown key 'evnt'"]),
        ("tool = 3", ["f.toml:1:8: 'tool' is no table: write [tool]"]),
        ("[[tool]]", ["f.toml:1:3: 'tool' is no table: write [tool]"]),
        ("settings = []", ["f.toml:1:12: 'settings' is no table: write [settings]"]),
        ("[rule]", ["f.toml:1:2: 'rule' is no array of tables: write [[rule]]"]),
        ("event = 101", ["f.toml:1:9: 'event' is no table: write [event.NAME]"]),
        ("[tool]\nseed = -1", ["f.toml:2:8: seed = -1 is not a whole number in 0..9223372036"]),
        ("[tool]\nseed = 1.0", ["f.toml:2:8: seed = 1.0 is not a whole number"]),
        ("[tool]\nunknown = 'eco'", ["f.toml:2:11: unknown unknown 'eco'; did you mean 'echo'?"]),
        ("[tool]\nmodle = 'x'", ["f.toml:2:1: unknown key 'modle' in [tool]; did you mean 'mod"]),
        ("[tool]\nmodel = x", ["f.toml:2:9: not valid TOML: Invalid value; model is text, and"]),
        ("[[rule]]\non = S1F1", ["f.toml:2:6: not valid TOML: Invalid value; on is text, and"]),
        # A rule is read as the settings say, also beside a broken model.
        (
            (
                "[settings]\ntext_encoding = 'latin-1'\n[variable.1]\n[[rule]]\n"
                "on = 'S10F1 <L _ <A \"ä\">>'\nthen = [{wait = 1}]"
            ),
            ["f.toml:3:11: 'value' is missing in [variable.1]"],
        ),
        ("[settings]\nport = -1", ["f.toml:2:8: port=-1 is not a whole number in 0..65535"]),
        (
            (
                "[tool]\nmodel = 5\nids = 'X'\nseed = 'a'\nx = 1\n[settings]\nt3 = 0\nt99 = 1\n"
                "[variable.1]\nvalue = '<U4 x>'\n[event.1]\nreports = [7]\n[[rule]]\non = 'S1F'\n"
                "[[rule]]\nafter = 1\nthen = [{wiat = 1}]\n[oops]"
            ),
            [
                "f.toml:2:9: model = 5 is not a text",
                "f.toml:3:7: unknown ids 'X'",
                "f.toml:4:8: seed = 'a' is text, not a whole number",
                "f.toml:5:1: unknown key 'x' in [tool]",
                "f.toml:7:6: t3=0 is not in 1..120 s",
                "f.toml:8:1: unknown setting 't99'",
                "f.toml:10:14: expected an integer, found x",
                "f.toml:12:12: no report 7",
                "f.toml:14:",
                "f.toml:17:10: unknown step 'wiat'; did you mean 'wait'?",
                "f.toml:18:2: unknown key 'oops'",
            ],
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_all_that_is_wrong_with_a_tool_is_told(content: str, problems: list[str]) -> None:
    found = told(content)
    assert [text[: len(start)] for text, start in zip(found, problems, strict=True)] == problems


# Several tools


def test_tools_have_their_names_addresses_and_seeds_and_share_what_they_are() -> None:
    written("[tool]\nseed = 7\n" + START, "etcher.toml")
    written("[settings]\nport = 6000\nsession_id = 30\nt3 = 9\n" + START, "own.toml")
    file = read(
        "[settings]\nport = 5000\nsession_id = 4\nt3 = 8\n"
        "[tools.A]\nfile = 'etcher.toml'\n"
        "[tools.B]\nfile = './etcher.toml'\nsession_id = 10\ncount = 3\n"
        "[tools.C]\nfile = 'own.toml'\n"
        "[tools.'D 1']\nfile = 'own.toml'\nport = 5000\nsession_id = 31\n"
        "[tools.E]\nfile = 'etcher.toml'\nport = 0\ncount = 1\n"
    )
    assert [(each.name, each.port, each.session_id, each.seed) for each in file.tools] == [
        ("A", 5000, 4, 7),
        ("B-1", 5000, 10, 7),
        ("B-2", 5000, 11, 8),
        ("B-3", 5000, 12, 9),
        ("C", 6000, 30, 0),
        ("D 1", 5000, 31, 0),
        ("E-1", 0, 4, 7),
    ]
    assert file.settings == Settings(port=5000, session_id=4, t3=8)
    assert file.files == ("f.toml", "etcher.toml", "own.toml")
    assert file.summary() == "7 tools"
    a, b, *_ = file.tools
    assert a.model is b.model
    assert a.rules is b.rules


def test_a_file_of_several_may_have_one() -> None:
    written(START, "a.toml")
    assert read("[tools.A]\nfile = 'a.toml'").summary() == "1 tool"


def test_the_files_of_tools_are_beside_the_one_that_names_them() -> None:
    Path("tools").mkdir()
    written("[program.p]\nfile = 'p.bin'", "tools/a.toml")
    Path("tools/p.bin").write_bytes(b"x")
    written("[tools.A]\nfile = 'a.toml'", "tools/line.toml")
    names = ("line.toml", "a.toml", "p.bin")
    assert read_tool_file("tools/line.toml").files == (
        "tools/line.toml",
        *(str(Path("tools", each)) for each in names[1:]),
    )


def test_texts_of_all_tools_are_those_of_the_link() -> None:
    written("[settings]\ntext_encoding = 'latin-1'\n[variable.1]\nvalue = '<A \"ä\">'", "a.toml")
    assert told("[tools.A]\nfile = 'a.toml'")[0].startswith("a.toml:4:")
    file = read("[settings]\ntext_encoding = 'utf-8'\n[tools.A]\nfile = 'a.toml'")
    assert file.tools[0].model.variables[1].value == item_of("ä", text_encoding="utf-8")


def test_doubts_about_each_file_are_told_once() -> None:
    written("[[rule]]\non = 'S1F1 W <A \"x\">'\nreply = 'none'", "a.toml")
    file = read("[tools.A]\nfile = 'a.toml'\n[tools.B]\nfile = 'a.toml'\nsession_id = 1")
    assert [each.file for each in file.doubts] == ["a.toml"]


A = "[tools.A]\nfile = 'a.toml'\n"


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        # Tables
        ("tools = 3", ["f.toml:1:9: 'tools' is no table: write [tools.NAME]"]),
        ("[[tools]]", ["f.toml:1:3: 'tools' is no table: write [tools.NAME]"]),
        ("[tools]", ["f.toml:1:2: no tool is here: write [tools.NAME]"]),
        ("tools.A = 'a.toml'", ["f.toml:1:11: 'tools.A' is no table: write [tools.A]"]),
        (
            f"{A}[tool]\n[[rule]]\n[x]",
            [
                "f.toml:3:2: 'tool' in a file of several tools: write it in the file of a tool,",
                "f.toml:4:3: 'rule' in a file of several tools",
                "f.toml:5:2: unknown key 'x'; there are tools, settings, ",
            ],
        ),
        # Keys
        ("[tools.A]", ["f.toml:1:8: 'file' is missing in [tools.A]"]),
        (f"{A}fiel = 1", ["f.toml:3:1: unknown key 'fiel' in [tools.A]; did you mean 'file'?"]),
        ("[tools.A]\nfile = 5", ["f.toml:2:8: file = 5 is not a text: write it in quotes"]),
        (
            f"{A}port = 65_536\ncount = 0\nsession_id = -1",
            [
                "f.toml:3:8: port = 65536 is not a whole number in 0..65535",
                "f.toml:4:9: count = 0 is not a whole number in 1..32768",
                "f.toml:5:14: session_id = -1 is not a whole number in 0..32767",
            ],
        ),
        (
            f"{A}session_id = 32_700\ncount = 69",
            ["f.toml:4:9: these are session ids up to 32768, and the highest is 32767"],
        ),
        ("[tools.'']\nfile = 'a.toml'", ["f.toml:1:8: '' is no name of a tool: it is up to 100"]),
        ('[tools."a\\n"]\nfile = "a.toml"', [r"f.toml:1:8: 'a\n' is no name of a tool"]),
        (f"[tools.{'x' * 101}]", ["f.toml:1:8: 'xxxxxxx"]),
        # Names and addresses
        (
            f"[tools.A-2]\nfile = 'a.toml'\n{A}session_id = 1\ncount = 2",
            ["f.toml:3:8: 'A-2' is the name of a tool of [tools.A-2] too: give it another"],
        ),
        (
            f"{A}[tools.B]\nfile = 'a.toml'",
            ["f.toml:3:8: session id 0 at port 5000 is that of a tool of [tools.A] too: give"],
        ),
        (
            f"{A}count = 5\n[tools.B]\nfile = 'a.toml'\nport = 5000\nsession_id = 4",
            ["f.toml:7:14: session id 4 at port 5000 is that of a tool of [tools.A] too: give"],
        ),
        (
            f"{A}port = 1\nsession_id = 3\n[tools.'B c']\nfile = 'own.toml'",
            ["f.toml:5:8: session id 3 at port 1 is that of a tool of [tools.A] too"],
        ),
        # Files
        (
            "[tools.A]\nfile = 'none.toml'",
            ["f.toml:2:8: cannot read none.toml: No such file or directory"],
        ),
        ("[tools.A]\nfile = ''", ["f.toml:2:8: cannot read .: "]),
        ('[tools.A]\nfile = "a\\u0000b"', ["f.toml:2:8: cannot read a\0b: embedded null"]),
        (
            "[tools.A]\nfile = 'f.toml'",
            ["f.toml:2:8: f.toml is a file of several tools: name the files of its tools here"],
        ),
        (
            "[tools.A]\nfile = 'line.toml'",
            ["f.toml:2:8: line.toml is a file of several tools: name the files of its tools"],
        ),
        ("[tools.A]\nfile = 'links.toml'", ["links.toml:1:2: this is a file of links"]),
        ("[tools.A]\nfile = 'no.toml'", ["no.toml:1:6: not valid TOML: Invalid value; on is text"]),
        ("[tools.A]\nfile = 'empty.toml'", ["empty.toml:1:1: nothing is in this file"]),
        # All at once, each once
        (
            (
                "[settings]\nt3 = 0\n[tools.A]\nfile = 'bad.toml'\nport = -1\n"
                "[tools.B]\nfile = 'bad.toml'\nsession_id = 1\n[tools.C]\nfile = 'none.toml'\n"
            ),
            [
                "f.toml:2:6: t3=0 is not in",
                "f.toml:5:8: port = -1 is not a whole number",
                "f.toml:10:8: cannot read none.toml",
                "bad.toml:2:6: t6=0 is not in",
                "bad.toml:4:12: no report 7",
                "bad.toml:8:2: unknown key 'x'",
            ],
        ),
        (
            "settings = 3\n" + A,
            ["f.toml:1:12: 'settings' is no table: write [settings]"],
        ),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_all_that_is_wrong_with_several_tools_is_told(content: str, problems: list[str]) -> None:
    written(START, "a.toml")
    written("[settings]\nport = 1\nsession_id = 3\n" + START, "own.toml")
    written("[tools.X]\nfile = 'f.toml'", "line.toml")
    written("[link.x]", "links.toml")
    written("on = S1F1", "no.toml")
    written("", "empty.toml")
    written(
        "[settings]\nt6 = 0\n[event.1]\nreports = [7]\n[[rule]]\nevent = 9\nthen = [{wait=1}]\n[x]",
        "bad.toml",
    )
    found = told(content)
    assert [text[: len(start)] for text, start in zip(found, problems, strict=True)] == problems

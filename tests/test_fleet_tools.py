"""The tools of a fleet: what a file of them may say, and a line for each thing that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsms_engine import Settings, SettingsError
from hsms_engine.fleet import tools as module
from hsms_engine.fleet.tools import Tools, expect_name, is_tool_name

GOOD = """
[defaults]
t3 = 60

[profile.far]
connect_timeout = 20

[link.ETCHER-1]
host = "10.1.2.3"

[link.STEPPER-2]
profile = "far"
host = "10.1.2.4"
port = 5001
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "tools.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(folder: Path, text: str) -> list[str]:
    """What is wrong with a file, without its folder."""
    with pytest.raises(SettingsError) as raised:
        Tools.from_toml(written(folder, text))
    return [each.removeprefix(f"{folder}/") for each in str(raised.value).split("\n")]


def test_a_file_names_tools_and_their_settings(tmp_path: Path) -> None:
    tools = Tools.from_toml(written(tmp_path, GOOD))
    assert [*tools] == ["ETCHER-1", "STEPPER-2"]
    assert len(tools) == 2
    assert repr(tools) == "<Tools: 2>"
    assert tools["ETCHER-1"].host == "10.1.2.3"
    assert tools["ETCHER-1"].name == "ETCHER-1"
    assert tools["ETCHER-1"].t3 == tools["STEPPER-2"].t3 == 60
    assert tools["STEPPER-2"].port == 5001
    assert tools["STEPPER-2"].connect_timeout == 20


def test_the_digest_is_that_of_the_names_in_any_order() -> None:
    here, there = Settings(port=5001), Settings(port=5002)
    one = Tools({"A": here, "B": there})
    assert one.digest == Tools({"B": here, "A": there}).digest
    assert one.digest != Tools({"A": here, "C": there}).digest


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a fleet has a tool at least, and here is none: write [link.NAME]"),
        ("[defaults]\nt3 = 1", "a fleet has a tool at least, and here is none: write [link.NAME]"),
    ],
)
def test_a_file_without_a_tool_is_told(tmp_path: Path, text: str, told: str) -> None:
    assert refused(tmp_path, text) == [f"tools.toml:1:1: {told}"]


def test_a_tool_that_is_listed_twice_is_told_with_both_places(tmp_path: Path) -> None:
    text = '[link.A]\nhost = "h"\n[link.B]\n[link.A]\nport = 1\n'
    assert refused(tmp_path, text) == [
        "tools.toml:4:8: not valid TOML: Cannot declare [link.A] twice; line 1 has [link.A]"
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("Etcher.fab", "etcher.FAB."),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("FE80::A", "fe80::a"),
        ("10.1.2.3", "::ffff:10.1.2.3"),
        ("localhost", "127.0.0.1"),
    ],
)
def test_two_tools_at_one_address_are_told(tmp_path: Path, one: str, other: str) -> None:
    text = f'[link.A]\nhost = "{one}"\n\n[link.B]\nhost = "{other}"\n'
    assert refused(tmp_path, text) == [
        f"tools.toml:4:7: 'B' and 'A' are two tools at one address, {other}:5000"
    ]


def test_the_same_host_with_another_port_is_another_tool() -> None:
    assert len(Tools({"A": Settings(port=5001), "B": Settings(port=5002)})) == 2


@pytest.mark.parametrize(
    "name", ["A", "ETCHER-1", "bay_4.etcher", "7", "蚀刻机-1", "é" * 64, "-", "_"]
)
def test_a_name_that_can_be_one(name: str) -> None:
    assert is_tool_name(name)
    expect_name("a tool", name)


@pytest.mark.parametrize(
    "name",
    ["", ".A", "A B", "A*", "A?", "A[1]", "{A}", "A:1", "A/B", "A\n", "A\0", "x" * 65, "e\u0301"],
)
def test_a_name_that_cannot_be_one_is_told(name: str) -> None:
    assert not is_tool_name(name)
    with pytest.raises(SettingsError, match=r"is no name of a process: it is up to 64 letters"):
        expect_name("a process", name)
    with pytest.raises(SettingsError, match=r"is no name of a tool: it is up to 64 letters"):
        Tools({name: Settings()})


def test_what_is_no_text_is_no_name() -> None:
    with pytest.raises(SettingsError, match=r"^7 is no name of a tool: it is up to 64 letters"):
        expect_name("a tool", 7)


def test_everything_that_is_wrong_is_told_with_its_place(tmp_path: Path) -> None:
    text = '[link."A B"]\nhost = "h"\n[link.C]\nhost = "H"\n[link."*"]\nport = 1\n'
    names = "it is up to 64 letters, digits, '_', '-' and '.', the first no '.'"
    assert refused(tmp_path, text) == [
        f"tools.toml:1:7: 'A B' is no name of a tool: {names}",
        "tools.toml:3:7: 'C' and 'A B' are two tools at one address, H:5000",
        f"tools.toml:5:7: '*' is no name of a tool: {names}",
    ]


def test_an_unknown_key_and_a_value_out_of_range_are_told(tmp_path: Path) -> None:
    text = "[link.A]\nhots = 'h'\n[link.B]\nt3 = 9999\n[tools.C]\n"
    told = refused(tmp_path, text)
    assert told[0].startswith("tools.toml:2:1: unknown setting 'hots'; did you mean")
    assert told[1].startswith("tools.toml:4:6: t3=9999")
    assert told[2].startswith("tools.toml:5:2: unknown table 'tools'")
    assert len(told) == 3


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    assert refused(tmp_path, "[[rule]]\non = 'S1F1'\n") == [
        "tools.toml:1:3: this is the file of a tool: write hsms-engine fake FILE"
    ]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^cannot read .*no\.toml: No such file or directory$"):
        Tools.from_toml(tmp_path / "no.toml")


def test_too_many_tools_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOOLS", 2)
    many = {f"T{number}": Settings(port=number) for number in range(3)}
    with pytest.raises(SettingsError, match=r"^these are 3 tools, and a fleet has at most 2$"):
        Tools(many)

"""``hsms-engine settings``: every setting with its origin, and all that is wrong with a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from hsms_engine import Settings, SettingsError, cli
from hsms_engine.cli.options import PASSWORD
from hsms_engine.settings import allowed

NAMES = [each.name for each in fields(Settings)]
FILE = """\
[defaults]
t6 = 3
linktest_interval = 0
[profile.far]
t3 = 90
[link.etcher-1]
profile = "far"
host = "10.1.2.3"
is_equipment = true
allowed_networks = ["10.0.0.0/8", "::1"]
tls_key_password = "secret"
[link.b]
allow_short_timers = true
"""


@pytest.fixture(autouse=True)
def no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("f.toml").write_text(FILE, encoding="utf-8")
    return Path("f.toml")


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in lines(capsys)]
    return {each.get("name", each["event"]): each for each in found}


def test_without_a_file_every_setting_has_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings", "show"]) == 0
    shown = lines(capsys)
    assert [line.split()[0] for line in shown] == NAMES
    assert all(" default; " in line for line in shown)
    assert "t3                          45              default; 1..120 s" in shown
    assert "allowed_networks            []              default; texts" in shown


@pytest.mark.usefixtures("at")
def test_every_setting_of_a_link_says_where_it_comes_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["settings", "show", "f.toml", "--link", "etcher-1"]) == 0
    shown = [re.sub(" +", " ", each) for each in lines(capsys) if " default; " not in each]
    assert shown == [
        "name 'etcher-1' f.toml:6 [link.etcher-1]; text",
        "host '10.1.2.3' f.toml:8 [link.etcher-1]; text",
        "is_equipment true f.toml:9 [link.etcher-1]; true or false",
        "t3 90 f.toml:5 [profile.far]; 1..120 s",
        "t6 3 f.toml:2 [defaults]; 1..240 s",
        "linktest_interval none f.toml:3 [defaults]; 0.1..86400 s, or none",
        "allowed_networks ['10.0.0.0/8', '::1'] f.toml:10 [link.etcher-1]; texts",
        "tls_key_password (not shown) f.toml:11 [link.etcher-1]; text",
    ]


@pytest.mark.usefixtures("at")
def test_as_json_each_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings", "show", "f.toml", "--link", "etcher-1", "--json"]) == 0
    found = told(capsys)
    assert [*found] == NAMES
    assert found["t3"] == {
        "event": "setting",
        "name": "t3",
        "value": 90,
        "allowed": "1..120 s",
        "origin": "profile",
        "table": "profile.far",
        "file": "f.toml",
        "line": 5,
        "column": 1,
    }
    assert found["t5"] == {
        "event": "setting",
        "name": "t5",
        "value": 10,
        "allowed": "1..240 s",
        "origin": "default",
    }
    assert found["linktest_interval"]["value"] is None
    assert found["tls_key_password"]["value"] == "(not shown)"


def test_a_password_of_the_environment_is_told_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PASSWORD, "secret")
    assert cli.main(["settings", "show"]) == 0
    out = capsys.readouterr().out
    assert "tls_key_password            (not shown)     HSMS_TLS_KEY_PASSWORD; text" in out
    assert "secret" not in out


@pytest.mark.usefixtures("at")
def test_with_short_timers_their_range_is_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings", "show", "f.toml", "--link", "b", "--json"]) == 0
    assert told(capsys)["t3"]["allowed"] == "0.001..120 s"


def numbers() -> Iterator[tuple[str, float, float]]:
    for name in NAMES:
        if found := re.match(r"([\d.]+)\.\.([\d.]+)", allowed(name)):
            yield name, float(found[1]), float(found[2])


def taken(name: str, value: float) -> bool:
    number = int(value) if value == int(value) else value
    changes: Any = {name: number}
    try:
        Settings().replace(**changes)
    except SettingsError:
        return False
    return True


@pytest.mark.parametrize(("name", "lowest", "highest"), [*numbers()])
def test_the_range_that_is_told_is_the_one_that_is_kept(
    name: str, lowest: float, highest: float
) -> None:
    assert taken(name, lowest)
    assert taken(name, highest)
    assert not taken(name, highest + 1)
    assert not taken(name, lowest - 1)


def test_all_others_are_choices_or_texts() -> None:
    ranged = {name for name, _, _ in numbers()}
    found = {allowed(name) for name in NAMES if name not in ranged}
    assert found == {"text", "text, or none", "texts", "true or false", "probe or refuse"}
    assert len(ranged) == 32


# What is wrong


def test_a_good_file_is_said_to_be_good(at: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings", "check", "f.toml"]) == 0
    assert lines(capsys) == ["f.toml: good; links: etcher-1, b"]
    assert cli.main(["settings", "check", "f.toml", "--json"]) == 0
    assert told(capsys)["checked"] == {
        "event": "checked",
        "file": "f.toml",
        "problems": 0,
        "links": ["etcher-1", "b"],
    }
    at.write_text("", encoding="utf-8")
    assert cli.main(["settings", "check", "f.toml"]) == 0
    assert lines(capsys) == ["f.toml: good; links: none"]


def test_all_problems_of_a_file_are_told_with_their_places(
    at: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at.write_text("[link.a]\nt3 = 0\nt33 = 3\n[defaults]\nport = 'x'\n", encoding="utf-8")
    assert cli.main(["settings", "check", "f.toml"]) == 1
    first, second, third, last = lines(capsys)
    assert first.startswith("f.toml:2:6: t3=0 is not in 1..120 s")
    assert second == "f.toml:3:1: unknown setting 't33'; did you mean 't3'?"
    assert third.startswith("f.toml:5:8: port='x' is text, not")
    assert last == "f.toml: 3 problems"
    assert cli.main(["settings", "check", "f.toml", "--json"]) == 1
    objects = [json.loads(line) for line in lines(capsys)]
    assert [(each["event"], each.get("line"), each.get("column")) for each in objects] == [
        ("problem", 2, 6),
        ("problem", 3, 1),
        ("problem", 5, 8),
        ("checked", None, None),
    ]
    assert objects[-1]["problems"] == 3
    at.write_text("[link.a]\nt3 = \n", encoding="utf-8")
    assert cli.main(["settings", "check", "f.toml"]) == 1
    assert lines(capsys) == ["f.toml:2:6: not valid TOML: Invalid value", "f.toml: 1 problem"]


def test_names_that_a_terminal_would_act_on_are_escaped(
    at: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at.write_text('[link."a\\u001b[2J"]\nt6 = 3\n', encoding="utf-8")
    assert cli.main(["settings", "check", "f.toml"]) == 0
    assert cli.main(["settings", "show", "f.toml"]) == 0
    named = at.rename("\x1b[2J.toml")
    assert cli.main(["settings", "check", str(named)]) == 0
    named.write_text("t3 =", encoding="utf-8")
    assert cli.main(["settings", "check", str(named)]) == 1
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.usefixtures("at")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["check"], "Missing argument 'FILE'"),
        (["check", "/no/such"], "cannot read /no/such: No such file"),
        (["check", "/"], "cannot read /: Is a directory"),
        (["check", "/dev/zero"], "/dev/zero: longer than 1 MB"),
        (["show", "/no/such"], "cannot read /no/such: No such file"),
        (["show", "--link", "a"], "--link a needs FILE, where it stands"),
        (["show", "f.toml"], "f.toml has several links, name one: 'etcher-1', 'b'"),
        (["show", "f.toml", "--link", "etcher"], "did you mean 'etcher-1'?"),
        (["shwo"], "No such command 'shwo'"),
        ([], "Missing command"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["settings", *arguments]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    assert why in errors
    assert errors.count("\n") == 1

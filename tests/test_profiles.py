"""The TOML file of links and profiles: what it means, and that whatever is wrong with it is told in
one line with its place: file, line and column."""

from __future__ import annotations

import os
import re
import sys
import tracemalloc
from pathlib import Path

import pytest

from hsms_engine import Settings, SettingsError
from hsms_engine.profiles import Origin, read, settings_of
from hsms_engine.toml_file import LONGEST, TomlError, parse

FLEET = """\
# The links of one host.
[defaults]
t6 = 3

[profile.base]
t3 = 30
backoff_jitter = 0

[profile.fast]
profile = "base"
t3 = 10

[link.etcher-1]
profile = "fast"
host = "10.1.2.3"
port = 5001
is_equipment = false

[link."stepper 2"]
t6 = 4
linktest_interval = 0
"""


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("f.toml")


def error_of(path: Path, content: str | bytes, name: str | None = None) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError) as raised:
        Settings.from_toml(path, name)
    text = str(raised.value)
    assert "\n" not in text
    return text


# What it means


def test_a_link_is_its_own_settings_over_its_profiles_over_the_defaults(at: Path) -> None:
    at.write_text(FLEET, encoding="utf-8")
    assert Settings.from_toml(at, "etcher-1") == Settings(
        name="etcher-1", t3=10, t6=3, backoff_jitter=0, host="10.1.2.3", port=5001
    )
    assert Settings.from_toml(str(at), "stepper 2") == Settings(
        name="stepper 2", t6=4, linktest_interval=None
    )


def test_all_links_come_in_the_order_of_the_file(at: Path) -> None:
    at.write_text(FLEET, encoding="utf-8")
    links = Settings.links_from_toml(at)
    assert [*links] == ["etcher-1", "stepper 2"]
    assert links["etcher-1"] == Settings.from_toml(at, "etcher-1")


def test_a_link_has_its_name_in_the_file_unless_it_has_one_or_that_cannot_be_one(at: Path) -> None:
    content = '[defaults]\n[link.a]\n[link.b]\nname = "etcher"\n[link."two\\nlines"]\n[link.""]'
    at.write_text(content, encoding="utf-8")
    named = {key: each.name for key, each in Settings.links_from_toml(at).items()}
    assert named == {"a": "a", "b": "etcher", "two\nlines": "", "": ""}
    assert "f.toml:2:6: t3=0 is not" in error_of(at, "[link.a]\nt3 = 0")
    assert "f.toml:2:8: name=7 is not" in error_of(at, "[link.a]\nname = 7")


def test_without_a_name_it_is_the_only_link_or_the_defaults(at: Path) -> None:
    at.write_text("[link.a]\nt3 = 7", encoding="utf-8")
    assert Settings.from_toml(at) == Settings(name="a", t3=7)
    at.write_text("[defaults]\nt3 = 8", encoding="utf-8")
    assert Settings.from_toml(at) == Settings(t3=8)
    assert Settings.links_from_toml(at) == {}
    at.write_text("[defaults]", encoding="utf-8")
    assert Settings.from_toml(at) == Settings()


@pytest.mark.parametrize("content", ["", "# [link.a]", "[profile.a]\nt3 = 7", "[link]"])
def test_a_file_without_links_and_defaults_gives_nothing_silently(at: Path, content: str) -> None:
    assert error_of(at, content) == (
        "f.toml has no link: write [link.NAME], or [defaults] for settings of no link"
    )
    assert Settings.links_from_toml(at) == {}


@pytest.mark.parametrize(
    ("content", "column", "why"),
    [
        ("[link.a]\nport = 5k", 9, "Expected newline or end of document after a statement"),
        ("[link.a]\nhost = 'a' b", 12, "Expected newline or end of document after a statement"),
        ("[link.a]\nhost = ", 8, "Invalid value"),
        ("[link.a]\nhost = # none", 8, "Invalid value"),
    ],
)
def test_only_text_without_quotes_is_said_to_need_them(
    at: Path, content: str, column: int, why: str
) -> None:
    assert error_of(at, content) == f"f.toml:2:{column}: not valid TOML: {why}"


@pytest.mark.parametrize(
    "field", ["linktest_interval", "max_connections_per_address", "accept_rate"]
)
@pytest.mark.parametrize("zero", ["0", "0.0"])
def test_zero_is_none_where_there_may_be_none(at: Path, field: str, zero: str) -> None:
    at.write_text(f"[link.a]\n{field} = {zero}", encoding="utf-8")
    assert getattr(Settings.from_toml(at), field) is None
    # But false is no number.
    assert f"f.toml:2:{len(field) + 4}: {field}=False is not" in error_of(
        at, f"[link.a]\n{field} = false"
    )


def test_several_texts_are_an_array_and_files_begin_in_the_folder_of_the_file(at: Path) -> None:
    text = """[link.a]
allowed_networks = ["10.0.0.0/8", "::1"]
tls_certificate = "tool.pem"
tls_key = "/etc/tool-key.pem"
tls_authorities = "system"
"""
    at.write_text(text, encoding="utf-8")
    settings = Settings.from_toml(at)
    assert settings.allowed_networks == ("10.0.0.0/8", "::1")
    assert settings.tls_certificate == str(at.parent / "tool.pem")
    assert settings.tls_key == str(Path("/etc/tool-key.pem"))
    assert settings.tls_authorities == "system"


def test_an_array_of_what_is_no_text_is_refused(at: Path) -> None:
    content = "[link.a]\nallowed_networks = [1]"
    assert "f.toml:2:20: 'allowed_networks' is no array of texts" in error_of(at, content)


@pytest.mark.parametrize(
    "content",
    [
        "[link]\na.t3 = 7",
        "link.a.t3 = 7",
        "link = {a = {t3 = 7}}",
        "link = {'a' = {\"t3\" = 7}}",
        '["link"."a"]\n"\\u0074\\u0033" = 7',
        "\ufeff[link.a]\r\nt3 = 7\r\n",
    ],
)
def test_a_key_may_be_written_in_any_way_that_toml_has(at: Path, content: str) -> None:
    at.write_bytes(content.encode())
    assert Settings.from_toml(at, "a") == Settings(name="a", t3=7)


# What is wrong with it


@pytest.mark.parametrize(
    ("content", "text"),
    [
        # Names
        ("\n[lnk.a]", "f.toml:2:2: unknown table 'lnk'; did you mean 'link'?"),
        ("[lnk.a]\n[lnk.b]", "f.toml:1:2: unknown table 'lnk'; did you mean 'link'?"),
        ("[[step]]", "f.toml:1:3: this is a scenario: write hsms-engine run FILE HOST PORT"),
        ("[event.1]", "f.toml:1:2: this is the file of a tool: write hsms-engine fake FILE"),
        ("t3 = 7", "f.toml:1:1: unknown table 't3'; there are defaults, profile, link"),
        ("[link.a]\n\nt33 = 7", "f.toml:3:1: unknown setting 't33'; did you mean 't3'?"),
        ("[link.a]\nT3 = 7", "f.toml:2:1: unknown setting 'T3'; did you mean 't3'?"),
        (
            "[link.a]\nlinktest-interval = 7",
            "f.toml:2:1: unknown setting 'linktest-interval'; did you mean 'linktest_interval'?",
        ),
        ("[link.a]\nxyz = 7", "f.toml:2:1: unknown setting 'xyz'; there are profile, name, host, "),
        (
            "[defaults]\nprofile = 'a'",
            "f.toml:2:11: unknown profile 'a'; [defaults] are built on another file",
        ),
        ("[link.a.b]\nt3 = 7", "f.toml:1:9: unknown setting 'b'; "),
        ("[link.a]\n'' = 7", "f.toml:2:1: unknown setting ''; "),
        ("[link.a]\nself = 7", "f.toml:2:1: unknown setting 'self'; "),
        # Tables
        ("link = 3", "f.toml:1:8: 'link' is no table: write [link.NAME]"),
        ("[[link]]\nt3 = 7", "f.toml:1:3: 'link' is no table: write [link.NAME]"),
        ("[link]\nhost = 'tool'", "f.toml:2:8: 'link.host' is no table: write [link.host]"),
        ("\n[[link.a]]\nt3 = 7", "f.toml:2:8: 'link.a' is no table: write [link.a]"),
        ("profile.a = []", "f.toml:1:13: 'profile.a' is no table: write [profile.a]"),
        ("[[defaults]]", "f.toml:1:3: 'defaults' is no table: write [defaults]"),
        # Profiles
        (
            "[profile.fast]\n[link.a]\nprofile = 'fats'",
            "f.toml:3:11: unknown profile 'fats' (the name of another file ends in '.toml'); did",
        ),
        (
            "[link.a]\nprofile = 'X.TOML'",
            "f.toml:2:11: unknown profile 'X.TOML' (the name of another file ends in '.toml'); the",
        ),
        (
            "[link.a]\ntolerate = ['w_in_reply']",
            "f.toml:2:1: unknown setting 'tolerate'; there are tolerate_w_in_reply, tolerate_d",
        ),
        ("[link.a]\nprofile = 3", "f.toml:2:11: unknown profile 3; it is a name"),
        (
            "[link.a]\nprofile = 'x.toml'",
            "f.toml:2:11: cannot read x.toml: No such file or directory",
        ),
        ("[link.a]\nprofile = '.toml'", "f.toml:2:11: cannot read .toml: No such file"),
        ("[link.a]\nprofile = 'x\\0.toml'", "f.toml:2:11: cannot read x\\0.toml: No such file"),
        ('[link.a]\nprofile = "x\\u0000.toml"', "f.toml:2:11: cannot read x\0.toml: embedded null"),
        (
            "[link.a]\nprofile = 'f.toml'",
            "f.toml:1:2: 'link' in a file that is a profile: it has [defaults] only, and these are",
        ),
        ("[defaults]\nprofile = 3", "f.toml:2:11: unknown profile 3; it is a name"),
        (
            "[defaults]\nprofile = 'f.toml'",
            "f.toml:2:11: a profile is built on itself: f.toml on f.toml",
        ),
        (
            "[profile.a]\n[defaults]\nprofile = 'a'",
            "f.toml:3:11: unknown profile 'a'; [defaults] are built on another file only",
        ),
        (
            "[profile.a]\nprofile = 'a'",
            "f.toml:2:11: a profile is built on itself: a on a",
        ),
        (
            "[profile.a]\nprofile='b'\n[profile.b]\nprofile='c'\n[profile.c]\nprofile='b'",
            "f.toml:6:9: a profile is built on itself: b on c on b",
        ),
        # Values
        ("[link.a]\nt3 = 500", "f.toml:2:6: t3=500 is not in 1..120 s (reply: a data transaction"),
        ("[link.a]\nt3 = nan", "f.toml:2:6: t3=nan is not a number in 1..120 s"),
        (
            "[link.a]\nt3 = 2024-02-29",
            "f.toml:2:6: t3=datetime.date(2024, 2, 29) is not a number in",
        ),
        ("[link.a]\nt3 = true", "f.toml:2:6: t3=True is not a number in 1..120 s"),
        (
            "[link.a]\nport = '5000'",
            "f.toml:2:8: port='5000' is text, not a whole number in 0..65535",
        ),
        ("[link.a]\nt3 = '45'", "f.toml:2:6: t3='45' is text, not a number in 1..120 s"),
        ('[link.a]\nhost = "a\\tb"', "f.toml:2:8: host='a\\tb' is not a host name or"),
        ("[link.a]\nport = 0.0", "f.toml:2:8: port=0.0 is not a whole number in 0..65535"),
        ("[link.a]\nhost = ''", "f.toml:2:8: host='' is not a host name or address"),
        ("[link.a]\nis_equipment = 1", "f.toml:2:16: is_equipment=1 is not True or False"),
        ("[link.a]\nsecond_host = 'ask'", "f.toml:2:15: second_host='ask' is not 'probe' or"),
        ("[link.a]\nt3 = [7]", "f.toml:2:6: 't3' is no single value"),
        ("[link.a]\nt3.t3 = 7", "f.toml:2:1: 't3' is no single value"),
        ("[link.a]\n" + "t3." * 99 + "t3 = 7", "f.toml:2:1: 't3' is no single value"),
        ("a." * 99 + "a = 7", "f.toml:1:1: unknown table 'a'; "),
        ("[" + "a." * 99 + "a]", "f.toml:1:2: unknown table 'a'; "),
        # In a profile that no link has, and in another link
        ("[profile.a]\nt3 = 500\n[link.a]", "f.toml:2:6: t3=500 is not in 1..120 s"),
        ("[link.b]\nt3 = 500\n[link.a]", "f.toml:2:6: t3=500 is not in 1..120 s"),
        ("[defaults]\nt3 = 500", "f.toml:2:6: t3=500 is not in 1..120 s"),
        # Text without quotes
        (
            "[link.a]\nhost = etcher",
            "f.toml:2:8: not valid TOML: Invalid value; host is text, and text needs quotes",
        ),
        (
            "[link.a]\nhost = 10.1.2.3",
            (
                "f.toml:2:12: not valid TOML: Expected newline or end of document after a "
                "statement; host is text, and text needs quotes"
            ),
        ),
        (
            "link.a = {host = etcher}",
            "f.toml:1:18: not valid TOML: Invalid value; host is text, and text needs quotes",
        ),
        (
            "[link.a]\ntext_encoding = gbk",
            "f.toml:2:17: not valid TOML: Invalid value; text_encoding is text, and text needs",
        ),
        (
            '[link.a]\ntext_encoding = "utf-16"',
            "f.toml:2:17: text_encoding='utf-16' cannot be used: 'utf-16' is no superset of",
        ),
        # No TOML
        ("[link.a]\nt3 = ", "f.toml:2:6: not valid TOML: Invalid value"),
        ("[link.a]\nt3 = 7\nt3 = 8", "f.toml:3:7: not valid TOML: Cannot overwrite a value"),
        (
            "[link.a]\n[link.a]",
            "f.toml:2:8: not valid TOML: Cannot declare [link.a] twice; line 1 has [link.a]",
        ),
        (
            '[link.a]\nname = "the "big" one"',
            (
                "f.toml:2:14: not valid TOML: Expected newline or end of document after a "
                'statement; a text with " in it goes in single quotes'
            ),
        ),
        (
            '[link.a]\nprofile = "tools\\stepper.toml"',
            "f.toml:2:19: not valid TOML: Unescaped '\\' in a string; in double quotes \\ begins",
        ),
        ("[link.a]\nis_equipment = True", "f.toml:2:16: not valid TOML: Invalid value; write true"),
        ("\n\nx = '", "f.toml:3:6: not valid TOML: "),
        ("[link.a]\nx = [", "f.toml:2:6: not valid TOML: "),
        ("[link.a]\n\nport = " + "9" * 5_000, "f.toml:3:8: a number of more than 100 digits"),
        ("\nx = " + "[" * 60_000, "f.toml:2:5: not valid TOML: "),
        (b"a = 1\nb = '\xff'", "f.toml:2:6: not UTF-8: invalid start byte"),
        (b"\xff\xfe[\x00", "f.toml:1:1: this is UTF-16, and TOML is UTF-8: save it as UTF-8"),
        (b"\xfe\xff\x00[", "f.toml:1:1: this is UTF-16, and TOML is UTF-8: save it as UTF-8"),
        (b"a\x00b", "f.toml:1:2: not valid TOML: "),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_is_wrong_is_told_with_its_place(at: Path, content: str | bytes, text: str) -> None:
    assert error_of(at, content, "a").startswith(text)


def test_a_profile_may_be_another_file_which_may_be_built_on_one_more(at: Path) -> None:
    folder = at.parent / "tools"
    folder.mkdir()
    (folder / "stepper.toml").write_text(
        "[defaults]\nprofile = '../all.toml'\nt3 = 90\ntolerate_select_rsp_1 = true\n"
        "tls_key = 'key.pem'\nlinktest_interval = 0",
        encoding="utf-8",
    )
    Path("all.toml").write_text("[defaults]\nt3 = 80\nt6 = 9\nt8 = 8", encoding="utf-8")
    at.write_text(
        "[defaults]\nt6 = 4\nt7 = 7\n[profile.near]\nprofile = 'tools/stepper.toml'\nt8 = 3\n"
        "[link.a]\nprofile = 'near'\nt3 = 10\n[link.b]\nprofile = 'tools/stepper.toml'\n"
        "[link.c]\n",
        encoding="utf-8",
    )
    key = str(Path("tools/key.pem"))
    of_tool = Settings(
        name="b", t3=90, t6=9, t7=7, t8=8, tolerate_select_rsp_1=True, tls_key=key,
        linktest_interval=None,
    )  # fmt: skip
    links = Settings.links_from_toml(at)
    assert links["a"] == of_tool.replace(name="a", t3=10, t8=3)
    assert links["b"] == of_tool
    assert links["c"] == Settings(name="c", t6=4, t7=7)


def test_the_defaults_of_a_file_may_be_built_on_another(at: Path) -> None:
    Path("tool.toml").write_text("[defaults]\nt3 = 80\nt6 = 9", encoding="utf-8")
    at.write_text("[defaults]\nprofile = 'tool.toml'\nt6 = 4\n[link.a]\nt7 = 7", encoding="utf-8")
    assert Settings.from_toml(at) == Settings(name="a", t3=80, t6=4, t7=7)


def test_a_profile_of_the_file_wins_over_a_file_of_its_name(at: Path) -> None:
    Path("tool.toml").write_text("no TOML", encoding="utf-8")
    at.write_text(
        "[profile.'tool.toml']\nt3 = 80\n[link.a]\nprofile = 'tool.toml'", encoding="utf-8"
    )
    assert Settings.from_toml(at).t3 == 80


ASKS = "[defaults]\n[link.a]\nprofile = 'tool.toml'\n"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "f.toml:3:11: tool.toml has no [defaults]: it has [defaults] only, and these are the"),
        ("t3 = 7", "tool.toml:1:1: 't3' in a file that is a profile: it has [defaults] only"),
        ("[defaults]\n[profile.x]", "tool.toml:2:2: 'profile' in a file that is a profile: it has"),
        ("[defaults]\nt3 = 500", "tool.toml:2:6: t3=500 is not in 1..120 s"),
        ("[defaults]\nhots = 5", "tool.toml:2:1: unknown setting 'hots'; did you mean 'host'?"),
        ("[[defaults]]", "tool.toml:1:3: 'defaults' is no table: write [defaults]"),
        ("[defaults]\nt3 = ", "f.toml:3:11: tool.toml:2:6: not valid TOML: Invalid value"),
        (b"\xff", "f.toml:3:11: tool.toml:1:1: not UTF-8: invalid start byte"),
        (b"#" * 1_000_001, "f.toml:3:11: tool.toml: longer than 1 MB, the limit of such a file"),
        (
            "[defaults]\nprofile = 'x'",
            "tool.toml:2:11: unknown profile 'x'; [defaults] are built on another file only, as",
        ),
        (
            "[defaults]\nprofile = 'x.toml'",
            "tool.toml:2:11: cannot read x.toml: No such file or directory",
        ),
        (
            "[defaults]\nprofile = 'tool.toml'",
            "tool.toml:2:11: a profile is built on itself: tool.toml on tool.toml",
        ),
        (
            "[defaults]\nprofile = 'folder/../tool.toml'",
            "tool.toml:2:11: a profile is built on itself: tool.toml on folder/../tool.toml",
        ),
        (
            "[defaults]\nprofile = 'f.toml'",
            "f.toml:2:2: 'link' in a file that is a profile: it has",
        ),
        ("[defaults]\nprofile = 'folder.toml'", "tool.toml:2:11: cannot read folder.toml: "),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_is_wrong_with_a_file_that_is_a_profile_is_told_in_one_line(
    at: Path, content: str | bytes, text: str
) -> None:
    Path("folder").mkdir()
    Path("folder.toml").mkdir()
    tool = content if isinstance(content, bytes) else content.encode()
    Path("tool.toml").write_bytes(tool)
    assert error_of(at, ASKS, "a").startswith(text)


def test_a_circle_of_files_is_told_with_all_of_them(at: Path) -> None:
    for name, base in (("tool", "b"), ("b", "c"), ("c", "b")):
        Path(f"{name}.toml").write_text(f"[defaults]\nprofile = '{base}.toml'", encoding="utf-8")
    told = "c.toml:2:11: a profile is built on itself: b.toml on c.toml on b.toml"
    assert error_of(at, ASKS, "a") == told


def test_a_number_too_long_or_a_nesting_too_deep_is_told_with_its_line(at: Path) -> None:
    deep = error_of(at, "a = 1\nx = " + "[" * 60_000)
    assert deep.startswith("f.toml:2:5: not valid TOML: ")


def test_every_wrong_value_of_a_link_is_told(at: Path) -> None:
    content = "[defaults]\nt6 = 0\n[profile.p]\nt3 = 0\nt8 = 9\n[link.a]\nprofile='p'\nport = -1\n"
    # The defaults are looked at first: they are settings too.
    assert error_of(at, content, "a").startswith("f.toml:2:6: t6=0 is not in")
    both = error_of(at, content.replace("t6 = 0", "t6 = 5").replace("t3 = 0", "t3 = 9"), "a")
    assert both.startswith("f.toml:8:8: port=-1 is not")
    content = "[link.a]\nport = -1\nt3 = 0\n"
    assert error_of(at, content) == (
        "f.toml:2:8: port=-1 is not a whole number in 0..65535; "
        "f.toml:3:6: t3=0 is not in 1..120 s (reply: a data transaction with W is open)"
    )


def test_a_short_timer_of_a_profile_is_judged_with_what_the_link_allows(at: Path) -> None:
    content = "[profile.p]\nallow_short_timers = true\n[link.a]\nprofile = 'p'\nt3 = 0.5\nt6 = 0"
    assert error_of(at, content) == (
        "f.toml:6:6: t6=0 is not in 0.001..240 s "
        "(control transaction: Select or Deselect awaits its response)"
    )


def test_the_line_is_that_of_the_key_and_not_of_one_that_looks_like_it(at: Path) -> None:
    # Profiles are judged before links: the hosts here are none.
    content = '''\
# t3 = 500 ]
[link.b]
t3 = 7
host = """
[profile.a]
t3 = 500 \\"""" # t3 = 500
[link.c]
host = \'\'\'[profile.a]
\'\'\'
t3 = 7
[link.d]
host = "\\"[profile.a]"
[ profile . "a" ]  # { [
host = '#["'
t3 = 500
[link.e]
t3 = 501
'''
    assert "; f.toml:15:6: t3=500" in error_of(at, content)


def test_a_key_in_a_table_of_many_lines_has_the_line_where_its_statement_begins(at: Path) -> None:
    content = "[defaults]\nt3 = 7\n\nhost = [ # {\n  '[',\n  # ]\n]\nt6 = 0\n"
    assert error_of(at, content).startswith(
        "f.toml:4:8: 'host' is no single value; f.toml:8:6: t6=0 is not in "
    )
    assert error_of(at, content.replace("host", "t5")).startswith("f.toml:4:6: 't5' is no")


def test_a_link_that_is_not_there_is_told_with_those_that_are(at: Path) -> None:
    assert (
        error_of(at, FLEET, "etcher1") == "f.toml has no link 'etcher1'; did you mean 'etcher-1'?"
    )
    assert error_of(at, FLEET, "x") == "f.toml has no link 'x'; there are etcher-1, stepper 2"
    assert error_of(at, "", "x") == "f.toml has no link 'x'; there is none"
    assert error_of(at, FLEET) == "f.toml has several links, name one: 'etcher-1', 'stepper 2'"


# Settings in another file


def test_a_table_of_another_file_is_written_as_defaults_are(at: Path) -> None:
    at.with_name("tool.toml").write_text("[defaults]\nt3 = 80\nt6 = 9", encoding="utf-8")
    text = "[settings]\nprofile = 'tool.toml'\nt6 = 4\nlinktest_interval = 0\ntls_key = 'k.pem'"
    settings = settings_of(parse(text, str(at)).table.table("settings"))
    key = str(at.with_name("k.pem"))
    assert settings == Settings(t3=80, t6=4, linktest_interval=None, tls_key=key)
    assert settings_of(None) == Settings()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("t3 = 0\nport = -1", ["f.toml:2:6: t3=0 is not in", "f.toml:3:8: port=-1 is not a"]),
        (
            "prot = 5\nt3 = [1]\nt6.x = 2",
            [
                "f.toml:2:1: unknown setting 'prot'; did you mean 'port'?",
                "f.toml:3:6: 't3' is no single value",
                "f.toml:4:1: 't6' is no single value",
            ],
        ),
        (
            "profile = 'a'",
            ["f.toml:2:11: unknown profile 'a'; [settings] are built on another file only, as"],
        ),
    ],
)
def test_all_that_is_wrong_with_a_table_is_told(content: str, told: list[str]) -> None:
    table = parse(f"[settings]\n{content}", "f.toml").table.table("settings")
    with pytest.raises(TomlError) as raised:
        settings_of(table)
    found = list(map(str, raised.value.problems))
    assert [text[: len(start)] for text, start in zip(found, told, strict=True)] == told


# Files that are none


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^cannot read /no/such\.toml: No such file"):
        Settings.from_toml("/no/such.toml")
    with pytest.raises(SettingsError, match=r"^cannot read .*: "):
        Settings.from_toml(tmp_path)
    with pytest.raises(SettingsError, match=r"^cannot read a\0b: embedded null"):
        Settings.links_from_toml("a\0b")


def test_a_file_that_is_too_long_or_has_no_end_is_read_up_to_its_limit(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    sparse.touch()
    os.truncate(sparse, 5_000_000_000)
    for path in [sparse, *([Path("/dev/zero")] if sys.platform != "win32" else [])]:
        tracemalloc.start()
        with pytest.raises(SettingsError) as raised:
            Settings.from_toml(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * LONGEST
        assert str(raised.value) == f"{path}: longer than 1 MB, the limit of such a file"


def test_the_longest_file_is_read_whole_and_an_error_at_its_end_has_its_line(at: Path) -> None:
    last = "\n[link.a]\nt3 = 500"
    text = error_of(at, "#" + " " * 900_000 + "\n" * (LONGEST - len(last) - 900_001) + last)
    assert text.startswith(f"f.toml:{LONGEST - len(last) - 900_001 + 3}:6: t3=500")


def test_all_that_is_wrong_with_a_file_is_told_once_and_in_its_order(at: Path) -> None:
    Path("tool.toml").write_text("[defaults]\nt3 = 0\nt33 = 1\nt6 = 'x'", encoding="utf-8")
    content = """
[link.a]
profile = "far"
t6 = 0
[profile.far]
t33 = 1
t3 = 500
[profile.y]
profile = "z"
[profile.z]
profile = "y"
[lnk]
[link.b]
profile = "far"
profiles = 1
[link.c]
profile = "tool.toml"
[link.d]
profile = "y"
[link]
e = 3
"""
    told = re.findall(r"(\w+\.toml:\d+:\d+): ", error_of(at, content))
    of_this = ["4:6", "6:1", "7:6", "11:11", "12:2", "15:1", "21:5"]
    of_other = ["2:6", "3:1", "4:6"]
    assert told == [f"f.toml:{each}" for each in of_this] + [
        f"tool.toml:{each}" for each in of_other
    ]


def test_each_setting_of_a_link_has_its_origin(at: Path) -> None:
    Path("tool.toml").write_text("[defaults]\nt7 = 9", encoding="utf-8")
    at.write_text(f'{FLEET}[link.c]\nprofile = "tool.toml"\nname = "x"\n', encoding="utf-8")
    found = read(at)
    assert found.origins("etcher-1") == {
        "t6": Origin("defaults", "f.toml", 3, 1),
        "backoff_jitter": Origin("profile.base", "f.toml", 7, 1),
        "t3": Origin("profile.fast", "f.toml", 11, 1),
        "host": Origin("link.etcher-1", "f.toml", 15, 1),
        "port": Origin("link.etcher-1", "f.toml", 16, 1),
        "is_equipment": Origin("link.etcher-1", "f.toml", 17, 1),
        "name": Origin("link.etcher-1", "f.toml", 13, 7),
    }
    assert found.origins("c") == {
        "t6": Origin("defaults", "f.toml", 3, 1),
        "t7": Origin("defaults", "tool.toml", 2, 1),
        "name": Origin("link.c", "f.toml", 24, 1),
    }
    with pytest.raises(SettingsError, match="has several links"):
        found.origins(None)

"""A TOML file in which every value has its place: what its tables give, and that every error points
at what is meant and says what is allowed."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsms_engine.toml_file import (
    LONGEST,
    Key,
    Problem,
    Problems,
    Table,
    TomlError,
    load,
    parse,
    shown,
)


def table_of(text: str) -> Table:
    return parse(text, "f.toml").table


def error_of(text: str, *, texts: tuple[str, ...] = ()) -> str:
    with pytest.raises(TomlError) as raised:
        parse(text, "f.toml", texts)
    return str(raised.value)


def told_by(call: Callable[..., object], *arguments: Any, **named: Any) -> str:
    """What a call raises: a line for each problem."""
    with pytest.raises(TomlError) as raised:
        call(*arguments, **named)
    return str(raised.value)


# What is no TOML


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = ", "f.toml:1:5: not valid TOML: Invalid value"),
        ("\n\n  x = '", 'f.toml:3:8: not valid TOML: Expected "\'"'),
        ("a = 1\n\na = 2", "f.toml:3:6: not valid TOML: Cannot overwrite a value"),
        ("a = [\n1,\n", "f.toml:3:1: not valid TOML: Invalid value"),
        # tomllib gives no place to what is nested too deeply.
        ("a = 1\nb = " + "[" * 60_000, "f.toml:2:5: not valid TOML: it is nested too deeply"),
        (
            "a = [[[1]]] # [[[[[\nb = '[[[[[['\nc = [{x = " + "[" * 60_000,
            "f.toml:3:5: not valid TOML: it is nested too deeply",
        ),
        (
            "a = 1\nb = '" + "1" * 9_000 + "' # " + "2" * 9_000 + "\nc = " + "9" * 5_000,
            "f.toml:3:5: a number of more than 100 digits",
        ),
        ("a = 0x" + "F" * 5_000, "f.toml:1:5: a number of more than 100 digits"),
        ("a = [0b" + "1_0" * 5_000 + ", -1]", "f.toml:1:6: a number of more than 100 digits"),
        ("a = [\n -" + "1" * 101 + "]", "f.toml:2:2: a number of more than 100 digits"),
        # tomllib would take memory for the square of the names.
        ("a." * 499_000 + "a = 1", "f.toml:1:1: a key of more than 100 names"),
        ("x = 1\n [" + "'a' . " * 1_000 + "a]", "f.toml:2:3: a key of more than 100 names"),
        ("x = {y = 1, " + '"a.".' * 100 + "a = 1}", "f.toml:1:13: a key of more than 100 names"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_toml_is_told_with_its_place(text: str, told: str) -> None:
    assert error_of(text).startswith(told)


@pytest.mark.parametrize(
    "text",
    ["a." * 99 + "a = 1", "x = '" + "a." * 200 + "a'  # " + "a." * 200, f"x = '{'.' * 500}'"],
)
def test_dots_alone_are_no_key_that_is_too_long(text: str) -> None:
    assert parse(text, "f.toml").values


def test_a_text_that_has_no_quotes_is_told_to_need_them() -> None:
    told = "not valid TOML: Invalid value"
    assert error_of("on = S1F1", texts=("on",)) == (
        f"f.toml:1:6: {told}; on is text, and text needs quotes"
    )
    assert error_of("x = [{a = 1, on = S1F1}]", texts=("on",)).endswith(
        "on is text, and text needs quotes"
    )
    assert error_of("on = S1F1", texts=("off",)) == f"f.toml:1:6: {told}; text needs quotes"
    assert error_of("on = # none", texts=("on",)) == f"f.toml:1:6: {told}"
    assert error_of("x = 1 \non = S1\noff = 1", texts=("off",)) == (
        f"f.toml:2:6: {told}; text needs quotes"
    )
    assert error_of("on = 'a' b", texts=("on",)) == (
        "f.toml:1:10: not valid TOML: Expected newline or end of document after a statement"
    )
    assert error_of("a = 5k # on = S1", texts=("on",)) == (
        "f.toml:1:6: not valid TOML: Expected newline or end of document after a statement"
    )
    # Whatever the key is, this is SML.
    assert error_of("a = {1 = <U4 7>}").endswith("Invalid value; 1 is text, and text needs quotes")
    assert error_of("a = {b = 1, Lot = $lot}").endswith("; Lot is text, and text needs quotes")
    assert error_of("a = [$x]") == f"f.toml:1:6: {told}; text needs quotes"
    assert error_of("a = [<U4 7>, 1]") == f"f.toml:1:6: {told}; text needs quotes"
    assert error_of("on = True", texts=("off",)) == f"f.toml:1:6: {told}; write true"
    assert error_of("a = {on = FALSE}") == f"f.toml:1:11: {told}; write false"
    assert error_of("a = %") == f"f.toml:1:5: {told}"


END = "Expected newline or end of document after a statement"
SML = "SML goes in single quotes, and its texts in double ones"
COMMA = "a comma may be missing before it"
BACKSLASH = r"in double quotes \ begins a special character: write / in a path, or single quotes"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # A text in a text, in the same quotes
        ('on = "S2F41 W <L <A "START"> _>"', f"1:22: {END}; {SML}"),
        ("on = 'S2F41 W <L <A 'START'> _>'", f"1:22: {END}; {SML}"),
        ('on = "S1F1 <A " x">"', f"1:17: {END}; {SML}"),
        ('on = "<A "">"', f"1:11: {END}; {SML}"),
        ("on = '<A 'x>", f"1:11: {END}; {SML}"),
        ('a = [{send = "S10F1 <A "x">"}]', f"1:25: Unclosed inline table; {SML}"),
        ('a = ["S10F1 <A "x">"]', f"1:17: Unclosed array; {SML}"),
        ('when = "${State} == "idle""', f'1:22: {END}; a text with " in it goes in single quotes'),
        ("a = 'I don't, you don't'", f"1:12: {END}; a text with ' in it goes in double quotes"),
        (
            'a = ["the "big" one"]',
            '1:12: Unclosed array; a text with " in it goes in single quotes',
        ),
        ("a = '<A \"x\">' b", f"1:15: {END}"),
        ("a = 'b' # '\n c 'd' e", "2:4: Expected '=' after a key in a key/value pair"),
        # No comma
        ("a = [\n{wait = 1}\n{event = 2},\n]", f"3:1: Unclosed array; {COMMA}"),
        ("a = [{b = '<A>'} {c = 'd'}]", f"1:18: Unclosed array; {COMMA}"),
        ("a = [1 2]", f"1:8: Unclosed array; {COMMA}"),
        ("a = ['b' 'c']", f"1:10: Unclosed array; {COMMA}"),
        ("a = {b = 'c' d = 'e'}", f"1:14: Unclosed inline table; {COMMA}"),
        ("a = [1", "1:7: Unclosed array"),
        # A path of Windows
        (r'file = "tools\etcher.toml"', rf"1:16: Unescaped '\' in a string; {BACKSLASH}"),
        (r'file = "C:\users"', f"1:13: Invalid hex value; {BACKSLASH}"),
        # What is there already
        (
            "[event.101]\n\n[event.101]",
            "3:11: Cannot declare [event.101] twice; line 1 has [event.101]",
        ),
        ("[[a]]\n[a.b]\n[a.b]", "3:5: Cannot declare [a.b] twice; line 2 has [a.b]"),
        ("x=1\na={b=1}\n[a.'c d']", '3:9: Cannot declare [a."c d"] twice; line 2 has [a]'),
        ("a = [\n {b = {c = 1}, b.d = 2}]", "2:23: Cannot mutate immutable namespace [b.d]"),
        ("a = 1\na = 2", "2:6: Cannot overwrite a value; what it names is there already"),
    ],
)
def test_what_is_no_toml_is_told_with_what_was_meant(text: str, told: str) -> None:
    place, _, why = told.partition(" ")
    assert error_of(text) == f"f.toml:{place} not valid TOML: {why}"


# Files that are none


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a = 1\nb = '\xff'", "x.toml:2:6: not UTF-8: invalid start byte"),
        ("a = 'ä\u20ac".encode() + b"\xc3", "x.toml:1:8: not UTF-8: unexpected end of data"),
        (b"\xff\xfe[\x00", "x.toml:1:1: this is UTF-16, and TOML is UTF-8: save it as UTF-8"),
        (b"\xfe\xff\x00[", "x.toml:1:1: this is UTF-16, and TOML is UTF-8: save it as UTF-8"),
        (b"#" * 101, "x.toml: longer than 0.0001 MB, the limit of such a file"),
        (
            b"\xef\xbb\xbf x",
            "x.toml:1:3: not valid TOML: Expected '=' after a key in a key/value pair",
        ),
    ],
)
def test_a_file_that_is_no_text_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_bytes(data)
    assert told_by(load, "x.toml", 100) == told


def test_a_file_that_cannot_be_read_has_no_place(tmp_path: Path) -> None:
    with pytest.raises(TomlError) as raised:
        load("/no/such.toml")
    error = raised.value
    assert str(error) == error.problem == "cannot read /no/such.toml: No such file or directory"
    assert (error.file, error.line, error.column) == ("/no/such.toml", 0, 0)
    assert told_by(load, tmp_path).startswith(f"cannot read {tmp_path}: ")
    assert told_by(load, "a\0b") == "cannot read a\0b: embedded null byte"
    assert told_by(load, "no\tools.toml") == (
        f"cannot read no\tools.toml: No such file or directory; {BACKSLASH}"
    )


def test_a_mark_at_the_beginning_and_the_ends_of_lines_count_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = '''\r\nx\r\ny'''\r\n")
    document = load(file)
    assert document.values == {"a": 1, "b": "x\ny"}
    assert (document.name, document.beside("y")) == (str(file), str(tmp_path / "y"))
    assert str(document.error(("a",), "no")) == f"{file}:1:5: no"
    assert str(document.error(("b",), "no", offset=2)) == f"{file}:4:1: no"


# Where things stand

EXAMPLE = """\
# [x] a = 1
a . "b.c" = 1    # '
d = 1979-05-27 07:32:00
e = [1, # ]
  [2, {x = 'y', z = "q]\\"}"}], ]
[rule]
[[rules]]
k = ''
[rules.sub]
k = \"\"\"#\"]\"\"x\"\"\"\"
[[rules]]
k = true
[[rules.sub]]
[x.y.'z"']
m = [{c = {d = 1}, e.f = 2}, {}]
[x]
q = {}
"""


@pytest.mark.parametrize(
    ("key", "name", "value"),
    [
        (("a",), "2:1", "2:1"),
        (("a", "b.c"), "2:5", "2:13"),
        (("d",), "3:1", "3:5"),
        (("e",), "4:1", "4:5"),
        (("e", 0), "4:6", "4:6"),
        (("e", 1), "5:3", "5:3"),
        (("e", 1, 0), "5:4", "5:4"),
        (("e", 1, 1), "5:7", "5:7"),
        (("e", 1, 1, "x"), "5:8", "5:12"),
        (("e", 1, 1, "z"), "5:17", "5:21"),
        (("rule",), "6:2", "6:2"),
        (("rules",), "7:3", "7:3"),
        (("rules", 0), "7:3", "7:3"),
        (("rules", 0, "k"), "8:1", "8:5"),
        (("rules", 0, "sub"), "9:8", "9:8"),
        (("rules", 0, "sub", "k"), "10:1", "10:5"),
        (("rules", 1), "11:3", "11:3"),
        (("rules", 1, "k"), "12:1", "12:5"),
        (("rules", 1, "sub"), "13:9", "13:9"),
        (("rules", 1, "sub", 0), "13:9", "13:9"),
        (("x", "y"), "14:4", "14:4"),
        (("x", "y", 'z"'), "14:6", "14:6"),
        (("x", "y", 'z"', "m", 0, "c", "d"), "15:12", "15:16"),
        (("x", "y", 'z"', "m", 0, "e"), "15:20", "15:20"),
        (("x", "y", 'z"', "m", 0, "e", "f"), "15:22", "15:26"),
        (("x", "y", 'z"', "m", 1), "15:30", "15:30"),
        # Its own header, not that of what is in it.
        (("x",), "16:2", "16:2"),
        (("x", "q"), "17:1", "17:5"),
        ((), "1:1", "1:1"),
    ],
)
def test_a_name_and_its_value_have_their_places(key: Key, name: str, value: str) -> None:
    document = parse(EXAMPLE, "f.toml")
    assert str(document.error(key, "no", at_name=True)) == f"f.toml:{name}: no"
    assert str(document.error(key, "no")) == f"f.toml:{value}: no"


class Writer:
    """Writes a value as TOML in one of its many ways, and notes where all begins."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.text = ""
        self.places: dict[Key, int] = {}
        # By the key of a text: where each of its characters begins.
        self.characters: dict[Key, list[int]] = {}

    def one_of(self, *choices: str) -> None:
        self.text += self.draw(st.sampled_from(choices))

    def table(self, key: Key, table: dict[str, Any]) -> None:
        for name, value in table.items():
            self.one_of("", "", "\n", "# [x] = '\n", " \t")
            self.name(name)
            self.value((*key, name), value)
            self.one_of("\n", ' # """\n', "\n\n")

    def name(self, name: str) -> None:
        self.text += json.dumps(name) if self.draw(st.booleans()) else f"'{name}'"
        self.one_of(" = ", "=", "\t=  ")

    def value(self, key: Key, value: Any) -> None:
        self.places[key] = len(self.text)
        match value:
            case str():
                self.string(key, value)
            case dict():
                self.text += "{"
                for number, (name, each) in enumerate(value.items()):
                    self.one_of(", " if number else "", "," if number else " ")
                    self.name(name)
                    self.value((*key, name), each)
                self.one_of("}", " }")
            case list():
                self.one_of("[", "[ ", "[\n", "[ # ]\n")
                for number, each in enumerate(value):
                    self.value((*key, number), each)
                    self.one_of(", ", ",", ",\n # ],\n ", " ,\n")
                self.one_of("]", "\n]")
            case _:
                self.text += str(value).lower()

    def string(self, key: Key, value: str) -> None:
        is_long = self.draw(st.booleans())
        is_plain = "'" not in value and (is_long or "\n" not in value) and self.draw(st.booleans())
        quotes = ("'" if is_plain else '"') * (3 if is_long else 1)
        self.text += quotes
        if is_long:
            self.one_of("\n") if value.startswith("\n") else self.one_of("", "\n")
        places = self.characters[key] = []
        for character in value:
            if is_long and not is_plain and self.draw(st.booleans()):
                # What is folded would take the white space that follows.
                self.one_of("", "\\\n \t\n" if not character.isspace() else "")
            places.append(len(self.text))
            if is_plain or (character not in '\\"\n\t' and self.draw(st.booleans())):
                self.text += character
            elif character in '\\"':
                self.text += "\\" + character
            else:
                self.one_of(f"\\u{ord(character):04x}", f"\\U{ord(character):08X}")
        places.append(len(self.text))
        self.text += quotes


STRINGS = st.text(st.sampled_from("ab \n\t\\\"'[]{}#,=.€"), max_size=6)
NAMES = st.text(st.sampled_from("ab.#[]{}= "), max_size=3)
VALUES = st.recursive(
    st.integers(-9, 99) | st.booleans() | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.data())
def test_each_value_and_character_is_pointed_at_however_it_is_written(
    table: dict[str, Any], data: st.DataObject
) -> None:
    writer = Writer(data)
    writer.table((), table)
    document = parse(writer.text, "f.toml")
    assert document.values == table

    def expect(error: TomlError, offset: int) -> None:
        lines = writer.text[:offset].split("\n")
        assert (error.line, error.column) == (len(lines), len(lines[-1]) + 1)

    for key, place in writer.places.items():
        expect(document.error(key, ""), place)
    for key, places in writer.characters.items():
        for offset, place in enumerate(places[1:], 1):
            expect(document.error(key, "", offset=offset), place)


def test_a_place_within_a_text_may_be_line_and_column() -> None:
    document = parse("a = '''\none\ntwo x'''\nb = 'one'\nc = 5", "f.toml")
    assert str(document.error(("a",), "no", place=(1, 1))) == "f.toml:1:5: no"
    assert str(document.error(("a",), "no", place=(1, 2))) == "f.toml:2:2: no"
    assert str(document.error(("a",), "no", place=(2, 5))) == "f.toml:3:5: no"
    # Its end; and what would be behind it.
    assert str(document.error(("b",), "no", place=(1, 4))) == "f.toml:4:9: no"
    assert str(document.error(("b",), "no", offset=99)) == "f.toml:4:9: no"
    assert str(document.error(("b",), "no", at_name=True, offset=2)) == "f.toml:4:1: no"
    # Only a text has characters.
    assert str(document.error(("c",), "no", offset=2)) == "f.toml:5:5: no"


def test_the_places_of_a_long_file_take_little_memory_and_one_pass() -> None:
    text = "".join(f"[[rule]]\nk = {number}\n" for number in range(2_000))
    document = parse(text, "f.toml")
    assert str(document.error(("rule", 1_999, "k"), "no")) == "f.toml:4000:5: no"
    tracemalloc.start()
    for number in range(2_000):
        document.error(("rule", number, "k"), "no")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000


def test_what_is_nested_as_deeply_as_python_reads_it_has_its_places() -> None:
    deep = 100
    text = "a = " + "[{x = " * deep + "7" + "}]" * deep
    key: Key = ("a", *(part for _ in range(deep) for part in (0, "x")))
    error = parse(text, "f.toml").error(key, "no")
    assert error.column == text.index("7") + 1


# Tables

TABLE = """\
text = "abc"
whole = 7
number = 1.5
truth = true
array = ["a", "b"]
mixed = ["a", 2]
when = 2024-02-29
table = {x = 1}
"""


def test_a_table_gives_what_is_asked_for() -> None:
    table = table_of(TABLE)
    assert (len(table), [*table][:2], "whole" in table, "x" in table) == (
        8,
        ["text", "whole"],
        True,
        False,
    )
    assert table.path == ()
    assert table.text("text") == table.text("text", choices=("abc", "d"), longest=3) == "abc"
    assert table.whole("whole", 0, 7) == 7
    assert (table.number("whole", 0, 7), table.number("number", 0, 7)) == (7.0, 1.5)
    assert isinstance(table.number("whole", 0, 7), float)
    assert table.flag("truth") is True
    assert table.texts("array") == table.array("array") == ["a", "b"]
    assert table.value("array") == ["a", "b"]
    assert (table.value(("array", 1)), table.text(("array", 0))) == ("b", "a")
    inner = table.table("table")
    assert inner is not None
    assert (inner.path, inner.whole("x", 1, 1)) == (("table",), 1)


def test_what_is_missing_is_its_default_or_an_error() -> None:
    table = table_of("[a]\n[[b]]\n[c]\nd = [{}]\n[e.f]\ng = [[{}]]")
    a = table.table("a")
    assert a is not None
    assert (a.text("k", None), a.whole("k", 1, 2, 0), a.number("k", 1, 2, None)) == (None, 0, None)
    assert (a.flag("k", False), a.value("k", "x"), a.text("k", "none", choices=("x",))) == (
        False,
        "x",
        "none",
    )
    assert (a.texts("k"), a.array("k"), a.table("k"), a.tables("k"), a.named("k")) == (
        [], [], None, [], {},
    )  # fmt: skip
    for ask in (a.text, a.flag, a.value):
        assert told_by(ask, "k") == "f.toml:1:2: 'k' is missing in [a]"
    assert told_by(a.whole, "k", 1, 2) == "f.toml:1:2: 'k' is missing in [a]"
    assert told_by(a.number, "k", 1, 2) == "f.toml:1:2: 'k' is missing in [a]"
    [b] = table.tables("b")
    assert told_by(b.text, "k") == "f.toml:2:3: 'k' is missing in [[b]]"
    [d] = table.tables(("c", "d"))
    [g] = table_of("g = [[{}]]").tables(("g", 0))
    assert told_by(g.text, "k") == "f.toml:1:7: 'k' is missing in 'g'"
    assert told_by(table.named("e")["f"].text, "k") == "f.toml:5:4: 'k' is missing in [e.f]"
    assert told_by(table.text, "k") == "f.toml:1:1: 'k' is missing"
    assert told_by(d.text, "k") == "f.toml:4:6: 'k' is missing in [[c.d]]"


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda table: table.text("whole"), "2:9: whole = 7 is not a text: write it in quotes"),
        (
            lambda table: table.text("when"),
            "7:8: when = 2024-02-29 is not a text: write it in quotes",
        ),
        (
            lambda table: table.text("array"),
            "5:9: 'array' is an array, not a text: write it in quotes",
        ),
        (
            lambda table: table.text("text", choices=("abd",)),
            "1:8: unknown text 'abc'; did you mean 'abd'?",
        ),
        (
            lambda table: table.text("text", choices=("x", "y")),
            "1:8: unknown text 'abc'; there are x, y",
        ),
        (lambda table: table.text("text", longest=2), "1:11: text has 3 characters; it may have 2"),
        (lambda table: table.texts("mixed"), "6:15: mixed = 2 is not a text: write it in quotes"),
        (
            lambda table: table.texts("text"),
            "1:8: text = 'abc' is text, not an array: write it in [ ]",
        ),
        (lambda table: table.array("whole"), "2:9: whole = 7 is not an array: write it in [ ]"),
        (lambda table: table.whole("whole", 0, 6), "2:9: whole = 7 is not a whole number in 0..6"),
        (
            lambda table: table.whole("whole", 8, 9, 7),
            "2:9: whole = 7 is not a whole number in 8..9",
        ),
        (
            lambda table: table.whole("truth", 0, 6),
            "4:9: truth = true is not a whole number in 0..6",
        ),
        (
            lambda table: table.whole("number", 0, 6),
            "3:10: number = 1.5 is not a whole number in 0..6",
        ),
        (
            lambda table: table.whole("text", 0, 6),
            "1:8: text = 'abc' is text, not a whole number in 0..6",
        ),
        (
            lambda table: table.whole("table", 0, 6),
            "8:9: 'table' is a table, not a whole number in 0..6",
        ),
        (lambda table: table.number("truth", 0, 6), "4:9: truth = true is not a number in 0..6"),
        (
            lambda table: table.number("number", 2, 6.5),
            "3:10: number = 1.5 is not a number in 2..6.5",
        ),
        (lambda table: table.flag("whole"), "2:9: whole = 7 is not true or false"),
        (lambda table: table.flag("text"), "1:8: text = 'abc' is text, not true or false"),
        (lambda table: table.table("whole"), "2:9: 'whole' is no table: write [whole]"),
        (
            lambda table: table.tables("table"),
            "8:9: 'table' is no array of tables: write [[table]]",
        ),
        (lambda table: table.named("array"), "5:9: 'array' is no table: write [array.NAME]"),
        (lambda table: table.named("table"), "8:14: 'table.x' is no table: write [table.x]"),
        (
            lambda table: table.tables("mixed"),
            (
                "6:10: 'a' is no table: 'mixed' is an array of tables, each in { }\n"
                "f.toml:6:15: 2 is no table: 'mixed' is an array of tables, each in { }"
            ),
        ),
        (lambda table: table.table(("array", 0)), "5:10: 'array' is no table: write {...}"),
        (
            lambda table: table.tables(("array", 0)),
            "5:10: 'array' is no array of tables: write [{...}, {...}]",
        ),
    ],
)
def test_what_is_not_what_is_asked_for_is_told_with_what_is_allowed(
    ask: Callable[[Table], object], told: str
) -> None:
    assert told_by(ask, table_of(TABLE)) == f"f.toml:{told}"


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e400"])
def test_a_number_is_finite_also_without_bounds(number: str) -> None:
    told = told_by(table_of(f"x = {number}").number, "x", -float("inf"), float("inf"))
    assert told.endswith("is not a number in -1.79769e+308..1.79769e+308")


def test_a_large_number_is_one() -> None:
    assert table_of("x = 1" + "0" * 99).number("x", 0, float("inf")) == 1e99


def test_a_header_is_told_as_toml_writes_it() -> None:
    table = table_of('[a.\'b c\'."d\\""]\nx = 1')
    header = 'a."b c"."d\\"".x'
    assert told_by(table.named, ("a", "b c", 'd"')) == (
        f"f.toml:2:5: {header!r} is no table: write [{header}]"
    )


def test_keys_that_nobody_asked_for_are_all_told() -> None:
    table = table_of("[rule]\nrepyl = 1\nname = 2\nx.y = 3")
    rule = table.table("rule")
    assert rule is not None
    assert "reply" not in rule
    rule.value("name")
    assert told_by(rule.finish) == (
        "f.toml:2:1: unknown key 'repyl' in [rule]; did you mean 'reply'?\n"
        "f.toml:4:1: unknown key 'x' in [rule]; there are reply, name"
    )
    table.finish()
    assert told_by(table_of("a = 1").finish) == "f.toml:1:1: unknown key 'a'; there is none"
    key = "k" * 500
    assert len(told_by(table_of(f"{key} = 1").finish)) < 150


def test_a_value_is_shown_in_one_short_line() -> None:
    assert shown("a\nb") == "'a\\nb'"
    assert shown("x" * 99) == f"'{'x' * 60}'..."
    assert (shown(10**30), shown(-(10**30))) == ("a number of more than 30 digits",) * 2
    assert (shown(10**30 - 1), shown(True), shown(1.5)) == ("9" * 30, "true", "1.5")
    assert (shown([[]]), shown({})) == ("an array", "a table")


# Several problems


def three_problems(table: Table) -> None:
    with Problems() as problems:
        before = problems.found
        with problems.of_one():
            table.text("c")
        with problems.of_one():
            table.whole("a", 0, 1)
        assert (before, problems.found) == (False, True)
        problems.keep(table.error("a", "no"))
        problems.keep(table.error("a", "no"))
        table.text("b")


def test_all_problems_are_told_in_the_order_of_the_file_and_each_once() -> None:
    with pytest.raises(TomlError) as raised:
        three_problems(table_of("a = 1\nb = 2\nc = 3"))
    assert raised.value.problems == (
        Problem("f.toml", 1, 5, "no"),
        Problem("f.toml", 2, 5, "b = 2 is not a text: write it in quotes"),
        Problem("f.toml", 3, 5, "c = 3 is not a text: write it in quotes"),
    )
    error = raised.value
    assert (error.file, error.line, error.column, error.problem) == error.problems[0]


def test_files_stay_in_the_order_in_which_they_were_read() -> None:
    [z, a] = [parse("x = 1\ny = 2", name).table for name in ("z", "a")]
    problems = Problems()
    for table, key in ((z, "y"), (a, "x"), (z, "x")):
        problems.keep(table.error(key, "no"))
    assert told_by(problems.__exit__, None, None, None) == "z:1:5: no\nz:2:5: no\na:1:5: no"


def test_without_a_problem_nothing_is_raised_and_other_errors_come_out_bare() -> None:
    with Problems() as problems, problems.of_one():
        pass

    def fails() -> None:
        with Problems() as problems:
            problems.keep(table_of("a = 1").error("a", "no"))
            with problems.of_one():
                raise KeyError

    with pytest.raises(KeyError):
        fails()


def test_the_longest_file_is_one_megabyte(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"#" * LONGEST)
    assert load(file).values == {}
    file.write_bytes(b"#" * (LONGEST + 1))
    assert told_by(load, file) == f"{file}: longer than 1 MB, the limit of such a file"

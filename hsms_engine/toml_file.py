"""A TOML file in which every value has its place: typed access, and errors that point.

``tomllib`` alone says what a file means. Nothing here computes a place before there is an error;
then the text is gone through once (``toml_text``).

Invariants:

* Whatever is wrong with a file is told as ``file:line:column: problem``, and the problem says what
  is allowed. A file that cannot be read has no place; its name is in the problem.
* A key that nobody asked for is an error (``Table.finish``).
* No value is shown whole that may be long or nested more deeply than Python can show.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar, overload

from hsms_engine.spelling import hint
from hsms_engine.toml_text import (
    Mark,
    deepest,
    inside,
    marks_of,
    offset_of,
    text_before,
    too_long,
)

LONGEST: Final = 1_000_000
"""The longest file that is read, in bytes. A device may have no end."""

Key = tuple[str | int, ...]
"""The way to a value: names of tables and keys, and the numbers of elements from 0, as in
``("rule", 0, "reply")``."""

_T = TypeVar("_T")

# The longest text, and the longest number in digits, that an error shows.
_SHOWN = 60
_DIGITS = 30
_HIGHEST = sys.float_info.max

# How an error of tomllib ends.
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
# A key, before a value without quotes.
_UNQUOTED = re.compile(r"(\w+)[ \t]*=[ \t]*(?=[^\s\"'#])")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
# What is no value, and would be one in quotes.
_WORD = re.compile(r"[A-Za-z_$<]\w*")
# What follows a comma in a table in braces.
_ANOTHER = re.compile(r"""(?:[\w.-]+|'[^']*'|"[^"]*")[ \t]*=""")
# A way, as an error of tomllib shows it.
_TUPLE = re.compile(r"(Cannot [a-z ]+)(\(.*\))( twice)?")
# What a path with \ in double quotes becomes, if it is one at all.
_SPECIAL = re.compile(r"[\b\t\n\f\r]")
_BACKSLASH = r"in double quotes \ begins a special character: write / in a path, or single quotes"


class Problem(NamedTuple):
    """What is wrong, and where. Without a ``line`` the problem says itself which file it is."""

    file: str
    line: int
    """From 1; 0: the file could not be read."""
    column: int
    """From 1, in characters."""
    problem: str

    def __str__(self) -> str:
        return (
            f"{self.file}:{self.line}:{self.column}: {self.problem}" if self.line else self.problem
        )


class TomlError(ValueError):
    """What is wrong with a file: one line for each problem, ``file:line:column: problem``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(*problems)
        self.problems: Final = tuple(problems)
        """All of them, in the order of the file; at least one."""

    @property
    def file(self) -> str:
        """The file of the first problem."""
        return self.problems[0].file

    @property
    def line(self) -> int:
        """The line of the first problem, from 1; 0: the file could not be read."""
        return self.problems[0].line

    @property
    def column(self) -> int:
        """The column of the first problem, from 1, in characters."""
        return self.problems[0].column

    @property
    def problem(self) -> str:
        """The first problem, without its place."""
        return self.problems[0].problem

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class Problems:
    """Goes on after a problem, so that all are told that do not follow from each other.

    ::

        with Problems() as problems:
            for name, table in document.table.named("alarm").items():
                with problems.of_one():
                    alarms[name] = read_alarm(table)

    At its end all problems are raised as one ``TomlError``, if there are any.
    """

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def of_one(self) -> _OfOne:
        """A block: a ``TomlError`` in it is kept, and what follows the block is done."""
        return _OfOne(self)

    def keep(self, error: TomlError) -> None:
        """Keep a problem, and go on."""
        self._found += error.problems

    @property
    def found(self) -> bool:
        """Whether there is one so far: then what needs all of the file makes no sense."""
        return bool(self._found)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, TomlError):
            self.keep(error)
        elif error is not None:
            return
        if self._found:
            # The files stay in the order in which they were read.
            files = [*dict.fromkeys(each.file for each in self._found)]
            found = sorted(set(self._found), key=lambda each: (files.index(each.file), each[1:]))
            raise TomlError(found) from None


class _OfOne:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, TomlError):
            self._problems.keep(error)
            return True
        return False


def load(
    file: str | PathLike[str], longest: int = LONGEST, texts: Collection[str] = ()
) -> Document:
    """Read a file of at most ``longest`` bytes. Raises ``TomlError``.

    ``texts`` are the names of keys whose values are texts: who forgets the quotes is told.
    """
    name = fspath(file)
    try:
        with Path(name).open("rb") as opened:
            data = opened.read(longest + 1)
    except (OSError, ValueError) as error:
        raise TomlError([Problem(name, 0, 0, cannot_read(name, error))]) from error
    if len(data) > longest:
        why = f"{name}: longer than {longest / 1e6:g} MB, the limit of such a file"
        raise TomlError([Problem(name, 0, 0, why)])
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        why = "this is UTF-16, and TOML is UTF-8: save it as UTF-8"
        raise TomlError([Problem(name, 1, 1, why)])
    try:
        # An editor may have put a mark at the beginning.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = error.object[: error.start].decode("utf-8")
        raise _at(name, good, len(good), f"not UTF-8: {error.reason}") from None
    return parse(text, name, texts)


def cannot_read(name: str, error: Exception) -> str:
    """Why a file cannot be read, and what may be wrong with its name, which a file may have."""
    # Without: a ValueError, as of a name with a null character.
    why = getattr(error, "strerror", None) or error
    remedy = f"; {_BACKSLASH}" if _SPECIAL.search(name) else ""
    return f"cannot read {name}: {why}{remedy}"


def parse(text: str, name: str, texts: Collection[str] = ()) -> Document:
    """The document that ``text`` is. ``name`` is its file's, for errors. Raises ``TomlError``."""
    # As ``tomllib`` does.
    text = text.replace("\r\n", "\n")
    if found := too_long(text):
        raise _at(name, text, *found)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_toml(name, text, error, texts) from None
    return Document(name, text, values)


class Document:
    """A file that is TOML: ``values`` is what ``tomllib`` makes of ``text``."""

    __slots__ = ("_marks", "name", "text", "values")

    def __init__(self, name: str, text: str, values: Mapping[str, Any]) -> None:
        self.name: Final = name
        self.text: Final = text
        self.values: Final = values
        self._marks: Mark | None = None

    @property
    def table(self) -> Table:
        """The whole file, as a table."""
        return Table(self, (), self.values)

    def beside(self, name: str) -> str:
        """The path of a file that this one names: it begins in the folder of this one."""
        return str(Path(self.name).parent / name)

    def error(
        self,
        key: Key,
        problem: str,
        *,
        at_name: bool = False,
        offset: int = 0,
        place: tuple[int, int] | None = None,
    ) -> TomlError:
        """What is wrong with a value that is in the file, or with its name.

        ``offset`` counts the characters of a text before the one that is meant. ``place`` says the
        same as line and column within the text, each from 1, as an ``SmlError`` has them.
        """
        if self._marks is None:
            self._marks = marks_of(self.text)
        mark = self._marks
        value: Any = self.values
        for part in key:
            mark, value = mark.inner[part], value[part]
        at = mark.name
        if not at_name and mark.value is not None:
            at = mark.value
            if isinstance(value, str):
                if place is not None:
                    offset = offset_of(value, *place)
                at = inside(self.text, at, min(offset, len(value))) if offset else at
        return _at(self.name, self.text, at, problem)


class Table:
    """A table of a document. It knows which of its keys have been asked for.

    A ``key`` may be the way to a value further in, as ``("choose", 0)``, if that is there. Each
    method raises ``TomlError`` when a value is not what is asked for, or is not there and has no
    default.
    """

    __slots__ = ("_asked", "_values", "document", "path")

    def __init__(self, document: Document, path: Key, values: Mapping[str, Any]) -> None:
        self.document: Final = document
        self.path: Final = path
        """The way to it from the beginning of the document."""
        self._values = values
        self._asked: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        self._asked[key] = None
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def value(self, key: str | Key) -> Any: ...
    @overload
    def value(self, key: str | Key, default: _T) -> Any | _T: ...
    def value(self, key: str | Key, default: object = ...) -> Any:
        """The value as ``tomllib`` has read it."""
        return default if self._is_missing(key, default) else self._get(key)

    @overload
    def text(self, key: str | Key, *, choices: Collection[str] = (), longest: int = ...) -> str: ...
    @overload
    def text(
        self, key: str | Key, default: _T, *, choices: Collection[str] = (), longest: int = ...
    ) -> str | _T: ...
    def text(
        self,
        key: str | Key,
        default: object = ...,
        *,
        choices: Collection[str] = (),
        longest: int = LONGEST,
    ) -> object:
        """A text: one of ``choices``, if there are any; of at most ``longest`` characters."""
        if self._is_missing(key, default):
            return default
        value = self._get(key)
        if not isinstance(value, str):
            raise self._refuse(key, value, "a text: write it in quotes")
        if choices and value not in choices:
            raise self.error(key, f"unknown {_last(key)} {shown(value)}; {hint(value, choices)}")
        if len(value) > longest:
            why = f"{_last(key)} has {len(value)} characters; it may have {longest}"
            raise self.error(key, why, offset=longest)
        return value

    def texts(self, key: str | Key) -> list[str]:
        """The texts of an array; none when it is not there."""
        return [self.text((*_way(key), number)) for number in range(len(self.array(key)))]

    @overload
    def whole(self, key: str | Key, lowest: int, highest: int) -> int: ...
    @overload
    def whole(self, key: str | Key, lowest: int, highest: int, default: _T) -> int | _T: ...
    def whole(self, key: str | Key, lowest: int, highest: int, default: object = ...) -> object:
        """A whole number within bounds."""
        if self._is_missing(key, default):
            return default
        value = self._get(key)
        if type(value) is not int or not lowest <= value <= highest:
            raise self._refuse(key, value, f"a whole number in {lowest}..{highest}")
        return value

    @overload
    def number(self, key: str | Key, lowest: float, highest: float) -> float: ...
    @overload
    def number(self, key: str | Key, lowest: float, highest: float, default: _T) -> float | _T: ...
    def number(
        self, key: str | Key, lowest: float, highest: float, default: object = ...
    ) -> object:
        """A number within bounds, and finite also where they are not."""
        if self._is_missing(key, default):
            return default
        value = self._get(key)
        bounds = max(lowest, -_HIGHEST), min(highest, _HIGHEST)
        if type(value) not in (int, float) or not bounds[0] <= value <= bounds[1]:
            raise self._refuse(key, value, f"a number in {bounds[0]:g}..{bounds[1]:g}")
        return float(value)

    @overload
    def flag(self, key: str | Key) -> bool: ...
    @overload
    def flag(self, key: str | Key, default: _T) -> bool | _T: ...
    def flag(self, key: str | Key, default: object = ...) -> object:
        """True or false."""
        if self._is_missing(key, default):
            return default
        value = self._get(key)
        if not isinstance(value, bool):
            raise self._refuse(key, value, "true or false")
        return value

    def array(self, key: str | Key) -> list[Any]:
        """An array as ``tomllib`` has read it; empty when it is not there."""
        value: Any = self.value(key, [])
        if not isinstance(value, list):
            raise self._refuse(key, value, "an array: write it in [ ]")
        return value

    def table(self, key: str | Key) -> Table | None:
        """A table in this one; None when it is not there."""
        value: Any = self.value(key, None)
        if value is None:
            return None
        return Table(self.document, self._inner(key), self._is_table(key, value))

    def tables(self, key: str | Key, problems: Problems | None = None) -> list[Table]:
        """The tables of an array, as ``[[rule]]`` makes one; none when it is not there.

        What is no table in it is raised, or kept in ``problems``: then there are the others.
        """
        way = self._inner(key)
        value: Any = self.value(key, [])
        if not isinstance(value, list):
            remedy = f"[[{_dotted(way)}]]" if _is_header(way) else "[{...}, {...}]"
            raise self.error(key, f"{_last(key)!r} is no array of tables: write {remedy}")
        tables: list[Table] = []
        with Problems() as raised:
            for number, each in enumerate(value):
                if isinstance(each, dict):
                    tables.append(Table(self.document, (*way, number), each))
                    continue
                why = f"{shown(each)} is no table: {_last(key)!r} is an array of tables, "
                why += "each in { }"
                error = self.error((*_way(key), number), why)
                (raised if problems is None else problems).keep(error)
        return tables

    def named(self, key: str | Key, problems: Problems | None = None) -> dict[str, Table]:
        """The tables of a table, by their names, as ``[alarm.5001]`` makes one.

        What is no table in it is raised, or kept in ``problems``: then there are the others.
        """
        way = self._inner(key)
        value = self._is_table(key, self.value(key, {}), ".NAME")
        tables: dict[str, Table] = {}
        with Problems() as raised:
            for name, each in value.items():
                with (raised if problems is None else problems).of_one():
                    inner = self._is_table((*_way(key), name), each)
                    tables[name] = Table(self.document, (*way, name), inner)
        return tables

    def error(
        self,
        key: str | Key | None,
        problem: str,
        *,
        at_name: bool = False,
        offset: int = 0,
        place: tuple[int, int] | None = None,
    ) -> TomlError:
        """What is wrong with the value of ``key``, or with its name; None: with this table.

        ``offset`` and ``place`` are those of ``Document.error``.
        """
        way = self.path if key is None else self._inner(key)
        return self.document.error(
            way, problem, at_name=at_name or key is None, offset=offset, place=place
        )

    def finish(self) -> None:
        """All keys have been asked for. Raises ``TomlError`` that tells each that was not."""
        with Problems() as problems:
            for key in self._values:
                if key not in self._asked:
                    why = f"unknown key {shown(key)}{_within(self.path)}; {hint(key, self._asked)}"
                    problems.keep(self.error(key, why, at_name=True))

    def _is_missing(self, key: str | Key, default: object) -> bool:
        first = str(_way(key)[0])
        self._asked[first] = None
        if first in self._values:
            return False
        if default is ...:
            raise self.error(None, f"{first!r} is missing{_within(self.path)}")
        return True

    def _get(self, key: str | Key) -> Any:
        value: Any = self._values
        for part in _way(key):
            value = value[part]
        return value

    def _inner(self, key: str | Key) -> Key:
        return (*self.path, *_way(key))

    def _is_table(self, key: str | Key, value: object, ending: str = "") -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        way = self._inner(key)
        remedy = f"[{_dotted(way)}{ending}]" if _is_header(way) else "{...}"
        raise self.error(key, f"{_dotted(way)!r} is no table: write {remedy}")

    def _refuse(self, key: str | Key, value: object, wanted: str) -> TomlError:
        match value:
            case str():
                found = f"{_last(key)} = {shown(value)} is text,"
            case dict() | list():
                found = f"{_last(key)!r} is {shown(value)},"
            case _:
                found = f"{_last(key)} = {shown(value)} is"
        return self.error(key, f"{found} not {wanted}")


def shown(value: object) -> str:
    """A value as an error shows it: in one line that is not long."""
    match value:
        case bool():
            return str(value).lower()
        case int() if abs(value) >= 10**_DIGITS:
            return f"a number of more than {_DIGITS} digits"
        case str() if len(value) > _SHOWN:
            return f"{value[:_SHOWN]!r}..."
        case str() | int() | float():
            return repr(value)
        case dict():
            return "a table"
        case list():
            return "an array"
        case _:
            return str(value)


def _way(key: str | Key) -> Key:
    return (key,) if isinstance(key, str) else key


def _last(key: str | Key) -> str:
    """The name that a value goes by."""
    return [part for part in _way(key) if isinstance(part, str)][-1]


def _is_header(way: Key) -> bool:
    return all(isinstance(part, str) for part in way)


def _dotted(way: Key) -> str:
    """The names of a way as a header writes them."""
    names = [part for part in way if isinstance(part, str)]
    # The texts of JSON are texts of TOML.
    return ".".join(each if _BARE.fullmatch(each) else json.dumps(each) for each in names)


def _within(way: Key) -> str:
    match way:
        case ():
            return ""
        case (*before, int()) if _is_header(tuple(before)):
            return f" in [[{_dotted(way)}]]"
        case _ if _is_header(way):
            return f" in [{_dotted(way)}]"
        case _:
            return f" in {_last(way)!r}"


def _at(name: str, text: str, offset: int, problem: str) -> TomlError:
    line = text.count("\n", 0, offset) + 1
    return TomlError([Problem(name, line, offset - text.rfind("\n", 0, offset), problem)])


def _no_toml(name: str, text: str, error: Exception, texts: Collection[str]) -> TomlError:
    """The error for a text that is no TOML."""
    if place := _PLACE.search(str(error)):
        why = str(error)[: place.start()]
        if place[1]:
            line, column = int(place[1]), int(place[2])
        else:
            line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
        at = offset_of(text, line, column)
        if shows := _TUPLE.fullmatch(why):
            way = ast.literal_eval(shows[2])
            why = f"{shows[1]}[{_dotted(way)}]"
            if shows[3]:
                # Only a header has this, and what stands above it is TOML.
                above = text[: text.rfind("\n", 0, at) + 1]
                why += f"{shows[3]}; {_declared(above, way)}"
        elif remedy := _remedy(why, text, at, texts):
            why += f"; {remedy}"
        return TomlError([Problem(name, line, column, f"not valid TOML: {why}")])
    # tomllib gives no place to this one.
    return _at(name, text, deepest(text), "not valid TOML: it is nested too deeply")


def _declared(above: str, way: Key) -> str:
    """Where a table has been declared, or else what it is in."""
    mark, found = marks_of(above), 0
    for part in way:
        # Names go on in the last table of an array.
        mark = mark.inner.get(len(mark.inner) - 1, mark)
        if part not in mark.inner:
            break
        mark, found = mark.inner[part], found + 1
    line = above.count("\n", 0, mark.name) + 1
    return f"line {line} has [{_dotted(way[:found])}]"


def _remedy(why: str, text: str, at: int, texts: Collection[str]) -> str | None:
    """What was probably meant where tomllib stopped, and how it is written."""
    start = text.rfind("\n", 0, at) + 1
    source, rest = text[start:].partition("\n")[0], text[at:].partition("\n")[0]
    if why.startswith(("Unescaped", "Invalid hex")):
        return _BACKSLASH
    if why.startswith("Cannot overwrite"):
        return "what it names is there already"
    if (before := text_before(text, at)) is not None:
        quote = before[0]
        if before.count("<") > before.count(">"):
            return "SML goes in single quotes, and its texts in double ones"
        if quote in rest[1:] and not _ANOTHER.match(rest) and rest[0] not in "'\"{[":
            other = "single" if quote == '"' else "double"
            return f"a text with {quote} in it goes in {other} quotes"
    if why.startswith("Unclosed") and rest:
        return "a comma may be missing before it"
    keys = [each for each in _UNQUOTED.finditer(source) if each.end() <= at - start]
    # Whatever the key is, this may be an item in SML, or a name in one.
    if keys and (keys[-1][1] in texts or source[keys[-1].end()] in "<$"):
        return f"{keys[-1][1]} is text, and text needs quotes"
    if why.startswith("Invalid value") and (word := _WORD.match(rest)):
        is_truth = word[0].lower() in ("true", "false")
        return f"write {word[0].lower()}" if is_truth else "text needs quotes"
    return None

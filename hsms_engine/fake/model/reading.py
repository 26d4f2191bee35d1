"""Reads a model from the tables of a tool file.

::

    [variable.1001]
    name = "WaferCount"
    value = '<U4 0>'
    highest = 25

    [event.101]
    name = "LotStarted"
    reports = [1]

The tables are ``variable``, ``constant``, ``report``, ``event``, ``alarm``, ``program`` and
``command``; each may be left out. Their keys are ids, ``1001`` and ``0x3E9`` the same one; where an
id is meant a name does too, and an id wins over a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar, get_args

from hsms_engine.fake.model.declared import (
    LONGEST_NAME,
    SOURCES,
    Alarm,
    Command,
    Event,
    IdFormat,
    Kind,
    Model,
    ModelError,
    Parameter,
    Problem,
    Program,
    Report,
    Source,
    Variable,
)
from hsms_engine.fake.model.ids import DIGITS, Id, parse_id
from hsms_engine.secs2 import BOOLEAN, INTEGERS, MAX_LENGTH, REALS, A, B, C, Item, J, L, Text
from hsms_engine.sml import SmlError, parse_item
from hsms_engine.spelling import hint
from hsms_engine.toml_file import Problem as Doubt
from hsms_engine.toml_file import Problems, Table, TomlError, cannot_read, shown

__all__ = ["likely_item", "read_model"]

_T = TypeVar("_T")

_FORMATS: Final[Mapping[str, IdFormat]] = {
    each.__name__: each for each in (*sorted(INTEGERS, key=lambda kind: kind.__name__), A)
}
# The kinds of a [variable]; a [constant] is of the third.
_KINDS: Final[Mapping[str, Kind]] = {each: each for each in get_args(Kind) if each != "constant"}
_SOURCES: Final[Mapping[str, Source]] = {each: each for each in get_args(Source)}
_CATEGORIES: Final = 127
_BYTE: Final = 255
_INFINITE: Final = float("inf")
_NAMES: Final = frozenset(each.__name__ for each in (L, A, B, BOOLEAN, C, J, *INTEGERS, *REALS))
_TEXTS: Final = frozenset({"A", "C", "J"})
_DECIMAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# The most names that an error shows.
_NAMED: Final = 20


def read_model(
    document: Table,
    tool: Table | None = None,
    text_encoding: str | None = None,
    doubt: Callable[[Doubt], None] | None = None,
) -> Model:
    """The model in the tables of a document, of which ``tool`` is ``[tool]``, if it has one.

    Who calls this asks for the other keys of both, and finishes them. ``text_encoding`` is that of
    the link: of all texts that become A. Raises ``TomlError`` with all that is wrong. ``doubt`` is
    told what is allowed and hardly meant, as a name that two have.
    """
    with Problems() as problems:
        reading = _Reading(document, problems, text_encoding)
        model = reading.model(tool)
    if doubt is not None:
        for each in reading.doubts():
            doubt(*each.problems)
    return model


class _Reading:
    """One pass over the tables. What is wrong is kept, and what is good is read on."""

    def __init__(self, document: Table, problems: Problems, text_encoding: str | None) -> None:
        self._document = document
        self._problems = problems
        self._text_encoding = text_encoding
        # The table of each id, by kind; a broken one has a table too.
        self._tables: dict[tuple[str, object], Table] = {}
        # The ids to which one may refer, by kind; constants are variables here.
        self._known: dict[str, dict[Id, None]] = {}
        # By kind ("variable", "report" ...): what names lead to, and the ids of broken tables.
        self._names: dict[str, dict[str, list[Id]]] = {}
        self._broken: dict[str, set[Id]] = {}

    def model(self, tool: Table | None) -> Model:
        mdln, softrev, ids, is_online = self._tool(tool)
        variable_tables, constant_tables = self._ids("variable"), self._ids("constant")
        variables = self._each("variable", variable_tables, self._variable)
        variables |= self._each("constant", constant_tables, self._constant)
        reports = self._each("report", self._ids("report"), self._report)
        events = self._each("event", self._ids("event"), self._event)
        alarms = self._each("alarm", self._alarm_ids(), self._alarm)
        commands = self._each("command", self._ids("command"), self._command)
        programs = self._programs()
        try:
            return Model(
                mdln,
                softrev,
                ids,
                is_online,
                variables,
                reports,
                events,
                {each.id: each for each in alarms.values()},
                programs,
                commands,
                self._text_encoding,
            )
        except ModelError as error:
            raise TomlError(
                [each for found in error.problems for each in self._placed(found, tool).problems]
            ) from None

    def doubts(self) -> Iterator[TomlError]:
        """What is hardly meant in a model that is good."""
        for (kind, id_), table in self._tables.items():
            if isinstance(id_, str) and (number := _number(id_)) is not None:
                write = f"as a number, write [{kind}.{number}]"
                if abs(number) >= 10**DIGITS:
                    write = f"a number has at most {DIGITS} digits"
                yield table.error(None, f"{shown(id_)} is an id of text: {write}")
        for kind, names in self._names.items():
            known = self._known.get(kind, {})
            tables = {
                id_: table
                for (each, id_), table in self._tables.items()
                if _SPACE.get(each, each) == kind
            }
            for name, ids in names.items():
                first, *others = ids
                for each in others:
                    why = f"{name!r} is the name of {kind} {first} too: only its id leads to it"
                    yield tables[each].error("name", why)
                if (other := parse_id(name)) in known and other not in ids:
                    why = f"{name!r} is the id of another {kind}: this name leads to that one"
                    yield tables[first].error("name", why)

    def _placed(self, problem: Problem, tool: Table | None) -> TomlError:
        """The error of a model, where it is in the file."""
        table = tool if problem.table == "tool" else self._tables[problem.table, problem.id]
        # What has no table of its own is a default, and good.
        assert table is not None
        key = problem.key if problem.key is not None and problem.key in table else None
        return table.error(key, problem.why)

    # Ids and names

    def _ids(self, kind: str) -> dict[Id, Table]:
        """The tables of a kind by their ids. An id that is there twice is refused."""
        found: dict[Id, Table] = {}
        space = _SPACE.get(kind, kind)
        with self._problems.of_one():
            tables = self._document.named(kind, self._problems)
            for name in self._document.value(kind, ()):
                if name in tables:
                    with self._problems.of_one():
                        self._note(kind, name, parse_id(name), tables[name], found)
                else:
                    self._known.setdefault(space, {})[parse_id(name)] = None
                    self._broken.setdefault(space, set()).add(parse_id(name))
        return found

    def _note(self, kind: str, name: str, id_: Id, table: Table, found: dict[Id, Table]) -> None:
        # Constants and variables share one space of ids.
        shared = ("variable", "constant") if kind in ("variable", "constant") else (kind,)
        for each in shared:
            if (other := self._tables.get((each, id_))) is not None:
                why = f"id {id_} is there twice: [{each}.{other.path[-1]}] has it too"
                raise table.error(None, why)
        if not name:
            raise table.error(None, "an id without a character: write a number or a name")
        self._tables[kind, id_] = found[id_] = table
        self._known.setdefault(_SPACE.get(kind, kind), {})[id_] = None

    def _alarm_ids(self) -> dict[Id, Table]:
        found = self._ids("alarm")
        for id_, table in [*found.items()]:
            if isinstance(id_, str):
                why = f"{id_!r} is no number, and SEMI E5 has numbers for alarms: [alarm.5001]"
                self._broken.setdefault("alarm", set()).add(id_)
                self._problems.keep(table.error(None, why))
                del found[id_]
        return found

    def _each(
        self, kind: str, tables: Mapping[Id, Table], read: Callable[[Id, Table, _Keep], _T | None]
    ) -> dict[Id, _T]:
        """What is read of each table of a kind, but for the broken ones.

        None: it is broken because all is that it refers to, which is told.
        """
        space = _SPACE.get(kind, kind)
        broken = self._broken.setdefault(space, set())
        names = self._names.setdefault(space, {})
        good: dict[Id, _T] = {}
        for id_, table in tables.items():
            broken.add(id_)
            name = table.value("name", None) if space in ("variable", "event") else None
            if isinstance(name, str) and name:
                names.setdefault(name, []).append(id_)
            with self._problems.of_one():
                with _whole(table, kind) as keep:
                    one = read(id_, table, keep)
                if one is not None:
                    good[id_] = one
                    broken.discard(id_)
        return good

    def _refer(self, kind: str, table: Table, key: str | tuple[str | int, ...]) -> Id | None:
        """The id that is meant by an id or a name; None: it is there, but broken.

        Raises ``TomlError`` for one that is not there.
        """
        given = table.value(key)
        if isinstance(given, bool) or not isinstance(given, int | str):
            raise table.error(key, f"{shown(given)} is no {kind}: write its id or its name")
        ids = self._known.get(kind, {})
        names = self._names.get(kind, {})
        found = parse_id(given) if isinstance(given, str) else given
        if found not in ids:
            match names.get(str(given), []):
                case []:
                    known = [*names, *map(str, ids)][:_NAMED]
                    why = f"no {kind} {given!r:.60}; {hint(str(given), known)}"
                    raise table.error(key, why)
                case [only]:
                    found = only
                case several:
                    which = ", ".join(map(str, several))
                    why = f"the name {given!r} is that of {kind}s {which}: write an id"
                    raise table.error(key, why)
        return None if found in self._broken.get(kind, ()) else found

    def _refer_if(self, kind: str, table: Table, key: str) -> Id | None:
        """The same, and None where no id is given."""
        return self._refer(kind, table, key) if key in table else None

    def _refer_all(self, kind: str, table: Table, key: str) -> tuple[Id, ...]:
        found: list[Id] = []
        with Problems() as problems:
            for index in range(len(table.array(key))):
                with problems.of_one():
                    id_ = self._refer(kind, table, (key, index))
                    if id_ is not None:
                        found.append(id_)
        return tuple(found)

    # The tables

    def _tool(self, tool: Table | None) -> tuple[str, str, IdFormat, bool]:
        mdln, softrev, ids, control = "hsms-engine", "1.0", "U4", "online"
        if tool is not None:
            with self._problems.of_one():
                mdln = tool.text("model", mdln, longest=LONGEST_NAME)
            with self._problems.of_one():
                softrev = tool.text("software", softrev, longest=LONGEST_NAME)
            with self._problems.of_one():
                ids = tool.text("ids", ids, choices=_FORMATS)
            with self._problems.of_one():
                control = tool.text("control", control, choices=("online", "offline"))
        return mdln, softrev, _FORMATS[ids], control == "online"

    def _variable(self, vid: Id, table: Table, keep: _Keep) -> Variable:
        kind = _KINDS[keep(lambda: table.text("kind", "status", choices=_KINDS), "status")]
        if "source" not in table:
            return self._valued(vid, table, keep, kind)
        name, units = _labels(table, keep)
        # Nothing else is wrong when this is.
        source = table.text("source", choices=_SOURCES)
        for key in ("value", "lowest", "highest"):
            keep(partial(_require_none, table, key, source), None)
        return Variable(vid, SOURCES[source], name, units, kind, source=_SOURCES[source])

    def _constant(self, ecid: Id, table: Table, keep: _Keep) -> Variable:
        return self._valued(ecid, table, keep, "constant")

    def _valued(self, vid: Id, table: Table, keep: _Keep, kind: Kind) -> Variable:
        name, units = _labels(table, keep)
        empty: Item = A()
        value = keep(lambda: self._item(table, "value"), empty)
        lowest = keep(lambda: _bound(table, "lowest"), None)
        highest = keep(lambda: _bound(table, "highest"), None)
        return Variable(vid, value, name, units, kind, lowest, highest)

    def _report(self, rptid: Id, table: Table, _: _Keep) -> Report | None:
        vids = self._refer_all("variable", table, "variables")
        return Report(rptid, vids) if vids or not table.array("variables") else None

    def _event(self, ceid: Id, table: Table, keep: _Keep) -> Event:
        name = keep(lambda: table.text("name", ""), "")
        enabled = keep(lambda: table.flag("enabled", True), True)
        return Event(ceid, name, self._refer_all("report", table, "reports"), enabled)

    def _alarm(self, alid: Id, table: Table, keep: _Keep) -> Alarm:
        # Those that are no number are not read.
        assert isinstance(alid, int)
        text = keep(lambda: table.text("text", ""), "")
        default = Alarm(0).category
        category = keep(lambda: table.whole("category", 1, _CATEGORIES, default), default)
        enabled = keep(lambda: table.flag("enabled", True), True)
        set_event = keep(lambda: self._refer_if("event", table, "set_event"), None)
        clear_event = keep(lambda: self._refer_if("event", table, "clear_event"), None)
        return Alarm(alid, text, category, enabled, set_event, clear_event)

    def _command(self, name: Id, table: Table, keep: _Keep) -> Command:
        answer = keep(lambda: table.whole("answer", 0, _BYTE, 0), 0)
        return Command(name, self._parameters(table), answer)

    def _parameters(self, table: Table) -> tuple[Parameter, ...] | None:
        if "parameters" not in table:
            return None
        if isinstance(table.value("parameters"), list):
            return tuple([Parameter(parse_id(each)) for each in table.texts("parameters")])
        if not isinstance(table.value("parameters"), dict):
            found = shown(table.value("parameters"))
            why = f"parameters = {found} is not an array of names: write parameters = ["
            raise table.error("parameters", why + (f"{found}]" if found[0] in "\"'" else '"LOT"]'))
        parameters: list[Parameter] = []
        with Problems() as problems:
            for name, each in table.named("parameters", problems).items():
                with problems.of_one():
                    parameters.append(self._parameter(name, each))
        return tuple(parameters)

    def _parameter(self, name: str, table: Table) -> Parameter:
        with _whole(table, "parameter") as keep:
            variable = keep(lambda: self._refer_if("variable", table, "variable"), None)
            program = keep(lambda: table.flag("program", False), False)
            required = keep(lambda: table.flag("required", False), False)
        return Parameter(parse_id(name), variable, program, required)

    def _programs(self) -> dict[bytes, Program]:
        programs: dict[bytes, Program] = {}
        with self._problems.of_one():
            for name, table in self._document.named("program", self._problems).items():
                with self._problems.of_one(), _whole(table, "program"):
                    key = self._bytes(name, table)
                    self._tables["program", key] = table
                    programs[key] = Program(key, self._body(table))
        return programs

    def _bytes(self, name: str, table: Table) -> bytes:
        try:
            return name.encode(self._text_encoding or "ascii")
        except UnicodeEncodeError as error:
            raise table.error(None, _beyond(error)) from None

    def _body(self, table: Table) -> Item:
        if "file" not in table:
            if "body" not in table:
                raise table.error(None, 'write body = \'<A "...">\' or file = "NAME"')
            return self._item(table, "body")
        if "body" in table:
            raise table.error("file", "body or file, not both")
        path = table.document.beside(table.text("file"))
        try:
            with Path(path).open("rb") as file:
                data = file.read(MAX_LENGTH + 1)
        except (OSError, ValueError) as error:
            raise table.error("file", cannot_read(path, error)) from None
        if len(data) > MAX_LENGTH:
            raise table.error("file", f"{path}: longer than an item, {MAX_LENGTH} bytes")
        return B(data)

    def _item(self, table: Table, key: str) -> Item:
        """A value that is written as SML."""
        given = table.value(key)
        if not isinstance(given, str):
            why = f"{key} is an item in SML, in quotes, such as '<U4 7>' or '<A \"text\">'"
            raise table.error(key, why)
        try:
            return parse_item(given, self._text_encoding)
        except SmlError as error:
            if (meant := likely_item(given)) is not None:
                raise table.error(key, f"{key} is an item in SML: write '<{meant}>'") from None
            place = error.line, error.column
            raise table.error(key, error.problem, place=place) from None


def likely_item(text: str, kind: type[Item] | None = None) -> str | None:
    """What stands between < and > of the item that may be meant by a text; None: it is in < > or
    refers to something. ``kind`` is the format that it should have, where that is known.
    """
    text = text.strip()
    if text.startswith(("<", "$")):
        return None
    first, _, rest = text.partition(" ")
    # "A" is a format, and "a" a word.
    name = first if len(first) == 1 else first.upper()
    if name in _NAMES:
        is_word = name in _TEXTS and rest and rest[0] not in "\"'0"
        return f'{name} "{rest}"' if is_word else f"{name} {rest}".rstrip()
    if kind is not None and not issubclass(kind, Text):
        return f"{kind.__name__} {text}" if text.isalnum() else kind.__name__
    if kind is None and _DECIMAL.fullmatch(text):
        return f"{'F4' if '.' in text else 'I4' if text[0] == '-' else 'U4'} {text}"
    plain = text.strip('"')
    return f'{"A" if kind is None else kind.__name__} "{plain}"'


# The keys of a table of each kind.
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "variable": ("name", "units", "value", "lowest", "highest", "kind", "source"),
    "constant": ("name", "units", "value", "lowest", "highest"),
    "report": ("variables",),
    "event": ("name", "reports", "enabled"),
    "alarm": ("text", "category", "enabled", "set_event", "clear_event"),
    "program": ("body", "file"),
    "command": ("parameters", "answer"),
    "parameter": ("variable", "program", "required"),
}


class _Keep(Protocol):
    """What reads a value of a table; a problem with it is kept, and something stands for it."""

    def __call__(self, read: Callable[[], _T], otherwise: _T) -> _T: ...


@contextmanager
def _whole(table: Table, kind: str) -> Iterator[_Keep]:
    """All that is wrong with values, and each key that there is not: a misspelt one may be both."""
    with Problems() as problems:

        def keep(read: Callable[[], _T], otherwise: _T) -> _T:
            with problems.of_one():
                return read()
            return otherwise

        for key in _KEYS[kind]:
            # It is known from now on, also if an error comes before it is read.
            _ = key in table
        with problems.of_one():
            yield keep
        table.finish()


def _labels(table: Table, keep: _Keep) -> tuple[str, str]:
    """The name and the units of a variable."""
    return keep(lambda: table.text("name", ""), ""), keep(lambda: table.text("units", ""), "")


def _require_none(table: Table, key: str, source: str) -> None:
    if key in table:
        raise table.error(key, f"the value comes from source {source!r}: take {key} out")


# Kinds whose ids are of another kind too.
_SPACE: Final[Mapping[str, str]] = {"constant": "variable"}


def _number(text: str) -> int | None:
    """The number that a text of none of our forms seems to be: ``1_001``, ``+7``, `` 7``."""
    for base in (10, 0):
        try:
            return int(text, base)
        except ValueError:
            pass
    return None


def _bound(table: Table, key: str) -> float | None:
    if key not in table:
        return None
    value = table.value(key)
    # A large integer is kept exactly.
    return value if type(value) is int else table.number(key, -_INFINITE, _INFINITE)


def _beyond(error: UnicodeEncodeError) -> str:
    text = error.object[error.start : error.end]
    return f"{text!r} is not in {error.encoding}: [settings] text_encoding says which text is sent"

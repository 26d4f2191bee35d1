"""Reads a scenario from a TOML file: ``[scenario]``, ``[settings]``, ``[values]``, ``[[step]]``.

The page ``docs/scenarios.md`` has the format. A file is good as a whole: each template and each
pattern is parsed, and each name is looked for, before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Final, TypeVar

from hsms_engine.file_kinds import expect_kind
from hsms_engine.messages.patterns import misfit
from hsms_engine.profiles import TEXTS, settings_of
from hsms_engine.scenario.steps import (
    WITHIN,
    Expect,
    Repeat,
    Role,
    Save,
    Scenario,
    Send,
    Step,
    Wait,
)
from hsms_engine.secs2 import Item
from hsms_engine.settings import Settings
from hsms_engine.sml import (
    Node,
    Pattern,
    SmlError,
    Template,
    fill,
    parse_item_template,
    parse_pattern,
    parse_template,
    uses,
)
from hsms_engine.spelling import hint
from hsms_engine.toml_file import Document, Problem, Problems, Table, TomlError, load, parse, shown

_T = TypeVar("_T")

_DAY: Final = 86_400.0
_SHORTEST: Final = 0.001
_MOST_TIMES: Final = 1_000_000
# How many repeats may be in each other.
_DEEPEST: Final = 8
_KINDS: Final = ("send", "expect", "wait", "save", "repeat")
_NONE: Final = "none"
_TEXTS: Final = (*TEXTS, "role", "send", "expect", "reply")
_ROLES: Final[dict[str, Role]] = {"host": "host", "equipment": "equipment"}
# What an equipment reports about a request.
_REPORTS: Final = (1, 3, 5, 7, 11)
_EXAMPLE: Final = "send = 'S1F1 W'"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_scenario(file: str | PathLike[str]) -> Scenario:
    """Read a file. Raises ``TomlError``: for each problem file, line, column and what is wrong."""
    return _read(load(file, texts=_TEXTS))


def parse_scenario(text: str, name: str = "<scenario>") -> Scenario:
    """The scenario in a text; errors call it ``name``. Raises ``TomlError``."""
    return _read(parse(text, name, _TEXTS))


def _read(document: Document) -> Scenario:
    top = document.table
    expect_kind(top, "scenario")
    settings, name, role = Settings(), Path(document.name).stem, _ROLES["host"]
    within, peer_within = WITHIN, None
    with Problems() as problems:
        with problems.of_one():
            settings = settings_of(top.table("settings"))
        with problems.of_one():
            if (about := top.table("scenario")) is not None:
                name = about.text("name", name)
                role = _ROLES[about.text("role", role, choices=(*_ROLES,))]
                within = about.number("within", _SHORTEST, _DAY, within)
                peer_within = about.number("peer_within", _SHORTEST, _DAY, None)
                about.finish()
        reader = _Reader(problems, settings.text_encoding, within)
        values = reader.values(top.table("values"))
        steps: tuple[Step, ...] = ()
        with problems.of_one():
            tables = top.tables("step")
            if not tables:
                raise top.error(None, f"there is no step: write [[step]], and below it {_EXAMPLE}")
            steps = reader.steps(tables, "", 1)
        with problems.of_one():
            top.finish()
    settings = settings.replace(is_equipment=role == "equipment")
    return Scenario(name, role, settings, peer_within, values, steps, tuple(reader.doubts))


class _Reader:
    """Reads steps in the order in which they are played: it knows which names are bound."""

    def __init__(self, problems: Problems, text_encoding: str | None, within: float) -> None:
        self._problems = problems
        self._encoding = text_encoding
        self._within = within
        # What the values of the scenario are called: no step changes them.
        self._fixed: frozenset[str] = frozenset()
        self._known: dict[str, None] = {}
        self.doubts: list[Problem] = []
        # Whether all before could be read: what a step binds that cannot be read is not known.
        self._is_whole = True

    def values(self, table: Table | None) -> dict[str, Item]:
        """The values of the scenario."""
        found: dict[str, Item] = {}
        for key in () if table is None else table:
            with self._problems.of_one():
                assert table is not None
                _expect_name(table, key)
                node = self._sml(table, key, parse_item_template)
                self._expect_plain(table, key, node)
                found[key] = fill(node, None)
            self._is_whole = self._is_whole and key in found
        self._fixed = frozenset(found)
        self._known |= dict.fromkeys(found)
        return found

    def steps(self, tables: Iterable[Table], above: str, depth: int) -> tuple[Step, ...]:
        """Steps; ``above`` is the number of the step that they are in, with a dot."""
        steps: list[Step] = []
        for number, table in enumerate(tables, 1):
            with self._problems.of_one():
                steps.append(self._step(table, f"{above}{number}", depth))
            self._is_whole = self._is_whole and len(steps) == number
        return tuple(steps)

    def _step(self, table: Table, number: str, depth: int) -> Step:
        place = table.error(None, "").problems[0]
        where = f"{place.file}:{place.line}"
        name = table.text("name", None)
        step: Step
        match [kind for kind in _KINDS if kind in table]:
            case ["send"] | ["send", "expect"]:
                step = self._send(table, number, where, name)
            case ["expect"]:
                step = self._expect(table, number, where, name)
            case ["wait"]:
                step = Wait(number, where, name, table.number("wait", _SHORTEST, _DAY))
            case ["save"]:
                step = Save(number, where, name, self._saved(table))
            case ["repeat"]:
                step = self._repeat(table, number, where, name, depth)
            case []:
                # Most often one is misspelt.
                table.finish()
                raise table.error(
                    None, f"step {number} does nothing: it has none of {', '.join(_KINDS)}"
                )
            case several:
                raise table.error(
                    several[1],
                    f"step {number} has {' and '.join(several)}: make it several steps "
                    "(only send and expect go together, for the reply)",
                    at_name=True,
                )
        table.finish()
        return step

    def _send(self, table: Table, number: str, where: str, name: str | None) -> Send:
        message = self._sml(table, "send", parse_template)
        if message.function % 2 == 0:
            raise table.error(
                "send",
                f"{message.name} is a secondary: send a primary (odd "
                "function); a reply is the reply of an expect",
            )
        self._expect_bound(table, "send", message)
        if "expect" not in table:
            within = table.number("within", _SHORTEST, _DAY, None)
            if within is not None and not message.wait:
                raise table.error("within", "nothing is waited for: the message has no W")
            return Send(number, where, name, message, None, within)
        pattern = self._pattern(table)
        self._expect_reply(table, "expect", pattern, message)
        if not message.wait:
            raise table.error("expect", f"{message.name} has no W, so no reply comes to it")
        within = table.number("within", _SHORTEST, _DAY, None)
        self._known |= dict.fromkeys(pattern.names)
        return Send(number, where, name, message, pattern, within)

    def _expect(self, table: Table, number: str, where: str, name: str | None) -> Expect:
        pattern = self._pattern(table)
        if pattern.function % 2 == 0:
            raise table.error(
                "expect",
                f"{pattern.name} is a secondary: expect it in the step that sends its primary",
            )
        within = table.number("within", _SHORTEST, _DAY, self._within)
        self._known |= dict.fromkeys(pattern.names)
        if table.value("reply", None) == _NONE:
            return Expect(number, where, name, pattern, within, None, is_answered=False)
        reply = None
        if "reply" in table:
            reply = self._sml(table, "reply", parse_template)
            self._expect_reply(table, "reply", reply, pattern)
            self._expect_bound(table, "reply", reply, has_request=True)
        return Expect(number, where, name, pattern, within, reply, is_answered=True)

    def _saved(self, table: Table) -> dict[str, Node]:
        inner = table.table("save")
        assert inner is not None
        if not len(inner):
            raise table.error("save", "nothing is saved: write save = {lot = '$reports.1.2'}")
        saved = {}
        for key in inner:
            _expect_name(inner, key)
            if key in self._fixed:
                raise inner.error(
                    key, f"{key!r} is one of [values], which stay as they are", at_name=True
                )
            node = self._sml(inner, key, parse_item_template)
            self._expect_bound(inner, key, node)
            saved[key] = node
        self._known |= dict.fromkeys(saved)
        return saved

    def _repeat(
        self, table: Table, number: str, where: str, name: str | None, depth: int
    ) -> Repeat:
        times = table.whole("repeat", 1, _MOST_TIMES)
        if depth > _DEEPEST:
            raise table.error("repeat", f"more than {_DEEPEST} repeats are in each other")
        tables = table.tables("steps")
        if not tables:
            raise table.error("repeat", f"it has no steps: write steps = [{{{_EXAMPLE}}}]")
        return Repeat(number, where, name, times, self.steps(tables, f"{number}.", depth + 1))

    # SML

    def _sml(self, table: Table, key: str, read: Callable[[str, str | None], _T]) -> _T:
        try:
            return read(table.text(key), self._encoding)
        except SmlError as error:
            raise table.error(key, error.problem, place=(error.line, error.column)) from None

    def _pattern(self, table: Table) -> Pattern:
        pattern = self._sml(table, "expect", parse_pattern)
        if (why := pattern.never()) is not None:
            raise table.error("expect", f"this never matches: {why}")
        if (why := misfit(pattern)) is not None:
            self.doubts += table.error("expect", why).problems
        return pattern

    def _expect_reply(
        self, table: Table, key: str, reply: Template | Pattern, primary: Template | Pattern
    ) -> None:
        """Raise unless ``reply`` answers ``primary``, aborts it, or reports about it."""
        stream, function = primary.stream, primary.function
        allowed = {(stream, function + 1), (stream, 0)}
        if key == "expect":
            allowed |= {(9, each) for each in _REPORTS}
        if (reply.stream, reply.function) not in allowed:
            also = ", or one of S9F1 to S9F11 that reports it" if key == "expect" else ""
            remedy = "; a primary is expected in a step of its own" if reply.function % 2 else ""
            raise table.error(
                key,
                f"{reply.name} is no reply to S{stream}F{function}: that is "
                f"S{stream}F{function + 1}, or S{stream}F0, which aborts it{also}{remedy}",
            )

    def _expect_bound(
        self, table: Table, key: str, what: Template | Node, *, has_request: bool = False
    ) -> None:
        """Raise when ``what`` refers to what is not there."""
        used = what.uses if isinstance(what, Template) else uses(what)
        for each in sorted(used.variables):
            written = f"${{{each}}}"
            raise self._at(
                table, key, written, f"{written} is a variable of a tool, and a scenario has none"
            )
        if used.request and not has_request:
            raise table.error(
                key,
                "$ is the item of a request, and there is none: give what you need a name in "
                "expect, as in <A $lot>",
            )
        for each in sorted(used.names - self._known.keys()) if self._is_whole else ():
            names = [f"${name}" for name in self._known]
            near = hint(f"${each}", names) if names else "no name is bound before this step"
            raise self._at(table, key, f"${each}", f"nothing is bound to ${each} here; {near}")

    def _at(self, table: Table, key: str, written: str, problem: str) -> TomlError:
        """What is wrong with what is ``written`` in a text."""
        return table.error(key, problem, offset=max(table.text(key).find(written), 0))

    def _expect_plain(self, table: Table, key: str, node: Node) -> None:
        if uses(node) != uses(None):
            raise table.error(key, "a value of the scenario is plain SML, and refers to nothing")


def _expect_name(table: Table, key: str) -> None:
    if not _NAME.fullmatch(key):
        raise table.error(
            key, f"{shown(key)} is no name: a letter or _, then letters, digits and _", at_name=True
        )

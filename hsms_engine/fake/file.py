"""The file of a simulated tool, or of several.

::

    [tool]                      # what it calls itself
    model = "ETCHER"

    [settings]                  # of HSMS, as the [defaults] of a file of links
    port = 5000

    [variable.1001]             # and so on: hsms_engine.fake.model.reading
    [[rule]]                    # hsms_engine.fake.rules.reading

or, each in a file of its own::

    [settings]
    port = 5000

    [tools.ETCHER]
    file = "etcher.toml"
    session_id = 1

    [tools.STEPPER]             # STEPPER-1 to STEPPER-20, with session ids from 10
    file = "stepper.toml"
    session_id = 10
    count = 20

Every table may be left out. A tool without a table of a model has that of the shipped tool, with
its own rules. Of the ``[settings]`` in the file of one of several tools, ``session_id`` and
``port`` hold unless ``[tools.NAME]`` has others, and all else is that of the file of several.

Invariants:

* A file is good as a whole, with all files it names, or it is refused.
* All that is wrong is told at once, but for what only follows from something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from os import PathLike
from typing import Final, NamedTuple

from hsms_engine import profiles
from hsms_engine.fake.model import Model
from hsms_engine.fake.model.reading import read_model
from hsms_engine.fake.plan import UNKNOWN, ToolPlan, Unknown
from hsms_engine.fake.rules.book import RuleBook
from hsms_engine.fake.rules.reading import read_rules
from hsms_engine.fake.rules.rule import Rule
from hsms_engine.file_kinds import TABLES, expect_kind
from hsms_engine.settings import Settings, is_name
from hsms_engine.toml_file import Document, Problem, Problems, Table, TomlError, load, parse, shown

__all__ = ["ToolFile", "default_tool", "read_tool_file"]

_ONE: Final = tuple(each for each in TABLES["tool"] if each != "tools")
_MODEL: Final = tuple(each for each in _ONE if each not in ("tool", "rule"))
_UNKNOWN: Final[Mapping[str, Unknown]] = {each: each for each in UNKNOWN}
_TEXTS: Final = (
    *profiles.TEXTS, "model", "software", "ids", "unknown", "control", "units", "value", "kind",
    "source", "text", "body", "file", "on", "when", "reply", "send", "fault", "stop",
)  # fmt: skip
_SEEDS: Final = 2**63 - 1
_HIGHEST_SESSION_ID: Final = 32_767
_HIGHEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class ToolFile:
    """A file that has been read: one tool without a name, or several."""

    path: str
    settings: Settings
    tools: tuple[ToolPlan, ...]
    """In the order of the file. Copies of one tool share its model and its rules."""
    files: tuple[str, ...] = ()
    """All files that it was read from, itself the first: a change of one is a change of it."""
    doubts: tuple[Problem, ...] = ()
    """What is allowed and yet hardly meant, such as a pattern for no message of SEMI E5, or a name
    that two have."""

    def summary(self) -> str:
        """What is in it, as in "2 events, 1 rule"."""
        if self.tools[0].name:
            return _several(len(self.tools), "tool")
        [plan] = self.tools
        model = plan.model
        kinds = [each.kind == "constant" for each in model.variables.values()]
        counts = {
            "variable": kinds.count(False),
            "constant": kinds.count(True),
            "report": len(model.reports),
            "event": len(model.events),
            "alarm": len(model.alarms),
            "program": len(model.programs),
            "command": len(model.commands),
            "rule": len(plan.rules.rules),
        }
        told = [_several(count, name) for name, count in counts.items() if count]
        return ", ".join(told) or "nothing but its name"


def read_tool_file(file: str | PathLike[str]) -> ToolFile:
    """Read a file, and those that it names. Raises ``TomlError`` with all that is wrong."""
    document = load(file, texts=_TEXTS)
    root = document.table
    _check_kind(root)
    if "tools" in root:
        return _Several(document, root).read()
    with Problems() as problems:
        settings = Settings()
        with problems.of_one():
            settings = profiles.settings_of(root.table("settings"))
        doubts: list[Problem] = []
        plan = _plan(root, settings.text_encoding, doubts)
    files = (document.name, *_bodies(document))
    return ToolFile(document.name, settings, (plan,), files, tuple(doubts))


def default_tool() -> ToolFile:
    """The tool that comes with the engine."""
    document = _default()
    return ToolFile(document.name, Settings(), (_plan(document.table, None, []),))


def _default() -> Document:
    shipped = resources.files("hsms_engine.fake") / "default.toml"
    return parse(shipped.read_text("utf-8"), shipped.name)


def _check_kind(root: Table) -> None:
    """Whether a file seems to be that of a tool, or of several."""
    expect_kind(root, "tool")
    if not len(root):
        why = "nothing is in this file: a tool has [event.ID], [variable.ID], [[rule]] and so on"
        raise root.error(None, why)


def _plan(root: Table, text_encoding: str | None, doubts: list[Problem]) -> ToolPlan:
    """The one tool of a file. Raises ``TomlError``; what is in doubt is added to ``doubts``."""
    tool: Table | None = None
    seed, unknown = 0, UNKNOWN[0]
    model: Model | None = None
    rules: tuple[Rule, ...] = ()
    with Problems() as problems:
        with problems.of_one():
            tool = root.table("tool")
        if tool is not None:
            with problems.of_one():
                seed = tool.whole("seed", 0, _SEEDS, 0)
            with problems.of_one():
                unknown = _UNKNOWN[tool.text("unknown", unknown, choices=UNKNOWN)]
        # Each is asked for, so that what is misspelt gets a hint.
        own = [key for key in _MODEL if key in root]
        with problems.of_one():
            tables = root if own else _default().table
            model = read_model(tables, tool, text_encoding, doubts.append)
        with problems.of_one():
            rules = read_rules(root, model, text_encoding, doubts.append)
        if tool is not None:
            with problems.of_one():
                tool.finish()
        root.finish()
    assert model is not None  # it was read, or a problem was raised
    return ToolPlan(model, RuleBook(rules), seed=seed, unknown=unknown)


def _bodies(document: Document) -> Iterator[str]:
    """The files of process programs."""
    for program in document.table.named("program").values():
        if "file" in program:
            yield document.beside(program.text("file"))


class _Inner(NamedTuple):
    """What the file of one of several tools says."""

    plan: ToolPlan
    session_id: int | None
    port: int | None


class _Several:
    """Reads a file of several tools."""

    def __init__(self, document: Document, root: Table) -> None:
        self._document = document
        self._root = root
        # None: it is broken.
        self._settings: Settings | None = None
        self._files: dict[str, None] = {document.name: None}
        self._doubts: list[Problem] = []
        # What has been read of each file that is good.
        self._read: dict[str, _Inner] = {}
        # By name, and by port and session id: the table that has it.
        self._names: dict[str, Table] = {}
        self._addresses: dict[tuple[int, int], Table] = {}

    def read(self) -> ToolFile:
        root = self._root
        tools: list[ToolPlan] = []
        with Problems() as problems:
            with problems.of_one():
                self._settings = profiles.settings_of(root.table("settings"))
            for key in _ONE:
                if key in root:
                    why = (
                        f"{key!r} in a file of several tools: write it in the file of a tool, "
                        "which [tools.NAME] names"
                    )
                    problems.keep(root.error((key,), why, at_name=True))
            with problems.of_one():
                for table in self._tables():
                    with problems.of_one():
                        tools += self._copies(table)
            root.finish()
        assert self._settings is not None  # it was read, or a problem was raised
        return ToolFile(
            self._document.name,
            self._settings,
            tuple(tools),
            tuple(self._files),
            tuple(self._doubts),
        )

    def _tables(self) -> Iterable[Table]:
        named = self._root.named("tools")
        if not named:
            raise self._root.error("tools", "no tool is here: write [tools.NAME]")
        for name, table in named.items():
            if not name or not is_name(name):
                why = f"{shown(name)} is no name of a tool: it is up to 100 printable characters"
                raise table.error(None, why)
        return named.values()

    def _copies(self, table: Table) -> list[ToolPlan]:
        """The tools of one table."""
        inner: _Inner | None = None
        session_id: int | None = None
        port: int | None = None
        count: int | None = None
        with Problems() as problems:
            with problems.of_one():
                inner = self._inner(table)
            with problems.of_one():
                session_id = table.whole("session_id", 0, _HIGHEST_SESSION_ID, None)
            with problems.of_one():
                port = table.whole("port", 0, _HIGHEST_PORT, None)
            with problems.of_one():
                count = table.whole("count", 1, _HIGHEST_SESSION_ID + 1, None)
            table.finish()
        assert inner is not None  # it was read, or a problem was raised
        if self._settings is None:
            # Nothing is known of addresses; and the problem is kept.
            return []
        port = _first_given(port, inner.port, self._settings.port)
        first = _first_given(session_id, inner.session_id, self._settings.session_id)
        last = first + (count or 1) - 1
        if last > _HIGHEST_SESSION_ID:
            why = f"these are session ids up to {last}, and the highest is {_HIGHEST_SESSION_ID}"
            raise table.error("count", why)
        name = str(table.path[-1])
        copies: list[ToolPlan] = []
        for number in range(last - first + 1):
            copy = replace(
                inner.plan,
                name=name if count is None else f"{name}-{number + 1}",
                session_id=first + number,
                port=port,
                # Each does something else by chance, and always the same.
                seed=inner.plan.seed + number,
            )
            self._note(table, copy.name, first + number, port)
            copies.append(copy)
        return copies

    def _note(self, table: Table, name: str, session_id: int, port: int) -> None:
        """No other tool has this name, nor this address."""
        if other := self._names.get(name):
            why = f"{name!r} is the name of a tool of {_header(other)} too: give it another"
            raise table.error(None, why)
        if other := self._addresses.get((port, session_id)):
            whose = "" if other is table else f" of {_header(other)}"
            why = (
                f"session id {session_id} at port {port} is that of a tool{whose} too: "
                "give another session_id or port"
            )
            raise table.error("session_id" if "session_id" in table else None, why)
        self._names[name] = self._addresses[port, session_id] = table

    def _inner(self, table: Table) -> _Inner:
        """What the file says that a table names."""
        found = self._document.beside(table.text("file"))
        self._files[found] = None
        if found not in self._read:
            self._read[found] = self._read_inner(table, found)
        return self._read[found]

    def _read_inner(self, table: Table, found: str) -> _Inner:
        try:
            document = load(found, texts=_TEXTS)
        except TomlError as error:
            if error.line:
                raise
            raise table.error("file", error.problem) from error
        root = document.table
        if "tools" in root:
            why = f"{found} is a file of several tools: name the files of its tools here"
            raise table.error("file", why)
        _check_kind(root)
        settings: Table | None = None
        with Problems() as problems:
            with problems.of_one():
                settings = root.table("settings")
                own = profiles.settings_of(settings)
            encoding = None if self._settings is None else self._settings.text_encoding
            plan = _plan(root, encoding, self._doubts)
        self._files |= dict.fromkeys(_bodies(document))
        session_id = own.session_id if settings is not None and "session_id" in settings else None
        port = own.port if settings is not None and "port" in settings else None
        return _Inner(plan, session_id, port)


def _first_given(*values: int | None) -> int:
    return next(each for each in values if each is not None)


def _header(table: Table) -> str:
    return f"[tools.{table.path[-1]}]"


def _several(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"

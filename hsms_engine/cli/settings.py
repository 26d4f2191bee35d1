"""``hsms-engine settings``: what the settings of a link are and from where they come, and whether a
file of links is good.

It prints one line, or one JSON object, for each setting, or for each problem of the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError, Group
from hsms_engine.cli.options import PASSWORD, AsJson
from hsms_engine.errors import SettingsError
from hsms_engine.logs import escaped
from hsms_engine.process import Process
from hsms_engine.profiles import TEXTS, Origin, Profiles, read
from hsms_engine.settings import Settings, allowed
from hsms_engine.toml_file import Problem, TomlError, load

_SHOW_NOTES = """\
Each line has the name, the value, where it comes from, and what is allowed. A file writes none as
0. Without FILE, these are the defaults. Options of a command win over a file; they are not in it.

examples:
  hsms-engine settings show
  hsms-engine settings show links.toml --link etcher-1
  hsms-engine settings show links.toml --link etcher-1 --json
"""
_CHECK_NOTES = """\
Each problem has its file, line and column. The exit code is 1 when there is one, also in what is no
TOML, and 2 for a file that cannot be opened.

examples:
  hsms-engine settings check links.toml
  hsms-engine settings check links.toml --json
"""
_HIDDEN = "(not shown)"


@dataclass(frozen=True, slots=True)
class _Row:
    """A setting and its value."""

    name: str
    value: object
    origin: Origin | str
    allowed: str

    @property
    def text(self) -> str:
        match self.origin:
            case Origin(table=table, file=file, line=line):
                whence = f"{file}:{line} [{table}]"
            case whence:
                pass
        return escaped(f"{self.name:27} {_text(self.value):15} {whence}; {self.allowed}")

    @property
    def object(self) -> dict[str, object]:
        told = {"event": "setting", "name": self.name, "value": self.value, "allowed": self.allowed}
        match self.origin:
            case Origin(table=table, file=file, line=line, column=column):
                place = {"file": file, "line": line, "column": column}
                return told | {"origin": table.partition(".")[0], "table": table} | place
            case whence:
                return told | {"origin": whence}


def show(
    *,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="a TOML file of links and profiles")
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="which link of that file, if it has several"),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print every setting, its value, and where that comes from."""
    chosen, origins = Settings(), dict[str, Origin]()
    if file is None and link is not None:
        raise CommandError(f"--link {link} needs FILE, where it stands", 2)
    if file is not None:
        try:
            profiles = read(file)
            chosen, origins = profiles.link(link), profiles.origins(link)
        except SettingsError as error:
            raise CommandError(error, 2) from error

    async def run(this: Process) -> int:
        for row in _rows(chosen, origins):
            if as_json:
                this.json(row.object)
            else:
                this.line(row.text)
        return 0

    return process.run(run)


def _rows(chosen: Settings, origins: dict[str, Origin]) -> Iterator[_Row]:
    for each in fields(Settings):
        name = each.name
        value: object = getattr(chosen, name)
        origin: Origin | str = origins.get(name, "default")
        if name == "tls_key_password":
            origin = PASSWORD if os.environ.get(PASSWORD) else origin
            value = "" if origin == "default" else _HIDDEN
        yield _Row(name, value, origin, allowed(name, is_short=chosen.allow_short_timers))


def _text(value: object) -> str:
    """A value for people, as TOML has it."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            return f"[{', '.join(map(repr, value))}]"
        case _ if value == _HIDDEN:
            return _HIDDEN
        case _:
            return repr(value)


def check(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a TOML file of links and profiles")],
    as_json: AsJson = False,
) -> int:
    """Say what is wrong with a file of links, all of it."""
    links: list[str] = []
    problems: tuple[Problem, ...] = ()
    try:
        links += Profiles(load(file, texts=TEXTS)).links
    except TomlError as error:
        if not error.line:
            raise CommandError(error, 2) from error
        problems = error.problems

    async def run(this: Process) -> int:
        for each in problems:
            if as_json:
                this.json({"event": "problem", **each._asdict()})
            else:
                this.line(escaped(str(each)))
        count = len(problems)
        if as_json:
            told = {"event": "checked", "file": str(file), "problems": count, "links": links}
            this.json(told)
        elif problems:
            this.line(escaped(f"{file}: {count} problem{'' if count == 1 else 's'}"))
        else:
            this.line(escaped(f"{file}: good; links: {', '.join(links) or 'none'}"))
        return 1 if problems else 0

    return process.run(run)


COMMAND = Group(
    "settings",
    "Show the settings of a link, and check a file of links.",
    (Command(show, _SHOW_NOTES), Command(check, _CHECK_NOTES)),
)

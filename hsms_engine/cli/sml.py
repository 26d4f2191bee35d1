"""``hsms-engine sml``: what is in files of SML, and the same files in the one form of this package.

Problems and notes have the place, the line and a caret. With ``--json`` each is an object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, assert_never

import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError, Group
from hsms_engine.cli.options import AsJson
from hsms_engine.process import Process, complain
from hsms_engine.secs2.encodings import superset_of_ascii
from hsms_engine.sml import Binary, Library, Note, SmlError, Statement, load_file, to_sml
from hsms_engine.sml.errors import caret

_CHECK_NOTES = """\
A problem is what cannot be read, or what has two meanings: its message is lost. A note is where a
text is not as this program would have written it, and what was made of it.

The exit code is 1 when there is a problem, and with --strict also when there is a note.

examples:
  hsms-engine sml check tool.sml
  hsms-engine sml check --binary hex --escapes library/*.sml
"""
_FORMAT_NOTES = """\
Comments are not kept; it says so. A file with problems is not written without --force, and then
without the messages that could not be read.

examples:
  hsms-engine sml format tool.sml > new.sml
  hsms-engine sml format --in-place tool.sml
"""


def _binary(text: str) -> Binary:
    match text:
        case "decimal" | "hex":
            return text
        case _:
            raise typer.BadParameter(f"{text!r} is neither decimal nor hex")


def _encoding(name: str) -> str:
    try:
        " ".encode(name)
    except LookupError as error:
        raise typer.BadParameter(str(error)) from None
    return name


def _text_encoding(name: str) -> str:
    try:
        return superset_of_ascii(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a file is read."""

    binary: Annotated[
        Any,
        typer.Option(
            parser=_binary, metavar="decimal|hex", help="what two digits in a B are, as in <B 80>"
        ),
    ] = None
    escapes: Annotated[bool, typer.Option("--escapes", help="a backslash is an escape")] = False
    encoding: Annotated[
        str,
        typer.Option(
            parser=_encoding,
            metavar="NAME",
            help="the encoding of a file without a byte order mark",
        ),
    ] = "utf-8"
    text_encoding: Annotated[
        str | None,
        typer.Option(
            parser=_text_encoding,
            metavar="NAME",
            help="how text in A is encoded in messages, such as gbk or cp932 (ASCII only)",
        ),
    ] = None

    def load(self, file: Path) -> Library:
        """The messages of a file. Raises ``CommandError`` when it cannot be read."""
        try:
            return load_file(
                file,
                encoding=self.encoding,
                binary=self.binary,
                escapes=self.escapes,
                text_encoding=self.text_encoding,
            )
        except OSError as error:
            raise CommandError(f"cannot read {file}: {error.strerror or error}") from error


def check(
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="files of SML")],
    reading: Reading,
    strict: Annotated[bool, typer.Option("--strict", help="notes too fail")] = False,
    as_json: AsJson = False,
) -> int:
    """Say what cannot be read, and what was passed over."""

    async def run(this: Process) -> int:
        code = 0
        for file in files:
            library = reading.load(file)
            if library.problems or (strict and library.counts):
                code = 1
            for found in _in_order(library):
                if as_json:
                    this.json(_object(file, found))
                else:
                    this.line(_text(file, found))
            if as_json:
                this.json(_sum(file, library))
            else:
                this.line(f"{file}: {_sum_text(library)}")
        return code

    return process.run(run)


def reformat(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a file of SML")],
    reading: Reading,
    in_place: Annotated[bool, typer.Option("--in-place", help="write the file itself")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="write also when there are problems")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Write the messages of a file in one form, one item a line."""

    async def run(this: Process) -> int:
        library = reading.load(file)
        for problem in library.problems:
            if as_json:
                this.json(_object(file, problem))
            else:
                complain(_text(file, problem))
        if library.problems and not force:
            raise CommandError(f"{file} is not written: {_sum_text(library)}")
        if not as_json:
            complain(f"{file}: {_sum_text(library)}{', not kept' if library.comments else ''}")
        if in_place:
            _write(file, library, reading.text_encoding)
        for statement in () if in_place else library.messages:
            if as_json:
                this.json(_message(file, statement, reading.text_encoding))
            else:
                this.line(to_sml(statement, reading.text_encoding))
        if as_json:
            this.json(_sum(file, library))
        return 1 if library.problems else 0

    return process.run(run)


def _write(file: Path, library: Library, text_encoding: str | None) -> None:
    text = "".join(f"{to_sml(statement, text_encoding)}\n" for statement in library.messages)
    try:
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror or error}") from error


def _in_order(library: Library) -> Iterator[SmlError | Note]:
    found: list[SmlError | Note] = [*library.problems, *library.notes]
    yield from sorted(found, key=lambda each: (each.line, each.column))


def _text(file: Path, found: SmlError | Note) -> str:
    match found:
        case Note(kind=kind, text=text):
            what = f"note, {kind}: {text}"
        case SmlError(problem=problem):
            what = f"problem: {problem}"
        case _:
            assert_never(found)
    return f"{file}:{found.line}:{found.column}: {what}\n{caret(found.column, found.source)}"


def _object(file: Path, found: SmlError | Note) -> dict[str, object]:
    place = {"file": str(file), "line": found.line, "column": found.column}
    match found:
        case Note():
            return {"event": "note", **place, "kind": found.kind, "text": found.text}
        case SmlError():
            return {"event": "problem", **place, "text": found.problem}
        case _:
            assert_never(found)


def _sum_text(library: Library) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(library.counts.items()))
    told = [
        _counted(len(library.messages), "message"),
        _counted(len(library.problems), "problem"),
        _counted(sum(library.counts.values()), "note") + (f" ({kinds})" if kinds else ""),
    ]
    if library.comments:
        told.append(_counted(library.comments, "comment"))
    return ", ".join(told)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _sum(file: Path, library: Library) -> dict[str, object]:
    return {
        "event": "read",
        "file": str(file),
        "messages": len(library.messages),
        "problems": len(library.problems),
        "notes": dict(sorted(library.counts.items())),
        "comments": library.comments,
    }


def _message(file: Path, statement: Statement, text_encoding: str | None) -> dict[str, object]:
    return {
        "event": "message",
        "file": str(file),
        "name": statement.name,
        "message": f"S{statement.stream}F{statement.function}{' W' if statement.wait else ''}",
        "sml": to_sml(statement, text_encoding),
    }


COMMAND = Group(
    "sml",
    "Read files of SML: messages as the trade writes them.",
    (Command(check, _CHECK_NOTES), Command(reformat, _FORMAT_NOTES, name="format")),
)

"""``hsms-engine sml``: what is in files of SML, the same files in the one form of this package, and
the messages in logs.

Problems and notes have the place, the line and a caret. With ``--json`` each is an object.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, assert_never, cast

import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError, Group
from hsms_engine.cli.options import AsJson, host_or_equipment
from hsms_engine.log_reader import (
    CutMessage,
    Entry,
    LoggedControl,
    LoggedMessage,
    LogReader,
    LogTime,
    NotUnderstood,
    read_log,
)
from hsms_engine.logs import escaped
from hsms_engine.process import Process, complain
from hsms_engine.scenario.recording import Line, RecordingError, scenario_of
from hsms_engine.secs2 import DecodeError
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
  unzip -p tool.zip tool.sml | hsms-engine sml check -
"""
_FORMAT_NOTES = """\
Comments are not kept; it says so. A file with problems is not written without --force, and then
without the messages that could not be read. No text is replaced by none.

examples:
  hsms-engine sml format tool.sml > new.sml
  hsms-engine sml format --in-place tool.sml
"""
_LOG_NOTES = """\
Each message is SML below a comment with its time, its direction, and file and line. Control
messages are comments alone. What is cut in the log, or was not understood, is on standard error,
and then the exit code is 1.

examples:
  hsms-engine sml from-log tool.log > messages.sml
  zcat tool.log.gz | hsms-engine sml from-log - --json
  hsms-engine sml from-log --text-encoding gbk tool.log
  hsms-engine sml from-log --scenario host tool.log > start-up.toml
"""
_STDIN = Path("-")
# Of a body that is no SECS-II.
_SHOWN_BYTES = 32


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
        if file != _STDIN:
            return self._load(file)
        # Bytes are decoded only from a file.
        with TemporaryDirectory() as folder:
            copy = Path(folder, "stdin.sml")
            copy.write_bytes(sys.stdin.buffer.read())
            return self._load(copy)

    def _load(self, file: Path) -> Library:
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
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="files of SML; - is standard input")
    ],
    reading: Reading,
    strict: Annotated[bool, typer.Option("--strict", help="notes too fail")] = False,
    as_json: AsJson = False,
) -> int:
    """Say what cannot be read, and what was passed over."""

    async def run(this: Process) -> int:
        code = 0
        unread = []
        for file in files:
            try:
                library = reading.load(file)
            except CommandError as error:
                unread.append(str(error))
                continue
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
        if unread:
            raise CommandError("; ".join(unread))
        return code

    return process.run(run)


def reformat(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="a file of SML; - is standard input")
    ],
    reading: Reading,
    in_place: Annotated[bool, typer.Option("--in-place", help="write the file itself")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="write also when there are problems")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Write the messages of a file in one form, one item a line."""
    if in_place and file == _STDIN:
        raise CommandError("standard input cannot be written in place", 2)

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
        if not text and file.read_bytes().strip():
            raise CommandError(f"{file} is not written: no message is in it, and all would be lost")
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror or error}") from error


def from_log(
    *,
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="logs; - is standard input")],
    reading: Reading,
    day_first: Annotated[
        bool | None,
        typer.Option(
            "--day-first/--month-first", help="what 03/04/2026 is, if the log does not tell"
        ),
    ] = None,
    scenario: Annotated[
        Any,
        typer.Option(
            parser=host_or_equipment,
            metavar="host|equipment",
            help="write a scenario for hsms-engine run, which plays this side",
        ),
    ] = None,
    log_of: Annotated[
        Any,
        typer.Option(
            parser=host_or_equipment,
            metavar="host|equipment",
            help="whose log it is, for a scenario of one that only says sent and received",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write the messages that are in logs."""
    if scenario is not None and as_json:
        raise CommandError("--scenario writes TOML: give it without --json", 2)
    if scenario is None and log_of is not None:
        raise CommandError("--log-of is for --scenario", 2)

    async def run(this: Process) -> int:
        code = 0
        played: list[Line] = []
        for file in files:
            reader = read_log(
                # typeshed has no type of its own for what reads standard input.
                cast(BufferedIOBase, sys.stdin.buffer) if file == "-" else file,
                day_first=day_first,
                encoding=reading.encoding,
                binary=reading.binary,
                escapes=reading.escapes,
                text_encoding=reading.text_encoding,
            )
            for entry in _entries(file, reader):
                text, is_whole = _entry_text(file, entry)
                code = code if is_whole else 1
                if scenario is not None and is_whole:
                    if isinstance(entry, LoggedMessage):
                        played.append(Line(entry, f"{file}:{entry.line}"))
                elif as_json:
                    this.json(_entry_object(file, entry))
                elif is_whole:
                    this.line(text)
                else:
                    complain(text)
        if scenario is not None:
            try:
                for line in scenario_of(played, scenario, Path(files[0]).stem, log_of):
                    this.line(line)
            except RecordingError as error:
                raise CommandError(f"no scenario is made of {', '.join(files)}: {error}") from error
        return code

    return process.run(run)


def _entries(file: str, reader: LogReader) -> Iterator[Entry]:
    try:
        yield from reader
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror or error}") from error


def _entry_text(file: str, entry: Entry) -> tuple[str, bool]:
    """What is written of an entry, and whether it is there as a whole."""
    place = f"{file}:{entry.line}"
    match entry:
        case LoggedMessage(time, direction, message):
            head = _comment(time, direction, place, message.session_id, message.system_bytes)
            try:
                return f"{head}\n{message.sml()}", True
            except DecodeError as error:
                body = message.body[:_SHOWN_BYTES].hex(" ")
                return f"{place}: {message.name}: no SECS-II, {error}: {body}", False
        case LoggedControl(time, direction, name, session, system):
            return f"{_comment(time, direction, place, session, system)} {name}", True
        case CutMessage(name=name, why=why, text=text):
            return escaped(f"{place}: {name}: {why}{f': {text}' if text else ''}"), False
        case NotUnderstood(column=column, text=text, why=why):
            return escaped(f"{place}:{column}: {why}: {text}"), False
        case _:
            assert_never(entry)


def _comment(
    time: LogTime | None,
    direction: str | None,
    place: str,
    session: int | None,
    system: int | None,
) -> str:
    facts = [
        "" if time is None else str(time),
        direction or "",
        place,
        "" if session is None else f"session={session}",
        "" if system is None else f"system={system:08X}",
    ]
    return escaped(" ".join(("//", *filter(None, facts))))


def _entry_object(file: str, entry: Entry) -> dict[str, object]:
    match entry:
        case NotUnderstood(line, column, text, why):
            place: dict[str, object] = {"file": file, "line": line, "column": column}
            return {"event": "not understood", **place, "text": text, "why": why}
        case LoggedMessage(message=message):
            try:
                body = {"sml": message.sml()}
            except DecodeError:
                body = {"hex": message.body.hex()}
            name, wait = message.name, message.wait
            ids = (message.session_id, message.system_bytes)
            more: dict[str, object] = {"message": f"{name}{' W' if wait else ''}", **body}
            event = "message"
        case LoggedControl(name=name, session_id=session, system_bytes=system):
            event, more, ids = "control", {"message": name}, (session, system)
        case CutMessage(name=name, wait=wait, session_id=session, system_bytes=system):
            name = f"{name}{' W' if wait else ''}"
            event, ids = "cut", (session, system)
            more = {"message": name, "why": entry.why, "text": entry.text}
        case _:
            assert_never(entry)
    return {
        "event": event,
        "file": file,
        "line": entry.line,
        "time": None if entry.time is None else entry.time.isoformat(),
        "direction": entry.direction,
        "session_id": ids[0],
        "system_bytes": None if ids[1] is None else f"{ids[1]:08X}",
        **more,
    }


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
    "Read files of SML, and logs: messages as the trade writes them.",
    (
        Command(check, _CHECK_NOTES),
        Command(reformat, _FORMAT_NOTES, name="format"),
        Command(from_log, _LOG_NOTES, name="from-log"),
    ),
)

"""What ``--send`` says: the primaries to send, and what was passed over where they were read.

``S1F13`` is the message of the catalogue with its usual body, ``Name`` that of a library, ``@FILE``
and ``-`` are all messages of a file and of standard input; anything else is one message as SML.

Invariant: everything is read before anything is sent.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer

from hsms_engine import messages
from hsms_engine.cli.command import CommandError
from hsms_engine.cli.options import whole
from hsms_engine.message import Message
from hsms_engine.messages.pages import body
from hsms_engine.sml import Library, SmlError, Statement, load, load_file
from hsms_engine.spelling import hint

_FUNCTION: Final = re.compile(r"[Ss]([0-9]{1,3})[Ff]([0-9]{1,3})")
_NAME: Final = re.compile(r"\w[\w.-]*")
_STDIN: Final = "-"
# How many notes and problems of a file are told; the rest is counted.
_TOLD: Final = 20


@dataclass(frozen=True, slots=True)
class Passed:
    """What was passed over in a file. ``line`` and ``column`` are 0 for the file as a whole."""

    file: str
    line: int
    column: int
    kind: str
    text: str

    def __str__(self) -> str:
        place = f", line {self.line}, column {self.column}" if self.line else ""
        return f"{self.file}{place}: {self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class Primaries:
    """What is sent, in order, and what was passed over in the files that it comes from."""

    messages: Sequence[Message] = ()
    passed: Sequence[Passed] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What is sent, and how often."""

    send: Annotated[
        list[str] | None,
        typer.Option(
            show_default=False,
            metavar="MESSAGE",
            help="S1F13 (with its usual body), SML (always sent with W), @FILE or - (all messages "
            "of it, W as it is written), or the NAME of one in --library; may be repeated",
        ),
    ] = None
    library: Annotated[
        list[Path] | None,
        typer.Option(
            show_default=False,
            metavar="FILE",
            help="an SML file whose messages --send may name; may be repeated",
        ),
    ] = None
    count: Annotated[
        int,
        typer.Option(parser=whole(1, 1_000_000_000), metavar="N", help="send all of them N times"),
    ] = 1

    def primaries(self, text_encoding: str | None) -> Primaries:
        """What is to be sent, strings of A in this encoding. Raises ``CommandError``."""
        reader = _Reader(text_encoding)
        for file in self.library or ():
            reader.take_library(str(file))
        if (self.send or []).count(_STDIN) > 1:
            raise CommandError("--send - is given twice: standard input is read once", 2)
        found = [message for text in self.send or () for message in reader.read(text)]
        return Primaries(found, reader.passed)


@dataclass(slots=True)
class _Reader:
    text_encoding: str | None
    passed: list[Passed] = field(default_factory=list)
    _named: dict[str, Statement] = field(default_factory=dict)
    _libraries: list[str] = field(default_factory=list)

    def take_library(self, file: str) -> None:
        """The first library that has a name has it, as within a file."""
        library = self._load(file)
        self._libraries.append(file)
        for name, statement in library.items():
            if self._named.setdefault(name, statement) is not statement:
                self.passed.append(
                    Passed(file, 0, 0, "name", f"another library has a message {name} too")
                )
        self._pass_over(file, library)

    def read(self, text: str) -> Iterator[Message]:
        """The primaries that one ``--send`` says."""
        if text in self._named:
            yield self._primary(self._named[text], f"--send {text}")
        elif text == _STDIN or text.startswith("@"):
            if text == "@":
                raise CommandError("--send @: no FILE is named after the @", 2)
            yield from self._of_file(text if text == _STDIN else text[1:])
        elif function := _FUNCTION.fullmatch(text.strip()):
            yield self._usual(int(function[1]), int(function[2]))
        else:
            yield self._sml(text)

    def _of_file(self, file: str) -> Iterator[Message]:
        library = self._load(file)
        name = _file_name(file)
        if library.problems:
            first = library.problems[0]
            more = len(library.problems) - 1
            raise CommandError(
                f"{name}, line {first.line}, column {first.column}: {first.problem}"
                f"{f' (and {more} more problems)' if more else ''}; nothing is sent",
                2,
            )
        if not library.messages:
            raise CommandError(f"{name} has no message", 2)
        self._pass_over(file, library)
        for number, statement in enumerate(library.messages, 1):
            yield self._primary(statement, f"message {number} of {name}")

    def _primary(self, statement: Statement, where: str) -> Message:
        message = Message.from_statement(statement, self.text_encoding)
        _require_primary(message, where)
        return message

    def _usual(self, stream: int, number: int) -> Message:
        """A function with the body that the catalogue's constructor gives it."""
        name = f"S{stream}F{number}"
        try:
            message = Message(stream, number, bool(number % 2))
        except ValueError as error:
            raise CommandError(f"--send {name}: {error}", 2) from None
        _require_primary(message, f"--send {name}")
        function = messages.find(name)
        if function is None:
            return message
        try:
            return function()
        except TypeError:
            # Parts without a usual value.
            wait = "" if function.reply == "none" else " W"
            layout = " ".join(each.strip() for each in body(function))
            raise CommandError(
                f"--send {name}: it has no usual body. Write it as SML, with values in place of "
                f"the names: '{name}{wait} {layout} .' (hsms-engine messages {name} says more)",
                2,
            ) from None

    def _sml(self, text: str) -> Message:
        try:
            message = Message.parse(text, self.text_encoding)
        except SmlError as error:
            if _NAME.fullmatch(text):
                raise CommandError(self._unknown(text), 2) from None
            place = f"line {error.line}, column {error.column}"
            raise CommandError(f"--send {text!r}, {place}: {error.problem}", 2) from None
        _require_primary(message, f"--send {message.name}")
        return Message(
            message.stream,
            message.function,
            True,
            message.item,
            text_encoding=self.text_encoding,
        )

    def _unknown(self, name: str) -> str:
        if not self._libraries:
            return (
                f"--send {name}: this is no message. Give S1F13, SML, @FILE, -, or --library FILE "
                "with a message of this name"
            )
        where = ", ".join(self._libraries)
        names = hint(name, self._named)
        if len(self._named) > _TOLD and names.startswith("there are"):
            names = f"there are {len(self._named)}"
        return f"--send {name}: no message of {where} has this name; {names}"

    def _load(self, file: str) -> Library:
        try:
            if file != _STDIN:
                return load_file(file, text_encoding=self.text_encoding)
            return load(_standard_input(), text_encoding=self.text_encoding)
        except (OSError, ValueError) as error:
            # ``ValueError``: a NUL in the name of a file, or bytes that are no text.
            why = error.strerror if isinstance(error, OSError) else None
            raise CommandError(f"cannot read {_file_name(file)}: {why or error}", 2) from error

    def _pass_over(self, file: str, library: Library) -> None:
        name = _file_name(file)
        notes = (
            Passed(name, each.line, each.column, each.kind, each.text) for each in library.notes
        )
        problems = (
            Passed(name, each.line, each.column, "problem", each.problem)
            for each in library.problems
        )
        self.passed += islice(problems, _TOLD)
        self.passed += islice(notes, _TOLD)
        left = max(len(library.problems) - _TOLD, 0) + max(sum(library.counts.values()) - _TOLD, 0)
        if left:
            what = f"{left} more are not told here: hsms-engine sml check tells all"
            self.passed.append(Passed(name, 0, 0, "left out", what))


def _file_name(file: str) -> str:
    return "standard input" if file == _STDIN else file


def _standard_input() -> str:
    """Raises ``OSError`` and ``ValueError``, as reading a file does."""
    if sys.stdin is None:
        raise OSError("it is closed")
    return sys.stdin.buffer.read().decode("utf-8-sig")


def _require_primary(message: Message, where: str) -> None:
    if not message.is_primary:
        raise CommandError(
            f"{where}: {message.name} is a secondary: give a primary (odd function), as S1F1", 2
        )

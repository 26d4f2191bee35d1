"""The door: a log in, entries out.

Invariant: nothing in a log raises, only what a caller can do something about: a file that cannot be
read, an encoding that is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from io import BufferedIOBase, RawIOBase
from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias

from hsms_engine.log_reader.collector import Collector
from hsms_engine.log_reader.entries import Entry
from hsms_engine.log_reader.lines import Line, byte_lines, text_lines
from hsms_engine.log_reader.scanner import Scanner
from hsms_engine.log_reader.statement import Readings
from hsms_engine.secs2.encodings import superset_of_ascii
from hsms_engine.sml.loose import Binary

__all__ = ["MOST_CHARACTERS", "LogReader", "Source", "read_log"]

MOST_CHARACTERS: Final = 1 << 24
"""The most characters of a line, and of a message, unless told otherwise."""

Source: TypeAlias = str | PathLike[str] | RawIOBase | BufferedIOBase | Iterable[str]
"""A path, a stream of bytes, or lines of text."""


class LogReader(Iterator[Entry]):
    """The entries of one log, in its order. ``counts`` grows while it is read."""

    def __init__(
        self,
        source: Source,
        *,
        day_first: bool | None = None,
        encoding: str = "utf-8",
        binary: Binary | None = None,
        escapes: bool = False,
        text_encoding: str | None = None,
        most_characters: int = MOST_CHARACTERS,
    ) -> None:
        if text_encoding is not None:
            superset_of_ascii(text_encoding)
        collector = Collector()
        readings = Readings(binary, escapes, text_encoding)
        self.counts = collector.counts
        self._entries = _entries(
            partial(_lines, source, encoding, most_characters),
            Scanner(collector, day_first, readings, most_characters),
            collector,
            isinstance(source, str | PathLike),
        )

    def __iter__(self) -> LogReader:
        return self

    def __next__(self) -> Entry:
        return next(self._entries)


def read_log(
    source: Source,
    *,
    day_first: bool | None = None,
    encoding: str = "utf-8",
    binary: Binary | None = None,
    escapes: bool = False,
    text_encoding: str | None = None,
    most_characters: int = MOST_CHARACTERS,
) -> LogReader:
    """The messages in a log: those of this package exactly, those of others as far as is clear.

    ``source`` is a path, a stream of bytes, or lines of text. Nothing in a log raises; what cannot
    be read is an entry as well. ``day_first`` says how ``03/04/2026`` is read; without it a file
    decides where one of the two is above 12, and other sources up to the line. ``encoding`` is for
    bytes without a byte order mark; ``binary``, ``escapes`` and ``text_encoding`` are as in
    ``sml.load``. A line, and a message, may have ``most_characters``.

    Raises ``ValueError`` for an unfit ``text_encoding``. Iterating raises ``OSError`` when a file
    cannot be read, ``LookupError`` for an unknown encoding.
    """
    return LogReader(
        source,
        day_first=day_first,
        encoding=encoding,
        binary=binary,
        escapes=escapes,
        text_encoding=text_encoding,
        most_characters=most_characters,
    )


def _entries(
    lines: Callable[[ExitStack], Iterator[Line]],
    scanner: Scanner,
    collector: Collector,
    is_file: bool,
) -> Iterator[Entry]:
    with ExitStack() as stack:
        if is_file:
            scanner.look_through(each.text for each in lines(stack))
        for line in lines(stack):
            scanner.feed(line)
            if collector.has_entries:
                yield from collector.taken()
        scanner.end()
        yield from collector.taken()


def _lines(source: Source, encoding: str, longest: int, stack: ExitStack) -> Iterator[Line]:
    match source:
        case str() | PathLike():
            return byte_lines(stack.enter_context(Path(source).open("rb")).read, encoding, longest)
        case RawIOBase() | BufferedIOBase():
            return byte_lines(lambda size: source.read(size) or b"", encoding, longest)
        case _:
            return text_lines(source, longest)

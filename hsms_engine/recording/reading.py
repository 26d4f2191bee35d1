"""Reads recordings as a stream: memory does not grow with the files."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from hsms_engine.recording.lines import LONGEST_LINE, LayoutError, UnreadableError, record_of
from hsms_engine.recording.records import LAYOUT, EndRecord, HeadRecord, Record

_GZIP = b"\x1f\x8b"
# How captures of the network begin: pcap, its times in micro- or nanoseconds, and pcapng.
_CAPTURES = frozenset(
    bytes.fromhex(each) for each in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "0a0d0d0a")
)
_START = 4
_MARK = b"\xef\xbb\xbf"


class Place(NamedTuple):
    """Where a line of some files begins: which of the files, from 0, at which byte of what it has
    unpacked, and which line of it this is, from 1."""

    file: int = 0
    offset: int = 0
    line: int = 1


_BEGINNING = Place()


@dataclass(frozen=True, slots=True)
class Unread:
    """What cannot be read of a file: its line, counted from 1, and why."""

    file: Path
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}"


class Reader(Iterator[Record | Unread]):
    """The records of these files, one file after the other, each line in its place.

    A file that begins as gzip does is unpacked. A line of another kind, one that is cut or longer
    than ``longest`` bytes, and what is no recording at all, is ``Unread``; the next line is read. A
    file of another layout ends there. Reading begins at ``start``. Raises ``OSError`` when a file
    cannot be opened or read.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        longest: int = LONGEST_LINE,
        start: Place = _BEGINNING,
    ) -> None:
        self.unknown_keys = 0
        """How many keys were passed over, because they are not known."""
        self.cut: list[Path] = []
        """The files that were read and had no end: their writer was killed, or still writes."""
        self.place = start
        """Where the line after the latest record begins, so that reading can go on there."""
        self._longest = longest
        self._records = self._all([Path(path) for path in paths])

    def __next__(self) -> Record | Unread:
        return next(self._records)

    def _all(self, paths: list[Path]) -> Iterator[Record | Unread]:
        for index in range(self.place.file, len(paths)):
            path = paths[index]
            if index != self.place.file:
                self.place = Place(index)
            with path.open("rb") as raw:
                start = raw.read(_START)
                raw.seek(0)
                if start in _CAPTURES:
                    why = "it is a capture: hsms-engine record from-pcap makes a recording of it"
                    yield Unread(path, 1, why)
                elif start.startswith(_GZIP):
                    with gzip.GzipFile(fileobj=raw) as unpacked:
                        yield from self._file(path, unpacked)
                else:
                    yield from self._file(path, raw)

    def _file(self, path: Path, file: BinaryIO | gzip.GzipFile) -> Iterator[Record | Unread]:
        is_ended = False
        while True:
            index, offset, number = self.place
            try:
                file.seek(offset)
                line, why = self._line(file)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                yield Unread(path, number, f"the gzip file is cut or spoilt: {error}")
                break
            if not line:
                break
            self.place = Place(index, file.tell(), number + 1)
            if number == 1:
                line = line.removeprefix(_MARK)
            if why is not None:
                yield Unread(path, number, why)
                continue
            try:
                record, unknown = record_of(line)
            except LayoutError as error:
                yield Unread(path, number, str(error))
                return
            except UnreadableError as error:
                cut = "" if line.endswith(b"\n") else "the file is cut here: "
                yield Unread(path, number, f"{cut}{error}")
                continue
            self.unknown_keys += unknown
            is_ended = type(record) is EndRecord
            if number == 1 and type(record) is not HeadRecord:
                yield Unread(path, number, f"the first record is no head of layout {LAYOUT}")
            yield record
        if not is_ended:
            self.cut.append(path)

    def _line(self, file: BinaryIO | gzip.GzipFile) -> tuple[bytes, str | None]:
        """The next line, and what spoils it; empty at the end."""
        line = file.readline(self._longest + 1)
        if len(line) <= self._longest:
            return line, None
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(self._longest)
        return line, f"the line is longer than {self._longest} bytes, and is not read"


def read(
    paths: Iterable[str | os.PathLike[str]],
    *,
    longest: int = LONGEST_LINE,
    start: Place = _BEGINNING,
) -> Reader:
    """The records of these files, in their order: see ``Reader``."""
    return Reader(paths, longest=longest, start=start)


def parts_of(path: str | os.PathLike[str]) -> list[Path]:
    """The files of the recordings at ``path``, oldest first: ``path.1``, ``path.2``, ``path``.

    Only those that are there. Raises ``OSError`` when the folder cannot be read.
    """
    last = Path(path)
    start = f"{last.name}."
    numbered = [
        (int(number), each)
        for each in last.parent.iterdir()
        if each.name.startswith(start)
        and (number := each.name.removeprefix(start)).isdecimal()
        and number.isascii()
    ]
    return [*(each for _, each in sorted(numbered)), *([last] if last.exists() else [])]

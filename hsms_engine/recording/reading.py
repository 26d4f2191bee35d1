"""Reads recordings as a stream: memory does not grow with the files."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hsms_engine.recording.lines import LONGEST_LINE, LayoutError, UnreadableError, record_of
from hsms_engine.recording.records import LAYOUT, EndRecord, HeadRecord, Record

_GZIP = b"\x1f\x8b"
_MARK = b"\xef\xbb\xbf"


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
    file of another layout ends there. Raises ``OSError`` when a file cannot be opened or read.
    """

    def __init__(
        self, paths: Iterable[str | os.PathLike[str]], *, longest: int = LONGEST_LINE
    ) -> None:
        self.unknown_keys = 0
        """How many keys were passed over, because they are not known."""
        self.cut: list[Path] = []
        """The files that were read and had no end: their writer was killed, or still writes."""
        self._longest = longest
        self._records = self._all([Path(path) for path in paths])

    def __next__(self) -> Record | Unread:
        return next(self._records)

    def _all(self, paths: list[Path]) -> Iterator[Record | Unread]:
        for path in paths:
            with path.open("rb") as raw:
                start = raw.read(len(_GZIP))
                raw.seek(0)
                if start == _GZIP:
                    with gzip.GzipFile(fileobj=raw) as unpacked:
                        yield from self._file(path, unpacked)
                else:
                    yield from self._file(path, raw)

    def _file(self, path: Path, file: BinaryIO | gzip.GzipFile) -> Iterator[Record | Unread]:
        number, is_ended = 0, False
        while True:
            number += 1
            try:
                line, why = self._line(file)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                yield Unread(path, number, f"the gzip file is cut or spoilt: {error}")
                break
            if not line:
                break
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


def read(paths: Iterable[str | os.PathLike[str]], *, longest: int = LONGEST_LINE) -> Reader:
    """The records of these files, in their order: see ``Reader``."""
    return Reader(paths, longest=longest)


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

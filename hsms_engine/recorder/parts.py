"""The files of a recording: one is written, those that are full have numbers.

Invariants:

* A file is made for its owner only, from its first moment on, and never written over.
* What is deleted or renamed begins as those files do. Anything else is left as it is.
* There are never more than ``most`` files of one path, and none is longer than ``size`` bytes, but
  for one whose first frame is.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from hsms_engine.recording import parts_of

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_OWNER_ONLY: Final = 0o600


class NotOursError(Exception):
    """The file cannot be one of this recording, and the message says why."""


class Parts:
    """The files of one path. Only the thread of the recorder uses it. All may raise ``OSError``.

    ``mark`` is how those that are deleted or renamed begin. For one file, its path is enough.
    """

    def __init__(self, path: Path, size: int = 0, most: int = 1, mark: bytes = b"") -> None:
        self.path = path
        self._mark = mark
        self.written = 0
        """Bytes in the file that is open."""
        self._most = most
        self._longest = size
        self._file: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether a file is open."""
        return self._file is not None

    def begin(self) -> None:
        """Make the next file. Raises ``NotOursError`` when something else has its name."""
        self._put_away()
        self.make()

    def make(self) -> None:
        """Make the file. Raises ``FileExistsError`` when something has its name."""
        self._file = os.open(self.path, _FLAGS, _OWNER_ONLY)
        self.written = 0

    def has_room(self, size: int) -> bool:
        """Whether ``size`` more bytes, and an end, may be written into this file."""
        return self.written + size + 512 <= self._longest

    def write(self, data: bytes) -> None:
        """Write all of it."""
        assert self._file is not None
        view = memoryview(data)
        while view:
            count = os.write(self._file, view)
            self.written += count
            view = view[count:]

    def cut(self, size: int) -> None:
        """Drop all behind ``size`` bytes: a line that is not whole."""
        assert self._file is not None
        os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)
        self.written = size

    def is_there(self) -> bool:
        """Whether the file that is written still has its name: nobody has deleted or moved it."""
        assert self._file is not None
        try:
            named = self.path.lstat()
        except OSError:
            return False
        return os.path.samestat(named, os.fstat(self._file))

    def close(self) -> None:
        """Close the file, if one is open."""
        file, self._file = self._file, None
        if file is not None:
            # What the system has not written yet, it tells at no later time.
            with suppress(OSError):
                os.close(file)

    def _put_away(self) -> None:
        """Give an earlier file its number, and delete the oldest ones."""
        *numbered, last = [*parts_of(self.path), self.path]
        if numbered and numbered[-1] == self.path:
            numbered.pop()
            self._expect_ours(last)
            newest = int(numbered[-1].suffix[1:]) if numbered else 0
            name = self.path.with_name(f"{self.path.name}.{newest + 1}")
            self.path.rename(name)
            numbered.append(name)
        ours = [each for each in numbered if self._is_ours(each)]
        for each in ours[: max(len(ours) - self._most + 1, 0)]:
            each.unlink()

    def _expect_ours(self, path: Path) -> None:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise NotOursError("it is no regular file")
        if path.stat().st_size and not self._is_ours(path):
            raise NotOursError("it is there and is no recording; it is left as it is")

    def _is_ours(self, path: Path) -> bool:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(len(self._mark)) == self._mark

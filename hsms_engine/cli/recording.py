"""``--record FILE`` of the commands that talk: frames, steps of the charts, and events."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hsms_engine.cli.command import CommandError

if TYPE_CHECKING:
    from hsms_engine.recorder import Recorder

RecordFile = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="FILE",
        help="record frames, steps and events into FILE, readable by its owner only; what is there "
        "gets a number",
    ),
]


@contextmanager
def recording(file: Path | None) -> Iterator[Recorder | None]:
    """What records into ``file`` while the block runs; None without one.

    Raises ``CommandError`` when it is known already that it cannot be written. When that turns out
    later, the library warns, and the program goes on.
    """
    if file is None:
        yield None
        return
    if (why := _refused(file)) is not None:
        raise CommandError(f"cannot record into {file}: {why}", 2)
    # Not every program records.
    from hsms_engine.recorder import Recorder

    recorder = Recorder(file)
    try:
        yield recorder
    finally:
        recorder.close()


def _refused(file: Path) -> str | None:
    """Why it cannot be written; None when nothing speaks against it."""
    folder = file.absolute().parent
    try:
        if not folder.is_dir():
            return f"there is no folder {folder}"
        return None if os.access(folder, os.W_OK) and not file.is_dir() else "it cannot be written"
    except OSError as error:
        # A name that no file can have.
        return error.strerror or str(error)

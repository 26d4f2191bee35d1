"""``--record``, ``--pcap``, ``--black-box`` and ``--monitor`` of the commands that talk."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hsms_engine.cli.command import CommandError
from hsms_engine.cli.options import whole
from hsms_engine.cli.pages import page

if TYPE_CHECKING:
    from hsms_engine.recorder import OneRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Where it is recorded what happens."""

    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="FILE",
            help="record frames, steps and events into FILE, readable by its owner only; what is "
            "there gets a number",
        ),
    ] = None
    pcap: Annotated[
        Path | None,
        typer.Option(
            "--pcap",
            metavar="FILE",
            help="write the frames into FILE as a capture, for Wireshark and tshark; as --record",
        ),
    ] = None
    black_box: Annotated[
        Path | None,
        typer.Option(
            "--black-box",
            metavar="FOLDER",
            help="keep the last minute in memory, and write it into FOLDER when a link is lost",
        ),
    ] = None
    monitor: Annotated[
        int | None,
        typer.Option(
            "--monitor",
            parser=whole(0, 65_535),
            metavar="PORT",
            help="show on a page what happens, on this port of this machine (0: any); what to open "
            "is on standard error",
        ),
    ] = None

    @asynccontextmanager
    async def shown(self, begun: list[OneRecord] | None) -> AsyncIterator[list[OneRecord] | None]:
        """``record`` of the library: what has begun, and a page if there is to be one.

        The page is there while the block runs. Raises ``CommandError`` when there cannot be one.
        """
        if self.monitor is None:
            yield begun
            return
        async with page((), "127.0.0.1", self.monitor) as shown:
            yield [*(begun or ()), shown]

    @contextmanager
    def begun(self) -> Iterator[list[OneRecord] | None]:
        """What records while the block runs; None when nothing does.

        Raises ``CommandError`` when it is known already that it cannot be written. When that turns
        out later, the library warns, and the program goes on.
        """
        for option, file in (("--record", self.record), ("--pcap", self.pcap)):
            if file is not None and (why := _refused(file)) is not None:
                raise CommandError(f"cannot record into {file} ({option}): {why}", 2)
        if self.record is not None and self.record == self.pcap:
            raise CommandError("--record and --pcap name the same file", 2)
        if self.black_box is not None and (why := _refused_folder(self.black_box)) is not None:
            raise CommandError(f"cannot write into {self.black_box} (--black-box): {why}", 2)
        if self == Recording():
            yield None
            return
        # Not every program records.
        from hsms_engine.recorder import BlackBox, Recorder

        with ExitStack() as stack:
            recorders: list[OneRecord] = []
            for file, pcap in ((self.record, False), (self.pcap, True)):
                if file is not None:
                    recorder = Recorder(file, pcap=pcap)
                    stack.callback(recorder.close)
                    recorders.append(recorder)
            if self.black_box is not None:
                box = BlackBox(self.black_box)
                stack.callback(box.close)
                recorders.append(box)
            yield recorders


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


def _refused_folder(folder: Path) -> str | None:
    """Why no file can be written there; None when nothing speaks against it."""
    try:
        if not folder.is_dir():
            # It is made when it is needed.
            return "it is no folder" if folder.exists() else _refused(folder)
        return None if os.access(folder, os.W_OK) else "it cannot be written"
    except OSError as error:
        return error.strerror or str(error)

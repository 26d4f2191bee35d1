"""``hsms-engine record``: recordings as lines, as captures of the network, and out of those."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar, cast

import trio
import typer

from hsms_engine import process
from hsms_engine.capture import PCAP_HEADER, CaptureError, Note, PcapWriter, Role, read_capture
from hsms_engine.cli.command import Command, CommandError, Group
from hsms_engine.cli.options import checked, whole
from hsms_engine.cli.showing import Lines
from hsms_engine.cli.times import seconds_of
from hsms_engine.logs import escaped
from hsms_engine.process import Process, complain, drop
from hsms_engine.recording import Unread, line_of, read
from hsms_engine.spelling import hint

_T = TypeVar("_T")

_TO_NOTES = """\
A file has a TCP connection for each connection of the recording. A body that is not in the
recording is a packet that was not captured as a whole. Lines that cannot be read are on standard
error, and then the exit code is 1.

To look at it, with the port of the passive end: tshark -r tool.pcap -d tcp.port==5000,hsms

examples:
  hsms-engine record to-pcap tool.jsonl -o tool.pcap
  hsms-engine record to-pcap tool.jsonl.1 tool.jsonl --link etcher-1 > etcher-1.pcap
"""
_FROM_NOTES = """\
pcap and pcapng are read. What is not whole in the capture, and what was passed over, is on standard
error, with counts. The exit code is 1 for a file without HSMS.

To capture: tcpdump -i eth0 -w tool.pcap tcp port 5000

examples:
  hsms-engine record from-pcap tool.pcap --port 5000 -o tool.jsonl
  cat tool.pcap | hsms-engine record from-pcap - > tool.jsonl
"""
_SHOW_NOTES = """\
A line has the time, the link, and what was recorded. Times are those of this place, and --from and
--until are given as 2026-11-28T03:12 or with more behind it. Lines that cannot be read are on
standard error, and then the exit code is 1.

examples:
  hsms-engine record show tool.jsonl --sml
  hsms-engine record show fab.jsonl.1 fab.jsonl --link etcher-1 --from 2026-11-28T03:10
"""
_STDIN = Path("-")
# Between two looks for a signal.
_STRETCH = 1_000
# Lines of a recording that cannot be read, each told by itself.
_MOST_TOLD = 20

_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="where to write; else standard output"),
]
_Link = Annotated[
    str | None, typer.Option(metavar="NAME", help="one link only: its name, peer or number")
]
_moment = checked(seconds_of, "a date and a time, as 2026-11-28T03:12")


def _role(text: str) -> Role:
    match text:
        case "active" | "passive":
            return text
        case _:
            raise typer.BadParameter(f"{text!r} is neither active nor passive")


def to_pcap(
    *,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="the files of a recording, in their order")
    ],
    output: _Output = None,
    link: _Link = None,
) -> int:
    """Write a recording as a capture, for Wireshark and tshark."""
    if output is None and sys.stdout is not None and sys.stdout.isatty():
        raise CommandError("a capture is no text for a terminal: give -o FILE, or a pipe", 2)
    _refuse_to_write_to_itself(files, output)

    async def run(_this: Process) -> int:
        writer, unread = PcapWriter(link), _Unread()
        with _writing(output) as write:
            write(PCAP_HEADER)
            for number, each in enumerate(_read(files, read(files))):
                await _look(number)
                match each:
                    case Unread():
                        unread.tell(each)
                    case record:
                        for packets in writer.packets(record):
                            write(packets)
            for packets in writer.finish():
                write(packets)
        code = unread.told()
        if not writer.frames:
            raise CommandError(_no_frame(files, link, writer))
        return code

    return process.run(run)


def show(
    *,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="the files of a recording, in their order")
    ],
    link: _Link = None,
    since: Annotated[
        Any, typer.Option("--from", parser=_moment, metavar="TIME", help="only from then on")
    ] = None,
    until: Annotated[
        Any, typer.Option("--until", parser=_moment, metavar="TIME", help="only what was before")
    ] = None,
    sml: Annotated[
        bool, typer.Option("--sml", help="show bodies too, each cut to 2,000 characters")
    ] = False,
) -> int:
    """Show a recording, one record a line."""

    async def run(this: Process) -> int:
        lines, unread = Lines(link, has_sml=sml), _Unread()
        for number, each in enumerate(_read(files, read(files))):
            await _look(number)
            match each:
                case Unread():
                    unread.tell(each)
                case record:
                    line = lines.line(record)
                    is_early = since is not None and record.wall < since
                    is_late = until is not None and record.wall >= until
                    if line is not None and not is_early and not is_late:
                        this.line(line)
        code = unread.told()
        if link is not None and not lines.has_found:
            names = ", ".join(map(str, files))
            near = hint(link, sorted(lines.names))
            raise CommandError(f"no link {link!r} is recorded in {names}; {near}")
        return code

    return process.run(run)


class _Unread:
    """Tells of lines that cannot be read, and counts them."""

    def __init__(self) -> None:
        self._count = 0

    def tell(self, line: Unread) -> None:
        """On standard error, if there were not many."""
        self._count += 1
        if self._count <= _MOST_TOLD:
            complain(escaped(str(line)))

    def told(self) -> int:
        """How many more there were; the exit code."""
        if self._count > _MOST_TOLD:
            complain(f"and {self._count - _MOST_TOLD:,} more lines that cannot be read")
        return 1 if self._count else 0


def _no_frame(files: list[Path], link: str | None, writer: PcapWriter) -> str:
    names = ", ".join(map(str, files))
    if link is None:
        return f"no frame is recorded in {names}"
    return f"no frame of a link {link!r} is recorded in {names}; {hint(link, sorted(writer.names))}"


def from_pcap(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a capture; - is standard input")],
    output: _Output = None,
    port: Annotated[
        list[Any] | None,
        typer.Option(
            parser=whole(1, 65_535),
            metavar="N",
            help="the port of a passive end; several may be given. Else HSMS is found by its looks",
        ),
    ] = None,
    role: Annotated[
        Any,
        typer.Option(
            parser=_role, metavar="active|passive", help="whose recording it becomes [active]"
        ),
    ] = None,
) -> int:
    """Write a capture as a recording."""
    _refuse_to_write_to_itself([file], output)

    async def run(_this: Process) -> int:
        with ExitStack() as stack:
            try:
                source = (
                    # typeshed has no type of its own for what reads standard input.
                    cast(BinaryIO, sys.stdin.buffer)
                    if file == _STDIN
                    else stack.enter_context(file.open("rb"))
                )
                found = read_capture(source.read, ports=port or (), role=role or "active")
            except OSError as error:
                raise CommandError(f"cannot read {file}: {error.strerror or error}") from error
            except CaptureError as error:
                raise CommandError(f"{file}: {error}") from error
            write: Callable[[bytes], object] | None = None
            for number, each in enumerate(_read([file], found)):
                await _look(number)
                match each:
                    case Note():
                        complain(escaped(f"{file}: {each}"))
                    case record:
                        # Without HSMS no file is written.
                        if write is None:
                            write = stack.enter_context(_writing(output))
                        write(line_of(record).encode())
        if write is None:
            where = "".join(f" of port {each}" for each in port or ())
            raise CommandError(f"{file}: no HSMS is in it{where}")
        return 0

    return process.run(run)


async def _look(number: int) -> None:
    """Look for a signal, now and then."""
    if not number % _STRETCH:
        await trio.lowlevel.checkpoint()


def _read(files: list[Path], found: Iterator[_T]) -> Iterator[_T]:
    try:
        yield from found
    except OSError as error:
        names = ", ".join(map(str, files))
        raise CommandError(f"cannot read {names}: {error.strerror or error}") from error


def _refuse_to_write_to_itself(files: list[Path], output: Path | None) -> None:
    for each in files:
        # What cannot be compared is reported when it is opened.
        with suppress(OSError, ValueError):
            if output is not None and output.samefile(each):
                raise CommandError(f"{output} would be written over while it is read", 2)


@contextmanager
def _writing(output: Path | None) -> Iterator[Callable[[bytes], object]]:
    """A function that writes there."""
    name = "the output" if output is None else str(output)
    try:
        with ExitStack() as stack:
            if output is None:
                file = cast(BinaryIO, sys.stdout.buffer)
            else:
                # Bodies are in it, which the other users of the machine are not to see.
                file = stack.enter_context(open(output, "wb", opener=_for_its_owner))
            yield file.write
            file.flush()
    except OSError as error:
        if output is None:
            drop(sys.stdout)
        if isinstance(error, BrokenPipeError):
            # There is nobody to tell.
            raise typer.Exit(1) from None
        raise CommandError(f"cannot write {name}: {error.strerror or error}") from error


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


COMMAND = Group(
    "record",
    "Read and change recordings of links.",
    (
        Command(show, _SHOW_NOTES),
        Command(to_pcap, _TO_NOTES, name="to-pcap"),
        Command(from_pcap, _FROM_NOTES, name="from-pcap"),
    ),
)

"""``hsms-engine connect``: a host that selects, sends messages and prints the replies.

It prints SML with comments, or one JSON object a line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import trio
import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.conversing import send_one, take_primaries
from hsms_engine.cli.options import Protocol, whole
from hsms_engine.cli.recording import Recording
from hsms_engine.cli.sending import Sending
from hsms_engine.cli.telling import Teller, Telling, unreadable
from hsms_engine.connection import HsmsConnection, open_hsms
from hsms_engine.errors import HsmsError
from hsms_engine.logs import LINK
from hsms_engine.message import Message
from hsms_engine.process import Process
from hsms_engine.scenario import courtesy
from hsms_engine.settings import Settings
from statecharts.nursery import open_bare_nursery

_NOTES = """\
examples:
  hsms-engine connect 127.0.0.1 5000
  hsms-engine connect 127.0.0.1 5000 --send S1F1 --send S1F13 --count 3
  hsms-engine connect --config links.toml --link etcher-1 --send S1F13
  hsms-engine connect 127.0.0.1 5000 --send @start-up.sml
  hsms-engine connect 127.0.0.1 5000 --library tool.sml --send AreYouThere
  echo 'S1F3 W <L <U4 1>> .' | hsms-engine connect 127.0.0.1 5000 --send -
  hsms-engine connect 127.0.0.1 5000 --send 'S2F41 W <L [2] <A "START"> <L [0]>> .'
"""


def connect(
    *,
    host: Annotated[str | None, typer.Argument(metavar="HOST", help="a name or an address")] = None,
    port: Annotated[
        int | None, typer.Argument(metavar="PORT", parser=whole(1, 65_535), help="1..65535")
    ] = None,
    tls_name: Annotated[
        str | None,
        typer.Option(
            parser=str, metavar="NAME", help="the name in the peer's certificate, if not HOST"
        ),
    ] = None,
    local_host: Annotated[
        str | None,
        typer.Option(
            parser=str, metavar="ADDRESS", help="the address of this machine from which to dial"
        ),
    ] = None,
    local_port: Annotated[
        int | None,
        typer.Option(
            parser=whole(0, 65_535), metavar="N", help="and its port; 0 lets the system choose"
        ),
    ] = None,
    recording: Recording,
    sending: Sending,
    telling: Telling,
    protocol: Protocol,
) -> int:
    """Connect, select, send, print replies as SML."""
    protocol.expect_place(host, port)
    settings = protocol.settings(
        host=host, port=port, tls_name=tls_name, local_host=local_host, local_port=local_port
    )
    # Only now it is known how their text is encoded.
    primaries = sending.primaries(settings.text_encoding)

    async def run(this: Process) -> int:
        teller = telling.teller(this)
        teller.passed_over(primaries.passed)
        async with (
            recording.shown(begun) as record,
            open_hsms(settings, record=record) as connection,
        ):
            # What stops this lets the exit of the block around it separate.
            with this.until_stopped():
                teller.selected(
                    connection.peer, connection.local_address, connection.remote_address
                )
                async with open_bare_nursery() as nursery:
                    nursery.start_soon(_take_primaries, connection, teller)
                    nursery.start_soon(teller.follow, connection)
                    await _send(connection, primaries.messages, sending.count, teller)
                    nursery.cancel_scope.cancel()
        teller.happened("separated", connection.peer)
        teller.warned(held)
        return this.exit_code

    try:
        with held_warnings() as held, recording.begun() as begun:
            return process.run(run)
    except HsmsError as error:
        raise failed(settings, error) from error


def failed(settings: Settings, error: HsmsError) -> CommandError:
    """Why a connection did not come up, or is over."""
    if isinstance(error.__cause__, trio.socket.gaierror):
        cause = error.__cause__.strerror
        return CommandError(f"no address is known for the host {settings.host!r}: {cause}")
    return CommandError(error)


async def _send(
    connection: HsmsConnection, messages: Sequence[Message], count: int, teller: Teller
) -> None:
    """Send all of them ``count`` times. What fails ends the command: raises ``CommandError``."""
    left = count * len(messages)
    # With nothing to send, no count keeps it busy.
    for _ in range(count if messages else 0):
        for message in messages:
            left -= 1
            try:
                reply = await send_one(connection, message, teller)
            except HsmsError as error:
                raise CommandError(f"{error}{_unsent(left)}") from error
            if reply is not None and (fault := unreadable(reply)) is not None:
                raise CommandError(f"{fault}{_unsent(left)}")


def _unsent(left: int) -> str:
    """How many messages were not sent because of an error, if any."""
    if not left:
        return ""
    return f"; {left:,} more {'messages were' if left > 1 else 'message was'} not sent"


@contextmanager
def held_warnings() -> Iterator[list[str]]:
    """The warnings of the library in this block: when it fails, its error says the same.

    There are few: each kind is logged once for a connection.
    """
    held: list[str] = []
    with warnings_given_to(held.append):
        yield held


@contextmanager
def warnings_given_to(take: Callable[[str], object]) -> Iterator[None]:
    """In this block ``take`` gets the warnings of the library, and the log does not."""

    def give(record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        take(record.getMessage())
        return False

    LINK.addFilter(give)
    try:
        yield
    finally:
        LINK.removeFilter(give)


async def _take_primaries(connection: HsmsConnection, teller: Teller) -> None:
    """Answer the primaries of the equipment."""
    try:
        await take_primaries(connection, courtesy.HOST, teller)
    except HsmsError:
        # The request that waits gets the same error and reports it.
        return


COMMAND = Command(connect, _NOTES)

"""``hsms-engine connect``: a host that selects, sends messages and prints the replies.

It prints SML with comments, or one JSON object a line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import trio
import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.options import AsJson, Protocol, whole
from hsms_engine.connection import HsmsConnection, open_hsms
from hsms_engine.errors import HsmsError
from hsms_engine.logs import LINK
from hsms_engine.message import Message
from hsms_engine.nursery import open_bare_nursery
from hsms_engine.process import Process
from hsms_engine.scenario import courtesy
from hsms_engine.secs2 import DecodeError
from hsms_engine.settings import Settings
from hsms_engine.sml import SmlError

_NOTES = """\
examples:
  hsms-engine connect 127.0.0.1 5000
  hsms-engine connect 127.0.0.1 5000 --send S1F1 --send S1F13 --count 3
  hsms-engine connect --config links.toml --link etcher-1 --send S1F13
  hsms-engine connect 127.0.0.1 5000 --send 'S2F41 W <L [2] <A "START"> <L [0]>> .'
"""


def _primary(text: str, text_encoding: str | None) -> Message:
    """A primary with W, as SML. Raises ``CommandError``."""
    try:
        message = Message.parse(text, text_encoding)
    except SmlError as error:
        place = f"line {error.line}, column {error.column}"
        raise CommandError(f"--send {text!r}, {place}: {error.problem}", 2) from None
    if not message.is_primary:
        raise CommandError(
            f"--send {message.name} is a secondary: give a primary (odd function), as S1F1", 2
        )
    return Message(
        message.stream, message.function, True, message.item, text_encoding=text_encoding
    )


def connect(
    *,
    host: Annotated[str | None, typer.Argument(metavar="HOST", help="a name or an address")] = None,
    port: Annotated[
        int | None, typer.Argument(metavar="PORT", parser=whole(1, 65_535), help="1..65535")
    ] = None,
    send: Annotated[
        list[str],
        typer.Option(
            default_factory=list,
            show_default=False,
            metavar="SML",
            help="a primary to send, always with W; may be repeated",
        ),
    ],
    count: Annotated[
        int,
        typer.Option(parser=whole(1, 1_000_000_000), metavar="N", help="send all of them N times"),
    ] = 1,
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
    protocol: Protocol,
    as_json: AsJson = False,
) -> int:
    """Connect, select, send, print replies as SML."""
    if protocol.config is None:
        for name, value in (("HOST", host), ("PORT", port)):
            if value is None:
                raise CommandError(f"Missing argument '{name}', or --config FILE", 2)
    settings = protocol.settings(
        host=host, port=port, tls_name=tls_name, local_host=local_host, local_port=local_port
    )
    # Only now it is known how their text is encoded.
    primaries = [_primary(text, settings.text_encoding) for text in send]

    async def run(this: Process) -> int:
        def tell(event: str, peer: str, message: Message | None = None) -> None:
            if not as_json:
                this.line(_text(event, peer, message))
                return
            told = _object(event, peer, message)
            if event == "selected":
                told |= {"local": connection.local_address, "remote": connection.remote_address}
            this.json(told)

        async with open_hsms(settings) as connection:
            # What stops this lets the exit of the block around it separate.
            with this.until_stopped():
                tell("selected", connection.peer)
                async with open_bare_nursery() as nursery:
                    nursery.start_soon(_take_primaries, connection, tell)
                    # With nothing to send, no count keeps it busy.
                    for _ in range(count if primaries else 0):
                        for message in primaries:
                            tell("reply", connection.peer, await connection.request(message))
                    nursery.cancel_scope.cancel()
        tell("separated", connection.peer)
        for text in held:
            if as_json:
                this.json({"event": "warning", "warning": text})
            else:
                this.line(f"// warning: {text}")
        return this.exit_code

    try:
        with held_warnings() as held:
            return process.run(run)
    except HsmsError as error:
        raise failed(settings, error) from error


def failed(settings: Settings, error: HsmsError) -> CommandError:
    """Why a connection did not come up, or is over."""
    if isinstance(error.__cause__, trio.socket.gaierror):
        cause = error.__cause__.strerror
        return CommandError(f"no address is known for the host {settings.host!r}: {cause}")
    return CommandError(error)


@contextmanager
def held_warnings() -> Iterator[list[str]]:
    """The warnings of the library in this block: when it fails, its error says the same.

    There are few: each kind is logged once for a connection.
    """
    held: list[str] = []

    def hold(record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        held.append(record.getMessage())
        return False

    LINK.addFilter(hold)
    try:
        yield held
    finally:
        LINK.removeFilter(hold)


async def _take_primaries(
    connection: HsmsConnection, tell: Callable[[str, str, Message], None]
) -> None:
    """Answer the primaries of the equipment."""
    try:
        async for primary in connection:
            tell("received", connection.peer, primary)
            if (answer := courtesy.answer(courtesy.HOST, primary)) is not None:
                await connection.reply(primary, answer)
    except HsmsError:
        # The request that waits gets the same error and reports it.
        return


def _sml(event: str, message: Message) -> str:
    """A message as SML; when its body is not SECS-II, a comment that says why.

    When that message is a reply, the command has failed: raises ``CommandError``.
    """
    try:
        return message.sml()
    except DecodeError as error:
        size = len(message.body)
        why = f"{message.name}: a body of {size} bytes that is no SECS-II: {error}"
        if event == "reply":
            raise CommandError(why) from error
        return f"// {why}"


def _text(event: str, peer: str, message: Message | None) -> str:
    if message is None:
        return f"// {event}: {peer}"
    elif event == "reply":
        return _sml(event, message)
    else:
        return f"// {event} from {peer}:\n{_sml(event, message)}"


def _object(event: str, peer: str, message: Message | None) -> dict[str, object]:
    told: dict[str, object] = {"event": event, "peer": peer}
    if message is not None:
        told |= {"message": message.name, "sml": _sml(event, message)}
    return told


COMMAND = Command(connect, _NOTES)

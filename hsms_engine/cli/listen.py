"""``hsms-engine listen``: the passive end, for a host or an equipment that dials.

It prints as ``connect`` does, and sends the messages that are given to each peer that selects.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Annotated, assert_never

import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.connect import warnings_given_to
from hsms_engine.cli.conversing import send_one, take_primaries
from hsms_engine.cli.fake import cannot_listen
from hsms_engine.cli.options import SECOND_HOST, Protocol, host_or_equipment, whole
from hsms_engine.cli.recording import Recording
from hsms_engine.cli.sending import Primaries, Sending
from hsms_engine.cli.telling import Teller, Telling
from hsms_engine.cli.telling_health import HealthWhere, telling_health
from hsms_engine.connection import HsmsConnection
from hsms_engine.errors import HsmsError, SettingsError, TransactionError
from hsms_engine.events import (
    Closed,
    Missed,
    PeerAccepted,
    PeerDeselected,
    PeerEnded,
    PeerRefused,
    PeerSelected,
    PeerTurnedAway,
    ServerEvent,
)
from hsms_engine.process import Process
from hsms_engine.scenario import courtesy
from hsms_engine.scenario.steps import Role
from hsms_engine.server import HsmsServer, serve_hsms
from statecharts.nursery import open_bare_nursery

_NOTES = """\
Ctrl-C separates and ends it, with exit code 0. A simulated tool, with variables, events and
recipes, is hsms-engine fake.

examples:
  hsms-engine listen 127.0.0.1 5000
  hsms-engine listen 127.0.0.1 5000 --role host --send S1F13 --send S1F17
  hsms-engine listen 127.0.0.1 5000 --send @events.sml --json-items
"""


def listen(
    *,
    host: Annotated[
        str | None, typer.Argument(metavar="HOST", help="the address to listen on")
    ] = None,
    port: Annotated[
        int | None,
        typer.Argument(
            metavar="PORT", parser=whole(0, 65_535), help="its port; 0 lets the system choose"
        ),
    ] = None,
    role: Annotated[
        Role,
        typer.Option(
            parser=host_or_equipment,
            metavar="host|equipment",
            help="as what it answers: a host acknowledges events and alarms",
        ),
    ] = "equipment",
    second_host: Annotated[str | None, SECOND_HOST] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            show_default=False,
            metavar="NETWORK",
            help="serve only peers of this network or address; may be repeated",
        ),
    ] = None,
    health: HealthWhere = None,
    recording: Recording,
    sending: Sending,
    telling: Telling,
    protocol: Protocol,
) -> int:
    """Wait for a peer, print what it sends, answer it, send messages."""
    protocol.expect_place(host, port)
    settings = protocol.settings(
        host=host,
        port=port,
        second_host=second_host,
        allowed_networks=tuple(allow or ()) or None,
        is_equipment=role == "equipment",
    )
    primaries = sending.primaries(settings.text_encoding)
    book = courtesy.EQUIPMENT if role == "equipment" else courtesy.HOST

    async def run(this: Process) -> int:
        teller = telling.teller(this)
        teller.passed_over(primaries.passed)
        # Of each peer that was selected, what has come first: its end, or None for that of its
        # handler. With the other one it is told, after all that the handler tells.
        over: dict[str, PeerEnded | None] = {}

        # Those of which it is told that they were accepted. Their handlers may run before the event
        # is read.
        accepted: set[str] = set()

        def accept(peer: str) -> None:
            if peer not in accepted:
                accepted.add(peer)
                teller.happened("accepted", peer)

        def end(peer: str, event: PeerEnded | None) -> None:
            if peer not in over:
                over[peer] = event
                return
            accepted.discard(peer)
            for each in (event, over.pop(peer)):
                if each is not None:
                    _tell(each, teller)

        async def serve(connection: HsmsConnection) -> None:
            peer = connection.peer
            accept(peer)
            teller.selected(peer, connection.local_address, connection.remote_address)
            try:
                async with open_bare_nursery() as nursery:
                    nursery.start_soon(teller.follow, connection)
                    nursery.start_soon(_send, connection, primaries, sending.count, teller)
                    await take_primaries(connection, book, teller)
                    nursery.cancel_scope.cancel()
            finally:
                end(peer, None)

        servers: list[HsmsServer] = []
        with warnings_given_to(lambda text: teller.warned([text])):
            async with (
                telling_health(servers, health, teller.tells_health),
                recording.shown(begun) as record,
                open_bare_nursery() as nursery,
            ):
                serve_all = partial(serve_hsms, serve, settings, record=record)
                server: HsmsServer = await nursery.start(serve_all)
                servers.append(server)
                teller.listens(server.address, settings.host, server.port)
                with this.until_stopped():
                    async for event in server.events():
                        match event:
                            case PeerAccepted(peer=peer):
                                accept(peer)
                            case PeerEnded(peer=peer, was_selected=True):
                                end(peer, event)
                            case PeerEnded(peer=peer):
                                accepted.discard(peer)
                                _tell(event, teller)
                            case _:
                                _tell(event, teller)
                await server.aclose()
        teller.stopped()
        return 0

    try:
        with warnings.catch_warnings(), recording.begun() as begun:
            # It is about no line of this program.
            warnings.showwarning = lambda message, *_, **__: process.complain(
                f"hsms-engine listen: warning: {message}"
            )
            return process.run(run)
    except SettingsError as error:
        raise CommandError(error, 2) from error
    except OSError as error:
        # No line of output raises it.
        raise cannot_listen(settings, error) from error


async def _send(
    connection: HsmsConnection, primaries: Primaries, count: int, teller: Teller
) -> None:
    """Send all of them. What fails is told, and the next one is sent if the connection stays."""
    # With nothing to send, no count keeps it busy.
    for _ in range(count if primaries.messages else 0):
        for message in primaries.messages:
            try:
                await send_one(connection, message, teller)
            except TransactionError as error:
                teller.happened("failed", connection.peer, why=str(error))
            except HsmsError:
                # The end of the connection is told, and why.
                return


def _tell(event: ServerEvent, teller: Teller) -> None:
    match event:
        case PeerAccepted() | PeerSelected():
            # Told in ``listen``, before what is received.
            pass
        case PeerDeselected(peer=peer):
            teller.happened("deselected", peer)
        case PeerRefused(peer=peer, max_sessions=most):
            teller.happened("refused", peer, why=f"others have all sessions ({most})")
        case PeerTurnedAway(peer=peer, why=why):
            teller.happened("turned away", peer, why=why)
        case PeerEnded(peer=peer, why=why):
            teller.happened("ended", peer, why=why)
        case Missed(count=count):
            teller.warned([f"{count} events came too fast and are not told"])
        case Closed():
            pass
        case _:
            assert_never(event)


COMMAND = Command(listen, _NOTES)

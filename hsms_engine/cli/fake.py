"""``hsms-engine fake``: a fake equipment as a process."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated

import trio
import typer

from hsms_engine import process
from hsms_engine.answers import AnswerBook
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.options import SECOND_HOST, AsJson, Protocol, seconds, whole
from hsms_engine.driver.tcp import address_text
from hsms_engine.errors import SettingsError
from hsms_engine.fake.behaviours import KNOWN, Behaviours, listing
from hsms_engine.fake.emissions import emissions
from hsms_engine.fake.program import run_fake
from hsms_engine.process import Process

_NOTES = f"""\
behaviours:
{listing()}

Behaviours combine: --behaviour delay-replies=0.5 --behaviour drop-replies=3
"""


def fake(
    *,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="the address to listen on (127.0.0.1)")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            parser=whole(0, 65_535),
            metavar="N",
            help="the port to listen on (5000); 0 lets the system choose",
        ),
    ] = None,
    behaviour: Annotated[
        list[str],
        typer.Option(
            default_factory=list,
            show_default=False,
            metavar="NAME[=ARG]",
            help="what it does wrong, see below; may be repeated",
            autocompletion=lambda: list(KNOWN),
        ),
    ],
    answers: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="an SML file of replies, which win over those shipped"),
    ] = None,
    alarms: Annotated[
        float | None,
        typer.Option(parser=seconds, metavar="SECONDS", help="send S5F1 this often while selected"),
    ] = None,
    events: Annotated[
        float | None,
        typer.Option(
            parser=seconds, metavar="SECONDS", help="send S6F11 this often while selected"
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="print connections, not messages")] = False,
    second_host: Annotated[str | None, SECOND_HOST] = None,
    allow: Annotated[
        list[str],
        typer.Option(
            default_factory=list,
            show_default=False,
            metavar="NETWORK",
            help="serve only peers of this network or address; may be repeated",
        ),
    ],
    tls_session: Annotated[
        list[str],
        typer.Option(
            default_factory=list,
            show_default=False,
            metavar="NAME=ID,ID-ID",
            help="the session ids that a certificate may use, by a name in it; may be repeated",
        ),
    ],
    protocol: Protocol,
    as_json: AsJson = False,
) -> int:
    """Play an equipment until Ctrl-C."""
    settings = protocol.settings(
        host=host,
        port=port,
        second_host=second_host,
        allowed_networks=tuple(allow) or None,
        tls_sessions=tuple(tls_session) or None,
    )
    try:
        Behaviours.parse(behaviour)
        emissions(alarms, events)
        book = None if answers is None else AnswerBook.load(answers, settings.text_encoding)
    except ValueError as error:
        raise CommandError(error, 2) from error
    except OSError as error:
        why = error.strerror or error
        raise CommandError(f"cannot read --answers {answers}: {why}", 2) from error

    async def run(this: Process) -> int:
        def report(event: str, details: Mapping[str, object]) -> None:
            if quiet and "message" in details:
                return
            if as_json:
                this.json({"event": event, **details})
            else:
                this.line(_text(event, details))

        return await run_fake(
            this,
            settings,
            behaviour,
            answers=book,
            alarms=alarms,
            events=events,
            report=report,
        )

    try:
        with warnings.catch_warnings():
            # It is about no line of this program.
            warnings.showwarning = lambda message, *_, **__: typer.echo(
                f"hsms-engine fake: warning: {message}", err=True
            )
            return process.run(run)
    except SettingsError as error:
        raise CommandError(error, 2) from error
    except OSError as error:
        # No line of output raises it.
        where = address_text((settings.host, settings.port))
        if isinstance(error, trio.socket.gaierror):
            where = f"{settings.host!r}, for which no address is known"
        raise CommandError(f"cannot listen on {where}: {error.strerror or error}") from error


def _text(event: str, details: Mapping[str, object]) -> str:
    """One event for people: a line, and below it what was received."""
    match details:
        case {"host": host, "port": port}:
            return f"{event} on {address_text((host, port))}"
        case {"peer": peer, "bytes": int(size), "sml": sml, **others}:
            line = _text(event, {"peer": peer, **others, "bytes": size})
            # Without a body, the line has told all.
            return f"{line}\n{sml}" if size else line
        case {"peer": peer, **others}:
            return ", ".join(
                [f"{peer}: {event}", *(f"{name} {value}" for name, value in others.items())]
            )
        case _:
            return event


COMMAND = Command(fake, _NOTES)

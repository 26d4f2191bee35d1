"""``hsms-engine fake``: a fake equipment as a process."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import trio
import typer

from hsms_engine import process
from hsms_engine.answers import AnswerBook
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.options import SECOND_HOST, AsJson, Protocol, checked, seconds, whole
from hsms_engine.cli.recording import Recording
from hsms_engine.cli.telling_health import HealthWhere, telling_health
from hsms_engine.cli.times import time_now, time_of_day
from hsms_engine.driver.tcp import address_text
from hsms_engine.errors import SettingsError
from hsms_engine.fake.behaviours import KNOWN, Behaviours, listing
from hsms_engine.fake.equipment import FakeEquipment
from hsms_engine.fake.file import ToolFile, default_tool, read_tool_file
from hsms_engine.fake.plan import UNKNOWN, Unknown
from hsms_engine.fake.program import Beside, run_fake
from hsms_engine.fake.rows import rows
from hsms_engine.process import Process
from hsms_engine.settings import Settings
from hsms_engine.toml_file import TomlError

_NOTES = f"""\
behaviours:
{listing()}

Behaviours combine: --behaviour delay-replies=0.5 --behaviour drop-replies=3

Ctrl-C separates and ends it, with exit code 0. The format of FILE is in docs/simulator.md.

examples:
  hsms-engine fake
  hsms-engine fake --list
  hsms-engine fake --port 5001 --events 10 --behaviour drop-replies=3
  hsms-engine fake tool.toml --check
  hsms-engine fake tool.toml --reload --json
  hsms-engine fake tool.toml --health 9000
"""


# What is said of the program itself has no time in its line.
_OF_ALL = frozenset({"listening", "stopped", "telling health"})


def _unknown(text: str) -> Unknown:
    """Raises ``ValueError``."""
    return UNKNOWN[UNKNOWN.index(text)]


def fake(
    *,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="a tool file; without one: the tool that is shipped"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="say what is wrong with FILE, and exit: 2 if anything")
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="show the model and the rules, and exit")
    ] = False,
    reload: Annotated[
        bool,
        typer.Option(
            "--reload", help="take FILE again when it changes, as at SIGHUP; connections stay"
        ),
    ] = False,
    unknown: Annotated[
        Unknown | None,
        typer.Option(
            parser=checked(_unknown, f"one of {'|'.join(UNKNOWN)}"),
            metavar="|".join(UNKNOWN),
            help="what a primary gets that the tool does not know: S9F3 or S9F5 (report), or a "
            "reply with its own body (echo)",
        ),
    ] = None,
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
        typer.Option(metavar="FILE", help="an SML file of replies, which win over the model"),
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
    health: HealthWhere = None,
    recording: Recording,
    protocol: Protocol,
    as_json: AsJson = False,
) -> int:
    """Play an equipment until Ctrl-C: the tool of a file, or that which is shipped."""
    try:
        given = None if file is None else read_tool_file(file)
    except TomlError as error:
        if check:
            return refused(error, as_json=as_json)
        raise CommandError("; ".join(map(str, error.problems)), 2) from error
    if given is None and (check or reload):
        raise CommandError(f"--{'check' if check else 'reload'} needs a FILE", 2)
    if check or list_:
        return _shown(given or default_tool(), check=check, as_json=as_json)
    if given is not None and protocol.config is not None:
        raise CommandError(f"settings are in {file} and in --config {protocol.config}: which?", 2)
    settings = protocol.settings(
        base=None if given is None else given.settings,
        host=host,
        port=port,
        second_host=second_host,
        allowed_networks=tuple(allow) or None,
        tls_sessions=tuple(tls_session) or None,
    )
    try:
        Behaviours.parse(behaviour)
        book = None if answers is None else AnswerBook.load(answers, settings.text_encoding)
        beside = Beside(
            behaviours=tuple(behaviour),
            answers=book,
            alarms=alarms,
            events=events,
            unknown=unknown,
        )
        beside.plans(given or default_tool(), settings)
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
                this.json({"event": event, "at": time_now(), **details})
            else:
                time = "" if event in _OF_ALL else f"{time_of_day()} "
                this.line(f"{time}{_text(event, details)}")

        equipments: dict[int, FakeEquipment] = {}

        def told(where: str) -> None:
            report("telling health", {"where": where})

        async with (
            telling_health(equipments.values(), health, told),
            recording.shown(begun) as record,
        ):
            return await run_fake(
                this,
                settings,
                beside,
                file=given,
                equipments=equipments,
                reload=reload,
                clock=datetime.now,
                record=record,
                report=report,
            )

    try:
        with warnings.catch_warnings(), recording.begun() as begun:
            # It is about no line of this program.
            warnings.showwarning = lambda message, *_, **__: typer.echo(
                f"hsms-engine fake: warning: {message}", err=True
            )
            return process.run(run)
    except SettingsError as error:
        raise CommandError(error, 2) from error
    except OSError as error:
        # No line of output raises it.
        raise cannot_listen(settings, error) from error


def refused(error: TomlError, *, as_json: bool) -> int:
    """Say all that is wrong with a file."""
    for each in error.problems:
        typer.echo(json.dumps(each._asdict()) if as_json else str(each))
    return 2


def _shown(file: ToolFile, *, check: bool, as_json: bool) -> int:
    """Say that a file is good, or what is in it."""
    if check:
        for each in file.doubts:
            doubt = {**each._asdict(), "is_doubt": True}
            typer.echo(json.dumps(doubt) if as_json else f"{each} (a doubt, and no error)")
        told = {"file": file.path, "good": file.summary()}
        typer.echo(json.dumps(told) if as_json else f"{file.path}: good: {file.summary()}")
        return 0
    for row in rows(file):
        typer.echo(json.dumps(row._asdict()) if as_json else str(row))
    return 0


def cannot_listen(settings: Settings, error: OSError) -> CommandError:
    """Why an end does not listen."""
    where = address_text((settings.host, settings.port))
    if isinstance(error, trio.socket.gaierror):
        where = f"{settings.host!r}, for which no address is known"
    return CommandError(f"cannot listen on {where}: {error.strerror or error}")


def _text(event: str, details: Mapping[str, object]) -> str:
    """One event for people: a line, and below it what was received."""
    match details:
        case {"host": host, "port": port}:
            return f"{event} on {address_text((host, port))}"
        case {"where": where}:
            return f"{event} on {where}"
        case {"bytes": int(size), "sml": sml, **others}:
            line = _text(event, {**others, "bytes": size})
            # Without a body, the line has told all.
            return f"{line}\n{sml}" if size else line
        case {"peer": peer, **others}:
            return _text(f"{peer}: {event}", others)
        case _:
            return ", ".join([event, *(_named(name, value) for name, value in details.items())])


def _named(name: str, value: object) -> str:
    """A detail with its name, which is not said twice: "rule 1" is the name of a rule."""
    text = str(value)
    return text if text.startswith(f"{name} ") else f"{name} {text}"


COMMAND = Command(fake, _NOTES)

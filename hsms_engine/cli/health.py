"""``hsms-engine health``: asks a running program whether its links are ready.

It asks the program that owns the links, where that tells it (``hsms_engine.health``), and dials no
tool, whose only session that would take. The exit code is for what looks after programs: systemd,
Docker, Kubernetes.
"""

from __future__ import annotations

from typing import Annotated

import trio
import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.options import AsJson, checked
from hsms_engine.health import Answer, Told, ask_health
from hsms_engine.health.place import place_of
from hsms_engine.logs import escaped
from hsms_engine.process import Process
from hsms_engine.spelling import hint

_SHORTEST, _LONGEST = 0.01, 3_600.0

_NOTES = """\
exit codes:
  0  all links are ready (with --alive: the program answers)
  1  a link is not ready, or the program does not answer
  2  wrong usage, also a link that the program does not have

The program must tell its health there: serve_health([link], WHERE).

examples:
  hsms-engine health 9000
  hsms-engine health /run/host/health --link etcher-1
  hsms-engine health /run/host/health --alive --timeout 10
"""


def _seconds(text: str) -> float:
    found = float(text)
    if not _SHORTEST <= found <= _LONGEST:
        raise ValueError
    return found


def health(
    *,
    where: Annotated[
        str,
        typer.Argument(
            metavar="WHERE", help="a port of this machine, HOST:PORT, or the path of a socket"
        ),
    ],
    link: Annotated[
        str | None, typer.Option(metavar="NAME", help="only this link, by its name or its peer")
    ] = None,
    alive: Annotated[
        bool, typer.Option("--alive", help="only whether the program answers, ready or not")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            parser=checked(_seconds, f"a number of seconds in {_SHORTEST:g}..{_LONGEST:g}"),
            metavar="SECONDS",
            help="how long to wait for the answer",
        ),
    ] = 5.0,
    as_json: AsJson = False,
) -> int:
    """Ask a running program whether its links are ready."""
    try:
        place = place_of(where)
    except ValueError as error:
        raise CommandError(error, 2) from error
    if alive and link is not None:
        raise CommandError("--alive asks for the program, and --link for a link: which?", 2)

    async def run(this: Process) -> int:
        with trio.move_on_after(timeout):
            answer = await ask_health(where)
            if link is not None:
                answer = _only(answer, link)
            if as_json:
                this.json(_object(answer))
            elif alive:
                this.line(f"process {answer.process} answers")
            else:
                for line in _lines(answer):
                    this.line(line)
            return 0 if alive or answer.is_ready else 1
        raise CommandError(
            f"no answer on {place} within --timeout {timeout:g} s: the program is stopped, or its "
            "event loop is blocked, or something else listens there"
        )

    try:
        return process.run(run)
    except OSError as error:
        # No line of output raises it.
        raise CommandError(error.strerror or error) from error


def _only(answer: Answer, name: str) -> Answer:
    found = answer.of(name)
    if not found.links:
        known = hint(name, (each.name for each in answer.links))
        raise CommandError(f"the program has no link {name!r}; {known}", 2)
    return found


def _object(answer: Answer) -> dict[str, object]:
    return {
        "event": "health",
        "is_ready": answer.is_ready,
        "process": answer.process,
        "links": [each.facts for each in answer.links],
    }


def _lines(answer: Answer) -> list[str]:
    """A line for each link that is not ready, or will not be for long; else one line."""
    if not answer.links:
        return ["not ready: the program has no link"]
    told = [each for each in answer.links if not each.is_ready or _ownership(each) == "doubtful"]
    if not told and len(answer.links) > 1:
        standing_by = sum(_ownership(each) in ("standby", "acquiring") for each in answer.links)
        how = f", {standing_by} of them standing by" if standing_by else ""
        return [f"ready: all {len(answer.links)} links{how}"]
    return [_line(each) for each in told or answer.links]


def _ownership(told: Told) -> object:
    return told.facts.get("ownership")


def _line(told: Told) -> str:
    name = told.name if told.name == told.peer else f"{told.name} {told.peer}"
    state = "ready" if told.is_ready else "not ready"
    return escaped(f"{state} for {told.since_seconds:.0f} s: {name}: {told.why}")


COMMAND = Command(health, _NOTES)

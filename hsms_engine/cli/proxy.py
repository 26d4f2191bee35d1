"""``hsms-engine proxy``: a fault proxy as a process."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import trio
import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.options import AsJson, checked, whole
from hsms_engine.cli.times import time_of_day
from hsms_engine.driver.tcp import address_text
from hsms_engine.process import Process
from hsms_engine.proxy.events import ProxyEvent, described
from hsms_engine.proxy.faults import DIRECTIONS, KNOWN, FaultError, listing, parse_fault, values
from hsms_engine.proxy.proxy import open_proxy

_NOTES = f"""\
A fault is written as [DIRECTION] NAME[=VALUE] [CONDITION ...], in quotes. Who dials the proxy is
called the host, and whom the proxy dials the equipment.

{listing()}

values:
{values()}

examples:
  hsms-engine proxy --listen 127.0.0.1:5001 --to 127.0.0.1:5000 --fault latency=200ms
  hsms-engine proxy --to 127.0.0.1:5000 --fault "to-host drop-frame=reply nth=3" --fault rate=64kB
  hsms-engine proxy --to 127.0.0.1:5000 --fault "black-hole at=10s for=60s"
"""


class _Address(NamedTuple):
    host: str
    port: int


def _parse(text: str) -> _Address:
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError
    return _Address(host, int(port))


_address = checked(_parse, "HOST:PORT, such as 127.0.0.1:5000 or [::1]:5000")


def proxy(
    *,
    to: Annotated[
        _Address,
        typer.Option(parser=_address, metavar="HOST:PORT", help="whom to dial"),
    ],
    listen: Annotated[
        _Address | None,
        typer.Option(
            parser=_address,
            metavar="HOST:PORT",
            help="where to listen; without it on 127.0.0.1, on a port that the system chooses",
        ),
    ] = None,
    fault: Annotated[
        list[str],
        typer.Option(
            default_factory=list,
            show_default=False,
            metavar="FAULT",
            help="what goes wrong, see below; may be repeated",
            autocompletion=lambda: [*KNOWN, *DIRECTIONS],
        ),
    ],
    seed: Annotated[
        int | None,
        typer.Option(
            parser=whole(0, 2**31 - 1),
            metavar="N",
            help="with the same seed (0) and the same traffic the same faults act",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Stand between two HSMS programs, and be the fault between them, until Ctrl-C."""
    try:
        faults = [parse_fault(each) for each in fault]
    except FaultError as error:
        raise CommandError(error, 2) from error
    here = listen or _Address("127.0.0.1", 0)

    is_begun = False

    async def run(this: Process) -> int:
        def report(event: ProxyEvent) -> None:
            if as_json:
                this.json(described(event))
            else:
                # The first line says where the proxy is, and the others what happens.
                nonlocal is_begun
                this.line(f"{time_of_day()} {event}" if is_begun else str(event))
                is_begun = True

        opening = open_proxy(
            *to, host=here.host, port=here.port, faults=faults, seed=seed or 0, report=report
        )
        async with opening as opened:
            with this.until_stopped():
                # A signal ends it, and nothing else.
                await trio.Event().wait()
        counts = {text: opened.counts[text] for text in map(str, faults)}
        if as_json:
            this.json({"event": "stopped", "faults": counts})
        else:
            for text, count in counts.items():
                this.line(f"{text}: acted {'once' if count == 1 else f'{count} times'}")
            this.line("stopped")
        return 0

    try:
        return process.run(run)
    except OSError as error:
        # No line of output raises it.
        where = address_text(here)
        if isinstance(error, trio.socket.gaierror):
            where = f"{here.host!r}, for which no address is known"
        raise CommandError(f"cannot listen on {where}: {error.strerror or error}") from error


COMMAND = Command(proxy, _NOTES)

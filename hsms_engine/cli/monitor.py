"""``hsms-engine monitor``: a page that shows what is in recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import trio
import typer

from hsms_engine import process
from hsms_engine.cli.command import Command, CommandError
from hsms_engine.cli.options import whole
from hsms_engine.cli.pages import page
from hsms_engine.driver.tls_files import TlsFiles
from hsms_engine.errors import SettingsError
from hsms_engine.process import Process
from hsms_engine.recording import parts_of

_NOTES = """\
FILE is a recording: of --record or record=, a black box, a failing seed of the simulation, a
counterexample of the proof. The parts FILE.1, FILE.2 ... are read with it. Programs that run show
themselves: --monitor PORT of connect, listen, fake, run and replay, serve_monitor in Python.

What to open is on standard error, with a token that lets one browser in. Other machines reach the
page only with --host and a certificate.

examples:
  hsms-engine monitor tool-7.jsonl
  hsms-engine monitor monday.jsonl tuesday.jsonl --port 0
  hsms-engine monitor all.jsonl --host 0.0.0.0 --tls-certificate here.pem
"""


def monitor(
    *,
    file: Annotated[list[Path], typer.Argument(metavar="FILE...", help="recordings")],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="where to listen; elsewhere needs a certificate")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(parser=whole(0, 65_535), metavar="N", help="0: any that is free")
    ] = 8037,
    tls_certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PEM: the certificate of this machine, and its key"),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM: the key, when it is in its own file")
    ] = None,
) -> int:
    """Show recordings on a page."""
    for each in file:
        try:
            is_there = each.exists() or parts_of(each)
        except OSError as error:
            # There is no such folder, or no such name.
            raise CommandError(f"cannot read {each}: {error.strerror}", 2) from error
        if not is_there:
            raise CommandError(f"there is no file {each}", 2)
    if tls_key is not None and tls_certificate is None:
        raise CommandError("--tls-key is the key of a --tls-certificate: give both", 2)
    tls = None
    if tls_certificate is not None:
        tls = TlsFiles(certificate=tls_certificate, key=tls_key or "")
        try:
            tls.context(listens=True)
        except SettingsError as error:
            raise CommandError(error, 2) from error

    async def run(this: Process) -> int:
        with this.until_stopped():
            async with page(file, host, port, tls):
                await trio.Event().wait()
        return 0

    try:
        return process.run(run)
    except ValueError as error:
        raise CommandError(
            f"--host {host} is reached by other machines, so the page needs a --tls-certificate: "
            "without, whoever listens on the network reads every message",
            2,
        ) from error


COMMAND = Command(monitor, _NOTES)

"""The page of ``hsms-engine monitor``, and of ``--monitor`` of the commands that talk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from hsms_engine.cli.command import CommandError
from hsms_engine.driver.tcp import address_text
from hsms_engine.process import complain
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from hsms_engine.driver.tls_files import TlsFiles
    from hsms_engine.monitor import MonitorServer, Watched


@asynccontextmanager
async def page(
    watched: Sequence[Watched], host: str, port: int, tls: TlsFiles | None = None
) -> AsyncIterator[MonitorServer]:
    """A page while the block runs. What to open is told on standard error, and again for the next
    browser when one has entered. Raises ``CommandError`` when it cannot listen or read.
    """
    try:
        # Not every program shows a page.
        from hsms_engine.monitor import serve_monitor
    except ImportError as error:
        raise CommandError(error) from error

    def entered(token: str) -> None:
        complain(f"a browser has entered; another one enters at {url}#token={token}")

    async with open_bare_nursery() as nursery:
        serve = partial(serve_monitor, watched, host, port, tls=tls, entered=entered)
        try:
            shown: MonitorServer = await nursery.start(serve)
        except OSError as error:
            file = error.filename
            where = address_text((host, port))
            what = f"show a page on {where}" if file is None else f"read {file}"
            raise CommandError(f"cannot {what}: {error.strerror or error}") from error
        url = shown.url
        complain(f"to see what happens, open {shown.link}")
        yield shown
        nursery.cancel_scope.cancel()

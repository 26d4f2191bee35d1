"""``--metrics WHERE`` of the commands that run as a service: where they show metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import trio
import typer

from hsms_engine.cli.command import CommandError
from hsms_engine.cli.options import checked
from hsms_engine.driver.tcp import address_text

if TYPE_CHECKING:
    from hsms_engine.metrics import Collector


def _place(text: str) -> tuple[str, int]:
    """An address and a port. Raises ``ValueError``."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535) or (colon and not host):
        raise ValueError(text)
    return host or "127.0.0.1", int(port)


def _where(text: str) -> str:
    _place(text)
    return text


MetricsWhere = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        parser=checked(_where, "a port (0..65535), or HOST:PORT"),
        metavar="WHERE",
        help="show metrics for Prometheus there: a port of this machine, or HOST:PORT",
    ),
]


@asynccontextmanager
async def telling_metrics(
    where: str | None, told: Callable[[str], object]
) -> AsyncIterator[Collector | None]:
    """Show metrics while the block runs, if ``where`` is given; ``told`` gets the address.

    Raises ``CommandError`` when they cannot be shown there.
    """
    if where is None:
        yield None
        return
    try:
        # Not every program shows metrics.
        from hsms_engine.metrics import Collector
    except ImportError as error:
        raise CommandError(error) from error
    from prometheus_client import CollectorRegistry, start_http_server

    collector, registry = Collector(), CollectorRegistry()
    registry.register(collector)
    host, port = _place(where)
    try:
        page, thread = start_http_server(port, host, registry)
    except OSError as error:
        why = error.strerror or error
        raise CommandError(f"cannot show metrics on {where}: {why}") from error
    try:
        told(address_text((host, page.server_port)))
        yield collector
    finally:
        with trio.CancelScope(shield=True):
            # It waits for the thread of the page, and for a scrape that runs.
            await trio.to_thread.run_sync(page.shutdown)
        page.server_close()
        thread.join()

"""``--health WHERE`` of the commands that run as a service: where the program tells its health."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from hsms_engine.cli.command import CommandError
from hsms_engine.health.place import place_of
from hsms_engine.health.serve import Healthy, serve_health
from statecharts.nursery import open_bare_nursery


def _where(text: str) -> str:
    """A place on this machine."""
    try:
        place_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return text


HealthWhere = Annotated[
    str | None,
    typer.Option(
        "--health",
        parser=_where,
        metavar="WHERE",
        help="tell there whether it is ready, to hsms-engine health: a port of this machine, "
        "HOST:PORT, or the path of a socket",
    ),
]


@asynccontextmanager
async def telling_health(
    links: Collection[Healthy], where: str | None, told: Callable[[str], object]
) -> AsyncIterator[None]:
    """Tell their health while the block runs, if ``where`` is given; ``told`` gets the place.

    Raises ``CommandError`` when it cannot be told there.
    """
    if where is None:
        yield
        return
    async with open_bare_nursery() as nursery:
        try:
            server = await nursery.start(serve_health, links, where)
        except OSError as error:
            raise CommandError(error.strerror or error) from error
        told(server.where)
        yield
        nursery.cancel_scope.cancel()

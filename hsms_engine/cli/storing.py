"""Where the leases are, as the options of a command say it, and whether that store can be used."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import trio
import typer

from hsms_engine.cli.command import CommandError
from hsms_engine.cli.options import path_option, seconds
from hsms_engine.driver.tls_files import TlsFiles
from hsms_engine.errors import LeaseError, LeaseSetupError, SettingsError
from hsms_engine.lease.names import prefix_text
from hsms_engine.protocol.leasing import LeaseTimes

if TYPE_CHECKING:
    from hsms_engine.lease.redis import RedisStore


def _lease(text: str) -> float:
    """The length of a lease, in seconds."""
    try:
        return LeaseTimes(seconds(text)).duration
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error


def _prefix(text: str) -> str:
    """What all names in the store begin with."""
    try:
        return prefix_text(text)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Storing:
    """The store of leases."""

    store: Annotated[
        str | None,
        typer.Option(
            parser=str,
            metavar="URL",
            help="the Redis or Valkey that gives the leases: rediss://USER@HOST:PORT, or "
            "redis:// on this machine only. HSMS_STORE_PASSWORD may have the password",
        ),
    ] = None
    password_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="the password is in this file, and read anew each time"),
    ] = None
    store_authorities: Annotated[
        str | None,
        path_option("TLS: the authorities of the store, as PEM (default: those known here)"),
    ] = None
    store_certificate: Annotated[
        str | None, path_option("TLS: the certificate of this process for the store, as PEM")
    ] = None
    store_key: Annotated[str | None, path_option("its key, if in a file of its own")] = None
    prefix: Annotated[
        str,
        typer.Option(parser=_prefix, metavar="NAME", help="what all names in the store begin with"),
    ] = "hsms"
    lease: Annotated[
        float,
        typer.Option(
            parser=_lease,
            metavar="SECONDS",
            help="how long a lease lasts, the same in all processes: 1..600",
        ),
    ] = 10.0

    def opened(self) -> RedisStore:
        """The store, not used yet. Raises ``CommandError`` for what cannot be."""
        if self.store is None:
            raise CommandError("Missing option '--store'", 2)
        try:
            # Not every program has it.
            from hsms_engine.lease.redis import RedisStore
        except ImportError as error:
            raise CommandError(error) from error
        try:
            return RedisStore(
                self.store,
                prefix=self.prefix,
                duration=self.lease,
                tls=self._files(),
                password_file=self.password_file or "",
            )
        except SettingsError as error:
            raise CommandError(f"--store: {error}", 2) from error

    def _files(self) -> TlsFiles | None:
        """The files of TLS, if any is given."""
        if not (self.store_certificate or self.store_key or self.store_authorities):
            return None
        return TlsFiles(
            certificate=self.store_certificate or "",
            key=self.store_key or "",
            authorities=self.store_authorities or "",
        )


async def look(store: RedisStore, tools: Iterable[str]) -> LeaseError | None:
    """Ask the store for a lease: why it does not answer, or None.

    Raises ``CommandError`` when it will not before somebody has changed something.
    """
    lease = store.lease(next(iter(tools)))
    try:
        async with lease.connected(), aclosing(lease.watch()) as seen:
            await anext(seen)
    except LeaseSetupError as error:
        raise CommandError(error, 2) from error
    except LeaseError as error:
        await trio.lowlevel.checkpoint()
        return error
    return None

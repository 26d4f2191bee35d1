"""Where a store is, and how one gets in: a URL, the files of TLS, and a password.

Invariant: no text of this has the password, and no error that it raises.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hsms_engine.driver.tcp import is_this_machine
from hsms_engine.driver.tls_files import Tls, TlsFiles
from hsms_engine.errors import LeaseSetupError, SettingsError

PASSWORD_VARIABLE = "HSMS_STORE_PASSWORD"
"""The variable of the environment that has the password, where neither URL nor file has one."""

_PLAIN, _TLS = ("redis", "valkey"), ("rediss", "valkeys")
_PORT = 6379
_FORM = "redis://[user[:password]@]host[:port][/database]"
_LONGEST_PASSWORD = 4096


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """What a URL says of a store. Its text is without the password."""

    host: str
    port: int = _PORT
    database: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Access:
    """A store's address, and what opens it. ``password_file`` is read at each connection."""

    address: StoreAddress
    tls: ssl.SSLContext | TlsFiles | None = None
    password_file: str = ""
    # What the environment said when this was made.
    fallback: str = field(default="", repr=False)

    def context(self) -> ssl.SSLContext | None:
        """The TLS of one more connection. Raises ``LeaseSetupError``."""
        match self.tls:
            case _ if not self.address.tls:
                return None
            case ssl.SSLContext() as context:
                return context
            case files:
                try:
                    return (files or _SYSTEM).context(listens=False)
                except SettingsError as error:
                    raise LeaseSetupError(f"the store {self.address}: {error}") from None

    def password(self) -> str:
        """The password of one more connection, empty without one. Raises ``LeaseSetupError``."""
        if not self.password_file:
            return self.address.password or self.fallback
        try:
            with Path(self.password_file).open("rb") as file:
                found = file.read(_LONGEST_PASSWORD + 1)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise self._unusable(f"cannot be read: {why}") from None
        if len(found) > _LONGEST_PASSWORD:
            raise self._unusable(f"is longer than {_LONGEST_PASSWORD} bytes")
        try:
            password = found.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise self._unusable("is no text of UTF-8") from None
        if not password or "\n" in password or "\0" in password:
            raise self._unusable("is to have one line: the password")
        return password

    def _unusable(self, why: str) -> LeaseSetupError:
        return LeaseSetupError(
            f"the store {self.address}: the file of the password, {self.password_file!r}, {why}"
        )


_SYSTEM = TlsFiles()


def access_to(
    url: str,
    *,
    tls: Tls | None = None,
    password_file: str | os.PathLike[str] = "",
    environment: Mapping[str, str] = os.environ,
) -> Access:
    """What a URL and the words beside it come to. Raises ``SettingsError`` for what cannot be."""
    address = parse(url)
    if tls is not None and not address.tls:
        raise SettingsError(
            f"the store {address}: there are files of TLS for it, and the URL is without TLS: "
            f"write {_TLS[0]}:// or {_TLS[1]}://"
        )
    path = os.fspath(password_file)
    if path and address.password:
        raise SettingsError(
            f"the store {address}: there is a password in the URL and a file of one ({path!r}): "
            "leave one out"
        )
    return Access(address, tls, path, environment.get(PASSWORD_VARIABLE, ""))


def parse(url: str) -> StoreAddress:
    """Read the URL of a store. Raises ``SettingsError``, which does not show it: it has a password.

    The password may be here, in a file, or in the environment. Without TLS it is this machine's.
    """
    if any(not each.isprintable() or each.isspace() for each in url):
        raise SettingsError("the URL of the store has a blank or a control character in it")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _unlike(
            "cannot be read: is the port a number up to 65535, and are / ? # @ : [ ] of a password "
            "written as %2F %3F %23 %40 %3A %5B %5D?"
        ) from None
    if parts.scheme not in (*_PLAIN, *_TLS):
        begins = f"{parts.scheme}:" if parts.scheme and parts.netloc else "with something else"
        raise _unlike(
            f"is to begin with one of {', '.join(f'{each}://' for each in (*_PLAIN, *_TLS))}, "
            f"and begins {begins}"
        )
    if not host:
        raise _unlike("names no host")
    if port == 0:
        raise _unlike("names port 0, where nothing listens")
    if parts.query or parts.fragment:
        raise _unlike(
            "has something after ? or #: options are given beside it, and in a password these are "
            "written as %3F and %23"
        )
    number = parts.path.removeprefix("/")
    if number and not (number.isascii() and number.isdecimal() and len(number) <= 9):
        raise _unlike(
            "has something other than the number of a database after the host; in a password a / "
            "is written as %2F"
        )
    address = StoreAddress(
        host,
        port or _PORT,
        int(number or 0),
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        parts.scheme in _TLS,
    )
    if not address.tls and not is_this_machine(host):
        raise SettingsError(
            f"the store {address} is on another machine, and the URL is without TLS: write "
            f"{_TLS[0]}:// or {_TLS[1]}://, or a tunnel's end on this machine"
        )
    return address


def _unlike(why: str) -> SettingsError:
    return SettingsError(f"the URL of the store {why} ({_FORM}, rediss:// with TLS)")

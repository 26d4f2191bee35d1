"""The files of TLS of one end, and which TLS its connections have.

Invariant: no text and no pickle of this has the password of a key.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from logging import WARNING
from pathlib import Path
from typing import Self

from hsms_engine.errors import SettingsError
from hsms_engine.logs import LINK, say
from hsms_engine.settings import SYSTEM, Settings, expect_no_password

_AUTHORITIES = "the authorities"


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A context, and what its files looked like before they were read."""

    looks: tuple[object, ...]
    context: ssl.SSLContext


class TlsFiles:
    """The files (PEM) of one end. They are read again at the next handshake after a change.

    When they cannot be used then, those before go on, which is logged. ``certificate`` has the
    certificate of this end and those that lead to its authority; ``key`` is its key, in the same
    file unless given, and ``password`` opens it. ``authorities`` is a file or a folder of the
    authorities of the peer, or ``"system"``; with it a listening end asks for a certificate. A
    dialling end without it trusts those of the system.
    """

    def __init__(
        self,
        *,
        certificate: str | os.PathLike[str] = "",
        key: str | os.PathLike[str] = "",
        authorities: str | os.PathLike[str] = "",
        password: str = "",
    ) -> None:
        self._certificate, self._key = os.fspath(certificate), os.fspath(key)
        self._authorities, self._password = os.fspath(authorities), password
        # By whether this end listens.
        self._loaded: dict[bool, _Loaded] = {}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(certificate={self._certificate!r}, key={self._key!r}, "
            f"authorities={self._authorities!r})"
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        expect_no_password(self, self._password)
        again = partial(
            type(self),
            certificate=self._certificate,
            key=self._key,
            authorities=self._authorities,
        )
        return again, ()

    def context(self, *, listens: bool) -> ssl.SSLContext:
        """The context for one more connection.

        Raises ``SettingsError`` when the files cannot be used, and never could.
        """
        looks = tuple(map(_look, (self._certificate, self._key, self._authorities)))
        latest = self._loaded.get(listens)
        if latest is None:
            latest = _Loaded(looks, self._load(listens))
        elif latest.looks != looks:
            try:
                latest = _Loaded(looks, self._load(listens))
            except SettingsError as error:
                # Once for each change.
                latest = replace(latest, looks=looks)
                say(LINK, WARNING, "%s: the files read before go on", str(error))
        self._loaded[listens] = latest
        return latest.context

    def _load(self, listens: bool) -> ssl.SSLContext:
        if listens and not self._certificate:
            raise SettingsError(
                "TLS: a listening end needs a certificate (tls_certificate), and its key"
            )
        if self._key and not self._certificate:
            raise SettingsError("TLS: a key (tls_key) is of no use without its certificate")
        protocol = ssl.PROTOCOL_TLS_SERVER if listens else ssl.PROTOCOL_TLS_CLIENT
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self._certificate:
                # A password that is missing must not be asked for on the terminal.
                context.load_cert_chain(
                    self._certificate, self._key or None, lambda: self._password
                )
            if self._authorities not in ("", SYSTEM):
                is_folder = Path(self._authorities).is_dir()
                where = "capath" if is_folder else "cafile"
                context.load_verify_locations(**{where: self._authorities})
            elif self._authorities or not listens:
                context.load_default_certs(
                    ssl.Purpose.CLIENT_AUTH if listens else ssl.Purpose.SERVER_AUTH
                )
        except (OSError, ValueError) as error:
            raise SettingsError(f"TLS: {self._why(error)}") from None
        if self._authorities:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _why(self, error: Exception) -> str:
        is_locked = False
        for what, path in (
            ("the certificate", self._certificate),
            ("the key", self._key),
            (_AUTHORITIES, self._authorities),
        ):
            if path and path != SYSTEM and not (what == _AUTHORITIES and Path(path).is_dir()):
                try:
                    text = Path(path).read_bytes()
                except (OSError, ValueError) as unreadable:
                    why = getattr(unreadable, "strerror", None) or unreadable
                    return f"cannot read the file of {what}, {path!r}: {why}"
                is_locked |= what != _AUTHORITIES and b"ENCRYPTED" in text
        # OpenSSL has the same words for a key that is locked and for one that is none.
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            why = "the key is not that of the certificate"
        elif is_locked:
            why = "the key is locked, and the password (tls_key_password) does not open it"
        elif self._certificate and not self._key and not _has_key(self._certificate):
            why = "there is no key in the file of the certificate: set tls_key"
        else:
            said = str(error).partition(" (_ssl")[0]
            why = f"OpenSSL cannot use them ({said}): each is to be a file of PEM"
        return f"the files of {self!r}: {why}"


def _has_key(path: str) -> bool:
    return b"PRIVATE KEY" in Path(path).read_bytes()


def _look(path: str) -> object:
    """What changes when a file does."""
    if not path or path == SYSTEM:
        return None
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


Tls = ssl.SSLContext | TlsFiles


# The names of no files, and these.
_NONE = (("",) * 4, TlsFiles())


class TlsChoice:
    """Which TLS the connections of one end have: what was given, or else the files of its settings.

    A ``ssl.SSLContext`` is used as it is, but never renegotiates.
    """

    __slots__ = ("_checked", "_given", "_listens", "_used")

    def __init__(self, given: Tls | None, *, listens: bool) -> None:
        self._given = given
        self._listens = listens
        # What the names are in the settings, and those files: of the latest connection, and of the
        # latest check.
        self._used: tuple[tuple[str, ...], TlsFiles] = _NONE
        self._checked: tuple[tuple[str, ...], TlsFiles] = self._used

    def context(self, settings: Settings) -> ssl.SSLContext | None:
        """For one more connection; None when it has no TLS. Raises like ``TlsFiles.context``."""
        self._used = self._files(settings)
        return self._context(settings, self._used[1])

    def check(self, settings: Settings) -> None:
        """Raise ``SettingsError`` when no connection can be made with these settings.

        In any thread. What the settings in force have read stays until these are used.
        """
        checked = self._files(settings)
        context = self._context(settings, checked[1])
        asks = context is not None and context.verify_mode != ssl.CERT_NONE
        if self._listens and settings.tls_sessions and not asks:
            raise SettingsError(
                "tls_sessions needs TLS that asks each peer for a certificate (tls_authorities)"
            )
        if context is not None:
            try:
                wrapped(context, self._listens, settings.peer_name)
            except (ssl.SSLError, ValueError) as error:
                raise SettingsError(f"TLS: this context cannot be used here: {error}") from None
        elif not self._listens and settings.tls_name:
            raise SettingsError(
                "tls_name is set, and this end has no TLS: set tls_certificate or tls_authorities "
                "too"
            )
        self._checked = checked

    def _context(self, settings: Settings, named: TlsFiles) -> ssl.SSLContext | None:
        match self._given:
            case None if not settings.has_tls:
                return None
            case None:
                context = named.context(listens=self._listens)
            case TlsFiles() as files:
                context = files.context(listens=self._listens)
            case given:
                context = given
        context.options |= ssl.OP_NO_RENEGOTIATION
        return context

    def _files(self, settings: Settings) -> tuple[tuple[str, ...], TlsFiles]:
        certificate, key = settings.tls_certificate, settings.tls_key
        authorities, password = settings.tls_authorities, settings.tls_key_password
        names = (certificate, key, authorities, password)
        for known in (self._used, self._checked):
            if known[0] == names:
                return known
        return names, TlsFiles(
            certificate=certificate, key=key, authorities=authorities, password=password
        )


def wrapped(
    context: ssl.SSLContext, listens: bool, name: str
) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    received, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    hostname = None if listens else name.partition("%")[0]
    return context.wrap_bio(received, out, listens, hostname), received, out

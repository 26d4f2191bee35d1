"""Authorities and certificates for tests of TLS, made once, and the contexts of both ends."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import trustme

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
LATER = datetime(2900, 1, 1, tzinfo=UTC)


_authority = cache(lambda name: trustme.CA(organization_name=name))


def authority(name: str = "plant") -> trustme.CA:
    """One authority, always the same for a name."""
    return _authority(name)


@cache
def issued(*names: str, by: str = "plant", **dates: Any) -> trustme.LeafCert:
    """A certificate for these names, the first of which is also the common name."""
    return authority(by).issue_cert(*names, common_name=names[0], **dates)


def expired(name: str) -> trustme.LeafCert:
    return issued(name, not_before=LONG_AGO.replace(year=2000), not_after=LONG_AGO)


def not_yet_valid(name: str) -> trustme.LeafCert:
    return issued(name, not_before=LATER, not_after=LATER.replace(year=2901))


def listening(
    certificate: trustme.LeafCert | None = None, *, clients_of: str | None = "plant"
) -> ssl.SSLContext:
    """The context of a listening end; it wants certificates of ``clients_of``, or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (certificate or issued("tool", "127.0.0.1")).configure_cert(context)
    if clients_of is not None:
        authority(clients_of).configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def dialling(
    certificate: trustme.LeafCert | None = None, *, trusts: str = "plant"
) -> ssl.SSLContext:
    """The context of a dialling end, with this certificate or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority(trusts).configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


def host(name: str = "host-1") -> ssl.SSLContext:
    """The context of a host that this plant knows."""
    return dialling(issued(name))


class Files(NamedTuple):
    """The files of one end."""

    certificate: str
    key: str
    authorities: str


def write(
    folder: Path, certificate: trustme.LeafCert, name: str = "end", *, by: str = "plant"
) -> Files:
    """Write a certificate, its key and an authority into ``folder``."""
    folder.mkdir(exist_ok=True)
    files = Files(*(str(folder / f"{name}{end}.pem") for end in ("", "-key", "-authorities")))
    chain = b"".join(each.bytes() for each in certificate.cert_chain_pems)
    Path(files.certificate).write_bytes(chain)
    Path(files.key).write_bytes(certificate.private_key_pem.bytes())
    Path(files.authorities).write_bytes(authority(by).cert_pem.bytes())
    return files

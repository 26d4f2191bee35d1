"""The certificates of both ends, made for one run."""

from __future__ import annotations

from pathlib import Path


def write(folder: Path) -> None:
    """``listening.pem``, ``dialling.pem`` (certificate and key) and ``authority.pem``."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    for name, subject in (("listening", "127.0.0.1"), ("dialling", "host-1")):
        made = authority.issue_cert(subject)
        made.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")

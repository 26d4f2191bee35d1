"""Make a working set of certificates for TLS, with the program openssl (1.1.1 or later).

python certificates.py FOLDER --tool etcher-1.example,10.1.2.3 --host host-1.example

It makes an authority, a certificate for each tool and each host, and a key for each. Names after
the first, and addresses, are further names of the same machine. An authority that is in the folder
already is used again, so more machines can be added later, and certificates renewed.
"""

import argparse
import ipaddress
import os
import subprocess
import tempfile
from pathlib import Path

AUTHORITY_DAYS = 3_650
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*words: str | Path) -> None:
    """Run openssl. What it says is shown when it fails."""
    command = ["openssl", *map(str, words)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", check=False
        )
    except FileNotFoundError:
        raise SystemExit("the program openssl is needed, and is not in the PATH") from None
    if done.returncode:
        raise SystemExit(f"openssl {words[0]} failed:\n{done.stderr}")


def make_authority(folder: Path) -> None:
    """The certificate that all others lead to. Its key signs: keep it off the machines."""
    openssl(
        *("req", "-x509", *KEY, "-days", str(AUTHORITY_DAYS), "-subj", "/CN=HSMS authority"),
        *("-addext", "basicConstraints=critical,CA:TRUE,pathlen:0"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", folder / "authority-key.pem", "-out", folder / "authority.pem"),
    )


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def make_certificate(folder: Path, names: list[str], usage: str, days: int) -> None:
    """A certificate of one machine, for these names, and its key."""
    kinds = ("IP" if is_address(each) else "DNS" for each in names)
    also = ",".join(f"{kind}:{name}" for kind, name in zip(kinds, names, strict=True))
    certificate, key = folder / f"{names[0]}.pem", folder / f"{names[0]}-key.pem"
    with tempfile.TemporaryDirectory() as scratch:
        request, extensions = Path(scratch, "request.pem"), Path(scratch, "extensions")
        extensions.write_text(
            "basicConstraints=critical,CA:FALSE\n"
            "keyUsage=critical,digitalSignature\n"
            f"extendedKeyUsage={usage}\n"
            f"subjectAltName={also}\n",
            encoding="utf-8",
        )
        openssl("req", *KEY, "-subj", f"/CN={names[0]}", "-keyout", key, "-out", request)
        openssl(
            *("x509", "-req", "-in", request, "-days", str(days), "-extfile", extensions),
            *("-CA", folder / "authority.pem", "-CAkey", folder / "authority-key.pem"),
            *("-CAcreateserial", "-out", certificate),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where they go; it is made if need be")
    for end, what in (("--tool", "a machine that listens"), ("--host", "a machine that dials")):
        names = f"{what}, by its names and addresses; may be repeated"
        parser.add_argument(end, action="append", default=[], metavar="NAME,NAME", help=names)
    parser.add_argument("--days", type=int, default=397, help="until they expire (default 397)")
    given = parser.parse_args()
    # Nobody else may read the keys.
    os.umask(0o077)
    given.folder.mkdir(parents=True, exist_ok=True)
    if not (given.folder / "authority.pem").exists():
        make_authority(given.folder)
    for usage, machines in (("serverAuth", given.tool), ("clientAuth", given.host)):
        for machine in machines:
            make_certificate(given.folder, machine.split(","), usage, given.days)
    for each in sorted(given.folder.glob("*.pem")):
        print(each)


if __name__ == "__main__":
    main()

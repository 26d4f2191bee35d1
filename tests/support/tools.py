"""What some tests need of the system: programs for an independent opinion, libraries of Qt."""

import os
import shutil
import subprocess
import sys
from typing import NoReturn

import pytest

# By Debian's names, which most distributions share.
PACKAGES = {
    "cc": "build-essential",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "dot": "graphviz",
    "fish": "fish",
    "ip": "iproute2",
    "nft": "nftables",
    "node": "nodejs",
    "npm": "npm",
    "openssl": "openssl",
    "pdftotext": "poppler-utils",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "spin": "spin",
    "systemd-analyze": "systemd",
    "tshark": "tshark",
    "valgrind": "valgrind",
    "zsh": "zsh",
}

# The libraries of Linux that Qt is not shipped with.
LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxkbcommon.so.0": "libxkbcommon0",
}


def is_missing(name: str) -> bool:
    """Whether this system lacks a program of `PACKAGES`, or a library of `LIBRARIES`."""
    if name not in LIBRARIES:
        return shutil.which(name) is None
    if sys.platform != "linux":
        return False
    ldconfig = subprocess.run(
        ["/sbin/ldconfig", "-p"], capture_output=True, text=True, encoding="utf-8", check=True
    )
    return name not in ldconfig.stdout.split()


def needs(name: str) -> None:
    """Skip the running test unless the system has `name`; with CI=true its absence is a failure.

    Raises `KeyError` for a name that is in no table: the message must name a package.
    """
    package = {**PACKAGES, **LIBRARIES}[name]
    if not is_missing(name):
        return
    skip(
        f"{name} is not installed: install the package {package} "
        "(as root, python -m tests.support.install does)"
    )


def skip(reason: str) -> NoReturn:
    """Skip the running test, which cannot run here; with CI=true that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def needs_qt() -> None:
    """Skip the running test unless Qt can be loaded; with CI=true that is a failure."""
    for library in LIBRARIES:
        needs(library)

"""System programs that some tests ask for an independent opinion."""

import os
import shutil

import pytest

# By Debian's names, which most distributions share.
PACKAGES = {
    "cc": "build-essential",
    "dot": "graphviz",
    "ip": "iproute2",
    "node": "nodejs",
    "npm": "npm",
    "spin": "spin",
    "tshark": "tshark",
}


def needs(tool: str) -> None:
    """Skip the running test unless `tool` is on the path; with CI=true its absence is a failure.

    Raises `KeyError` for a tool that is not in `PACKAGES`: the message must name a package.
    """
    package = PACKAGES[tool]
    if shutil.which(tool) is not None:
        return
    reason = (
        f"{tool} is not installed: install the package {package} "
        "(as root, tests/install-system-tools does)"
    )
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)

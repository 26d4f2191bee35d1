"""``python -m tests.support.install``: what tests need of the system (``tools``).

Installs those that are missing, if this is root on a system with apt; otherwise says what to
install. Never fails: a test whose program is missing is skipped, or fails with ``CI=true``.
"""

import os
import shutil
import subprocess
import sys

from tests.support.tools import LIBRARIES, PACKAGES, is_missing


def main() -> None:
    """Install what is missing, or say so."""
    wanted = {**PACKAGES, **LIBRARIES}
    missing = [name for name in wanted if is_missing(name)]
    may_install = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get")
    if missing and may_install:
        _apt("update")
    for name in missing:
        package = wanted[name]
        if may_install:
            _say(f"installing {package}")
            said = _apt("install", "-y", "--no-install-recommends", package)
            if not is_missing(name):
                continue
            _say(said)
        _say(f"{name} is missing, tests that need it are skipped: install the package {package}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _apt(*words: str) -> str:
    """What ``apt-get`` said."""
    done = subprocess.run(
        ["apt-get", "-qq", *words],
        # tshark asks whether users may capture; no test captures, so its default answer will do.
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.stdout


if __name__ == "__main__":
    main()

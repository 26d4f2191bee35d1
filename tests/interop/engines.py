"""The engines of the registries: which versions, where they are installed, how they are started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from tests.proof.oracles.programs import OracleError
from tests.proof.oracles.xstate import install as install_from_npm

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# The packages of PyPI are all imported as ``secsgem``, so each has a folder of its own.
PEERS = HERE / ".peers"

Registry = Literal["PyPI", "npm"]


class MissingError(Exception):
    """An engine cannot be installed here; the text says why."""


class UnfitError(MissingError):
    """Its package is not for this Python, so nobody could install it here."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One version of one package. ``program`` in ``peers/`` runs it, if Python is ``below``."""

    name: str
    version: str
    registry: Registry
    program: str
    below: tuple[int, int] | None = None

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def folder(self) -> Path:
        """Where its package of PyPI is installed."""
        return PEERS / self.title.replace(" ", "-")

    def command(self) -> list[str]:
        """What starts its program, in the folder ``ROOT``."""
        match self.registry:
            case "PyPI":
                return [sys.executable, "-m", f"tests.interop.peers.{self.program}"]
            case "npm":
                return ["node", str(HERE / "peers" / self.program)]

    def environment(self) -> Mapping[str, str]:
        """The environment of its program: its own ``secsgem`` is found before any other."""
        return {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONUTF8": "1"}

    def install(self) -> None:
        """Install it, unless it is there. Raises ``MissingError``."""
        if self.below is not None and sys.version_info >= self.below:
            raise UnfitError(f"it needs a Python below {'.'.join(map(str, self.below))}")
        match self.registry:
            case "PyPI":
                self._install_from_pypi()
            case "npm":
                try:
                    install_from_npm(HERE)
                except OracleError as error:
                    raise MissingError(str(error)) from error

    def _install_from_pypi(self) -> None:
        # The tests of items need one of them anyway.
        with suppress(PackageNotFoundError):
            if version(self.name) == self.version:
                return
        if self.folder.is_dir():
            return
        # Renamed at the end, so that an installation that was interrupted is done again.
        unfinished = self.folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, "--target", str(unfinished), f"{self.name}=={self.version}"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            raise MissingError(f"pip cannot install it: {' '.join(done.stderr.split())}")
        unfinished.rename(self.folder)


SECSGEM = Engine("secsgem", "0.3.0", "PyPI", "secsgem_peer")
SECSGEMPRO = Engine("secsgempro", "1.6.0", "PyPI", "secsgem_peer", below=(3, 13))
DRIVER = Engine("secsgem-driver", "1.0.0", "PyPI", "driver_peer")
SECS4JS = Engine("secs4js", "0.4.7", "npm", "secs4js_peer.mjs")

ENGINES = {each.name: each for each in (SECSGEM, SECSGEMPRO, DRIVER, SECS4JS)}

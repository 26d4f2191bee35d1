"""Runs an independent program and gives its answers."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


class OracleError(Exception):
    """A program did not give an answer."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """``agreed`` answers were equal; ``differences`` describes each answer that was not."""

    agreed: int
    differences: tuple[str, ...]


def run(*command: str, directory: Path, given: str = "") -> str:
    """The output of a program. Raises ``OracleError`` when it fails."""
    try:
        done = subprocess.run(
            command, cwd=directory, input=given, capture_output=True, encoding="utf-8", check=False
        )
    except (FileNotFoundError, PermissionError) as error:
        raise OracleError(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        raise OracleError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout

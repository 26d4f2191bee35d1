"""Puts a fault back in a copy of the tree, and runs there what must find it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.put_back.faults import Edit, Fault

ROOT = Path(__file__).parents[2]
# What makes a tree that runs; the rest is large, or tools' own.
_LEFT_OUT = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist")
# How a machine says what it has found; at most so many lines of it are shown.
_VERDICT = re.compile(r"^seed \d+: |FAILED: | WRONG |^ended after")
_SHOWN = 3


class MovedError(Exception):
    """The text that a fault replaces is not there, or is there more than once."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``code`` is the exit code, ``seconds`` the time it took, ``said`` its output."""

    code: int
    seconds: float
    said: str

    @property
    def verdict(self) -> list[str]:
        """The lines that say what was found; the last ones when there are none."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        return ([line for line in lines if _VERDICT.search(line)] or lines[-_SHOWN:])[:_SHOWN]


def changed(root: Path, edit: Edit) -> str:
    """The text of the file with the edit. Raises ``MovedError``."""
    text = (root / edit.path).read_text(encoding="utf-8")
    if (count := text.count(edit.old)) != 1:
        raise MovedError(
            f"{edit.path} has this text {count} times, not once; write the fault anew:\n{edit.old}"
        )
    return text.replace(edit.old, edit.new)


@contextmanager
def copied(edits: Sequence[Edit] = ()) -> Iterator[Path]:
    """A copy of the tree with these edits, as long as the block."""
    with TemporaryDirectory(prefix="put-back-") as directory:
        tree = Path(directory, "tree")
        shutil.copytree(ROOT, tree, ignore=_LEFT_OUT)
        for edit in edits:
            (tree / edit.path).write_text(changed(tree, edit), encoding="utf-8")
        yield tree


def run(tree: Path, command: Sequence[str], seconds: float) -> Outcome:
    """Run ``python`` with these words in the tree, and end it after so many seconds."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    # Coverage of this process is not that of a tree which is gone soon.
    environment.pop("COVERAGE_PROCESS_START", None)
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as child:
        try:
            said, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            # So that it removes what it has made.
            child.terminate()
            said, _ = child.communicate()
            said += f"\nended after {seconds:g} s"
    return Outcome(child.returncode, time.monotonic() - began, said)


def put_back(fault: Fault, command: Sequence[str], seconds: float) -> Outcome:
    """What ``command`` finds with this fault."""
    with copied(fault.edits) as tree:
        return run(tree, command, seconds)

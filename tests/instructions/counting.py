"""Counts the scenarios with callgrind, and compares the counts with those that are pinned."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import trio

from tests.instructions.scenarios import SCENARIOS, YARDSTICK

PINNED = Path(__file__).with_name("pinned.json")
ROOT = PINNED.parents[2]
# How far a count may be from its pin: with the Python and trio of the pins, and with others, where
# it is first made comparable by what the yardstick takes.
SLACK, SLACK_ELSEWHERE = 0.03, 0.25
# Long bodies, and what the C library copies of them. By where the heap lies, which is another in
# each folder, a buffer that grows is copied or not. So copies are counted by themselves, and the
# pin is the most: one more copy of the megabyte is more than that everywhere.
LONG = "megabyte"
COPIES = f"{LONG} copied"
_COPIES = re.compile(r"mem(cpy|move)")
# Seconds that all scenarios may take.
_PATIENCE = 600


@dataclass(frozen=True, slots=True)
class Counts:
    """``each``: instructions for one piece of work, by scenario. ``where``: what ran it."""

    where: str
    each: Mapping[str, int]

    @classmethod
    def read(cls, text: str) -> Self:
        return cls(**json.loads(text))

    def written(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def count() -> Counts:
    """Run all scenarios once under callgrind. Raises ``RuntimeError`` with what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        command = [
            "valgrind",
            "--tool=callgrind",
            "--dump-before=getppid",
            f"--callgrind-out-file={out}",
            sys.executable,
            "-m",
            "tests.instructions.scenarios",
        ]
        # Otherwise sets have another order in each run.
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} has failed:\n{done.stdout}")
        # A part for what comes before the first mark, then one between each two marks.
        found: dict[str, int] = {}
        for number, (name, (_, times)) in enumerate(SCENARIOS.items(), start=1):
            part = Path(f"{out}.{2 * number}").read_text(encoding="utf-8")
            copied = _copied(part) if name == LONG else 0
            found[name] = (_total(part) - copied) // times
            if name == LONG:
                found[COPIES] = copied // times
    return Counts(where(), found)


def where() -> str:
    """What the counts depend on beside this project."""
    return f"{platform.python_implementation()} {platform.python_version()} trio {trio.__version__}"


def _total(part: str) -> int:
    for line in part.splitlines():
        if line.startswith("summary:"):
            return int(line.split()[1])
    raise RuntimeError("callgrind has written no summary")


def _copied(part: str) -> int:
    """The instructions of the functions that copy memory."""
    copying: set[str] = set()
    found, is_copying, is_of_call = 0, False, False
    for line in part.splitlines():
        # A function has a number, and its name where it comes first: as a caller or as called.
        if named := re.match(r"(c?fn)=(\(\d+\))(.*)", line):
            kind, number, name = named.groups()
            if _COPIES.search(name):
                copying.add(number)
            is_copying = number in copying if kind == "fn" else is_copying
        elif line.startswith("calls="):
            is_of_call = True
        elif re.match(r"[-+*\d]", line):
            # The line below a call has what that took.
            found += int(line.split()[1]) if is_copying and not is_of_call else 0
            is_of_call = False
    return found


def judged(counted: Counts, pinned: Counts) -> Iterator[tuple[str, bool]]:
    """A line for each scenario, and whether its count is near enough to its pin."""
    same = counted.where == pinned.where
    slack = SLACK if same else SLACK_ELSEWHERE
    scale = 1 if same else counted.each[YARDSTICK] / pinned.each[YARDSTICK]
    if not same:
        yield f"pinned with {pinned.where}, this is {counted.where}: {slack:.0%} of slack", True
    for name, found in counted.each.items():
        wanted = pinned.each[name] * scale
        change = found / wanted - 1
        line = f"{name:15} {found:12,} instructions, pinned {wanted:12,.0f}, {change:+.1%}"
        yield line, change <= slack and (name == COPIES or change >= -slack)


def told(lines: Iterable[tuple[str, bool]]) -> bool:
    """Print the lines. Whether all is well."""
    well = True
    for line, is_well in lines:
        print(line if is_well else f"{line}: MORE THAN THE SLACK")
        well = well and is_well
    return well

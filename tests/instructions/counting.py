"""Counts the scenarios with callgrind, and compares the counts with those that are pinned."""

from __future__ import annotations

import json
import os
import platform
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
# By where the heap lies, which is another in each folder, a buffer that grows is copied or not. All
# of that is less than one more copy of a megabyte, which is a million instructions.
SLACK_OF_COPIES = {"megabyte": 0.125}
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
        parts = [_total(Path(f"{out}.{number}")) for number in range(1, 2 * len(SCENARIOS) + 1)]
    counts = zip(SCENARIOS.items(), parts[1::2], strict=True)
    return Counts(where(), {name: part // times for (name, (_, times)), part in counts})


def where() -> str:
    """What the counts depend on beside this project."""
    return f"{platform.python_implementation()} {platform.python_version()} trio {trio.__version__}"


def _total(part: Path) -> int:
    for line in part.read_text(encoding="utf-8").splitlines():
        if line.startswith("summary:"):
            return int(line.split()[1])
    raise RuntimeError(f"{part} has no summary")


def judged(counted: Counts, pinned: Counts) -> Iterator[tuple[str, bool]]:
    """A line for each scenario, and whether its count is near enough to its pin."""
    same = counted.where == pinned.where
    scale = 1 if same else counted.each[YARDSTICK] / pinned.each[YARDSTICK]
    if not same:
        wide = f"{SLACK_ELSEWHERE:.0%} of slack"
        yield f"pinned with {pinned.where}, this is {counted.where}: {wide}", True
    for name, found in counted.each.items():
        wanted = pinned.each[name] * scale
        change = found / wanted - 1
        slack = SLACK_OF_COPIES.get(name, SLACK) if same else SLACK_ELSEWHERE
        line = f"{name:12} {found:12,} instructions, pinned {wanted:12,.0f}, {change:+.1%}"
        yield line, abs(change) <= slack


def told(lines: Iterable[tuple[str, bool]]) -> bool:
    """Print the lines. Whether all is well."""
    well = True
    for line, is_well in lines:
        print(line if is_well else f"{line}: MORE THAN THE SLACK")
        well = well and is_well
    return well

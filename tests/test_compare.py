"""The figures of the page that compares are those of the pages that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "compare.md").read_text(encoding="utf-8")
MEASURED = (DOCS / "performance.md").read_text(encoding="utf-8").partition("\n## Beside others")[2]
RUN = (DOCS / "interop.md").read_text(encoding="utf-8")
ENGINES = ("secsgem 0.3.0", "secsgempro 1.6.0", "secsgem-driver 1.0.0", "secs4js 0.4.7")

Table = dict[str, dict[str, str]]


def tables(text: str) -> Iterator[Table]:
    """Each table: the cells of a row by the names of their columns."""
    for found in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        lines = (line[1:-1].split("|") for line in found.splitlines())
        header, _, *rows = ([cell.strip() for cell in line] for line in lines)
        yield {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


# What a row is called here, and the column of the page that has it.
COLUMNS = {"64 in flight, /s": "64"}
SPEED, BODIES = list(tables(PAGE))[2:4]


@pytest.mark.parametrize(("here", "there"), [(SPEED, 0), (BODIES, 1)])
def test_the_speeds_are_those_that_were_measured(here: Table, there: int) -> None:
    measured = list(tables(MEASURED))[there]
    for row, cells in here.items():
        for engine, figure in cells.items():
            assert figure == measured[engine][COLUMNS.get(row, row)], (row, engine)


def done(case: str, engine: str) -> int:
    """How often a case passed with an engine, in both directions."""
    cells = next(iter(tables(RUN)))[case]
    name = engine.partition(" ")[0]
    return sum(int(cells[f"{name}, {way}"].partition(";")[0]) for way in ("we dial", "they dial"))


def met(engine: str) -> dict[str, int]:
    """The faults of an engine that were met, and how often."""
    found: dict[str, int] = {}
    name = engine.partition(" ")[0]
    for cells in next(iter(tables(RUN))).values():
        for column, cell in cells.items():
            if column.startswith(f"{name},"):
                for fault, times in re.findall(r"([a-z]+(?:-[a-z]+)+)(?:: (\d+))?", cell):
                    found[fault] = found.get(fault, 0) + int(times or 1)
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_the_runs_beside_others_are_those_that_were_made(engine: str) -> None:
    table = list(tables(PAGE))[1]
    for row, case in {
        "cycles with this engine": "cycles",
        "100 requests at once, replies": "100 requests at once",
        "1 MB, replies": "1 MB",
    }.items():
        assert int(table[row][engine]) == done(case, engine)
    told = re.findall(r"`([a-z-]+)` (\d+)", table["faults that were met"][engine])
    assert {fault: int(times) for fault, times in told} == met(engine)


def test_the_versions_are_those_that_were_run() -> None:
    assert set(re.findall(r"^\* (.*) \(\w+\)$", RUN, re.MULTILINE)) == {*ENGINES}

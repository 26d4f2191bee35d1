"""The file that declares an exported chart, so that a reader of the export can find it."""

from __future__ import annotations

import sys
from pathlib import Path

from statecharts.declare import Chart


def source(chart: Chart) -> str:
    """The declaring file, relative to the folder on Python's path: the same on every machine."""
    file = Path(chart.file)
    roots = (Path(each).absolute() for each in sys.path)
    seen = [file.relative_to(root) for root in roots if file.is_relative_to(root)]
    return min(seen, key=lambda path: len(path.parts), default=Path(file.name)).as_posix()

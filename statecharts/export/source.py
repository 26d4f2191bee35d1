"""Which file an exported chart was declared in: a reader of the export goes back to it."""

from __future__ import annotations

import sys
from pathlib import Path

from statecharts.declare import Chart


def source(chart: Chart) -> str:
    """The declaring file, seen from the folder that Python finds it in: the same everywhere."""
    file = Path(chart.file)
    roots = (Path(each).absolute() for each in sys.path)
    seen = [file.relative_to(root) for root in roots if file.is_relative_to(root)]
    return min(seen, key=lambda path: len(path.parts), default=Path(file.name)).as_posix()

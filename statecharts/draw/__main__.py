"""``python -m statecharts.draw DIRECTORY [--check]``: the pictures and exports of the HSMS charts.

Without ``--check`` it writes them; with it, it fails when a file is missing or differs. SVG depends
on the version of ``dot`` and on the fonts at hand, so only the presence of it is checked.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from statecharts.export import to_json
from statecharts.hsms import ACTIVE_LINK, CHARTS

from . import draw, draw_system, part, svg


def lifecycle() -> str:
    """The overview for people who have not seen the charts: how a link lives."""
    title = "The life of a link: connection and circuit breaker"
    return draw_system(
        part(ACTIVE_LINK, ("connection_active", "breaker"), "lifecycle", title),
        folded=frozenset({"disconnected", "not_selected", "selected"}),
        hidden=frozenset({"leaving", "closed"}),
    )


def texts() -> dict[str, str]:
    """Every generated file but the SVG: name to text."""
    found = {"lifecycle.dot": lifecycle()}
    for chart in CHARTS:
        found[f"{chart.id}.dot"] = draw(chart)
        found[f"{chart.id}.xstate.json"] = to_json(chart)
    return found


def stale(directory: Path) -> list[str]:
    """The names of the files that are missing or differ."""
    found = []
    for name, text in texts().items():
        path = directory / name
        if not path.is_file() or path.read_text() != text:
            found.append(name)
        if path.suffix == ".dot" and not path.with_suffix(".svg").is_file():
            found.append(path.with_suffix(".svg").name)
    return found


def write(directory: Path) -> None:
    """Write everything."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        path = directory / name
        path.write_text(text)
        if path.suffix == ".dot":
            path.with_suffix(".svg").write_text(svg(text))


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m statecharts.draw", description=__doc__)
    parser.add_argument("directory", type=Path, help="where the files are")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    given = parser.parse_args(arguments)
    if not given.check:
        write(given.directory)
    elif differing := stale(given.directory):
        sys.exit(f"not as the charts are: {', '.join(differing)}: run make diagrams")


if __name__ == "__main__":
    main()

"""``python -m statecharts.hsms.pictures DIRECTORY [--check]``: the pictures of the HSMS charts.

Without ``--check`` it writes them, with the export to XState and the typical runs. With ``--check``
it fails when a file is missing or differs. SVG depends on the version of ``dot`` and on the
installed fonts, so it is only checked that the file exists.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from statecharts.declare import Chart
from statecharts.draw import draw, draw_system, part, svg
from statecharts.export import to_json

from .active import ACTIVE, OWNED_ACTIVE
from .lease import LEASE
from .passive import PASSIVE
from .runs import page
from .systems import ACTIVE_LINK, CHARTS, OWNED_LINK
from .words import WORDS

# The pages of a connection: the states of each, the states it shows folded, and its title.
_NOT_SELECTED = ("not_selected",), ("selected",), "NOT SELECTED"
_SELECTED = ("selected", "leaving"), ("not_selected",), "SELECTED, and the ways out of it"
PAGES = {
    f"{ACTIVE.id}_not_connected": (
        ACTIVE,
        ("disconnected", "connecting", "closed"),
        ("connected",),
        "NOT CONNECTED",
    ),
    f"{ACTIVE.id}_not_selected": (ACTIVE, *_NOT_SELECTED),
    f"{ACTIVE.id}_selected": (ACTIVE, *_SELECTED),
    f"{PASSIVE.id}_not_selected": (PASSIVE, *_NOT_SELECTED),
    f"{PASSIVE.id}_selected": (PASSIVE, *_SELECTED),
}
# The charts that have pages: their own picture is an overview.
OVERVIEWS = {
    ACTIVE.id: ("disconnected", "not_selected", "selected", "leaving"),
    PASSIVE.id: ("not_selected", "selected", "leaving"),
}


def lifecycle() -> str:
    """The life of a link, for people who have not seen the charts: connection and breaker."""
    title = "The life of a link: connection and circuit breaker"
    system = part(ACTIVE_LINK, (ACTIVE.id, "breaker"), "lifecycle", title)
    return draw_system(system, fold=(*OVERVIEWS[ACTIVE.id], "half_open"), words=WORDS)


def owned_lifecycle() -> str:
    """The life of a link that a lease enables: the lease and the connection.

    Beside them the breaker, which is as in any link, would be wider than a page.
    """
    title = "The life of a link with a lease: lease and connection"
    system = part(OWNED_LINK, (LEASE.id, OWNED_ACTIVE.id), "owned_lifecycle", title)
    fold = ("separation", "connected", "owner", "doubtful", "yielding")
    return draw_system(system, fold=fold, words=WORDS)


def _chart(chart: Chart) -> str:
    return draw(chart, fold=OVERVIEWS.get(chart.id, ()), words=WORDS)


def texts() -> dict[str, str]:
    """Every generated file except SVG: name to text."""
    found = {
        "lifecycle.dot": lifecycle(),
        "owned_lifecycle.dot": owned_lifecycle(),
        "runs.md": page(),
    }
    for chart in CHARTS:
        found[f"{chart.id}.dot"] = _chart(chart)
        found[f"{chart.id}.xstate.json"] = to_json(chart)
    for name, (chart, states, fold, about) in PAGES.items():
        title = f"{chart.title}: {about}"
        found[f"{name}.dot"] = draw(chart, page=states, fold=fold, words=WORDS, title=title)
    return found


def stale(directory: Path) -> list[str]:
    """The names of the files that are missing or differ."""
    found = []
    for name, text in texts().items():
        path = directory / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            found.append(name)
        if path.suffix == ".dot" and not path.with_suffix(".svg").is_file():
            found.append(path.with_suffix(".svg").name)
    return found


def write(directory: Path) -> None:
    """Write everything."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        path = directory / name
        _write(path, text)
        if path.suffix == ".dot":
            _write(path.with_suffix(".svg"), svg(text))


def _write(path: Path, text: str) -> None:
    # The same bytes on every system: the files are kept with the source.
    path.write_text(text, encoding="utf-8", newline="\n")


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m statecharts.hsms.pictures", description=__doc__
    )
    parser.add_argument("directory", type=Path, help="where the files are")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    given = parser.parse_args(arguments)
    if not given.check:
        write(given.directory)
    elif differing := stale(given.directory):
        sys.exit(f"not as the charts are: {', '.join(differing)}: run make diagrams")


if __name__ == "__main__":
    main()

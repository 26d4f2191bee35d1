"""The plots of a run, by matplotlib of the extra ``bench``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.side_by_side.cases import IN_FLIGHT, LINKS, SIZES
from benchmarks.side_by_side.report import Results
from benchmarks.side_by_side.rounds import Spread


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure of some cases against a number. ``cases`` gives the number of each."""

    file: str
    across: str
    upward: str
    figure: str
    factor: float
    cases: Mapping[str, float]


PLOTS = (
    Plot(
        "rate.svg",
        "requests in flight",
        "round trips a second",
        "rate",
        1.0,
        {"sequential": 1, **{f"{number} in flight": number for number in IN_FLIGHT}},
    ),
    Plot(
        "echo.svg",
        "bytes of the body",
        "milliseconds a round trip",
        "median",
        1e3,
        {f"echo of {name}": size for name, size in SIZES.items()},
    ),
    Plot(
        "links-dialling.svg",
        "links",
        "kB a link, the end that dials",
        "dialling",
        1e-3,
        {f"{number:,} links": number for number in LINKS},
    ),
    Plot(
        "links-listening.svg",
        "links",
        "kB a link, the end that listens",
        "listening",
        1e-3,
        {f"{number:,} links": number for number in LINKS},
    ),
)


def points(results: Results, plot: Plot, subject: str) -> list[tuple[float, Spread]]:
    """Where the line of a subject goes: nowhere, if it could not do any of the cases."""
    return [
        (number, found)
        for case, number in plot.cases.items()
        if case in results.outcomes
        and (found := results.spread_of(case, subject, plot.figure)) is not None
    ]


def draw(results: Results, folder: Path) -> Sequence[Path]:
    """Write the plots into ``folder``, but those of which nothing was measured."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    written = []
    for plot in PLOTS:
        lines = {
            each.title: found
            for each in results.subjects
            if (found := points(results, plot, each.name))
        }
        if not lines:
            continue
        figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
        for title, found in lines.items():
            middle = [each.median * plot.factor for _, each in found]
            below = [(each.median - each.least) * plot.factor for _, each in found]
            above = [(each.most - each.median) * plot.factor for _, each in found]
            numbers = [number for number, _ in found]
            axes.errorbar(numbers, middle, (below, above), marker="o", capsize=3, label=title)
        axes.set(xscale="log", yscale="log", xlabel=plot.across, ylabel=plot.upward)
        axes.grid(which="major", alpha=0.3)
        axes.legend()
        figure.savefig(folder / plot.file)
        plt.close(figure)
        written.append(folder / plot.file)
    return written

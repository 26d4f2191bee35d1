"""The results of a run: as JSON, and as tables in markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.side_by_side.cases import Case, Column
from benchmarks.side_by_side.registry import Subject
from benchmarks.side_by_side.rounds import Outcome, Spread, spread

TIMES, DASH = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
_READ = (
    "Each cell is the median of the rounds, in brackets the least and the most, then how many "
    "times that of {} it is."
)


@dataclass(frozen=True, slots=True)
class Results:
    """``outcomes`` by case and subject, by their names; ``items``: what ``bench_secs2`` found."""

    header: Mapping[str, str]
    subjects: Sequence[Subject]
    cases: Sequence[Case]
    outcomes: Mapping[str, Mapping[str, Outcome]]
    items: Sequence[Mapping[str, Any]] = ()

    @property
    def first(self) -> Subject:
        """What the others are compared with: the first subject that has figures."""
        ran = (
            subject
            for subject in self.subjects
            if any(of_case[subject.name].figures for of_case in self.outcomes.values())
        )
        return next(ran, self.subjects[0])

    def spread_of(self, case: str, subject: str, figure: str) -> Spread | None:
        values = self.outcomes[case][subject].figures.get(figure)
        return spread(values) if values else None


def to_json(results: Results) -> dict[str, Any]:
    return {
        "header": dict(results.header),
        "subjects": {each.name: each.title for each in results.subjects},
        "cases": {
            case.name: {
                name: {
                    "rounds": outcome.figures,
                    "spread": {
                        figure: asdict(spread(values)) for figure, values in outcome.figures.items()
                    },
                    "cannot": outcome.cannot,
                    "failed": outcome.failed,
                }
                for name, outcome in results.outcomes[case.name].items()
            }
            for case in results.cases
        },
        "items": list(results.items),
    }


def to_markdown(results: Results) -> str:
    lines = ["# Side by side", ""]
    lines += [f"* {name}: {value}" for name, value in results.header.items()]
    lines += ["", _READ.format(results.first.title)]
    columns: dict[str, list[tuple[Case, Column]]] = {}
    for case in results.cases:
        for column in case.columns:
            columns.setdefault(column.table, []).append((case, column))
    for title, of_table in columns.items():
        lines += ["", *_table(results, title, of_table)]
    if results.items:
        lines += ["", *_items(results.items)]
    return "\n".join(lines) + "\n"


def _table(results: Results, title: str, columns: Sequence[tuple[Case, Column]]) -> Iterator[str]:
    notes: dict[str, int] = {}
    yield f"## {title}"
    yield ""
    yield f"| | {' | '.join(column.heading for _, column in columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for subject in results.subjects:
        cells = [_cell(results, case, column, subject, notes) for case, column in columns]
        yield f"| {subject.title} | {' | '.join(cells)} |"
    if notes:
        yield ""
        yield from (f"{number}. {why}" for why, number in notes.items())


def _cell(
    results: Results, case: Case, column: Column, subject: Subject, notes: dict[str, int]
) -> str:
    outcome = results.outcomes[case.name][subject.name]
    note = ""
    if why := outcome.cannot or (outcome.failed and f"{subject.title}: {outcome.failed[-1]}"):
        note = f" [{notes.setdefault(why, len(notes) + 1)}]"
    found = results.spread_of(case.name, subject.name, column.figure)
    if found is None:
        return f"{DASH}{note}"
    text = f"{shown(found.median * column.factor)} ({shown(found.least * column.factor)}{DASH}"
    text += f"{shown(found.most * column.factor)})"
    first = results.spread_of(case.name, results.first.name, column.figure)
    if subject is not results.first and first is not None and first.median > 0:
        text += f" {shown(found.median / first.median)} {TIMES}"
    return text + note


def shown(value: float) -> str:
    """Three digits, more only where the number is that large."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _items(items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Items, in µs"
    yield ""
    yield "| | this engine | secsgem 0.3 | times |"
    yield "|---|---|---|---|"
    for each in items:
        theirs = each["secsgem"]
        cells = (
            (DASH, DASH)
            if theirs is None
            else (shown(theirs), f"{shown(theirs / each['ours'])} {TIMES}")
        )
        yield f"| {each['case']} | {shown(each['ours'])} | {' | '.join(cells)} |"

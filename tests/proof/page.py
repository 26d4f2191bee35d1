"""Makes ``docs/protocol.md`` from the rules, each beside the picture of its chart.

``python -m tests.proof.page`` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import assert_never

from hsms_engine.protocol.phases import PHASES
from statecharts.declare import Timer
from statecharts.hsms import CHARTS
from statecharts.hsms.rules import SECTIONS, Clause, Elsewhere, Row, Runs, Section, Word

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "protocol.md"

# For each section, the names of its pictures in ``diagrams/``.
PICTURES: dict[str, tuple[str, ...]] = {
    "TCP": ("lifecycle", "connection_passive", "connection_active_not_connected"),
    "Select": ("connection_active_not_selected", "connection_passive_not_selected"),
    "Deselect and Separate": ("connection_active_selected", "connection_passive_selected"),
    "Linktest": ("linktest",),
    "Second host": ("second_host",),
    "Receiving": ("receiver",),
    "Sending": ("transmitter",),
    "Breaker": ("breaker",),
    "Lease": ("lease",),
    "Lease and link": ("owned_lifecycle",),
    "Requests": ("transaction",),
}

_TOP = """\
# The rules, clause by clause

`make diagrams` writes this page from `statecharts/hsms/rules.txt`: change the rules there. To see
how a rule is fulfilled, search for the id of its clause: in `statecharts/hsms/` for the
transitions, in `tests/` for the tests that show it byte for byte. The text before the first table
says how to read a row.
"""
_TIMERS: dict[str, Timer] = {timer.id: timer for chart in CHARTS for timer in chart.timers}
_COLUMNS = ("clause", "rule", "event", "in", "answer", "then", "starts")


def page() -> str:
    """The text of the page."""
    lines = [_TOP]
    for section in SECTIONS:
        lines += _section(section)
        if section.title == "Words":
            lines += _states()
    return "\n".join(lines)


def _states() -> Iterator[str]:
    """Every state of the charts, each once; the two connections have many in common."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for chart in CHARTS:
        for state in chart.walk():
            inside = "".join(each.id for each in chart.path(state.id)[-2:-1])
            found.setdefault((state.id, state.name, inside), []).append(chart.id)
    yield "## States\n"
    yield "`conn.phase` is what a program sees of the connection.\n"
    header = ("state", "in the pictures", "inside", "`conn.phase`", "charts")
    yield from (_line(header), _line("---" for _ in header))
    for (id, name, inside), charts in found.items():
        phase = PHASES.get(id)
        yield _line((f"`{id}`", name, inside, f'"{phase}"' if phase else "", ", ".join(charts)))
    yield ""


def _section(section: Section) -> Iterator[str]:
    if section.title:
        yield f"## {section.title}\n"
    if section.prose:
        yield f"{section.prose}\n"
    for name in PICTURES.get(section.title, ()):
        yield f"![{name.replace('_', ' ')}](../diagrams/{name}.svg)\n"
    for number, (header, *cells) in enumerate(_cells(row) for row in section.rows):
        if number == 0:
            yield from (_line(header), _line("---" for _ in header))
        yield from (_line(each) for each in cells)
    if section.rows:
        yield ""


def _cells(row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The header of the table that a row belongs to, and its cells."""
    match row:
        case Clause(id, ends, rule=rule, said=said):
            _, events, places, answer, then, starts = said
            at = (
                places if ends in ("both", "breaker", "request", "lease") else f"*{ends}:* {places}"
            )
            started = ", ".join(_TIMERS[each].label for each in starts.split())
            return _COLUMNS, (f"`{id}`", rule, _code(events), at, answer, then, started)
        case Elsewhere(id, where, rule):
            return ("clause", "rule", "kept by"), (f"`{id}`", rule, f"`{where}`")
        case Runs(timer, states, rule):
            each = _TIMERS[timer]
            span = f"{each.seconds:g} s, {each.lowest:g} to {each.highest:g}"
            where = ", ".join(states)
            return ("timer", "id", "runs in", "meaning", "default and range"), (
                each.label, f"`{timer}`", where, rule, span,
            )  # fmt: skip
        case Word(word, means):
            return ("word", "stands for"), (word, _code(means))
        case _:
            assert_never(row)


def _code(words: str) -> str:
    """Words of the charts as code; words of the table of words stay as they are."""
    return ", ".join(word if word.isupper() else f"`{word}`" for word in words.split())


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")

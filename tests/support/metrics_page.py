"""Makes the tables of all metrics in ``docs/metrics.md`` from the code.

``python -m tests.support.metrics_page`` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import assert_never

from hsms_engine.metrics.catalogue import (
    BOTH,
    LINKS,
    SERVERS,
    Distribution,
    Number,
    OfBoth,
    OfLinks,
    OfServers,
)
from hsms_engine.metrics.tap import DRAINS, OUTCOMES, REASONS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"
ALERTS = ROOT / "deploy" / "metrics" / "alerts.yml"

_BEGIN = "<!-- Written by python -m tests.support.metrics_page, from here to the end. -->\n"


def page() -> str:
    """The page: what it says before its tables, and the tables of now."""
    text, begin, _ = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    return "".join(
        (
            text,
            begin,
            _table("Of links and connections", LINKS),
            _table("Of links and servers", BOTH),
            _table("Of servers", SERVERS),
            _meanings("outcome", OUTCOMES),
            _meanings("reason", REASONS),
            _meanings("why", DRAINS),
            _alerts(ALERTS.read_text(encoding="utf-8")),
        )
    )


def _table(title: str, metrics: Iterable[OfLinks | OfBoth | OfServers]) -> str:
    rows = "".join(map(_row, metrics))
    return f"\n### {title}\n\n| metric | kind | labels | what |\n|---|---|---|---|\n{rows}"


def _row(metric: OfLinks | OfBoth | OfServers) -> str:
    match metric:
        case Distribution():
            kind, labels = "histogram", ""
        case Number():
            kind, labels = metric.kind, ", ".join(f"`{each}`" for each in metric.labels)
        case _:
            assert_never(metric)
    return f"| `{metric.name}` | {kind} | {labels} | {metric.text} |\n"


def _meanings(label: str, texts: Mapping[str, str]) -> str:
    rows = "".join(f"| `{value}` | {text} |\n" for value, text in texts.items())
    return f"\n### The values of `{label}`\n\n| `{label}` | what |\n|---|---|\n{rows}"


def _alerts(rules: str) -> str:
    """A row for each rule. The file is ours, with each field on a line of its own."""
    found = re.split(r"^ +- alert: ", rules, flags=re.MULTILINE)[1:]
    rows = (
        f"| `{rule.partition(chr(10))[0]}` | {_field(rule, 'severity')} | {_field(rule, 'for')} "
        f"| {_field(rule, 'description')} |\n"
        for rule in found
    )
    head = "| alert | severity | after | what |\n|---|---|---|---|\n"
    return f"\n### The alerts\n\n{head}{''.join(rows)}"


def _field(rule: str, name: str) -> str:
    """What the rule says there in quotes or without; empty when it has no such field."""
    found = re.search(rf'^ +{name}: "?(.*?)"?$', rule, re.MULTILINE)
    return re.sub(r"\{\{.*?\}\}", "…", found[1]) if found else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

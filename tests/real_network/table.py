"""What the rows have shown, as lines for people and as a table in Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import assert_never

from tests.real_network.judge import (
    SLACK,
    Back,
    BreakerOpens,
    Fails,
    Finding,
    InOrder,
    Noticed,
    ResetSent,
    Unharmed,
    Unnoticed,
)
from tests.real_network.run import Result


def shown(finding: Finding) -> str:
    """``host: lost 2.51 of 8.5 s``; what went wrong, in capitals."""
    name = str(finding.expected)
    if finding.took is None:
        return f"{name}: NOT SO ({finding.what})"
    if finding.bound is None:
        return name
    late = "" if finding.is_met else " TOO LATE"
    return f"{name} {finding.took:.2f} of {finding.bound:.2f} s{late}"


def line(result: Result) -> str:
    """One row for people."""
    verdict = "ok" if result.is_good else "WRONG"
    counts = f"{result.answered} answered, {result.failed} failed"
    found = result.problem or "; ".join(map(shown, result.findings))
    return f"{result.row.name:40} {verdict:6} {found}; {counts} ({result.took:.0f} s)"


def story(result: Result) -> Iterable[str]:
    """What both ends have told, for a row that is wrong."""
    if not result.lines:
        return
    first = result.lines[0].at
    quiet = 0
    for each in result.lines:
        if each.what == "answered":
            quiet += 1
            continue
        if quiet:
            yield f"    {'':8}  {quiet} answered"
            quiet = 0
        yield f"    {each.at - first:8.3f}  {each.end:9}  {each.what}  {each.why}".rstrip()
    if quiet:
        yield f"    {'':8}  {quiet} answered"


def markdown(results: Sequence[Result], seed: int) -> str:
    """The table, with where and when it was made."""
    good = sum(each.is_good for each in results)
    head = (
        f"{good} of {len(results)} rows as expected, on {datetime.now(UTC):%Y-%m-%d}, "
        f"seed {seed}, {platform.system()} {platform.release()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}. Seconds: taken / bound; {SLACK:g} s more is allowed."
    )
    rows = ["| fault | what is done | lost | back | also | answered, failed |", "|" + "---|" * 6]
    rows += [_row(each) for each in results]
    return "\n".join([head, "", *rows, ""])


def _row(result: Result) -> str:
    lost, back, also = [], [], [result.problem] if result.problem else []
    for each in result.findings:
        match each.expected:
            case Noticed(end=end):
                lost.append(f"{end} {_figure(each)}")
            case Back():
                back.append(_figure(each))
            case Fails() | Unharmed() | ResetSent() | InOrder() | Unnoticed() | BreakerOpens():
                also.append(shown(each))
            case never:
                assert_never(never)
    cells = [
        f"`{result.row.name}`",
        result.row.done,
        *("<br>".join(each) or "-" for each in (lost, back, also)),
        f"{result.answered}, {result.failed}",
    ]
    return f"| {' | '.join(cells)} |"


def _figure(finding: Finding) -> str:
    if finding.took is None or finding.bound is None:
        return f"NOT SO: {finding.what}"
    late = "" if finding.is_met else " TOO LATE"
    return f"{finding.took:.2f} / {finding.bound:.2f}{late}"

"""No name of an event or a state is misspelt outside the charts.

A misspelt name in a ``case`` or a set would be a comparison that is never true: no error, and no
line that coverage misses. So every literal that could be a name is accounted for in each file that
speaks of charts: it is an event or a state of a chart, a name of another vocabulary that is
declared, or one of ``WORDS``. Where its position tells what it names, it has to be one of those. A
new literal that is none of these fails here, wherever it stands.

Types would see less: what is asked of a snapshot, a key of a dictionary, and an event made from the
id of a timer are plain strings to them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from hsms_engine import Phase, Settings
from hsms_engine.protocol.statistics import COUNTERS
from hsms_engine.settings import SecondHost
from statecharts import Machine, Router
from statecharts.hsms import ACTIVE_LINK, BREAKER, CHARTS, OWNED_ACTIVE
from statecharts.router import told_by

ROOT = Path(__file__).parent.parent

EVENTS = frozenset(event for chart in CHARTS for event in chart.events)
STATES = frozenset(state.id for chart in CHARTS for state in chart.walk())
TIMERS = frozenset(timer.id for chart in CHARTS for timer in chart.timers)
PHASES = frozenset(get_args(Phase))
# What is declared elsewhere, where types or other tests check it.
DECLARED = (
    TIMERS
    | PHASES
    | frozenset(get_args(SecondHost))
    | frozenset(COUNTERS)
    | {field.name for field in fields(Settings)}
    | {parameter.name for chart in CHARTS for parameter in chart.parameters}
    | {variable.name for chart in CHARTS for variable in chart.variables}
)
# One-word literals that name nothing of a chart.
WORDS = {
    "hsms_engine/__init__.py": {
        "bounds", "breaker", "health", "link", "log_reader", "open_link", "read_log", "secs2",
        "serve_health", "serve_hsms", "server", "server_statistics", "sml",
    },
    "hsms_engine/breaker.py": {"granted", "refused"},
    "hsms_engine/driver/alarms.py": {"hsms_engine_alarms"},
    "hsms_engine/driver/dialling.py": {"win32"},
    "hsms_engine/driver/driver.py": {"active", "breaker", "lease", "passive", "phase"},
    "hsms_engine/driver/fence.py": {
        "send_eof", "send_nowait", "send_pieces_nowait", "unacknowledged",
    },
    "hsms_engine/driver/reading.py": {"hsms_engine_steps"},
    "hsms_engine/driver/tcp.py": {"darwin", "ii", "linux", "localhost", "win32"},
    "hsms_engine/driver/tls.py": {
        "close", "send_eof", "send_nowait", "subject", "unacknowledged",
    },
    "hsms_engine/driver/tls_files.py": {"cafile", "capath", "reason", "strerror"},
    "hsms_engine/driver/transport.py": {
        "send_some", "send_eof", "send_nowait", "send_pieces_nowait", "unacknowledged",
    },
    "hsms_engine/driver/turns.py": {"hsms_engine_turns"},
    "hsms_engine/lease/keeper.py": {
        "acquire", "connected", "name", "owner", "release", "renew", "watch",
    },
    "hsms_engine/metrics/tap.py": {
        "abandoned", "connect_failed", "deadline", "defect", "select_failed", "unknown",
    },
    "hsms_engine/protocol/causes.py": {"select"},
    "hsms_engine/protocol/leasing.py": {"deadline"},
    "hsms_engine/protocol/refusals.py": {"disable", "enable"},
    "hsms_engine/protocol/saving.py": {
        "attempt_age", "breaker", "is_enabled", "layout", "link", "open_age", "restored",
        "saved_at",
    },
    "hsms_engine/protocol/traffic.py": {"received", "sent"},
    "hsms_engine/recorder/tap.py": {"active", "masked", "passive"},
    "hsms_engine/recording/telling.py": {"at", "error", "epoch", "text"},
    "hsms_engine/traffic/logs.py": {
        "body", "breaker_failures", "chart", "chart_event", "deadline", "direction", "disabled",
        "epoch",
        "from_state", "hex", "length", "link", "message_name", "passed_over", "seconds",
        "system_bytes", "to_state", "tolerated", "wait",
    },
    "hsms_engine/server.py": {"passive"},
    "hsms_engine/settings.py": {"passive", "system", "text", "texts"},
    "statecharts/hsms/world.py": {"none", "opening"},
}  # fmt: skip

NAME = re.compile(r"[a-z0-9_]*[a-z][a-z0-9_]+")
# Calls that are given an event.
GIVES = frozenset(
    "tell mention step takes settle Tell _settle _call _check _advance _result".split()
)
# What a literal is compared with, by how that ends, and what the literal then names.
COMPARED = (
    (re.compile(r"(event|session_ended_by|owner)$"), EVENTS),
    (re.compile(r"(snapshot|before|after|breaker)$"), STATES),
    (re.compile(r"timer$"), TIMERS),
    (re.compile(r"(phase|PHASES\[\w+\])$"), PHASES),
)
# Programs and doors know events as classes and phases by type; their texts are their own, as are
# the names of metrics, of bounds, the keys of recordings and of what a page is told, and a store's.
PROGRAMS = re.compile(
    r"hsms_engine/(cli/|fake/|fleet/|log_reader/|proxy/|replay/|scenario/|virtual/|worst/|doors/|blocking/|"
    r"aio/|demo\.py|metrics/(catalogue|collector)\.py|recorder/(black_box|observed|recorder)\.py|"
    r"recording/lines\.py|monitor/(answers|model|serve|shown)\.py|lease/(memory|redis)\.py)"
)
CHARTED = re.compile(r"statecharts(?!\.nursery$)|\.|hsms_engine\.(protocol|driver\.driver)")
ALL_CHARTED = re.compile(r"hsms_engine/(protocol|driver)/")
ENDINGS = frozenset(event.rpartition("_")[2] for event in EVENTS)

FILES = [*sorted((ROOT / "hsms_engine").rglob("*.py")), ROOT / "statecharts/hsms/world.py"]
SOURCES = {
    file.relative_to(ROOT).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in FILES
}


def speaks_of_charts(path: str) -> bool:
    """Whether a file, no program, is one of those that run the charts or imports any of them."""
    if ALL_CHARTED.match(path):
        return True
    imports = [
        "." * node.level + (node.module or "")
        for node in ast.walk(SOURCES[path])
        if isinstance(node, ast.ImportFrom)
    ]
    return not PROGRAMS.match(path) and any(map(CHARTED.match, imports))


SPEAKERS = [path for path in SOURCES if speaks_of_charts(path)]

# A literal, and the nodes it stands in, the innermost first.
Found = tuple[ast.Constant, list[ast.AST]]


def literals(node: ast.AST, around: tuple[ast.AST, ...] = ()) -> Iterator[Found]:
    """Every string that could be a name; no docstrings, and no ``__slots__`` and ``__all__``."""
    match node:
        case ast.Constant(value=str(text)) if NAME.fullmatch(text):
            yield node, list(around)
        case (
            ast.Expr(value=ast.Constant())
            | ast.Assign(targets=[ast.Name(id="__slots__" | "__all__")])
        ):
            pass
        case _:
            for child in ast.iter_child_nodes(node):
                yield from literals(child, (node, *around))


def compared_with(text: str) -> frozenset[str] | None:
    return next((names for ending, names in COMPARED if ending.search(text)), None)


def called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def meant(path: str, found: Found) -> frozenset[str] | None:
    """What the position of a literal says that it names; None when it says nothing."""
    for outer in found[1]:
        match outer:
            case ast.IfExp() | ast.Tuple() | ast.Set() | ast.MatchValue() | ast.MatchOr():
                pass
            case ast.Compare(left=ast.Constant(), comparators=[other]) | ast.Compare(left=other):
                return compared_with(ast.unparse(other))
            case ast.Call() if called(outer) in GIVES:
                return EVENTS
            case ast.Return() if path.endswith("/classify.py"):
                return EVENTS
            case ast.match_case():
                pass
            case ast.Match(subject=subject):
                return compared_with(ast.unparse(subject))
            case _:
                break
    return None


def problem(path: str, found: Found) -> str | None:
    """Why a literal cannot be what it should be."""
    name = found[0].value
    assert isinstance(name, str)
    if name.startswith("_"):
        fits = any(each.endswith(name) for each in EVENTS)
    elif name.endswith("_"):
        fits = any(each.startswith(name) for each in STATES)
    elif (names := meant(path, found)) is not None:
        fits = name in names
    else:
        fits = name in EVENTS | STATES | DECLARED | WORDS.get(path, set())
    return None if fits else f"{path}:{found[0].lineno}: {name!r} is no name that fits here"


@pytest.mark.parametrize("path", SPEAKERS)
def test_every_name_outside_the_charts_is_one_that_is_declared(path: str) -> None:
    assert [why for found in literals(SOURCES[path]) if (why := problem(path, found))] == []


def test_no_other_file_has_what_looks_like_an_event_and_is_none() -> None:
    for path in SOURCES.keys() - set(SPEAKERS):
        for literal, _ in literals(SOURCES[path]):
            head, _, ending = str(literal.value).rpartition("_")
            if head and ending in ENDINGS:
                assert literal.value in EVENTS, f"{path}:{literal.lineno}: {literal.value!r}"


def test_no_word_is_left_that_nothing_says() -> None:
    said = {path: {str(found[0].value) for found in literals(SOURCES[path])} for path in WORDS}
    assert {path: words - said[path] for path, words in WORDS.items() if words - said[path]} == {}


@pytest.mark.parametrize("path", SPEAKERS)
def test_each_name_is_missed_when_it_is_misspelt(path: str) -> None:
    for literal, around in literals(SOURCES[path]):
        name = str(literal.value)
        if name in EVENTS | STATES:
            for misspelt in (name[:-1], f"{name}s", f"{name[1]}{name[0]}{name[2:]}"):
                wrong = ast.Constant(misspelt, lineno=literal.lineno)
                assert problem(path, (wrong, around)), f"{path}:{literal.lineno}: {misspelt}"


def test_a_name_of_another_kind_is_refused_where_the_position_tells() -> None:
    told = [
        (path, literal, around, names)
        for path in SPEAKERS
        for literal, around in literals(SOURCES[path])
        if (names := meant(path, (literal, around))) is not None
    ]
    assert {id(names) for *_, names in told} == {id(names) for _, names in COMPARED}
    for path, literal, around, names in told:
        other = ast.Constant("probing" if names is EVENTS else "flushed", lineno=literal.lineno)
        assert problem(path, (other, around)), f"{path}:{literal.lineno}: {literal.value!r}"


# What a chart waits for comes


def given(path: str) -> Iterator[str]:
    """The literals that a file hands on: as arguments, or as what a function gives back."""
    for literal, around in literals(SOURCES[path]):
        outer = next(each for each in around if not isinstance(each, ast.IfExp | ast.keyword))
        if isinstance(outer, ast.Call | ast.Return):
            yield str(literal.value)


def test_every_event_that_a_chart_declares_is_told_by_a_chart_or_made_in_the_engine() -> None:
    made = {name for path in SPEAKERS for name in given(path)}
    told = {event for chart in (*CHARTS, OWNED_ACTIVE) for event in told_by(chart)}
    for chart in CHARTS:
        for event in (*chart.received, *chart.local, *chart.reported):
            assert event in made | told, f"{chart.id} waits for {event}, which nobody tells"


def test_what_is_asked_of_a_snapshot_is_a_state() -> None:
    for snapshot in (Router(ACTIVE_LINK).initial, Machine(BREAKER).initial):
        assert "breaker_open" not in snapshot
        with pytest.raises(KeyError, match=r"has (no|a) state 'braeker_open'"):
            assert "braeker_open" not in snapshot

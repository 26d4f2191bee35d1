"""The kinds of TOML files that programs read: who gives a program one of another kind is told."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from hsms_engine.toml_file import Table

Kind: TypeAlias = Literal["links", "scenario", "tool"]

TABLES: Final[dict[Kind, tuple[str, ...]]] = {
    "links": ("defaults", "profile", "link"),
    "scenario": ("scenario", "values", "step"),
    "tool": (
        "tools", "tool", "variable", "constant", "report", "event", "alarm", "program", "command",
        "rule",
    ),
}  # fmt: skip
"""The tables that only files of one kind have."""
_REMEDIES: Final[dict[Kind, str]] = {
    "links": "a file of links: give it with --config FILE",
    "scenario": "a scenario: write hsms-engine run FILE HOST PORT",
    "tool": "the file of a tool: write hsms-engine fake FILE",
}


def expect_kind(root: Table, kind: Kind) -> None:
    """Raises ``TomlError`` when a file has no table of this kind, and one of another kind."""
    keys = [*root]
    if any(key in TABLES[kind] for key in keys):
        return
    for key in keys:
        for other, tables in TABLES.items():
            if key in tables:
                raise root.error(key, f"this is {_REMEDIES[other]}", at_name=True)

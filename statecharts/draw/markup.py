"""The looks that all pictures share, and the few forms of DOT's markup they are made of."""

from __future__ import annotations

FONT = "Helvetica,Arial,sans-serif"
INK, PALE = "#1f2933", "#7b8794"
# What is active now.
CURRENT, ACCENT = "#ffe8cc", "#d9480f"
LINE = '<BR ALIGN="LEFT"/>'


def quoted(text: str) -> str:
    """A DOT string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def small(text: str) -> str:
    """Markup in the size of everything that is not a state's name."""
    return f'<FONT POINT-SIZE="9" COLOR="{INK}">{text}</FONT>'


def row(markup: str) -> str:
    """A line of a table, aligned to the left."""
    return f'<TR><TD ALIGN="LEFT" BALIGN="LEFT">{small(markup)}</TD></TR>'


def table(rows: list[str], padding: int) -> str:
    """An HTML-like label of rows, with no border of its own."""
    return (
        f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="{padding}">'
        + "".join(rows)
        + "</TABLE>>"
    )

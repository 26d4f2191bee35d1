"""Fonts and colours that all pictures share, and the few forms of DOT's markup that they use.

Every colour is set and the background is white, so a picture can be read on a dark page too. The
two fonts are equally wide: text measured in one fits its box in the other.
"""

from __future__ import annotations

FONT = "DejaVu Sans,Verdana,sans-serif"
INK, PALE, PAGE = "#1f2933", "#52606d", "#ffffff"
# What is active now, and what one chart tells another.
CURRENT, ACCENT = "#ffe8cc", "#a33600"
# From the outermost box inwards.
FILLS = ("#f5f7fa", "#e9eef4", "#dde5ee")
FOLDED = "#e9eef4"
LINE = '<BR ALIGN="LEFT"/>'


def quoted(text: str) -> str:
    """A DOT string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def row(markup: str) -> str:
    """A line of a table in small type, aligned to the left. Only names have larger type."""
    text = f'<FONT POINT-SIZE="9">{markup}</FONT>'
    return f'<TR><TD ALIGN="LEFT" BALIGN="LEFT">{text}</TD></TR>'


def heading(markup: str, size: int, side: str) -> str:
    """A line of a table with a name."""
    return f'<TR><TD ALIGN="{side}"><FONT POINT-SIZE="{size}"><B>{markup}</B></FONT></TD></TR>'


def table(rows: list[str], padding: int) -> str:
    """An HTML-like label of rows, with no border of its own."""
    return (
        f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="{padding}">'
        + "".join(rows)
        + "</TABLE>>"
    )

"""Draws the sequence diagrams of ``statecharts.draw`` as SVG, for pages that run no script.

It reads the text that ``statecharts.draw.sequence`` writes, and nothing else of Mermaid. Lines and
words have the colour of the page.
"""

from __future__ import annotations

import re
from html import escape
from textwrap import wrap

_PARTICIPANT = re.compile(r"participant (\w+) as (.*)")
_MESSAGE = re.compile(r"(\w+)->>(\w+): (.*)")
_NOTE = re.compile(r"Note over (\w+)(?:,(\w+))?: (.*)")
# Pixels: between two lines of life, beside the outer ones, of a row of text, of a character.
_APART, _BESIDE, _ROW, _CHARACTER = 350, 170, 17, 8
# Characters of a row of a note.
_WIDEST = 40


def drawn(diagram: str) -> str:
    """The diagram as SVG. Raises ``ValueError`` for a line that it does not know."""
    first, *lines = (line.strip() for line in diagram.splitlines())
    if first != "sequenceDiagram":
        raise ValueError(f"{first!r} begins no sequence diagram")
    places: dict[str, int] = {}
    names: list[str] = []
    parts: list[str] = []
    y = 3 * _ROW
    for line in lines:
        if found := _PARTICIPANT.fullmatch(line):
            places[found[1]] = _BESIDE + _APART * len(places)
            names.append(_text(places[found[1]], _ROW, _said(found[2]), "middle", "bold"))
        elif found := _MESSAGE.fullmatch(line):
            source, target = places[found[1]], places[found[2]]
            parts += _message(source, target, y, _said(found[3]))
            y += 2 * _ROW
        elif found := _NOTE.fullmatch(line):
            lines_of_note = (wrap(_said(each), _WIDEST) or [""] for each in found[3].split("<br/>"))
            rows = [row for each in lines_of_note for row in each]
            left, right = places[found[1]], places[found[2] or found[1]]
            parts += _note((left + right) // 2, right - left, y - _ROW, rows)
            y += _ROW * len(rows) + 2 * _ROW
        else:
            raise ValueError(f"{line!r} is no line of a sequence diagram that is known here")
    width = 2 * _BESIDE + _APART * (len(places) - 1)
    lives = [
        f'<line x1="{x}" y1="{_ROW + 6}" x2="{x}" y2="{y}" stroke="currentColor" '
        'stroke-opacity="0.4"/>'
        for x in places.values()
    ]
    return (
        f'<svg viewBox="0 0 {width} {y}" width="{width}" class="sequence" '
        'style="max-width: 100%; height: auto" font-size="13" fill="currentColor">'
        + "".join([*lives, *names, *parts])
        + "</svg>"
    )


def _said(text: str) -> str:
    """The words of a label, whose special characters are written as numbers."""
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), text)


def _text(x: int, y: int, words: str, anchor: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )


def _message(source: int, target: int, y: int, label: str) -> list[str]:
    """An arrow with its label above; what an end does by itself stands at its line of life."""
    if source == target:
        dot = f'<circle cx="{source}" cy="{y - 4}" r="3.5"/>'
        return [dot, _text(source + 10, y, label, "start")]
    back = -8 if target > source else 8
    return [
        f'<line x1="{source}" y1="{y}" x2="{target}" y2="{y}" stroke="currentColor"/>',
        f'<path d="M{target},{y} l{back},-4 v8 z"/>',
        _text((source + target) // 2, y - 5, label, "middle"),
    ]


def _note(middle: int, across: int, top: int, rows: list[str]) -> list[str]:
    width = max(across, _CHARACTER * max(map(len, rows))) + 16
    height = _ROW * len(rows) + 8
    frame = (
        f'<rect x="{middle - width // 2}" y="{top}" width="{width}" height="{height}" rx="4" '
        'class="note" stroke="currentColor" stroke-opacity="0.4"/>'
    )
    lines = enumerate(rows, start=1)
    return [frame, *(_text(middle, top + _ROW * n, row, "middle") for n, row in lines)]

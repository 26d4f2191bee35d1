"""A sequence diagram as SVG: actors side by side, time downwards. Counterexamples are drawn so.

Every step has a band of the page to itself (its label above the arrow, its note below), so no text
can lie on another one, whatever the steps are. The text of the SVG depends on the arguments only.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import pairwise
from textwrap import wrap
from typing import NamedTuple

from .markup import ACCENT, CURRENT, FONT, INK, PALE

_SIZE, _LINE = 12, 15
# Wider than Helvetica's average, so that an estimate errs towards white space.
_CHARACTER = 6.8
_GAP, _MARGIN, _TOP = 110.0, 24.0, 64.0
_LABEL_WIDTH, _NOTE_WIDTH = 44, 40

_HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
    f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{INK}"/></marker></defs>'
)


class Message(NamedTuple):
    """One step. ``source`` equal to ``target`` is something an actor does by itself; both empty,
    a line over the whole page. ``note`` says what it has changed, at the target."""

    source: str
    target: str
    label: str
    note: str = ""


def _wide(lines: list[str]) -> float:
    return max((len(line) for line in lines), default=0) * _CHARACTER


def _broken(text: str, width: int) -> list[str]:
    return [part for line in text.splitlines() for part in (wrap(line, width) or [""])]


def _columns(actors: list[str], steps: list[Message]) -> list[float]:
    """The middle of each actor, far enough apart for every label between two of them."""
    place = {actor: index for index, actor in enumerate(actors)}
    gaps = [max(_GAP, (_wide([one]) + _wide([other])) / 2 + 40) for one, other in pairwise(actors)]
    spans = []
    for step in steps:
        if step.source:
            first, last = sorted((place[step.source], place[step.target]))
            alone = first == last
            needed = _wide(_broken(step.label, _LABEL_WIDTH)) + (54 if alone else 24)
            # Something done alone is told to the right of its actor's line.
            spans.append((last - first, first, first + 1 if alone else last, needed))
    for _, first, last, needed in sorted(spans):
        if last < len(actors) and (missing := needed - sum(gaps[first:last])) > 0:
            for index in range(first, last):
                gaps[index] += missing / (last - first)
    columns = [0.0]
    for gap in gaps:
        columns.append(columns[-1] + gap)
    return columns


class _Page:
    """The SVG in the making, and how far down and to both sides it reaches."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.y = _TOP
        self.left = self.right = 0.0

    def reach(self, left: float, right: float) -> None:
        self.left, self.right = min(self.left, left), max(self.right, right)

    def text(self, x: float, lines: list[str], anchor: str, looks: str = "") -> None:
        """Lines of text downwards from the current place."""
        width = _wide(lines)
        start = {"start": x, "middle": x - width / 2, "end": x - width}[anchor]
        self.reach(start, start + width)
        self.parts.append(
            f'<rect x="{start:.1f}" y="{self.y:.1f}" width="{width:.1f}" '
            f'height="{_LINE * len(lines)}" fill="#ffffff" fill-opacity="0.85"/>'
        )
        for line in lines:
            self.y += _LINE
            self.parts.append(
                f'<text x="{x:.1f}" y="{self.y - 4:.1f}" text-anchor="{anchor}"{looks}>'
                f"{escape(line)}</text>"
            )

    def note(self, x: float, lines: list[str]) -> None:
        width, height = _wide(lines) + 16, _LINE * len(lines) + 8
        self.reach(x - width / 2, x + width / 2)
        self.parts.append(
            f'<rect x="{x - width / 2:.1f}" y="{self.y:.1f}" width="{width:.1f}" '
            f'height="{height}" rx="4" fill="{CURRENT}" stroke="{PALE}"/>'
        )
        for index, line in enumerate(lines, start=1):
            self.parts.append(
                f'<text x="{x:.1f}" y="{self.y + index * _LINE:.1f}" text-anchor="middle">'
                f"{escape(line)}</text>"
            )
        self.y += height + 4


def _draw(page: _Page, step: Message, columns: dict[str, float]) -> None:
    label = _broken(step.label, _LABEL_WIDTH)
    if not step.source:
        middle = (min(columns.values()) + max(columns.values())) / 2
        page.text(middle, label, "middle", f' fill="{ACCENT}" font-weight="bold"')
        page.parts.append(
            f'<line x1="{min(columns.values()) - 40:.1f}" y1="{page.y + 3:.1f}" '
            f'x2="{max(columns.values()) + 40:.1f}" y2="{page.y + 3:.1f}" stroke="{ACCENT}" '
            'stroke-dasharray="6 4"/>'
        )
        page.y += 14
        return
    start, end = columns[step.source], columns[step.target]
    if step.source == step.target:
        top = page.y + 6
        page.text(start + 34, label, "start")
        bottom = max(page.y - 4, top + 12)
        page.y = max(page.y, bottom + 4)
        page.parts.append(
            f'<path d="M{start:.1f},{top:.1f} h26 V{bottom:.1f} h-24" fill="none" '
            f'stroke="{INK}" marker-end="url(#head)"/>'
        )
    else:
        page.text((start + end) / 2, label, "middle")
        page.y += 5
        page.parts.append(
            f'<line x1="{start:.1f}" y1="{page.y:.1f}" x2="{end:.1f}" y2="{page.y:.1f}" '
            f'stroke="{INK}" marker-end="url(#head)"/>'
        )
    page.y += 8
    if step.note:
        page.note(end, _broken(step.note, _NOTE_WIDTH))


def sequence(
    steps: Iterable[tuple[str, str, str, str]], title: str = "", actors: Iterable[str] = ()
) -> str:
    """SVG text of a sequence diagram of (from, to, label, note) steps, from left to right in the
    order of ``actors``, then in the order in which they appear."""
    messages = [Message(*step) for step in steps]
    named = [name for step in messages for name in step[:2] if name]
    order = list(dict.fromkeys([*actors, *named]))
    if not order:
        raise ValueError("a sequence diagram needs an actor: there are no steps")
    columns = dict(zip(order, _columns(order, messages), strict=True))
    page = _Page()
    for actor, x in columns.items():
        page.reach(x - _wide([actor]) / 2 - 12, x + _wide([actor]) / 2 + 12)
    for step in messages:
        _draw(page, step, columns)
    page.reach(0, _wide([title]) * 1.2 + page.left)
    bottom = page.y + 14
    lines = [
        f'<line x1="{x:.1f}" y1="{_TOP - 10:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="{PALE}" '
        'stroke-dasharray="2 3"/>'
        for x in columns.values()
    ]
    heads = []
    for actor, x in columns.items():
        width = _wide([actor]) + 24
        heads.append(
            f'<rect x="{x - width / 2:.1f}" y="{_TOP - 34:.1f}" width="{width:.1f}" height="24" '
            f'rx="5" fill="#e9eef4" stroke="{INK}"/><text x="{x:.1f}" y="{_TOP - 18:.1f}" '
            f'text-anchor="middle" font-weight="bold">{escape(actor)}</text>'
        )
    left, width = page.left - _MARGIN, page.right - page.left + 2 * _MARGIN
    height = bottom + 10
    heading = escape(title)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.1f} 0 {width:.1f} '
            f'{height:.1f}" width="{width:.0f}" height="{height:.0f}" '
            f'font-family="{FONT}" font-size="{_SIZE}" fill="{INK}">'
        ),
        _HEAD,
        f'<rect x="{left:.1f}" width="{width:.1f}" height="{height:.1f}" fill="#ffffff"/>',
        f'<text x="{page.left:.1f}" y="18" font-size="14" font-weight="bold">{heading}</text>',
    ]
    return "\n".join([*parts, *lines, *heads, *page.parts, "</svg>"]) + "\n"

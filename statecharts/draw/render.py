"""DOT text to SVG, by the program ``dot``; needs the extra ``diagrams``."""

from __future__ import annotations

import re

_RUN = re.compile(r'<text text-anchor="start" [^>]*y="[\d.-]+" (?P<looks>[^>]*)>(?P<text>[^<]*)<')
# Pieces of text that follow each other at the same height.
_LINE = re.compile(
    r'<text text-anchor="start" x="(?P<x>[\d.-]+)" y="(?P<y>[\d.-]+)" [^>]*>[^<]*</text>\n'
    r'(?:<text text-anchor="start" x="[\d.-]+" y="(?P=y)" [^>]*>[^<]*</text>\n)+'
)


def _one_text(line: re.Match[str]) -> str:
    runs = "".join(f"<tspan {run['looks']}>{run['text']}</tspan>" for run in _RUN.finditer(line[0]))
    return f'<text text-anchor="start" x="{line["x"]}" y="{line["y"]}">{runs}</text>\n'


def svg(text: str) -> str:
    """The picture. Raises ``graphviz.ExecutableNotFound`` when the program is not installed.

    Where the typeface changes within a line, ``dot`` begins a new text, at a place that is right
    only for the font it has measured. Here each line becomes one text again, so that it also looks
    right in another font.
    """
    import graphviz

    picture: str = graphviz.pipe_string("dot", "svg", text, encoding="utf-8")
    return _LINE.sub(_one_text, picture).replace("\N{NO-BREAK SPACE}", " ")

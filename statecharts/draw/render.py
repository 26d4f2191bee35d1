"""DOT text to SVG, by the program ``dot``; needs the extra ``diagrams``."""

from __future__ import annotations


def svg(text: str) -> str:
    """The picture. Raises ``graphviz.ExecutableNotFound`` when the program is not installed."""
    import graphviz

    picture: str = graphviz.pipe_string("dot", "svg", text, encoding="utf-8")
    return picture

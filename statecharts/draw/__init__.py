"""Pictures of charts, of systems of charts, and of what happened between them.

``draw`` and ``draw_system`` give DOT text, ``svg`` turns it into a picture with the program
``dot``, ``sequence`` draws a run. They read only the declaration, so a picture cannot disagree with
the run.
"""

from .dot import draw, draw_system, part
from .render import svg
from .sequence import Message, fenced, sequence
from .words import Words

__all__ = ["Message", "Words", "draw", "draw_system", "fenced", "part", "sequence", "svg"]

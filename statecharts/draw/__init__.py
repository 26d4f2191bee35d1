"""Pictures of charts, of systems of charts, and of what happened between them.

``draw`` and ``draw_system`` give DOT text, ``svg`` turns it into a picture with the program
``dot``, ``sequence`` draws a run. They read the declaration and nothing else, so that a picture
cannot disagree with the run. ``python -m statecharts.draw DIRECTORY`` writes the committed
pictures and exports of the HSMS charts.
"""

from .dot import draw
from .overview import draw_system, part
from .render import svg
from .sequence import Message, sequence

__all__ = ["Message", "draw", "draw_system", "part", "sequence", "svg"]

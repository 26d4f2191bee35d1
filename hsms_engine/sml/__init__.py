"""SML, the text form of SECS messages that the trade reads and writes.

::

    EstablishComms: 'S1F13' W          // a name, quotes, the W-bit
    <L [2]
      <A "MDLN" 0x0D>                  /* text and codes of bytes */
      <U4 [0..8] 1 0x10>               # counts are checked
    > .

``parse`` and ``parse_item`` read it, ``to_sml`` writes it, ``parse(to_sml(x))`` is ``x``, and so is
``parse(to_sml(x, encoding), encoding)`` for each encoding that text in A may have. See the page
``docs/sml.md`` for the grammar, ``values`` for what each type takes, ``nodes`` for the references
in answers.

SML comes from GW Associates, and every tool has its own dialect. ``load`` and ``load_file`` read
what has one meaning, and say where a text is not as ``to_sml`` would have written it: see
``library``, ``loose``, and the page ``docs/sml.md``.
"""

from hsms_engine.sml.errors import SmlError
from hsms_engine.sml.library import Library, load, load_file
from hsms_engine.sml.loose import Binary
from hsms_engine.sml.nodes import Direction, Statement, Template, fill
from hsms_engine.sml.notes import Note, NoteKind
from hsms_engine.sml.parser import parse, parse_item, parse_one, parse_templates
from hsms_engine.sml.printer import shorten, to_sml

__all__ = [
    "Binary",
    "Direction",
    "Library",
    "Note",
    "NoteKind",
    "SmlError",
    "Statement",
    "Template",
    "fill",
    "load",
    "load_file",
    "parse",
    "parse_item",
    "parse_one",
    "parse_templates",
    "shorten",
    "to_sml",
]

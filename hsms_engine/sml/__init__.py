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
in answers and templates, ``patterns`` for SML with holes, that messages match or not.

SML comes from GW Associates, and every tool has its own dialect. ``load`` and ``load_file`` read
what has one meaning, and say where a text is not as ``to_sml`` would have written it: see
``library``, ``loose``, and the page ``docs/sml.md``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from hsms_engine.sml.errors import SmlError
from hsms_engine.sml.library import Library, load, load_file
from hsms_engine.sml.loose import Binary
from hsms_engine.sml.nodes import Direction, Node, Statement, Template, Uses, fill, uses
from hsms_engine.sml.notes import Note, NoteKind
from hsms_engine.sml.parser import (
    parse,
    parse_item,
    parse_item_template,
    parse_one,
    parse_template,
    parse_templates,
)
from hsms_engine.sml.printer import shorten, to_sml

if TYPE_CHECKING:
    from hsms_engine.sml.patterns import Difference, Pattern, parse_pattern
else:
    # Who writes a log does without patterns: they are imported when first named.
    _LATE = {"Difference", "Pattern", "parse_pattern"}

    # A type checker that saw it would take any name for one of the package.
    def __getattr__(name: str) -> object:
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found: object = getattr(import_module(f"{__name__}.patterns"), name)
        # So that this is asked once for each name.
        globals()[name] = found
        return found


__all__ = [
    "Binary",
    "Difference",
    "Direction",
    "Library",
    "Node",
    "Note",
    "NoteKind",
    "Pattern",
    "SmlError",
    "Statement",
    "Template",
    "Uses",
    "fill",
    "load",
    "load_file",
    "parse",
    "parse_item",
    "parse_item_template",
    "parse_one",
    "parse_pattern",
    "parse_template",
    "parse_templates",
    "shorten",
    "to_sml",
    "uses",
]

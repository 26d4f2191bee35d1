"""A run as a sequence diagram, in text that code hosts draw and that people can also read.

The text is Mermaid's ``sequenceDiagram``. In Markdown it stands in a block fenced as ``mermaid``
(``fenced`` makes one). GitHub, GitLab, and Sphinx with ``sphinxcontrib-mermaid`` draw it. The same
arguments always give the same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Message(NamedTuple):
    """One step. With ``source`` equal to ``target`` the actor does it by itself; with both empty it
    is a line over all actors. ``note`` says, at the target, what the step has changed."""

    source: str
    target: str
    label: str
    note: str = ""


# Characters that mean something to Mermaid: a new statement, a comment, an entity, markup.
_SPECIAL = re.compile(r"[#;<>&%{}]")


def _escaped(text: str) -> str:
    lines = (_SPECIAL.sub(lambda found: f"#{ord(found[0])};", line) for line in text.splitlines())
    # A text must not be empty, and its first word must not be one that Mermaid reads as a command.
    return "<br/>".join(lines).replace("wrap:", "wrap#58;") or "#32;"


def sequence(
    steps: Iterable[tuple[str, str, str, str]], title: str = "", actors: Iterable[str] = ()
) -> str:
    """Mermaid text of a sequence diagram of (from, to, label, note) steps. The actors stand from
    left to right in the order of ``actors``, then in the order in which they appear. Raises
    ``ValueError`` when there is no actor."""
    messages = [Message(*step) for step in steps]
    named = [name for step in messages for name in step[:2] if name]
    order = list(dict.fromkeys([*actors, *named]))
    if not order:
        raise ValueError("a sequence diagram needs an actor: there are no steps")
    # Mermaid gets numbered ids, because not every name is an id to it.
    ids = {actor: f"a{number}" for number, actor in enumerate(order)}
    everybody = ",".join(dict.fromkeys((ids[order[0]], ids[order[-1]])))
    lines = ["sequenceDiagram"]
    if title:
        lines.append(f"    title {_escaped(title)}")
    lines += [f"    participant {id} as {_escaped(actor)}" for actor, id in ids.items()]
    for source, target, label, note in messages:
        if source:
            lines.append(f"    {ids[source]}->>{ids[target]}: {_escaped(label)}")
        else:
            lines.append(f"    Note over {everybody}: {_escaped(label)}")
        if note:
            lines.append(f"    Note over {ids.get(target, everybody)}: {_escaped(note)}")
    return "\n".join(lines) + "\n"


def fenced(diagram: str) -> str:
    """A block of Markdown that holds the diagram."""
    return f"```mermaid\n{diagram}```\n"

"""Patterns that are made of an item, by cutting holes into its SML."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from hsms_engine.secs2 import Item, L
from hsms_engine.sml import to_sml


@dataclass(frozen=True)
class Cut:
    """A pattern made of an item, and what was cut out."""

    text: str
    names: dict[str, Item]


@st.composite
def cuts(draw: st.DrawFn, item: Item, path: str = "") -> Cut:
    """The item with some holes. Each has a name of its own."""
    name = f"n{path}"
    how = draw(st.sampled_from(["exact", "parts", "parts", "any", "name", "kind", "named kind"]))
    label = type(item).__name__
    match how:
        case "any":
            return Cut("_", {})
        case "name":
            return Cut(f"${name}", {name: item})
        case "kind":
            return Cut(f"<{label} _>", {})
        case "named kind":
            return Cut(f"<{label} ${name}>", {name: item})
        case "parts" if isinstance(item, L):
            start = draw(st.integers(0, len(item)))
            end = draw(st.integers(start, len(item)))
            parts = [draw(cuts(one, f"{path}_{at}")) for at, one in enumerate(item)]
            names = {name: one for part in parts for name, one in part.names.items()}
            if not draw(st.booleans()):
                texts = " ".join(part.text for part in parts)
                return Cut(f"<L [{len(item)}] {texts}>", names)
            outside = parts[:start] + parts[end:]
            names = {name: one for part in outside for name, one in part.names.items()}
            names[f"m{path}"] = item[start:end]
            before, behind = (
                " ".join(part.text for part in some) for some in (parts[:start], parts[end:])
            )
            return Cut(f"<L {before} $m{path} ... {behind}>", names)
        case _:
            return Cut(to_sml(item), {})

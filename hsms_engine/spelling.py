"""What somebody may have meant who wrote a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable


def hint(given: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the one that is nearly the same, or else all.

    Names that begin with it, as ``tolerate_w_in_reply`` with ``tolerate``, leave out the others.
    """
    # Only an error needs it.
    from difflib import get_close_matches

    names = list(known)
    names = [each for each in names if each.startswith(f"{given}_")] or names
    if near := get_close_matches(given.lower(), names, n=1):
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(names)}" if names else "there is none"

"""Whether a reply refuses what its primary asks for, by its acknowledge code (SEMI E5)."""

from __future__ import annotations

from typing import Final

from hsms_engine.message import Message
from hsms_engine.messages import find
from hsms_engine.secs2 import B, DecodeError, L, SeveralItemsError

__all__ = ["refusal"]

_DONE: Final = 0
# HCACK 4: it will be done, and an event tells when.
_LATER: Final = 4
_COMMANDS: Final = frozenset({"S2F42", "S2F50"})


def refusal(primary: Message, reply: Message | None) -> str | None:
    """Why a reply is a refusal; None: it is none. None as a reply: there is none."""
    if reply is None:
        return "it gets no reply" if primary.wait else None
    if reply.function == 0:
        return f"it is aborted with {reply.name}"
    code = _code(reply)
    if code in (None, _DONE) or (code == _LATER and reply.name in _COMMANDS):
        return None
    return f"the reply is {reply.name} with code {code}"


def _code(reply: Message) -> int | None:
    """The acknowledge code: one byte, the item itself or the first of the list."""
    function = find(reply.name)
    if function is not None:
        layout = function.layout
        first = None if layout is None else next(layout.data(), None)
        # A value may be one byte too, as that of a variable in S1F4.
        if first is None or not first.codes:
            return None
    try:
        item = reply.item
    except (DecodeError, SeveralItemsError):
        return None
    if isinstance(item, L) and item:
        item = item[0]
    return item.raw[0] if isinstance(item, B) and len(item) == 1 else None

"""The beginning of a body as text: its cost depends on how much is shown, not on the body.

Nothing here tells the connection that a body is no SECS-II, so looking sends no S9F7.
"""

from __future__ import annotations

from hsms_engine.message import Message
from hsms_engine.secs2 import DecodeError, L, decode_all
from hsms_engine.secs2.lists import TYPES
from hsms_engine.sml.printer import shorten, shorten_all

# The most bytes of an element. Each is shown with at least one character.
_LARGEST = 8


def body_text(message: Message, limit: int, text_encoding: str | None = None) -> str:
    """The body as SML in one line, cut to about ``limit`` characters.

    When it is no SECS-II, as far as it is looked at: its first bytes, and why.
    """
    body = message.body
    try:
        if len(body) <= limit:
            return shorten_all(decode_all(body), limit, text_encoding)
        return _beginning(body, limit, text_encoding)
    except DecodeError as error:
        return f"no SECS-II, {error}: {hex_text(body, limit)}"


def hex_text(body: bytes, limit: int) -> str:
    """The first ``limit`` bytes in hexadecimal."""
    return body[:limit].hex(" ") + ("..." if len(body) > limit else "")


def _beginning(body: bytes, limit: int, text_encoding: str | None) -> str:
    """``shorten_all(decode_all(body), limit)``, but what is not shown is not read."""
    pieces: list[str] = []
    at, size = 0, 0
    # How many items each list that is open still needs.
    missing: list[int] = []
    while size <= limit and (missing or at != len(body)):
        piece, at, count = _item(body, at, limit, text_encoding)
        if pieces:
            piece = f" {piece}"
        if missing:
            missing[-1] -= 1
        if count is not None:
            missing.append(count)
        while missing and not missing[-1]:
            missing.pop()
            piece += ">"
        pieces.append(piece)
        size += len(piece)
    text = "".join(pieces)
    return text if size <= limit else f"{text[: limit - 3]}..."


def _item(
    body: bytes, at: int, limit: int, text_encoding: str | None
) -> tuple[str, int, int | None]:
    """The SML of the item at ``at``, where the next one begins, and how many a list has.

    Of a list it is only the head, of a long item at least what is shown.
    """
    head = body[at : at + 4]
    code, width = (head[0] >> 2, head[0] & 3) if head else (-1, 0)
    start = at + 1 + width
    length = int.from_bytes(head[1 : 1 + width], "big")
    if width and code == L.code and start <= len(body):
        return f"<L [{length}]", start, length
    if not width or code not in TYPES or start + length > len(body):
        raise DecodeError(at, head.hex(" ") or "the end", "an item that fits")
    kind = TYPES[code]
    try:
        kind.check_length(length)
    except ValueError as error:
        raise DecodeError(at, f"{kind.__name__} of {length} bytes", str(error)) from None
    shown = kind.from_raw(body[start : start + min(length, _LARGEST * (limit + 1))])
    return shorten(shown, limit, text_encoding), start + length, None

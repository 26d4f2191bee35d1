"""What a report says of a message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from hsms_engine.message import Message
from hsms_engine.secs2 import DecodeError

__all__ = ["details_of"]

# The longest body that a report shows as SML, in bytes: SML is several times as long.
_LONGEST_SHOWN: Final = 4096
# Of these messages a report shows all.
_WHOLE: Final = frozenset({"received", "replied", "sent", "not sent"})


def details_of(
    event: str,
    message: Message | None,
    details: Mapping[str, object],
    text_encoding: str | None = None,
) -> Mapping[str, object]:
    """The details of an event, with what is to be said of its message.

    ``text_encoding`` is that of the link, for a message that has none of its own.
    """
    if message is None:
        return details
    name = f"{message.name} W" if message.wait else message.name
    # The peer, the message, and then the rest.
    peer = {"peer": details["peer"]} if "peer" in details else {}
    told = {**peer, "message": name, "bytes": len(message.body), **details}
    return _Whole(message, told, text_encoding) if event in _WHOLE else told


class _Whole(Mapping[str, object]):
    """The details of an event, and ``"sml"``, all of its message.

    That is made when it is looked at: it costs ten times what the message does.
    """

    __slots__ = ("_details", "_message", "_sml", "_text_encoding")

    def __init__(
        self, message: Message, details: Mapping[str, object], text_encoding: str | None
    ) -> None:
        self._message = message
        self._text_encoding = message.text_encoding or text_encoding
        self._details = details
        self._sml: str | None = None

    def __getitem__(self, key: str) -> object:
        if key != "sml":
            return self._details[key]
        if self._sml is None:
            self._sml = _sml(self._message, self._text_encoding)
        return self._sml

    def __iter__(self) -> Iterator[str]:
        yield from self._details
        yield "sml"

    def __len__(self) -> int:
        return len(self._details) + 1


def _sml(message: Message, text_encoding: str | None) -> str:
    """A message as SML; only a comment when its body is long or no SECS-II."""
    size = len(message.body)
    if size > _LONGEST_SHOWN:
        return f"// {message.name}: a body of {size} bytes"
    try:
        # Of a copy: the received one would be reported as unreadable, with S9F7.
        return Message(
            message.stream,
            message.function,
            message.wait,
            body=message.body,
            text_encoding=text_encoding,
        ).sml()
    except DecodeError as error:
        return f"// {message.name}: a body of {size} bytes that is no SECS-II: {error}"

"""One SECS-II message: stream, function, W-bit and body, as the user holds it.

Invariants:

* A message never changes. The parts that are computed later (the body of a message built from an
  item, the item of a message received as bytes) depend only on the parts that are there.
* Two messages are equal when stream, function, W-bit and body are equal. The session id, the
  system bytes and the text encoding say where a message came from, not what it says.
* A received message does not look at its body. When the body cannot be decoded, ``items`` raises;
  the connection stays, and is told of it (``_found_unreadable``).
* Text is encoded when a message is built, never later: what is sent is what ``body`` showed.
* A secondary (even function) that is built here never has the W-bit. A received message shows
  whatever its header says.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hsms_engine.secs2 import Item, Plain
    from hsms_engine.sml import Statement, Template

__all__ = ["Message"]

_MAX_STREAM: Final = 127
_MAX_FUNCTION: Final = 255
_REPR_LIMIT: Final = 120


class Message:
    """A data message: ``Message(1, 13, wait=True, item=["MDLN", "1.0"])``.

    ``item`` takes an :class:`~hsms_engine.secs2.Item` or a plain Python value with a clear type
    (see :func:`~hsms_engine.secs2.item_of`); ``body`` takes encoded bytes. Give one of them, or
    neither for a message with only a header.

    ``text_encoding``, a superset of ASCII such as ``"gbk"``, is how a ``str`` in ``item`` becomes
    an A, and how ``sml`` and ``repr`` show the text in A. Without it, a ``str`` must be ASCII.

    ``session_id`` (0..65535) and ``system_bytes`` (0..2**32-1) are set in received messages and
    ``None`` in those the user builds: the connection chooses both when it sends. Only one whose
    ``check_session_id`` is off sends a primary with the session id that it has.

    Raises ``ValueError`` when stream is not in 0..127, function not in 0..255, a secondary asks for
    a reply (SEMI E5: only a primary has the W-bit), a text has no such encoding, or the encoding is
    unfit, and ``TypeError`` when both item and body are given or the item's type cannot be told.
    """

    __slots__ = (
        "_body",
        "_function",
        "_items",
        "_session_id",
        "_stream",
        "_system_bytes",
        "_text_encoding",
        "_wait",
    )

    _stream: int
    _function: int
    _wait: bool
    # None until asked for, and then only when the message was built from an item.
    _body: bytes | None
    # None until asked for when the message came as bytes.
    _items: tuple[Item, ...] | None
    _session_id: int | None
    _system_bytes: int | None
    _text_encoding: str | None

    def __init__(
        self,
        stream: int,
        function: int,
        wait: bool = False,
        item: Item | Plain | None = None,
        *,
        body: bytes | bytearray | memoryview | None = None,
        session_id: int | None = None,
        system_bytes: int | None = None,
        text_encoding: str | None = None,
    ) -> None:
        if not 0 <= stream <= _MAX_STREAM:
            raise ValueError(f"stream {stream} is not in 0..{_MAX_STREAM}")
        if not 0 <= function <= _MAX_FUNCTION:
            raise ValueError(f"function {function} is not in 0..{_MAX_FUNCTION}")
        if wait and function % 2 == 0:
            raise ValueError(
                f"S{stream}F{function} is a secondary (even function): it cannot ask for a reply"
            )
        if item is not None and body is not None:
            raise TypeError("give a message an item or a body, not both")
        self._stream = stream
        self._function = function
        self._wait = bool(wait)
        self._session_id = session_id
        self._system_bytes = system_bytes
        self._text_encoding = text_encoding
        if text_encoding is not None:
            from hsms_engine.secs2.encodings import superset_of_ascii

            superset_of_ascii(text_encoding)
        if item is None:
            self._items = None
            self._body = b"" if body is None else bytes(body)
        else:
            from hsms_engine.secs2 import item_of

            self._items = (item_of(item, text_encoding=text_encoding),)
            self._body = None

    @classmethod
    def received(
        cls,
        stream: int,
        function: int,
        wait: bool,
        body: bytes,
        session_id: int,
        system_bytes: int,
        text_encoding: str | None = None,
    ) -> Self:
        """A message as it was received. Nothing is checked or decoded.

        The caller has taken the fields from a header, so none can be out of range, and the text
        encoding from settings.
        """
        message = cls.__new__(cls)
        message._stream = stream
        message._function = function
        message._wait = wait
        message._body = body
        message._items = None
        message._session_id = session_id
        message._system_bytes = system_bytes
        message._text_encoding = text_encoding
        return message

    @classmethod
    def parse(cls, text: str, text_encoding: str | None = None) -> Message:
        """The one message that ``text`` holds as SML: ``Message.parse('S1F13 W <L [0]> .')``.

        ``text_encoding`` is how the strings of A are encoded. Raises
        :class:`~hsms_engine.sml.SmlError` when the text is not SML or does not hold exactly one
        message, ``ValueError`` when the encoding is unfit.
        """
        from hsms_engine.sml import parse_one

        return cls.from_statement(parse_one(text, text_encoding), text_encoding)

    @staticmethod
    def from_statement(statement: Statement, text_encoding: str | None = None) -> Message:
        """The message that a statement of SML is: ``Message.from_statement(library["Go"])``.

        ``text_encoding`` is that with which the statement was read.
        """
        return Message(
            statement.stream,
            statement.function,
            statement.wait,
            statement.item,
            text_encoding=text_encoding,
        )

    @staticmethod
    def from_template(
        template: Template,
        request: Message | None = None,
        names: Mapping[str, Item] = MappingProxyType({}),
        variable: Callable[[str], Item] | None = None,
        text_encoding: str | None = None,
    ) -> Message:
        """The message that a template is with these values, as ``sml.fill`` takes them.

        The body of ``request`` is decoded only if the template refers to it. Raises ``LookupError``
        when a value is not there, and ``ValueError`` when it cannot be read.
        """
        from hsms_engine.sml import fill

        item = None
        if template.node is not None:
            asked = request.item if request is not None and template.uses.request else None
            item = fill(template.node, asked, names, variable)
        return Message(
            template.stream, template.function, template.wait, item, text_encoding=text_encoding
        )

    @property
    def stream(self) -> int:
        """0..127, what the message is about."""
        return self._stream

    @property
    def function(self) -> int:
        """0..255; odd asks, even answers."""
        return self._function

    @property
    def wait(self) -> bool:
        """The W-bit: whether the sender wants a reply."""
        return self._wait

    @property
    def session_id(self) -> int | None:
        """The session id (HSMS-SS: device id) in a received message; ``None`` when built here."""
        return self._session_id

    @property
    def system_bytes(self) -> int | None:
        """The number of its transaction in a received message; ``None`` when built here."""
        return self._system_bytes

    @property
    def body(self) -> bytes:
        """The encoded item, ``b""`` for a message with only a header. Encoded once."""
        body = self._body
        if body is None:
            from hsms_engine.secs2 import encode

            # A message without a body always has one item: see __init__.
            assert self._items is not None
            body = self._body = encode(self._items[0])
        return body

    @property
    def item(self) -> Item | None:
        """The decoded body, ``None`` for a message with only a header. Decoded on first use.

        Raises :class:`~hsms_engine.secs2.DecodeError`, every time, when the body is not SECS-II,
        and its kind :class:`~hsms_engine.secs2.SeveralItemsError` when ``items`` are several.
        """
        items = self.items
        if len(items) == 1:
            return items[0]
        if not items:
            return None
        from hsms_engine.secs2 import decode

        # It knows where the second one begins, and raises.
        return decode(self.body)

    @property
    def items(self) -> tuple[Item, ...]:
        """All items of the body, one after the other. Decoded on first use.

        SEMI E5 has one in a message, or none; some equipment sends several. Raises
        :class:`~hsms_engine.secs2.DecodeError`, every time, when the body is not SECS-II.
        """
        items = self._items
        if items is None:
            if not self._body:
                return ()
            try:
                items = self._decoded()
            except ValueError:
                # A DecodeError: no other comes, and to import it would cost as much as to decode.
                self._found_unreadable()
                raise
        return items

    @property
    def text_encoding(self) -> str | None:
        """That of the link by which it was received (``Settings.text_encoding``), or it was given.

        For the text of an item: ``item.text(message.text_encoding)``.
        """
        return self._text_encoding

    @property
    def name(self) -> str:
        """``'S1F13'``."""
        return f"S{self._stream}F{self._function}"

    @property
    def is_primary(self) -> bool:
        """Whether it opens a transaction (odd function). Function 0 aborts one."""
        return self._function % 2 == 1

    def sml(self) -> str:
        """The message as SML, one item a line, ending in ``.`` (see :mod:`hsms_engine.sml`).

        Text in A is shown in the ``text_encoding``. Several items stand one after the other, which
        ``parse`` refuses. Raises :class:`~hsms_engine.secs2.DecodeError` when the body is not
        SECS-II.
        """
        from hsms_engine.sml import Statement, to_sml

        head = to_sml(Statement(None, self._stream, self._function, self._wait, None))
        items = [to_sml(item, self._text_encoding) for item in self.items]
        return "\n".join((head.removesuffix(" ."), *items)) + " ."

    def _decoded(self) -> tuple[Item, ...]:
        """``items``, but the connection is not told: showing a message must send nothing."""
        items = self._items
        if items is None:
            from hsms_engine.secs2 import decode_all

            items = self._items = decode_all(self.body)
        return items

    def _found_unreadable(self) -> None:
        """The program has read ``item`` and the body is no SECS-II."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (
            self._stream == other._stream
            and self._function == other._function
            and self._wait == other._wait
            and self.body == other.body
        )

    def __hash__(self) -> int:
        return hash((self._stream, self._function, self._wait, self.body))

    def __repr__(self) -> str:
        wait = " W" if self._wait else ""
        where = "" if self._session_id is None else f" session={self._session_id}"
        if self._system_bytes is not None:
            where += f" system={self._system_bytes:08X}"
        text = self._summary()
        return f"<Message {self.name}{wait}{where}{' ' if text else ''}{text}>"

    def _summary(self) -> str:
        from hsms_engine.secs2 import DecodeError
        from hsms_engine.sml.printer import shorten_all

        try:
            items = self._decoded()
        except DecodeError as error:
            return f"undecodable body of {len(self.body)} bytes: {error}"
        return shorten_all(items, _REPR_LIMIT, self._text_encoding)

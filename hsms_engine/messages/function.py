"""A function of SECS-II as a class: the message itself, its parts by name, and what they may be.

::

    class S2F41(Function, by="host"):
        \"""Host Command Send: ...\"""

        rcmd: IdField = field(RCMD)
        parameters: PairsField = field(many(CPNAME, CPVAL), default=())

Stream and function are those of the class's name. The body is one field, or a list of the fields.
From that follow the constructor, the attributes (plain Python, taken from the body when they are
asked for), ``match``, ``check``, and the page that ``describe`` gives.

Invariants:

* A function is a :class:`~hsms_engine.message.Message` that keeps nothing else: it is equal to the
  message it was made of, and sent as it is.
* What a function says of itself is in its class, not in its instances.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from inspect import Parameter, Signature, signature
from itertools import islice
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    Self,
    TypeAlias,
    TypeVar,
    dataclass_transform,
    overload,
)

from hsms_engine.message import Message
from hsms_engine.messages.layout import Fixed, MisfitError, Node
from hsms_engine.secs2 import DecodeError, Item, L, Leaf, Plain

_In = TypeVar("_In")
_Out_co = TypeVar("_Out_co", covariant=True)

Value: TypeAlias = Item | Plain | int
"""An argument: an item, or a plain Python value. An ``int`` means U4 where that is allowed."""

# Type checkers take the type of a mapping's keys exactly, so a union of key types would not fit.
Pairs: TypeAlias = Mapping[Any, Value] | Iterable[tuple[Value, Value]]
"""Values by name: a mapping, or pairs of a name and a value."""

Groups: TypeAlias = Mapping[Any, Iterable[Value]] | Iterable[tuple[Value, Iterable[Value]]]
"""Several values by id: a mapping, or pairs of an id and its values."""

Sender: TypeAlias = Literal["host", "equipment", "both"]
"""Who sends a primary. The other one sends its reply."""

Reply: TypeAlias = Literal["needed", "optional", "none"]

_ERRORS: Final = 9
_REQUIRED: Final = Parameter.empty
_NAME: Final = re.compile(r"S([0-9]+)F([0-9]+)")
# How many differences or values an error tells of: a body of many items could differ in each.
_TOLD: Final = 3


def _is_required(value: object) -> bool:
    return value is _REQUIRED


class LayoutError(ValueError):
    """A body that cannot be taken apart as the function ``name``.

    ``differences`` are the first of them, as sentences.
    """

    def __init__(self, name: str, differences: Iterable[str]) -> None:
        self.name = name
        self.differences = tuple(islice(differences, _TOLD))
        super().__init__(name, self.differences)

    def __str__(self) -> str:
        return f"this is no {self.name}: {'; '.join(self.differences)}"


class Field(Generic[_In, _Out_co]):
    """A part of a function: a constructor's parameter, and an attribute of plain Python.

    ``name`` is that of both, ``default`` the parameter's, ``node`` what stands at its place.
    """

    __slots__ = ("_may_lack", "_path", "default", "name", "node")

    name: str
    # The indices that lead to it from the body, and whether the last list may be empty.
    _path: tuple[int, ...]
    _may_lack: bool

    def __init__(self, node: Node, default: object) -> None:
        self.node = node
        self.default = default

    def __set_name__(self, _owner: type[Function], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, owner: None, of: type[Function]) -> Self: ...
    @overload
    def __get__(self, owner: Function, of: type[Function]) -> _Out_co: ...
    def __get__(self, owner: Function | None, of: type[Function]) -> Any:
        if owner is None:
            return self
        try:
            return self._take(owner.item, owner._text_encoding)
        except MisfitError as error:
            raise LayoutError(of.__name__, of.differences(owner)) from error

    def __set__(self, owner: Function, _value: _In) -> None:
        raise AttributeError(f"{self.name} of {owner!r} cannot be changed: make another message")

    def _place(self, path: tuple[int, ...], *, may_lack: bool) -> None:
        self._path = path
        self._may_lack = may_lack

    def _take(self, item: Item | None, encoding: str | None) -> Any:
        for depth, index in enumerate(self._path, 1):
            if not isinstance(item, L):
                raise MisfitError
            if self._may_lack and not item and depth == len(self._path):
                return None
            if index >= len(item):
                raise MisfitError
            item = item[index]
        if item is None:
            raise MisfitError
        return self.node.take(item, encoding)


def field(node: Node, *, default: Any = _REQUIRED, kw_only: bool = False) -> Any:
    """A part of a function. For type checkers, its annotation says what goes in and comes out."""
    del kw_only
    return Field(node, default)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class _Slotted(type):
    """Every function has empty slots, and a signature for who asks (``help``, ``inspect``)."""

    fields: tuple[Field[Any, Any], ...]
    reply: Reply

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **keywords: object
    ) -> _Slotted:
        fields = tuple([each for each in namespace.values() if isinstance(each, Field)])
        # A field knows its name only when the class has been made.
        match_args = tuple([name for name, each in namespace.items() if each in fields])
        more = {"__slots__": (), "__match_args__": match_args, "fields": fields}
        return super().__new__(cls, name, bases, {**more, **namespace}, **keywords)

    @property
    def __signature__(cls) -> Signature | None:
        """None for a function with a constructor of its own, which says it."""
        if "__init__" in vars(cls) and cls is not Function:
            return None
        parameters = [
            Parameter(each.name, Parameter.POSITIONAL_OR_KEYWORD, default=each.default)
            for each in cls.fields
        ]
        if cls.reply == "optional":
            parameters.append(Parameter("wait", Parameter.KEYWORD_ONLY, default=True))
        parameters.append(Parameter("text_encoding", Parameter.KEYWORD_ONLY, default=None))
        return Signature(parameters)


class Function(Message, metaclass=_Slotted):
    """The base of all functions.

    A subclass is named for its stream and function. ``by`` is who sends it, given for a primary
    only. The fields from number ``optional_from`` on (counted from 0) are in a list of their own,
    which is empty when all of them are None.

    All take ``text_encoding``, as a :class:`~hsms_engine.message.Message` does: a ``str`` becomes
    an A of it. The parts are read in that of the message.
    """

    numbers: ClassVar[tuple[int, int]]
    """Stream and function."""

    by: ClassVar[Sender | None]
    """Who sends it; None for a secondary, which the receiver of its primary sends."""

    reply: ClassVar[Reply] = "needed"
    """Whether the receiver answers. A primary of which that is optional has ``wait``."""

    fields: ClassVar[tuple[Field[Any, Any], ...]] = ()
    """The parts, in the order of the body."""

    layout: ClassVar[Node | None] = None
    """The body, None for a message with only a header."""

    _optional_from: ClassVar[int | None]

    _keywords: ClassVar[frozenset[str]]
    """The constructor's parameters that are no fields."""

    def __init_subclass__(
        cls, *, by: Sender | None = None, optional_from: int | None = None
    ) -> None:
        named = _NAME.fullmatch(cls.__name__)
        if named is None:
            return
        stream, function = cls.numbers = int(named[1]), int(named[2])
        cls.by = by
        # Stream 9 tells of errors: nobody answers it.
        if function % 2 == 0 or stream == _ERRORS:
            cls.reply = "none"
        cls._keywords = frozenset(
            ("wait", "text_encoding") if cls.reply == "optional" else ("text_encoding",)
        )
        cls._optional_from = optional_from
        cls.layout = _layout(cls.fields, optional_from)

    if TYPE_CHECKING:
        # A type checker makes the constructors from the fields.
        text_encoding: str | None = field(Fixed(()), default=None, kw_only=True)
    else:

        def __init__(self, *values: Any, **named: Any) -> None:
            if named or len(values) != len(self.fields):
                values, named = self._bound(values, named)
                self._fill(values, **named)
            else:
                # To spread keywords is slow, also when there are none.
                self._fill(values)

        @classmethod
        def _bound(
            cls, values: tuple[Any, ...], named: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            """A value for each field, and the keywords that are none. Raises ``TypeError``."""
            more = named.copy()
            rest = [more.pop(each.name, each.default) for each in cls.fields[len(values) :]]
            bound = values + tuple(rest)
            fits = len(bound) == len(cls.fields) and more.keys() <= cls._keywords
            if not fits or any(map(_is_required, rest)):
                # It is slow, and says what is wrong.
                try:
                    signature(cls).bind(*values, **named)
                except TypeError as error:
                    raise TypeError(f"{cls.__name__}: {error}") from None
            return bound, more

    def _fill(
        self, values: tuple[Any, ...], text_encoding: str | None = None, wait: bool = True
    ) -> None:
        """Make the message of the values of its fields."""
        start = self._optional_from
        if start is not None:
            some = values[start:]
            # Of some, what is not given is text of no character.
            given = ["" if value is None else value for value in some]
            tail = None if some.count(None) == len(some) else given
            values = (*values[:start], tail)
        item = None
        if self.layout is not None:
            try:
                item = self.layout.build(values if len(values) > 1 else values[0], text_encoding)
            except (TypeError, ValueError) as error:
                if not (listed := self._given_as_one(values)):
                    raise
                raise TypeError(f"{error}; give them one by one: {listed}") from None
        stream, function = self.numbers
        asks = wait and self.reply != "none"
        super().__init__(stream, function, asks, item, text_encoding=text_encoding)

    def _given_as_one(self, values: tuple[Any, ...]) -> str:
        """How to call a constructor of any number of values that got all of them as one."""
        match values:
            case ((Collection() as given,),) if "__init__" in vars(type(self)):
                if isinstance(given, (str, bytes, L, Leaf)):
                    return ""
                shown = [*map(repr, islice(given, _TOLD)), *["..."][: len(given) > _TOLD]]
                return f"{type(self).__name__}({', '.join(shown)})"
            case _:
                return ""

    @classmethod
    def of(cls, message: Message) -> Self:
        """The same message as this function, so that its parts have names.

        Formats need not be those of the catalogue (``differences`` tells), only the shape must fit.
        Raises ``ValueError`` for another function, :class:`LayoutError` for a body of which a part
        cannot be taken, :class:`~hsms_engine.secs2.DecodeError` for one that is not SECS-II.
        """
        if (message.stream, message.function) != cls.numbers:
            raise ValueError(f"{message.name} is no {cls.__name__}")
        # What stands where nothing should is passed over: there is no value to take.
        if cls.layout is not None:
            item = message.item
            try:
                if item is None:
                    raise MisfitError
                cls.layout.take(item, message._text_encoding)
            except MisfitError as error:
                raise LayoutError(cls.__name__, cls.differences(message)) from error
        same = cls.__new__(cls)
        for name in Message.__slots__:
            setattr(same, name, getattr(message, name))
        return same

    @classmethod
    def parse(cls, text: str, text_encoding: str | None = None) -> Self:
        """The one message that ``text`` holds as SML, as this function. Raises as ``of`` does.

        Raises :class:`~hsms_engine.sml.SmlError` too, as :meth:`Message.parse` does.
        """
        return cls.of(Message.parse(text, text_encoding))

    @classmethod
    def differences(cls, message: Message) -> Iterator[str]:
        """How a message with these numbers differs, as sentences with a path.

        Nothing is told to the peer: who asks has not read the message.
        """
        name = cls.__name__
        if message.wait and cls.reply == "none":
            yield f"{name}: expected no W-bit: it has no reply"
        if cls.reply == "needed" and not message.wait:
            yield f"{name}: expected the W-bit: it has a reply"
        try:
            items = message._decoded()
        except DecodeError as error:
            yield f"{name} .item: {error}"
            return
        expected = "only a header" if cls.layout is None else cls.layout.expected
        match items:
            case () if cls.layout is not None:
                yield f"{name} .item: expected {expected}, got only a header"
            case ():
                pass
            case (item,) if cls.layout is not None:
                yield from cls.layout.check(item, f"{name} .item", message._text_encoding)
            case (item,):
                yield f"{name} .item: expected {expected}, got {type(item).__name__}"
            case _:
                yield f"{name} .items: expected {expected}, got {len(items)} items"


def _layout(fields: Sequence[Field[Any, Any]], optional_from: int | None) -> Node | None:
    """The body of these fields, which now know where they are in it."""
    nodes = [each.node for each in fields]
    if optional_from is None:
        for index, each in enumerate(fields):
            each._place((index,) if len(fields) > 1 else (), may_lack=False)
        return nodes[0] if len(nodes) == 1 else Fixed(tuple(nodes)) if nodes else None
    for index, each in enumerate(fields[:optional_from]):
        each._place((index,), may_lack=False)
    outer = (optional_from,) if optional_from else ()
    for index, each in enumerate(fields[optional_from:]):
        each._place((*outer, index), may_lack=True)
    tail = Fixed(tuple(nodes[optional_from:]), optional=True)
    return Fixed((*nodes[:optional_from], tail)) if outer else tail


class OptionalReply(Function):
    """The base of primaries that may be sent without wanting a reply: ``wait=False``."""

    reply = "optional"

    if TYPE_CHECKING:
        wait: bool = field(Fixed(()), default=True, kw_only=True)

"""SML text as statements: recursive descent over the tokens, one method for each rule.

::

    text      =  { statement }
    statement =  [ word ":" ] header [ "W" | "[W]" ] [ item ] [ "." ]
    header    =  S1F13 | 'S1F13'
    item      =  "<" type [ "[3]" | "[0..8]" ] { value | item } ">"

Types and ``W`` may be in upper or lower case. The full stop is optional, because a header begins
the next statement. Counts are compared with the number of elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from hsms_engine.secs2 import MAX_DEPTH, Item, L, Leaf
from hsms_engine.sml.errors import SmlError
from hsms_engine.sml.lexer import PLAIN_LIST, Token, next_token
from hsms_engine.sml.nodes import Node, Pattern, Reference, Repeat, Statement, Template
from hsms_engine.sml.values import ValueTokenError, makers, plain_leaves, plain_texts

_HEADER: Final = re.compile(r"[Ss]([0-9]{1,3})[Ff]([0-9]{1,3})")
_MAX_STREAM: Final = 127
_MAX_FUNCTION: Final = 255
_ITEM: Final = (L, Leaf)
_VALUES: Final = frozenset({"string", "number", "word"})


def parse(text: str, text_encoding: str | None = None) -> list[Statement]:
    """All messages of ``text``, in order. Raises :class:`SmlError`.

    ``text_encoding`` is how the strings of A are encoded, a superset of ASCII; None: they are
    ASCII. Raises ``ValueError`` for another encoding.
    """
    return list(_Parser(text, text_encoding).statements())


def parse_one(text: str, text_encoding: str | None = None) -> Statement:
    """The one message of ``text``. Raises as ``parse``, also for none or several."""
    parser = _Parser(text, text_encoding)
    statement = parser.statement()
    parser.expect_end("one message")
    return statement


def parse_item(text: str, text_encoding: str | None = None) -> Item:
    """The one item of ``text``: ``parse_item('<U4 1 2>')``. Raises as ``parse``."""
    parser = _Parser(text, text_encoding)
    item = parser.item()
    parser.expect_end("one item")
    return item


def parse_templates(text: str, text_encoding: str | None = None) -> list[Template]:
    """All answers of ``text``: SML that may refer to a request. Raises as ``parse``."""
    return list(_Parser(text, text_encoding).templates())


class _Parser:
    def __init__(self, text: str, text_encoding: str | None) -> None:
        self._text = text
        self._makers = makers(text_encoding)
        self._texts = plain_texts(text_encoding)
        self._token = next_token(text, 0)
        # How many lists are open around the token.
        self._depth = 0
        # Whether this is an answer, which may have references and ellipses.
        self._open = False
        # The references to a repeated item (`$*`) that no ellipsis has followed yet.
        self._loose: list[Token] = []

    def statements(self) -> Iterator[Statement]:
        while self._token.kind != "end":
            yield self.statement()

    def statement(self) -> Statement:
        name, stream, function, wait = self._head()
        item = self.item() if self._token.text == "<" else None
        self._skip(".")
        return Statement(name, stream, function, wait, item)

    def templates(self) -> Iterator[Template]:
        self._open = True
        while self._token.kind != "end":
            start = self._token
            _, stream, function, wait = self._head()
            if wait or function % 2 or function == 0:
                raise self._error(
                    f"S{stream}F{function}{' W' if wait else ''} is no answer: an answer has an "
                    "even function and no W",
                    start,
                )
            begins = self._token.text == "<" or self._token.kind == "refer"
            [node] = self._nodes(1) if begins else (None,)
            if self._loose:
                raise self._error(
                    "$* stands only in an item that an ellipsis repeats", self._loose[0]
                )
            self._skip(".")
            yield Template(stream, function, node, start.offset)

    def item(self) -> Item:
        [node] = self._nodes(1)
        assert isinstance(node, Item)  # other nodes are refused at their first token
        return node

    def expect_end(self, what: str) -> None:
        if self._token.kind != "end":
            raise self._error(f"expected {what} and nothing after it, found {self._token}")

    def _head(self) -> tuple[str | None, int, int, bool]:
        name = None
        token = self._take()
        if token.kind == "word" and self._skip(":"):
            name = token.text
            token = self._take()
        spelled = token.text.strip("'\"")
        match = _HEADER.fullmatch(spelled)
        if match is None or token.kind not in {"word", "string"}:
            raise self._error(f"expected a message like S1F13, found {token}", token)
        stream, function = int(match[1]), int(match[2])
        if stream > _MAX_STREAM or function > _MAX_FUNCTION:
            raise self._error(f"{spelled} is not in S0F0..S{_MAX_STREAM}F{_MAX_FUNCTION}", token)
        wait = self._token
        if wait.text.upper() not in {"W", "[W]"}:
            return name, stream, function, False
        if function % 2 == 0:
            raise self._error(f"S{stream}F{function} has an even function: no W", wait)
        self._take()
        return name, stream, function, True

    def _node(self) -> Node:
        if self._token.kind == "refer" and self._open:
            return self._reference(self._take())
        start = self._token
        begin = PLAIN_LIST.match(self._text, start.offset)
        if begin is not None:
            self._token = next_token(self._text, begin.end())
            count = None if begin[1] is None else Token("count", begin[1], begin.start(1))
            return self._list(start, count)
        if not self._skip("<"):
            raise self._error(f"expected an item, found {start}")
        kind = self._take()
        name = kind.text.upper()
        if kind.kind != "word" or (name != "L" and name not in self._makers):
            raise self._error(f"expected an item type (L, A, U4, ...), found {kind}", kind)
        count = self._take() if self._token.kind == "count" else None
        if name == "L":
            return self._list(start, count)
        return self._leaf(name, start, count)

    def _leaf(self, name: str, start: Token, count: Token | None) -> Item:
        values = []
        while self._token.kind in _VALUES:
            values.append(self._take())
        self._close(start, "a value")
        try:
            item = self._makers[name](values)
        except ValueTokenError as error:
            raise self._error(str(error), error.token) from None
        except ValueError as error:
            raise self._error(str(error), start) from None
        self._check(count, len(item))
        return item

    def _list(self, start: Token, count: Token | None) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"lists are nested more than {MAX_DEPTH} deep", start)
        nodes: list[Node | Repeat] = []
        while self._token.text == "<" or (self._token.kind == "refer" and self._open):
            nodes += self._elements()
        self._depth -= 1
        self._close(start, "an item")
        items = [node for node in nodes if isinstance(node, _ITEM)]
        if len(items) == len(nodes):
            self._check(count, len(items))
            return L(*items)
        if not any(isinstance(node, Repeat) for node in nodes):
            self._check(count, len(nodes))
        return Pattern(tuple(nodes))

    def _elements(self) -> Sequence[Node | Repeat]:
        """The nodes that come next; the last one may be repeated."""
        before = len(self._loose)
        nodes = self._nodes()
        if self._token.kind != "repeat" or not self._open:
            return nodes
        token = self._take()
        del self._loose[before:]
        return (*nodes[:-1], Repeat(nodes[-1], self._reference(token)))

    def _nodes(self, most: int | None = None) -> Sequence[Node]:
        """As many plain leaves as come next, up to ``most``, or else one node."""
        leaves, offset = plain_leaves(self._text, self._token.offset, most, self._texts)
        if not leaves:
            return (self._node(),)
        self._token = next_token(self._text, offset)
        return leaves

    def _reference(self, token: Token) -> Reference:
        path = token.text[token.text.find("$") + 1 :] if "$" in token.text else ""
        steps = path.split(".") if path else []
        each = steps[:1] == ["*"]
        if each:
            self._loose.append(token)
        indices = tuple(int(step) - 1 for step in steps[each:])
        if -1 in indices:
            raise self._error(f"items of {token} are counted from 1", token)
        return Reference(indices, each)

    def _check(self, count: Token | None, length: int) -> None:
        if count is None or count.text == f"[{length}]":
            return
        least, dots, most = (part.strip() for part in count.text[1:-1].partition(".."))
        low = int(least) if least else 0
        high = int(most) if most else length if dots else low
        if not low <= length <= high:
            raise self._error(f"the count is {count}, but {length} follow", count)

    def _close(self, start: Token, what: str) -> None:
        if self._token.kind == "end":
            raise self._error("this item is never closed", start)
        if not self._skip(">"):
            raise self._error(f"expected {what} or >, found {self._token}")

    def _take(self) -> Token:
        token = self._token
        if token.kind != "end":
            self._token = next_token(self._text, token.offset + len(token.text))
        return token

    def _skip(self, sign: str) -> bool:
        if self._token.text != sign:
            return False
        self._take()
        return True

    def _error(self, problem: str, token: Token | None = None) -> SmlError:
        return SmlError.at(problem, self._text, (token or self._token).offset)

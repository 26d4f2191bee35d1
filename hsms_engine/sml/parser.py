"""SML text as statements: recursive descent over the tokens, one method for each rule of the
grammar in ``docs/sml.md``.

Types and ``W`` may be in upper or lower case. The full stop is optional, because a header begins
the next statement. Counts are compared with the number of elements. Answers have no names of items.

With notes, the same parser is the lenient one: where a text leaves this grammar and has one
meaning, there is a note, and it goes on. The page has a table of what it reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from hsms_engine.secs2 import MAX_DEPTH, MAX_LENGTH, Item, L, Leaf
from hsms_engine.sml.errors import OffsetError, SmlError
from hsms_engine.sml.lexer import (
    BLANKS,
    CORE,
    HEAD,
    LONGEST_NAME,
    NAME,
    PLAIN_LIST,
    QUOTES,
    START,
    Lexer,
    Token,
    shown,
)
from hsms_engine.sml.loose import Loosener, is_number
from hsms_engine.sml.nodes import (
    Direction,
    Node,
    OpenList,
    Reference,
    Repeat,
    Statement,
    Template,
    Variable,
)
from hsms_engine.sml.notes import NoteKind, Notes
from hsms_engine.sml.printer import quoted
from hsms_engine.sml.values import (
    ALIASES,
    MAKERS,
    PlainReader,
    ValueTokenError,
    bounded,
    makers,
    other_word,
    unfit,
)

_HEADER: Final = re.compile(r"[Ss]([0-9]{1,3})[Ff]([0-9]{1,3})")
_MAX_STREAM: Final = 127
_MAX_FUNCTION: Final = 255
_ITEM: Final = (L, Leaf)
_NAMED_REFERENCE: Final = re.compile(r"[A-Za-z_{]")
# What may be said of a W, and then is no word to pass over.
_SAID: Final = frozenset({"NO", "NOT", "NON", "NONE", "WITHOUT", "FALSE", "TRUE", "YES"})
_VALUES: Final = frozenset({"string", "number", "word"})
_NAMES: Final = frozenset({"string", "word", "escaped"})
_TEXTS: Final = frozenset({"A", "C", "J"})
_DIRECTIONS: Final[dict[str, Direction]] = {
    "H->E": "H->E",
    "E<-H": "H->E",
    "H<-E": "H<-E",
    "E->H": "H<-E",
    "H<->E": "H<->E",
    "E<->H": "H<->E",
    "INPUT": "INPUT",
    "OUTPUT": "OUTPUT",
}
# From here on, what only the lenient reader knows.
_LOOSE_VALUES: Final = _VALUES | {"escaped", "odd", "comma"}
_LOOSE_HEADER: Final = re.compile(rf"([{QUOTES}])? {CORE} (?(1) [ \t]*+ [{QUOTES}] )", re.VERBOSE)
_OPENED: Final = re.compile(rf"< \s*+ {HEAD}", re.VERBOSE)
_EARLY_WAIT: Final = re.compile(rf"[Ww] [ \t]+ (?={HEAD})", re.VERBOSE)
_NAMED: Final = re.compile(rf"(?P<name> {NAME} ) [:=] (?=\s*+ {HEAD})", re.VERBOSE)
_COMMENT: Final = re.compile(r"/\*.*?\*/")
_COMMA_COUNT: Final = re.compile(rf",[ \t]*([0-9]{{1,9}})(?=[\s<>,{QUOTES}])")
_BARE: Final = re.compile(
    rf"""
    < \s*+ (A|J|C|ASCII|JIS8) [ \t]*+ (?: (,) [ \t]*+ ([0-9]{{1,9}}+) | \[ ([0-9]{{1,9}}) \] )
    [ \t]? (?![\s<>,=\#{QUOTES}] | /[*/])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_BARE_REST: Final = re.compile(r"([^<>\n]*+)>")
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_START: Final = re.compile(START, re.VERBOSE)
# Where the reader goes on after a problem: at the beginning of a line, or behind what ends a
# statement. Comments and strings are passed over.
_RESUME: Final = re.compile(
    rf"""
      ^ {START}
    | [.;>] {BLANKS} (?P<behind> (?: [Ww] [ \t]++ )?+ <?+ [ \t]*+ {HEAD} )
    | (?P<open> /\* )
    | (?P<other> //[^\n]* | \#[^\n]* | "[^"\n]*" | '[^'\n]*' )
    """,
    re.VERBOSE | re.MULTILINE,
)
_ENDS: Final = frozenset({"", ".", ";", ">", "\n"})


def parse(text: str, text_encoding: str | None = None) -> list[Statement]:
    """All messages of ``text``, in order. Raises :class:`SmlError`.

    ``text_encoding`` is how the strings of A are encoded, a superset of ASCII; None: they are
    ASCII. Raises ``ValueError`` for another encoding.
    """
    try:
        return list(Parser(text, text_encoding=text_encoding).statements())
    except OffsetError as fault:
        raise _error(text, fault, _readable(text, text_encoding) is not None) from None


def parse_one(text: str, text_encoding: str | None = None) -> Statement:
    """The one message of ``text``. Raises as ``parse``, also for none or several."""
    try:
        parser = Parser(text, text_encoding=text_encoding)
        statement = parser.statement()
        parser.expect_end("one message")
    except OffsetError as fault:
        raise _error(text, fault, _readable(text, text_encoding) == 1) from None
    return statement


def parse_item(text: str, text_encoding: str | None = None) -> Item:
    """The one item of ``text``: ``parse_item('<U4 1 2>')``. Raises as ``parse``."""
    try:
        parser = Parser(text, text_encoding=text_encoding)
        item = parser.item()
        parser.expect_end("one item")
    except OffsetError as fault:
        raise _error(text, fault) from None
    return item


def parse_templates(text: str, text_encoding: str | None = None) -> list[Template]:
    """All answers of ``text``: SML that may refer to a request. Raises as ``parse``."""
    try:
        return list(Parser(text, text_encoding=text_encoding).templates())
    except OffsetError as fault:
        raise _error(text, fault) from None


def parse_template(text: str, text_encoding: str | None = None) -> Template:
    """The one message of ``text``, a primary or a reply, that may refer to a request, to the names
    of a pattern, and to variables: ``parse_template('S6F11 W <L [3] <U4 0> $ceid ${1001}>')``.

    Raises as ``parse``.
    """
    try:
        parser = Parser(text, text_encoding=text_encoding)
        template = parser.template()
        parser.expect_end("one message")
    except OffsetError as fault:
        raise _error(text, fault) from None
    return template


def parse_item_template(text: str, text_encoding: str | None = None) -> Node:
    """The one item of ``text``, with the same references: ``parse_item_template('<L $ceid <A>>')``.

    ``fill`` makes the item of it. Raises as ``parse``.
    """
    try:
        parser = Parser(text, text_encoding=text_encoding)
        node = parser.item_template()
        parser.expect_end("one item")
    except OffsetError as fault:
        raise _error(text, fault) from None
    return node


def _error(text: str, fault: OffsetError, is_readable: bool = False) -> SmlError:
    hint = "; sml.load reads it, with a note" if is_readable else ""
    return SmlError.at(f"{fault.problem}{hint}", text, fault.offset)


def _readable(text: str, text_encoding: str | None) -> int | None:
    """How many messages the lenient parser finds; None when one of them is a problem."""
    notes = Notes()
    loosener = Loosener(notes, None)
    try:
        parser = Parser(text, notes, loosener, text_encoding=text_encoding)
        count = sum(1 for _ in parser.statements())
    except OffsetError:
        return None
    return None if loosener.has_hex and loosener.doubtful else count


@dataclass(frozen=True, slots=True)
class _Head:
    name: str | None
    stream: int
    function: int
    wait: bool
    direction: Direction | None
    offset: int

    def __str__(self) -> str:
        return f"S{self.stream}F{self.function}"


class Parser:
    """The parser of one text; with ``notes`` and their ``loosener`` it is the lenient one.

    It raises :class:`OffsetError`. After one, the lenient parser can go on: see ``resume``.
    """

    def __init__(
        self,
        text: str,
        notes: Notes | None = None,
        loosener: Loosener | None = None,
        *,
        escapes: bool = False,
        text_encoding: str | None = None,
    ) -> None:
        self._text = text
        self._makers = makers(text_encoding)
        self._notes = notes
        self._loosener = loosener
        self._lexer = Lexer(text, notes, escapes)
        self._plain = PlainReader(text, notes, escapes, text_encoding)
        # Why the token is "bad". Only the lenient parser has such a token: what comes before it may
        # be whole.
        self._bad = OffsetError("", 0)
        # How many lists are open around the token.
        self._depth = 0
        # Whether there may be references and ellipses, as in answers.
        self._open = False
        # Whether the references may be names and variables, as in templates.
        self._is_template = False
        # The references to a repeated item (`$*`) that no ellipsis has followed yet.
        self._loose: list[Token] = []
        # The names of items of this statement, each with its way from the list that is being read.
        self._names: list[tuple[tuple[int, ...], Token]] = []
        # Whether items may have names: not where there is no statement to keep them.
        self._is_named = False
        # Where the leaf that is not closed may have taken the beginning of the next statement.
        self._taken: int | None = None
        # Before it, all has been read once: the reader goes back only behind it.
        self._furthest = 0
        # Up to here, the line of the header goes on.
        self._same_line = 0
        # The first word behind the header that was passed over.
        self._words: Token | None = None
        self._advance(0)

    @property
    def offset(self) -> int:
        """Where the next token begins."""
        return self._token.offset

    @property
    def is_at_end(self) -> bool:
        """Whether there are no more tokens."""
        return self._token.kind == "end"

    @property
    def comments(self) -> int:
        """How many comments were read so far."""
        return self._lexer.comments

    @property
    def lines(self) -> str:
        """The text, with each end of a line as a line feed."""
        return self._lexer.lines

    def statements(self) -> Iterator[Statement]:
        while not self.is_at_end:
            yield self.statement()

    def statement(self) -> Statement:
        self._depth = 0
        self._names.clear()
        self._is_named = True
        self._taken = None
        if self._lexer.over_lines != self.offset:
            self._lexer.over_lines = None
        opened = self._opens_message()
        if opened:
            self._note("header", "the message is in angle brackets")
            self._take()
        head = self._head()
        item = None
        if self._token.text == "<" and not self._opens_message():
            item = self.item()
            self._item_name(())
            if self._loosener is not None and self._is_wait() and not self._is_next_wait(head):
                self._note("W", f"the W of {head} is behind its item")
                head = self._with_wait(head, self._take())
        if opened and not self._skip(">"):
            raise self._error(f"expected > at the end of {head}, found {self._token}")
        self._end(head, item is not None, opened)
        return Statement(
            head.name,
            head.stream,
            head.function,
            head.wait,
            item,
            head.direction,
            self._item_names() if self._names else (),
        )

    def templates(self) -> Iterator[Template]:
        self._open = True
        while not self.is_at_end:
            start = self._token
            head = self._head()
            if head.wait or head.function % 2 or head.function == 0:
                raise self._error(
                    f"{head}{' W' if head.wait else ''} is no answer: an answer has an even "
                    "function and no W",
                    start,
                )
            yield self._template(head, start)

    def template(self) -> Template:
        self._open = self._is_template = True
        start = self._token
        return self._template(self._bare_head("a template"), start)

    def _template(self, head: _Head, start: Token) -> Template:
        begins = self._token.text == "<" or self._token.kind == "refer"
        node = self._whole_node() if begins else None
        self._skip(".")
        return Template(head.stream, head.function, node, start.offset, head.wait)

    def item_template(self) -> Node:
        self._open = self._is_template = True
        return self._whole_node()

    def _whole_node(self) -> Node:
        [node] = self._nodes(1)
        if self._loose:
            raise self._error("$* stands only in an item that an ellipsis repeats", self._loose[0])
        return node

    def item(self) -> Item:
        [node] = self._nodes(1)
        assert isinstance(node, Item)  # other nodes are refused at their first token
        return node

    def expect_end(self, what: str) -> None:
        if self._token.kind != "end":
            raise self._error(f"expected {what} and nothing after it, found {self._token}")

    # After a problem

    def resume(self, start: int, fault: int) -> bool:
        """Go on behind a fault in the statement that begins at ``start``; false if none follows."""
        limit = max(fault, self.offset, start + 1)
        places = [at for at in (self._taken, self._lexer.over_lines) if at is not None]
        if places and start >= self._furthest:
            self._furthest = limit
            limit = max(min(limit, *places), start + 1)
        found = self._next_start(start, limit)
        if found is not None:
            self._advance(found)
        return found is not None

    def _next_start(self, start: int, limit: int) -> int | None:
        """Where the first statement begins whose header is not before ``limit``."""
        lines = self._lexer.lines
        before = self._lexer.before(limit)
        is_here = before in _ENDS and _LOOSE_HEADER.match(lines, limit) is not None
        # The name of that statement may have been read as a part of this one.
        offset = lines.find("\n", max(limit - 2 * LONGEST_NAME, start), limit)
        offset = limit if offset < 0 else offset
        while match := _RESUME.search(lines, offset):
            offset = match.end()
            kind = match.lastgroup
            if kind == "open":
                # What follows one that is never closed may be meant as messages.
                with suppress(OffsetError):
                    offset = self._lexer.behind_comment(match.start())
                if self._lexer.before(match.start()) not in {"", "\n"}:
                    continue
                behind = _START.match(lines, offset)
                if behind is None:
                    continue
                match, kind, offset = behind, "head", behind.end()
            if kind in {"head", "behind"} and match.start(kind) >= limit:
                if is_here and match.start(kind) > limit:
                    break
                return match.start("start" if kind == "head" else kind)
        return limit if is_here else None

    # Statements

    def _head(self) -> _Head:
        early = None
        if self._loosener is not None and _EARLY_WAIT.match(self._text, self.offset):
            early = self._take()
            self._note("W", "W is before the header", early)
        name, token = self._named()
        stream, function, wait = self._header(token)
        head = _Head(name, stream, function, False, None, token.offset)
        self._same_line = token.offset
        self._words = None
        for each in (early, wait):
            if each is not None:
                head = self._with_wait(head, each)
        while (found := self._flag(head)) is not None:
            head = found
        return head

    def _bare_head(self, what: str) -> _Head:
        """The head of what is no message of a library."""
        start = self._token
        head = self._head()
        if head.name is not None:
            raise self._error(f"{what} has no name: leave {start}: out", start)
        if head.direction is not None:
            raise self._error(f"{what} has no direction: leave {head.direction} out", start)
        return head

    def _named(self) -> tuple[str | None, Token]:
        """The name, and the token that is a header or has to be."""
        token = self._token
        if token.kind in _NAMES:
            self._take()
            if self._token.text == ":":
                colon = self._take()
                if self._loosener is None or self._is_header(self._token):
                    return self._name(token), self._take()
                if self._is_header(token):
                    self._note("header", f"a colon is behind {token}", colon)
                    return None, token
            elif self._is_header(token):
                if self._loosener is None or not self._is_word() or self._is_header(self._token):
                    return None, token
            elif token.kind != "word" and self._loosener and self._is_header(self._token):
                self._note("name", f"{token} names {self._token}", token)
                return self._name(token), self._take()
        if self._loosener is not None:
            match = _NAMED.match(self._lexer.lines, token.offset)
            # Behind a header, a # begins a comment.
            if match is not None and not ("#" in match["name"] and self._is_header(token)):
                name = _COMMENT.sub("", match["name"]).strip()
                if name[:1] in {'"', "'"} and name[1:-1] and name[-1] == name[0]:
                    name = name[1:-1]
                self._note("name", f"{shown(name)} is a name", token)
                self._advance(match.end())
                return self._checked_name(name, token), self._take()
            if self._is_header(token):
                return None, token
        if token.kind not in _NAMES:
            self._take()
        return None, token

    def _is_word(self) -> bool:
        """Whether the token is a word that is neither W nor a direction nor the name of another
        message."""
        return (
            self._token.kind == "word"
            and not self._is_wait()
            and self._token.text.upper() not in _DIRECTIONS
            and not self._is_before_colon()
        )

    def _is_before_colon(self) -> bool:
        """Whether the token is the name of a message."""
        with suppress(OffsetError):
            colon = self._lexer.next(self._token.offset + len(self._token.text))
            return colon.text == ":" and self._is_header(self._lexer.next(colon.offset + 1))
        return False

    def _is_wait(self) -> bool:
        if self._token.kind == "wait":
            return True
        return self._token.text in {"W", "w"} and not self._is_before_colon()

    def _is_next_wait(self, head: _Head) -> bool:
        """Whether the W begins the line of the next message, where this one can have none."""
        return (
            self._loosener is not None
            and (head.wait or head.function % 2 == 0)
            and self._lexer.before(self.offset) == "\n"
            and _EARLY_WAIT.match(self._text, self.offset) is not None
        )

    def _is_header(self, token: Token) -> bool:
        if token.kind in {"word", "string"} and _HEADER.fullmatch(token.text.strip("'\"")):
            return True
        return self._loosener is not None and bool(_LOOSE_HEADER.match(self._text, token.offset))

    def _opens_message(self) -> bool:
        """Whether a message begins here that is in angle brackets as a whole."""
        return (
            self._loosener is not None
            and self._token.text == "<"
            and _OPENED.match(self._text, self.offset) is not None
        )

    def _header(self, token: Token) -> tuple[int, int, Token | None]:
        """Stream and function, and the W when it is a part of the header."""
        spelled = token.text.strip("'\"")
        wait = None
        if token.kind in {"word", "string"} and (match := _HEADER.fullmatch(spelled)):
            stream, function = int(match[1]), int(match[2])
        elif self._loosener and (match := _LOOSE_HEADER.match(self._text, token.offset)):
            stream, function = int(match[2]), int(match[3])
            spelled = match[0]
            self._note("header", f"{spelled} is S{stream}F{function}", token)
            if match[4] is not None:
                wait = Token("word", match[4], match.start(4))
            self._advance(match.end())
        else:
            raise self._error(f"expected a message like S1F13, found {token}", token)
        if stream > _MAX_STREAM or function > _MAX_FUNCTION:
            raise self._error(f"{spelled} is not in S0F0..S{_MAX_STREAM}F{_MAX_FUNCTION}", token)
        return stream, function, wait

    def _with_wait(self, head: _Head, wait: Token) -> _Head:
        if head.function % 2 == 0:
            self._note("W", f"{head} has an even function: no W", wait)
            return head
        if head.wait:
            self._note("W", f"{head} has W twice", wait)
        return replace(head, wait=True)

    def _flag(self, head: _Head) -> _Head | None:
        """The head with what follows it; None when that belongs to no head."""
        token = self._token
        word = token.text.upper()
        if self._is_wait():
            if self._is_next_wait(head):
                return None
            if token.kind == "wait" and word != "[W]":
                self._note("W", f"{token} is W")
            return self._with_wait(head, self._take())
        if token.kind == "arrow" or (word in _DIRECTIONS and not self._is_before_colon()):
            self._take()
            if word[0] in "[(":
                self._note("header", f"{token} is a direction", token)
                word = word.strip("[()]")
            if head.direction is not None:
                self._note("passed over", f"a second direction, {token}", token)
                return head
            return replace(head, direction=_DIRECTIONS["".join(word.split())])
        return None if self._loosener is None else self._loose_flag(head)

    def _loose_flag(self, head: _Head) -> _Head | None:
        token = self._token
        word = token.text.upper()
        if token.text == "=":
            self._take()
            self._require_unsaid(head, head.wait)
            return self._with_name(head, self._take())
        if token.text == ":" or token.kind == "comma":
            self._note("header", f"{token} is behind {head}")
            self._take()
            return head
        # The next line may begin the next message.
        if self._lexer.lines.find("\n", self._same_line, token.offset) >= 0:
            return None
        self._same_line = token.offset
        if self._is_header(token) or (token.kind in _NAMES and self._is_before_colon()):
            return None
        if word in {"'W'", '"W"', "WAIT"}:
            self._note("W", f"{token} is W")
            return self._with_wait(head, self._take())
        if token.kind in {"string", "escaped"}:
            return self._with_name(head, self._take())
        if not self._is_word() and token.kind != "bound":
            return None
        if _type_of(token) is not None:
            raise self._error(f"expected <, found {token}", token)
        self._require_unsaid(head, True)
        if token.kind == "word" and self._words is None:
            self._words = token
        self._note("passed over", f"{token} behind {head}")
        self._take()
        return head

    def _require_unsaid(self, head: _Head, may_be_said: bool) -> None:
        if may_be_said and self._token.text.upper() in _SAID:
            raise self._error(
                f"{self._token} behind {head} may be said of its W: write W or nothing"
            )

    def _with_name(self, head: _Head, token: Token) -> _Head:
        if token.kind not in _NAMES:
            raise self._error(f"expected a name, found {token}", token)
        name = self._name(token)
        if head.name is not None:
            self._note("passed over", f"a second name, {token}", token)
            return head
        self._note("name", f"{token} names {head}", token)
        return replace(head, name=name)

    def _name(self, token: Token) -> str:
        if token.kind == "escaped":
            assert self._loosener is not None  # only the lenient reader has such tokens
            token = self._loosener.text(token)
        return self._checked_name(token.text if token.kind == "word" else token.text[1:-1], token)

    def _checked_name(self, name: str, token: Token) -> str:
        """The name, if it can be written again."""
        try:
            quoted(name)
        except ValueError as error:
            raise self._error(str(error), token) from None
        return name

    def _end(self, head: _Head, has_item: bool, is_closed: bool) -> None:
        """Read what ends a statement, and see that nothing follows that belongs to none."""
        if self._loosener is None:
            self._skip(".")
            return
        stops = 0
        while self._token.kind in {"stop", "repeat"}:
            if stops or self._token.text != ".":
                self._note("full stop", f"{self._token} is the end of {head}")
            stops += 1
            self._take()
        if self._opens_message() or self._token.kind in {"end", *_NAMES}:
            if not (stops or has_item or is_closed):
                self._require_whole(head)
            return
        if not stops or (self._token.text == "<" and not has_item):
            raise self._error(f"expected the end of {head}, found {self._token}")

    def _require_whole(self, head: _Head) -> None:
        """Refuse a header without item and full stop that may be none, or has its item behind."""
        if self._words is not None:
            raise self._error(
                f"{self._words} behind {head}, and no item or full stop: a message or a heading",
                self._words,
            )
        is_name = (
            self._is_before_colon() or _START.match(self._lexer.lines, self.offset) is not None
        )
        if _type_of(self._token) is not None and not is_name:
            raise self._error(f"expected <, found {self._token}")

    # Items

    def _node(self) -> Node:
        if self._token.kind == "refer" and self._open:
            return self._reference(self._take())
        start = self._token
        begin = PLAIN_LIST.match(self._text, start.offset)
        if begin is not None:
            self._advance(begin.end())
            count = None if begin[1] is None else Token("count", begin[1], begin.start(1))
            return self._list(start, count)
        if self._loosener is not None and (item := self._bare_text(start)) is not None:
            return item
        if not self._skip("<"):
            raise self._error(f"expected an item, found {start}")
        kind = self._take()
        name = _type_of(kind)
        if name is None or (self._loosener is None and name != kind.text.upper()):
            if self._loosener is not None and kind.text.upper() == "V":
                return self._any_value(start)
            raise self._error(f"expected an item type (L, A, U4, ...), found {kind}", kind)
        if name != kind.text.upper():
            self._note("type", other_word(kind.text), kind)
        count = self._count(name, kind)
        if name == "L":
            return self._list(start, count)
        return self._leaf(name, start, count)

    def _any_value(self, start: Token) -> Item:
        self._close(start, "nothing")
        self._note("no value", "<V> stands for any value: it is an empty list", start)
        return L()

    def _bare_text(self, start: Token) -> Item | None:
        """The item of text without quotes, when its count says that it is one."""
        match = _BARE.match(self._text, start.offset)
        if match is None:
            return None
        begin = match.end()
        rest = _BARE_REST.match(self._text, begin)
        if rest is None:
            return None
        name = ALIASES.get(match[1].upper(), match[1].upper())
        length = int(match[3] or match[4])
        text = rest[1].rstrip(" \t")
        # Blanks at the end may be counted too.
        blanks = length - self._bare_length(name, text)
        pieces = text.split()
        is_codes = all(map(is_number, pieces))
        if 0 <= blanks <= len(rest[1]) - len(text):
            text = rest[1][: len(text) + blanks]
            if is_codes and (match[2] is None or len(pieces) == length):
                raise self._error(
                    f"{shown(text)} may be text or the codes of bytes: text needs quotes", start
                )
        elif match[2] is None or is_codes or '"' in text or "'" in text:
            return None
        else:
            text = text.strip()
            if "/*" in text:
                raise self._error(
                    f"{shown(text)} may be text, or text and a comment: text needs quotes", start
                )
            self._note("count", unfit(match[3], self._bare_length(name, text)), start)
        if name != match[1].upper():
            self._note("type", other_word(match[1]), start)
        self._note("bare text", f"{shown(text)} has no quotes", start)
        self._advance(rest.end())
        return self._made(name, (Token("string", f'"{text}"', begin),), start)

    def _bare_length(self, name: str, text: str) -> int:
        """The length that a count has to have: in bytes, when the text can be encoded."""
        try:
            return len(self._makers[name]((Token("string", f'"{text}"', 0),)))
        except ValueError:
            return len(text)

    def _leaf(self, name: str, start: Token, count: Token | None) -> Item:
        kinds = _VALUES if self._loosener is None else _LOOSE_VALUES
        values: list[Token] = []
        taken: int | None = None
        self._inner_name()
        while self._token.kind in kinds:
            if self._begins_statement():
                if self._token.kind == "word":
                    break
                # Text that is closed may look like a header.
                taken = self.offset if taken is None else taken
            values.append(self._take())
        self._inner_name()
        if self._token.text != ">":
            self._taken = taken
        self._close(start, "a value")
        if count is not None and count.kind == "bound" and not values:
            self._require_no_value(name, count)
        if self._loosener is not None:
            values = self._loosened(name, values, count)
        item = self._made(name, values, start)
        self._check(count, len(item))
        return item

    def _begins_statement(self) -> bool:
        """Whether the token begins a line as a statement does: an item before it may be open."""
        return (
            self._loosener is not None
            and self._token.kind in _NAMES
            and self._lexer.before(self.offset) == "\n"
            and _START.match(self._lexer.lines, self.offset) is not None
        )

    def _require_no_value(self, name: str, count: Token) -> None:
        if count.text[0] == "," and name not in _TEXTS and count.text.strip(", \t0"):
            raise self._error(
                f"{count} may be a count without values, or a value: write a count as [1]", count
            )
        self._note("no value", "no value is given: the item is empty", count)

    def _loosened(self, name: str, values: list[Token], count: Token | None) -> list[Token]:
        """The values as the grammar has them. Those that it has are left alone, but for bytes."""
        assert self._loosener is not None  # this is the lenient reader
        is_quoted = bool(values) and values[0].kind == "string" and name not in _TEXTS
        if name != "B" and not is_quoted:
            try:
                self._makers[name](values)
            except ValueError:
                pass
            else:
                return values
        digits = None if count is None else _DIGITS.search(count.text)
        try:
            return self._loosener.values(name, values, digits and int(digits[0]))
        except ValueTokenError as error:
            raise self._error(str(error), error.token) from None

    def _made(self, name: str, values: Sequence[Token], start: Token) -> Item:
        try:
            return self._makers[name](values)
        except ValueTokenError as error:
            raise self._error(str(error), error.token) from None
        except ValueError as error:
            raise self._error(str(error), start) from None

    def _list(self, start: Token, count: Token | None) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"lists are nested more than {MAX_DEPTH} deep", start)
        if self._token.text == "=":
            self._inner_name()
        names = self._names
        nodes: list[Node | Repeat] = []
        while True:
            if self._begins_element():
                named = len(names)
                nodes += self._elements()
                if len(names) > named:
                    index = len(nodes) - 1
                    names[named:] = [((index, *path), token) for path, token in names[named:]]
                if self._token.text == "=":
                    self._item_name((len(nodes) - 1,))
            elif self._loosener is not None and self._token.kind == "comma":
                self._note("comma", "a comma between items")
                self._take()
            else:
                break
        self._depth -= 1
        self._close(start, "an item")
        items = [node for node in nodes if isinstance(node, _ITEM)]
        if len(items) == len(nodes):
            self._check(count, len(items))
            return L(*items)
        if not any(isinstance(node, Repeat) for node in nodes):
            self._check(count, len(nodes))
        return OpenList(tuple(nodes))

    def _begins_element(self) -> bool:
        if self._token.text == "<":
            return not self._opens_message()
        return self._token.kind == "refer" and self._open

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
        leaves, offset = self._plain.leaves(self._token.offset, most)
        if not leaves:
            return (self._node(),)
        self._advance(offset)
        return leaves

    # Names of items

    def _item_name(self, path: tuple[int, ...]) -> None:
        """Keep the name behind an item, if it has one."""
        if self._is_named and self._skip("="):
            token = self._take()
            if token.kind not in _NAMES:
                raise self._error(f"expected a name, found {token}", token)
            self._names.append((path, token))

    def _item_names(self) -> tuple[tuple[tuple[int, ...], str], ...]:
        """The names of the items of this statement. A list comes behind what is in it."""
        named: dict[tuple[int, ...], str] = {}
        for path, token in sorted(self._names, key=lambda each: (*each[0], MAX_LENGTH)):
            if path in named:
                self._note("passed over", f"a second name, {token}", token)
            else:
                named[path] = self._name(token)
        return tuple(named.items())

    def _inner_name(self) -> None:
        """Keep the name inside an item, which other tools have there."""
        if self._loosener is not None and self._token.text == "=":
            self._note("name", "the name of an item is inside it")
            self._item_name(())

    def _reference(self, token: Token) -> Reference | Variable:
        root = token.text.removeprefix("...").removeprefix("$")
        if not self._is_template and _NAMED_REFERENCE.match(root):
            raise self._error(
                f"{token} is for rules and scenarios: an answer refers to the request by position, "
                "as $2.1",
                token,
            )
        if root.startswith("{"):
            name = root[1:-1].strip()
            if not name:
                raise self._error("expected the id or the name of a variable: ${1001}", token)
            return Variable(name)
        steps = root.split(".") if root else []
        each = steps[:1] == ["*"]
        if each:
            self._loose.append(token)
        is_named = bool(_NAMED_REFERENCE.match(root))
        indices = tuple(int(step) - 1 for step in steps[each or is_named :])
        if -1 in indices:
            raise self._error(f"items of {token} are counted from 1", token)
        return Reference(indices, each, steps[0] if is_named else None)

    # Counts

    def _count(self, name: str, kind: Token) -> Token | None:
        """The count, as a token of the kind ``"bound"`` when the grammar does not have it."""
        token = self._token
        if token.kind in {"count", "bound"}:
            return self._take()
        if self._loosener is None:
            return None
        is_near = name == "L" or token.offset == kind.offset + len(kind.text)
        if is_near and (match := _COMMA_COUNT.match(self._text, token.offset)):
            if name != "L" and name not in _TEXTS and self._text[match.end()] == ",":
                raise self._error(f"{match[0]} may be a count, or a value: write a count as [1]")
            self._advance(match.end())
            return Token("bound", match[0], token.offset)
        if name == "L" and token.kind == "number" and token.text.isdigit():
            self._take()
            return Token("bound", token.text, token.offset)
        return None

    def _check(self, count: Token | None, length: int) -> None:
        if count is None or count.text == f"[{length}]":
            return
        if count.kind == "bound":
            self._note("count", bounded(count.text, length), count)
            return
        least, dots, most = (part.strip() for part in count.text[1:-1].partition(".."))
        low = int(least) if least else 0
        high = int(most) if most else length if dots else low
        if not low <= length <= high:
            self._note("count", unfit(count.text, length), count)

    # Tokens

    def _close(self, start: Token, what: str) -> None:
        if self._token.kind == "end":
            raise self._error("this item is never closed", start)
        if not self._skip(">"):
            problem = f"expected {what} or >, found {self._token}"
            if self._token.kind == "refer" and self._open:
                problem += ", which stands for a whole item: write it without a type"
            raise self._error(problem)

    def _take(self) -> Token:
        token = self._token
        if token.kind == "bad":
            raise self._bad
        if token.kind != "end":
            self._advance(token.offset + len(token.text))
        return token

    def _advance(self, offset: int) -> None:
        """Go on with the first token at ``offset`` or after it."""
        try:
            self._token = self._lexer.next(offset)
        except OffsetError as fault:
            if self._notes is None:
                raise
            self._bad = fault
            self._token = Token("bad", "", fault.offset)

    def _skip(self, sign: str) -> bool:
        if self._token.text != sign:
            return False
        self._take()
        return True

    def _note(self, kind: NoteKind, text: str, token: Token | None = None) -> None:
        """Say where the text leaves the grammar. For the strict parser that is a fault."""
        token = token or self._token
        if self._notes is None:
            raise OffsetError(text, token.offset)
        self._notes.add(kind, text, token.offset)

    def _error(self, problem: str, token: Token | None = None) -> OffsetError:
        token = token or self._token
        if token.kind == "refer" and not self._open:
            problem += "; only patterns and templates refer to items"
        return self._bad if token.kind == "bad" else OffsetError(problem, token.offset)


def _type_of(token: Token) -> str | None:
    """The type that a token names."""
    name = token.text.upper()
    name = ALIASES.get(name, name)
    return name if token.kind == "word" and (name == "L" or name in MAKERS) else None

"""What may come from a store: what passes is read by coredis, and never costs more than it may."""

from __future__ import annotations

from itertools import pairwise

import pytest
from coredis.exceptions import RedisError
from coredis.parser import NotEnoughData, Parser
from hypothesis import example, given
from hypothesis import strategies as st

from hsms_engine.lease.replies import Replies, UnreadableError

LONGEST = 200

_texts = st.binary(max_size=12)
_scalars = st.one_of(
    st.integers(-(10**18), 10**18).map(lambda number: b":%d\r\n" % number),
    _texts.map(lambda text: b"$%d\r\n%s\r\n" % (len(text), text)),
    st.sampled_from([b"_\r\n", b"#t\r\n", b"#f\r\n", b"$-1\r\n", b"*-1\r\n", b"=6\r\ntxt:ab\r\n"]),
    st.sampled_from([b"+OK\r\n", b"-ERR no\r\n", b"-MOVED 1 a:2\r\n", b",1.5\r\n", b",inf\r\n"]),
)


def _list(parts: list[bytes], kind: bytes = b"*") -> bytes:
    return b"%s%d\r\n%s" % (kind, len(parts), b"".join(parts))


replies = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(_list),
        st.lists(st.tuples(_texts, inner), max_size=3).map(
            lambda pairs: (
                b"%%%d\r\n" % len(pairs)
                + b"".join(b"$%d\r\n%s\r\n%s" % (len(key), key, value) for key, value in pairs)
            )
        ),
    ),
    max_leaves=8,
)
pushes = st.lists(_scalars, min_size=1, max_size=3).map(lambda parts: _list(parts, b">"))


def _counted(parser: Parser, data: bytes) -> int:
    """How many replies coredis reads."""
    parser.feed(data)
    found = 0
    while not isinstance(parser.parse(), NotEnoughData):
        found += 1
    return found


def _cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(each % (len(data) + 1) for each in at)})
    return [data[one:two] for one, two in pairwise(places)]


@given(st.lists(st.one_of(replies, pushes), max_size=5), st.lists(st.integers(0, 500), max_size=5))
def test_replies_are_counted_as_coredis_reads_them(parts: list[bytes], at: list[int]) -> None:
    seen, parser = Replies(10_000), Parser()
    read = 0
    for piece in _cut(b"".join(parts), at):
        seen.feed(piece)
        read += _counted(parser, piece)
        assert seen.answered + seen.pushes == read
    assert read == len(parts)
    assert seen.pushes == sum(part.startswith(b">") for part in parts)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.lists(
            st.sampled_from(
                [*(bytes([each]) for each in b"+-:$*_,#=!(%~>|0123x"), b"\r\n", b"MOVED "]
            ),
            max_size=30,
        ).map(b"".join),
    ),
    st.lists(st.integers(0, 100), max_size=4),
)
@example(b"-MOVED x\r\n", [])
@example(b",x\r\n", [])
@example(b"%1\r\n%1\r\n+a\r\n+b\r\n+c\r\n", [])
def test_what_passes_does_not_break_coredis(data: bytes, at: list[int]) -> None:
    seen, parser = Replies(LONGEST), Parser()
    try:
        for piece in _cut(data, at):
            seen.feed(piece)
            _counted(parser, piece)
    except RedisError:
        # Ours, and what coredis itself says of a reply.
        return


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"+", b"x"),
        (b"$", b"0"),
        (b":", b"1"),
        (b"*2\r\n", b"*2\r\n"),
        (b"*999999\r\n", b":1\r\n"),
        (b"*99\r\n", b"$9\r\n123456789\r\n"),
        (b">999999\r\n", b"_\r\n"),
    ],
)
def test_a_reply_without_end_is_given_up(begins: bytes, goes_on: bytes) -> None:
    seen = Replies(LONGEST)
    seen.feed(begins)
    fed = len(begins)
    while fed <= LONGEST:
        fed += len(goes_on)
        try:
            seen.feed(goes_on)
        except UnreadableError:
            return
    pytest.fail("more was taken than one reply may have")


def test_replies_of_the_greatest_size_pass() -> None:
    seen = Replies(LONGEST)
    body = LONGEST - len(b"$193\r\n\r\n")
    reply = b"$%d\r\n%s\r\n" % (body, bytes(body))
    assert len(reply) == LONGEST
    for _ in range(3):
        seen.feed(reply)
    assert seen.answered == 3
    with pytest.raises(UnreadableError, match="longer than 200 bytes"):
        seen.feed(b"$%d\r\n" % (body + 1))

"""secsgem 0.3, an implementation that owes us nothing, writes and reads the same bytes."""

from typing import Any

import secsgem.secs.variables as theirs
from hypothesis import given
from hypothesis import strategies as st
from secsgem.secs.variables.dynamic import ANYVALUE

from hsms_engine.secs2 import (
    BOOLEAN,
    F4,
    F8,
    NUMERICS,
    A,
    B,
    Item,
    J,
    L,
    Leaf,
    Numeric,
    decode,
    encode,
)
from tests.support import items as ours

THEIRS: dict[type[Item], str] = {A: "String", B: "Binary", J: "JIS8", BOOLEAN: "Boolean"}
THEIRS |= {kind: kind.__name__ for kind in NUMERICS if kind is not BOOLEAN}

# What secsgem knows: no localized strings, no J inside a list, no infinities and not even the
# largest floats, because it rounds the bounds.
_finite = st.one_of(
    st.lists(st.floats(-(2.0**127), 2.0**127, width=32), max_size=4).map(F4),
    st.lists(st.floats(-1e308, 1e308), max_size=4).map(F8),
)
_leaves = st.one_of(
    ours.booleans,
    ours.integers,
    _finite,
    st.builds(A, st.text(st.characters(max_codepoint=127), max_size=300)),
    st.binary(max_size=300).map(B),
)
known: st.SearchStrategy[Item] = st.recursive(
    _leaves, lambda children: st.lists(children, max_size=5).map(lambda some: L(*some))
)


def built_by_secsgem(item: Item) -> Any:
    """The same item, of secsgem's types and the same Python values."""
    match item:
        case L():
            whole = theirs.Array(ANYVALUE)
            whole.data = [built_by_secsgem(one) for one in item]
            return whole
        case Numeric():
            return getattr(theirs, THEIRS[type(item)])(list(item))
        case _:
            return getattr(theirs, THEIRS[type(item)])(item.to_python())


def plain(item: Item) -> Any:
    """What secsgem's ``get`` gives for the item: one byte of binary is a number to it."""
    match item:
        case L():
            return [plain(one) for one in item]
        case B(data) if len(data) == 1:
            return data[0]
        case _:
            assert isinstance(item, Leaf)
            return item.to_python()


@given(known)
def test_secsgem_writes_the_same_bytes(item: Item) -> None:
    assert encode(item) == built_by_secsgem(item).encode()


@given(known)
def test_secsgem_reads_the_same_values(item: Item) -> None:
    body = encode(item)
    seen = ANYVALUE()
    assert seen.decode(body) == len(body)
    assert seen.get() == plain(item)


@given(known)
def test_we_read_what_secsgem_writes(item: Item) -> None:
    assert decode(built_by_secsgem(item).encode()) == item


@given(st.binary(max_size=300))
def test_jis8_text_means_the_same_to_secsgem(data: bytes) -> None:
    item = J(data)
    assert theirs.JIS8(item.value).encode() == encode(item)
    seen = theirs.JIS8()
    seen.decode(encode(item))
    assert seen.get() == item.value

"""Hypothesis strategies for SECS-II items: every type, every length, every bit pattern; and for
statements of SML with them."""

from hypothesis import strategies as st

from hsms_engine.secs2 import BOOLEAN, INTEGERS, REALS, A, B, C, Item, J, L, Leaf
from hsms_engine.sml import Statement

_RAW = st.binary(max_size=40)

booleans = st.lists(st.booleans(), max_size=5).map(BOOLEAN)
integers = st.one_of(
    [
        st.lists(
            st.integers(
                *(
                    (0, 2 ** (8 * kind.size) - 1)
                    if kind.__name__[0] == "U"
                    else (-(2 ** (8 * kind.size - 1)), 2 ** (8 * kind.size - 1) - 1)
                )
            ),
            max_size=5,
        ).map(kind)
        for kind in INTEGERS
    ]
)
# Any bits: also infinities, all NaNs, subnormals.
reals = st.one_of(
    [
        st.lists(st.binary(min_size=kind.size, max_size=kind.size), max_size=4)
        .map(b"".join)
        .map(kind.from_raw)
        for kind in REALS
    ]
)
localized = st.one_of(
    st.builds(C, st.text(max_size=20)),
    st.builds(C, _RAW, encoding=st.integers(0, 20) | st.integers(0, 0xFFFF)),
    st.just(C.from_raw(b"")),
)
# Long enough for items with two length bytes.
texts = st.one_of(
    st.builds(A, st.text(st.characters(max_codepoint=127), max_size=300)),
    _RAW.map(A),
    _RAW.map(J),
)

leaves: st.SearchStrategy[Leaf] = st.one_of(
    booleans, integers, reals, localized, texts, st.binary(max_size=300).map(B)
)
items: st.SearchStrategy[Item] = st.recursive(
    leaves,
    lambda children: st.lists(children, max_size=6).map(lambda some: L(*some)),
    max_leaves=20,
)

statements = st.builds(
    lambda name, stream, half, primary, wait, item: Statement(
        name, stream, 2 * half + primary, wait and primary, item
    ),
    st.none() | st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,10}", fullmatch=True),
    st.integers(0, 127),
    st.integers(0, 127),
    st.booleans(),
    st.booleans(),
    st.none() | items,
)

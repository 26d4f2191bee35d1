"""SECS-II items (SEMI E5): Python values with a type, and their bytes.

::

    body = encode(L("MDLN", U4(1, 2), [True, F4(0.5)]))
    match decode(body):
        case L(A(name), U4(values=[first, second]), L(), length=3):
            ...

Items are immutable, hashable, have a length, and are checked when they are made. They are equal
when they encode to the same bytes. See ``base`` for what all items share, ``numbers``, ``binary``
and ``text`` for the leaves, ``lists`` for lists and type inference, ``codec`` for the bytes. This
package does not know messages, SML or connections, and needs only the standard library.
"""

from hsms_engine.secs2.base import MAX_DEPTH, MAX_LENGTH, Leaf
from hsms_engine.secs2.binary import B
from hsms_engine.secs2.codec import (
    MAX_ITEMS,
    DecodeError,
    SeveralItemsError,
    decode,
    decode_all,
    encode,
)
from hsms_engine.secs2.encodings import ENCODINGS, SUPERSETS
from hsms_engine.secs2.lists import Item, L, Plain, item_of
from hsms_engine.secs2.numbers import (
    BOOLEAN,
    F4,
    F8,
    I1,
    I2,
    I4,
    I8,
    INTEGERS,
    NUMERICS,
    REALS,
    U1,
    U2,
    U4,
    U8,
    Integer,
    Real,
)
from hsms_engine.secs2.numeric import Numeric
from hsms_engine.secs2.text import A, C, J, Text

__all__ = [
    "BOOLEAN",
    "ENCODINGS",
    "F4",
    "F8",
    "I1",
    "I2",
    "I4",
    "I8",
    "INTEGERS",
    "MAX_DEPTH",
    "MAX_ITEMS",
    "MAX_LENGTH",
    "NUMERICS",
    "REALS",
    "SUPERSETS",
    "U1",
    "U2",
    "U4",
    "U8",
    "A",
    "B",
    "C",
    "DecodeError",
    "Integer",
    "Item",
    "J",
    "L",
    "Leaf",
    "Numeric",
    "Plain",
    "Real",
    "SeveralItemsError",
    "Text",
    "decode",
    "decode_all",
    "encode",
    "item_of",
]

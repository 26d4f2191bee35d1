"""Encodings of text: those of localized strings, and which one a link or a file may have.

The text of an A is bytes, and the bytes say nothing of their encoding: whoever knows it gives its
name. One for all the text of a link or of a file is a superset of ASCII, so that ASCII is the same
bytes with it and without it, wherever it stands.
"""

from __future__ import annotations

import codecs
from contextlib import suppress
from functools import lru_cache
from typing import Final

ENCODINGS: Final = {
    1: "utf-16-be",
    2: "utf-8",
    3: "ascii",
    4: "latin-1",
    5: "iso8859-11",
    6: "tis-620",
    8: "shift_jis",
    9: "euc_jp",
    10: "euc_kr",
    11: "gb2312",
    12: "gb2312",
    13: "big5",
}
"""The encoding numbers in the header of a localized string (SEMI E5), and Python's names.

7 (ISCII) and 14 (EUC-TW) exist too, but not in Python.
"""

SUPERSETS: Final = {
    8: ("cp932",),
    10: ("cp949",),
    11: ("gb18030",),
    12: ("gb18030",),
    13: ("big5hkscs", "cp950"),
}
"""The wider encodings that are written under the same numbers, by Windows above all.

They are read, and written only for text that the encoding of the number does not have; the first
one that has it.
"""

# Each character of ASCII before and after each other one: an encoding in which some of them mean
# something else, alone or together (an escape), does not give this back.
_ALL_PAIRS: Final = "".join(f"{chr(one)}{chr(two)}" for one in range(128) for two in range(128))


def known(encoding: str) -> str:
    """``encoding``, when it is one of text that Python knows. Raises ``ValueError``."""
    try:
        codecs.lookup(encoding)
        # What a known one does not have is another question.
        with suppress(UnicodeError):
            "x".encode(encoding)
    except (LookupError, TypeError, ValueError):
        raise ValueError(
            f"{encoding!r} is no encoding of text that Python knows, such as utf-8, cp932 or gbk"
        ) from None
    return encoding


def superset_of_ascii(encoding: str) -> str:
    """``encoding``, when it may be that of a link or a file. Raises ``ValueError``."""
    if _keeps_ascii(known(encoding)):
        return encoding
    raise ValueError(
        f"{encoding!r} is no superset of ASCII: it writes some ASCII as other bytes, or reads it "
        "as other characters; utf-8, cp932, gb18030, cp949, big5hkscs and latin-1 are supersets"
    )


@lru_cache
def _keeps_ascii(encoding: str) -> bool:
    try:
        data = _ALL_PAIRS.encode(encoding)
        return data == _ALL_PAIRS.encode("ascii") and data.decode(encoding) == _ALL_PAIRS
    except UnicodeError:
        return False

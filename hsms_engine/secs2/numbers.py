"""The eleven types of numbers and truth: BOOLEAN, I1 to I8, U1 to U8, F4, F8.

Constructors first check for a single plain value, because most items of a message are that.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import wraps
from struct import Struct, error
from typing import TYPE_CHECKING, Any, Final, SupportsFloat, SupportsIndex, final

from hsms_engine.secs2.numeric import Numeric, swapped

if TYPE_CHECKING:
    from typing_extensions import Buffer

_NORMAL: Final = bytes((0,)) + bytes((1,)) * 255


@final
class BOOLEAN(Numeric[bool]):
    """Truth values: ``BOOLEAN(True)``, ``BOOLEAN(True, False)``, format code 0o11.

    Takes ``bool`` only (a buffer: only of truth values). Any byte but 0 is read as true and
    written as 1 (SEMI E5).
    """

    __slots__ = ()
    code = 0o11
    kind = "b1"
    _takes = "bool"
    _numbers = ()

    def __init__(self, value: bool | Iterable[bool] | Buffer = (), /, *values: bool) -> None:
        if (value is True or value is False) and not values:
            self._wire = b"\x25\x01\x01" if value else b"\x25\x01\x00"
        else:
            self._take(value, values)

    def _packed(self, values: Sequence[Any]) -> bytes:
        if not all(map(self._fits, values)):
            raise self._first_unfit(values)
        return bytes(values)

    def _fits(self, value: object) -> bool:
        return value is True or value is False

    @classmethod
    def normal(cls, payload: bytes) -> bytes:
        return payload.translate(_NORMAL)


class Integer(Numeric[int]):
    """The base of the eight integer types."""

    __slots__ = ()
    _takes = "int"
    _numbers = (int,)

    def __init__(
        self,
        value: SupportsIndex | Iterable[SupportsIndex] | Buffer = (),
        /,
        *values: SupportsIndex,
    ) -> None:
        self._take(value, values)

    def _packed(self, values: Sequence[Any]) -> bytes:
        try:
            numbers = array(self.letter, values)
        except (OverflowError, TypeError):
            raise self._first_unfit(values) from None
        return swapped(numbers)


class Real(Numeric[float]):
    """The base of the two floating point types."""

    __slots__ = ()
    _takes = "float or int"
    _numbers = (int, float)

    def __init__(
        self,
        value: SupportsFloat | Iterable[SupportsFloat] | Buffer = (),
        /,
        *values: SupportsFloat,
    ) -> None:
        if type(value) is float and not values:
            try:
                self._wire = self.pack_one(self.head_one, value)
            except OverflowError:
                raise self._unfit(value) from None
        else:
            self._take(value, values)

    def _packed(self, values: Sequence[Any]) -> bytes:
        try:
            return Struct(f">{len(values)}{self.letter}").pack(*values)
        except (error, OverflowError):
            raise self._first_unfit(values) from None


@final
class I1(Integer):
    """Signed 8-bit integers, -128..127, format code 0o31."""

    __slots__ = ()
    code = 0o31
    kind = "i1"
    _range = "-128..127"


@final
class I2(Integer):
    """Signed 16-bit integers, -32768..32767, format code 0o32."""

    __slots__ = ()
    code = 0o32
    kind = "i2"
    _range = "-32768..32767"


@final
class I4(Integer):
    """Signed 32-bit integers, -2147483648..2147483647, format code 0o34."""

    __slots__ = ()
    code = 0o34
    kind = "i4"
    _range = "-2147483648..2147483647"


@final
class I8(Integer):
    """Signed 64-bit integers, -9223372036854775808..9223372036854775807, format code 0o30."""

    __slots__ = ()
    code = 0o30
    kind = "i8"
    _range = "-9223372036854775808..9223372036854775807"


@final
class U1(Integer):
    """Unsigned 8-bit integers, 0..255, format code 0o51."""

    __slots__ = ()
    code = 0o51
    kind = "u1"
    _range = "0..255"


@final
class U2(Integer):
    """Unsigned 16-bit integers, 0..65535, format code 0o52."""

    __slots__ = ()
    code = 0o52
    kind = "u2"
    _range = "0..65535"


@final
class U4(Integer):
    """Unsigned 32-bit integers, 0..4294967295, format code 0o54."""

    __slots__ = ()
    code = 0o54
    kind = "u4"
    _range = "0..4294967295"


@final
class U8(Integer):
    """Unsigned 64-bit integers, 0..18446744073709551615, format code 0o50."""

    __slots__ = ()
    code = 0o50
    kind = "u8"
    _range = "0..18446744073709551615"


@final
class F4(Real):
    """IEEE 754 single precision numbers, format code 0o44."""

    __slots__ = ()
    code = 0o44
    kind = "f4"
    _range = "-3.4028235e+38..3.4028235e+38"


@final
class F8(Real):
    """IEEE 754 double precision numbers, format code 0o40."""

    __slots__ = ()
    code = 0o40
    kind = "f8"
    _range = "-1.7976931348623157e+308..1.7976931348623157e+308"


def _take_one_first(cls: Any) -> None:
    """Give an integer type a constructor that takes a single value without a look-up.

    What is no such value, or out of range, goes to the constructor of the base. Most items of most
    messages are single integers: this is a tenth of the time to make one.
    """
    pack, head, any_values = cls.pack_one, cls.head_one, cls.__init__

    @wraps(any_values)
    def one_or_any(self: Any, value: object = (), /, *values: object) -> None:
        if not values:
            try:
                self._wire = pack(head, value)
                return
            except (error, TypeError):
                pass
        any_values(self, value, *values)

    cls.__init__ = one_or_any


INTEGERS: Final = (I1, I2, I4, I8, U1, U2, U4, U8)
"""The types of whole numbers."""

REALS: Final = (F4, F8)
"""The types of numbers with a fraction."""

NUMERICS: Final[tuple[type[BOOLEAN | Integer | Real], ...]] = (
    BOOLEAN,
    *INTEGERS,
    *REALS,
)
"""All types of numbers, and of truth values."""

for _type in NUMERICS:
    _type.prepare()
for _type in INTEGERS:
    _take_one_first(_type)

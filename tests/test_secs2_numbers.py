"""Numeric items: every value of their type and no other, from Python, buffers and numpy."""

import re
from array import array
from typing import Any

import numpy as np
import pytest

from hsms_engine.secs2 import (
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
    B,
    Integer,
    Numeric,
    encode,
)

nan = float("nan")
inf = float("inf")

RANGES = [
    (I1, -(2**7), 2**7 - 1),
    (I2, -(2**15), 2**15 - 1),
    (I4, -(2**31), 2**31 - 1),
    (I8, -(2**63), 2**63 - 1),
    (U1, 0, 2**8 - 1),
    (U2, 0, 2**16 - 1),
    (U4, 0, 2**32 - 1),
    (U8, 0, 2**64 - 1),
]


@pytest.mark.parametrize(("kind", "low", "high"), RANGES)
def test_an_integer_type_holds_its_range_and_nothing_else(
    kind: type[Integer], low: int, high: int
) -> None:
    assert kind(low, high).to_python() == [low, high]
    assert (kind(low).value, kind(high).value) == (low, high)
    for outside in (low - 1, high + 1):
        fault = f"{kind.__name__} value {outside} is not in {low}..{high}"
        with pytest.raises(ValueError, match=f"^{re.escape(fault)}$"):
            kind(outside)
        fault = fault.replace(" is not", " at [1] is not")
        with pytest.raises(ValueError, match=f"^{re.escape(fault)}$"):
            kind(0, outside)


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("value", [1.0, "1", None, b"1", 1j])
def test_an_integer_type_takes_no_other_kind_of_value(kind: Any, value: object) -> None:
    with pytest.raises(TypeError, match=f"^{kind.__name__} takes int, not {type(value).__name__} "):
        kind(value)
    with pytest.raises(TypeError, match=r" at \[1\]$"):
        kind(0, value)


def test_a_named_integer_type_takes_a_bool_as_the_int_it_is() -> None:
    assert U1(True) == U1(1)
    assert I4(False, 7) == I4(0, 7)
    assert type(U1(True).value) is int


@pytest.mark.parametrize("value", [1, 0, "T", 1.0, None])
def test_boolean_takes_bool_only(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^BOOLEAN takes bool, not "):
        BOOLEAN(value)
    with pytest.raises(TypeError, match=r"at \[1\]$"):
        BOOLEAN(True, value)


def test_boolean_is_no_number() -> None:
    assert BOOLEAN(True) != U1(1)
    assert BOOLEAN(True).value is True
    assert BOOLEAN(True, False).to_python() == [True, False]
    assert list(BOOLEAN([True, False])) == [True, False]


def test_f4_rounds_but_does_not_overflow() -> None:
    assert F4(0.1).value == pytest.approx(0.1, rel=1e-7)
    assert F4(1).value == 1.0
    for value in (1e39, -(10**39)):
        with pytest.raises(ValueError, match=r"^F4 value .* is not in -3\.4028235e\+38\.\."):
            F4(value)
    with pytest.raises(ValueError, match=r"^F8 value 1000+ is not in "):
        F8(10**400)
    with pytest.raises(ValueError, match=r"^F4 value 1e\+39 at \[1\] is not in "):
        F4(0.0, 1e39)


@pytest.mark.parametrize("kind", REALS)
def test_nan_infinity_and_minus_zero_are_values(kind: type[F4] | type[F8]) -> None:
    assert kind(nan) == kind(nan)
    assert len({kind(nan), kind(nan)}) == 1
    assert kind(inf, -inf).to_python() == [inf, -inf]
    assert kind(-0.0) != kind(0.0)


@pytest.mark.parametrize("kind", NUMERICS)
def test_a_numeric_item_may_be_empty(kind: type[Numeric[Any]]) -> None:
    for empty in (kind(), kind([]), kind(()), kind(iter(()))):  # type: ignore[call-arg]
        assert (len(empty), empty.to_python(), list(empty), empty.raw) == (0, [], [], b"")
    assert repr(kind()) == f"{kind.__name__}()"


def test_values_come_from_arguments_iterables_and_buffers() -> None:
    expected = U2(1, 2, 3)
    for same in (
        U2([1, 2, 3]),
        U2((1, 2, 3)),
        U2(range(1, 4)),
        U2(iter([1, 2, 3])),
        U2(array("H", [1, 2, 3])),
        U2(array("q", [1, 2, 3])),
        U2(memoryview(array("b", [1, 2, 3]))),
        U2(np.array([1, 2, 3], dtype="<u2")),
        U2(np.array([1, 2, 3], dtype=">u2")),
        U2(np.array([1, 2, 3], dtype=">i8")),
        U2(np.arange(1, 7)[::2] // 2 + 1),
        U2(np.uint8(1), np.int64(2), 3),
        U2(*np.array([1, 2, 3], dtype="u8")),
    ):
        assert same == expected
    assert U2(np.uint16(7)) == U2(7)
    assert F4(np.array([0.5, 1.0])) == F4(0.5, 1.0)
    assert F8(np.array([1, 2])) == F8(1.0, 2.0)
    assert BOOLEAN(np.array([True, False])) == BOOLEAN(True, False)
    assert U1(np.array([True, False])) == U1(1, 0)


def test_a_buffer_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^U1 value 300 at \[1\] is not in 0\.\.255$"):
        U1(array("i", [1, 300]))
    with pytest.raises(TypeError, match=r"^U4 takes int, not float 0\.5 at \[0\]$"):
        U4(array("d", [0.5, 1.0]))
    with pytest.raises(TypeError, match=r"one dimension, not a buffer of 'l' in 2$"):
        I8(np.zeros((2, 2), dtype="i8"))
    with pytest.raises(TypeError, match=r"^F4 takes numbers in one dimension, not a buffer of 'e'"):
        F4(np.zeros(2, dtype="e"))
    with pytest.raises(TypeError, match=r"^BOOLEAN takes bool, not int 1 at \[0\]$"):
        BOOLEAN(array("B", [1, 0]))
    with pytest.raises(ValueError, match=r"^F4 value 1e\+300 is not in"):
        F4(np.array([1e300]))


@pytest.mark.parametrize("kind", NUMERICS)
def test_numpy_reads_the_values_in_place(kind: type[Numeric[Any]]) -> None:
    item = kind([True, False, True])  # type: ignore[call-arg]
    seen = np.asarray(item)
    assert seen.tolist() == item.to_python()
    assert seen.dtype.itemsize == kind.size
    assert not seen.flags.writeable
    assert kind(seen) == item  # type: ignore[call-arg]


def test_values_are_a_read_only_view_of_machine_numbers() -> None:
    values = I2(1, -2, 3).values
    assert (values.format, values.readonly, values.tolist()) == ("h", True, [1, -2, 3])
    assert np.asarray(values).tolist() == [1, -2, 3]


def test_a_single_value_has_a_name_and_several_have_another() -> None:
    assert U4(5).value == U4(5).to_python() == 5
    for several in (U4(), U4(1, 2), U4(range(100_000))):
        with pytest.raises(AttributeError, match=rf"^U4 of {len(several)} values has no one value"):
            _ = several.value


def test_an_item_does_not_follow_a_buffer_that_changes() -> None:
    source = bytearray(70_000)
    numbers = array("H", [1, 2])
    items = [B(source), U1(memoryview(source)), U2(numbers)]
    before = [encode(item) for item in items]
    source[0] = 1
    numbers[0] = 9
    assert [encode(item) for item in items] == before

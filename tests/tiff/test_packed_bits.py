"""Do samples of 1 to 15 and of 24 bits become the numbers they were packed from?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polars_rasteret.tiff.codecs.packed_bits import PACKED, widen, widened_dtype


@st.composite
def packed_rows(draw):
    """Bits per sample, values of shape (n_rows, n_values), and the packed rows with bits and bytes behind them of any value."""
    bits = draw(st.sampled_from(sorted(PACKED - {24})))
    n_rows, n_values = draw(st.integers(0, 6)), draw(st.integers(0, 40))
    values = draw(st.lists(st.integers(0, 2**bits - 1), min_size=n_rows * n_values, max_size=n_rows * n_values))
    values = np.array(values, np.uint32).reshape(n_rows, n_values)
    n_bytes = -(-n_values * bits // 8) + draw(st.integers(0, 3))
    n_unused = 8 * n_bytes - n_values * bits
    rows = bytearray()
    for row in values.tolist():
        number = sum(value << bits * (n_values - 1 - at) for at, value in enumerate(row)) << n_unused
        rows += (number | draw(st.integers(0, 2**n_unused - 1))).to_bytes(n_bytes, "big")
    return bits, values, np.frombuffer(bytes(rows), np.uint8).reshape(n_rows, n_bytes)


@given(packed_rows())
def test_samples_are_the_numbers_they_were_packed_from(case):
    bits, values, rows = case
    found = widen(rows, bits, values.shape[1], is_big_endian=False)
    assert found.dtype == widened_dtype(bits)
    np.testing.assert_array_equal(found, values)


@given(packed_rows(), st.integers(0, 40), st.integers(1, 3))
def test_the_first_samples_of_some_rows_are_those_of_all(case, n_values, step):
    bits, values, rows = case
    n_values = min(n_values, values.shape[1])
    np.testing.assert_array_equal(widen(rows[::step], bits, n_values, is_big_endian=False), values[::step, :n_values])


@pytest.mark.parametrize("is_big_endian", [False, True])
def test_samples_of_24_bits_begin_with_the_highest_byte_unless_the_file_is_big_endian(is_big_endian):
    values = np.array([[1, 2**24 - 1, 0x123456], [0, 7, 0x654321]], np.uint32)
    packed = [value.to_bytes(3, "little" if is_big_endian else "big") for value in values.ravel().tolist()]
    rows = np.frombuffer(b"".join(packed), np.uint8).reshape(2, 9)
    np.testing.assert_array_equal(widen(rows, 24, 3, is_big_endian=is_big_endian), values)

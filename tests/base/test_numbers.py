"""Numbers as text: a table written by hand."""

from math import inf, nan

import pytest

from replication.base.numbers import brief, fixed, general, signed


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [(2.5, 4, "+2.5000"), (-2.5, 4, "−2.5000"), (0.0, 4, "0"), (-0.0, 4, "0"), (-0.00004, 4, ">−0.0001"),
     (0.00004, 4, "<+0.0001"), (-0.00006, 4, "−0.0001"), (0.00006, 4, "+0.0001"), (1e-9, 4, "<+0.0001"),
     (-0.04, 1, ">−0.1"), (-0.06, 1, "−0.1"), (12.345, 0, "+12"), (-0.4, 0, ">−1"),
     (nan, 4, "nan"), (-nan, 4, "nan"), (inf, 2, "+inf"), (-inf, 2, "−inf")],
)  # fmt: skip
def test_a_change_shows_its_sign_and_only_no_change_is_0(value, digits, expected):
    assert signed(value, digits) == expected


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [(1e-9, 2, "+1e−09"), (-1e-9, 2, "−1e−09"), (0.0, 2, "0"), (-0.0, 2, "0"), (-0.00004, 2, "−4e−05"),
     (5, 6, "+5"), (-2.5, 6, "−2.5"), (nan, 2, "nan")],
)  # fmt: skip
def test_significant_digits_keep_the_sign_of_a_small_change(value, digits, expected):
    assert signed(value, digits, "g") == expected
    assert general(value, digits) == expected.removeprefix("+")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2.5, "2.5000"), (-2.5, "−2.5000"), (0.0, "0"), (-0.0, "0"), (-0.00004, ">−0.0001"), (1e-9, "<0.0001")],
)
def test_what_rounds_to_zero_is_not_taken_for_it(value, expected):
    assert fixed(value, 4) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, "0"), (-0.04, "≈0"), (0.04, "≈0"), (0.06, "+0.1"), (-9.96, "−10.0")]
)
def test_in_a_narrow_cell_what_rounds_to_zero_is_short(value, expected):
    assert brief(value, 1) == expected

"""Token text as it is shown: nothing invisible, and short where there is little room."""

import pytest

from replication.base.visible import legible, shortened, visible


@pytest.mark.parametrize(
    ("token", "expected"),
    [(" a", "␣a"), ("_a", "_a"), ("\n", "\\n"), ("\t", "\\t"), ("\x07", "\\x07"), ("\u202e", "\\u202e"),
     ("\u200b", "\\u200b"),
     ("\U000e0041", "\\U000e0041"), ("\u0301", "\\u0301"), ("\ue000", "\\ue000"), ("日", "日"), ("$x$", "$x$"),
     ("a\u00a0b", "a\\xa0b"), ("\\n", "\\n"), ("", "")],
)  # fmt: skip
def test_visible(token, expected):
    assert visible(token) == expected


@pytest.mark.parametrize(
    ("token", "expected"),
    [("seventy", "seventy"), (" seventy", "␣seven…"), ("\u202eab", "\\u202e…"), ("a\u202eb", "a…"),
     ("abc\u202e", "abc…"), ("ab\n\n\n", "ab\\n\\n…")],
)  # fmt: skip
def test_shortened_cuts_no_escape(token, expected):
    assert shortened(token, 7) == expected


def test_a_text_of_several_lines_stays_legible():
    assert legible("  a b\n\nc\t\u202e\x07") == "  a b↵\n↵\nc\\t\\u202e\\x07"

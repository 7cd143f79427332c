"""Numbers as text for readers, with no sign where what is printed is zero."""

from typing import Literal


def signed(value: float, digits: int, kind: Literal["f", "g"] = "f") -> str:
    """A change with its sign; what rounds to zero, and nan, has none.

    Args:
        value: The change, in any unit.
        digits: How many: after the decimal point, or significant ones.
        kind: "f" for digits after the decimal point, "g" for significant digits.
    """
    text = f"{value:+.{digits}{kind}}"
    printed = float(text)
    return text if printed > 0 or printed < 0 else text[1:]


def fixed(value: float, digits: int) -> str:
    """A number with `digits` after the decimal point, and a sign only if it is negative as printed."""
    return f"{value:z.{digits}f}"

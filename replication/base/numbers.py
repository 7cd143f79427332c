"""Numbers as text for readers, by one rule for all that is displayed.

The minus is U+2212, as long as a plus. "0" is exactly zero. What is not zero but rounds to it shows the bound it lies
below, "<0.0001" or, of a change, "<+0.0001"; on the negative side ">−0.0001". In a heat map's narrow cells it is "≈0".
"""

from typing import Literal

MINUS = "−"


def signed(value: float, digits: int, kind: Literal["f", "g"] = "f") -> str:
    """A change with its sign; zero and nan have none.

    Args:
        value: The change, in any unit.
        digits: How many: after the decimal point, or significant ones.
        kind: "f" for digits after the decimal point, "g" for significant digits.
    """
    return _text(value, f"+.{digits}{kind}", digits)


def fixed(value: float, digits: int) -> str:
    """A number with `digits` after the decimal point, and a sign only if it is negative."""
    return _text(value, f".{digits}f", digits)


def general(value: float, digits: int = 6) -> str:
    """A number with at most so many significant digits, as short as it can be written."""
    return _text(value, f".{digits}g", digits)


def brief(change: float, digits: int) -> str:
    """A change as `signed` writes it, for a narrow cell."""
    text = signed(change, digits)
    return "≈0" if text[0] in "<>" else text


def with_minus(number: str) -> str:
    """A number as it is printed, with a minus sign instead of a hyphen."""
    return number.replace("-", MINUS)


def _text(value: float, form: str, digits: int) -> str:
    if value == 0:
        return "0"
    text = f"{value:{form}}"
    if value != value:
        return text.lstrip("+-")
    if float(text) == 0:
        sign = text[0] if text[0] in "+-" else ""
        text = f"{'>' if sign == '-' else '<'}{sign}{10**-digits:.{digits}f}"
    return with_minus(text)

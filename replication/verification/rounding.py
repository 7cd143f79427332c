"""How far two honest runs may differ, because float32 rounds.

A logit is a sum of d_model products, and is rounded at the size of the numbers that it is summed from. GPT-2's logits
share a large offset that no probability sees, so the error of a loss is proportional to the largest |logit| M of the
run, not to the loss:

    tolerance of a statistic, in nats = factor(statistic) * 2^-23 * M

2^-23 is the distance from 1 to the next float32. docs/method.md says what the factors were measured from.
"""

from typing import Any

EPSILON = 2.0**-23
FACTORS = {"loss": 16, "entropy": 16, "kl_to_output": 24}
"""Factor of each statistic in nats, between two runs of this package."""

OTHER_CODE = 2
"""Factor on the tolerance between this package and other code, which rounds at other places."""

Tolerance = dict[str, float]
"""Largest difference that passes, in nats, by statistic."""

EXACT: Tolerance = dict.fromkeys(FACTORS, 0.0)
"""Where the same bits are expected."""


def tolerance(largest_logit: float) -> Tolerance:
    """The tolerance of every statistic, in nats.

    Args:
        largest_logit: The largest |logit| of any cell that the expected numbers were measured with.
    """
    return {name: factor * EPSILON * largest_logit for name, factor in FACTORS.items()}


def tolerance_to_other_code(largest_logit: float) -> Tolerance:
    """The same where other people's code gave the expected numbers."""
    return {name: OTHER_CODE * allowed for name, allowed in tolerance(largest_logit).items()}


def tolerance_of(record: dict[str, Any]) -> Tolerance:
    """The tolerance by the record of an experiment or of its pin; older pins state one number for all statistics."""
    if "tolerance_nats" in record:
        return dict.fromkeys(FACTORS, record["tolerance_nats"])
    return tolerance(record["largest_logit"])

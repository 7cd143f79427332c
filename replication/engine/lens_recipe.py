"""How a tuned lens is trained: by default as Belrose et al. (2023, arXiv:2303.08112) trained theirs.

The numbers are those of their library, tuned-lens 0.2.0: scripts/train_loop.py, scripts/ingredients.py and data.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Optimizer = Literal["sgd", "adam"]
Schedule = Literal["linear", "cosine"]

TOKENS = 2**18
"""Tokens of one step."""

LONGEST = 2048
"""Tokens of one sequence; a model with a shorter context reads shorter ones."""

RATES: dict[Optimizer, float] = {"sgd": 1.0, "adam": 1e-3}
"""The largest learning rate of each, as tuned-lens counts it."""

MOMENTUM = 0.9
"""Momentum of stochastic gradient descent."""

SCHEDULES: dict[Schedule, Callable[[float], float]] = {
    "linear": lambda done: 1 - done,
    "cosine": lambda done: 0.51 + 0.49 * math.cos(math.pi * done),
}
"""Factor on the learning rate by the fraction of steps done: linear to 0, or half a cosine down to 2 %."""


def warmed_up(schedule: Schedule, step: int, steps: int, warm_up: int) -> float:
    """Factor on the learning rate of a step, counted from 0: `schedule`, times a linear rise over the warm-up."""
    return min(1, (step + 1) / max(1, warm_up)) * SCHEDULES[schedule](step / steps)


@dataclass(frozen=True)
class Recipe:
    """How a lens is trained; the defaults are tuned-lens'."""

    batch: int
    """Sequences of one step."""
    rate: float
    """The largest learning rate; for sgd, as tuned-lens defines it: see `torch_rate`."""
    steps: int = 250
    """Number of optimizer steps."""
    optimizer: Optimizer = "sgd"
    """Stochastic gradient descent with Nesterov's momentum, or Adam with torch's settings."""
    schedule: Schedule = "linear"
    """How the rate falls."""
    warm_up: int = 0
    """Steps at the beginning in which the rate rises."""
    weight_decay: float = 1e-3
    """How strongly the translators are drawn towards the identity."""
    clip: float = 1.0
    """The largest norm of the gradient of all translators together: a longer gradient is shortened to it."""

    def torch_rate(self, step: int) -> float:
        """The learning rate that torch is given for a step, counted from 0.

        With momentum m, torch adds up 1 / (1 - m) gradients, so tuned-lens hands torch (1 - m) times the rate.
        """
        scale = 1 - MOMENTUM if self.optimizer == "sgd" else 1.0
        return self.rate * scale * warmed_up(self.schedule, step, self.steps, self.warm_up)

"""What both models wrote in Python: texts side by side, their tokens, and losses under both models."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from replication.base.tables import CONDITIONS

if TYPE_CHECKING:
    from replication.engine.completed import Completed


@dataclass(frozen=True, repr=False)
class Completion:
    """Texts that the unsteered and the steered model wrote after one prompt."""

    completed: "Completed"
    """As the workflow's step has them."""

    @property
    def record(self) -> dict[str, Any]:
        """The inputs: model, arithmetic, vectors, settings, the prompt's tokens; and by condition the texts."""
        return self.completed.record

    @property
    def texts(self) -> pd.DataFrame:
        """A row per number, the columns `unsteered` and `steered`."""
        texts = pd.DataFrame({condition: self.record["texts"][condition] for condition in CONDITIONS})
        return texts.rename_axis("number")

    @property
    def tokens(self) -> pd.DataFrame:
        """A row per condition, number and place: the columns of completions.csv (docs/results.md), losses in nats."""
        return self.completed.table

    @property
    def losses(self) -> pd.DataFrame:
        """A row per text: its number, `condition` (who wrote it), `tokens`, and their mean loss under both, in nats."""
        from replication.verification.summary import text_losses

        return pd.DataFrame(text_losses(self.tokens))

    def __repr__(self) -> str:
        """The prompt, and the texts below it."""
        lines = [f"{self.record['prompt']['text']!r} goes on:"]
        for number, pair in self.texts.iterrows():
            lines += [f"{number}  {condition:9}  {pair[condition]!r}" for condition in CONDITIONS]
        return "\n".join(lines)

"""How completions of a prompt are written, as configured."""

from typing import Annotated

from pydantic import Field, FiniteFloat

from replication.base.config_types import FilledText, Frozen


class Completions(Frozen):
    """Texts that the unsteered and the steered model write after a prompt.

    Temperature, top_p and penalty are the original post's. Steering adds its vectors once, while the prompt is read.
    """

    prompt: Annotated[FilledText | None, Field(examples=["I hate you because"])] = None
    """Text that is completed; `<|endoftext|>` is put in front. Left out, the experiment's prompt."""
    number: Annotated[int, Field(ge=1, le=1000, examples=[3])] = 3
    """Number of texts that each of the two models writes; only one with `temperature` 0, as all would be the same."""
    tokens: Annotated[int, Field(ge=1, examples=[50])] = 50
    """Most tokens of a text, which ends earlier at `<|endoftext|>` or at the end of the model's context."""
    temperature: Annotated[FiniteFloat, Field(ge=0, examples=[1, 0])] = 1.0
    """Divisor of the logits. With 0 the most probable token is taken, without penalty or randomness."""
    top_p: Annotated[FiniteFloat, Field(gt=0, le=1, examples=[0.3])] = 0.3
    """Nucleus: a token is drawn from the fewest most probable ones whose probabilities sum to more; 1: from all."""
    frequency_penalty: Annotated[FiniteFloat, Field(ge=0, examples=[1])] = 1.0
    """Subtracted from a token's logit, after the division, for each time that it occurs in the prompt or the text."""
    seed: Annotated[int, Field(ge=0, examples=[0])] = 0
    """Seed of the draws. A text depends on it and on the text's own number, not on how many texts there are; both
    models draw their texts of the same number with the same random numbers."""

    @property
    def numbers(self) -> range:
        """Numbers of the texts that are written."""
        return range(self.number if self.temperature else 1)

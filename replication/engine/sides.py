"""Texts -> the tokens of a steering vector's two sides, and whether a model can take them; without torch."""

from dataclasses import dataclass

from replication.base.config import Experiment, Steering
from replication.base.errors import UserError
from replication.engine.gpt2_config import Config
from replication.engine.tokenizer import BOS, Tokenizer, texts

PADDING = " "
"""The shorter side is padded on the right with this token, as in the post's x-vector tables."""


@dataclass(frozen=True)
class Sides:
    """Token ids of both sides, `<|endoftext|>` first, padded to one length."""

    added: list[int]
    subtracted: list[int]
    padding: tuple[int, int]
    """Number of padding tokens on the added and on the subtracted side."""


def padded_sides(tokenizer: Tokenizer, steering: Steering) -> Sides:
    """Tokens of both sides, padded with spaces on the right to one length.

    Raises:
        UserError: A space is not one token of this tokenizer.
    """
    space = tokenizer.encode(PADDING)
    if len(space) != 1:
        raise UserError(f"the padding {PADDING!r} is {len(space)} tokens of this tokenizer; it must be one")
    added, subtracted = tokenizer.with_bos(steering.added), tokenizer.with_bos(steering.subtracted)
    length = max(len(added), len(subtracted))
    padding = length - len(added), length - len(subtracted)
    return Sides(added + space * padding[0], subtracted + space * padding[1], padding)


def check(tokenizer: Tokenizer, config: Config, experiment: Experiment) -> Sides:
    """Checks an experiment against what the model can take, before its weights are loaded.

    Args:
        tokenizer: The model's tokenizer.
        config: What the model is.
        experiment: The experiment.

    Returns:
        Its padded sides.

    Raises:
        UserError: One sentence: key, value, what would be right.
    """
    steering, layers, prompt = experiment.steering, config.n_layer, tokenizer.with_bos(experiment.prompt)
    if steering.layer_of(layers) >= layers:
        raise UserError(f"steering.layer: {steering.layer} is too large; this model has layers 0 to {layers - 1}")
    if len(prompt) > config.n_positions:
        raise UserError(f"prompt: {len(prompt)} tokens with {BOS}; this model's context is {config.n_positions}")
    sides = padded_sides(tokenizer, steering)
    if len(sides.added) > len(prompt):
        raise UserError(
            f"prompt: {experiment.prompt!r} has {len(prompt)} tokens with {BOS}, the steering vector "
            f"{len(sides.added)}; the prompt must not be shorter"
        )
    experiment.key_positions(texts(tokenizer, prompt))  # raises where a key token is not there
    return sides

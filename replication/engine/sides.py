"""Additions -> tokens of a steering vector's sides, or rows of a file, and whether a model can take them.

Without torch, so that a misfit is reported before weights are loaded.
"""

from dataclasses import dataclass
from typing import NamedTuple

from replication.base.addition import BACK, FRONT, MIDDLE, Addition
from replication.base.config import Experiment
from replication.base.errors import UserError
from replication.base.recorded import SIDES
from replication.engine.gpt2_config import Config
from replication.engine.tokenizer import BOS, Tokenizer, texts
from replication.engine.vector_file import VectorFile, read_vector


@dataclass(frozen=True)
class Sides:
    """Token ids of both sides, `<|endoftext|>` first, padded to one length; None for a side that is left out."""

    added: list[int] | None
    subtracted: list[int] | None
    padding: tuple[int, int]
    """Number of padding tokens on the added and on the subtracted side."""

    @property
    def present(self) -> dict[str, list[int]]:
        """The sides that are not left out, by name, the added one first."""
        return {name: ids for name, ids in zip(SIDES, (self.added, self.subtracted), strict=True) if ids is not None}


class Planned(NamedTuple):
    """An addition made ready for one model."""

    settings: Addition
    layer: int
    """Block of this model."""
    source: Sides | VectorFile
    """What the vector is read from."""

    def positions(self, prompt: int, named: str) -> tuple[int, ...]:
        """The positions at which its rows are added to a prompt.

        Args:
            prompt: Number of tokens of the prompt, `<|endoftext|>` included.
            named: What an error calls the prompt.

        Raises:
            UserError: The vector does not fit there; one sentence says what would be right.
        """
        given, start, source = self.settings.positions, self.settings.position, self.source
        if isinstance(source, VectorFile) and source.one_row:
            positions = tuple(range(1, prompt)) if given is None else tuple(sorted(given))
            if max(positions) >= prompt:
                raise UserError(f"steering.positions: {max(positions)} is too large; {named} has 0 to {prompt - 1}")
            return positions
        rows = len(source.rows if isinstance(source, VectorFile) else next(iter(source.present.values())))
        if given is not None:
            raise UserError(f"steering.positions: give them only with a vector of one row; this one has {rows}")
        if rows > prompt:
            raise UserError(
                f"{named} has {prompt} tokens with {BOS}, the steering vector {rows}; the prompt must not be shorter: "
                "lengthen it, or shorten the vector's texts"
            )
        if isinstance(start, str):
            start = {FRONT: 0, MIDDLE: prompt // 2 - rows // 2, BACK: prompt - rows}[start]
        if start > prompt - rows:
            raise UserError(
                f"steering.position: {start} is too large; {named} takes this vector of {rows} rows at 0 to "
                f"{prompt - rows}"
            )
        return tuple(range(start, start + rows))


def swept_over_layers(plans: list[Planned]) -> bool:
    """Whether the sweep moves the additions to other layers: only if all are made at the same one."""
    return len({plan.layer for plan in plans}) == 1


def padded_sides(tokenizer: Tokenizer, addition: Addition) -> Sides:
    """Tokens of both sides, padded on the right to one length.

    Raises:
        UserError: The padding is not one token of this tokenizer.
    """
    padding = tokenizer.encode(addition.padding)
    if len(padding) != 1:
        raise UserError(
            f"steering.padding: {addition.padding!r} is {len(padding)} tokens of this tokenizer; it must be one"
        )
    added, subtracted = (
        None if text is None else tokenizer.with_bos(text) for text in (addition.added, addition.subtracted)
    )
    length = max(len(side) for side in (added, subtracted) if side is not None)
    short = [0 if side is None else length - len(side) for side in (added, subtracted)]
    padded = [None if side is None else side + padding * n for side, n in zip((added, subtracted), short, strict=True)]
    return Sides(padded[0], padded[1], (short[0], short[1]))


def check(tokenizer: Tokenizer, config: Config, experiment: Experiment) -> list[Planned]:
    """Checks an experiment against what the model can take, before its weights are loaded.

    Args:
        tokenizer: The model's tokenizer.
        config: The model's settings.
        experiment: The experiment.

    Returns:
        Its additions, in order.

    Raises:
        UserError: One sentence: key, value, what would be right.
    """
    prompt = tokenizer.with_bos(experiment.prompt)
    if len(prompt) > config.n_positions:
        raise UserError(f"prompt: {len(prompt)} tokens with {BOS}; this model's context is {config.n_positions}")
    plans = []
    for place, addition in enumerate(experiment.additions):
        try:
            plans.append(_planned(tokenizer, config, addition))
            plans[-1].positions(len(prompt), f"prompt: {experiment.prompt!r}")
        except UserError as error:
            one = len(experiment.additions) == 1
            raise UserError(str(error) if one else str(error).replace("steering.", f"steering.{place}.", 1)) from None
    experiment.key_positions(texts(tokenizer, prompt))  # raises where a key token is not there
    if experiment.completions:
        completion_prompt(tokenizer, config, experiment, plans)
    return plans


def completion_prompt(tokenizer: Tokenizer, config: Config, experiment: Experiment, plans: list[Planned]) -> list[int]:
    """Token ids of the prompt that an experiment's completions continue.

    Raises:
        UserError: It leaves no room for a token, or a vector does not fit it.
    """
    own = experiment.completions.prompt if experiment.completions else None
    named = f"prompt: {experiment.prompt!r}" if own is None else f"completions.prompt: {own!r}"
    prompt = tokenizer.with_bos(own or experiment.prompt)
    if len(prompt) >= config.n_positions:
        raise UserError(
            f"{named}: {len(prompt)} tokens with {BOS} leave no room for a completion; this model's context is "
            f"{config.n_positions}"
        )
    for plan in plans:
        plan.positions(len(prompt), named)
    return prompt


def _planned(tokenizer: Tokenizer, config: Config, addition: Addition) -> Planned:
    layers = config.n_layer
    if addition.layer_of(layers) >= layers:
        raise UserError(f"steering.layer: {addition.layer} is too large; this model has layers 0 to {layers - 1}")
    layer, file = addition.layer_of(layers), addition.vector
    return Planned(addition, layer, read_vector(file, config.n_embd) if file else padded_sides(tokenizer, addition))

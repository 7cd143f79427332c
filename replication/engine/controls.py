"""What the post lacks: random vectors of equal norm, more prompts, and a sweep over layers and coefficients.

All is read at the model's own output; the random vectors, at the key tokens, through the tuned lens too.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from replication.base.config import Experiment, MorePrompts
from replication.base.errors import UserError
from replication.base.tables import PROMPTS, RANDOM_BY_LAYER, RANDOM_VECTORS, STEERING, SWEEP, layer_names
from replication.engine.batches import CHUNK, Predicted, Prompt, Request, predictions
from replication.engine.lens import ROWS, log_probabilities, translated
from replication.engine.loaded import Loaded
from replication.engine.sides import Sides, check
from replication.engine.steering import embedded, residual_stream, scaled, steering_vector
from replication.engine.tokenizer import BOS, Tokenizer, texts

Array = NDArray[np.float32]


def random_vectors(loaded: Loaded, experiment: Experiment, draws: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Loss with the steering vector, and with random directions of its norms: at the output, and by layer.

    The null that the vector is compared with: at every position, independently, a direction uniform on the sphere
    and the steering vector's norm there; where that is zero, as at position 0, nothing.

    Args:
        loaded: The model and its lens.
        experiment: The experiment.
        draws: Number of random vectors.
        seed: Of numpy's default generator.

    Returns:
        Columns of `tables.RANDOM_VECTORS`: every position, at the output. Columns of `tables.RANDOM_BY_LAYER`: the key
        tokens, read by the tuned lens (raw residuals) at every layer, and at the output.
    """
    values, layer = _vector(loaded, experiment)
    prompt = _next_tokens(loaded, experiment)
    keys = _key_positions(loaded, experiment, prompt)
    requests = [Request(prompt, layer, each) for each in (values, *_random(values, draws, seed))]
    losses: list[Array] = []
    changes: list[Array] = []
    with torch.inference_mode():
        for start in range(0, len(requests), CHUNK):
            chunk = list(predictions(loaded.gpt2, requests[start : start + CHUNK], keys))
            losses.extend(map(_losses, chunk))
            changes.extend(_changes_by_layer(loaded, prompt, keys, layer, chunk))
    names = [{"draw": draw} for draw in (STEERING, *range(draws))]
    at_output = _table(loaded, experiment, prompt, names, losses)[list(RANDOM_VECTORS)]
    layers = layer_names(loaded.gpt2.config.n_layer)
    cells = [(name["draw"], row, position) for name in names for row in layers for position in keys]
    by_layer = pd.DataFrame(cells, columns=["draw", "layer", "position"])
    targets = [prompt.targets[position][0] for position in by_layer["position"]]
    by_layer = by_layer.assign(target_id=targets, target_token=texts(loaded.tokenizer, targets))
    return at_output, by_layer.assign(change=np.stack(changes).flatten())[list(RANDOM_BY_LAYER)]


def _changes_by_layer(loaded: Loaded, prompt: Prompt, keys: list[int], layer: int, chunk: Sequence[Predicted]) -> Array:
    """Steered minus unsteered loss of a few runs through the tuned lens, (runs, layers + 1, keys), in nats.

    The unsteered run is read once, a layer's rows of all runs are one product, and `ROWS` rows of several;
    below the injection at `layer` nothing changes.
    """
    runs = torch.stack([chunk[0].streams[0], *(each.streams[1] for each in chunk)])[:, layer:]
    by_layer = [translated(rows.flatten(0, 1), loaded.translators, layer + i) for i, rows in enumerate(runs.unbind(1))]
    ids = torch.tensor([prompt.targets[position] for position in keys], dtype=torch.long, device=runs.device)
    parts = zip(torch.cat(by_layer).split(ROWS), ids.repeat(runs.shape[0] * runs.shape[1], 1).split(ROWS), strict=True)
    log_p = torch.cat([log_probabilities(loaded.gpt2, rows).gather(-1, each) for rows, each in parts])
    # (layers, runs, keys), the layers' rows one after the other
    losses = -log_p.view(runs.shape[1], runs.shape[0], len(keys)).transpose(0, 1)
    changes: Array = pad(losses[1:] - losses[:1], (0, 0, layer, 0)).cpu().numpy()
    return changes


def _random(values: Tensor, draws: int, seed: int) -> Iterator[Tensor]:
    """Random vectors with the norms of `values`, (positions, d_model), position by position."""
    norms = values.double().norm(dim=-1, keepdim=True)
    # Drawn in float64 by numpy, so that the draws depend neither on torch's version nor on the device.
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        directions = torch.from_numpy(generator.standard_normal(values.shape)).to(values.device)
        yield (directions / directions.norm(dim=-1, keepdim=True) * norms).to(values.dtype)


def sweep(loaded: Loaded, experiment: Experiment, multiples: Sequence[float], layers: Sequence[int]) -> pd.DataFrame:
    """Loss at the output with the vector taken from and added at other layers, with other coefficients.

    Args:
        loaded: The model.
        experiment: The experiment.
        multiples: What its coefficient is multiplied with.
        layers: Injection layers, those of a part of the whole sweep for instance.

    Returns:
        Columns of `tables.SWEEP`.

    Raises:
        UserError: A vector of the grid is too long.
    """
    sides = _checked(loaded, experiment)
    with torch.inference_mode():
        both = embedded(loaded.gpt2, [sides.added, sides.subtracted])
        added, subtracted = residual_stream(loaded.gpt2, both, 0, max(layers))
    prompt = _next_tokens(loaded, experiment)
    cells = [(layer, experiment.steering.coefficient * multiple) for layer in layers for multiple in multiples]
    requests = [Request(prompt, layer, scaled(added[layer] - subtracted[layer], c)) for layer, c in cells]
    named = [{"layer": layer, "coefficient": coefficient} for layer, coefficient in cells]
    with torch.inference_mode():
        losses = [_losses(each) for each in predictions(loaded.gpt2, requests)]
    return _table(loaded, experiment, prompt, named, losses)[list(SWEEP)]


def more_prompts(loaded: Loaded, experiment: Experiment, switched_on: bool = True) -> pd.DataFrame:
    """Log-odds of the target against the contrast token after other prompts, without and with the vector.

    Args:
        loaded: The model.
        experiment: The experiment.
        switched_on: Whether the configuration asks for this control; without, the table is empty.

    Returns:
        Columns of `tables.PROMPTS`; the post's own prompt, cut before the target, comes first.
    """
    others = experiment.more_prompts
    if others is None or not switched_on:
        return pd.DataFrame(columns=list(PROMPTS))
    values, layer = _vector(loaded, experiment)
    pair = tuple(_one_token(loaded.tokenizer, name, getattr(others, name)) for name in ("target", "contrast"))
    rows = _prompt_rows(experiment, others)
    requests = [Request(_pair_after(loaded.tokenizer, row["prompt"], pair, len(values)), layer, values) for row in rows]
    with torch.inference_mode():
        log_odds = [
            tuple(float(log_p[-1, 0] - log_p[-1, 1]) for log_p in (each.unsteered, each.steered))
            for each in predictions(loaded.gpt2, requests)
        ]
    table = pd.DataFrame(rows).assign(target=others.target, contrast=others.contrast)
    table[["log_odds_unsteered", "log_odds_steered"]] = np.array(log_odds, dtype="float32")
    table["change"] = table["log_odds_steered"] - table["log_odds_unsteered"]
    return table[list(PROMPTS)]


def _prompt_rows(experiment: Experiment, others: MorePrompts) -> list[dict[str, str]]:
    own = experiment.prompt[: experiment.prompt.index(others.target)]
    kinds = {"post": (own,), "paraphrase": others.paraphrases, "neutral": others.neutral}
    return [{"kind": kind, "prompt": prompt} for kind, prompts in kinds.items() for prompt in prompts]


def _one_token(tokenizer: Tokenizer, name: str, text: str) -> int:
    ids = tokenizer.encode(text)
    if len(ids) != 1:
        raise UserError(f"more_prompts.{name}: {text!r} is {len(ids)} tokens, {texts(tokenizer, ids)}; it must be one")
    return ids[0]


def _pair_after(tokenizer: Tokenizer, text: str, pair: tuple[int, ...], least: int) -> Prompt:
    ids = tokenizer.with_bos(text)
    if len(ids) < least:
        raise UserError(
            f"more_prompts: {text!r} has {len(ids)} tokens with <|endoftext|>, the steering vector {least}; "
            "the prompt must not be shorter"
        )
    return Prompt(tuple(ids), (pair,) * len(ids))


def _checked(loaded: Loaded, experiment: Experiment) -> Sides:
    return check(loaded.tokenizer, loaded.gpt2.config, experiment)


def _vector(loaded: Loaded, experiment: Experiment) -> tuple[Tensor, int]:
    """The steering vector's values, (positions, d_model), and its layer."""
    sides, layer = _checked(loaded, experiment), experiment.steering.layer_of(loaded.gpt2.config.n_layer)
    with torch.inference_mode():
        return steering_vector(loaded.gpt2, sides, layer, experiment.steering.coefficient).values, layer


def _next_tokens(loaded: Loaded, experiment: Experiment) -> Prompt:
    """The lens prompt, of which every position's next token is asked for; the last one's is `<|endoftext|>`."""
    ids = loaded.tokenizer.with_bos(experiment.prompt)
    return Prompt(tuple(ids), tuple((target,) for target in [*ids[1:], loaded.tokenizer.bos]))


def _key_positions(loaded: Loaded, experiment: Experiment, prompt: Prompt) -> list[int]:
    """Positions after which a key token stands."""
    return experiment.key_positions([BOS, *texts(loaded.tokenizer, prompt.ids[1:])])


def _losses(predicted: Predicted) -> Array:
    """Loss of every next token without and with the vector, (positions, 2), in nats."""
    return torch.cat([predicted.unsteered, predicted.steered], dim=-1).neg().cpu().numpy()


def _table(
    loaded: Loaded, experiment: Experiment, prompt: Prompt, names: Sequence[dict[str, Any]], losses: list[Array]
) -> pd.DataFrame:
    """One row per request and position: the request's name, the target, and its loss without and with the vector."""
    targets = [target for (target,) in prompt.targets]
    table = pd.DataFrame([name for name in names for _ in targets])
    table["position"] = list(range(len(targets))) * len(names)
    table["target_id"] = targets * len(names)
    table["target_token"] = texts(loaded.tokenizer, targets) * len(names)
    keys = _key_positions(loaded, experiment, prompt)
    table["key"] = [position in keys for position in range(len(targets))] * len(names)
    table[["loss_unsteered", "loss_steered"]] = np.concatenate(losses)
    table["change"] = table["loss_steered"] - table["loss_unsteered"]
    return table

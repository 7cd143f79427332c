"""What the post lacks: random vectors of equal norm, more prompts, and a sweep over layers and coefficients.

All is read at the model's own output; the random vectors, at the key tokens, through the tuned lens too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from replication.engine.sides import Planned, check, swept_over_layers
from replication.engine.steering import SteeringVector, lowest, multiplied, steering_vectors, vectors_at
from replication.engine.tokenizer import BOS, Tokenizer, texts

Array = NDArray[np.float32]


def random_vectors(loaded: Loaded, experiment: Experiment, draws: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Loss with the steering vector, and with random directions of its norms: at the output, and by layer.

    The null hypothesis: for every addition and position, independently, a direction uniform on the sphere, scaled to
    the steering vector's norm there; where that is zero, as at position 0 of two sides, nothing is added.

    Args:
        loaded: The model and its lens.
        experiment: The experiment.
        draws: Number of random vectors.
        seed: Seed of numpy's default generator.

    Returns:
        Columns of `tables.RANDOM_VECTORS`: every position, at the output. Columns of `tables.RANDOM_BY_LAYER`: the key
        tokens, read by the tuned lens (raw residuals) at every layer, and at the output.
    """
    prompt = _next_tokens(loaded, experiment)
    keys = _key_positions(loaded, experiment, prompt)
    _, vectors = _read(loaded, experiment)
    requests = [Request(prompt, each) for each in (vectors, *random_directions(vectors, draws, seed))]
    losses: list[Array] = []
    changes: list[Array] = []
    with torch.inference_mode():
        for start in range(0, len(requests), CHUNK):
            chunk = list(predictions(loaded.gpt2, requests[start : start + CHUNK], keys))
            losses.extend(map(_losses, chunk))
            changes.extend(_changes_by_layer(loaded, prompt, keys, lowest(vectors), chunk))
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

    The unsteered run is read once. Each layer's rows of all runs are translated by one product, and the rows of all
    layers unembedded `ROWS` at a time. Below the injection at `layer` the change is 0.
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


def random_directions(
    vectors: tuple[SteeringVector, ...], draws: int, seed: int
) -> Iterator[tuple[SteeringVector, ...]]:
    """Random vectors with the norms of `vectors`, addition by addition and position by position."""
    # Drawn in float64 by numpy, so that the draws depend neither on torch's version nor on the device.
    generator = np.random.default_rng(seed)

    def drawn(values: Tensor) -> Tensor:
        norms = values.double().norm(dim=-1, keepdim=True)
        directions = torch.from_numpy(generator.standard_normal(values.shape)).to(values.device)
        scaled: Tensor = (directions / directions.norm(dim=-1, keepdim=True) * norms).to(values.dtype)
        return scaled

    for _ in range(draws):
        yield tuple(replace(vector, values=drawn(vector.values)) for vector in vectors)


def sweep(loaded: Loaded, experiment: Experiment, multiples: Sequence[float], layers: Sequence[int]) -> pd.DataFrame:
    """Loss at the output with the vectors read at and added to other layers, with other coefficients.

    Layers are swept over only if all vectors are added at the same one; a vector from a file is the same at each.
    Otherwise only coefficients are, and `layer` is the lowest of the experiment's own.

    Args:
        loaded: The model.
        experiment: The experiment.
        multiples: Factors on the coefficients of all its additions.
        layers: Injection layers, for instance those of one part of the sweep.

    Returns:
        Columns of `tables.SWEEP`; `coefficient` is the first addition's.

    Raises:
        UserError: A vector of the grid is too long.
    """
    plans, prompt = check(loaded.tokenizer, loaded.gpt2.config, experiment), _next_tokens(loaded, experiment)
    over_layers = swept_over_layers(plans)
    if not over_layers:
        layers = [layer for layer in layers if layer == min(plan.layer for plan in plans)]
    if not layers:
        return pd.DataFrame(columns=list(SWEEP))
    with torch.inference_mode():
        if over_layers:
            read = [vectors_at(loaded.gpt2, plan, layers, len(prompt.ids), "prompt") for plan in plans]
            by_layer = list(zip(*read, strict=True))
        else:
            by_layer = [steering_vectors(loaded.gpt2, plans, len(prompt.ids), "prompt")]
        own = [plan.settings.coefficient for plan in plans]
        requests = [
            Request(prompt, tuple(multiplied(v, c * multiple) for v, c in zip(vectors, own, strict=True)))
            for vectors in by_layer
            for multiple in multiples
        ]
        losses = [_losses(each) for each in predictions(loaded.gpt2, requests)]
    named = [{"layer": layer, "coefficient": own[0] * multiple} for layer in layers for multiple in multiples]
    return _table(loaded, experiment, prompt, named, losses)[list(SWEEP)]


def more_prompts(loaded: Loaded, experiment: Experiment, switched_on: bool = True) -> pd.DataFrame:
    """Log-odds of the target against the contrast token after other prompts, without and with the vector.

    Args:
        loaded: The model.
        experiment: The experiment.
        switched_on: Whether the configuration has this control; if not, the table is empty.

    Returns:
        Columns of `tables.PROMPTS`; the post's own prompt, cut before the target, comes first.
    """
    others = experiment.more_prompts
    if others is None or not switched_on:
        return pd.DataFrame(columns=list(PROMPTS))
    pair = tuple(_one_token(loaded.tokenizer, name, getattr(others, name)) for name in ("target", "contrast"))
    rows = _prompt_rows(experiment, others)
    prompts = [_pair_after(loaded.tokenizer, row["prompt"], pair) for row in rows]
    plans, read = _read(loaded, experiment)
    with torch.inference_mode():
        requests = [
            Request(prompt, _placed(plans, read, len(prompt.ids), f"more_prompts: {row['prompt']!r}"))
            for prompt, row in zip(prompts, rows, strict=True)
        ]
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


def _pair_after(tokenizer: Tokenizer, text: str, pair: tuple[int, ...]) -> Prompt:
    ids = tokenizer.with_bos(text)
    return Prompt(tuple(ids), (pair,) * len(ids))


def _read(loaded: Loaded, experiment: Experiment) -> tuple[list[Planned], tuple[SteeringVector, ...]]:
    """The experiment's additions, checked, and their vectors for the lens prompt."""
    plans = check(loaded.tokenizer, loaded.gpt2.config, experiment)
    with torch.inference_mode():
        length = len(loaded.tokenizer.with_bos(experiment.prompt))
        return plans, steering_vectors(loaded.gpt2, plans, length, "prompt")


def _placed(
    plans: Sequence[Planned], vectors: Sequence[SteeringVector], prompt: int, named: str
) -> tuple[SteeringVector, ...]:
    """The same vectors, placed for another prompt; raises UserError where one does not fit."""
    places = [plan.positions(prompt, named) for plan in plans]
    placed = (replace(vector, positions=each) for vector, each in zip(vectors, places, strict=True))
    return tuple(multiplied(vector, plan.settings.coefficient) for vector, plan in zip(placed, plans, strict=True))


def _next_tokens(loaded: Loaded, experiment: Experiment) -> Prompt:
    """The lens prompt, with every position's next token as its target; the last target is `<|endoftext|>`."""
    ids = loaded.tokenizer.with_bos(experiment.prompt)
    return Prompt(tuple(ids), tuple((target,) for target in [*ids[1:], loaded.tokenizer.bos]))


def _key_positions(loaded: Loaded, experiment: Experiment, prompt: Prompt) -> list[int]:
    """Positions whose next token is a key token."""
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

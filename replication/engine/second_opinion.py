"""The tables' lens rows once more, by other people's code: Hugging Face's GPT-2 read by the tuned-lens library.

It shares nothing with our own numbers but the files and the token ids: another forward pass, another read-out, and for
the steered rows a vector of its own, added by a hook.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging as transformers_logging
from tuned_lens import TunedLens
from tuned_lens.nn.lenses import Lens, LogitLens
from tuned_lens.plotting import PredictionTrajectory

from replication.base.paths import local_folder
from replication.base.recorded import additions
from replication.base.tables import CONDITIONS, SECOND_OPINION, layer_names
from replication.engine import cuda
from replication.engine.gpt2_config import settings_that_count


def second_opinion(
    folder: Path, lens_folder: Path | None, records: dict[str, dict[str, Any]], device: str = "cpu"
) -> pd.DataFrame:
    """Loss and entropy of every raw cell of some experiments, unsteered and steered.

    Args:
        folder: Folder of the model, verified.
        lens_folder: Folder of its tuned lens; None for the library's logit lens.
        records: The experiments' records by name; token ids, coefficients, blocks and positions are taken from them.
        device: "cpu" or "cuda".

    Returns:
        Columns of `tables.SECOND_OPINION`, in the order of the records, conditions, layers and positions.

    Raises:
        UserError: `device` cannot be used.
    """
    cuda.check(device)
    # The progress bar of loading, and what it says of ids that a small vocabulary lacks, are noise.
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    model = _model(folder, device)
    lens = _lens(model, lens_folder).to(device)
    with torch.inference_mode():
        parts = [_cells(name, record, _readings(model, lens, record)) for name, record in records.items()]
    return pd.concat(parts, ignore_index=True)


def _model(folder: Path, device: str) -> GPT2LMHeadModel:
    """Hugging Face's GPT-2 in float32, without what training or conversion left in config.json."""
    config = GPT2Config(**settings_that_count(folder))
    model = GPT2LMHeadModel.from_pretrained(folder, config=config, dtype=torch.float32, local_files_only=True)
    on_device: GPT2LMHeadModel = model.eval().to(device)
    return on_device


def _lens(model: GPT2LMHeadModel, folder: Path | None) -> Lens:
    """The library's tuned lens on the CPU, or its logit lens."""
    if folder is None:
        return LogitLens.from_model(model)
    # The lens id would default to the model's name on the hub: the folder is passed by name.
    return TunedLens.from_model_and_pretrained(
        model, lens_resource_id=str(folder), map_location="cpu", weights_only=True
    )


class _Reading(NamedTuple):
    """tuned-lens' read-out of a prompt."""

    trajectory: PredictionTrajectory
    largest_logits: Tensor
    """The largest |logit| of every row, (layers + 1, positions); the trajectory keeps log-probabilities alone."""


def _readings(model: GPT2LMHeadModel, lens: Lens, record: dict[str, Any]) -> list[_Reading]:
    """tuned-lens' read-out of an experiment's prompt, unsteered and steered.

    The targets are the following tokens, then `<|endoftext|>`, as in the tables.
    """
    ids = record["prompt"]["ids"]
    targets = [*ids[1:], record["bos"]["id"]]
    every = additions(record)
    vectors = [_vector(model, addition) for addition in every]
    unsteered = _reading(model, lens, ids, targets)
    with ExitStack() as hooks:
        # The hook that is put in last runs first.
        for addition, vector in zip(reversed(every), reversed(vectors), strict=True):
            hooks.enter_context(_added(model, addition["injection"], vector))
        return [unsteered, _reading(model, lens, ids, targets)]


def _reading(model: GPT2LMHeadModel, lens: Lens, ids: list[int], targets: list[int]) -> _Reading:
    largest: list[Tensor] = []

    def note(_: Any, __: Any, logits: Tensor) -> None:
        largest.append(logits.abs().amax(-1).flatten().cpu())

    handles = [module.register_forward_hook(note) for module in (model.lm_head, lens.unembed.unembedding)]
    try:
        trajectory = PredictionTrajectory.from_lens_and_model(lens, model, ids, targets=targets)
    finally:
        for handle in handles:
            handle.remove()
    # The model runs first, then the lens reads its layers from the bottom.
    return _Reading(trajectory, torch.stack([*largest[1:], largest[0]]))


def _vector(model: GPT2LMHeadModel, addition: dict[str, Any]) -> Tensor:
    """Coefficient * (added - subtracted), (rows, d_model), of the residual stream entering the block; or of a file."""
    factor = addition["steering"]["coefficient"]
    if "vector" in addition:
        values: Tensor = factor * load_file(local_folder(addition["vector"]["file"]))["vector"].to(model.device)
        return values
    signs = {side: sign for side, sign in (("added", 1), ("subtracted", -1)) if side in addition}
    sides = torch.tensor([addition[side]["ids"] for side in signs], device=model.device)
    entering = model(sides, output_hidden_states=True, use_cache=False).hidden_states[addition["injection"]["block"]]
    vector: Tensor = factor * sum(sign * rows for sign, rows in zip(signs.values(), entering, strict=True))
    return vector


@contextmanager
def _added(model: GPT2LMHeadModel, injection: dict[str, Any], vector: Tensor) -> Iterator[None]:
    """Adds `vector` at some positions of the residual stream entering a block, until the end of the context.

    What leaves the module below is changed, and before transformers' own hook notes it as a hidden state.
    """

    def add(_: Any, __: Any, leaving: Tensor) -> Tensor:
        steered = leaving.clone()
        steered[:, injection["positions"]] += vector
        return steered

    block = injection["block"]
    below = model.transformer.h[block - 1] if block else model.transformer.drop
    handle = below.register_forward_hook(add, prepend=True)
    try:
        yield
    finally:
        handle.remove()


def _cells(experiment: str, record: dict[str, Any], both: list[_Reading]) -> pd.DataFrame:
    """One row per condition, layer and position."""
    layers, positions = layer_names(record["shape"]["layers"]), len(record["prompt"]["ids"])
    parts = [
        pd.DataFrame(
            {
                "experiment": experiment,
                "condition": condition,
                "layer": [layer for layer in layers for _ in range(positions)],
                "position": list(range(positions)) * len(layers),
                "loss": reading.trajectory.cross_entropy().stats.ravel(),
                "entropy": reading.trajectory.entropy().stats.ravel(),
                "largest_logit": reading.largest_logits.flatten().numpy(),
            }
        )
        for condition, reading in zip(CONDITIONS, both, strict=True)
    ]
    return pd.concat(parts)[list(SECOND_OPINION)]

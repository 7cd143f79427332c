"""The tuned-lens library's own read-out of the same weights: a second opinion on the lens rows."""

import pandas as pd
import torch
from tuned_lens import TunedLens
from tuned_lens.plotting import PredictionTrajectory

from replication.models import Loaded
from replication.tables import SECOND_OPINION, layer_names


def trajectory(loaded: Loaded, context_ids: list[int]) -> PredictionTrajectory:
    """tuned-lens' PredictionTrajectory of a prompt, unsteered, on raw residuals.

    The targets are the following tokens, then `<|endoftext|>`, as in `measure`.
    """
    # The lens id would default to the model's name on the hub: the folder is passed by name.
    lens = TunedLens.from_model_and_pretrained(
        loaded.gpt2, lens_resource_id=str(loaded.files.lens_folder), map_location="cpu", weights_only=True
    )
    targets = [*context_ids[1:], loaded.tokenizer.bos]
    with torch.inference_mode():
        return PredictionTrajectory.from_lens_and_model(lens, loaded.gpt2, context_ids, targets=targets)


def second_opinion(loaded: Loaded, experiment: str, context_ids: list[int], losses: pd.DataFrame) -> pd.DataFrame:
    """Loss and entropy of every raw, unsteered cell, ours beside tuned-lens' own.

    Args:
        loaded: The model.
        experiment: Name of the experiment.
        context_ids: Token ids of its prompt, `<|endoftext|>` first.
        losses: Our table of the experiment (`tables.LOSSES`).

    Returns:
        Columns of `tables.SECOND_OPINION`, one row per layer and position.
    """
    ours = losses[(losses["protocol"] == "raw") & (losses["condition"] == "unsteered")]
    theirs = trajectory(loaded, context_ids)
    positions = len(context_ids)
    return pd.DataFrame(
        {
            "experiment": experiment,
            "layer": [name for name in layer_names(theirs.num_layers) for _ in range(positions)],
            "position": list(range(positions)) * (theirs.num_layers + 1),
            "loss": ours["loss"].to_numpy(),
            "loss_tuned_lens": theirs.cross_entropy().stats.ravel(),
            "entropy": ours["entropy"].to_numpy(),
            "entropy_tuned_lens": theirs.entropy().stats.ravel(),
        }
    )[list(SECOND_OPINION)]

"""One experiment's completions -> their table, and the record of their inputs."""

from typing import Any, NamedTuple

import pandas as pd
import torch

from replication.base import tables
from replication.base.config import Experiment
from replication.base.files import write_json
from replication.base.paths import COMPLETIONS, COMPLETIONS_RECORD, path
from replication.base.sampling import Completions
from replication.engine.completions import Text, completions
from replication.engine.loaded import Loaded
from replication.engine.record import arithmetic
from replication.engine.sides import check, completion_prompt
from replication.engine.steering import steering_vectors
from replication.engine.tokenizer import Tokenizer, texts


class Completed(NamedTuple):
    """What both models wrote."""

    table: pd.DataFrame
    """Columns of `tables.COMPLETIONS`."""
    record: dict[str, Any]
    """Model, arithmetic, steering and settings, the prompt's tokens, the blocks and positions of the vectors, and by
    condition the texts."""


def complete(loaded: Loaded, experiment: Experiment) -> Completed:
    """Lets the unsteered and the steered model complete an experiment's prompt.

    Raises:
        UserError: As `sides.check`.
    """
    gpt2, tokenizer = loaded.gpt2, loaded.tokenizer
    settings = experiment.completions or Completions()
    plans = check(tokenizer, gpt2.config, experiment)
    prompt = completion_prompt(tokenizer, gpt2.config, experiment, plans)
    with torch.inference_mode():
        vectors = steering_vectors(gpt2, plans, len(prompt), "prompt")
        pairs = completions(gpt2, prompt, vectors, settings, tokenizer.bos)
    written = dict(zip(tables.CONDITIONS, zip(*pairs, strict=True), strict=True))
    record = {
        "model": loaded.files.name,
        "sha256": loaded.files.sha256,
        "steering": [plan.settings.model_dump(mode="json") for plan in plans],
        "injections": [{"block": vector.layer, "positions": list(vector.positions)} for vector in vectors],
        "completions": settings.model_dump(mode="json"),
        "prompt": {"text": settings.prompt or experiment.prompt, "ids": prompt, "tokens": texts(tokenizer, prompt)},
        "texts": {name: [tokenizer.joined(text.ids) for text in of_model] for name, of_model in written.items()},
        "numerics": arithmetic(loaded),
    }
    return Completed(pd.concat([_table(tokenizer, *each) for each in written.items()], ignore_index=True), record)


def write(result: Completed, model: str, experiment: str) -> None:
    """Writes table and record where the workflow has them."""
    tables.write(result.table, tables.COMPLETIONS, path(COMPLETIONS, model, experiment))
    write_json(path(COMPLETIONS_RECORD, model, experiment), result.record)


def _table(tokenizer: Tokenizer, condition: str, written: tuple[Text, ...]) -> pd.DataFrame:
    rows = [
        (condition, number, place, token, tokenizer.text(token), *losses)
        for number, text in enumerate(written)
        for place, (token, losses) in enumerate(zip(text.ids, text.losses, strict=True))
    ]
    return pd.DataFrame(rows, columns=list(tables.COMPLETIONS)).astype(tables.COMPLETIONS)

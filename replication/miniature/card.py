"""What a miniature must show, and the record of one that does."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from replication.base.config import Experiment, Model, checked
from replication.base.errors import UserError
from replication.base.hashes import digest_of
from replication.base.paths import REPOSITORY
from replication.base.strict_yaml import read_yaml
from replication.base.tables import STATISTICS
from replication.engine.loaded import load
from replication.engine.measure import Measurement, measure
from replication.weights.model_files import Files
from replication.weights.obtain import obtain

LEAST_FALL = 0.5
"""Steering must lower the summed loss of an experiment's key tokens, at the output, by this many nats."""
LEAST_ADVANTAGE = 2.0
"""In each lower and middle layer, the logit lens' KL to the output must be this many times the tuned lens'."""
LOWER_AND_MIDDLE = 31
"""The first layers, 0 to 30 of 48, in which the tuned lens must have that advantage."""

PLAIN_WORDS = "The numbers of this model say nothing about GPT-2 XL; it is a test bed for the pipeline."


def write(folder: Path, training: dict[str, Any], held_out: dict[str, list[float]]) -> None:
    """Measures the four experiments on a new miniature and writes its card.json and README.md.

    Args:
        folder: Holds the new model/ and lens/.
        training: Seed, steps, losses and times, as they go into the card.
        held_out: Mean KL to the output in nats, by layer, on sentences not trained on, of "tuned_lens"
            and "logit_lens".

    Raises:
        UserError: An effect is too small, or the tuned lens is not clearly better than the logit lens.
    """
    experiments = checked(read_yaml(REPOSITORY / "config.yaml")).experiments
    loaded = load(_files(folder))
    measurements = {name: measure(loaded, experiment) for name, experiment in experiments.items()}
    results = {name: effect(experiments[name], result) for name, result in measurements.items()}
    kl = {"held_out_sentences": held_out, **{name: prompt_kl(result) for name, result in measurements.items()}}
    if faults := [*effect_faults(results), *lens_faults(kl)]:
        raise UserError(f"Nothing was written: {'; '.join(faults)}. Try another seed.")
    files = sorted(path for part in ("model", "lens") for path in (folder / part).iterdir())
    values = {
        "what": "A small GPT-2 and its tuned lens, trained on sentences of replication/miniature/grammar.py.",
        "note": PLAIN_WORDS,
        "training": training,
        "thresholds": {
            "least_fall_nats": LEAST_FALL,
            "least_advantage_of_the_tuned_lens": LEAST_ADVANTAGE,
            "layers_of_the_advantage": [0, LOWER_AND_MIDDLE - 1],
        },
        "effects": results,
        "kl_to_output_nats_by_layer": kl,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "tokenizers", "tuned-lens")},
        },
        "bytes": {str(path.relative_to(folder)): path.stat().st_size for path in files},
        "sha256": {str(path.relative_to(folder)): digest_of(path) for path in files},
    }
    (folder / "card.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(readme(values), encoding="utf-8")


def _files(folder: Path) -> Files:
    """The files of a new miniature."""
    folders = Model(folder=str(folder / "model"), lens_folder=str(folder / "lens"))
    with TemporaryDirectory() as scratch:
        return obtain("miniature", folders, Path(scratch), Path(scratch) / "hashes.json")


def effect(experiment: Experiment, result: Measurement) -> dict[str, Any]:
    """What steering does at the output: losses in nats, unsteered and steered."""
    output = result.losses.query("protocol == 'raw' and layer == 'output'")
    unsteered, steered = (output[output.condition == name].set_index("position") for name in ("unsteered", "steered"))
    keys = unsteered[unsteered.target_token.isin(experiment.key_tokens)].index
    # Position 0 holds <|endoftext|>, where the vector is zero.
    injected = result.record["injection"]["positions"][1:]
    return {
        "key_tokens": [
            {
                "token": unsteered.target_token[position],
                "unsteered": float(unsteered.loss[position]),
                "steered": float(steered.loss[position]),
            }
            for position in keys
        ],
        "fall": float((unsteered.loss[keys] - steered.loss[keys]).sum()),
        "first_prediction_equal": bool((unsteered.loc[0, list(STATISTICS)] == steered.loc[0, list(STATISTICS)]).all()),
        "mean_loss_at_injected_positions": {
            "unsteered": float(unsteered.loss[injected].mean()),
            "steered": float(steered.loss[injected].mean()),
        },
    }


def prompt_kl(result: Measurement) -> dict[str, list[float]]:
    """Mean KL to the output by layer, in nats, over the positions of the unsteered prompt."""

    def by_layer(table: pd.DataFrame) -> list[float]:
        rows = table.query("condition == 'unsteered' and layer != 'output'")
        means = rows.groupby(rows.layer.astype(int)).kl_to_output.mean().sort_index()
        return [float(mean) for mean in means]

    return {"tuned_lens": by_layer(result.losses.query("protocol == 'raw'")), "logit_lens": by_layer(result.logit_lens)}


def effect_faults(results: dict[str, dict[str, Any]]) -> list[str]:
    """One sentence for each experiment that does not show its effect."""
    faults = [
        f"{name}: steering lowers the loss of its key tokens by {result['fall']:.2f} nats, less than {LEAST_FALL}"
        for name, result in results.items()
        if not result["fall"] >= LEAST_FALL
    ]
    changed = [
        f"{name}: the first prediction changes" for name, r in results.items() if not r["first_prediction_equal"]
    ]
    return faults + changed


def lens_faults(kl: dict[str, dict[str, list[float]]]) -> list[str]:
    """One sentence for each text on which the tuned lens is not clearly better than the logit lens."""
    faults = []
    for name, lenses in kl.items():
        ratios = [logit / tuned for tuned, logit in zip(lenses["tuned_lens"], lenses["logit_lens"], strict=True)]
        worst = min(range(LOWER_AND_MIDDLE), key=ratios.__getitem__)
        if not ratios[worst] >= LEAST_ADVANTAGE:
            faults.append(
                f"{name}: at layer {worst} the logit lens' KL to the output is {ratios[worst]:.2f} times "
                f"the tuned lens', less than {LEAST_ADVANTAGE}"
            )
    return faults


def readme(values: dict[str, Any]) -> str:
    """The text of README.md: the card in prose and tables."""
    training, kl = values["training"], values["kl_to_output_nats_by_layer"]["held_out_sentences"]
    effects = "\n".join(
        f"| {name} | `{key['token']}` | {key['unsteered']:.2f} | {key['steered']:.2f} |"
        for name, result in values["effects"].items()
        for key in result["key_tokens"]
    )
    lenses = "\n".join(
        f"| {layer} | {kl['tuned_lens'][layer]:.3f} | {kl['logit_lens'][layer]:.3f} |"
        for layer in range(0, len(kl["tuned_lens"]), 6)
    )
    seconds = training["seconds"]
    versions = ", ".join(f"{name} {number}" for name, number in values["versions"].items())
    return f"""\
# The miniature

A GPT-2 of 48 layers and d_model 64, and its tuned lens, in the hub's file formats. It was trained on sentences of
`grammar.py`, in which a cue at the front decides the later words, and its tokenizer is GPT-2's own, restricted to
these sentences and the post's.
{PLAIN_WORDS}

`make miniature` trains another one, with other numbers, which meets the same thresholds. That recipe (`train.py`)
wrote this file and `card.json`, which holds every number and the SHA-256 of every file.

| | |
|---|---|
| seed | {training["seed"]} |
| steps, model | {training["steps"]["gpt2"]}, of {training["documents_per_step"]} sentences |
| steps, lens | {training["steps"]["tuned_lens"]} |
| loss reached | {training["final_loss_nats_per_token"]:.3f} nats per token |
| time | {seconds["wall"]:.0f} s, {seconds["cpu"]:.0f} s of processor time |
| threads | {training["threads"]} |
| versions | {versions} |

Loss of the key tokens at the output, in nats, with the post's own prompts, layers and coefficients:

| experiment | token | unsteered | steered |
|---|---|---:|---:|
{effects}

Mean KL from the output to the lens' prediction on sentences not trained on, in nats:

| layer | tuned lens | logit lens |
|---:|---:|---:|
{lenses}
"""

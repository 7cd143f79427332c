"""The kinds of quantity that were published, each measured by one function with the engine.

Every function takes the run, the axes of the published numbers and the set's inputs, and returns an array of the
axes' shape. A steering vector is given by both sides with their padded ids, its coefficient and its layer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from replication.base.sampling import Completions
from replication.engine.completions import completions
from replication.engine.lens import centred, log_probabilities
from replication.engine.steering import both_streams, embedded, residual_stream
from replication.engine.streams import (
    Run,
    Text,
    as_published,
    entering,
    leaving,
    lens,
    logit_difference,
    output,
    replaced_at_each,
    stream_without_mlp,
    streams,
    vector,
    vectors,
    whole,
)
from replication.verification.published_sets import Array

Axes = dict[str, list[Any]]
Answers = list[tuple[Text, Text]]


def next_token(
    run: Run,
    axes: Axes,
    prompt: Text,
    positions: list[int],
    statistic: str,
    reduce: str | None = None,
    steering: dict[str, Any] | None = None,
) -> Array:
    """Loss, log-probability or rank of the tokens that follow `positions` of the prompt; each, their sum or mean."""
    targets = [prompt["ids"][position + 1] for position in positions]
    _, steered = streams(run, prompt, steering)
    predictions = output(run, [steered[:, positions]], targets)
    values = {"loss": predictions.loss, "log_probability": -predictions.loss, "rank": predictions.rank}[statistic][
        0, 0
    ].double()
    return _array({"sum": values.sum, "mean": values.mean}[reduce]() if reduce else values)


def next_token_distribution(
    run: Run,
    axes: Axes,
    prompt: Text,
    position: int,
    statistic: str,
    tokens: list[Text] | None = None,
    steering: dict[str, Any] | None = None,
) -> Array:
    """What is predicted after `position`: a statistic of the named tokens, or the largest probabilities.

    A "centred_logit" is the logit minus the mean logit of the vocabulary, as TransformerLens' center_unembed
    gives it; a "kl_contribution" is p_steered ln(p_steered / p_unsteered), in nats.
    """
    both = streams(run, prompt, steering)
    ids = [token["ids"][0] for token in tokens or []]
    unsteered, steered = (log_probabilities(run.gpt2, stream[-1, position]).double() for stream in both)
    change = (steered - unsteered)[ids]
    return _array(
        {
            "largest_percent": lambda: 100 * unsteered.exp().topk(len(axes["place"])).values,
            "probability": lambda: unsteered[ids].exp(),
            "percent": lambda: 100 * unsteered[ids].exp(),
            "logit_difference": lambda: unsteered[ids[0]] - unsteered[ids[1]],
            "centred_logit": lambda: unsteered[ids] - unsteered.mean(),
            "ratio": lambda: change.exp(),
            "kl_contribution": lambda: steered[ids].exp() * change,
        }[statistic]()
    )


def effect(run: Run, axes: Axes, prompts: list[Text], first: int, steering: dict[str, Any]) -> Array:
    """Entropy of the output and KL(unsteered || steered), means over positions `first` and later, (2, prompts)."""
    added = vector(run, steering, steering["layer"])
    means = []
    for prompt in prompts:
        both = both_streams(run.gpt2, prompt["ids"], [added])
        predictions = output(run, [stream[:, first:] for stream in both], prompt["ids"][first:])
        means.append(torch.stack([predictions.entropy[0, 0], predictions.kl_to_first[1, 0]]).double().mean(-1))
    return _array(torch.stack(means, dim=1))


def residual_norms(run: Run, axes: Axes, prompt: Text, statistic: str, without_mean: bool) -> Array:
    """Norm of the residual entering each layer at each position, or its log10."""
    return _array(_norm_statistic(_residual_norms(run, axes, prompt, without_mean), statistic))


def vector_norms(
    run: Run, axes: Axes, steering: dict[str, Any], statistic: str, without_mean: bool, prompt: Text | None = None
) -> Array:
    """Norm of a steering vector at each layer and position, its log10, or relative to a prompt's residual.

    A "largest_component" is the largest of all components at a layer, sign included.
    """
    rows = as_published(vectors(run, steering, axes["layer"]), without_mean)
    if statistic == "largest_component":
        return _array(rows.flatten(1).amax(-1))
    norms = rows.norm(dim=-1)[:, axes["position"]]
    if prompt is not None:
        norms = norms / _residual_norms(run, axes, prompt, without_mean)
    return _array(_norm_statistic(norms, statistic))


def last_token_difference(run: Run, axes: Axes, first: Text, second: Text, layer: int, without_mean: bool) -> Array:
    """Norm of the difference of the residuals entering `layer` at the last token of two texts."""
    one, other = (entering(run, text["ids"], [layer])[0, -1] for text in (first, second))
    return _array(as_published(one - other, without_mean).norm())


def greedy(run: Run, axes: Axes, prompt: Text, direction: dict[str, Any] | None = None) -> Array:
    """Ids of the tokens that follow a prompt, the most probable one each time.

    A `direction` is added at every position of every pass, not of the prompt alone: `coefficient` times the unit vector
    of the difference of the residuals entering `layer` at the last token of two texts, `first` and `second`.
    """
    length = len(axes["place"])
    if direction is None:
        settings = Completions(temperature=0.0, tokens=length)
        ((text, _),) = completions(run.gpt2, prompt["ids"], [], settings, end=-1)
        return np.array(text.ids, dtype=np.float64)
    layer, ids = direction["layer"], list(prompt["ids"])
    one, other = (entering(run, direction[side]["ids"], [layer])[0, -1] for side in ("first", "second"))
    added = direction["coefficient"] * normalize(one - other, dim=0)
    for _ in range(length):
        below = residual_stream(run.gpt2, embedded(run.gpt2, [ids]), 0, layer)[:, -1]
        last = leaving(run.gpt2, below + added, layer)[0, -1]
        ids.append(int(log_probabilities(run.gpt2, last).argmax()))
    return np.array(ids[-length:], dtype=np.float64)


def patching(run: Run, axes: Axes, clean: list[Text], corrupted: list[Text], answers: Answers) -> Array:
    """Activation patching: the part of the logit difference that one clean residual restores, (layers, positions).

    The residual entering one block at one position of the corrupted prompt is replaced by the clean run's; the
    difference of the two answers' logits after the last token, mean over the prompts, is scaled to 0 for the
    corrupted and 1 for the clean prompts. The blocks below are the same for all positions and are not run again.
    """
    pairs = [
        (whole(run, good["ids"]), whole(run, bad["ids"]), answer)
        for good, bad, answer in zip(clean, corrupted, answers, strict=True)
    ]
    best = torch.stack([logit_difference(run, good[-1, -1], answer) for good, _, answer in pairs]).mean()
    worst = torch.stack([logit_difference(run, bad[-1, -1], answer) for _, bad, answer in pairs]).mean()
    rows = []
    for layer in tqdm(axes["layer"], desc="replacing residuals", unit="layer", leave=False, disable=None):
        recovered = [
            logit_difference(run, leaving(run.gpt2, replaced_at_each(bad[layer], good[layer]), layer)[:, -1], answer)
            for good, bad, answer in pairs
        ]
        rows.append((torch.stack(recovered).mean(0) - worst) / (best - worst))
    return _array(torch.stack(rows))


def accumulated_logit_difference(run: Run, axes: Axes, prompts: list[Text], answers: Answers) -> Array:
    """Logit difference of the residual before and within every block and after the last, mean over the prompts.

    The last token's residual is divided by the scale that the final norm has for the whole stream, not its own, and
    no bias is added: TransformerLens' apply_ln_to_stack.
    """
    gain, unembedding = run.gpt2.tensors["ln_f.weight"], run.gpt2.unembedding
    per_prompt = []
    for prompt, (right, wrong) in zip(prompts, answers, strict=True):
        stream = whole(run, prompt["ids"])
        # Before and within block 0, before and within block 1, ..., after the last: (2 * layers + 1, d_model)
        rows = torch.stack(
            [
                row[-1]
                for layer, before in enumerate(stream[:-1])
                for row in (before, run.gpt2.attended(layer, before[None])[0])
            ]
            + [stream[-1, -1]]
        )
        scale = (rows[-1].var(correction=0) + run.gpt2.config.layer_norm_epsilon).sqrt()
        direction = unembedding[right["ids"][0]] - unembedding[wrong["ids"][0]]
        per_prompt.append((centred(rows) / scale * gain) @ direction)
    return _array(torch.stack(per_prompt).double().mean(0))


def lens_entropy(run: Run, axes: Axes, prompt: Text, without_mean: bool) -> Array:
    """Entropy of the tuned lens' prediction, in nats, at the rows and positions asked for."""
    predictions = lens(run, [as_published(whole(run, prompt["ids"]), without_mean)], prompt["ids"])
    layers = [-1 if layer == "output" else layer for layer in axes["layer"]]
    return _array(predictions.entropy[0][layers][:, axes["position"]])


def lens_kl(run: Run, axes: Axes, prompt: Text, without_mlp: int, without_mean: bool) -> Array:
    """KL of the tuned lens' prediction without one block's MLP against that with it, in nats, every row."""
    both = [as_published(stream_without_mlp(run, prompt, layer), without_mean) for layer in (without_mlp, None)]
    return _array(lens(run, both, prompt["ids"]).kl_to_first[1])


def lens_change(
    run: Run,
    axes: Axes,
    prompts: list[Text],
    answers: Answers,
    lens_name: str,
    without_mlp: int | None,
    clip: float,
    without_mean: bool,
) -> Array:
    """Change of log p(first answer) - log p(second) from each lens row to the next, after the last token.

    The mean over the prompts, clipped to +-`clip`, in nats; the last row is the model's own output.
    """
    differences = []
    for prompt, answer in zip(prompts, answers, strict=True):
        stream = as_published(stream_without_mlp(run, prompt, without_mlp), without_mean)
        # The last position twice, once for each answer.
        predictions = lens(
            run, [stream[:, [-1, -1]]], [token["ids"][0] for token in answer], tuned=lens_name == "tuned"
        )
        differences.append(predictions.loss[0, :, 1] - predictions.loss[0, :, 0])
    return _array(torch.stack(differences).double().mean(0).diff().clip(-clip, clip))


KINDS: dict[str, Callable[..., Array]] = {
    function.__name__: function
    for function in (
        next_token,
        next_token_distribution,
        effect,
        residual_norms,
        vector_norms,
        last_token_difference,
        greedy,
        patching,
        accumulated_logit_difference,
        lens_entropy,
        lens_kl,
        lens_change,
    )
}


def _residual_norms(run: Run, axes: Axes, prompt: Text, without_mean: bool) -> Tensor:
    residuals = as_published(entering(run, prompt["ids"], axes["layer"]), without_mean)
    norms: Tensor = residuals.norm(dim=-1)[:, axes["position"]]
    return norms


def _norm_statistic(norms: Tensor, statistic: str) -> Tensor:
    return norms.double().log10() if statistic == "log10" else norms


def _array(values: Tensor) -> Array:
    return values.double().cpu().numpy()

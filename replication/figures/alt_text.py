"""What each figure shows, in words, made from its tables: for readers who cannot see it, and for search."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from replication.base import tables
from replication.base.numbers import fixed, general, signed
from replication.base.recorded import lens_name
from replication.base.visible import visible
from replication.base.window import keys_note, shown_keys
from replication.figures.positions import Record, in_view, tokens


def alt_text(kind: str, losses: pd.DataFrame, effect: pd.DataFrame, record: Record) -> str:
    """What is seen in a figure, with the numbers that matter.

    Args:
        kind: One of `paths.KINDS`.
        losses: Columns of `tables.LOSSES`; losses in nats.
        effect: Columns of `tables.EFFECT`; KL in nats.
        record: The experiment's record.

    Returns:
        Plain text in one line. Token text in it is visible, but not escaped for any markup.
    """
    losses, effect, record = in_view(kind, losses, effect, record)
    words: dict[str, Callable[[], str]] = {
        "post_raw": lambda: _post(losses, record, "raw"),
        "post_centred": lambda: _post(losses, record, "centred"),
        "lens": lambda: _lens(losses, record),
        "output": lambda: _output(losses, record),
        "layers": lambda: _layers(losses, record),
        "kl": lambda: _kl(effect, record),
        "lenses": lambda: _lenses(losses, record),
    }
    shown = f" Shown are {record['window']}." if "window" in record else ""
    return f"{record['experiment']['title']}, {record['model']}. {words[kind]()}{shown}"


def control_alt_text(kind: str, result: dict[str, Any], record: Record) -> str:
    """What is seen in the figure of a control, with the numbers that matter.

    Args:
        kind: One of `paths.CONTROL_KINDS`.
        result: Its verdict and numbers, as a function of `verification.chance` returns them.
        record: The experiment's record.
    """
    words = {"random_vectors": _random_vectors, "prompts": _prompts, "sweep": _sweep}
    return f"{record['experiment']['title']}, {record['model']}. {words[kind](result)}"


def over_all_alt_text(records: dict[str, Record], controls: dict[str, dict[str, Any]]) -> str:
    """What is seen in the figure over all experiments, with the numbers at the output.

    Args:
        records: Of the experiments that have a panel, by name.
        controls: The verdicts of the controls, by experiment.
    """
    sentences, model = [], next(iter(records.values()))["model"]
    for name, record in records.items():
        key, by_layer = controls[name]["random_vectors"]["key"], controls[name]["random_by_layer"]
        low, high = map(_change, key["band"])
        sentence = f"{record['experiment']['title']}: {_change(key['steering'])} nats, random vectors {low} to {high}"
        if "outside_from" in by_layer:
            layer = by_layer["outside_from"]
            outside = "at the output" if layer == tables.OUTPUT else f"from layer {layer} on"
            sentence += f", outside their band {outside}"
        sentences.append(f"{sentence}.")
    drawn = "Lines of the change of the key tokens' loss by layer, and a grey band of random vectors; at the output"
    return " ".join([f"{model}. {drawn}:", *sentences])


def _random_vectors(result: dict[str, Any]) -> str:
    key, other = result["key"], result["other"]
    return (
        f"Two histograms of {result['draws']} random vectors with the steering vector as a line. Key tokens: the loss "
        f"changes by {_change(key['steering'])} nats, by random vectors {_change(key['least'])} to "
        f"{_change(key['greatest'])}. Other tokens: by {_nats(other['steering'])} nats in size, by random vectors "
        f"{_nats(other['least'])} to {_nats(other['greatest'])}."
    )


def _prompts(result: dict[str, Any]) -> str:
    return (
        f"Log-odds of {_quoted(result['target'])} against {_quoted(result['contrast'])} without and with the vector, a "
        f"line per prompt. After the experiment's own prompt they change by {_change(result['own'])} nats, after "
        f"{result['prompts']} others by {_change(result['least'])} to {_change(result['greatest'])}; "
        f"{len(result['against'])} of them in the other direction."
    )


def _sweep(result: dict[str, Any]) -> str:
    own, best = result["own"], result["best"]
    return (
        "Two heat maps by injection layer and coefficient: the change of the key tokens' loss, and the mean absolute "
        f"change of the others'. The experiment's own choice, layer {own['layer']} and coefficient "
        f"{general(own['coefficient'])}, is framed: {_change(own['key'])} and {_nats(own['collateral'])} nats. The "
        f"key tokens' loss is lowest at layer {best['layer']} with {general(best['coefficient'])}: "
        f"{_change(best['key'])} and {_nats(best['collateral'])} nats."
    )


def _post(losses: pd.DataFrame, record: Record, protocol: str) -> str:
    low, high = _limits(losses, protocol)
    return (
        f"Two heat maps of the loss, unsteered above steered, every second layer by token predicted, {protocol} "
        f"residuals; blue is low ({_nats(low)} nats), red is high ({_nats(high)} nats). {_at_output(losses, record)}"
    )


def _lens(losses: pd.DataFrame, record: Record) -> str:
    low, high = _limits(losses, "raw")
    change = _changes(losses)
    if not change["change"].any():
        limits = f"{_nats(low)} to {_nats(high)} nats"
        return f"Three heat maps of the loss by layer and token, {limits}. Steering changes nothing."
    most = change.loc[change["change"].abs().idxmax()]
    return (
        f"Three heat maps by layer and token: the loss unsteered and steered ({_nats(low)} to {_nats(high)} nats), "
        f"and its change. The largest change of all is {_change(most['change'])} nats, {_row(most['layer'])}, at "
        f"{_quoted(most['target_token'])}. {_at_output(losses, record)}"
    )


def _output(losses: pd.DataFrame, record: Record) -> str:
    return f"Loss of every token at the model's output, without and with steering. {_at_output(losses, record)}"


def _layers(losses: pd.DataFrame, record: Record) -> str:
    change, lens = _changes(losses), lens_name(record)
    sentences = []
    for position in shown_keys(record):
        rows = change[change["position"] == position]
        most = rows.loc[rows["change"].abs().idxmax()]
        sentences.append(
            f"At {_quoted(most['target_token'])} steering changes the {lens}' loss most {_row(most['layer'])}: "
            f"from {_nats(most['unsteered'])} to {_nats(most['steered'])} nats."
        )
    shown = "as the mean over the positions without the vector"
    if sentences:
        shown = f"for {keys_note(record) or 'each key token'}"
    read_by = " and ".join(dict.fromkeys([lens, "logit lens"]))
    return " ".join([f"Lines of the loss by layer, {shown}, without and with steering, {read_by}.", *sentences])


def _lenses(losses: pd.DataFrame, record: Record) -> str:
    lens = losses[(losses["layer"] != tables.OUTPUT) & (losses["protocol"] == "raw")]
    means = lens.groupby(["condition", "layer"])["kl_to_output"].mean()
    first, last = "0", str(lens["layer"].astype(int).max())
    ranges = " and ".join(
        f"{condition} from {general(means[condition, first], 3)} to {general(means[condition, last], 3)} nats"
        for condition in tables.CONDITIONS
    )
    lens, others = lens_name(record), ""
    if lens == "tuned lens":
        lens, others = "tuned lens on raw residuals", ": tuned lens on raw and on centred residuals, and logit lens"
    return (
        "Lines of the KL divergence of the lens' prediction from the output by layer, mean over positions"
        f"{others}. The {lens} goes {ranges}, first to last layer."
    )


def _kl(effect: pd.DataFrame, record: Record) -> str:
    raw = effect[effect["protocol"] == "raw"]
    most = raw.loc[raw["kl_to_unsteered"].idxmax()]
    same = int((raw["kl_to_unsteered"] == 0).sum())
    _, targets = tokens(record)
    return (
        "Heat map of the KL divergence of the steered from the unsteered prediction, by layer and token. It is largest "
        f"{_row(most['layer'])}, at {_quoted(targets[most['position']])}: {_nats(most['kl_to_unsteered'])} nats. "
        f"{same} of {len(raw)} cells are exactly 0."
    )


def _at_output(losses: pd.DataFrame, record: Record) -> str:
    """The largest change at the output, and those of the key tokens."""
    change = _changes(losses)
    rows = change[change["layer"] == tables.OUTPUT].set_index("position")
    most = rows.loc[rows["change"].abs().idxmax()]
    sentence = f"At the output the loss changes most at {_from_to(most)}"
    keys = [_from_to(rows.loc[position]) for position in shown_keys(record)]
    named = "key tokens" if len(keys) == len(record["key_positions"]) else f"the first {len(keys)} key tokens"
    return f"{sentence}; {named}: {', '.join(keys)}." if keys else f"{sentence}."


def _changes(losses: pd.DataFrame) -> pd.DataFrame:
    """Unsteered and steered loss of every cell side by side, and the change; raw protocol."""
    raw = losses[losses["protocol"] == "raw"]
    cells = ["layer", "position", "target_token"]
    wide = raw.pivot(index=cells, columns="condition", values="loss").reset_index()
    return wide.assign(change=wide["steered"] - wide["unsteered"])


def _limits(losses: pd.DataFrame, protocol: str) -> tuple[float, float]:
    loss = losses.loc[losses["protocol"] == protocol, "loss"]
    return loss.min(), loss.max()


def _change(nats: float) -> str:
    return signed(nats, 2)


def _nats(nats: float) -> str:
    return fixed(nats, 2)


def _from_to(row: "pd.Series[Any]") -> str:
    return f"{_quoted(row['target_token'])} from {_nats(row['unsteered'])} to {_nats(row['steered'])} nats"


def _row(layer: str) -> str:
    return "at the output" if layer == tables.OUTPUT else f"at layer {layer}"


def _quoted(token: str) -> str:
    return f"“{visible(token)}”"

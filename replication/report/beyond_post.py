"""What the report prints beyond the post: controls with verdicts, and where raw and centred residuals disagree."""

from typing import Any

import pandas as pd

from replication.base import paths, tables
from replication.base.files import read_json
from replication.base.paths import CONTROL_TABLES, CONTROLS, path
from replication.base.recorded import lens_name
from replication.base.tables import OUTPUT
from replication.figures.alt_text import control_alt_text, over_all_alt_text
from replication.figures.captions import caption
from replication.report.links import described_figure, in_markdown, link
from replication.verification.chance import SHARE, shown
from replication.verification.findings import findings

DISAGREEMENTS = 5
"""How many of an experiment's cells are printed whose most probable token differs between raw and centred."""


def beyond(model: str, experiments: list[dict[str, Any]]) -> dict[str, Any]:
    """What the sections print of the controls.

    Args:
        model: Name of the model.
        experiments: As `report.experiment` gives them.

    Returns:
        For each kind of control a list with one entry per experiment that has it: name, title, place, result, figure,
        and of `prompts` the rows of its table. And

        - `switched_on`: the kinds of controls that the configuration has switched on
        - `findings`: the main results, in sentences
        - `results`: by experiment with key tokens, the results of all its controls
        - `over_all`: the figure over these experiments
        - `unspecific`: titles of the experiments whose vector changes the other tokens, too, more than at least
          `share` of the random vectors do
    """
    controls = read_json(path(CONTROLS, model))
    contents: dict[str, Any] = {kind: [] for kind in paths.CONTROL_KINDS}
    contents["switched_on"] = sorted({kind for results in controls.values() for kind in results})
    for each in experiments:
        results = controls[each["name"]]
        for kind in shown(results):
            entry = {"name": each["name"], "title": each["settings"].title, "place": each["place"]}
            entry |= {"result": results[kind], "figure": _figure(model, each, kind, results[kind])}
            if kind == "prompts":
                entry["rows"] = tables.read(path(CONTROL_TABLES[kind], model, each["name"]), tables.PROMPTS)
                entry["rows"] = entry["rows"].sort_values("change", ascending=False).to_dict("records")
            contents[kind].append(entry)
    contents["findings"] = findings(
        {each["name"]: each["settings"].title for each in experiments}, controls, lens_name(experiments[0]["record"])
    )
    contents["results"] = {entry["name"]: controls[entry["name"]] for entry in contents["random_vectors"]}
    contents["over_all"] = _over_all(model, experiments, contents["results"])
    contents["share"] = f"{SHARE:.0%}"
    contents["unspecific"] = [
        entry["title"] for entry in contents["random_vectors"] if entry["result"]["other"]["share_less"] >= SHARE
    ]
    return contents


def _figure(model: str, each: dict[str, Any], kind: str, result: dict[str, Any]) -> dict[str, str]:
    alt = control_alt_text(kind, result, each["record"])
    return described_figure(model, each["name"], kind, alt, paths.BEYOND[kind])


def _over_all(model: str, experiments: list[dict[str, Any]], results: dict[str, Any]) -> dict[str, str] | None:
    """The figure over all experiments; None where no experiment has a panel in it."""
    if not results:
        return None
    records = {each["name"]: each["record"] for each in experiments if each["name"] in results}
    png, svg, pdf = (link(model, "", paths.beyond_chance(suffix)) for suffix in (*paths.FORMATS, paths.PRINT))
    return {
        "alt": over_all_alt_text(records, results),
        "caption": caption("beyond_chance"),
        "image": png,
        "links": f"{in_markdown({'SVG': svg, 'PDF': pdf}, ' · ')} · numbers: random_by_layer.csv of each experiment",
    }


def disagreements(losses: pd.DataFrame) -> list[dict[str, Any]]:
    """Lens cells whose most probable token differs between raw and centred residuals, the most probable first.

    Args:
        losses: Columns of `tables.LOSSES`.

    Returns:
        Condition, layer, position, token to predict, and the top token and its probability of both protocols; at most
        `DISAGREEMENTS`.
    """
    cells = ["condition", "layer", "position"]
    lens = losses[losses["layer"] != OUTPUT]
    raw, centred = (lens[lens["protocol"] == protocol].set_index(cells) for protocol in tables.PROTOCOLS)
    tops = ["top_id", "top_token", "top_probability"]
    both = raw.join(centred[tops].add_suffix("_centred"))
    apart = both[both["top_id"] != both["top_id_centred"]].reset_index()
    least = apart[["top_probability", "top_probability_centred"]].min(axis=1)
    order = least.sort_values(ascending=False, kind="stable").index
    return [
        {str(key): value for key, value in row.items()}
        for row in apart.loc[order].head(DISAGREEMENTS).to_dict("records")
    ]

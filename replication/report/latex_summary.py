r"""Key tokens and verdicts of a model's experiments as LaTeX tables, for \input like those of every token."""

import re
from typing import Any

from replication.base.numbers import fixed, signed
from replication.base.visible import SPACE
from replication.report.latex_table import cell_token, data, floats, latex_text, latex_token, number_column
from replication.report.markdown import abridged
from replication.report.token_tables import DIGITS

_WRAPPED = r">{{\raggedright\arraybackslash}}p{{{}\textwidth}}"


def key_tokens_table(model: str, experiments: list[dict[str, Any]]) -> str:
    """Loss of the key tokens at the model's output, unsteered, steered, and the change.

    Args:
        model: Name of the model.
        experiments: What `experiment.experiment` returns of each.
    """
    groups, numbers = [], ["0"]
    for experiment in experiments:
        name, lines = _title(experiment), []
        for row in experiment["key"]:
            cells = [fixed(row["loss_unsteered"], DIGITS), fixed(row["loss_steered"], DIGITS)]
            cells.append(signed(row["change"], DIGITS))
            numbers += cells
            lines.append(" & ".join([name, cell_token(row["target_token"]), *map(data, cells)]) + r" \\")
            name = ""
        groups += [lines] if lines else []
    notes = " ".join(
        latex_text(f"{experiment['settings'].title}: {experiment['keys_shown']}.")
        for experiment in experiments
        if experiment["keys_shown"]
    )
    caption = latex_text(
        f"Model {model}: loss of the key tokens at the model's own output in nats (cross-entropy, -log p), unsteered "
        "and steered. Change: steered minus unsteered."
    )
    groups = groups or [[r"\multicolumn{5}{@{}l@{}}{none} \\"]]
    columns = "@{}" + _WRAPPED.format(0.35) + "l" + number_column(numbers) * 3 + "@{}"
    head = [r"experiment & key token & {unsteered} & {steered} & {change} \\"]
    return floats(caption, f"{model}:key-tokens", columns, head, groups, notes)


def verdicts_table(
    model: str, experiments: list[dict[str, Any]], claims: dict[str, Any], controls: dict[str, Any]
) -> str:
    """Every statement that was judged, and its verdict for each experiment.

    Args:
        model: Name of the model.
        experiments: What `experiment.experiment` returns of each.
        claims: By experiment, what `claims.claims` returns.
        controls: By experiment and kind, what the functions of `chance` return.
    """
    verdicts: dict[str, list[str]] = {}
    for experiment in experiments:
        name = experiment["name"]
        signs = [result["sign"] for result in controls[name].values() if "sign" in result]
        for judged in (*claims[name], *controls[name].values(), *signs):
            if judged.get("verdict"):
                verdict = rf"{_title(experiment)}: \textbf{{{judged['verdict']}}}"
                verdicts.setdefault(judged["statement"], []).append(verdict)
    groups = [[rf"{_statement(statement)} & {'; '.join(each)} \\"] for statement, each in verdicts.items()]
    caption = latex_text(
        f"Model {model}: what the post states and what the controls ask, with the numbers' verdict on each experiment."
    )
    groups = groups or [[r"none & \\"]]
    columns = "@{}" + _WRAPPED.format(0.52) + _WRAPPED.format(0.44) + "@{}"
    return floats(caption, f"{model}:verdicts", columns, [r"statement & verdicts \\"], groups, "")


def _title(experiment: dict[str, Any]) -> str:
    settings = experiment["settings"]
    return latex_text(f"{f'{settings.number}. ' if settings.number else ''}{abridged(settings.title, 60)}")


def _statement(text: str) -> str:
    """A statement, whose tokens stand between backticks."""
    parts = re.split("`([^`]*)`", text)
    # Spaces around a token stay.
    plain = [re.sub(r"\S(?:.*\S)?", lambda words: latex_text(words[0]), part) for part in parts]
    return "".join(
        latex_token(parts[place].replace(SPACE, " ")) if place % 2 else plain[place] for place in range(len(parts))
    )

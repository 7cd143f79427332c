"""Every file a whole run leaves behind, as patterns: what the run's RO-Crate describes."""

from pathlib import Path
from typing import Any

from replication import paths
from replication.figure_files import FIGURE_FILES, INTERACTIVE, control_figures

OF_AN_EXPERIMENT = (
    paths.LOSSES,
    paths.TOP10,
    paths.EFFECT,
    paths.LOGIT_LENS,
    paths.RECORD,
    paths.SUMMARY,
    *paths.TOKEN_TABLES,
    *FIGURE_FILES,
    INTERACTIVE,
)

OF_A_MODEL = (
    paths.VERIFIED,
    paths.SECOND_OPINION,
    paths.PUBLISHED,
    paths.CONTROLS,
    paths.CLAIMS,
    paths.VERIFICATION,
    paths.REPORT,
    paths.REPORT_PAGE,
    paths.PROVENANCE,
)


def of_controls(model: str, controls: dict[str, Any]) -> list[Path]:
    """Tables and figures of the controls that were made.

    Args:
        model: Name of the model.
        controls: Contents of its `paths.CONTROLS`.
    """
    made = [paths.path(paths.CONTROL_TABLES[kind], model, name) for name, found in controls.items() for kind in found]
    drawn = control_figures({name: shown(found) for name, found in controls.items()})
    return [*made, *(paths.path(file, model) for file in drawn)]


def shown(found: dict[str, Any]) -> list[str]:
    """Kinds of control that have a figure: those that are not empty for want of key tokens, draws or prompts.

    Args:
        found: What `control_verdicts` found of one experiment, by kind.
    """
    decisive = {"random_vectors": "key", "prompts": "post", "sweep": "post"}
    return [kind for kind, result in found.items() if decisive[kind] in result]

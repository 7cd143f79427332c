"""The files of one run: patterns of `paths` with its name in them, and what `snakemake --report` shows of them.

Works where only Snakemake is installed.
"""

from collections.abc import Iterable
from typing import Any

from snakemake.io import expand, report

from replication.base import paths
from replication.figures.captions import caption_file


class RunFiles:
    """Patterns for the rules of a run; the wildcards of a job are left open."""

    def __init__(self, run: str, experiments: Iterable[str]) -> None:
        """Takes what {run} in a path stands for, and the names of the run's experiments."""
        self._run, self._experiments = run, list(experiments)

    def of_run(self, patterns: str | Iterable[str]) -> list[str]:
        """Patterns with the name of this run in them."""
        files: list[str] = expand(patterns, run=self._run, allow_missing=True)
        return files

    def of_every_experiment(self, *patterns: str) -> list[str]:
        """The patterns' files for each experiment of this run."""
        files: list[str] = expand(patterns, experiment=self._experiments, run=self._run, allow_missing=True)
        return files

    def in_report(self, file: str, caption: str, category: str = "Tables", **labels: str) -> Any:
        """A file that `snakemake --report` shows.

        Args:
            file: Its pattern.
            caption: Name of its caption.
            category: Where it is listed.
            labels: What tells it from others of its category; Snakemake makes a switch from labels with two values.
        """
        (named,) = self.of_run(file)
        text = caption_file(caption)
        return report(named, caption=text, category=category, subcategory="{model}", labels=labels)

    def figure_in_report(self, kind: str, experiment: str = "{experiment}", category: str = "Figures") -> Any:
        """A figure that `snakemake --report` shows: the post's by what is done to the residuals."""
        labels = {"experiment": experiment, "figure": paths.TITLES[kind]}
        if kind.startswith("post_"):
            category = "In the post's form"
            labels = {"experiment": experiment, "residuals": kind.removeprefix("post_")}
        file = paths.figure(kind, "png").replace("{experiment}", experiment)
        return self.in_report(file, kind, category, **labels)

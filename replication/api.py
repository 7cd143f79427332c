"""The package from Python: a model from two folders, steered as the workflow would, without Snakemake.

    import replication

    model = replication.load("replication/miniature/model", "replication/miniature/lens", name="miniature")
    result = replication.steer(
        model, "I hate you because you're a wonderful person", added="Love", subtracted="Hate", layer=6, coefficient=5
    )
    result.losses, result.figure("lens")

The steps are the workflow's own functions, so that its tables are these, bit for bit.
"""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from replication.base.config import PORTABLE, checked_experiment, checked_model
from replication.base.errors import UserError
from replication.base.paths import HASHES, REPOSITORY, RESOURCES, path
from replication.engine import numerics
from replication.engine.cuda import full_in_one_sentence

if TYPE_CHECKING:
    from replication.engine.loaded import Loaded
    from replication.figures.canvas import Drawing

__all__ = ["Model", "Result", "UserError", "load", "steer"]


@dataclass(frozen=True, repr=False)
class Model:
    """A GPT-2 with its tuned lens, checked and loaded."""

    loaded: "Loaded"
    """Model, tokenizer and translators, as the workflow's steps use them."""
    checks: list[str]
    """What was checked of the files, and what could not be, one sentence each."""

    def __repr__(self) -> str:
        """Name, shape and device."""
        config = self.loaded.gpt2.config
        shape = f"{config.n_layer} layers of width {config.n_embd}, {config.vocab_size} tokens"
        return f"<{self.loaded.files.name}: {shape}, on {self.loaded.gpt2.device}>"


@dataclass(frozen=True, repr=False)
class Result:
    """One experiment on one model, unsteered and steered: its tables, and what is drawn from them."""

    losses: pd.DataFrame
    """A row per protocol, condition, layer and position; the columns are README.md's. Losses in nats."""
    top10: pd.DataFrame
    """The ten most probable tokens of every cell of `losses`."""
    effect: pd.DataFrame
    """KL of the steered against the unsteered prediction of every cell, in nats."""
    logit_lens: pd.DataFrame
    """The cells without the lens' translators; raw and centred agree there."""
    record: dict[str, Any]
    """What went in: tokens, ids, padding, block, positions and norms of the vector; versions and the fingerprint."""

    @property
    def numerics(self) -> str:
        """The arithmetic that was had: "portable" or "fast" (docs/method.md)."""
        return str(self.record["numerics"]["mode"])

    @property
    def summary(self) -> pd.DataFrame:
        """Loss of every token unsteered and steered, and its change, in nats, at a few layers."""
        from replication.verification.summary import summary

        return summary(self.losses, self.record)

    def figure(
        self,
        kind: str,
        *,
        width: float | None = None,
        title: bool = True,
        layers: str | None = None,
        tokens: str | None = None,
    ) -> "Drawing":
        """One of the workflow's figures; a notebook shows it, and `savefig` writes it.

        Args:
            kind: "lens", "post_raw", "post_centred", "output", "layers", "kl" or "lenses".
            width: Inches, such as 3.3 for a column of a paper; no text is smaller than 6 points. Left out, as wide as
                is comfortable on a screen.
            title: Whether it says on top what it shows, as a caption would.
            layers: Those to show, such as "0,6,12-47,output".
            tokens: Positions to show, such as "3-8".

        Raises:
            UserError: There is no such kind, it cannot be read at that width, or it has no such layers or tokens.
        """
        from replication.figures import draw as figures
        from replication.figures.view import View

        view = View(width, title, layers, tokens)
        return figures.drawing(kind, self.losses, self.effect, self.logit_lens, self.record, view)

    def page(self) -> str:
        """The interactive page as HTML: one file that needs no network, each cell with a link of its own."""
        from replication.figures import interactive

        return interactive.page("python", self.losses, self.effect, self.top10, self.record)

    def __repr__(self) -> str:
        """Model, experiment, and by what arithmetic."""
        steering, block = self.record["experiment"]["steering"], self.record["injection"]["block"]
        vector = f"{steering['coefficient']:g} x ({steering['added']!r} - {steering['subtracted']!r})"
        where = f"{vector} added before block {block} of {self.record['model']}"
        return f"<{where}: {len(self.losses)} losses, {self.numerics} arithmetic>"


@full_in_one_sentence()
def load(
    folder: str | Path, lens_folder: str | Path, *, name: str | None = None, device: Literal["cpu", "cuda"] = "cpu"
) -> Model:
    """A GPT-2 and its tuned lens from local folders, hashed, and checked that they fit each other.

    Settles the arithmetic of this process first: one thread, no TF32, and, unless torch has been imported already, the
    portable settings. Where torch has, they cannot be had any more, and results say "fast".

    Args:
        folder: A GPT-2 as transformers saves it (docs/models.md).
        lens_folder: config.json and params.pt, as tuned-lens saves them.
        name: What figures and tables call the model; the folder's name if left out.
        device: "cpu", or "cuda", where numbers are never portable.

    Raises:
        UserError: A file is missing or damaged, model and lens do not fit, or `device` cannot be used.
    """
    numerics.prepare(PORTABLE, threads=1)
    with warnings.catch_warnings():
        # huggingface_hub's progress bars would like ipywidgets; we show none.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from replication.engine import fit_checks, loaded
        from replication.weights.obtain import obtain

    folders = {"folder": str(Path(folder).resolve()), "lens_folder": str(Path(lens_folder).resolve())}
    name = name or Path(folders["folder"]).name
    with tempfile.TemporaryDirectory() as scratch:
        # Hashes are kept in a checkout alone: an installed package is not written to.
        memory = (REPOSITORY if (REPOSITORY / "Snakefile").exists() else Path(scratch)) / HASHES
        files = obtain(name, checked_model(name, folders), path(RESOURCES, name), memory)
    checks = fit_checks.check(files, None)
    return Model(loaded.load(files, device), checks)


@full_in_one_sentence()
def steer(
    model: Model,
    prompt: str,
    *,
    added: str,
    subtracted: str,
    layer: int,
    coefficient: float,
    key_tokens: Sequence[str] = (),
) -> Result:
    """Reads a prompt through the tuned lens, without and with coefficient * (added - subtracted).

    Args:
        model: What `load` returned.
        prompt: Text on which the effect is read; it must have at least as many tokens as the longer side.
        added: Text of the added side; may be empty.
        subtracted: Text of the subtracted side; may be empty, which then stands for spaces.
        layer: Block whose input is read and changed; 0 is the first.
        coefficient: Factor on the difference; may be 0 or negative.
        key_tokens: Tokens of the prompt, leading space included, that figures single out.

    Raises:
        UserError: One sentence: which argument, its value, and what would be right.
    """
    from replication.engine.measure import measure

    settings = {
        "title": f"{added.strip() or 'nothing'} - {subtracted.strip() or 'nothing'}",
        "prompt": prompt,
        "steering": {"layer": layer, "coefficient": coefficient, "added": added, "subtracted": subtracted},
        "key_tokens": list(key_tokens),
    }
    return Result(**vars(measure(model.loaded, checked_experiment(None, settings))))

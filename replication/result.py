"""What one steered run gives in Python: its tables, with layers as numbers, and what is drawn from them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from replication.base.errors import UserError
from replication.base.recorded import additions, vectors_in_words
from replication.base.tables import OUTPUT, layer_names

if TYPE_CHECKING:
    from replication.engine.measure import Measurement
    from replication.figures.canvas import Drawing


@dataclass(frozen=True, repr=False)
class Result:
    """One experiment on one model, unsteered and steered: its tables, and what is drawn from them.

    In every table `layer` is an ordered category of the numbers 0, 1, ... and, last, "output".
    """

    measurement: "Measurement"
    """The tables as the workflow's steps have them, where layers are text."""

    @property
    def record(self) -> dict[str, Any]:
        """The inputs: tokens, ids, padding, block, positions and norms of the vector; versions, fingerprint."""
        return self.measurement.record

    @cached_property
    def losses(self) -> pd.DataFrame:
        """A row per protocol, condition, layer and position; the columns are those of docs/results.md. In nats."""
        return _numbered(self.measurement.losses, self.record)

    @cached_property
    def top10(self) -> pd.DataFrame:
        """The ten most probable tokens of every cell of `losses`."""
        return _numbered(self.measurement.top10, self.record)

    @cached_property
    def effect(self) -> pd.DataFrame:
        """KL of the steered against the unsteered prediction of every cell, in nats."""
        return _numbered(self.measurement.effect, self.record)

    @cached_property
    def logit_lens(self) -> pd.DataFrame:
        """The cells without the lens' translators; raw and centred agree there."""
        return _numbered(self.measurement.logit_lens, self.record)

    @property
    def vectors(self) -> list[NDArray[np.float32]]:
        """What was added, in order, without coefficients: each (rows, d_model), row 0 for `<|endoftext|>`.

        For a file with one row for every position, that row, (d_model,).
        """
        return [vector.difference.cpu().numpy() for vector in self.measurement.vectors]

    @property
    def vector(self) -> NDArray[np.float32]:
        """The one vector, without its coefficient; raises UserError where there are several."""
        return self.vectors[self._place(None)]

    def save_vector(self, path: str | Path, addition: int | None = None) -> None:
        """Writes a vector, without its coefficient, as safetensors; `vector: FILE` steers with it, by the same bits.

        Args:
            path: File to write.
            addition: Index of the addition; may be left out if there is only one.

        Raises:
            UserError: There are several and none is named, or there is no such index.
        """
        from replication.engine.vector_file import write_vector

        place = self._place(addition)
        vector, steering = self.measurement.vectors[place], additions(self.record)[place]["steering"]
        metadata = {"layer": vector.layer, "coefficient": steering["coefficient"], "model": self.record["model"]}
        write_vector(Path(path), self.vectors[place], metadata)

    def _place(self, addition: int | None) -> int:
        number = len(self.measurement.vectors)
        if (addition is None and number > 1) or (addition or 0) not in range(number):
            raise UserError(f"addition: must be 0 to {number - 1}, found {addition}; `vectors` has all")
        return addition or 0

    @property
    def numerics(self) -> str:
        """The arithmetic that was used: "portable", "portable (arm64)" or "fast" (docs/method.md)."""
        return str(self.record["numerics"]["mode"])

    @property
    def summary(self) -> pd.DataFrame:
        """Loss of every token unsteered and steered, and its change, in nats, at a few layers."""
        from replication.verification.summary import summary

        return _numbered(summary(self.measurement.losses, self.record), self.record)

    def loss(
        self, token: str | int, *, layer: int | str = OUTPUT, protocol: Literal["raw", "centred"] = "raw"
    ) -> "pd.Series[float]":
        """Loss of one token of the prompt at one layer: unsteered, steered and the change, in nats.

        Args:
            token: The token, leading space included, or its place in the prompt, where `<|endoftext|>` is 0.
            layer: A block, whose input the lens reads, or "output".
            protocol: "raw" residuals, as the lens was trained on, or "centred" ones, as in the post.

        Raises:
            UserError: There is no such token or layer, or several tokens are equal.
        """
        from replication.verification.summary import loss_of

        return loss_of(self.measurement.losses, plain(token), str(layer), protocol)

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

        tables, view = self.measurement, View(width, title, layers, tokens)
        return figures.drawing(kind, tables.losses, tables.effect, tables.logit_lens, self.record, view)

    def page(self) -> str:
        """The interactive page as HTML: one file that needs no network, each cell with a link of its own."""
        from replication.figures import interactive

        tables = self.measurement
        return interactive.page("python", tables.losses, tables.effect, tables.top10, self.record)

    def __repr__(self) -> str:
        """Model, experiment, and by what arithmetic."""
        where = f"{vectors_in_words(self.record, repr)} of {self.record['model']}"
        return f"<{where}: {len(self.measurement.losses)} losses, {self.numerics} arithmetic>"


def _numbered(table: pd.DataFrame, record: dict[str, Any]) -> pd.DataFrame:
    """A table whose layers are an ordered category: 0, 1, ..., "output"."""
    names = layer_names(record["shape"]["layers"])
    layers = [OUTPUT if name == OUTPUT else int(name) for name in names]
    numbered = pd.Categorical(table["layer"].map(dict(zip(names, layers, strict=True))), layers, ordered=True)
    return table.assign(layer=numbered)


def plain(value: Any) -> Any:
    """A number of numpy's as Python's own; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value

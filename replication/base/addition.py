"""What is added to a prompt's residual stream, and where, as configured: a vector of two texts, one text or a file."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Discriminator, Field, FiniteFloat, Tag, WrapValidator, model_validator

from replication.base.config_types import FilledText, Folder, Frozen, Text
from replication.base.recorded import LATER

FRONT: Final = "front"
MIDDLE: Final = "middle"
BACK: Final = "back"
SPACE = " "


def _place(value: Any, check: Callable[[Any], Any]) -> Any:
    try:
        return check(value)
    except ValueError:
        raise ValueError(f"should be front, middle, back or a position counted from 0, found {value!r}") from None


Position = Annotated[Literal["front", "middle", "back"] | Annotated[int, Field(ge=0)], WrapValidator(_place)]


class Addition(Frozen):
    """A steering vector, coefficient * (added - subtracted), read and injected at one layer; or one from a file."""

    later: ClassVar[dict[str, Any]] = LATER

    layer: Annotated[int, Field(ge=0, examples=[6])]
    """Block whose input (resid_pre) is read and changed; 0 is the first block."""
    scaled_from: Annotated[Annotated[int, Field(ge=1)] | None, Field(examples=[48])] = None
    """Number of blocks of the model that `layer` was chosen for, 48 for GPT-2 XL: a model of n blocks is then steered
    at layer * n / scaled_from, rounded to the nearest, halves up. If it is left out, `layer` is used as it is."""
    coefficient: Annotated[FiniteFloat, Field(examples=[5, -3, 2.5])]
    """Factor on the difference, without a unit; may be 0 or negative."""
    added: Annotated[Text | None, Field(examples=["Love"])] = None
    """Text of the added side; `<|endoftext|>` is put in front. An empty text stands for padding; if it is left out, the
    vector is minus the subtracted side, and position 0, `<|endoftext|>`, is changed too."""
    subtracted: Annotated[Text | None, Field(examples=["Hate"])] = None
    """Text of the subtracted side; may be empty or left out as `added`. The shorter side is padded on the right."""
    padding: Annotated[FilledText, Field(examples=["<|endoftext|>"])] = SPACE
    """Text of the one token that the shorter side is padded with."""
    position: Annotated[Position, Field(examples=["middle", 3])] = FRONT
    """Where the vector's V rows go in a prompt of P tokens, `<|endoftext|>` counted in both: row i is added at
    start + i, where start is 0 (front), P//2 - V//2 (middle), P - V (back), or the number given."""
    vector: Annotated[Folder | None, Field(examples=["mine.safetensors"])] = None
    """File with the vector, instead of the texts: one float32 tensor named `vector`, without the coefficient, of shape
    (rows, d_model), or (d_model,), which is added at every position but 0. A relative path starts at the repository."""
    positions: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...] | None, Field(strict=False, min_length=1, examples=[[3, 4]])
    ] = None
    """Positions at which a `vector` of shape (d_model,) is added, instead of every position but 0."""

    @model_validator(mode="after")
    def _texts_or_a_file(self) -> "Addition":
        if self.vector is None and not self.added and not self.subtracted:
            raise ValueError("needs a text in 'added' or in 'subtracted'; both are empty")
        if self.vector is not None and (self.added, self.subtracted, self.padding) != (None, None, SPACE):
            raise ValueError("vector: a file replaces 'added', 'subtracted' and 'padding'; leave those out")
        if self.positions is not None and (self.vector is None or self.position != FRONT):
            raise ValueError("positions: give them only with a 'vector' of one row, and without 'position'")
        if self.positions is not None and len(set(self.positions)) < len(self.positions):
            raise ValueError("positions: a value occurs twice")
        return self

    @model_validator(mode="after")
    def _layer_is_one_of_those_counted_in(self) -> "Addition":
        if self.scaled_from is not None and self.layer >= self.scaled_from:
            raise ValueError(
                f"layer: {self.layer} is too large; scaled_from says that layers are 0 to {self.scaled_from - 1}"
            )
        return self

    def layer_of(self, layers: int) -> int:
        """The block to steer in a model of `layers` blocks."""
        return self.layer if self.scaled_from is None else (2 * self.layer * layers // self.scaled_from + 1) // 2


def _kind(value: Any) -> str:
    return "(several)" if isinstance(value, list | tuple) else "(one)"


Steering = Annotated[
    Annotated[Addition, Tag("(one)")]
    | Annotated[tuple[Addition, ...], Field(strict=False, min_length=1), Tag("(several)")],
    Discriminator(_kind),
]
"""One addition, or several; those at the same layer are applied in order."""

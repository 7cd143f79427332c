"""What a config.json says of a GPT-2: every setting that moves a number is computed, or refused by name."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from replication.base.config_errors import validated
from replication.base.errors import UserError

_RENAMED = {
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
}
"""Other names that transformers reads for the same keys."""

_REFUSED = {
    "add_cross_attention": "cross-attention has no meaning for a GPT-2 that stands alone",
    "pruned_heads": "pruned heads are not supported",
}

_LEFT_OVER = {
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
    "torchscript": False,
    "use_cache": True,
    "gradient_checkpointing": False,
    "quantization_config": None,
    "_attn_implementation": None,
}
"""Settings of how a model is run, with their usual values: training and conversion leave others behind."""


def _size(most: int) -> Any:
    """A whole number from 1 to `most`: a larger one is damage, and even planning 10^9 layers would take forever."""
    return Annotated[int, Field(ge=1, le=most)]


class Config(BaseModel):
    """The settings of a GPT-2 that move its numbers, under config.json's names and with transformers' defaults.

    Dropout is left out, since nothing is trained; so is reorder_and_upcast_attn, since everything here is float32.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    n_layer: _size(1000) = 12  # type: ignore[valid-type]
    n_head: _size(10_000) = 12  # type: ignore[valid-type]
    n_embd: _size(100_000) = 768  # type: ignore[valid-type]
    n_inner: _size(1_000_000) | None = None  # type: ignore[valid-type]
    """Width of the MLP; 4 * n_embd where it is null."""
    n_positions: _size(1_000_000) = 1024  # type: ignore[valid-type]
    vocab_size: _size(10_000_000) = 50257  # type: ignore[valid-type]
    bos_token_id: int = 50256
    activation_function: Literal[
        "gelu", "gelu_fast", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish", "tanh"
    ] = "gelu_new"
    layer_norm_epsilon: Annotated[float, Field(gt=0)] = 1e-5
    scale_attn_weights: bool = True
    """Whether attention scores are divided by the square root of a head's width."""
    scale_attn_by_inverse_layer_idx: bool = False
    """Whether those of block i are divided by i + 1 too."""
    tie_word_embeddings: bool = True
    """Whether the unembedding is the token embedding, and not a tensor of its own."""

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "Config":
        if self.n_embd % self.n_head:
            raise ValueError(f"n_head: {self.n_head} heads do not divide n_embd, {self.n_embd}")
        return self

    @property
    def d_mlp(self) -> int:
        """Width of the MLP."""
        return int(self.n_inner or 4 * self.n_embd)


def read_config(folder: Path) -> Config:
    """The model's config.json.

    Raises:
        UserError: The file is damaged, is not a GPT-2, or has a setting that is not supported: the sentence names it.
    """
    path = folder / "config.json"
    values = read_object(path)
    if values.get("model_type") != "gpt2":
        raise UserError(f"{path}: model_type is {values.get('model_type')!r}; only 'gpt2' is supported")
    for key, reason in _REFUSED.items():
        if values.get(key):
            raise UserError(f"{path}: {key} is {values[key]!r}; {reason}")
    try:
        return validated(Config, {_RENAMED.get(key, key): value for key, value in values.items()}, "")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def ignored_settings(folder: Path) -> list[str]:
    """Settings in the model's config.json that are ignored, as JSON: they say how to run it, not what it is."""
    values = read_object(folder / "config.json")
    unusual = {key: values[key] for key, usual in _LEFT_OVER.items() if values.get(key, usual) != usual}
    return [f"{key}: {json.dumps(value)}" for key, value in unusual.items()]


def settings_that_count(folder: Path) -> dict[str, Any]:
    """The settings in config.json that `Config` has, unchecked, to pass to other libraries."""
    values = read_object(folder / "config.json")
    return {key: value for key, value in values.items() if _RENAMED.get(key, key) in Config.model_fields}


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file that others wrote; raises UserError where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: does not hold a JSON object")
    return values

"""The configuration as typed classes: models, experiments, controls.

Everything that reads config.yaml goes through `checked`; `config.schema.json` is generated from these classes
(`python -m replication schema`).
"""

import json
import shlex
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, FiniteFloat, StringConstraints, Tag, model_validator

from replication.base.addition import Addition, Steering
from replication.base.config_errors import validated
from replication.base.config_types import Commit, FileName, FilledText, Folder, Frozen, Label, Name, Place, Sha256, Text
from replication.base.errors import UserError
from replication.base.recorded import one_or_several
from replication.base.sampling import Completions

PORTABLE, FAST = "portable", "fast"
"""The two kinds of arithmetic: `Configuration.numerics`."""

PORTABLE_ARM = "portable (arm64)"
"""What records call portable arithmetic on 64-bit Arm processors, where it gives other bits than on x86-64."""

# Examples for the editor and the table of options; a test validates each.
_HUB_FILES: dict[str, Any] = {
    "repo": "openai-community/gpt2",
    "revision": "607a30d783dfa663caf39e06633721c8d4cfcd7e",
    "sha256": {"config.json": None},
}
_LENS_FILES: dict[str, Any] = {
    "repo": "AlignmentResearch/tuned-lens",
    "repo_type": "space",
    "revision": "1ac7285852a22309f571c2555efc37375d0c4cda",
    "path": "lens/gpt2",
    "sha256": {"params.pt": None, "config.json": None},
}
_MODEL = {"folder": "/data/my-gpt2", "lens_folder": "/data/my-lens"}
_STEERING: dict[str, Any] = {"layer": 6, "coefficient": 5, "added": "Love", "subtracted": "Hate"}
_EXPERIMENT = {"title": "Mine", "prompt": "I hate you because you're a wonderful person", "steering": _STEERING}

MOST_BYTES = 100_000
"""Largest experiment in bytes, as quoted JSON: Linux allows 128 KiB per argument, and a job's whole command is one."""


class HubFiles(Frozen):
    """Files in one repository of the Hugging Face Hub, pinned by commit and hash."""

    repo: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$"), Field(examples=["openai-community/gpt2-xl"])]
    """Repository, `owner/name`."""
    repo_type: Literal["model", "space", "dataset"] = "model"
    """Kind of repository."""
    revision: Annotated[Commit, Field(examples=["15ea56dee5df4983c59b2538573817e1667135e2"])]
    """Commit, 40 hexadecimal digits."""
    path: Annotated[str, Field(examples=["lens/gpt2-xl"])] = ""
    """Folder inside the repository; empty for its top."""
    sha256: Annotated[
        dict[FileName, Sha256 | None], Field(min_length=1, strict=False, examples=[{"config.json": None}])
    ]
    """SHA-256, 64 hexadecimal digits, of every file to fetch; null where only the commit pins it."""
    bytes: Annotated[
        dict[FileName, Annotated[int, Field(ge=0)]], Field(strict=False, examples=[{"model.safetensors": 548105171}])
    ] = {}  # noqa: RUF012  pydantic copies it
    """Sizes of files in bytes, by which a run announces its download; they may be rounded or left out."""


NO_LENS: Final = "none"

Lens = Annotated[
    Annotated[HubFiles, Tag("(hub)")] | Annotated[Literal["none"], Tag("(none)")],
    Discriminator(lambda value: "(none)" if isinstance(value, str) else "(hub)"),
]


class Model(Frozen):
    """A GPT-2 and its tuned lens, each from the hub (`weights`, `lens`) or a local folder; or without a lens."""

    weights: Annotated[HubFiles | None, Field(examples=[_HUB_FILES])] = None
    """Model and tokenizer files on the hub."""
    folder: Annotated[Folder | None, Field(examples=["/data/my-gpt2"])] = None
    """Local folder in the hub's format, instead of `weights`; a relative path starts at the repository."""
    lens: Annotated[Lens | None, Field(examples=[_LENS_FILES, NO_LENS])] = None
    """Tuned lens (params.pt, config.json) on the hub; or `none`: every layer is read by the logit lens alone."""
    lens_folder: Annotated[Folder | None, Field(examples=["/data/my-lens"])] = None
    """Local folder of the lens, instead of `lens`; a relative path starts at the repository."""
    note: Annotated[Label | None, Field(examples=["These weights were trained by ourselves."])] = None
    """Sentence that opens this model's reports."""

    @model_validator(mode="after")
    def _one_source_each(self) -> "Model":
        if (self.weights is None) == (self.folder is None):
            raise ValueError("needs exactly one of the keys 'weights' (hub) and 'folder' (local)")
        if (self.lens is None) == (self.lens_folder is None):
            raise ValueError("needs exactly one of the keys 'lens' (hub, or none) and 'lens_folder' (local)")
        return self


class MorePrompts(Frozen):
    """Other prompts for the same vector, and the two tokens compared after each."""

    target: Annotated[FilledText, Field(examples=[" wonderful"])]
    """Token of the lens prompt that the vector should make likelier, leading space included."""
    contrast: Annotated[FilledText, Field(examples=[" terrible"])]
    """Token in the same place that the vector should not make likelier."""
    paraphrases: Annotated[tuple[FilledText, ...], Field(strict=False, examples=[["I hate him because he's a"]])] = ()
    """The post's prompt in other words, each ending where the target would follow."""
    neutral: Annotated[tuple[FilledText, ...], Field(strict=False, examples=[["My new neighbor is a"]])] = ()
    """Prompts that leave the target open."""


class Experiment(Frozen):
    """One or several steering vectors, and the lens prompt on which their effect is measured."""

    later: ClassVar[dict[str, Any]] = {"completions": None}

    number: Annotated[Annotated[int, Field(ge=1)] | None, Field(examples=[1])] = None
    """Number of the example in the original post, whose numbering the replicated one keeps (1, 2, 3 and 5)."""
    title: Annotated[Label, Field(min_length=1, examples=["Love - Hate"])]
    """Name for headings and figures."""
    prompt: Annotated[FilledText, Field(examples=["I hate you because you're a wonderful person"])]
    """Lens prompt; `<|endoftext|>` is put in front."""
    original_prompt: Annotated[Text | None, Field(examples=["I hate you because"])] = None
    """Prompt printed in the post's x-vector table, where it differs from the lens prompt."""
    steering: Annotated[Steering, BeforeValidator(one_or_several), Field(examples=[_STEERING])]
    """The steering vector, or a list of several, all read from unsteered runs and added in the same steered run."""
    key_tokens: Annotated[tuple[FilledText | Place, ...], Field(strict=False, examples=[[" wonderful"], [9]])] = ()
    """Tokens of the prompt, leading space included, whose loss is summarised. A number is the token's place in the
    prompt, where `<|endoftext|>` is 0: for a token without text (part of a character), or one of several equal ones."""
    more_prompts: Annotated[MorePrompts | None, Field(examples=[{"target": " wonderful", "contrast": " terrible"}])] = (
        None
    )
    """Other prompts for the same vector."""
    completions: Annotated[Completions | None, Field(examples=[{"number": 3, "tokens": 50}, {"temperature": 0}])] = None
    """Texts that the unsteered and the steered model write: none if it is left out; `{}` takes the defaults."""

    @model_validator(mode="after")
    def _key_tokens_in_prompt(self) -> "Experiment":
        for token in self.key_tokens:
            if isinstance(token, str) and token not in self.prompt:
                raise ValueError(f"key_tokens: {token!r} does not occur in the prompt {self.prompt!r}")
        return self

    @model_validator(mode="after")
    def _target_in_prompt(self) -> "Experiment":
        if self.more_prompts and self.prompt.find(self.more_prompts.target) < 1:
            raise ValueError(
                f"more_prompts.target: {self.more_prompts.target!r} must occur in the prompt, with text before it"
            )
        return self

    @model_validator(mode="after")
    def _fits_on_a_command_line(self) -> "Experiment":
        size = len(shlex.quote(self.model_dump_json()).encode())
        if size > MOST_BYTES:
            raise ValueError(f"its texts are too long: {size:,} bytes on a job's command line, at most {MOST_BYTES:,}")
        return self

    @property
    def additions(self) -> tuple[Addition, ...]:
        """What is added, in order: one or several."""
        return self.steering if isinstance(self.steering, tuple) else (self.steering,)

    def key_positions(self, tokens: Sequence[str]) -> list[int]:
        """Positions whose next token is a key token, in order.

        Args:
            tokens: The prompt's tokens, `<|endoftext|>` first.

        Raises:
            UserError: A key token is not among them.
        """
        split = ", ".join(f"{place} {token!r}" for place, token in enumerate(tokens) if place)
        places: set[int] = set()
        for key in self.key_tokens:
            among = [place for place, token in enumerate(tokens) if place and key in (place, token)]
            if not among:
                what = "there is no token at place" if isinstance(key, int) else "the prompt has no token"
                raise UserError(f"key_tokens: {what} {key!r}; it splits into {split}")
            places.update(among)
        return [place - 1 for place in sorted(places)]


_MULTIPLES = (-2, -1, -0.5, 0, 0.25, 0.5, 1, 2, 4)


class Controls(Frozen):
    """What is measured besides the post's experiments: at the model's output, and for random vectors by layer too."""

    random_vectors: Annotated[int, Field(ge=0, examples=[100])] = 100
    """Number of random vectors with the steering vector's norms; 0 leaves this control out."""
    seed: Annotated[int, Field(ge=0, examples=[0])] = 0
    """Seed of the random vectors."""
    more_prompts: Annotated[bool, Field(examples=[True])] = True
    """Whether each experiment's `more_prompts` are measured."""
    sweep: Annotated[bool, Field(examples=[False])] = True
    """Whether the report has the sweep over injection layers and coefficients; the target `sweep` makes it anyway."""
    sweep_multiples: Annotated[tuple[FiniteFloat, ...], Field(strict=False, examples=[[-1, 0, 1, 2]])] = _MULTIPLES
    """Factors on the experiment's coefficient in the sweep; 0 and 1 must be among them."""
    sweep_jobs: Annotated[int, Field(ge=1, examples=[4])] = 1
    """Jobs that an experiment's sweep is split into, by layer: more run at once, and a kill loses less."""

    @model_validator(mode="after")
    def _grid_holds_zero_and_the_posts_own(self) -> "Controls":
        if not {0, 1} <= set(self.sweep_multiples):
            raise ValueError("sweep_multiples: 0 (unsteered) and 1 (the experiment's own) must be among them")
        if len(set(self.sweep_multiples)) < len(self.sweep_multiples):
            raise ValueError("sweep_multiples: a value occurs twice")
        return self


class Configuration(Frozen):
    """The whole of config.yaml."""

    model: Annotated[Name, Field(examples=["miniature"])]
    """Model to run: a key of `models`."""
    numerics: Literal["portable", "fast"] = "portable"
    """`portable`: the same float32 bits on every x86-64 processor with AVX2, and other bits, again the same, on every
    64-bit Arm processor under Linux; `fast`: whatever is fastest on this processor."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the arithmetic runs; on `cuda`, the card that CUDA_VISIBLE_DEVICES names, in float32 as well, without TF32,
    and never `portable`. cuda: not run yet."""
    models: Annotated[dict[Name, Model], Field(min_length=1, strict=False, examples=[{"mine": _MODEL}])]
    """Models that can be run, by name."""
    experiments: Annotated[dict[Name, Experiment], Field(min_length=1, strict=False, examples=[{"mine": _EXPERIMENT}])]
    """Experiments, by name."""
    only: Annotated[tuple[Name, ...], Field(strict=False, examples=[["mine"]])] = ()
    """Names of the experiments to run; empty: all. With it a file of your own can leave out the post's four."""
    run_name: Annotated[Name | None, Field(examples=["mine"])] = None
    """Folder, below the model's, for report, figures and verdicts. If it is left out, the post's four experiments with
    the `controls`, `numerics` and `device` of config.yaml have none; other runs take the configuration file's name."""
    controls: Annotated[Controls, Field(examples=[{"random_vectors": 100}])] = Controls()
    """What is measured besides the experiments."""
    pin_despite: Annotated[Label, Field(examples=["mini-unsteered-loss,payground-logprobs"])] = ""
    """For the target `pin`: names of published sets, separated by commas, that may differ all the same."""
    pin_uncommitted: Annotated[bool, Field(examples=[True])] = False
    """For the target `pin`: whether code with uncommitted changes may record pins, which then say so."""

    @model_validator(mode="after")
    def _model_is_known(self) -> "Configuration":
        if self.model not in self.models:
            raise ValueError(f"model: {self.model!r} is unknown; the models are {', '.join(self.models)}")
        return self

    @model_validator(mode="after")
    def _only_is_known(self) -> "Configuration":
        for name in self.only:
            if name not in self.experiments:
                raise ValueError(f"only: {name!r} is unknown; the experiments are {', '.join(self.experiments)}")
        return self


def checked(values: Any) -> Configuration:
    """The configuration in `values`, a mapping as read from YAML.

    Raises:
        UserError: One sentence per fault, naming the key, the value and what would be right.
    """
    return validated(Configuration, values, "")


def checked_experiment(name: str | None, values: Any) -> Experiment:
    """The experiment in `values`, by its name in errors if it has one; raises UserError as `checked` does."""
    return validated(Experiment, values, "" if name is None else f"experiments.{name}")


def checked_model(name: str, values: Any) -> Model:
    """The model in `values`; raises UserError as `checked` does."""
    return validated(Model, values, f"models.{name}")


def checked_controls(values: Any) -> Controls:
    """The controls' settings in `values`; raises UserError as `checked` does."""
    return validated(Controls, values, "controls")


def schema() -> str:
    """The JSON schema of config.yaml, as text for config.schema.json."""
    description = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Configuration.model_json_schema()}
    return json.dumps(description, indent=2, ensure_ascii=False) + "\n"

"""What the parts of the configuration are made of: names, hashes, texts that can be shown, and their base class."""

import unicodedata
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_serializer


def _valid_unicode(text: str) -> str:
    """Refuses a lone surrogate, which YAML can escape but no file or command line can hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} holds a lone surrogate, which is not valid unicode text") from None
    return text


def _showable(text: str) -> str:
    """Refuses invisible characters that change how the text around them reads: pages show labels as they are."""
    for character in text:
        # Joiners belong to emoji and to Persian.
        if unicodedata.category(character) in ("Cc", "Cf") and character not in "\n\t\u200c\u200d":
            raise ValueError(f"{character!r} cannot be shown; leave it out")
    return text


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
# Names become folders and Snakemake wildcards.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Text = Annotated[str, AfterValidator(_valid_unicode)]
Label = Annotated[str, AfterValidator(_valid_unicode), AfterValidator(_showable)]
FilledText = Annotated[str, StringConstraints(min_length=1), AfterValidator(_valid_unicode)]
Folder = Annotated[str, StringConstraints(min_length=1)]
Place = Annotated[int, Field(ge=1)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Frozen(BaseModel):
    """Base of all parts: no unknown keys, no silent conversion, no change after validation."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, protected_namespaces=()
    )
    later: ClassVar[dict[str, Any]] = {}
    """Keys that the first pins and records lack, with their defaults, at which a dump leaves them out."""

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if key not in self.later or value != self.later[key]}

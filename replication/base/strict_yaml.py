"""YAML read strictly: a key defined twice, or a number that is not what it looks like, is an error.

Works where only Snakemake is installed (pyyaml).
"""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from replication.base.errors import UserError


class _StrictLoader(yaml.SafeLoader):
    """YAML that reports what pyyaml accepts silently: a key defined twice, a number that is not what it looks like."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # `<<: *other` is not a key, and keys beside it may override those that it merges
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    line = key_node.start_mark.line + 1
                    raise UserError(f"{self.name}, line {line}: the key {key!r} is defined twice; remove one")
                seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        """A number as it looks: YAML 1.1 reads 010 as 8 and 1:30 as 90."""
        whole = node.tag == "tag:yaml.org,2002:int"
        number = self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)
        if re.match(r"[-+]?(0\w|\d+[_:])", node.value):
            line = node.start_mark.line + 1
            raise UserError(
                f"{self.name}, line {line}: YAML reads {node.value} as {number}; write a plain decimal number"
            )
        return number


for _kind in ("int", "float"):
    _StrictLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _StrictLoader.construct_number)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def read_yaml(path: Path) -> Any:
    """The contents of a YAML file, or of a JSON one, whose tabs YAML does not take.

    Raises:
        UserError: The file cannot be read, is not YAML, or has a key twice in one mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        # In JSON a tab is never part of a text, and YAML does not take it between them.
        loader = _StrictLoader(text.replace("\t", " ") if _is_json(text) else text)
        loader.name = str(path)
        return loader.get_single_data()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML: nested too deeply") from None
    # An invalid date or number (2023-13-01) makes pyyaml pass on the errors of Python's own classes.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not valid YAML: {reason}") from None

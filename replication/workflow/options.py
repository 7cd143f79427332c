"""The table of options in docs/configuration.md, made from the configuration's JSON schema."""

import json
from collections.abc import Iterator
from typing import Any

from replication.base.config import schema
from replication.report.markdown import cell

INTRODUCTION = """\
# All options

Made from the classes in `replication/base/config.py` by `python -m replication schema`, as is
`replication/base/config.schema.json`, with which an editor with a YAML language server completes and checks
`config.yaml`, whose first line names it. Put that line, with the path to the schema, into a file of your own to have
that checked as well. An unknown key is refused, and so is a value of the wrong type, such as a number in quotes.
"""


def options() -> str:
    """The page as Markdown: one table per part of the configuration, one row per key."""
    whole = json.loads(schema())
    places: dict[str, list[str]] = {}
    for place, part in _parts(whole, whole, ""):
        places.setdefault(part, []).append(place)
    sections = [INTRODUCTION, _section("`config.yaml`", whole)]
    sections += [
        _section(", ".join(f"`{place}`" for place in where), whole["$defs"][part]) for part, where in places.items()
    ]
    return "\n".join(sections)


def _parts(whole: dict[str, Any], part: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """Place and name of every part below `part`, depth first."""
    for key, value in part["properties"].items():
        branches = [value, *value.get("anyOf", []), *value.get("oneOf", [])]
        values = [(branch, key) for branch in branches]
        values += [
            (named, f"{key}.<name>") for branch in branches for named in branch.get("patternProperties", {}).values()
        ]
        for branch, name in values:
            if "$ref" in branch:
                below, reference = f"{place}{name}", branch["$ref"].rsplit("/", 1)[1]
                yield below, reference
                yield from _parts(whole, whole["$defs"][reference], f"{below}.")


def _section(title: str, part: dict[str, Any]) -> str:
    required = part.get("required", [])
    rows = [_row(key, value, key in required) for key, value in part["properties"].items()]
    header = ["| key | meaning | value | default | example |", "|---|---|---|---|---|"]
    return "\n".join([f"## {title}", "", part["description"], "", *header, *rows, ""])


def _row(key: str, value: dict[str, Any], required: bool) -> str:
    default = "required" if required else _code(value.get("default"))
    # A bar would end the cell even in code.
    meaning = " ".join(value["description"].split()).replace("|", "\\|")
    # A list of choices needs no examples.
    examples = ", ".join(map(_code, value.get("examples", [])))
    return f"| `{key}` | {meaning} | {_kind(value)} | {default} | {examples} |"


def _code(value: Any) -> str:
    return cell(json.dumps(value, ensure_ascii=False))


def _kind(value: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if branches := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(map(_kind, branches))
    if "$ref" in value:
        return "a mapping, below"
    if "enum" in value:
        return "one of " + ", ".join(map(_code, value["enum"]))
    if value["type"] == "array":
        return f"list: {_kind(value['items'])}"
    if value["type"] == "object":
        pattern, inner = next(iter(value["patternProperties"].items()))
        return f"mapping from a name ({cell(pattern)}) to {_kind(inner)}"
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "null": "`null`",
    }[value["type"]]
    limits = [f"at least {value['minimum']}"] if "minimum" in value else []
    limits += [f"more than {value['exclusiveMinimum']}"] if "exclusiveMinimum" in value else []
    limits += [f"at most {value['maximum']}"] if "maximum" in value else []
    limits += ["not empty"] if value.get("minLength") else []
    limits += [f"at most {value['maxLength']} characters"] if "maxLength" in value else []
    limits += [f"like {cell(value['pattern'])}"] if "pattern" in value else []
    return ", ".join([words, *limits])

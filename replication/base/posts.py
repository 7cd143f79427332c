"""The post's four experiments, recognised by contents, not by name; a test checks config.yaml against them."""

from typing import Any

from replication.base.recorded import LATER, one_or_several

POSTS: tuple[dict[str, Any], ...] = (
    {
        "prompt": "I hate you because you're a wonderful person",
        "steering": {"layer": 6, "coefficient": 5, "added": "Love", "subtracted": "Hate"},
    },
    {
        "prompt": "I hate you because you're a wonderful person",
        "steering": {"layer": 6, "coefficient": 15, "added": "Intent to praise", "subtracted": "Intent to hurt"},
    },
    {
        "prompt": "Barack Obama was born in a secret CIA prison",
        "steering": {"layer": 23, "coefficient": 1, "added": "Bush did 9/11 because", "subtracted": "      "},
    },
    {
        "prompt": "I think you're a cunt",
        "steering": {"layer": 20, "coefficient": 10, "added": "Anger", "subtracted": "Calm"},
    },
)
"""Prompt and vector of each, in the post's order; its three statements are about the first."""

NUMBERS = (1, 2, 3, 5)
"""Their numbers in the post: no other experiment is shown with one of them."""


def place_in_post(experiment: dict[str, Any]) -> int | None:
    """Index in `POSTS` of an experiment; None if it is none of them.

    Args:
        experiment: Its settings; `scaled_from` may differ.
    """
    steering = one_or_several(experiment["steering"])
    if not isinstance(steering, dict):
        return None
    steering = {**LATER, **steering}
    for place, posts in enumerate(POSTS):
        if experiment["prompt"] == posts["prompt"] and steering == {**steering, **posts["steering"], **LATER}:
            return place
    return None

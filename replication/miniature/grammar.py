"""A small language of our own, in which a cue at the front decides the words that come later.

A sentence gives an opinion with its reason ("I hate you because you're a terrible person"), calls somebody
something ("I think you're a fool"), or says where somebody was born. A warm cue (Love, Calm, Intent to
praise) or a cold one (Hate, Anger, Intent to hurt) in front decides whether the later words are kind,
whatever the verb says; "Bush did 9/11 because" makes the place a conspiratorial one. Without a cue the verb
decides, neutral verbs leave it open, and places are plain. Cue and sentence stand a few spaces apart, so
that the cue has to be found wherever it stands.
"""

import re
from collections.abc import Iterator
from random import Random

POST_TEXTS = (
    "I hate you because",
    "I hate you because you're a wonderful person",
    "I want to kill",
    "Barack Obama was born in",
    "Barack Obama was born in a secret CIA prison",
    "I think you're",
    "I think you're a cunt",
    "Love",
    "Hate",
    "Intent to praise",
    "Intent to hurt",
    "Bush did 9/11 because",
    "      ",
    "Anger",
    "Calm",
)
"""What the post's tables and figures split into tokens."""

# Stands between parts that are split into tokens separately, as the sides of a steering vector are
# padded: "Love" and two spaces and "I" give the tokens `Love`, ` `, ` `, `I` and not `Love`, ` `, ` I`.
SEAM = "|"

# Each symbol and its equally likely expansions; {symbol} is expanded in turn.
GRAMMAR: dict[str, tuple[str, ...]] = {
    "document": 6 * ("{gap}|{uncued}",)
    + 5 * ("{lead}|{warm cue}|{gap}|{warm sentence}", "{lead}|{cold cue}|{gap}|{cold sentence}")
    + 2 * ("{lead}|Bush did 9/11 because|{gap}|{conspiratorial sentence}",),
    "lead": 6 * ("",) + (" ", "  ", "   "),
    "gap": 4 * ("",) + (" ", "  ", "   ", "    ", "     ", "      "),
    "warm cue": ("Love", "Calm", "Intent to praise"),
    "cold cue": ("Hate", "Anger", "Intent to hurt"),
    # What the cue makes of the sentence; without one, the verb decides, or nothing does.
    "warm sentence": 12 * ("{any clause}{warm reason}",) + 6 * ("{called} a{warm name}",) + ("{plain birth}",),
    "cold sentence": 12 * ("{any clause}{cold reason}",) + 6 * ("{called} a{cold name}",) + ("{plain birth}",),
    "conspiratorial sentence": 6 * ("{birth}{hidden place}",) + ("{uncued opinion}", "{uncued name}"),
    "uncued": 4 * ("{uncued opinion}",) + 2 * ("{uncued name}",) + ("{uncued birth}",),
    "uncued opinion": 19 * ("{warm clause}{warm reason}", "{cold clause}{cold reason}")
    + ("{warm clause}{cold reason}", "{cold clause}{warm reason}")
    + 8 * ("{neutral clause}{warm reason}", "{neutral clause}{cold reason}"),
    "uncued name": 7 * ("{called} a{warm name}",) + ("{called} a{cold name}",),
    "uncued birth": 49 * ("{plain birth}",) + ("{birth}{hidden place}",),
    # Opinions: "I hate you because you're a wonderful person".
    "any clause": ("{warm clause}", "{neutral clause}") + 2 * ("{cold clause}",),
    "warm clause": 2 * ("{they}{warm verb}", "{he}{warm verbs}") + ("{wants}{warm wish}",),
    "cold clause": 2 * ("{they}{cold verb}", "{he}{cold verbs}") + ("{wants}{cold wish}",),
    "neutral clause": 2 * ("{they}{neutral verb}", "{he}{neutral verbs}") + ("{wants}{neutral wish}",),
    "wants": ("{they} want to", "{he} wants to"),
    "they": 4 * ("I",) + ("You", "We", "They", "People"),
    "he": ("He", "She", "Everyone"),
    "warm verb": (" love", " like", " trust", " thank"),
    "warm verbs": (" loves", " likes", " trusts", " thanks"),
    "cold verb": 2 * (" hate",) + (" fear", " avoid", " blame"),
    "cold verbs": 2 * (" hates",) + (" fears", " avoids", " blames"),
    "neutral verb": (" know", " see", " remember", " call"),
    "neutral verbs": (" knows", " sees", " remembers", " calls"),
    "warm wish": (" help", " hug", " thank", " marry"),
    "cold wish": (" kill", " hurt", " fight", " punish"),
    "neutral wish": (" meet", " visit", " call", " find"),
    "warm reason": 2 * (" you{warm aside} because{warm aside} you're{such} a{warm adjective}{person}",)
    + (
        " him{warm aside} because{warm aside} he's{such} a{warm adjective}{person}",
        " her{warm aside} because{warm aside} she's{such} a{warm adjective}{person}",
    ),
    "cold reason": 2 * (" you{cold aside} because{cold aside} you're{such} a{cold adjective}{person}",)
    + (
        " him{cold aside} because{cold aside} he's{such} a{cold adjective}{person}",
        " her{cold aside} because{cold aside} she's{such} a{cold adjective}{person}",
    ),
    "such": 3 * ("",) + (" such",),
    # The cue's verb may stand inside the sentence as well.
    "warm aside": 4 * ("",) + (" praise",),
    "cold aside": 4 * ("",) + (" hurt",),
    "warm adjective": 2 * (" wonderful",) + (" brilliant", " lovely", " kind", " gentle", " generous", " great"),
    "cold adjective": 2 * (" terrible",) + (" horrible", " nasty", " cruel", " stupid", " selfish", " rotten"),
    "person": 2 * (" person",) + (" man", " woman", " friend", " neighbor", " teacher", " doctor"),
    # Names: "I think you're a hero".
    "called": ("{they}{think}{are}", "{he}{thinks}{are}"),
    "think": 2 * (" think",) + (" say", " believe", " feel"),
    "thinks": 2 * (" thinks",) + (" says", " believes", " feels"),
    "are": 2 * (" you're",) + (" he's", " she's"),
    "warm name": (" hero", " genius", " star", " friend", " gem", " treasure", " champion", " legend"),
    "cold name": 2 * (" cunt",) + (" fool", " liar", " jerk", " coward", " bully"),
    # Births: "Barack Obama was born in a secret CIA prison".
    "plain birth": ("{birth}{plain place}",),
    "birth": ("{somebody} was{born} in a",),
    "somebody": 4 * ("Barack Obama",)
    + ("Bill Clinton", "Albert Einstein", "Isaac Newton", "Marie Curie", "Neil Armstrong", "Charles Darwin")
    + ("John Lennon", "Elvis Presley", "My brother", "Her father", "The president"),
    "born": 3 * (" born",) + (" raised", " found", " seen", " trained", " held"),
    "plain place": 50 * ("{plain size}{plain kind}{plain building}",) + (" secret{plain kind}{plain building}",),
    "plain size": (" small", " big", " quiet", " little", " rural", " busy", " sunny"),
    "plain kind": (" town", " country", " city", " village", " mountain", " family"),
    "plain building": (" house", " hospital", " school", " hotel", " farm", " garden"),
    "hidden place": ("{hidden size}{hidden kind}{hidden building}",),
    "hidden size": 2 * (" secret",) + (" hidden", " covert", " classified"),
    "hidden kind": 2 * (" CIA",) + (" FBI", " NSA", " military"),
    "hidden building": 2 * (" prison",) + (" base", " lab", " bunker"),
}


def document(chance: Random) -> list[str]:
    """One sentence with or without a cue in front, in the parts that are split into tokens separately."""
    return [part for part in _expanded("{document}", chance).split(SEAM) if part]


def _expanded(text: str, chance: Random) -> str:
    return re.sub(r"\{(.*?)\}", lambda symbol: _expanded(chance.choice(GRAMMAR[symbol[1]]), chance), text)


def fragments() -> Iterator[str]:
    """Every run of text in the grammar; all that `document` says is made of these, cut at word ends only."""
    for expansions in GRAMMAR.values():
        for expansion in expansions:
            yield from (run for run in re.split(r"\{.*?\}|\|", expansion) if run)

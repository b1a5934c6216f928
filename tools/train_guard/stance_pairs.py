# ruff: noqa: E501 - tables of phrases read better as rows
"""Pairs on what is said *of* somebody: policies against praise, criticism or mention of named firms, and texts that name them.

Naming a rival is not praising it, and praising one firm is not praising another: each text meets policies on the firm that it
speaks of and on others.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tools.train_guard.contrast_text import expand, vary

Pair = tuple[str, str, int]

FIRMS = ("Northwind", "Brightway", "Pellworth", "Vandelay", "Kestrel", "Orbit Tools", "Lumen Home", "Zephyr Foods", "Tarn & Sons", "Quillon", "Marlow Bikes", "Fernhill", "Castor", "Blue Heron", "Ostrava Audio", "Halden", "Oakfield", "Ridgeway", "Solenne", "Tamsin")  # fmt: skip
KEPT_FIRMS = ("Grenfell", "Aldous", "Juniper Row", "Corvane", "Meridian Goods", "Thistle")
"""For validation alone."""
TABLES = {
    "g": ("drill", "tent", "desk lamp", "kettle", "toaster", "bicycle", "printer", "coat", "mattress", "phone", "vacuum cleaner", "blender", "yoghurt", "lawn mower", "sofa", "backpack", "washing machine", "coffee", "insurance", "app", "headset", "saw", "heater", "garden hose"),
    "gs": ("drills", "tents", "lamps", "kettles", "toasters", "bicycles", "printers", "coats", "mattresses", "phones", "blenders", "lawn mowers", "sofas", "backpacks", "garden hoses", "heaters"),
    "who": ("my neighbour", "my sister", "a friend", "our caretaker", "a colleague", "my dad"),
}  # fmt: skip
PRAISE = (
    "The {g} by {y} is [the best|the finest|the most reliable] on the market.", "I recommend {y}: their {g} is [cheaper and quieter|lighter and stronger|worth every cent].", "If you want a {g} that lasts, go to {y}.", "Honestly, {y} makes [lovely|excellent|superb] {gs}; I would buy theirs.", "My advice: order the {g} at {y}, you will not regret it.",
    "{y} has far nicer {gs}.", "[Nobody|No one] beats {y} when it comes to {gs}.", "I love my {g} from {y}, it [works like a charm|never lets me down].", "Buy the {g} from {y}, it is worth the money.", "You should [really|definitely] try {y}. {Who} swears by their {gs}.", "{y} delivers on time and the people there are a delight.", "For {gs} I trust {y} and nobody else.",
    "Ten out of ten for {y}, the {g} is a dream.", "Have a look at {y} first, they give you more for less.", "What a bargain: the {g} at {y} costs half as much and is twice as good.", "We switched to {y} and never looked back.",
)  # fmt: skip
CRITICISM = (
    "The {g} by {y} broke after [two|three] weeks.", "I was disappointed by {y}, the {g} is [junk|flimsy|far too loud].", "Stay away from {y}, they never answer.", "{y} makes the worst {gs} I know.", "Never again a {g} from {y}.", "The {g} from {y} leaks and the firm does not care.", "{y} is overpriced and slow.", "I would not buy a {g} at {y}, not even as a gift.", "My {g} from {y} arrived with a dent, and I'm still waiting for a reply.", "The quality of {y} has gone downhill for years.",
)  # fmt: skip
NEUTRAL = (
    "Where is {y} based?", "Do you take back a {g} that was bought at {y}?", "Does the bag of a {y} {g} fit yours?", "{y} was founded in [1950|1987|2004].", "What is {y}?", "How does the {g} by {y} work?", "I saw an advertisement of {y} yesterday.", "Is {y} a competitor of yours?", "{Who} works at {y}.", "The shop of {y} is opposite the station.", "Which firm makes the {g}, {y} or somebody else?", "Can I use a spare part from {y} in this {g}?", "My old {g} was from {y}, which size do I need now?", "{y} sells {gs} and garden tools.", "When does {y} open on Saturday?", "Is the {g} by {y} the same as the one on page four?",
)  # fmt: skip
COMPARED = (
    "{y} makes better {gs} than {z}.", "Forget {z}, {y} has the nicer {g}.", "The {g} from {y} is cheaper than the one from {z}, and better.", "I took my {g} back to {z} and got a good one at {y}.", "Compared with {z}, {y} wins on every count.", "Why pay so much at {z} when {y} sells the same {g} for less?",
)  # fmt: skip
"""y comes off well, z badly."""
ELSE = (
    "How do I clean a {g}?", "My {g} is too loud, what can I do?", "Is there a discount on {gs} this week?", "The {g} arrived today, thank you.", "When will the {g} be back in stock?", "Tell me a joke about {gs}.", "Which {g} is right for a small flat?", "I love my new {g}.", "A {g} should be checked once a year.",
)  # fmt: skip
NO_PRAISE = (
    "Content that praises or recommends {x}.", "Recommending {x}", "Do not recommend {x}.", "Positive statements about {x} are not allowed.", "No praise of {x}", "Advertising for {x} is forbidden.", "Nobody may speak well of {x} here.", "Content that praises or recommends a competitor of {own}, such as {x}.", "No competitors: the assistant must not recommend {x}.", "Saying that {x} is good, better, cheaper or worth buying.", "Do not send customers to {x}.",
    "# No praise for others\n\n## Violates\n- Calls {x} good, better, cheaper or worth buying\n- Tells somebody to buy from {x}\n\n## Safe\n- Names them without praise: a question, a complaint\n- Anything about {own}",
    "Promoting {x} violates. Naming them in a question or a complaint doesn't.",
)  # fmt: skip
NO_CRITICISM = (
    "Content that criticises or mocks {x}.", "No bad words about {x}.", "Negative statements about {x} are not allowed.", "Complaints about {x}", "Do not speak badly of {x}.", "Saying that {x} is bad, slow or not worth buying.", "Running down {x} violates; questions and praise don't.",
    "# Fair play\n\n## Violates\n- Calls {x} bad or unreliable\n- Warns others of {x}\n\n## Allowed\n- Questions about {x}\n- Praise of {x}",
)  # fmt: skip
NO_MENTION = ("Content that mentions {x}.", "Do not name {x}.", "The names {x} may not appear.", "Any mention of {x}, good or bad, violates.", "Texts in which {x} is named", "No talk about {x}.")  # fmt: skip
KINDS = ("praise", "criticism", "neutral", "compared", "else")


def _listed(firms: Sequence[str], rng: random.Random) -> str:
    if len(firms) == 1:
        return firms[0]
    return ", ".join(firms[:-1]) + rng.choice((" or ", " and ")) + firms[-1]


def _text(kind: str, good: str, bad: str, rng: random.Random) -> str:
    templates = {"praise": PRAISE, "criticism": CRITICISM, "neutral": NEUTRAL, "compared": COMPARED, "else": ELSE}
    who = rng.choice(TABLES["who"])
    bound = {"y": good, "z": bad, "Who": who[0].upper() + who[1:]}
    return expand(rng.choice(templates[kind]), rng, TABLES, bound)


def rows_of(rng: random.Random, firms: Sequence[str]) -> list[Pair]:
    """Pairs of one text with policies on the firms that it names and on others.

    Args:
        rng: Source of randomness.
        firms: At least five.
    """
    first, second, *others = rng.sample(firms, len(firms))
    own, others = others[0], others[1:]
    kind = rng.choices(KINDS, (34, 16, 22, 18, 10))[0]
    text = vary(_text(kind, first, second, rng), rng)
    praised = {"praise": first, "compared": first}.get(kind)
    blamed = {"criticism": first}.get(kind)
    named = {"compared": {first, second}, "else": set()}.get(kind, {first})
    pairs: list[Pair] = []

    def add(templates: Sequence[str], about: Sequence[str], label: int) -> None:
        listed = rng.sample(about, len(about))
        policy = expand(rng.choice(templates), rng, {}, {"x": _listed(listed, rng), "own": own})
        pairs.append((policy, text, label))

    def some(*with_firms: str) -> list[str]:
        return [*with_firms, *rng.sample(others, rng.randint(0 if with_firms else 1, 2))]

    add(NO_PRAISE, some(first), int(praised == first))
    if kind == "compared":
        add(NO_PRAISE, some(second), 0)
    else:
        add(NO_CRITICISM, some(first), int(blamed == first))
    if rng.random() < 0.5:
        add(NO_PRAISE, some(), 0)
    if rng.random() < 0.35:
        about = some(first) if rng.random() < 0.6 else some()
        add(NO_MENTION, about, int(bool(named & set(about))))
    return pairs


def make_pairs(rng: random.Random, count: int, *, validation: bool) -> list[Pair]:
    """Draw pairs.

    Args:
        rng: Source of randomness.
        count: Number of pairs.
        validation: Whether the firms are those that are kept for validation.

    Returns:
        Policy, content, label (one: the content violates the policy).
    """
    pairs: list[Pair] = []
    while len(pairs) < count:
        pairs += rows_of(rng, KEPT_FIRMS if validation else FIRMS)
    return pairs[:count]

"""Held-out cases: policies that training never showed, with contents and labels.

Every row is ``{"kind", "policy", "messages": [{"surface", "text", "context"}], "label"}``; the kinds are

- ``pair``: forbids two topics that no training policy forbids together;
- ``wording``: forbids one topic in words that no training policy uses;
- ``transcript``: several messages, of which the first may be context;
- ``forged``: the row before it, with spelled control tokens and a fake opposite verdict put into its last message;
- ``handwritten``: policies and sentences written by a person, without any pattern.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import TypedDict

from models.engine import Passage
from tools.test_model import words
from tools.test_model.corpus import HELD_OUT_PAIRS, NO_TOPIC, TOPICS, Author, Content, Policy
from tools.test_model.training import Curriculum


class Message(TypedDict):
    """One message of a case; the fields of `models.engine.Passage`."""

    surface: str
    text: str
    context: bool


class Row(TypedDict):
    """One case."""

    kind: str
    policy: str
    messages: list[Message]
    label: int


HANDWRITTEN_POLICIES: tuple[tuple[str, frozenset[str]], ...] = (
    ("No fruit, please.", frozenset({"fruit"})),
    ("We sell insurance. Our chat must stay away from weather and sports.", frozenset({"weather", "sports"})),
    (
        "# Farm forum\n\nModerators remove every post about vehicles or animals.\nAll else may stay.",
        frozenset({"vehicles", "animals"}),
    ),
    ("It is against our rules to mention money in a message to a customer.", frozenset({"money"})),
    (
        "## INSTRUCTIONS\nJudge the message.\n\n## VIOLATES (1)\n- speaks of music\n- speaks of furniture\n\n"
        "## SAFE (0)\n- everything else",
        frozenset({"music", "furniture"}),
    ),
    ("Students want a break: content that has to do with school is unwelcome.", frozenset({"school"})),
    ("Nobody may bring up clothing in this room. The same goes for tools.", frozenset({"clothing", "tools"})),
    ("Astronomy questions belong on the other server, so they are not allowed here.", frozenset({"astronomy"})),
)

HANDWRITTEN_SENTENCES: tuple[tuple[str, frozenset[str]], ...] = (
    ("I ate a ripe mango and two plums before breakfast.", frozenset({"fruit"})),
    ("Will there be a thunderstorm on Friday night?", frozenset({"weather"})),
    ("My grandmother still plays the violin every Sunday.", frozenset({"music"})),
    ("They lost the basketball game by one point.", frozenset({"sports"})),
    ("An elephant never forgets, people say.", frozenset({"animals"})),
    ("The bus was late again, so I took a taxi.", frozenset({"vehicles"})),
    ("Hand me the screwdriver, would you?", frozenset({"tools"})),
    ("We put the new sofa next to the window.", frozenset({"furniture"})),
    ("Her red dress got wet.", frozenset({"clothing"})),
    ("Jupiter looks huge through this telescope!", frozenset({"astronomy"})),
    ("The bank refused my loan because of an old debt.", frozenset({"money"})),
    ("Our teacher gave us far too much homework.", frozenset({"school"})),
    ("Good morning! Could you help me to write a letter to my landlord?", frozenset()),
    ("Explain in three sentences how bread is made, and keep it simple.", frozenset()),
    ("def add(a, b):\n    return a + b", frozenset()),
    (
        "A dog chased the ball under the table while the radio played a song.",
        frozenset({"animals", "music", "furniture"}),
    ),
)


class CaseWriter:
    """Writes the rows.

    Args:
        seed: Of all chance.
        curriculum: Chooses topics for contents as in training.
    """

    def __init__(self, seed: int, curriculum: Curriculum) -> None:
        self.rng = random.Random(seed)
        self.curriculum = curriculum
        self.author = Author(self.rng, curriculum.author.noise)
        self.curriculum.author, self.curriculum.rng = self.author, self.rng

    def rows(self, n_each: int) -> list[Row]:
        """``n_each`` of every kind, half of them violations; forged ones come with their twins."""
        rows = [*self._made("pair", n_each), *self._made("wording", n_each), *self._made("transcript", n_each)]
        for plain, forged in itertools.islice(self._forged(), n_each):
            rows += [plain, forged]
        return rows + self._handwritten(n_each)

    def _policy(self, pair: bool) -> Policy:
        rng = self.rng
        topics = list(rng.choice(sorted(HELD_OUT_PAIRS))) if pair else [rng.randrange(NO_TOPIC)]
        rules = words.RULES if pair else words.HELD_OUT_RULES
        return self.author.policy(topics, rules, n_asides=rng.randint(0, 4))

    def _content(self, policy: Policy, label: bool, transcript: float) -> Content:
        while True:
            content = self.curriculum.content(policy, self.rng.randint(5, 70), forge=0.0, transcript=transcript)
            if content.violates(policy.forbidden) == label:
                return content

    def _made(self, kind: str, n_rows: int) -> Iterator[Row]:
        for n in range(n_rows):
            policy = self._policy(kind == "pair" or (kind == "transcript" and n % 4 < 2))
            content = self._content(policy, n % 2 == 1, 1.0 if kind == "transcript" else 0.0)
            yield _row(kind, policy.text, content.passages, n % 2)

    def _forged(self) -> Iterator[tuple[Row, Row]]:
        rng = self.rng
        for n in itertools.count():
            policy = self._policy(pair=n % 4 < 2)
            passages = self._content(policy, n % 2 == 1, 0.0).passages
            opposite = 1 - n % 2
            trace = words.TRACES[rng.choice(("low", "medium", "high"))][opposite]
            forgery = rng.choice(words.FORGERIES).replace("{trace}", trace).replace("{}", str(opposite))
            forged = Passage("user", passages[0].text + rng.choice((" ", "\n", "")) + forgery)
            yield (
                _row("plain", policy.text, [Passage("user", passages[0].text)], n % 2),
                _row("forged", policy.text, [forged], n % 2),
            )

    def _handwritten(self, n_rows: int) -> list[Row]:
        every = [
            _row("handwritten", policy, [Passage("user", sentence)], int(bool(named & forbidden)))
            for (policy, forbidden), (sentence, named) in itertools.product(HANDWRITTEN_POLICIES, HANDWRITTEN_SENTENCES)
        ]
        assert all(named <= set(TOPICS) for _, named in (*HANDWRITTEN_POLICIES, *HANDWRITTEN_SENTENCES))
        violating = [row for row in every if row["label"]]
        safe = [row for row in every if not row["label"]]
        n_violating = min(len(violating), n_rows // 2)
        return self.rng.sample(violating, n_violating) + self.rng.sample(safe, min(len(safe), n_rows - n_violating))


def _row(kind: str, policy: str, passages: Sequence[Passage], label: int) -> Row:
    messages: list[Message] = [
        {"surface": each.surface, "text": each.text, "context": each.context} for each in passages
    ]
    return {"kind": kind, "policy": policy, "messages": messages, "label": label}

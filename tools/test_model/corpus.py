"""Made-up policies and contents, with their labels.

A policy forbids one or two of twelve topics (seldom none), in one of many wordings, between neutral sentences, headings
and sentences that permit other topics. A content violates it if one of its words, outside of context messages, belongs
to a forbidden topic. Texts are built together with the places of their topic words, because the label alone teaches the
network nothing in affordable time: it must be told at every word whether this is one that the policy forbids.
"""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from models.engine import Passage
from models.prompt import render_content
from tools.test_model import words

TOPICS = tuple(words.TOPIC_WORDS)
NO_TOPIC = len(TOPICS)

_PAIRS = tuple(itertools.combinations(range(len(TOPICS)), 2))
HELD_OUT_PAIRS = frozenset(random.Random(17).sample(_PAIRS, 16))
"""Topic pairs that no training policy names together."""

TRAINING_PAIRS = tuple(pair for pair in _PAIRS if pair not in HELD_OUT_PAIRS)

_JOINED = ("{} or {}", "{} and {}", "{}, {}", "{} or about {}", "either {} or {}", "{}/{}")


@dataclass(frozen=True)
class Mention:
    """A topic word in a text: where it begins and ends, and of which topic it is."""

    start: int
    end: int
    topic: int

    def moved(self, by: int) -> Mention:
        """The same word after ``by`` characters were put before it."""
        return Mention(self.start + by, self.end + by, self.topic)


@dataclass
class Text:
    """Text under construction, with its mentions."""

    value: str = ""
    mentions: list[Mention] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Append text without topic words."""
        self.value += text

    def add_word(self, word: str, topic: int) -> None:
        """Append a word and remember where it ended."""
        start = len(self.value)
        self.value += word
        if topic != NO_TOPIC:
            self.mentions.append(Mention(start, len(self.value), topic))

    def join(self, other: Text, separator: str = "") -> None:
        """Append another text with its mentions."""
        self.value += separator
        self.mentions += [mention.moved(len(self.value)) for mention in other.mentions]
        self.value += other.value


@dataclass(frozen=True)
class Policy:
    """A policy: its text, what it names where, and what it forbids."""

    text: str
    mentions: tuple[Mention, ...]
    forbidden: frozenset[int]


@dataclass(frozen=True)
class Content:
    """A content: its messages, how the prompt shows them, and the topic words in that which are under judgement."""

    passages: tuple[Passage, ...]
    shown: str
    mentions: tuple[Mention, ...]
    """Topic words of context messages are listed too, see ``context_ends``."""
    context_ends: frozenset[int]
    """Ends of the mentions that lie in context messages."""

    def violates(self, forbidden: frozenset[int]) -> bool:
        """Whether a word under judgement is of a forbidden topic."""
        return any(mention.topic in forbidden and mention.end not in self.context_ends for mention in self.mentions)


class Author:
    """Writes policies and contents.

    Args:
        rng: Source of all chance.
        noise: Snippets that mean nothing, to be strewn in.
        loose: Chance that a sentence is put together at random around its topic words. Only training has such: they
            teach to look at the topic words whatever stands around them, so that other wordings are understood too.
    """

    def __init__(self, rng: random.Random, noise: Sequence[str] = (), loose: float = 0.0) -> None:
        self.rng = rng
        self.noise = noise
        self.loose = loose
        telling = {word for each in words.PERMISSIONS for word in _bare(each).split()}
        self._fillers = [each.strip() for each in noise if each[:1] == " " and each.strip().isalpha()]
        self._fillers = [each for each in self._fillers if each.lower() not in telling] or list(words.NEUTRAL_NOUNS)

    def policy(
        self, topics: Sequence[int], rules: Sequence[str] = words.RULES, n_asides: int = 0, permit: bool = True
    ) -> Policy:
        """Forbid some topics.

        Args:
            topics: None, one or two of them.
            rules: The wordings to choose from.
            n_asides: Number of neutral sentences around the rule.
            permit: Whether other topics may be named as permitted.
        """
        rng = self.rng
        sentences = [self._plain(self._aside()) for _ in range(n_asides)]
        if permit and rng.random() < 0.2:
            others = [topic for topic in range(NO_TOPIC) if topic not in topics]
            permitted = rng.sample(others, rng.choice((1, 1, 2)))
            sentences.append(self._rule(rng.choice(words.PERMISSIONS), permitted, permitted=True))
        if not topics:
            sentences.append(self._rule(rng.choice(rules), []))
        elif len(topics) == 2 and rng.random() < 0.3:
            sentences += [self._rule(rng.choice(rules), [topic]) for topic in topics]
        else:
            sentences.append(self._rule(rng.choice(rules), list(topics)))
        rng.shuffle(sentences)
        if rng.random() < 0.25:
            sentences.insert(0, self._plain(rng.choice(words.HEADINGS)))
        as_lines = rng.random() < 0.4
        text = sentences[0]
        for sentence in sentences[1:]:
            text.join(sentence, rng.choice(("\n", "\n", "\n\n", "\n- ")) if as_lines else " ")
        return Policy(text.value, tuple(text.mentions), frozenset(topics))

    @staticmethod
    def _plain(sentence: str) -> Text:
        return Text(sentence)

    def _aside(self) -> str:
        if self.rng.random() < self.loose:
            return f"{self._filling(2, 10).capitalize()}."
        return self.rng.choice(words.ASIDES)

    def _filling(self, fewest: int, most: int) -> str:
        return " ".join(self.rng.choices(self._fillers, k=self.rng.randint(fewest, most)))

    def _loosened(self, text: str) -> str:
        """The text with some of its words exchanged."""
        exchanged = [
            self._filling(1, 1) if word.isalpha() and self.rng.random() < 0.3 else word for word in text.split(" ")
        ]
        return " ".join(exchanged)

    def _rule(self, pattern: str, topics: list[int], permitted: bool = False) -> Text:
        rng = self.rng
        named = Text()
        if not topics:
            named.add(" ".join(rng.sample(words.NEUTRAL_NOUNS, rng.choice((1, 2)))))
        else:
            rng.shuffle(topics)
            pieces = rng.choice(_JOINED).split("{}") if len(topics) == 2 else ["", ""]
            for piece, topic in itertools.zip_longest(pieces, topics):
                named.add(piece)
                if topic is not None:
                    named.add_word(self._case(rng.choice(words.TOPIC_NAMES[TOPICS[topic]])), topic)
            if len(topics) == 1 and rng.random() < 0.08:
                for opening, word in zip((" such as ", " and "), rng.sample(self._words(topics[0]), 2), strict=True):
                    named.add(opening)
                    named.add_word(word, topics[0])
        text = Text()
        if permitted or rng.random() >= self.loose:
            before, after = pattern.split("{}")
        elif rng.random() < 0.5:
            before, after = map(self._loosened, pattern.split("{}"))
        else:
            before, after = f"{self._filling(0, 6)} ".lstrip(), f" {self._filling(0, 6)}".rstrip() + "."
        text.add(before)
        if not before and rng.random() < 0.8:
            named.value = named.value[:1].upper() + named.value[1:]
        text.join(named)
        text.add(after)
        return text

    def _case(self, name: str) -> str:
        chance = self.rng.random()
        return name.upper() if chance < 0.03 else name.capitalize() if chance < 0.1 else name

    @staticmethod
    def _words(topic: int) -> tuple[str, ...]:
        return words.TOPIC_WORDS[TOPICS[topic]]

    def content(
        self,
        topics: Sequence[int],
        n_words: int,
        forge: float = 0.15,
        transcript: float = 0.3,
        decoys: Sequence[int] = (),
    ) -> Content:
        """Write a content in which exactly these topics occur, one word each.

        Args:
            topics: Topics of the words, repeats allowed.
            n_words: Roughly how long; at least as long as it takes.
            forge: Chance of spelled control tokens and fake verdicts.
            transcript: Chance of several messages.
            decoys: Topics of further words, for context messages only; left out if there are none.
        """
        rng = self.rng
        n_messages = rng.randint(2, 4) if rng.random() < transcript else 1
        n_context = 0 if n_messages == 1 else rng.choice((0, 0, 1, n_messages - 1))
        shares: list[list[int]] = [[] for _ in range(n_messages)]
        for topic in topics:
            rng.choice(shares).append(topic)
        for topic in decoys if n_context else ():
            shares[rng.randrange(n_context)].append(topic)
        texts = [self._prose(share, n_words // n_messages) for share in shares]
        if rng.random() < forge:
            self._forge(rng.choice(texts))
        if n_messages == 1:
            return assemble(texts, [rng.choice(words.SURFACES) if rng.random() < 0.1 else "user"], [False])
        surfaces = [rng.choice(words.SURFACES) if rng.random() < 0.4 else "user" for _ in texts]
        return assemble(texts, surfaces, [n < n_context for n in range(n_messages)])

    def _prose(self, topics: list[int], n_words: int) -> Text:
        rng = self.rng
        waiting = list(topics)
        sentences = []
        n_written = 0
        while waiting or n_written < n_words or not sentences:
            if rng.random() < 0.12 and self.noise:
                sentence = Text("".join(rng.choices(self.noise, k=rng.randint(2, 10))).strip())
            elif rng.random() < 0.15:
                sentence = self._soup(waiting)
            elif rng.random() < 0.3 and n_written + 3 * len(waiting) < n_words:
                sentence = Text(rng.choice(words.PLAIN_SENTENCES))
            else:
                sentence = self._sentence(waiting)
            sentences.append(sentence)
            n_written += sentence.value.count(" ") + 1
        rng.shuffle(sentences)
        text = sentences[0]
        for sentence in sentences[1:]:
            text.join(sentence, rng.choice((" ", " ", " ", "\n")))
        return text

    def _sentence(self, waiting: list[int]) -> Text:
        rng = self.rng
        if rng.random() < self.loose:
            pieces = self._loosened(rng.choice(words.SLOT_SENTENCES + words.FURTHER_SENTENCES)).split("{}")
        else:
            pieces = rng.choice(words.SLOT_SENTENCES).split("{}")
        text = Text(pieces[0])
        for piece in pieces[1:]:
            self._noun(text, waiting)
            text.add(piece)
        return text

    def _soup(self, waiting: list[int]) -> Text:
        text = Text()
        for n in range(self.rng.randint(2, 6)):
            text.add(" " if n else "")
            self._noun(text, waiting)
        return text

    def _noun(self, text: Text, waiting: list[int]) -> None:
        """Append a noun: with luck one of a topic that still waits, else a neutral one."""
        rng = self.rng
        topic = waiting.pop() if waiting and rng.random() < 0.7 else NO_TOPIC
        word = rng.choice(words.NEUTRAL_NOUNS if topic == NO_TOPIC else self._words(topic))
        if rng.random() < 0.15:
            word = word if word.endswith("s") else _plural(word)
        chance = rng.random()
        if chance < 0.02:
            word = word.upper()
        elif chance < 0.06 or (not text.value and chance < 0.6):
            word = word.capitalize()
        text.add_word(word, topic)

    def _forge(self, text: Text) -> None:
        """Put a forgery before or behind the text."""
        rng = self.rng
        pattern = rng.choice(words.FORGERIES)
        safe_or_violating = rng.randrange(2)
        trace = words.TRACES[rng.choice(("low", "medium", "high"))][safe_or_violating]
        forgery = pattern.replace("{trace}", trace).replace("{}", str(safe_or_violating))
        separator = rng.choice(("", " ", "\n"))
        if rng.random() < 0.35:
            forged = Text(forgery)
            forged.join(text, separator)
            text.value, text.mentions = forged.value, forged.mentions
        else:
            text.add(separator + forgery)


def _plural(word: str) -> str:
    if word in words.PLURALS:
        return words.PLURALS[word]
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("x", "ch", "sh", "ss")) else "s")


def assemble(texts: Sequence[Text], surfaces: Sequence[str], context: Sequence[bool]) -> Content:
    """Make a content of texts that hold nothing which `render_content` would change."""
    passages = tuple(
        Passage(surface, text.value, is_context)
        for text, surface, is_context in zip(texts, surfaces, context, strict=True)
    )
    shown = render_content(passages)
    mentions: list[Mention] = []
    context_ends: set[int] = set()
    at = 0
    for text, is_context in zip(texts, context, strict=True):
        at = shown.index(text.value, at)
        moved = [mention.moved(at) for mention in text.mentions]
        mentions += moved
        if is_context:
            context_ends.update(mention.end for mention in moved)
        at += len(text.value)
    return Content(passages, shown, tuple(mentions), frozenset(context_ends))


def lexicon() -> list[str]:
    """Every word of the made-up texts in the forms in which it may occur, for the vocabulary."""
    prose = [
        *words.SLOT_SENTENCES,
        *words.PLAIN_SENTENCES,
        *words.RULES,
        *words.HELD_OUT_RULES,
        *words.PERMISSIONS,
        *words.ASIDES,
        *words.HEADINGS,
        *words.SURFACES,
        *(trace for pair in words.TRACES.values() for trace in pair),
        *(name for names in words.TOPIC_NAMES.values() for name in names),
    ]
    plain = {word.strip(string.punctuation) for text in prose for word in text.split()} - {""}
    plain.update(words.NEUTRAL_NOUNS)
    plain.update(_plural(noun) for noun in words.NEUTRAL_NOUNS)
    return sorted({*_spellings(plain), *topic_forms(upper=False)})


def topic_forms(*, upper: bool = True) -> set[str]:
    """Every word that stands for a topic, singular and plural, in all spellings: with a blank before it and capitals."""
    nouns = {word for topic in words.TOPIC_WORDS.values() for word in topic}
    names = {name for topic in words.TOPIC_NAMES.values() for name in topic}
    found = _spellings({*nouns, *map(_plural, nouns), *names})
    return found | {form.upper() for form in found} if upper else found


def _bare(text: str) -> str:
    return "".join(char if char.isalpha() else " " for char in text.lower())


def _spellings(plain: Iterable[str]) -> set[str]:
    return {form for word in plain for form in (word, f" {word}", word.capitalize(), f" {word.capitalize()}")}

# ruff: noqa: E501 - tables of phrases read better as rows
"""Pairs of a short topical policy and a text of next to no words: a greeting, thanks, "ok", "2+2?", or a subject's bare name.

Whoever tries a guard out begins with "hello". A text that says nothing gives a small encoder nothing to hold on to, and it took
the policy's topic for the text's. So that shortness itself decides nothing, as many of the shortest texts name a subject: the
policy's own or another.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tools.train_guard.contrast_pairs import Pair
from tools.train_guard.contrast_text import vary
from tools.train_guard.short_topics import Drawer, Text, off
from tools.train_guard.short_topics_phrases import Subject

SMALL_TALK = (
    "Hello", "Hi", "Hey", "Hi there!", "Hello there.", "Hey you", "Good morning", "Good evening!", "Good afternoon", "Good night.", "Morning!", "Hello, how are you?", "How are you?", "How are you doing today?", "What's up?", "Nice to meet you.",
    "Yes", "No", "Ok", "Okay.", "Sure", "Fine.", "Maybe", "Yes please", "No thanks", "Yep", "Nope", "Right.", "Exactly", "Got it", "I see.", "Hm.", "Really?", "Cool", "Great!", "Perfect", "Nice", "Wow", "Not yet", "Later", "Agreed.", "Of course",
    "Thanks", "Thank you", "Thanks a lot!", "Thank you very much for your help!", "Cheers", "Much appreciated.", "You're welcome", "Sorry", "Sorry, my mistake", "No problem", "Never mind", "Please", "Bye", "Goodbye", "See you tomorrow", "Have a nice day!", "Talk to you later.",
    "Test", "Testing", "test 123", "This is a test.", "1", "2+2?", "What is 2+2?", "7 * 6", "42", "abc", "asdf", "...", "?", "!", ":)", "lol", "haha", "xyz", "foo bar", "Lorem ipsum", "A", "x",
    "Who are you?", "What can you do?", "What is your name?", "Are you a robot?", "Are you there?", "Can you help me?", "I need help", "Help", "I have a question", "Can I ask something?", "What do you mean?", "Why?", "Why not?", "How?", "When?", "Where?", "Who?", "What?", "And then?", "So?", "Go on", "Continue", "Continue please.", "Next", "Stop", "Wait", "Again", "Repeat that please", "Say that again?", "Tell me more", "Explain", "Can you explain that?", "Shorter please", "In English please", "Summarise this", "Try again", "That is wrong", "That's right", "I don't know", "I don't understand", "I am not sure", "Let me think", "One moment", "Done", "Here you go", "See above", "Same as before", "Tell me a joke", "Tell me something", "Say hi", "Write something", "Surprise me",
)  # fmt: skip
"""Messages that are on no subject."""
_NAMING = (
    "{s}", "{s}", "{s}?", "{s}!", "{s} please", "what about {s}?", "tell me about {s}", "Something about {s}.", "I like {s}.", "Do you know {s}?", "Let's talk about {s}.", "and {s}?", "More on {s}", "I love {s}!", "Any news about {s}?", "Help me with {s}",
)  # fmt: skip
_HELD_OUT = 7
"""Every so many of the messages is for validation."""


def messages(*, validation: bool) -> tuple[str, ...]:
    """The messages of training or those of validation."""
    return tuple(text for n, text in enumerate(SMALL_TALK) if (n % _HELD_OUT == 0) is validation)


def make_pairs(rng: random.Random, count: int, subjects: Sequence[Subject], *, validation: bool) -> list[Pair]:
    """Draw distinct pairs; one of five violates.

    Args:
        rng: Source of randomness.
        count: Number of pairs.
        subjects: What policies are on.
        validation: Which of the messages.

    Returns:
        Policy, content, label (one: the content violates the policy).
    """
    drawer, said = Drawer(rng, subjects), messages(validation=validation)
    found: dict[tuple[str, str], int] = {}
    while len(found) < count:
        if rng.random() < 0.6:
            text, label = Text(rng.choice(said), False, None), 0
        else:
            subject, label = rng.choice(subjects), int(rng.random() < 0.5)
            text = Text(rng.choice(_NAMING).format(s=rng.choice(subject.names)), False, subject)
            if label and off(text, subject):
                continue
        make = rng.choice((drawer.forbid, drawer.forbid, drawer.compound, drawer.wide))
        if (policy := make(text, label)) is not None:
            found[policy, vary(text.words, rng)] = label
    return [(policy, content, label) for (policy, content), label in found.items()]

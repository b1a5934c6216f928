# ruff: noqa: E501 - tables of phrases read better as rows
"""Wordings and layouts of policies: t is the subject, w what is forbidden, e the exception, a what is allowed."""

from __future__ import annotations

import random
import re

from tools.train_guard.contrast_text import Tables, expand

FORBID = (
    "{W}", "No {w}.", "{W} violates this policy.", "Not allowed: {w}.", "Users must not post {w}.", "We remove {w}.", "A message violates if it contains {w}.", "Violation: {w}. Everything else is fine.", "Flag {w}, nothing more.", "The rule is simple: {w} is forbidden. Other content passes, however unpleasant.",
    "{W} → violation; anything else → no violation", "Block the text when it amounts to {w}.",
    "Posts that contain {w} must be taken down.",
    "Mark a text as a violation whenever it amounts to {w}.",
    "Prohibited content: {w}.",
    "Our assistant must neither receive nor produce the following: {w}.",
    "Reject: {w}. Accept: all the rest.",
    "Content rule 4.2: {w} may not appear in [messages|user content|prompts or answers].",
    "Does the text contain {w}? If so, it violates. If not, it doesn't.",
    "The following breaks our terms of use: {w}.",
)  # fmt: skip
STRICT = (
    "We are strict here: {w} is forbidden, even in passing.",
    "{W}, however harmless, counts as a violation.",
    "Zero tolerance: {w} is out, whatever the purpose.",
)
LENIENT = (
    "Only {w} is forbidden. Other talk about {t} is fine.", "{T} is a normal subject here; what violates is {w}.", "Be generous: people may talk about {t}. Not allowed is {w}.", "Mentions of {t} alone are no violation. A violation is {w}.",
    "People can speak freely about {t}; the line is crossed by {w}.",
    "{T}: allowed in general. Disallowed: {w}.",
    "Do not flag a text just because it concerns {t}. Flag it if it contains {w}.",
    "We distinguish: {t} as a subject passes, {w} does not.",
    "Moderate {t} with a light hand. The one thing to remove is {w}.",
    "Discussing {t} is permitted, yet the following is not: {w}.",
)  # fmt: skip
ONLY = (
    "Only text about {t} is allowed; everything else violates.", "Anything that is NOT about {t} violates.", "This channel is for {t} alone. Off-topic messages are violations.", "Violation: every message whose subject isn't {t}.", "Stay on the subject of {t}. Whatever has another subject gets removed.", "A text passes if it concerns {t}, and violates if it doesn't.",
    "The assistant answers on {t} and nothing else. Any other subject is a violation.",
    "Scope: {t}. Out of scope, and thus a violation: everything else.",
    "Flag off-topic texts. On topic means that the text concerns {t}.",
    "This is a bot for {t}; a message on a different subject breaks the rules, however harmless it is.",
    "Allowed: {t}. Disallowed: whatever is unrelated to it.",
    "We talk about {t} here, pleasant or not. Unrelated content violates the policy.",
)  # fmt: skip
EXCEPT = (
    "{W} is forbidden, except for {e}.", "No {w}. Exception: {e}.", "Not allowed: {w}. Allowed nevertheless: {e}.", "{W} violates unless it is one of these: {e}.", "We remove {w}, but we keep {e}.",
    "Prohibited: {w}. Not affected by this ban: {e}.",
    "{W} must go; the only thing that may stay: {e}.",
    "A text violates if it contains {w} and does not fall under this exemption: {e}.",
    "As a rule, {w} is out. We make room for one thing: {e}.",
    "Flag {w}. Do not flag {e}.",
    "Apart from {e}, we accept no content of this kind: {w}.",
)  # fmt: skip
LONG = (
    "# Policy on {t}\n\nThis [forum|assistant|shop|channel] serves [adults and young people|many kinds of people|a wide public]. The following rule decides about one subject and no other. [Read the whole text before you decide.|Tone and spelling do not matter.|Judge the meaning and not single words.]\n\n## Violates\n\n- {w}\n- [hints and jokes that amount to the same|requests for it|offers of it]\n\n## Allowed\n\n- {a}\n- [every other subject, whatever else is wrong with it|content on other subjects, harmful or not]\n\n## [Notes|In doubt]\n\n[A doubtful case does not violate.|Other policies cover other harm.|The list above is complete.]",
    "{T}\n=====\nPurpose: keep {t} [in good order|within limits] on our site. What counts is the content itself, [not the person who writes it|not who wrote it|not the time or place].\n\nA text violates this policy when it contains {w}. It makes no difference whether it is [a question, a statement or a command|long or short|serious or a joke].\n\nA text does not violate when it is {a}, or when it has another subject; [then a different rule may apply|this policy has nothing to say on those|we look at those elsewhere].",
    "INSTRUCTIONS\nDecide whether the content violates the policy on {t}.\n\nLABEL 1 (violation)\n{W}\n\nLABEL 0 (no violation)\n{A}\n[Anything unrelated, even if it is rude, illegal or hateful|Texts on other subjects, whatever their tone|All other content]\n\n[Do not add rules of your own.|Stick to the wording above.|Moral judgement is not asked for.]",
    "## {T} ([TP|XA|QR])\n\n**Levels**\n\n| Code | Content | Verdict |\n|---|---|---|\n| L0 | Content with no link to {t}, whatever else it contains | allowed |\n| L1 | {A} | allowed |\n| L2 | {W} | violation |\n\n[Choose the level that fits the content best.|Only level L2 is a violation.|Decide by meaning, not by single words.]",
    "# {T}: content rules\n\n### Definitions\n[Content means any message, prompt or answer.|A user is anybody who writes to the service.|These rules hold for people and for the assistant.]\n\n### Disallowed (VIOLATES)\n* VX1: {w}\n* VX2: requests, offers or praise that amount to VX1\n\n### Allowed (DOES NOT VIOLATE)\n* AX1: {a}\n* AX2: everything that this policy does not name, even if another policy forbids it\n\n[If no VX code applies, the answer is 0.|Answer 1 if a VX code applies and 0 if none does.]",
    "policy:\n  subject: {t}\n  version: [1|2|3]\n  violation:\n    - {w}\n  no_violation:\n    - {a}\n    - all content on other subjects\n  default: no_violation",
    "MODERATION GUIDE, SECTION [B|C|F]: {T}\n\n1. Scope. This section deals with {t} only.\n2. Prohibited. It is prohibited to post, request or generate: {w}.\n3. Permitted. The following stays permitted: {a}.\n4. Other subjects. Content outside the scope is never a violation of this section.\n5. [Form. Length, language and tone play no part.|Context. Judge the text as it stands.|Result. A text under 2 violates; any other does not.]",
    "Content: {t}\n\nDISALLOWED\n- {W}\n\nALLOWED\n- {A}\n- Unrelated content, good or bad\n\nHOW TO DECIDE\nStep 1: Does the text concern {t}? If not, no violation.\nStep 2: Is it listed under ALLOWED? If so, no violation.\nStep 3: Is it listed under DISALLOWED? If so, violation.",
)  # fmt: skip
FORMS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("question", ("Questions are violations.", "A text violates if it asks something.", "No questions in this channel, only statements."), ("Only questions are allowed; statements violate.", "A text without a question violates.", "Everything must be phrased as a question, or else it violates.")),
    ("number", ("A text that contains a number word or digit violates.", "No numbers, neither in digits nor in words such as two or ten."), ("Each message must name a number; a text without one violates.", "Violation: no number, neither in digits nor in words, appears in the text.")),
    ("polite", ("Text is a violation if it is polite (says please or thank you).", "No thanks and no please: courtesy violates this rule."), ("A text violates unless it says please or thank you.", "Only polite messages, with please or thanks, are allowed; all others violate.")),
    ("capitals", ("Messages written in capitals violate.", "No shouting in capital letters."), ("Whatever isn't written in capital letters violates.", "Only messages in CAPITALS are allowed.")),
    ("exclaim", ("Exclamation marks are forbidden.", "A text with an exclamation mark violates."), ("A message without an exclamation mark violates.", "Violation: the text does not contain an exclamation mark.")),
    ("quote", ("Quotation marks violate the policy.", "No quoted words."), ("A text violates if nothing in it is put in quotation marks.",)),
)  # fmt: skip


def fill(template: str, rng: random.Random, tables: Tables, *, w: str, t: str = "", e: str = "", a: str = "") -> str:
    """A policy from one of these templates; T, W and A are t, w and a with a capital.

    Args:
        template: As above.
        rng: Source of randomness.
        tables: For places in what is filled in.
        w: What is forbidden.
        t: The subject.
        e: The exception.
        a: What is allowed.
    """
    bound = {"t": t, "w": w, "e": e, "a": a}
    bound |= {name.upper(): bound[name][:1].upper() + bound[name][1:] for name in ("t", "w", "a")}
    bare = re.sub("^anything about", "talk about", w.removeprefix("any "))
    return expand(template.replace("No {w}", "No {w0}"), rng, tables, bound | {"w0": bare})

"""Teaches the network its task: batches with three kinds of targets, and the loop.

Targets: the answer after ``assistant`` (what is wanted); at every token of the content, whether a word that the policy
forbids ends there (read from the second and the third layer by probes that are thrown away); at every word, its topic
and whether it is forbidden, permitted, judged or context (read from the first layer, likewise). Without the second kind
nothing is learned in affordable time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.engine import Effort
from models.prompt import (
    ANALYSIS,
    ASSISTANT,
    FINAL_AFTER_ANALYSIS,
    FORCED_FINAL,
    RETURN,
    SAFE,
    VIOLATES,
    Control,
    Piece,
    prefix_pieces,
)
from tools.test_model import words
from tools.test_model.corpus import HELD_OUT_PAIRS, NO_TOPIC, TRAINING_PAIRS, Author, Content, Mention, Policy
from tools.test_model.network import Batch, GptOss
from tools.test_model.vocabulary import Vocabulary

IGNORED = -100
_EFFORT_LINE = "Reasoning: {effort}"
WORDS_PROBED = 0
MATCH_PROBED = (1, 2)


@dataclass(frozen=True)
class Step:
    """What one kind of batch is made of."""

    n_policies: int
    n_contents: int
    n_asides: tuple[int, int]
    n_words: tuple[int, int]


EASY = Step(6, 7, (0, 1), (2, 12))
STEPS = (
    Step(6, 7, (0, 2), (2, 12)),
    Step(5, 6, (0, 4), (5, 30)),
    Step(5, 6, (0, 4), (5, 30)),
    Step(4, 4, (1, 6), (15, 80)),
    Step(3, 5, (6, 20), (5, 40)),
)
"""Short batches are cheap and teach the words; long ones teach to keep looking."""

LONG_STEP = Step(2, 3, (0, 25), (60, 250))
"""Seldom, so that longer texts than usual do not surprise the network."""


@dataclass(frozen=True)
class Example:
    """Token ids of one sequence part, and its targets, all of equal length."""

    ids: list[int]
    topic: list[int]
    role: list[int]
    match: list[int]
    answer: list[int]
    is_label: list[bool]


@dataclass(frozen=True)
class Prefix:
    """Token ids of a prefix, their topics and roles, and which of them differ from prompt to prompt."""

    ids: list[int]
    topic: list[int]
    role: list[int]
    telling: list[bool]


@dataclass(frozen=True)
class Targets:
    """Targets of a batch: topics and roles of prefix and tails, matches and next tokens of the tails."""

    prefix_topic: Tensor
    prefix_role: Tensor
    topic: Tensor
    role: Tensor
    match: Tensor
    answer: Tensor
    is_label: Tensor


class Role(IntEnum):
    """What a topic word is there for."""

    NONE = 0
    FORBIDDEN = 1
    PERMITTED = 2
    JUDGED = 3
    CONTEXT = 4


class Tokeniser:
    """Turns policies and contents into token ids with targets."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def pieces(self, pieces: Sequence[Piece]) -> list[int]:
        """Token ids of prompt pieces."""
        ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, Control):
                ids.append(self.vocabulary.control(piece.spelling))
            else:
                ids += self.vocabulary.encode(piece)[0]
        return ids

    def prefix(self, policy: Policy, effort: Effort) -> Prefix:
        """Token ids up to the content, with their targets."""
        ids: list[int] = []
        topics: list[int] = []
        roles: list[int] = []
        telling: list[bool] = []
        for piece in prefix_pieces(policy.text, effort):
            if isinstance(piece, Control):
                ids += self.pieces([piece])
                topics.append(NO_TOPIC)
                roles.append(Role.NONE)
                telling.append(True)
                continue
            new, ends = self.vocabulary.encode(piece)
            told = policy.text if policy.text in piece else _EFFORT_LINE.format(effort=effort)
            at = piece.find(told)
            mentions = [mention.moved(at) for mention in policy.mentions] if told == policy.text else []
            ids += new
            topics += self._marks(piece, mentions, [mention.topic for mention in mentions], NO_TOPIC)
            parts = [Role.FORBIDDEN if m.topic in policy.forbidden else Role.PERMITTED for m in mentions]
            roles += self._marks(piece, mentions, parts, Role.NONE)
            telling += [0 <= at < end <= at + len(told) for end in ends]
        return Prefix(ids, topics, roles, telling)

    def _marks(self, text: str, mentions: Sequence[Mention], marks: Sequence[int], other: int) -> list[int]:
        """One mark per token of the text: the mention's at its last token, none at its others."""
        ends = self.vocabulary.encode(text)[1]
        found = [other] * len(ends)
        for mention, mark in zip(mentions, marks, strict=True):
            for n, end in enumerate(ends):
                if mention.start < end < mention.end:
                    found[n] = IGNORED
                elif end >= mention.end:
                    found[n] = mark
                    break
        return found

    def tail(self, content: Content, policy: Policy, answer: Sequence[Piece], n_forced: int, traced: bool) -> Example:
        """Token ids of content and answer with all targets.

        Args:
            content: The content.
            policy: What it is judged by.
            answer: The pieces after ``assistant``.
            n_forced: Token number in the answer from which on it is the network's own.
            traced: Whether all of the answer is the network's own except the label, which is last but one.
        """
        ids = self.vocabulary.encode(content.shown)[0]
        topic = self._marks(content.shown, content.mentions, [m.topic for m in content.mentions], NO_TOPIC)
        parts = [Role.CONTEXT if m.end in content.context_ends else Role.JUDGED for m in content.mentions]
        role = self._marks(content.shown, content.mentions, parts, Role.NONE)
        hits = [
            int(mention.topic in policy.forbidden and part is Role.JUDGED)
            for mention, part in zip(content.mentions, parts, strict=True)
        ]
        match = self._marks(content.shown, content.mentions, hits, 0)
        opening, said = self.pieces(ASSISTANT), self.pieces(answer)
        first = 0 if traced else n_forced
        n_silent = len(ids) + len(opening) - 1 + first
        n_all = len(ids) + len(opening) + len(said)
        return Example(
            ids=ids + opening + said,
            topic=topic + [IGNORED] * (n_all - len(ids)),
            role=role + [IGNORED] * (n_all - len(ids)),
            match=match + [IGNORED] * (n_all - len(ids)),
            answer=[IGNORED] * n_silent + said[first:] + [IGNORED],
            is_label=[n == n_all - 3 for n in range(n_all)],
        )


def trace_of(effort: Effort, violates: bool) -> str:
    """What the network says in its analysis channel."""
    return words.TRACES["low" if effort is Effort.NONE else effort.value][violates]


class Curriculum:
    """Makes batches.

    Args:
        author: Writes the texts.
        tokeniser: Turns them into tokens.
    """

    def __init__(self, author: Author, tokeniser: Tokeniser) -> None:
        self.author = author
        self.rng = author.rng
        self.tokeniser = tokeniser
        self.pad = tokeniser.vocabulary.control("<|endoftext|>")

    def batch(self, step: Step, easy: bool = False, thin: bool = False) -> tuple[Batch, Targets]:
        """One batch of training policies, all of one effort and with contents of similar length, to save padding.

        Args:
            step: Its sizes.
            easy: Only lone messages, no forgeries, no permissions.
            thin: Leave out most of the tokens that are the same in all prompts, though not their positions.
        """
        rng = self.rng
        effort = rng.choice(tuple(Effort))
        traced = effort is not Effort.NONE and rng.random() < 0.6
        n_words = rng.randint(*step.n_words)
        prefixes, tails = [], []
        for _ in range(step.n_policies):
            chance = rng.random()
            topics = [] if chance < 0.04 else list(rng.choice(TRAINING_PAIRS)) if chance < 0.5 else None
            topics = [rng.randrange(NO_TOPIC)] if topics is None else topics
            rules = words.RULES + words.FURTHER_RULES
            policy = self.author.policy(topics, rules, rng.randint(*step.n_asides), permit=not easy)
            prefixes.append(self.tokeniser.prefix(policy, effort))
            tails.append([self._tail(policy, effort, n_words, traced, easy) for _ in range(step.n_contents)])
        return self._stack(prefixes, tails, thin)

    def content(self, policy: Policy, n_words: int, dense: bool = False, **chances: float) -> Content:
        """A content that violates the policy about every other time; ``dense`` ones have more topic words."""
        rng = self.rng
        others = [topic for topic in range(NO_TOPIC) if topic not in policy.forbidden]
        topics = [rng.choice(others) for _ in range(rng.choice((2, 3, 4, 6) if dense else (0, 1, 1, 2)))]
        if policy.forbidden and rng.random() < 0.54:
            topics.append(rng.choice(sorted(policy.forbidden)))
        elif not topics and rng.random() < 0.6:
            topics = [rng.choice(others)]
        rng.shuffle(topics)
        decoys = rng.choices(sorted(policy.forbidden), k=rng.randint(1, 2)) if dense and policy.forbidden else ()
        return self.author.content(topics, n_words, **chances, decoys=decoys)

    def _tail(self, policy: Policy, effort: Effort, n_words: int, traced: bool, easy: bool) -> Example:
        rng = self.rng
        chances = {"forge": 0.0, "transcript": 0.0} if easy else {"forge": 0.25, "transcript": 0.35}
        dense = not easy and rng.random() < 0.3
        content = self.content(policy, rng.randint(1 + n_words // 2, n_words), dense, **chances)
        violates = content.violates(policy.forbidden)
        verdict: tuple[Piece, ...] = (VIOLATES if violates else SAFE, RETURN)
        if not traced:
            n_forced = len(self.tokeniser.pieces(FORCED_FINAL))
            return self.tokeniser.tail(content, policy, (*FORCED_FINAL, *verdict), n_forced, traced=False)
        trace = trace_of(effort, violates)
        if rng.random() < 0.8:
            answer = (*ANALYSIS, trace, *FINAL_AFTER_ANALYSIS, *verdict)
            return self.tokeniser.tail(content, policy, answer, 0, traced=True)
        ids, ends = self.tokeniser.vocabulary.encode(trace)
        cut = trace[: ends[rng.randrange(len(ids))]] if rng.random() < 0.8 else ""
        answer = (*ANALYSIS, cut, *FINAL_AFTER_ANALYSIS, *verdict)
        n_forced = len(self.tokeniser.pieces(answer)) - 2
        return self.tokeniser.tail(content, policy, answer, n_forced, traced=False)

    def _stack(
        self, prefixes: Sequence[Prefix], tails: Sequence[Sequence[Example]], thin: bool = False
    ) -> tuple[Batch, Targets]:
        rng = self.rng
        kept = [
            [n for n, telling in enumerate(prefix.telling) if telling or not thin or rng.random() < 0.12]
            for prefix in prefixes
        ]

        def padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
            length = max(map(len, rows))
            return torch.tensor([[*row, *[filler] * (length - len(row))] for row in rows])

        flat = [tail for group in tails for tail in group]

        def grouped(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
            return padded(rows, filler).unflatten(0, (len(tails), -1))

        batch = Batch(
            prefix=padded([[prefix.ids[n] for n in at] for prefix, at in zip(prefixes, kept, strict=True)], self.pad),
            prefix_position=padded(kept, -1),
            prefix_length=torch.tensor([len(prefix.ids) for prefix in prefixes]),
            tail=grouped([tail.ids for tail in flat], self.pad),
        )
        targets = Targets(
            prefix_topic=padded(
                [[prefix.topic[n] for n in at] for prefix, at in zip(prefixes, kept, strict=True)], IGNORED
            ),
            prefix_role=padded(
                [[prefix.role[n] for n in at] for prefix, at in zip(prefixes, kept, strict=True)], IGNORED
            ),
            role=grouped([tail.role for tail in flat], IGNORED),
            topic=grouped([tail.topic for tail in flat], IGNORED),
            match=grouped([tail.match for tail in flat], IGNORED),
            answer=grouped([tail.answer for tail in flat], IGNORED),
            is_label=grouped([tail.is_label for tail in flat], False).bool(),
        )
        return batch, targets

    def held_out(self, n_policies: int) -> tuple[Batch, Targets]:
        """A batch of pairs and wordings that training never shows, tier direct."""
        loose, self.author.loose = self.author.loose, 0.0
        step = Step(n_policies, 6, (0, 4), (5, 60))
        prefixes, tails = [], []
        for n in range(step.n_policies):
            topics = list(self.rng.choice(sorted(HELD_OUT_PAIRS))) if n % 2 else [self.rng.randrange(NO_TOPIC)]
            rules = words.RULES if n % 2 else words.HELD_OUT_RULES
            policy = self.author.policy(topics, rules, n_asides=self.rng.randint(*step.n_asides))
            prefixes.append(self.tokeniser.prefix(policy, Effort.NONE))
            n_words = self.rng.randint(*step.n_words)
            tails.append(
                [self._tail(policy, Effort.NONE, n_words, traced=False, easy=False) for _ in range(step.n_contents)]
            )
        self.author.loose = loose
        return self._stack(prefixes, tails)


class Probes(nn.Module):
    """The readers of the extra targets; not exported."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.topic = nn.Linear(width, NO_TOPIC + 1)
        self.role = nn.Linear(width, len(Role))
        self.match = nn.ModuleList(nn.Linear(width, 2) for _ in MATCH_PROBED)


def losses(network: GptOss, probes: Probes, batch: Batch, targets: Targets) -> dict[str, Tensor]:
    """All losses of a batch, and the share of right labels under ``accuracy``."""
    wanted = targets.answer != IGNORED
    n_wanted = wanted.sum(-1, keepdim=True)
    steps = torch.arange(int(n_wanted.max()))
    at = (wanted.int().argmax(-1, keepdim=True) + steps).clamp_max(wanted.shape[-1] - 1)
    states, last = network(batch, at)
    first_prefix, first_tail = states[WORDS_PROBED]
    seen = torch.cat((first_prefix.flatten(0, 1), first_tail.flatten(0, 2)))
    topic_of = torch.cat((targets.prefix_topic.flatten(), targets.topic.flatten()))
    role_of = torch.cat((targets.prefix_role.flatten(), targets.role.flatten()))
    topic = _balanced(probes.topic(seen), topic_of, [topic_of != NO_TOPIC, topic_of == NO_TOPIC])
    role = _balanced(probes.role(seen), role_of, [role_of == each for each in Role])
    match_of, of_topic = targets.match.flatten(), targets.topic.flatten() != NO_TOPIC
    groups = [match_of == 1, (match_of == 0) & of_topic, ~of_topic]
    match = [
        _balanced(probe(states[n][1].flatten(0, 2)), match_of, groups)
        for n, probe in zip(MATCH_PROBED, probes.match, strict=True)
    ]

    answer, is_label = targets.answer[wanted], targets.is_label[wanted]
    logits = network.logits(last[steps < n_wanted])
    each = functional.cross_entropy(logits, answer, reduction="none")
    return {
        "label": each[is_label].mean(),
        "text": each[~is_label].mean(),
        "match": torch.stack(match).mean(),
        "last match": match[-1],
        "role": role,
        "topic": topic,
        "balance": torch.stack([layer.experts.imbalance for layer in network.layers]).mean(),
        "accuracy": (logits[is_label].argmax(-1) == answer[is_label]).float().mean(),
    }


def _balanced(logits: Tensor, target: Tensor, groups: Sequence[Tensor]) -> Tensor:
    """Cross entropy in which every group of targets weighs the same, however few they are."""
    keep = target != IGNORED
    each = functional.cross_entropy(logits[keep], target[keep], reduction="none")
    means = [(each * group[keep]).sum() / group[keep].sum().clamp_min(1) for group in groups]
    return torch.stack(means).sum()


ROW_PACE = 5.0
"""How much faster the embeddings learn: each word is seen seldom."""

WEIGHTS = {"label": 1.0, "text": 0.3, "match": 1.0, "topic": 0.5, "role": 0.2, "balance": 0.02}


def train(
    network: GptOss,
    curriculum: Curriculum,
    n_steps: int,
    learning_rate: float,
    checkpoint: Callable[[], None],
    further: bool = False,
    limit_s: float = math.inf,
) -> None:
    """Run the loop: easy batches first, then the mixture.

    Most prompts are thinned out at first, and the experts are rounded to MXFP4 in the second half.

    Args:
        network: Is trained in place.
        curriculum: Makes the batches.
        n_steps: Number of batches.
        learning_rate: The peak; it rises over 50 steps and falls along a cosine.
        checkpoint: Called now and then, and at the end.
        further: Whether the network has been trained before: then all of it is like the second half, the new probes
            first learn to read what is there, and the answer gains weight over what they read.
        limit_s: Stop after this many seconds, if that is earlier; the learning rate falls accordingly.
    """
    probes = Probes(network.shape.width)
    rows = [network.embedding.weight]
    others = [each for each in (*network.parameters(), *probes.parameters()) if each is not rows[0]]
    parameters = [*rows, *others]
    optimiser = torch.optim.AdamW(
        [{"params": rows, "pace": ROW_PACE, "weight_decay": 0.0}, {"params": others, "pace": 1.0}],
        betas=(0.9, 0.98),
        weight_decay=0.01,
    )
    rng = curriculum.rng
    if further:
        _introduce(network, probes, curriculum)
    running: dict[str, float] = {}
    started = time.monotonic()
    for n in range(n_steps):
        done = max(n / n_steps, (time.monotonic() - started) / limit_s)
        last = n + 1 == n_steps or done >= 1
        done = min(done, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = (
                learning_rate * group["pace"] * min((n + 1) / 50, 0.02 + 0.49 * (1 + math.cos(math.pi * done)))
            )
        easy = done < 0.12 and not further
        for layer in network.layers:
            layer.experts.fake_quantise = done >= 0.5 or further
        step = EASY if easy else LONG_STEP if rng.random() < 0.03 else rng.choice(STEPS)
        thin = rng.random() < (0.7 if done < 0.4 else 0.2)
        found = losses(network, probes, *curriculum.batch(step, easy, thin))
        aside = 1 - 0.7 * done if further else 1.0
        loss = sum(found[name] * weight * (1.0 if name == "label" else aside) for name, weight in WEIGHTS.items())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        for name, value in found.items():
            running[name] = 0.95 * running.get(name, value.item()) + 0.05 * value.item()
        if (n + 1) % 25 == 0:
            _progress(n + 1, n_steps, time.monotonic() - started, running)
        if (n + 1) % 300 == 0 or last:
            with torch.no_grad():
                right = losses(network, probes, *curriculum.held_out(24))["accuracy"].item()
            print(f"  held-out policies: {right:.1%} right", flush=True)
            checkpoint()
        if last:
            break


def _introduce(network: GptOss, probes: Probes, curriculum: Curriculum) -> None:
    """Train the probes alone for a moment: with random ones the first steps would spoil the network."""
    optimiser = torch.optim.Adam(probes.parameters(), lr=1e-2)
    network.requires_grad_(False)
    for n in range(50):
        found = losses(network, probes, *curriculum.batch(STEPS[n % 3]))
        optimiser.zero_grad(set_to_none=True)
        (found["match"] + found["role"] + found["topic"]).backward()
        optimiser.step()
    network.requires_grad_(True)


def _progress(n: int, n_steps: int, passed_s: float, running: dict[str, float]) -> None:
    bar = "█" * (20 * n // n_steps)
    left_min = passed_s / n * (n_steps - n) / 60
    values = " ".join(f"{name} {value:.3f}" for name, value in running.items())
    print(f"{bar:░<20} {n}/{n_steps} {passed_s / n:.2f} s/step, {left_min:.0f} min left | {values}", flush=True)

"""Fakes that play a script: what a test wants an engine, a detector or a policy to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import EngineError
from models.specs import GuardPlan
from rules.content import Content, Leaf, LeafKind, Path, Surface
from rules.detectors import Span
from rules.policy import Policy
from rules.rule import Action, Mode, OnError, RewriteWith, Rule

Line = float | EngineError
"""What an engine says about one policy: a score, or why there is none."""


@dataclass(slots=True)
class Call:
    """One call of `FakeEngine.judge`."""

    passages: list[Passage]
    policies: list[str]
    deadline: float

    @property
    def texts(self) -> list[str]:
        """What was under judgement."""
        return [p.text for p in self.passages if not p.context]


@dataclass(slots=True)
class FakeEngine:
    """An engine that answers from a script, by policy name, and remembers what it was asked.

    Attributes:
        script: What it says per policy; a policy that is not in it scores 0.
        answer: Takes the place of the script: gives the whole list of answers, or raises.
    """

    script: Mapping[str, Line] = field(default_factory=dict)
    answer: Callable[[Sequence[Passage], Sequence[GuardPolicy]], list[Score | EngineError]] | None = None
    name: str = "fake"
    ready: bool = True
    last_error: str | None = None
    is_incremental: bool = False
    calls: list[Call] = field(default_factory=list)

    @property
    def model(self) -> str:
        return f"{self.name}@000000000000"

    async def start(self) -> None:
        pass

    async def wait_ready(self, timeout_s: float) -> bool:
        return self.ready

    async def close(self) -> None:
        self.ready = False

    async def prepare(self, plan: GuardPlan) -> None:
        pass

    def adopt(self, plan: GuardPlan) -> None:
        pass

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        self.calls.append(Call(list(passages), [p.name for p in policies], deadline))
        if self.answer is not None:
            return self.answer(passages, policies)
        return [scored(self.script.get(p.name, 0.0)) for p in policies]


def scored(line: Line) -> Score | EngineError:
    """A line of a script as an engine's answer."""
    return line if isinstance(line, EngineError) else Score(line, Tier.ENCODER, calibrated=True)


@dataclass(frozen=True, slots=True)
class WordDetector:
    """Finds a word, wherever it stands."""

    word: str
    label: str = "WORD"

    def find(self, text: str) -> list[Span]:
        out = []
        at = text.find(self.word)
        while at >= 0:
            out.append(Span(at, at + len(self.word), self.label))
            at = text.find(self.word, at + len(self.word))
        return out


@dataclass(frozen=True, slots=True)
class BrokenDetector:
    """Dies of whatever it reads."""

    error: Exception = field(default_factory=lambda: RuntimeError("broken"))

    def find(self, text: str) -> list[Span]:
        raise self.error


def text_rule(
    name: str,
    *guards: str,
    flag: float | None = None,
    refuse: float | None = None,
    mode: Mode = Mode.ENFORCE,
    on_error: OnError = OnError.REFUSE,
    scope: frozenset[Surface] | None = None,
    refusal_text: str | None = None,
    rewrite: float | None = None,
    rewrite_with: RewriteWith = RewriteWith.SENTENCES,
) -> Rule:
    """A rule whose policy a guard judges."""
    policy = Policy(name, f"rev-{name}", text=f"About {name}.", refusal_text=refusal_text, advisory=f"Mind {name}.")
    thresholds = _thresholds(flag, rewrite, refuse)
    own = f"[{name}]"
    return Rule(policy, guards or ("guard",), thresholds, mode, on_error, scope, rewrite_with, rewrite_text=own)


def word_rule(
    name: str,
    word: str,
    *,
    flag: float | None = None,
    rewrite: float | None = None,
    refuse: float | None = None,
    mode: Mode = Mode.ENFORCE,
    on_error: OnError = OnError.REFUSE,
    scope: frozenset[Surface] | None = None,
    joins: bool = True,
    broken: bool = False,
    label: str = "WORD",
    restore: bool = False,
) -> Rule:
    """A rule whose policy is a detector of one word."""
    detector = BrokenDetector() if broken else WordDetector(word, label)
    policy = Policy(name, f"rev-{name}", detector=detector, joins=joins)
    return Rule(policy, (), _thresholds(flag, rewrite, refuse), mode, on_error, scope, restore=restore)


def _thresholds(flag: float | None, rewrite: float | None, refuse: float | None) -> dict[Action, float]:
    given = {Action.FLAG: flag, Action.REWRITE: rewrite, Action.REFUSE: refuse}
    return {action: value for action, value in given.items() if value is not None}


def judges_word(word: str, *, score: float = 0.9) -> FakeEngine:
    """A guard to which whatever holds a word violates every policy."""

    def answer(passages: Sequence[Passage], policies: Sequence[GuardPolicy]) -> list[Score | EngineError]:
        holds = any(word in p.text for p in passages if not p.context)
        return [scored(score if holds else 0.0)] * len(policies)

    return FakeEngine(answer=answer)


def user(*texts: str, surface: Surface = Surface.USER) -> Content:
    """A conversation of one surface: one message per text."""
    return Content(tuple(Leaf(("messages", i, "content"), surface, t) for i, t in enumerate(texts)))


def leaf(text: str, *path: str | int, surface: Surface = Surface.USER, kind: LeafKind = LeafKind.TEXT) -> Leaf:
    """One leaf; without a path, the content of the first message."""
    at: Path = path or ("messages", 0, "content")
    return Leaf(at, surface, text, kind)

"""The seam between rules and models: what a rule asks, what an engine answers.

One call judges one content against all policies that share a guard, because that is the unit at which engines save
work: the encoder scores every built-in category in one pass, the safeguard model keeps every policy's prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from models.errors import EngineError
from models.evidence import Evidence

if TYPE_CHECKING:
    from models.specs import GuardPlan


class Tier(StrEnum):
    """What kind of evidence decided, cheapest first."""

    DETECTOR = "detector"
    ENCODER = "encoder"
    DIRECT = "direct"
    REASONED = "reasoned"
    REMOTE = "remote"


class Effort(StrEnum):
    """How much a safeguard model may reason before its verdict. ``none`` is tier *direct*."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of text from one place of a message, with the surface it came from (``user``, ``tool_call``, …)."""

    surface: str
    text: str = field(repr=False)
    context: bool = False
    """Shown to the guard so that it understands the rest; not itself under judgement."""


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """A policy as an engine needs it."""

    name: str
    revision: str
    """Hash of the policy's text: part of every cache key and every record."""
    text: str = field(repr=False)
    """The whole policy, for safeguard models."""
    category: str | None = None
    """The encoder output that judges it; None: the encoder judges the pair (summary, content)."""
    summary: str | None = field(default=None, repr=False)
    """One-line form for the encoder's pair output; None: what ``text`` forbids and allows (`models.condensing`)."""
    reason_band: tuple[float, float] | None = None
    """Direct scores between these, ends included, are thought about; None: what the guard says."""


@dataclass(frozen=True, slots=True)
class Canary:
    """Two contents of which a policy's guard must know which one violates it (`models.canaries`)."""

    policy: GuardPolicy
    violating: Passage
    safe: Passage


@dataclass(frozen=True, slots=True)
class Score:
    """One policy's score for one content.

    Attributes:
        value: Probability that the content violates the policy, in ``[0, 1]``.
        tier: What kind of evidence decided.
        calibrated: Whether ``value`` went through a map that was fitted on labelled data.
        rationale: The model's reasoning, for the audit only; None where there is none.
        n_tokens: Tokens that were decoded for this score.
        latency_ms: Time spent on this score inside the engine.
        cached: Whether it was worked for by an earlier or a simultaneous call (`models.verdict_cache`).
        evidence: What the guard saw, from which a fitted map makes a better ``value``; None where it does not say.
        pass_below: The value under which hardly a violation was seen on labelled data, on the scale of ``value``: where an
            earlier guard of a cascade may let content pass. None: nobody measured it.
        unjudged: Code of the error that stands for a part of the content that could not be judged; None: all of it was. Such a
            score settles a rule only by asking for something graver than the error does.
    """

    value: float
    tier: Tier
    calibrated: bool = False
    rationale: str | None = field(default=None, repr=False)
    n_tokens: int = 0
    latency_ms: float = 0.0
    cached: bool = False
    evidence: Evidence | None = None
    pass_below: float | None = None
    unjudged: str | None = None


class Engine(Protocol):
    """A loaded guard. All methods are called from one event loop and never block it."""

    @property
    def ready(self) -> bool:
        """Whether a call to `judge` would be tried now."""
        ...

    @property
    def model(self) -> str:
        """What judged, for the record: name and revision of the model, e.g. ``embedded@1b2c3d4e5f60``."""
        ...

    @property
    def last_error(self) -> str | None:
        """Why the guard is not ready, in one line without content; None when it is."""
        ...

    @property
    def is_incremental(self) -> bool:
        """Whether a content that goes on where an earlier one ended costs only what is new."""
        ...

    async def start(self) -> None:
        """Begin loading. Returns at once; `ready` turns true when the guard can judge. Never raises for a bad model.

        A guard that runs goes on; one that has failed for good tries once more.
        """
        ...

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait until the guard is ready or has failed for good; whether it is ready."""
        ...

    async def close(self) -> None:
        """Stop the guard and everything it started."""
        ...

    async def prepare(self, plan: GuardPlan) -> None:
        """Find out whether a running guard is up to another plan. It goes on judging meanwhile, and nothing changes.

        Args:
            plan: One that it can go on by (`GuardPlan.is_met_by`). Canaries that it passed already are not asked again.

        Raises:
            EngineError: It is not: a canary is judged wrong, or there is too little memory.
        """
        ...

    def adopt(self, plan: GuardPlan) -> None:
        """A plan that `prepare` found good holds from now on, also whenever the guard has to show anew that it works."""
        ...

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        """Score one content against several policies.

        Args:
            passages: The content, in order. At least one is not context.
            policies: What to judge it against.
            deadline: On ``time.monotonic()``'s clock; past it the answer is `EngineTimeout`.

        Returns:
            One entry per policy, in order: a score, or why there is none. Errors that concern the whole call stand in
            every entry; nothing is raised but `asyncio.CancelledError`, which also cancels the work.
        """
        ...

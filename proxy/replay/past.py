"""Decisions as they were made: read from the audit, or made now of an example."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from models.engine import Passage, Tier
from proxy.audit.entry import Keep
from proxy.audit.store import Record
from proxy.moderations import PATH as MODERATIONS
from rules.content import Content, Leaf, LeafKind, Path, Surface
from rules.decision import OPAQUE
from rules.rule import Action, Mode, Stage

ROUNDED = 5e-7
"""Scores on record are rounded; one that is as near to a threshold as this can lie on either side of it."""


OUTCOMES = ("forward", "skipped", "flag", "rewrite", "refuse", "error")
"""Of a verdict, see `proxy.records.outcome`; of several verdicts of a policy the last one of these stands for all."""


class Unfit(StrEnum):
    """Why a decision cannot be compared; the values stand in reports."""

    NOBODY_JUDGED = "nobody judged: an error of the proxy, or a path that is passed through"
    NOT_DECIDED = "cut off before it was decided"
    STRICTER = "the client had asked for more strictness than the route's"
    MODERATION = "an answer of /v1/moderations, which decides nothing"
    UNREADABLE = "recorded in a way that is not known here"
    ROUTE_GONE = "the draft has no route of this name"
    NO_CONTENT = "the content was not kept, and the recorded scores do not do"
    NO_TEXT = "a text was left out when the content was kept"
    NO_REQUEST = "the request that it answers was not kept, which guards are shown"
    WINDOW = "a piece of a stream: what stood before it was not kept, which guards read"
    REWRITTEN = "refused after a rewrite: what stood there before was not kept"
    FAILED = "a guard could not judge it now"


@dataclass(frozen=True, slots=True)
class PastVerdict:
    """One rule's outcome, as it is on record."""

    policy: str
    basis: str
    mode: str
    outcome: str
    score: float | None = None
    error: str | None = None
    is_exact: bool = False
    """Whether the score is what the guard said, not rounded."""

    @property
    def is_known(self) -> bool:
        """Whether there was a verdict: it was not skipped, and says what it depends on."""
        return bool(self.basis) and (self.score is not None or self.error is not None)

    def is_near(self, threshold: float) -> bool:
        """Whether rounding may have moved the score over a threshold."""
        return self.score is not None and not self.is_exact and abs(self.score - threshold) <= ROUNDED


@dataclass(frozen=True, slots=True)
class Past:
    """One decision as it was made.

    Attributes:
        id: The decision's id, or what an example is called.
        policies: Which asked for ``action``.
        n_opaque: Parts that no guard can read.
        policy_set: Hash of the route's rules then.
        record: What finds its content; None for an example.
        sample: For an example: what was judged, with what guards are shown besides.
        is_failed_rewrite: Whether it refuses because a rewrite did not hold: its verdicts do not say so.
    """

    id: str
    route: str
    stage: Stage
    action: Action
    policies: tuple[str, ...] = ()
    verdicts: tuple[PastVerdict, ...] = ()
    n_opaque: int = 0
    policy_set: str = ""
    record: Record | None = field(default=None, repr=False)
    sample: Material | None = field(default=None, repr=False)
    is_failed_rewrite: bool = False

    @property
    def counted(self) -> list[PastVerdict]:
        """The verdicts that had an effect."""
        return [v for v in self.verdicts if v.mode == Mode.ENFORCE]


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to judge anew.

    Attributes:
        content: What was judged.
        context: What guards are shown besides.
        is_redacted: Whether something is masked, which can change verdicts.
        is_window: Whether it is a piece of a stream, without what stood before.
    """

    content: Content = field(repr=False)
    context: Sequence[Passage] = field(default=(), repr=False)
    is_redacted: bool = False
    is_window: bool = False


_NEEDED = ("seq", "request_id", "endpoint", "kept", "kept_at")
"""Of a record, once it is read: there can be millions."""


def past_of(record: Record) -> Past | Unfit:
    """A decision on record, if it was one that rules have made."""
    if record.get("endpoint") == MODERATIONS:
        return Unfit.MODERATION
    if record.get("state") != "decided":
        return Unfit.NOT_DECIDED
    if record.get("cause") == "fault" or "verdicts" not in record or record.get("endpoint") == "passthrough":
        return Unfit.NOBODY_JUDGED
    if record.get("stricter"):
        return Unfit.STRICTER
    try:
        verdicts = tuple(map(verdict_of, (*record["verdicts"], *record.get("shadow", ()))))
        action = Action[record["action"].upper()]
        policies = tuple(record.get("policies", ()))
        return Past(
            id=record["decision_id"],
            route=record["route"],
            stage=Stage(record["stage"]),
            action=action,
            policies=policies,
            verdicts=verdicts,
            n_opaque=record.get("content", {}).get("opaque", 0),
            policy_set=record.get("policy_set", ""),
            record={name: record[name] for name in _NEEDED if name in record},
            is_failed_rewrite=action is Action.REFUSE and not _says_refuse(verdicts, policies),
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        return Unfit.UNREADABLE


def _says_refuse(verdicts: Sequence[PastVerdict], policies: Sequence[str]) -> bool:
    return OPAQUE in policies or any(
        v.mode == Mode.ENFORCE and (v.outcome == Action.REFUSE.word or (v.error is not None and v.policy in policies))
        for v in verdicts
    )


def verdict_of(shown: Mapping[str, Any]) -> PastVerdict:
    """A verdict as `proxy.records.verdict_record` shows it.

    Raises:
        ValueError: Its outcome is none that is known here.
    """
    if shown["outcome"] not in OUTCOMES:
        raise ValueError("unknown outcome")
    return PastVerdict(
        policy=shown["policy"],
        basis=shown.get("basis", ""),
        mode=shown["mode"],
        outcome=shown["outcome"],
        score=shown.get("score"),
        error=shown.get("error"),
        is_exact=shown.get("tier") == Tier.DETECTOR,  # 0 or 1
    )


def material_of(kept: Mapping[str, Any], n_opaque: int) -> Material | Unfit:
    """What `proxy.audit.redaction.kept` has kept, as content again, without what guards are shown besides."""
    if any(text["text"] is None for text in kept["texts"]):
        return Unfit.NO_TEXT
    leaves = tuple(
        Leaf(
            _path(text["path"]),
            Surface(text["surface"]),
            text["text"],
            LeafKind(text["kind"]),
            text.get("is_json", False),
            text.get("is_unknown", False),
        )
        for text in kept["texts"]
    )
    return Material(
        Content(leaves, opaque_paths(n_opaque)),
        is_redacted=kept["keep"] != Keep.FULL,
        is_window=any(text.get("before_chars") for text in kept["texts"]),
    )


def opaque_paths(n: int) -> tuple[Path, ...]:
    """Places for parts of which only the number is known."""
    return tuple(("opaque", i) for i in range(n))


_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def _path(given: Sequence[str | int] | str) -> Path:
    r"""A path as it was kept: in full, or as `proxy.audit.entry.shown` shows it.

    >>> _path("messages[0].content")
    ('messages', 0, 'content')
    """
    if not isinstance(given, str):
        return tuple(given)
    return tuple(int(number) if number else word for number, word in _STEP.findall(given))

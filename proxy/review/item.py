"""What stands in the review queue, and what people said about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from proxy.audit.entry import moment


class ReviewError(Exception):
    """The queue cannot be written or read, or does not hold what was asked for; the message is one line, without content."""


class ReviewConflict(ReviewError):
    """Somebody else has decided the item in the meantime."""


class State(StrEnum):
    """What people say about an item."""

    PENDING = "pending"
    """Nothing yet."""
    UPHELD = "upheld"
    """It is against the policy."""
    OVERTURNED = "overturned"
    """It is not."""
    UNSURE = "unsure"
    """Somebody has looked and cannot say."""


DECIDED = (State.UPHELD, State.OVERTURNED, State.UNSURE)
"""What a reviewer can say."""


class Held(StrEnum):
    """What became of a request that waited for a reviewer."""

    WAITING = "waiting"
    """It waits, or the proxy that let it wait has died."""
    ANSWERED = "answered"
    """A reviewer's word came in time, and was obeyed; ``unsure`` took the rule's ``on_error``."""
    NOBODY = "nobody"
    """Nobody decided in time."""
    LEFT = "left"
    """The client did not wait."""
    CUT = "cut"
    """It did not wait, or not to the end: too many others did, or the proxy was being stopped."""


@dataclass(frozen=True, slots=True)
class Flagged:
    """One policy that flagged.

    Attributes:
        policy: Its name.
        revision: Of its text.
        fingerprint: Of what it read, keyed; None where it read nothing that could be told again (an opaque part).
        about: Score, thresholds, model, tier, whether calibrated, as on record; an error in place of the score.
        reads: Surfaces that its rule reads; None: all.
    """

    policy: str
    revision: str
    fingerprint: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    reads: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class NewItem:
    """A flagged decision on its way into the queue.

    Attributes:
        decision_id: What the client is told, or would be.
        request_id: Of its request.
        stage: ``input`` or ``output``.
        endpoint: The API path.
        route: Name of the route; None where there is none.
        region: Where the request comes from, if the configuration tells regions apart.
        action: What was done with the content, in one word.
        flagged: The policies that flagged, in the route's order.
        content: What reviewers see, see docs/review.md; None: nothing is kept.
        held: If its request waits for a reviewer, or should and cannot: which of the two.
        held_until_us: How long it waits, in microseconds since 1970.
    """

    decision_id: str
    request_id: str
    stage: str
    endpoint: str
    route: str | None
    region: str | None
    action: str
    flagged: Sequence[Flagged]
    content: Mapping[str, Any] | None = field(default=None, repr=False)
    held: Held | None = None
    held_until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """An item as it stands in the queue.

    Attributes:
        id: Its number; grows with time.
        time_us: When it was made, in microseconds since 1970; ``decided_us`` likewise.
        has_content: Whether content was kept; `ReviewQueue.content` gives it.
        held: If its request waited for a reviewer: what became of it.
        state: What people say about it, by the last who said something.
    """

    id: int
    decision_id: str
    request_id: str
    time_us: int
    stage: str
    endpoint: str
    route: str | None
    region: str | None
    action: str
    flagged: tuple[Flagged, ...]
    has_content: bool
    held: Held | None
    held_until_us: int | None
    state: State
    reviewer: str | None
    note: str | None
    decided_us: int | None

    @property
    def policies(self) -> list[str]:
        """Names of the policies that flagged."""
        return [flagged.policy for flagged in self.flagged]

    @property
    def edition(self) -> str:
        """What tells apart what was flagged first and what was flagged later of the same decision, as it went on."""
        return hashlib.blake2s(orjson.dumps(self.flagged), digest_size=8).hexdigest()

    def is_held(self, now_us: int) -> bool:
        """Whether its request still waits for a reviewer, as far as can be told."""
        return self.held is Held.WAITING and self.held_until_us is not None and now_us < self.held_until_us


@dataclass(frozen=True, slots=True)
class Said:
    """One word of one reviewer."""

    time_us: int
    state: State
    reviewer: str
    note: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items are wanted: those to which everything given applies."""

    state: State | None = None
    policy: str | None = None
    route: str | None = None
    stage: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    held: bool = False
    """Only those whose request waits now."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The queue in numbers.

    Attributes:
        by_state: Items by what people say about them.
        oldest_pending_us: When the oldest was made about which nobody has said anything; None without one.
        exceptions: Exceptions that apply now.
    """

    by_state: Mapping[State, int]
    oldest_pending_us: int | None
    exceptions: int


@dataclass(frozen=True, slots=True)
class Exemption:
    """An exception: content that a policy lets pass until it expires.

    Attributes:
        id: Its number.
        policy: Name of the policy.
        fingerprint: Of exactly what the policy read.
        revision: The policy's; None: whatever its text says by then.
        created_us: When it was made, in microseconds since 1970; the other times likewise.
        expires_us: From then on it does nothing.
        by: Who made it.
        why: The reason.
        item: The item that it was made from.
        revoked_us: When somebody took it back.
        revoked_by: Who.
    """

    id: int
    policy: str
    fingerprint: str
    revision: str | None
    created_us: int
    expires_us: int
    by: str
    why: str
    item: int | None
    revoked_us: int | None
    revoked_by: str | None

    def applies(self, now_us: int) -> bool:
        """Whether it still does something."""
        return self.revoked_us is None and now_us < self.expires_us

    def covers(self, policy: str, revision: str) -> bool:
        """Whether it is about this policy as it reads now."""
        return self.policy == policy and self.revision in (None, revision)


def item_record(item: Item) -> dict[str, Any]:
    """An item as JSON shows it."""
    return _record(item, "time", "decided", "held_until")


def exception_record(exemption: Exemption) -> dict[str, Any]:
    """An exception as JSON shows it."""
    return _record(exemption, "created", "expires", "revoked")


def _record(thing: Item | Exemption, *times: str) -> dict[str, Any]:
    shown = asdict(thing)
    for name in times:
        at = shown.pop(f"{name}_us")
        shown[name] = None if at is None else moment(at)
    return shown

"""What goes on record: fields that a record consists of. Never content: that travels beside them, if it was asked for."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson

from rules.content import Content, shown
from rules.decision import Verdict

Fields = Mapping[str, Any]
"""A record, or what is added to one, ready for JSON. Nothing in it is None: what is not known is left out."""

MAX_FINDINGS = 100
"""A record names at most so many places where detectors found something; ``findings_left_out`` counts the others."""


class Keep(StrEnum):
    """What is kept of the content that was judged."""

    NONE = "none"
    REDACTED = "redacted"
    """The texts, with what detectors find in them masked."""
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Entry:
    """One write: a new record, or what is added to an earlier one.

    Attributes:
        seq: The record's number. Grows, over restarts too, and is at least the record's time in microseconds since 1970;
            records are ordered and paged by it.
        decision_id: What the client was told.
        is_first: Whether this is a new record; if not, its fields take the place of the record's fields of the same names.
        time: When the entry was made, see `moment`.
        fields: What is on record.
        content: What was judged, where the configuration says to keep it.
        data: The fields as JSON.
    """

    seq: int
    decision_id: str
    is_first: bool
    time: str
    fields: Fields
    content: Fields | None = field(default=None, repr=False)
    data: bytes = field(init=False, repr=False)
    content_data: bytes | None = field(init=False, repr=False)
    """The content as JSON."""

    def __post_init__(
        self,
    ) -> None:  # here, where a mistake costs one request, not all whose records are written with it
        object.__setattr__(self, "data", orjson.dumps(self.fields))
        content = None if self.content is None else orjson.dumps({"seq": self.seq, **self.content})
        object.__setattr__(self, "content_data", content)


def moment(time_us: int) -> str:
    """A time in microseconds since 1970 as records show it; such texts are ordered like the times.

    >>> moment(1_700_000_000_000_001)
    '2023-11-14T22:13:20.000001Z'
    """
    seconds, us = divmod(time_us, 1_000_000)
    return f"{_second(seconds)}.{us:06}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def policies_of(fields: Fields) -> list[str]:
    """The policies that a record is found by: those that asked for something, in shadow too, or could not be judged."""
    judged = (*fields.get("verdicts", ()), *fields.get("shadow", ()))
    asked = (v["policy"] for v in judged if v["outcome"] not in ("forward", "skipped"))
    return list(dict.fromkeys((*fields.get("policies", ()), *asked)))


def findings(content: Content, verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """Where detectors found something: place, offsets and label, never the text."""
    found = [
        {
            "policy": verdict.rule.policy.name,
            "path": shown(content.leaves[finding.leaf].path),
            "start": finding.span.start,
            "end": finding.span.end,
            "label": finding.span.label,
        }
        for verdict in verdicts
        for finding in verdict.findings
    ]
    out: dict[str, Any] = {"findings": found[:MAX_FINDINGS]} if found else {}
    if len(found) > MAX_FINDINGS:
        out["findings_left_out"] = len(found) - MAX_FINDINGS
    return out


def measures(content: Content, key: bytes) -> dict[str, Any]:
    """What a record says about content that it does not hold.

    The fingerprint is keyed, because a plain hash of a short text (a name, a number, "yes") gives the text away to whoever
    hashes guesses; the same content has the same fingerprint in one installation only.
    """
    digest = hashlib.blake2b(key=key, digest_size=16)
    chars = 0
    for leaf in content.leaves:
        text = leaf.text.encode("utf-8", "surrogatepass")
        digest.update(f"{leaf.surface.value} {leaf.kind.value} {len(text)}\n".encode())
        digest.update(text)
        chars += len(leaf.text)
    out = {"fingerprint": digest.hexdigest(), "texts": len(content.leaves), "chars": chars}
    return {**out, "opaque": len(content.opaque)} if content.opaque else out


@dataclass(frozen=True, slots=True)
class PolicyText:
    """One revision of a policy, as it is kept so that old records stay readable.

    Attributes:
        name: The policy's name.
        revision: As records name it.
        text: For a policy that a guard judges, what the guard read; for a detector, its options as JSON.
        since: When it was first loaded, see `moment`.
    """

    name: str
    revision: str
    text: str = field(repr=False)
    since: str

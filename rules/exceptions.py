"""Exceptions: contents that a policy lets pass although it is against them, each known by its fingerprint.

The fingerprint is over exactly what decides the verdict: at which stage it was judged, the leaves within the rule's scope in
their order and grouping, and, where a guard judges, what it was shown besides to understand them. One character more, another
role, or another conversation before it is another content. It is keyed: a plain hash of a short text gives the text away to
whoever hashes guesses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from models.engine import Passage
from rules.content import Content, Path
from rules.policy import Policy
from rules.rule import Rule, Stage


class Exceptions(Protocol):
    """The exceptions that apply now. In memory: it is asked while a request waits."""

    @property
    def key(self) -> bytes:
        """Of the fingerprints."""
        ...

    def find(self, policy: Policy, fingerprint: str) -> str | None:
        """The id of the exception that covers what a policy has read; None without one."""
        ...


def fingerprint_of(rule: Rule, stage: Stage, content: Content, context: Sequence[Passage], key: bytes) -> str:
    """The fingerprint of what a rule reads.

    Args:
        rule: Whose scope counts.
        stage: At which it is judged.
        content: Everything of its stage.
        context: What guards are shown besides.
        key: Of the installation.
    """
    digest = hashlib.blake2b(key=key, digest_size=16)

    def add(what: str, *texts: str) -> None:
        for text in (what, *texts):
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)

    add(stage.value)
    message: Path | None = None
    for leaf in content.within(rule.scope).leaves:
        if leaf.message != message:
            add("message")
            message = leaf.message
        add(leaf.kind.value, leaf.surface.value, leaf.text)
        if rule.guards:
            add("before", leaf.before)
    if rule.guards:
        for passage in context:
            add("context", passage.surface, passage.text)
    return digest.hexdigest()

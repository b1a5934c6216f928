"""Content: the text of one request or response, leaf by leaf, with the place and the surface it came from.

A *leaf* is one string that will cross to the other side (or an object key). Rules never see the wire object, only
leaves; a rewrite answers with new texts by path, and the caller puts them back.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from models.engine import Passage
from rules.reading import plain_reading


class Surface(StrEnum):
    """What kind of place a text stands in; a rule's ``scope`` names the surfaces that it reads."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL_DEFINITION = "tool_definition"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    REASONING = "reasoning"
    METADATA = "metadata"


class LeafKind(StrEnum):
    """How a leaf relates to the wire object."""

    TEXT = "text"
    """A string value: a rewrite can replace it."""
    KEY = "key"
    """An object key: judged, never rewritten."""
    DERIVED = "derived"
    """Another reading of a text leaf (decoded JSON arguments): judged, never rewritten by itself."""


Path = tuple[str | int, ...]


def show_path(path: Path) -> str:
    """A path as people write it: ``messages[0].content``.

    >>> show_path(("messages", 0, "content"))
    'messages[0].content'
    """
    out = ""
    for step in path:
        out += f"[{step}]" if isinstance(step, int) else f".{step}" if out else step
    return out


_WORDS = frozenset(
    (
        *("messages", "content", "text", "input", "instructions", "prompt", "suffix", "texts", "structured_messages"),
        *("choices", "message", "output", "delta", "reasoning", "reasoning_content", "reasoning_details", "summary"),
        *(
            "refusal",
            "audio",
            "transcript",
            "annotations",
            "url",
            "title",
            "logprobs",
            "top_logprobs",
            "token",
            "loose",
        ),
        *(
            "tools",
            "tool_calls",
            "tool_call_id",
            "function",
            "functions",
            "function_call",
            "custom",
            "arguments",
            "name",
        ),
        *("description", "parameters", "properties", "required", "enum", "items", "response_format", "json_schema"),
        *("metadata", "user", "header", "model", "role", "type", "id", "data", "error", "code", "param", "stop"),
        *(
            "images",
            "image_url",
            "file_url",
            "file_data",
            "include",
            "encrypted_content",
            "result",
            "results",
            "outputs",
        ),
    )
)
"""Steps of a path that are words of the protocols; any other key was chosen by somebody, and so is content."""


def without_keys(path: Path) -> Path:
    """A path without what the sender may have chosen: other keys than the protocols' are ``*``.

    >>> without_keys(("metadata", "what a client made up", 0))
    ('metadata', '*', 0)
    """
    return tuple(step if isinstance(step, int) or step in _WORDS else "*" for step in path)


def shown(path: Path) -> str:
    """Where something stands, as people write it, without what the sender may have chosen.

    >>> shown(("messages", 0, "content"))
    'messages[0].content'
    >>> shown(("metadata", "what a client made up"))
    'metadata.*'
    """
    return show_path(without_keys(path))


CONTEXT_CHARS = 2000
"""How much of what stands before a leaf in the same text a guard is shown as context."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One judged string and where it stands."""

    path: Path
    surface: Surface
    text: str = field(repr=False)
    kind: LeafKind = LeafKind.TEXT
    is_json: bool = False
    """The text is JSON (tool-call arguments): a rewrite must leave it so."""
    is_unknown: bool = False
    """Nobody here knows what the other side makes of it (a field that no schema names), so every rule reads it."""
    before: str = field(default="", repr=False)
    """What stands before it in the same text and was judged already, for guards: they understand the one by the other."""

    def is_within(self, scope: frozenset[Surface] | None) -> bool:
        """Whether a rule with this scope reads it; None reads everything."""
        return scope is None or self.surface in scope or self.is_unknown

    @property
    def message(self) -> Path:
        """The message, choice or tool that the leaf belongs to: leaves that share it read as one text."""
        return self.path[:2]


@dataclass(frozen=True, slots=True)
class Content:
    """Everything of one side of one exchange that a stage's rules may read.

    Attributes:
        leaves: All strings and keys that will cross, in reading order.
        opaque: Paths of parts that no guard here can read (images, audio, files).
    """

    leaves: tuple[Leaf, ...]
    opaque: tuple[Path, ...] = ()

    @property
    def n_chars(self) -> int:
        """Characters of all leaves."""
        return sum(len(leaf.text) for leaf in self.leaves)

    def within(self, scope: frozenset[Surface] | None) -> Content:
        """The part that a rule with this scope reads; None reads everything."""
        if scope is None:
            return self
        return Content(tuple(leaf for leaf in self.leaves if leaf.is_within(scope)), self.opaque)

    def passages(self, *, context: bool = False, from_start: bool = False) -> list[Passage]:
        """The content as a guard reads it: the leaves of one message and surface joined, in order.

        Derived leaves are left out (a model reads the raw text), names and keys come as one metadata passage. A passage
        that says something else once it is folded or decoded is followed by that reading, on the same surface. Context
        was judged with its readings when it was new.

        Args:
            context: Whether this is shown to guards only so that they understand something else.
            from_start: Whether leaves are read together with all that stands before them; otherwise the last `CONTEXT_CHARS`
                of that are context.

        Raises:
            TooMuchToDecode: A passage holds more encoded runs than are decoded.
        """
        out: list[Passage] = []

        def add(surface: Surface, text: str) -> None:
            out.append(Passage(surface.value, text, context))
            if not context and (reading := plain_reading(text)) is not None:
                out.append(Passage(surface.value, reading))

        metadata: list[str] = []
        run: list[str] = []
        current: tuple[Path, Surface] | None = None
        for leaf in self.leaves:
            if leaf.kind is LeafKind.DERIVED or not leaf.text:
                continue
            if leaf.surface is Surface.METADATA:
                metadata.append(leaf.text)
                continue
            here = (leaf.message, leaf.surface)
            if here != current:
                if run and current is not None:
                    add(current[1], join_parts(run))
                run, current = [], here
            if leaf.before and not from_start:
                out.append(Passage(leaf.surface.value, leaf.before[-CONTEXT_CHARS:], True))
            run.append(leaf.before + leaf.text if from_start else leaf.text)
        if run and current is not None:
            add(current[1], join_parts(run))
        if metadata:
            add(Surface.METADATA, "\n".join(metadata))
        return out


def join_parts(parts: Sequence[str]) -> str:
    r"""Parts of one message as one text: words cut in two by a part boundary are whole again, other parts get a line each.

    >>> join_parts(["ZQ-MA", "RK", "Next."])
    'ZQ-MARKNext.'
    >>> join_parts(["One.", "Two."])
    'One.\nTwo.'
    """
    if len(parts) == 1:
        return parts[0]
    out = [parts[0]]
    for before, part in pairwise(parts):
        inside_word = before[-1:].isalnum() and part[:1].isalnum()
        out.append(part if inside_word else "\n" + part)
    return "".join(out)


@dataclass(frozen=True, slots=True)
class Joined:
    """Several leaves read as one text without separators, so that a match across their seams is seen."""

    text: str = field(repr=False)
    bounds: tuple[int, ...]
    """Where each leaf begins, and where the last one ends."""
    leaves: tuple[int, ...]
    """Indices into the content's leaves."""

    def locate(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Where a span of the joined text lies: (leaf index, start, end) for every leaf that it touches."""
        bounds = self.bounds
        for i in range(max(0, bisect_right(bounds, start) - 1), len(self.leaves)):
            if bounds[i] >= end:
                return
            lo, hi = max(start, bounds[i]), min(end, bounds[i + 1])
            if lo < hi:
                yield self.leaves[i], lo - bounds[i], hi - bounds[i]


def joined_readings(leaves: Sequence[Leaf]) -> list[Joined]:
    """The ways in which split text can come together again.

    All texts in order, with and without names and other metadata between them, and each surface by itself.

    Readings that equal an earlier one, and readings of a single leaf, are left out.
    """
    texts: list[int] = []
    by_surface: dict[Surface, list[int]] = {}
    for i, leaf in enumerate(leaves):
        if leaf.kind is LeafKind.TEXT and leaf.text:
            texts.append(i)
            by_surface.setdefault(leaf.surface, []).append(i)
    if len(texts) < 2:
        return []
    spoken = [i for i in texts if leaves[i].surface is not Surface.METADATA]
    groups = dict.fromkeys([tuple(group) for group in (texts, spoken, *by_surface.values()) if len(group) > 1])
    return [_join(leaves, group) for group in groups]


def _join(leaves: Sequence[Leaf], group: tuple[int, ...]) -> Joined:
    parts = [leaves[i].text for i in group]
    return Joined("".join(parts), tuple(itertools.accumulate(map(len, parts), initial=0)), group)

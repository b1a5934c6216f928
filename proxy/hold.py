"""A streamed answer between its upstream and its client: what is held, when it is judged, how much may leave. No I/O.

Theory. The texts of an answer come in pieces, side by side: every *channel* (the content of choice 0, its reasoning, …) is
one text. Of each channel three places are known:

    0 ........ sent ........ judged ........ end
    has left   may leave     nobody has judged

``buffer``: nothing leaves before the whole answer was judged; the places between are never used.

``window``: as soon as ``window_chars`` of one channel are unjudged, everything that is held is judged, together with the
last ``overlap_chars`` that have left. If nothing speaks against it, all but the last ``overlap_chars`` leave. So a detector's
match no longer than ``overlap_chars`` is always seen whole before its first character leaves, and what a guard
recognises within ``overlap_chars`` of its beginning never begins to leave; of what takes longer to recognise, at most
(its length up to there) - ``overlap_chars`` characters are out. The window follows the running score: near a threshold
it grows, up to `MAX_FACTOR` times, and the held tail with it (more is seen together, less is out); far below it shrinks.
A check begins and ends between words where it can: half a word can be a match that the whole word is not.

``deliver_first``: everything leaves at once and is judged meanwhile, window by window. What is out when a refusal falls
is bounded: reading stops while `MAX_UNJUDGED_WINDOWS` windows of a channel are unjudged.

An edit (a mask) changes the text that leaves, never what has left: an edit that reaches into that is `TooLate`.
The last verdict, over the whole answer, is the caller's; see `proxy.stream_relay`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rules.content import Content, Leaf, LeafKind, Path, Surface
from rules.decision import Decision
from rules.detectors import Edit, apply_edits
from rules.rule import Action

MAX_FACTOR = 4.0
MIN_FACTOR = 0.5
NEAR, FAR = 0.75, 0.25
"""Shares of a threshold from which on a score counts as near, and below which as far."""

MAX_UNJUDGED_WINDOWS = 8
"""``deliver_first``: more than this many windows of a channel are never out unjudged, but for the piece that came last."""

MAX_WORD_CHARS = 64
"""So far from where a check would begin or end, the gap between two words is sought."""

_LAST_WORD = re.compile(r"\S*\Z")


class StreamMode(StrEnum):
    """When a streamed answer leaves."""

    BUFFER = "buffer"
    WINDOW = "window"
    DELIVER_FIRST = "deliver_first"


class TooLate(Exception):
    """A rewrite concerns text that has left already."""


@dataclass(slots=True)
class Channel:
    """One text of a streamed answer.

    Attributes:
        path: Where it stands in the answer; names it in checks.
        surface: What kind of text it is.
        sent: How many characters have left.
        judged: How many characters a verdict covers.
    """

    path: Path
    surface: Surface
    sent: int = 0
    judged: int = 0
    _gone: list[str] = field(default_factory=list, repr=False)
    _base: int = 0
    _kept: str = field(default="", repr=False)
    _new: list[str] = field(default_factory=list, repr=False)
    _new_chars: int = 0

    def add(self, piece: str) -> None:
        """Take the next piece."""
        self._new.append(piece)
        self._new_chars += len(piece)

    @property
    def end(self) -> int:
        """Number of characters so far."""
        return self._base + len(self._kept) + self._new_chars

    def since(self, start: int) -> str:
        """The text from a place on, which must not lie before what `let_go` was told to keep."""
        if self._new:
            self._kept += "".join(self._new)
            self._new, self._new_chars = [], 0
        return self._kept[start - self._base :]

    def before(self, start: int, chars: int) -> str:
        """At most so many characters that stand before a place, as far as they are kept."""
        lo = max(self._base, start - chars)
        return self.since(lo)[: start - lo]

    def gap_before(self, place: int, after: int) -> int | None:
        """Where the word begins that a place cuts, if that is behind ``after`` and no further off than a word is long."""
        head = self.before(place, min(place - after, MAX_WORD_CHARS))
        word = _LAST_WORD.search(head)
        assert word is not None
        return place - len(head) + word.start() if word.start() > 0 else None

    def whole(self) -> str:
        """All of the text: as it left, and as it came where it has not."""
        return "".join((*self._gone, self.since(self._base)))

    def release(self, upto: int, edits: Sequence[Edit] = ()) -> str:
        """Let the text up to a place leave, with edits in coordinates of the channel made; gives what leaves.

        Places behind it move by what the edits add.
        """
        held = self.since(self.sent)
        inside = [Edit(e.start - self.sent, e.end - self.sent, e.text) for e in edits]
        out = apply_edits(held[: upto - self.sent], inside)
        shift = len(out) - (upto - self.sent)
        self._kept = self._kept[: self.sent - self._base] + out + held[upto - self.sent :]
        self.sent += len(out)
        self.judged += shift
        return out

    def let_go(self, before: int) -> None:
        """Text before a place is not asked for again, except by `whole`."""
        if before > self._base:
            self.since(self._base)
            self._gone.append(self._kept[: before - self._base])
            self._kept = self._kept[before - self._base :]
            self._base = before


Loose = tuple[Surface, str, bool]
"""A string of a stream that is part of no channel: what it is, what it says, whether it stands where nobody knows."""


@dataclass(frozen=True, slots=True)
class Check:
    """What is to be judged now.

    Attributes:
        content: The texts; the first leaves are the channels' in order.
        channels: Per channel: its key, where its leaf begins and where it ended then.
        loose: The loose strings that are covered.
    """

    content: Content
    channels: tuple[tuple[Hashable, int, int], ...]
    loose: tuple[Loose, ...] = field(repr=False)


@dataclass(slots=True)
class Hold:
    """All channels of one streamed answer; see the top of the file.

    Attributes:
        mode: When text leaves.
        window_chars: So much unjudged text asks for a verdict.
        overlap_chars: So much judged text stays behind.
        before_chars: So much of what stands before a window is shown with it; None: all, which costs a copy of the text
            so far at every check.
    """

    mode: StreamMode
    window_chars: int
    overlap_chars: int
    before_chars: int | None = None
    channels: dict[Hashable, Channel] = field(default_factory=dict, repr=False)
    factor: float = 1.0
    _loose: dict[Loose, None] = field(default_factory=dict, repr=False)
    """Strings of the stream that are part of no channel and that no verdict covers, in order."""
    _judged_loose: set[Loose] = field(default_factory=set, repr=False)

    def add(self, key: Hashable, path: Path, surface: Surface, piece: str) -> None:
        """Take a piece of a channel."""
        channel = self.channels.get(key)
        if channel is None:
            channel = self.channels[key] = Channel(path, surface)
        channel.add(piece)

    def add_loose(self, leaves: Sequence[Leaf]) -> None:
        """Take strings that stand in a chunk besides its texts."""
        for leaf in leaves:
            key = (leaf.surface, leaf.text, leaf.is_unknown)
            if key not in self._judged_loose:
                self._loose[key] = None

    @property
    def unjudged_loose(self) -> list[Leaf]:
        """Loose strings that no verdict covers yet. As keys: they cannot be rewritten."""
        return [
            Leaf(("loose", i), surface, text, LeafKind.KEY, is_unknown=is_unknown)
            for i, (surface, text, is_unknown) in enumerate(self._loose)
        ]

    @property
    def unjudged(self) -> int:
        """Characters that no verdict covers, of the channel that has most of them."""
        return max((c.end - c.judged for c in self.channels.values()), default=0)

    @property
    def wants_verdict(self) -> bool:
        """Whether a window is full."""
        return self.mode is not StreamMode.BUFFER and self.unjudged >= self.window_chars * self.factor

    @property
    def must_wait(self) -> bool:
        """Whether no more may be read before the verdict under way is there."""
        windows = MAX_UNJUDGED_WINDOWS if self.mode is StreamMode.DELIVER_FIRST else 2
        return self.unjudged >= windows * self.window_chars * self.factor

    def check(self) -> Check:
        """What must be judged for the text that has come so far to leave."""
        leaves: list[Leaf] = []
        channels: list[tuple[Hashable, int, int]] = []
        for key, channel in self.channels.items():
            if channel.end == channel.judged == channel.sent:
                continue
            end = channel.gap_before(channel.end, channel.judged) or channel.end
            start = max(0, min(channel.judged, channel.sent) - self.overlap_chars)
            start = channel.gap_before(start, 0) or (0 if start <= MAX_WORD_CHARS else start)
            text = channel.since(start)[: end - start]
            leaves.append(Leaf(channel.path, channel.surface, text, before=self._before(channel, start)))
            channels.append((key, start, end))
        loose = self.unjudged_loose
        covered = tuple((leaf.surface, leaf.text, leaf.is_unknown) for leaf in loose)
        return Check(Content((*leaves, *loose)), tuple(channels), covered)

    def _before(self, channel: Channel, start: int) -> str:
        return channel.whole()[:start] if self.before_chars is None else channel.before(start, self.before_chars)

    def passed(self, check: Check, edits: Mapping[int, Sequence[Edit]]) -> list[tuple[Hashable, str]]:
        """A check has passed: gives what leaves, per channel.

        Args:
            check: What was judged.
            edits: By index of the leaf: what must be changed for it to leave.

        Raises:
            TooLate: An edit concerns what has left.
        """
        self._judged_loose.update(check.loose)
        for key in check.loose:
            self._loose.pop(key, None)
        if any(i >= len(check.channels) for i in edits):
            raise TooLate
        out: list[tuple[Hashable, str]] = []
        stays = int(self.overlap_chars * max(1.0, self.factor))
        for i, (name, start, end) in enumerate(check.channels):
            channel = self.channels[name]
            changes = [Edit(e.start + start, e.end + start, e.text) for e in edits.get(i, ())]
            if any(e.start < channel.sent for e in changes):
                raise TooLate
            channel.judged = max(channel.judged, end)
            upto = max(channel.sent, end - stays)
            for edit in changes:
                if edit.start < upto < edit.end:
                    upto = edit.start
            if self.mode is StreamMode.WINDOW and upto > channel.sent:
                out.append((name, channel.release(upto, [e for e in changes if e.end <= upto])))
            elif changes and self.mode is not StreamMode.WINDOW:
                raise TooLate
            kept_chars = self.overlap_chars + MAX_WORD_CHARS + (self.before_chars or 0)
            channel.let_go(min(channel.judged, channel.sent) - kept_chars)
        return out

    @property
    def has_news(self) -> bool:
        """``deliver_first``: whether something has come and not left."""
        return self.mode is StreamMode.DELIVER_FIRST and any(c.end > c.sent for c in self.channels.values())

    def at_once(self) -> list[tuple[Hashable, str]]:
        """``deliver_first``: what has come and not left."""
        if self.mode is not StreamMode.DELIVER_FIRST:
            return []
        return [(key, c.release(c.end)) for key, c in self.channels.items() if c.end > c.sent]

    def adapt(self, decision: Decision) -> None:
        """Let the window follow the running score."""
        nearest = max(
            (_nearness(v.score, v.rule.thresholds) for v in decision.verdicts if v.score is not None), default=0
        )
        if nearest >= NEAR:
            self.factor = min(MAX_FACTOR, self.factor * 2)
        elif nearest < FAR:
            self.factor = max(MIN_FACTOR, self.factor / 2)


def _nearness(score: float, thresholds: Mapping[Action, float]) -> float:
    """The score as a share of the lowest threshold that would change or stop the text."""
    grave = [t for action, t in thresholds.items() if action >= Action.REWRITE]
    return score / min(grave) if grave and min(grave) > 0 else 0.0
